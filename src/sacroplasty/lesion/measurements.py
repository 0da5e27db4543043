"""The distances both papers measure before the needle, each with the two ends it was taken between."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import AnatomyError
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.plan import Level, Needle, Point, Trajectory, as_point
from sacroplasty.space import Mask, Points

# Lines are followed in steps finer than any voxel.
STEP_MM = 0.1
# A line through the sacrum is followed this far to both sides.
REACH_MM = 120.0
# The skin lies on the line within this of the planned entry.
SKIN_REACH_MM = 60.0


@dataclass(frozen=True)
class Measurement:
    """A distance: what, how long (mm), from where to where (LPS mm)."""

    name: str
    value_mm: float
    start_mm: Point
    end_mm: Point

    def describe(self) -> str:
        """Name and value, one decimal."""
        return f"{self.name} {self.value_mm:.1f} mm"


def _between(name: str, start_mm: npt.ArrayLike, end_mm: npt.ArrayLike) -> Measurement:
    start, end = as_point(start_mm), as_point(end_mm)
    return Measurement(name, math.dist(start, end), start, end)


def skin_to_lesion(anatomy: Anatomy, lesion: Lesion, trajectory: Trajectory) -> Measurement:
    """Depth from the skin to the lesion's centre along a path: to the point of its line that is nearest the centre.

    The skin is where the line leaves the body mask, not where the plan says. AnatomyError where the line meets no skin
    within 60 mm of the planned entry (arms or skin outside the field of view).
    """
    skin = _skin_on_line(anatomy.body, trajectory)
    along = float(np.dot(np.subtract(lesion.centre_mm, trajectory.entry_mm), trajectory.direction))
    return _between("skin to lesion centre", skin, trajectory.point_at(along))


def _skin_on_line(body: Mask, trajectory: Trajectory) -> Points:
    depths = np.arange(-SKIN_REACH_MM, min(SKIN_REACH_MM, trajectory.length_mm) + STEP_MM, STEP_MM)
    points = trajectory.point_at(depths)
    known = body.grid.contains(points)
    inside = body.contains(points)
    # The outermost entry on the way in: air before it must have been seen, else the skin is cut off.
    entries = np.flatnonzero(inside[1:] & ~inside[:-1] & known[:-1])
    if not len(entries):
        raise AnatomyError(
            "The path meets no skin",
            got=f"within {SKIN_REACH_MM:.0f} mm of {tuple(round(v, 1) for v in trajectory.entry_mm)}",
            remedy="Use a scan that shows the skin there",
        )
    nearest = entries[np.argmin(np.abs(depths[entries]))]
    return np.asarray((points[nearest] + points[nearest + 1]) / 2)


def centre_offset(lesion: Lesion, trajectory: Trajectory) -> Measurement:
    """How far the line of a path passes from the lesion's centre."""
    along = float(np.dot(np.subtract(lesion.centre_mm, trajectory.entry_mm), trajectory.direction))
    return _between("path to lesion centre", trajectory.point_at(along), lesion.centre_mm)


def marrow_space(anatomy: Anatomy, through_mm: npt.ArrayLike, direction: npt.ArrayLike) -> Measurement:
    """Room in the bone along a line: the run of sacral bone that holds, or is nearest to, a position (LPS mm).

    From cortex to cortex, both included; canal and root tunnels end a run. AnatomyError where the line misses the bone.
    """
    through = np.asarray(as_point(through_mm))
    unit = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    depths = np.arange(-REACH_MM, REACH_MM + STEP_MM, STEP_MM)
    inside = anatomy.labels.mask("sacrum").contains(through + depths[:, None] * unit)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        raise AnatomyError(
            "The line meets no sacral bone",
            got=f"through {tuple(through.round(1).tolist())} along {tuple(unit.round(2).tolist())}",
            remedy="Measure at another place",
        )
    ends = depths[runs[:, 0]] - STEP_MM / 2, depths[runs[:, 1] - 1] + STEP_MM / 2
    gap = np.maximum(np.maximum(ends[0], -ends[1]), 0)
    first = int(np.argmin(gap))
    return _between("marrow space", through + ends[0][first] * unit, through + ends[1][first] * unit)


def marrow_space_at_level(anatomy: Anatomy, level: Level, at_mm: npt.ArrayLike | None = None) -> Measurement:
    """Marrow space from the dorsal to the ventral cortex at a level, across the ventral curve's tangent.

    Through the body's centre, or through the place in the level that lies across from `at_mm` (the lesion's centre, for
    a lesion in the ala). In the midline the canal ends the run: the space is the body's.
    """
    segment = anatomy.require_level(level)
    frame = anatomy.frame
    centre = np.asarray(segment.body_centre_mm if at_mm is None else as_point(at_mm))
    tangent = frame.tangent_at(float(frame.coordinates(centre)[0]))
    dorsal = np.cross(np.asarray(frame.left), tangent)
    found = marrow_space(anatomy, centre, -dorsal)
    return Measurement(f"marrow space {level}, dorsal to ventral cortex", found.value_mm, found.start_mm, found.end_mm)


def marrow_along(anatomy: Anatomy, lesion: Lesion, trajectory: Trajectory) -> Measurement:
    """Marrow space along a path's line at the lesion: from where the needle enters its bone to the far cortex."""
    along = float(np.dot(np.subtract(lesion.centre_mm, trajectory.entry_mm), trajectory.direction))
    found = marrow_space(anatomy, trajectory.point_at(along), trajectory.direction)
    return Measurement("marrow space along the path", found.value_mm, found.start_mm, found.end_mm)


def distances_to_nerves(anatomy: Anatomy, lesion: Lesion) -> tuple[Measurement, ...]:
    """From the lesion's nearest voxel to the canal and to every known foramen's rim circle, nearest first."""
    inside = lesion.mask.points_mm()
    tree = cKDTree(inside)
    found = []
    if anatomy.labels.has("canal"):
        canal = anatomy.labels.mask("canal").points_mm()
        gap, place = tree.query(canal)
        found.append(_between("lesion to canal", inside[place[np.argmin(gap)]], canal[np.argmin(gap)]))
    for foramen in anatomy.foramina:
        if foramen.state.known:
            rim = _rim(foramen.centre_mm, foramen.axis, foramen.radius_mm)
            gap, place = tree.query(rim)
            nearest = int(np.argmin(gap))
            found.append(_between(f"lesion to {foramen.name}", inside[place[nearest]], rim[nearest]))
    return tuple(sorted(found, key=lambda m: m.value_mm))


def _rim(centre: Point, axis: Point, radius_mm: float) -> Points:
    """Points (48 on the rim, then the centre) of a foramen's opening."""
    normal = np.asarray(axis) / np.linalg.norm(axis)
    first = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    first /= np.linalg.norm(first)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    circle = np.cos(angles) * first + np.sin(angles) * np.cross(normal, first)
    return np.vstack([np.asarray(centre) + radius_mm * circle, np.asarray(centre)])


def hiatus_margin_mm(anatomy: Anatomy, needle: Needle) -> float | None:
    """Room that is left on each side of a needle in the depth of the sacral hiatus, mm; None where not measurable."""
    hiatus = anatomy.hiatus
    if hiatus is None or not hiatus.state.known or math.isnan(hiatus.depth_mm):
        return None
    return (hiatus.depth_mm - needle.outer_diameter_mm) / 2
