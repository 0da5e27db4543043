"""Where the tip may rest, what its deposits reach, and how much cement that asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy, Face, SacralFrame
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import VENTRAL, Scene
from sacroplasty.approach.skin import local_coordinates, one_per_cell
from sacroplasty.approach.tissue import Tissue
from sacroplasty.evidence import value
from sacroplasty.plan import SACRAL_LEVELS, DenisZone, Injection, Level, Side, Trajectory
from sacroplasty.space import Points

# Numbers of points that stand for the lesion: tips to try, and samples whose covering is counted.
TIPS, SAMPLES = 90, 1200
CEMENT = "PMMA"
_HAIR_MM = 1e-6


@dataclass(frozen=True, eq=False)
class LesionSamples:
    """Points (n, 3) LPS mm spread evenly over the lesion's bony part, the volume they stand for, their Denis zones."""

    points_mm: Points
    volume_ml: float
    zones: npt.NDArray[np.int8]
    levels: tuple[Level | None, ...]

    @cached_property
    def places(self) -> dict[tuple[Level, DenisZone], int]:
        """Samples in each level and zone; those without a level are left out."""
        pairs = zip(self.levels, self.zones.tolist(), strict=True)
        return dict(Counter((level, DenisZone(zone)) for level, zone in pairs if level is not None))


