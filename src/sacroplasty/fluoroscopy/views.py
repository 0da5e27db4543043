"""The views a plan needs in this patient: computed, scored, checked for reach.

Fixed textbook angles fail in about a third of patients; here each view is defined by what it must show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import PlanError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.carm import CArm
from sacroplasty.fluoroscopy.collision import Reach, body_surface, reach
from sacroplasty.fluoroscopy.radiograph import Visibility
from sacroplasty.fluoroscopy.view import STEEPEST_SECONDARY_DEG, PatientPosition, View, angles_of, console_angles
from sacroplasty.fluoroscopy.visibility import Stage, judged
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Level, NeedlePlan, Plan, Point, Side, as_point
from sacroplasty.space import Points, Volume

# A view must hold its worth when the machine stands a little off.
ROBUST_DEG = 3.0


@dataclass(frozen=True)
class PlannedView:
    """A view with its reason, what can be seen in it, whether it can be reached, and its numbers.

    `measures`: needle_angle_deg (90 = the needle lies in the image plane), depth_per_pixel_mm (how far the tip moves
    along the needle while its shadow moves one pixel); worst within ± 3 degrees, at the isocentre: foramina_apart_mm,
    canal_apart_mm, ventral_wall_apart_mm (shadow of the tip from theirs), separation_mm (the least of them) and
    cement_apart_mm (what the planned cement leaves of it); foramina_detectability where foramina are the point.
    """

    view: View
    purpose: str
    visibility: tuple[Visibility, ...]
    reach: Reach
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Scene:
    """What every view of one plan shares."""

    carm: CArm
    position: PatientPosition
    isocentre: Point
    anatomy: Anatomy
    needle: NeedlePlan
    stage: Stage
    skin: Points

    def view(self, direction: npt.ArrayLike, name: str) -> View:
        """The view whose detector stands in a direction; a tilt along the body is held at the steepest."""
        primary, secondary = angles_of(direction)
        limit = min(STEEPEST_SECONDARY_DEG, max(map(abs, self.carm.secondary_limits_deg)))
        secondary = float(np.clip(secondary, -limit, limit))
        return View(self.carm, primary, secondary, self.isocentre, self.position, name)


def views_for(
    plan: Plan,
    anatomy: Anatomy,
    ct: Volume,
    carm: CArm | None = None,
    lesion: Lesion | None = None,
    *,
    patient_position: PatientPosition = PatientPosition.HFP,
) -> tuple[View, ...]:
    """The views of `planned_views` that can be reached, in the order in which they are used."""
    found = planned_views(plan, anatomy, ct, carm, lesion, patient_position=patient_position)
    return tuple(planned.view for planned in found if planned.reach.possible)


def planned_views(
    plan: Plan,
    anatomy: Anatomy,
    ct: Volume,
    carm: CArm | None = None,
    lesion: Lesion | None = None,
    *,
    patient_position: PatientPosition = PatientPosition.HFP,
) -> tuple[PlannedView, ...]:
    """Every view that guides a plan's first needle, scored for this patient and machine, with what stops it if any.

    AP tilted for the foramina of S1 (and of the target level), true lateral, entry down the needle, two progress views,
    inlet and outlet of the target level, Ferguson, ipsilateral oblique. The isocentre is the lesion's centre or the
    planned tip; `ct` in HU and `anatomy` share a frame of reference.
    """
    machine = carm or CArm.profile()
    centre = as_point(plan.first.tip_mm if lesion is None else lesion.centre_mm)
    stage = Stage.of(ct, anatomy)
    scene = _Scene(
        machine, PatientPosition(patient_position), centre, anatomy, plan.first, stage, body_surface(anatomy.body)
    )
    found = [_foramina_view(scene, Level.S1)]
    if plan.target_level is not Level.S1 and stage.named([plan.target_level.value, "foramen"]):
        found.append(_foramina_view(scene, plan.target_level))
    found.append(_fixed(scene, _lateral_direction(scene), "true lateral", "sciatic notches and ilia superimposed"))
    entry = -plan.first.trajectory.direction
    found.append(_fixed(scene, entry, "entry (down the needle)", "hub, shaft and tip in one point on the target"))
    found += _progress_views(scene)
    found += _sagittal_views(scene, plan.target_level)
    if plan.side is not Side.MIDLINE:
        found.append(_fixed(scene, _oblique_direction(scene, plan.side), "ipsilateral oblique", "SI joint in line"))
    return tuple(found)


def bounding_views(
    planned: Sequence[PlannedView], tip_mm: npt.ArrayLike, *, sd_pixels: float | None = None
) -> tuple[PlannedView, PlannedView, float]:
    """The two reachable views that together bound a tip best, and the 95 % radius in mm that pixel errors then leave.

    Views down the needle are left out: a tip has no end there. PlanError where no two such views can be reached.
    """
    sd = value("assumptions.needle_tip_sd") if sd_pixels is None else sd_pixels
    tip = np.asarray(tip_mm, dtype=np.float64)
    lowest = value("assumptions.needle_smallest_view_angle")
    usable = [p for p in planned if p.reach.possible and p.measures["needle_angle_deg"] >= lowest]
    best: tuple[float, PlannedView, PlannedView] | None = None
    for first, second in combinations(usable, 2):
        normal = np.zeros((3, 3))
        for found in (first, second):
            project = found.view.detector_from_patient
            columns = [(project.points(tip + step) - project.points(tip - step)) / 0.2 for step in np.eye(3) * 0.1]
            jacobian = np.stack(columns, axis=1) / sd
            normal += jacobian.T @ jacobian
        weakest = float(np.linalg.eigvalsh(normal)[0])
        # A chi-square quantile of 3 degrees of freedom, without scipy.stats, which takes a second to import.
        radius = math.sqrt(2.0 * float(gammaincinv(1.5, 0.95)) / max(weakest, 1e-9))
        if best is None or radius < best[0] - 1e-9:
            best = (radius, first, second)
    if best is None:
        raise PlanError(
            "No two views across the needle can be reached",
            got=f"{len(usable)} of {len(planned)} views",
            remedy="Change the machine's limits, the patient's position or the path",
        )
    return best[1], best[2], best[0]


def _measured(scene: _Scene, view: View) -> dict[str, float]:
    path = scene.needle.trajectory
    tip = np.asarray(scene.needle.tip_mm)
    ray = tip - view.source_mm
    cosine = abs(float(ray @ path.direction)) / float(np.linalg.norm(ray))
    angle = math.degrees(math.acos(min(1.0, cosine)))
    pixel = float(view.pixel_mm_at(tip))
    hidden = pixel / max(math.sin(math.radians(angle)), 1e-3)
    return {"needle_angle_deg": angle, "depth_per_pixel_mm": hidden, **_separations(scene, view)}


def _risk_points(anatomy: Anatomy) -> dict[str, Points]:
    """Places (n, 3) that a tip must be told from, by structure."""
    parts = {"ventral_wall": np.asarray(anatomy.frame.ventral_curve_mm)}
    foramina = [f.centre_mm for f in anatomy.foramina if f.state.known]
    if foramina:
        parts["foramina"] = np.asarray(foramina)
    if anatomy.canal is not None:
        parts["canal"] = np.asarray(anatomy.canal.centreline_mm)
    return parts


def _separations(scene: _Scene, view: View) -> dict[str, float]:
    """Smallest distances in the image, in mm at the isocentre, from the tip to each kind of structure, within ± 3 deg;
    the smallest of them; and what is left of it when the planned cement lies as a ball about the tip.
    """
    apart: dict[str, float] = {}
    for offset in ((0, 0), (ROBUST_DEG, 0), (-ROBUST_DEG, 0), (0, ROBUST_DEG), (0, -ROBUST_DEG)):
        project = _turned(view, *offset).detector_from_patient
        tip = project.points(scene.needle.tip_mm)
        for name, points in _risk_points(scene.anatomy).items():
            near = float(np.linalg.norm(project.points(points) - tip, axis=1).min()) * view.carm.isocentre_pixel_mm
            apart[f"{name}_apart_mm"] = min(near, apart.get(f"{name}_apart_mm", math.inf))
    smallest = min(apart.values())
    volume_mm3 = 1000.0 * sum(deposit.volume_ml for deposit in scene.needle.injections)
    ball_mm = (3 * volume_mm3 / (4 * math.pi)) ** (1 / 3)
    return {**apart, "separation_mm": smallest, "cement_apart_mm": smallest - ball_mm}


def _turned(view: View, primary_deg: float, secondary_deg: float) -> View:
    limit = STEEPEST_SECONDARY_DEG
    return view.with_(
        primary_deg=view.primary_deg + primary_deg,
        secondary_deg=float(np.clip(view.secondary_deg + secondary_deg, -limit, limit)),
    )


def _finished(scene: _Scene, view: View, purpose: str, extra: dict[str, float] | None = None) -> PlannedView:
    measures = {**_measured(scene, view), **(extra or {})}
    return PlannedView(view, purpose, judged(scene.stage, view), reach(view, scene.skin), measures)


def _fixed(scene: _Scene, direction: npt.ArrayLike, name: str, purpose: str) -> PlannedView:
    return _finished(scene, scene.view(direction, name), purpose)


def _behind(scene: _Scene, secondary_deg: float, name: str) -> View:
    """AP beam in the patient's own sagittal plane: the detector behind the sacrum, tilted to the head."""
    left = np.asarray(scene.anatomy.frame.left)
    level = np.cross([0.0, 0.0, 1.0], left)  # straight back, in the patient's own mid-sagittal plane
    back = level / np.linalg.norm(level)
    s = math.radians(secondary_deg)
    return scene.view(math.cos(s) * back + math.sin(s) * np.array([0, 0, 1.0]), name)


