"""The numbers an operator reads off a plan, each from one function."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.approach.judge import Judgement, nearest_tube, tissue_runs
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import Scene
from sacroplasty.approach.skin import local_coordinates
from sacroplasty.approach.tissue import Tissue
from sacroplasty.evidence import value
from sacroplasty.plan import SACRAL_LEVELS, Level, Needle, Point, Trajectory

# Length of the lines along which bone thickness is looked for, and their step, mm.
_PROBE_MM, _PROBE_STEP_MM = 60.0, 0.25


def bevel_azimuth_deg(scene: Scene, needle: Needle, trajectory: Trajectory) -> float | None:
    """Direction the bevel faces: towards the nearest root or foramen, as Zhang 2008 recommends; None without a bevel.

    In the plane across the needle, 0 towards the head, then clockwise seen from the hub. The sharp edge is then away
    from the nerve, and the needle drifts away from the bevel's face.
    """
    if not needle.has_bevel:
        return None
    depths = np.linspace(0.0, trajectory.length_mm, 64)
    points = trajectory.point_at(depths)
    tubes = [t for t in scene.tubes if len(t.points_mm)]
    if not tubes:
        return 0.0
    apart = np.array([np.linalg.norm(points[:, None] - t.points_mm[None], axis=-1).min(axis=1) for t in tubes])
    tube, place = np.unravel_index(int(apart.argmin()), apart.shape)
    nerve = tubes[int(tube)].points_mm
    towards = nerve[np.linalg.norm(nerve - points[place], axis=1).argmin()] - points[place]
    return azimuth_deg(trajectory, towards)


def azimuth_deg(trajectory: Trajectory, towards: npt.ArrayLike) -> float:
    """Azimuth (0 to 360) of a direction around the needle: 0 towards the head, clockwise seen from the hub."""
    forward = trajectory.direction
    up = np.array([0.0, 0.0, 1.0]) - forward[2] * forward
    if np.linalg.norm(up) < 1e-6:
        up = np.array([0.0, 1.0, 0.0]) - forward[1] * forward
    up /= np.linalg.norm(up)
    right = np.cross(forward, up)
    vector = np.asarray(towards, dtype=np.float64)
    return math.degrees(math.atan2(float(vector @ right), float(vector @ up))) % 360.0


def clock_position(azimuth: float) -> str:
    """An azimuth as the operator at the hub reads it, 12 o'clock towards the head."""
    hour = round(azimuth / 30.0) % 12
    return f"{hour or 12} o'clock"


def ct_angles_deg(trajectory: Trajectory) -> tuple[float, float]:
    """In-plane and out-of-plane angle in axial CT.

    In-plane from the sagittal line, positive towards the patient's left; out-of-plane positive towards the head.
    """
    x, y, z = (float(v) for v in trajectory.direction)
    return math.degrees(math.atan2(x, abs(y))), math.degrees(math.asin(max(-1.0, min(1.0, z))))


def marrow_space_mm(scene: Scene, at_mm: npt.ArrayLike) -> float:
    """Sacral bone from its dorsal to its ventral cortex through a place, along the sacral dorso-ventral axis."""
    steps = np.arange(-_PROBE_MM, _PROBE_MM + 1e-9, _PROBE_STEP_MM)
    line = np.asarray(at_mm) + steps[:, None] * np.asarray(scene.anatomy.frame.dorsal)
    bone = scene.tissue_at(line) == Tissue.SACRUM
    middle = len(steps) // 2
    if not bone[middle]:
        return 0.0
    low = middle - int(np.argmin(bone[middle::-1])) + 1
    high = middle + int(np.argmin(bone[middle:])) - 1
    return float(steps[high] - steps[low])


def ventral_parallelism_deg(scene: Scene, trajectory: Trajectory) -> float:
    """Angle between the needle and the ventral sacral edge at the tip, in the mid-sagittal plane; 0 is parallel."""
    frame = scene.anatomy.frame
    arc = float(frame.coordinates(np.asarray(trajectory.target_mm))[0])
    tangent = frame.axes @ frame.tangent_at(arc)
    along = frame.axes @ trajectory.direction
    a, b = math.atan2(-tangent[1], -tangent[2]), math.atan2(along[1], along[2])
    turn = abs((a - b + math.pi) % (2 * math.pi) - math.pi)
    return math.degrees(min(turn, math.pi - turn))


def level_number(level: Level | None) -> float:
    """1 to 5 for S1 to S5, NaN for anything else, so that levels can stand among measures."""
    return float(SACRAL_LEVELS.index(level) + 1) if level in SACRAL_LEVELS else math.nan