def denis_zones(anatomy: Anatomy, points_mm: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Denis zone (n,) as 1, 2 or 3 of positions (n, 3): lateral of, between or medial of the anterior foramina's rims.

    Borders are interpolated along the ventral curve; where no foramen is known they come from the literature.
    """
    coordinates = anatomy.frame.coordinates(np.asarray(points_mm, dtype=np.float64).reshape(-1, 3))
    arcs, inner, outer = _foramen_borders(anatomy)
    s, x = coordinates[:, 0], np.abs(coordinates[:, 1])
    medial, lateral = np.interp(s, arcs, inner), np.interp(s, arcs, outer)
    zones = np.full(len(s), DenisZone.FORAMINA.value, dtype=np.int8)
    zones[x < medial] = DenisZone.CENTRAL.value
    zones[x > lateral] = DenisZone.ALA.value
    return zones


@lru_cache(maxsize=4)
def _foramen_borders(anatomy: Anatomy) -> tuple[list[float], list[float], list[float]]:
    """Arc lengths and distances from the midline of the medial and lateral rims of the anterior foramina."""
    rows = []
    for level in SACRAL_LEVELS:
        pair = [anatomy.foramen(level, side, Face.ANTERIOR) for side in (Side.LEFT, Side.RIGHT)]
        known = [f for f in pair if f is not None and f.state.known]
        if known:
            centre = anatomy.frame.coordinates([f.centre_mm for f in known])
            x, half = float(np.abs(centre[:, 1]).mean()), float(np.mean([f.width_mm for f in known])) / 2
            rows.append((float(centre[:, 0].mean()), max(x - half, 0.0), x + half))
    if not rows:
        outer = value("approach.foramen_lateral_s1")
        rows = [(0.0, max(value("approach.interforaminal_s1") - outer, 0.0), outer)]
    rows.sort()
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


@lru_cache(maxsize=2)
def lesion_samples(scene: Scene) -> LesionSamples:
    """The lesion's bony part as evenly spread points; empty where none of it lies in the sacrum."""
    voxels = np.argwhere(scene.lesion.mask.array & (scene.tissue == Tissue.SACRUM))
    volume = len(voxels) * scene.grid.voxel_volume_ml
    if not len(voxels):
        return LesionSamples(np.empty((0, 3)), 0.0, np.empty(0, np.int8), ())
    points = scene.grid.patient_from_voxel.points(voxels)
    chosen = points[_spread(scene.anatomy.frame, points, points.mean(axis=0), volume, SAMPLES)]
    return LesionSamples(chosen, volume, denis_zones(scene.anatomy, chosen), tuple(scene.anatomy.levels_at(chosen)))


def _spread(
    frame: SacralFrame, points: Points, centre: npt.NDArray[np.float64], volume_ml: float, count: int
) -> npt.NDArray[np.intp]:
    """About `count` of the points, one per cubic cell of the sacral frame around a centre."""
    return one_per_cell(local_coordinates(frame, points) - local_coordinates(frame, centre), _cell_mm(volume_ml, count))


def _cell_mm(volume_ml: float, count: int) -> float:
    """Edge of the cubic cells of which about `count` fill a volume."""
    return max((volume_ml * 1000.0 / count) ** (1 / 3), 0.5)


def thinned(frame: SacralFrame, samples: LesionSamples, count: int) -> tuple[Points, npt.NDArray[np.float64]]:
    """About `count` points (n, 3) that stand for the samples, and the share (n,) of them that each stands for.

    They are means over cells of the sacral frame about the middle: a mirrored patient gets the mirrored points.
    """
    middle = local_coordinates(frame, samples.points_mm.mean(axis=0))
    offset = local_coordinates(frame, samples.points_mm) - middle
    cell = np.rint(np.round(offset / _cell_mm(samples.volume_ml, count), 6))
    _, owner, weights = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    points = np.stack([np.bincount(owner.ravel(), weights=samples.points_mm[:, n]) for n in range(3)], axis=1)
    return points / weights[:, None], weights / weights.sum()


def tip_candidates(scene: Scene, samples: LesionSamples, rule: ApproachRule, radius_mm: float) -> Points:
    """Tips (n, 3) in the lesion, in the approach's zones and levels, behind the ventral cortex by the stand-off.

    Where the lesion's bone is too thin for the stand-off, the tips farthest from the ventral cortex are offered; the
    clearance then tells how far they fall short.
    """
    suited = np.array(
        [
            level is not None and rule.grade(level, DenisZone(int(zone))) is not None
            for level, zone in zip(samples.levels, samples.zones, strict=True)
        ],
        dtype=bool,
    )
    points = samples.points_mm[suited]
    if not len(points):
        return points
    room = ventral_room(scene, points) - radius_mm
    standoff = value("assumptions.approach_ventral_tip_standoff")
    deep = room >= min(standoff, float(np.quantile(room, 0.75)))
    points = points[deep]
    volume = samples.volume_ml * len(points) / len(samples.points_mm)
    return points[_spread(scene.anatomy.frame, points, samples.points_mm.mean(axis=0), volume, TIPS)]


def tips_allowed(
    scene: Scene, rule: ApproachRule, points_mm: Points, radius_mm: float, least_mm: float
) -> npt.NDArray[np.bool_]:
    """Which positions (n, 3) are tips of the approach: in the lesion's bone, level and zone suited, and the needle at
    least `least_mm`, or the stand-off where that is less, behind the ventral cortex.
    """
    allowed = scene.lesion.mask.contains(points_mm) & (scene.tissue_at(points_mm) == Tissue.SACRUM)
    levels, zones = scene.anatomy.levels_at(points_mm), denis_zones(scene.anatomy, points_mm)
    pairs = zip(levels, zones, strict=True)
    allowed &= [level is not None and rule.grade(level, DenisZone(int(zone))) is not None for level, zone in pairs]
    standoff = min(value("assumptions.approach_ventral_tip_standoff"), least_mm)
    return np.asarray(allowed & (ventral_room(scene, points_mm) - radius_mm >= standoff))


def ventral_room(scene: Scene, points_mm: Points) -> npt.NDArray[np.float64]:
    """Lower bound (n,) of the distance from positions (n, 3) to the pelvic side of the bone, mm."""
    field = scene.fields.get(VENTRAL)
    if field is None:
        return np.full(len(points_mm), np.inf)
    index = np.rint(scene.voxels(points_mm) - scene.offset).astype(int)
    index = np.clip(index, 0, np.asarray(field.shape) - 1)
    return np.asarray(field[tuple(index.T)] - scene.bound_mm, dtype=np.float64)


def segment_distances(points_mm: Points, starts_mm: Points, ends_mm: Points) -> npt.NDArray[np.float64]:
    """Distances (m, n) from segments (m, 3)-(m, 3) to points (n, 3)."""
    d = ends_mm - starts_mm
    r = points_mm[None, :, :] - starts_mm[:, None, :]
    t = np.clip((r * d[:, None, :]).sum(-1) / np.maximum((d * d).sum(-1), 1e-9)[:, None], 0.0, 1.0)
    return np.asarray(np.linalg.norm(r - t[..., None] * d[:, None, :], axis=-1))


def deposit_reach_mm() -> float:
    """How far from the tip a deposit fills the lesion, a hair more than its number says.

    Lesion and tips lie on the voxels' even places: whether a sample exactly on the rim counts must not be left to
    rounding, which differs between a patient and the same patient turned or mirrored.
    """
    return value("assumptions.approach_reach") + _HAIR_MM


def deposit_tips(samples: LesionSamples, trajectory: Trajectory) -> npt.NDArray[np.float64]:
    """Depths (n,) at which the tip rests in turn: the target, then withdrawn step by step while still in the lesion."""
    step, reach = value("assumptions.approach_withdrawal_step"), deposit_reach_mm()
    depths = np.arange(trajectory.length_mm, max(trajectory.length_mm - 8 * step, 0.0), -step)
    near = np.linalg.norm(samples.points_mm[None] - trajectory.point_at(depths)[:, None], axis=-1).min(axis=1)
    inside = near <= reach / 4
    inside[0] = True
    last = int(np.argmin(inside)) if not inside.all() else len(depths)
    return np.asarray(depths[:last])


def covered(samples: LesionSamples, trajectory: Trajectory) -> npt.NDArray[np.bool_]:
    """Samples (n,) within reach of the needle's deposits."""
    tips = trajectory.point_at(deposit_tips(samples, trajectory))
    distance = np.linalg.norm(samples.points_mm[None] - tips[:, None], axis=-1).min(axis=0)
    return np.asarray(distance <= deposit_reach_mm())


def planned_volume_ml(samples: LesionSamples, share: float) -> float:
    """Cement for a share of the lesion's bony volume: the mean filling of a published series, capped at the caution."""
    return min(value("approach.fill_share") * share * samples.volume_ml, value("approach.volume_caution"))


def injections_for(samples: LesionSamples, trajectories: tuple[Trajectory, ...]) -> tuple[tuple[Injection, ...], ...]:
    """The deposits of each needle: every reachable sample goes to its nearest tip, and brings its share of the volume.

    A deposit below the least amount worth injecting is given to its neighbour by leaving it out.
    """
    depths = [deposit_tips(samples, t) for t in trajectories]
    owner = [(n, float(d)) for n, ds in enumerate(depths) for d in ds]
    tips = np.array([trajectories[n].point_at(d) for n, d in owner])
    total = planned_volume_ml(samples, float(np.mean(np.any([covered(samples, t) for t in trajectories], axis=0))))
    kept = np.ones(len(tips), dtype=bool)
    least = value("assumptions.approach_deposit_least")
    while True:
        shares = _shares(samples, tips[kept])
        small = np.flatnonzero(kept)[(shares * total < least) & (shares < 1.0)]
        if not len(small) or kept.sum() == 1:
            break
        kept[small[np.argmin((shares * total)[np.isin(np.flatnonzero(kept), small)])]] = False
    rate = value("assumptions.approach_injection_rate")
    made: list[list[Injection]] = [[] for _ in trajectories]
    for order, (place, share) in enumerate(zip(np.flatnonzero(kept), shares, strict=True), start=1):
        n, depth = owner[place]
        made[n].append(Injection(depth, round(float(share * total), 2), rate, CEMENT, order))
    return tuple(tuple(m) for m in made)


def _shares(samples: LesionSamples, tips: Points) -> npt.NDArray[np.float64]:
    """Share (n,) of the reachable samples that each tip is nearest to."""
    distance = np.linalg.norm(samples.points_mm[None] - tips[:, None], axis=-1)
    near = distance.min(axis=0) <= deposit_reach_mm()
    if not near.any():
        return np.full(len(tips), 1.0 / len(tips))
    return np.asarray(np.bincount(distance.argmin(axis=0)[near], minlength=len(tips)) / near.sum())
