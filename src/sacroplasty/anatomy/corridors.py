"""The bony corridors through the pedicles of S1 and S2: the widest straight cylinder from the ilium to the midline."""

from __future__ import annotations

import itertools

import edt
import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.structures import PedicleCorridor, SacralFrame, SacralLevel
from sacroplasty.plan import Level, Side, State, as_point
from sacroplasty.space import LabelMap, Points, Volume

Bools = npt.NDArray[np.bool_]

# Directions tried about the left-right axis: towards the head and towards the front.
TILTS_DEG = np.arange(-20.0, 20.1, 5.0)
# Places of the axis in the midline: from the level's upper to its lower border, and behind the ventral cortex.
PLACE_STEP_MM, DEEPEST_MM = 2.0, 40.0
# The axis is judged from the midline until it leaves bone, at most this far, and at least to beyond the pedicle.
STEP_MM, LONGEST_MM, PEDICLE_MM = 1.0, 75.0, 34.0
LEVELS = (Level.S1, Level.S2)


def pedicle_corridors(
    labels: LabelMap, frame: SacralFrame, levels: tuple[SacralLevel, ...], uncertainty_mm: float
) -> tuple[PedicleCorridor, ...]:
    """The widest corridor of each side at S1 and S2; a level that is not known has none.

    Bone is what is labelled sacrum, and on the corridor's side SI joint and hip bone; canal, root tunnels and the
    space around are walls. The diameter is a lower bound: the last voxel before a wall is not counted.
    """
    found = []
    for level in levels:
        if level.level not in LEVELS or not level.state.known:
            continue
        for side in (Side.RIGHT, Side.LEFT):
            corridor = _widest(labels, frame, level, side, uncertainty_mm)
            if corridor is not None:
                found.append(corridor)
    return tuple(found)


def _widest(
    labels: LabelMap, frame: SacralFrame, level: SacralLevel, side: Side, uncertainty_mm: float
) -> PedicleCorridor | None:
    sign = 1.0 if side is Side.LEFT else -1.0
    starts = _starts(frame, level)
    reach = np.concatenate([starts, starts + sign * LONGEST_MM * np.asarray(frame.left)])
    box = labels.grid.box_around(reach, margin_mm=25.0)
    part = labels.cropped(box)
    solid = np.isin(part.array, [v for n, v in labels.values.items() if n in _solids(side)])
    depth = edt.edt(np.ascontiguousarray(solid, dtype=np.uint8), anisotropy=part.grid.spacing_mm, parallel=2)
    room = Volume(depth, part.grid, "mm")
    ways = np.arange(0.0, LONGEST_MM, STEP_MM)
    best: tuple[float, Points, Points, float] | None = None
    for tilts in itertools.product(np.deg2rad(TILTS_DEG), repeat=2):
        direction = _direction(frame, sign, tilts)
        places = starts[:, None] + ways[None, :, None] * direction
        free = room.sampled(places, outside=0.0)
        inside = np.minimum.accumulate(free > 0, axis=1)
        length = inside.sum(axis=1)
        pedicle = free[:, : round(PEDICLE_MM / STEP_MM)]
        narrow = np.where(length * STEP_MM >= PEDICLE_MM, pedicle.min(axis=1), 0.0)
        n = int(narrow.argmax())
        if narrow[n] > 0 and (best is None or narrow[n] > best[0]):
            best = float(narrow[n]), starts[n], direction, float(length[n] * STEP_MM)
    if best is None:
        return None
    radius, start, direction, length_mm = best
    diameter = max(2 * (radius - part.grid.spacing_mm[0]), 0.0)
    state = State.MEASURED if level.state is State.MEASURED else State.INFERRED
    return PedicleCorridor(
        level.level, side, as_point(start), as_point(start + length_mm * direction), diameter, state, uncertainty_mm
    )


def _starts(frame: SacralFrame, level: SacralLevel) -> Points:
    """Places (n, 3) in the midline of one level, LPS mm."""
    arcs = np.arange(level.upper_arc_mm, level.lower_arc_mm + 0.1, PLACE_STEP_MM)
    depths = np.arange(2 * PLACE_STEP_MM, DEEPEST_MM, PLACE_STEP_MM)
    s, d = (grid.ravel() for grid in np.meshgrid(arcs, depths, indexing="ij"))
    return frame.points(np.stack([s, np.zeros_like(s), d], axis=1))


def _direction(frame: SacralFrame, sign: float, tilts: tuple[float, float]) -> Points:
    left, dorsal, cranial = frame.axes
    direction = sign * left + np.tan(tilts[0]) * cranial + np.tan(tilts[1]) * dorsal
    return np.asarray(direction / np.linalg.norm(direction))


def _solids(side: Side) -> tuple[str, ...]:
    return ("sacrum", f"si_joint_{side}", f"hip_{side}")