def foramina_tilt(
    stage: Stage, level: Level, view_at: Callable[[float], View], lowest_deg: float, highest_deg: float
) -> tuple[float, float]:
    """The tilt, to a degree, at which the anterior foramina of a level stand out most, worst within ± 3 degrees, and
    how far they do there on average. Where no anterior foramen is known, the posterior ones count.

    view_at: the view of a tilt. lowest_deg, highest_deg: tilts that are tried. Every third degree is scored, then every
    degree about the best. PlanError where the level has no known foramen.
    """
    targets = stage.named([level.value, "anterior foramen"]) or stage.named([level.value, "foramen"])
    if not targets:
        raise PlanError(f"No foramen of {level} is known", remedy="Segment the foramina or choose another level")

    @cache
    def score(tilt: float) -> float:
        return float(np.mean([v.detectability for v in judged(stage, view_at(tilt), targets)]))

    def worst(tilt: float) -> float:
        return min(score(tilt + off) for off in (0.0, -ROBUST_DEG, ROBUST_DEG))

    best = max((float(t) for t in np.arange(lowest_deg, highest_deg + 1e-6, ROBUST_DEG)), key=worst)
    near = [t for t in best + np.arange(1 - ROBUST_DEG, ROBUST_DEG) if lowest_deg <= t <= highest_deg]
    best = max((float(t) for t in near), key=worst)
    return best, score(best)


