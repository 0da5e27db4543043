"""One path judged exactly: what it crosses, in which order, how near it comes to every structure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sacroplasty.approach.distance import FAR_MM, STEP_VOXELS, VOXEL_BIAS, path_minimum, polyline_distance
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import TUNNELS, Scene, Tube
from sacroplasty.approach.search import required_mm, stage_table, walk
from sacroplasty.approach.tissue import Tissue
from sacroplasty.evidence import value
from sacroplasty.plan import Clearance, Crossing, Needle, Trajectory, as_point

# Runs shorter than this are a corner of a voxel, not a structure, mm.
_LEAST_RUN_MM = 0.5


@dataclass(frozen=True, eq=False)
class Judgement:
    """The verdict on one path. `broken_stage` is -1 where the legal order holds, else the stage in which it broke at
    `broken_depth_mm`; `starts_mm` (stages,) are the depths at which the stages began, NaN where not met.
    """

    trajectory: Trajectory
    crossings: tuple[Crossing, ...]
    clearances: tuple[Clearance, ...]
    broken_stage: int
    broken_depth_mm: float
    starts_mm: npt.NDArray[np.float32]

    @property
    def worst(self) -> Clearance | None:
        """The clearance with the least margin over what is required."""
        return min(self.clearances, key=lambda c: c.distance_mm - c.required_mm, default=None)

    @property
    def margin_mm(self) -> float:
        """Least clearance beyond what is required; FAR_MM where nothing is near."""
        worst = self.worst
        return FAR_MM if worst is None else worst.distance_mm - worst.required_mm

    @property
    def legal(self) -> bool:
        """The order of crossings is the approach's own and nothing comes too near."""
        return self.broken_stage < 0 and self.margin_mm >= 0.0


def judge(scene: Scene, rule: ApproachRule, needle: Needle, trajectory: Trajectory) -> Judgement:
    """The exact verdict on a path under an approach's rules."""
    allowed, ways = stage_table(rule.stages)
    starts = np.full(len(allowed), np.nan, dtype=np.float32)
    start, end = scene.voxels(trajectory.entry_mm), scene.voxels(trajectory.target_mm)
    step = STEP_VOXELS * scene.spacing_mm
    stage, depth = walk(scene.tissue, start, end, trajectory.length_mm, step, allowed, ways, starts)
    crossings = _crossings(scene, rule, trajectory)
    return Judgement(trajectory, crossings, clearances(scene, rule, needle, trajectory), stage, depth, starts)


def tissue_runs(scene: Scene, trajectory: Trajectory) -> list[tuple[Tissue, float, float]]:
    """Tissues along the path with depths of entering and leaving, corner-cut slivers merged into what precedes them."""
    count = int(np.ceil(trajectory.length_mm / (STEP_VOXELS * scene.spacing_mm))) + 1
    depths = np.linspace(0.0, trajectory.length_mm, count)
    kinds = scene.tissue_at(trajectory.point_at(depths))
    kinds[0] = kinds[0] or Tissue.SOFT
    changes = np.flatnonzero(np.diff(kinds)) + 1
    bounds = [0, *changes.tolist(), count - 1]
    runs: list[tuple[Tissue, float, float]] = []
    for a, b in pairwise(bounds):
        kind, begin, end = Tissue(int(kinds[a])), float(depths[a]), float(depths[b])
        if runs and (end - begin < _LEAST_RUN_MM or runs[-1][0] is kind):
            runs[-1] = (runs[-1][0], runs[-1][1], end)
        else:
            runs.append((kind, begin, end))
    return runs


def _crossings(scene: Scene, rule: ApproachRule, trajectory: Trajectory) -> tuple[Crossing, ...]:
    permitted = {tissue for stage in rule.stages for tissue in stage.tissues} | {Tissue.SOFT}
    runs = tissue_runs(scene, trajectory)
    found = []
    for n, (kind, begin, end) in enumerate(runs):
        between = kind is Tissue.SOFT and n and runs[n - 1][0] in (Tissue.ILIUM, Tissue.SI_JOINT)
        found.append(Crossing("interosseous ligament" if between else kind.words, begin, end, kind in permitted))
    return tuple(found)