def read_outs(scene: Scene, rule: ApproachRule, needle: Needle, judgement: Judgement) -> dict[str, float]:
    """Every measure of one needle's path, unit in the name."""
    path = judgement.trajectory
    frame, lesion = scene.anatomy.frame, scene.lesion
    in_plane, out_of_plane = ct_angles_deg(path)
    local = frame.axes @ path.direction
    to_centre = float((np.asarray(lesion.centre_mm) - np.asarray(path.entry_mm)) @ path.direction)
    entry = local_coordinates(frame, path.entry_mm)
    measures = {
        "skin_to_target_mm": path.length_mm,
        "skin_to_lesion_mm": to_centre,
        "tip_to_lesion_centre_mm": float(math.dist(path.target_mm, lesion.centre_mm)),
        "needle_length_needed_mm": path.length_mm + value("assumptions.needle_length_reserve"),
        "marrow_space_mm": marrow_space_mm(scene, path.target_mm),
        "cephalad_deg": path.cephalad_deg,
        "leftward_deg": path.leftward_deg,
        "ct_in_plane_deg": in_plane,
        "ct_out_of_plane_deg": out_of_plane,
        "sacral_cephalad_deg": math.degrees(math.asin(float(np.clip(local[2], -1, 1)))),
        "sacral_leftward_deg": math.degrees(math.asin(float(np.clip(local[0], -1, 1)))),
        "ventral_parallelism_deg": ventral_parallelism_deg(scene, path),
        "entry_left_of_midline_mm": float(entry[0]),
        "worst_margin_mm": judgement.margin_mm,
    }
    measures.update(_landmark_distances(scene, path))
    measures.update(_cortex_depths(scene, path))
    if rule.midline and judgement.broken_stage < 0:
        measures.update(_canal_levels(scene, judgement))
    return {name: float(number) for name, number in measures.items()}


def palpable_marks(anatomy: Anatomy) -> dict[str, Point]:
    """What can be felt or is aimed at through the skin, LPS mm: PSIS, spine of L5, apex of the hiatus; known ones."""
    marks = {
        name: landmark.position_mm
        for name, landmark in anatomy.landmarks.items()
        if landmark.state.known
        and any(word in name.lower() for word in ("psis", "posterior_superior_iliac", "l5_spin"))
    }
    if anatomy.hiatus is not None and anatomy.hiatus.state.known:
        marks["hiatus"] = anatomy.hiatus.apex_mm
    return marks


def _landmark_distances(scene: Scene, path: Trajectory) -> dict[str, float]:
    """How far the skin entry lies to the left of, and cranial of, each palpable mark that is known."""
    frame = scene.anatomy.frame
    entry = local_coordinates(frame, path.entry_mm)
    found = {}
    for name, place in palpable_marks(scene.anatomy).items():
        offset = entry - local_coordinates(frame, place)
        found[f"entry_left_of_{name}_mm"] = float(offset[0])
        found[f"entry_cranial_of_{name}_mm"] = float(offset[2])
    return found


def _cortex_depths(scene: Scene, path: Trajectory) -> dict[str, float]:
    """Depth at which each bone, joint or canal is first met, and the way through bone."""
    runs = tissue_runs(scene, path)
    bones = (Tissue.SACRUM, Tissue.ILIUM, Tissue.COCCYX)
    found: dict[str, float] = {}
    for kind, begin, _ in runs:
        if kind in (*bones, Tissue.SI_JOINT, Tissue.CANAL):
            found.setdefault(f"depth_to_{kind.words.lower().replace(' ', '_')}_mm", begin)
    bony = [(begin, end) for kind, begin, end in runs if kind in bones]
    if bony:
        found["skin_to_bone_mm"] = bony[0][0]
        found["bone_path_mm"] = sum(end - begin for begin, end in bony)
    return found


def _canal_levels(scene: Scene, judgement: Judgement) -> dict[str, float]:
    """Sacral levels (1 to 5) at which the needle enters the canal and punctures its ventral wall."""
    points = judgement.trajectory.point_at(judgement.starts_mm[2:4])
    entry, bone = (_nearest_level(scene, p) for p in points)
    return {"canal_entry_level": level_number(entry), "bone_entry_level": level_number(bone)}


def _nearest_level(scene: Scene, point: npt.NDArray[np.float64]) -> Level | None:
    """The level whose arc is nearest: a point caudal of the last body belongs to it."""
    arc = float(scene.anatomy.frame.coordinates(point)[0])
    known = [lv for lv in scene.anatomy.levels if lv.state.known]
    if not known:
        return None
    return min(known, key=lambda lv: max(lv.upper_arc_mm - arc, arc - lv.lower_arc_mm, 0.0)).level


def nerve_name(scene: Scene, where_mm: npt.ArrayLike) -> str:
    """The root or foramen nearest to a place, in words."""
    tube = nearest_tube(scene, where_mm)
    return tube.name if tube is not None else "no known root"