def _foramina_view(scene: _Scene, level: Level) -> PlannedView:
    name = f"AP ({level} foramina)"
    low, high = value("assumptions.foramina_tilt_lowest"), value("assumptions.foramina_tilt_highest")
    tilts = np.arange(low, high + 0.1, ROBUST_DEG)
    possible = [float(t) for t in tilts if reach(_behind(scene, t, name), scene.skin).possible] or [low, high]
    tilt, score = foramina_tilt(scene.stage, level, lambda t: _behind(scene, t, name), possible[0], possible[-1])
    extra = {"foramina_detectability": score, "tilt_deg": tilt}
    return _finished(scene, _behind(scene, tilt, name), f"{level} foramina best seen", extra)


def _lateral_direction(scene: _Scene) -> npt.NDArray[np.float64]:
    """Along the sacrum's own left-right axis; the detector on the side that the machine reaches with less orbit."""
    left = np.asarray(scene.anatomy.frame.left, dtype=np.float64)
    sides = [left, -left]
    orbit = [abs(console_angles(scene.view(side, ""))[0]) for side in sides]
    return sides[int(np.argmin(np.round(orbit, 6)))]


def _sagittal_views(scene: _Scene, level: Level) -> list[PlannedView]:
    """Inlet along the ventral cortex of a level, outlet across it, Ferguson along the S1 endplate."""
    frame = scene.anatomy.frame
    segment = scene.anatomy.level(level)
    arc = 0.5 * (segment.upper_arc_mm + segment.lower_arc_mm) if segment and segment.state.known else 15.0
    tangent = frame.tangent_at(arc)
    caudad = math.degrees(math.asin(float(np.clip(-tangent[2], -1, 1))))
    if tangent[1] < 0:  # below the sacrum's bend the ventral cortex runs forward: no inlet shows it from behind
        caudad = value("assumptions.inlet_start")
    steepest = value("assumptions.sagittal_steepest")
    caudad = min(caudad, steepest)
    cephalad = min(90.0 - caudad, steepest)
    ferguson = float(np.clip(frame.endplate_slope_deg, 15.0, steepest))
    wanted = (
        (-caudad, f"inlet ({level})", f"ventral cortex of {level} in line: what is in front of it is outside"),
        (cephalad, f"outlet ({level})", f"{level} face on: foramina and sacral height"),
        (ferguson, "Ferguson", "L5-S1 disc and S1 endplate in line"),
    )
    return [_finished(scene, _behind(scene, tilt, name), purpose) for tilt, name, purpose in wanted]


