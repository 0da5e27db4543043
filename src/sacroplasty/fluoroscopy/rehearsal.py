"""The approach rehearsed: at each checkpoint of the path, what AP and lateral must show, what a breach would look like,
and when to stop; as words, and as a sheet or sequence of simulated radiographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.display import Display, displayed
from sacroplasty.fluoroscopy.material import Tissues
from sacroplasty.fluoroscopy.radiograph import render
from sacroplasty.fluoroscopy.view import View
from sacroplasty.fluoroscopy.visibility import contours
from sacroplasty.plan import NeedlePlan, Point, as_point
from sacroplasty.space import Volume

# A checkpoint of its own must lie this far from the others.
_APART_MM = 4.0
# Foramina farther than this from the target are not outlined: their labels would cover what is near.
_OUTLINED_MM = 45.0


@dataclass(frozen=True)
class Checkpoint:
    """One stop on the way: depth below the skin, the tip's place (LPS mm), what it is at, what each view shows, what
    a breach from here would look like, and what to do.
    """

    name: str
    depth_mm: float
    tip_mm: Point
    shows: tuple[str, ...]
    breach: str
    action: str


def rehearsal(placed: NeedlePlan, anatomy: Anatomy, views: Sequence[View]) -> tuple[Checkpoint, ...]:
    """The checkpoints of a needle in order: skin, periosteum, each cortex and joint, canal roof and floor, the pedicle
    (the place nearest to a foramen or the canal), lesion and its centre.

    `views` should be AP and lateral at least; each checkpoint has one sentence per view.
    """
    if not views:
        raise InputError("A rehearsal needs views", remedy="Use views_for(plan, anatomy, ct)")
    path = placed.trajectory
    stops = _stops(placed, anatomy)
    found = []
    for n, (name, depth) in enumerate(stops):
        tip = as_point(path.point_at(depth))
        shows = tuple(f"{view.name or view.angles_label}: {_relations(view, tip, anatomy)}" for view in views)
        following = stops[n + 1][0] if n + 1 < len(stops) else ""
        action = f"advance {stops[n + 1][1] - depth:.0f} mm to {following}" if following else "stop: target reached"
        found.append(Checkpoint(name, depth, tip, shows, _breach(tip, anatomy), action))
    return tuple(found)


def _stops(placed: NeedlePlan, anatomy: Anatomy) -> list[tuple[str, float]]:
    """Names and depths in mm of the checkpoints, rising."""
    path = placed.trajectory
    bones = ("ilium", "hip", "sacrum")
    touched = inside_canal = False
    stops: list[tuple[str, float]] = [("skin", 0.0)]
    for crossing in sorted(placed.crossings, key=lambda c: c.start_depth_mm):
        words = crossing.structure.replace("_", " ")
        name = f"entering {words}"
        if crossing.structure.startswith(bones) and not touched:
            name, touched = f"periosteum of the {words}", True
        elif words.endswith("canal"):
            name, inside_canal = "through the canal's roof", True
        elif inside_canal:
            name, inside_canal = f"canal floor, {name}", False
        if 0.5 < crossing.start_depth_mm < path.length_mm - 0.5:
            stops.append((name, crossing.start_depth_mm))
    narrow = _narrowest(placed, anatomy)
    if narrow is not None and min(abs(narrow - depth) for _, depth in [*stops, ("", path.length_mm)]) > _APART_MM:
        stops.append(("pedicle: nearest to foramen and canal", narrow))
    stops.sort(key=lambda stop: stop[1])
    return [*stops, ("lesion centre, the target", path.length_mm)]


def _narrowest(placed: NeedlePlan, anatomy: Anatomy) -> float | None:
    """Depth in mm inside the sacrum at which the needle is nearest to a foramen or the canal; None where none is."""
    path = placed.trajectory
    within = [c for c in placed.crossings if c.structure == "sacrum"]
    risks = [np.asarray([f.centre_mm]) for f in anatomy.foramina if f.state.known]
    if anatomy.canal is not None:
        risks.append(np.asarray(anatomy.canal.centreline_mm))
    if not within or not risks:
        return None
    depths = np.concatenate([np.arange(c.start_depth_mm, c.end_depth_mm, 1.0) for c in within])
    points = np.asarray(path.point_at(depths))
    away = np.linalg.norm(points[:, None] - np.concatenate(risks)[None], axis=-1).min(axis=1)
    return float(depths[int(np.argmin(away))])


def _references(view: View, anatomy: Anatomy) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Named points to tell a place by; the ventral curve is a wall from the side and the midline from behind."""
    sideways = abs(float(view.ahead @ np.asarray(anatomy.frame.left))) > 0.5
    known = [(f.name, np.asarray([f.centre_mm])) for f in anatomy.foramina if f.state.known]
    known.append(("ventral cortex" if sideways else "midline", np.asarray(anatomy.frame.ventral_curve_mm)))
    if anatomy.canal is not None and sideways:
        known.append(("sacral canal", np.asarray(anatomy.canal.centreline_mm)))
    return known