def judged_end(trajectory: Trajectory) -> npt.NDArray[np.float64]:
    """End (3,) of the capsule that is judged: the tip and its overshoot."""
    return trajectory.point_at(trajectory.length_mm + value("assumptions.approach_overshoot"))


def clearances(scene: Scene, rule: ApproachRule, needle: Needle, trajectory: Trajectory) -> tuple[Clearance, ...]:
    """Clearance of the needle's capsule from every structure the approach must keep off, nearest margin first."""
    required = required_mm(scene, rule)
    end = judged_end(trajectory)
    found = []
    for name, field in scene.fields.items():
        if name in required:
            start = scene.voxels(trajectory.entry_mm) - scene.offset
            least, depth = path_minimum(field, start, scene.voxels(end) - scene.offset, scene.spacing_mm)
            where = trajectory.point_at(depth)
            label = _tunnel_name(scene, where) if name == TUNNELS else name
            bound = least - scene.bound_mm - needle.radius_mm
            estimate = bound + scene.bound_mm - VOXEL_BIAS * scene.spacing_mm
            found.append(Clearance(label, bound, depth, as_point(where), required[name], estimate_mm=estimate))
    found.extend(_beyond(scene, needle, trajectory, required))
    length = float(np.linalg.norm(end - np.asarray(trajectory.entry_mm)))
    for tube in scene.tubes:
        if tube.group in required:
            distance, f = polyline_distance(np.asarray(trajectory.entry_mm), end, tube.points_mm)
            exact = distance - tube.keep_out_mm(rule.midline) - needle.radius_mm
            place = as_point(trajectory.point_at(f * length))
            found.append(Clearance(tube.name, exact, f * length, place, required[tube.group], estimate_mm=exact))
    nearest: dict[str, Clearance] = {}
    for clearance in sorted(found, key=lambda c: (c.distance_mm - c.required_mm, c.structure)):
        nearest.setdefault(clearance.structure, clearance)
    return tuple(nearest.values())


def _beyond(scene: Scene, needle: Needle, trajectory: Trajectory, required: dict[str, float]) -> list[Clearance]:
    """Clearances from vessels, bowel and metal outside the crop of the fields, as far as they are near the path."""
    start, end = np.asarray(trajectory.entry_mm, dtype=np.float64), judged_end(trajectory)
    along = end - start
    found = []
    for name, points in scene.beyond_mm.items():
        if name not in required:
            continue
        low, high = np.minimum(start, end) - FAR_MM, np.maximum(start, end) + FAR_MM
        near = points[((points >= low) & (points <= high)).all(axis=1)]
        if not len(near):
            continue
        share = np.clip((near - start) @ along / float(along @ along), 0.0, 1.0)
        distance = np.linalg.norm(near - start - share[:, None] * along, axis=1)
        n = int(distance.argmin())
        depth = float(share[n] * np.linalg.norm(along))
        bound = float(distance[n]) - scene.bound_mm - needle.radius_mm
        estimate = bound + scene.bound_mm - VOXEL_BIAS * scene.spacing_mm
        where = as_point(trajectory.point_at(depth))
        found.append(Clearance(name, bound, depth, where, required[name], estimate_mm=estimate))
    return found


def _tunnel_name(scene: Scene, where: npt.NDArray[np.float64]) -> str:
    nearest = nearest_tube(scene, where)
    return f"{nearest.level} root tunnel {nearest.side}" if nearest is not None else "root tunnel"


def nearest_tube(scene: Scene, where_mm: npt.ArrayLike) -> Tube | None:
    """The root or foramen nearest to a place; None where the anatomy has none."""
    point = np.asarray(where_mm, dtype=np.float64)
    return min(
        scene.tubes,
        key=lambda tube: polyline_distance(point, point, tube.points_mm)[0] - tube.radius_mm,
        default=None,
    )