def _oblique_direction(scene: _Scene, side: Side) -> npt.NDArray[np.float64]:
    """From behind, horizontally, in the plane of the SI joint; the assumed angle where the joint is not labelled."""
    name = f"si_joint_{side.value}"
    if scene.anatomy.labels.has(name):
        points = scene.anatomy.labels.mask(name).points_mm()
        _u, _s, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        direction = np.cross(axes[2], [0.0, 0.0, 1.0])
        if np.linalg.norm(direction) > 0.3:
            direction = direction / np.linalg.norm(direction)
            return np.asarray(direction if direction[1] > 0 else -direction)
    turn = math.radians(value("assumptions.oblique_start")) * (1 if side is Side.LEFT else -1)
    return np.array([math.sin(turn), math.cos(turn), 0.0])


def _progress_views(scene: _Scene) -> list[PlannedView]:
    """Two views, one from behind and one from the side, in which the needle lies across and its tip apart from risk.

    Score: how much of the needle's advance the image shows, times the tip's clearance from structures up to 15 mm.
    """
    left = np.asarray(scene.anatomy.frame.left)
    behind = np.arange(-40.0, 41.0, 10.0)
    groups: tuple[tuple[str, list[View]], ...] = (
        (
            "progress from behind",
            [_turned(_behind(scene, t, ""), p, 0) for t in np.arange(-30.0, 46.0, 15.0) for p in behind],
        ),
        (
            "progress from the side",
            [
                _turned(scene.view(sign * left, ""), p, s)
                for sign in (1, -1)
                for p in np.arange(-20.0, 21.0, 10.0)
                for s in np.arange(-20.0, 21.0, 10.0)
            ],
        ),
    )
    found = []
    for name, candidates in groups:
        worth = []
        for view in candidates:
            m = _measured(scene, view)
            apart = min(m["separation_mm"], 15.0) / 15.0
            shown = math.sin(math.radians(m["needle_angle_deg"]))
            worth.append(shown * (0.3 + apart) * float(reach(view, scene.skin).possible))
        best = candidates[int(np.argmax(worth))].with_(name=name)
        found.append(_finished(scene, best, "needle across the image, tip apart from foramina, canal and ventral wall"))
    return found
