"""The ventral and the dorsal surface of the sacrum unrolled along arc length and distance from the midline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.signed_distance import BoolArray, FloatArray
from sacroplasty.anatomy.structures import Face

Array = npt.NDArray[np.float64]

STEP_MM = 1.0
HALF_WIDTH_MM = 45.0
DEPTHS_MM = (-25.0, 65.0)
# The cortex lies in these outermost millimetres below the hull's surface.
SHELL_MM = (-1.0, 4.0)
# Its outermost part places the gap: a slanting tunnel lies elsewhere below.
OUTER_MM = 1.2


@dataclass(frozen=True, eq=False)
class UnrolledSurface:
    """Brightest HU of the shell and of its outer part (arc, lateral), depths of the hull's and the bone's surface
    (NaN where there is no bone), and where there is any hull in view.
    """

    arc_mm: Array
    lateral_mm: Array
    hu: FloatArray
    outer_hu: FloatArray
    depth_mm: FloatArray
    bone_depth_mm: FloatArray
    seen: BoolArray


def unrolled_surface(field: SacrumField, face: Face) -> UnrolledSurface:
    """The ventral or dorsal surface of the hull, unrolled in steps of 1 mm."""
    arc = np.arange(0.0, field.length_mm + 5, STEP_MM)
    lateral = np.arange(-HALF_WIDTH_MM, HALF_WIDTH_MM + 0.1, STEP_MM)
    depth = np.arange(*DEPTHS_MM, field.spacing_mm)
    points = field.frame.points(np.stack(np.meshgrid(arc, lateral, depth, indexing="ij"), axis=-1))
    hull = field.sampled(field.hull.astype(np.float32), points, 0.0) > 0.5
    hu = field.sampled(field.hu, points, -1000.0)
    seen = field.sampled(field.seen.astype(np.float32), points, 0.0) > 0.99
    bone = field.sampled(field.signed_mm, points, -12.0) > 0
    if face is Face.POSTERIOR:
        hull, hu, seen, bone, depth = hull[..., ::-1], hu[..., ::-1], seen[..., ::-1], bone[..., ::-1], depth[::-1]
    first = hull.argmax(axis=2)
    shell = np.arange(round(SHELL_MM[0] / field.spacing_mm), round(SHELL_MM[1] / field.spacing_mm) + 1)
    index = np.clip(first[..., None] + shell, 0, len(depth) - 1)
    values = np.take_along_axis(hu, index, axis=2)
    outer = shell * field.spacing_mm <= OUTER_MM
    bone_depth = np.where(bone.any(axis=2), depth[bone.argmax(axis=2)], np.nan).astype(np.float32)
    whole = np.asarray(np.take_along_axis(seen, index, axis=2).all(axis=2) & hull.any(axis=2))
    return UnrolledSurface(
        arc,
        lateral,
        values.max(axis=2),
        values[..., outer].max(axis=2),
        _carried(depth[first], np.asarray(hull.any(axis=2))),
        bone_depth,
        whole,
    )


def _carried(depths: Array, known: BoolArray) -> FloatArray:
    """Depths with those of the nearest known place where there is no hull."""
    if not known.any():
        return np.zeros(depths.shape, dtype=np.float32)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(depths[tuple(nearest)], dtype=np.float32)


def surface_depth_mm(surface: UnrolledSurface, arc_mm: float, lateral_mm: float) -> float:
    """Depth of the hull's surface at an arc length and lateral position; beside the bone that of the nearest place."""
    row = int(np.argmin(np.abs(surface.arc_mm - arc_mm)))
    column = int(np.argmin(np.abs(surface.lateral_mm - lateral_mm)))
    return float(surface.depth_mm[row, column])
