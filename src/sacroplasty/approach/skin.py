"""Where a needle may enter the skin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy, SacralFrame
from sacroplasty.space import Mask, Points

# Skin points are taken one per cell of this size, in the sacral frame, so that a moved or mirrored patient gives the
# same points moved or mirrored.
CELL_MM = 6.0
# Through the hiatus the way is narrow: smaller cells within this distance of the midline.
MIDLINE_CELL_MM, MIDLINE_MM = 3.0, 16.0
# The body's outer voxels this near to the rim of the image are cut surface, not skin.
_RIM_VOXELS = 2
# Skin has measured air in front of it: all within this distance must have been scanned. Not a multiple of usual voxels,
# whose rims rounding would put inside on one side and outside on the other.
_SEEN_AROUND_MM = 4.13
# Skin behind this plane of the sacral frame can be reached in a prone patient, mm dorsal of the promontory.
_DORSAL_FROM_MM = -40.0
# The steps avoid the half voxels of usual grids, where rounding would treat left and right differently.
_NORMAL_RADIUS_MM, _NORMAL_STEP_MM = 8.0, 1.93


def local_coordinates(frame: SacralFrame, points_mm: npt.ArrayLike) -> Points:
    """Straight sacral coordinates (..., 3) of LPS positions: left, dorsal and cranial of the promontory, mm."""
    return (np.asarray(points_mm, dtype=np.float64) - np.asarray(frame.origin_mm)) @ frame.axes.T


def one_per_cell(local_mm: Points, cell_mm: float) -> npt.NDArray[np.intp]:
    """Indices of the point nearest to the centre of each occupied cell, cells centred on multiples of `cell_mm`."""
    cell = np.rint(local_mm / cell_mm)
    off = np.linalg.norm(local_mm - cell * cell_mm, axis=1)
    # Ties go by place with |x|, so that left and right are chosen alike.
    place = (np.abs(local_mm[:, 0]), local_mm[:, 1], local_mm[:, 2])
    order = np.lexsort((*(np.round(p, 4) for p in place), np.round(off, 4), cell[:, 2], cell[:, 1], cell[:, 0]))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (cell[order][1:] != cell[order][:-1]).any(axis=1)
    return np.asarray(order[first])


def skin_points(body: Mask, frame: SacralFrame, cell_mm: float = CELL_MM, most_lateral_mm: float = np.inf) -> Points:
    """Points (n, 3) on the dorsal and lateral skin around the sacrum, LPS mm, one per cell, up to so far lateral."""
    array = body.array
    surface = np.zeros_like(array)
    r = _RIM_VOXELS
    core = tuple(slice(r, n - r) for n in array.shape)
    buried = np.ones(array[core].shape, dtype=bool)
    for axis in range(3):
        for shift in (-1, 1):
            moved = list(core)
            moved[axis] = slice(r + shift, array.shape[axis] - r + shift)
            buried &= array[tuple(moved)]
    surface[core] = array[core] & ~buried
    points = body.grid.patient_from_voxel.points(np.argwhere(surface))
    if not len(points):
        return points
    local = local_coordinates(frame, points)
    back = np.flatnonzero((local[:, 1] > _DORSAL_FROM_MM) & (np.abs(local[:, 0]) <= most_lateral_mm))
    return np.asarray(points[back[one_per_cell(local[back], cell_mm)]])


def whole_skin(anatomy: Anatomy, points_mm: Points) -> npt.NDArray[np.bool_]:
    """Which surface points (n, 3), LPS mm, are skin: where the scan was cut short, the body's border is none."""
    steps = np.array([-_SEEN_AROUND_MM, 0.0, _SEEN_AROUND_MM])
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) @ anatomy.frame.axes
    around = np.asarray(points_mm)[:, None, :] + offsets
    seen = anatomy.body.grid.contains(around)
    if "scanned" in anatomy.maps:
        seen = seen & (anatomy.maps["scanned"].sampled(around, outside=0.0) > 0.5)
    return np.asarray(seen.all(axis=1))


def skin_normals(body: Mask, points_mm: Points, frame: SacralFrame) -> Points:
    """Unit normals (n, 3) out of the body at skin points: away from the mass in a small ball around each."""
    steps = np.arange(-4, 5) * _NORMAL_STEP_MM
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    # Sampled along the sacral axes, so that a turned patient gets turned normals.
    offsets = offsets[np.linalg.norm(offsets, axis=1) <= _NORMAL_RADIUS_MM] @ frame.axes
    inside = body.contains(points_mm[:, None, :] + offsets)
    outward = -(inside[..., None] * offsets).sum(axis=1)
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    return np.asarray(outward / np.where(length > 0, length, 1.0))