def _relations(view: View, tip_mm: Point, anatomy: Anatomy) -> str:
    """Where the tip's shadow lies from the two nearest references, in mm at the isocentre and patient's directions."""
    project = view.detector_from_patient
    tip = project.points(tip_mm)
    scale = view.carm.isocentre_pixel_mm
    apart = []
    for name, points in _references(view, anatomy):
        offset = (tip - project.points(points)) * scale
        n = int(np.argmin(np.linalg.norm(offset, axis=1)))
        apart.append((float(np.linalg.norm(offset[n])), name, offset[n]))
    apart.sort(key=lambda part: part[0])
    words = [f"{_direction(view, offset)} {name}" if d > 1 else f"on the {name}" for d, name, offset in apart[:2]]
    return "tip " + ", ".join(words)


def _direction(view: View, offset_mm: npt.NDArray[np.float64]) -> str:
    """For example `12 mm right of`, from an image offset (2,) in mm: the two image axes named by patient directions."""
    patient = view.camera_from_patient.inverse
    parts = []
    for axis, amount in zip(np.eye(3)[:2], offset_mm, strict=True):
        if abs(amount) < max(1.0, 0.35 * float(np.abs(offset_mm).max())):
            continue
        towards = patient.vectors(axis) * np.sign(amount)
        main = int(np.argmax(np.abs(towards)))
        word = (("left of", "right of"), ("behind", "in front of"), ("above", "below"))[main][int(towards[main] < 0)]
        parts.append(f"{abs(amount):.0f} mm {word}")
    return " and ".join(parts) or "beside"


def _breach(tip_mm: Point, anatomy: Anatomy) -> str:
    """What going wrong from here would show: the ventral wall in the lateral view, or the nearest opening in AP."""
    tip = np.asarray(tip_mm)
    depth = float(anatomy.frame.coordinates([tip_mm])[0, 2])
    known = [f for f in anatomy.foramina if f.state.known]
    near = min(known, key=lambda f: float(np.linalg.norm(np.asarray(f.centre_mm) - tip)), default=None)
    words = [f"lateral view: a tip {max(depth, 0):.0f} mm further forward passes the ventral cortex"]
    if near is not None:
        distance = float(np.linalg.norm(np.asarray(near.centre_mm) - tip)) - near.radius_mm
        words.append(
            f"AP view: a tip over the outline of {near.name} ({max(distance, 0):.0f} mm away) is in or behind it"
        )
    if depth < value("assumptions.clearance_amber"):
        words.append("this close to the ventral cortex advance only under lateral view")
    return "; ".join(words)


def rehearsal_frames(
    ct: Volume | Tissues,
    placed: NeedlePlan,
    anatomy: Anatomy,
    views: Sequence[View],
    checkpoints: Sequence[Checkpoint],
    *,
    seed: int = 0,
) -> tuple[tuple[Display, ...], ...]:
    """Displays of every checkpoint (outer) in every view (inner): the sequence.

    Over all of them lie the outlines of canal and ventral cortex and of the foramina of the levels near the target.
    """
    tissues = ct if isinstance(ct, Tissues) else Tissues.of(ct)
    tip = np.asarray(placed.tip_mm)
    known = [f for f in anatomy.foramina if f.state.known]
    levels = {f.level for f in known if np.linalg.norm(np.asarray(f.centre_mm) - tip) < _OUTLINED_MM}
    frames = []
    for n, stop in enumerate(checkpoints):
        shown = (
            replace(placed, trajectory=placed.trajectory.moved(target_mm=stop.tip_mm)) if stop.depth_mm >= 1 else None
        )
        row = []
        caption = f"{stop.name}, {stop.depth_mm:.0f} mm deep"
        for m, view in enumerate(views):
            shot = render(tissues, view, [] if shown is None else [shown], seed=seed + n * len(views) + m)
            row.append(displayed(shot, contours(anatomy, view, levels=sorted(levels)), caption=caption))
        frames.append(tuple(row))
    return tuple(frames)


def sheet(frames: Sequence[Sequence[Display]]) -> npt.NDArray[np.uint8]:
    """One RGB image (rows, columns, 3): a row per checkpoint, a column per view."""
    if not frames or not frames[0]:
        raise InputError("A sheet needs at least one frame")
    return np.concatenate([np.concatenate([f.rgb for f in row], axis=1) for row in frames], axis=0)
