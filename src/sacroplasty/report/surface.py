"""The surface of a mask as a closed mesh in LPS mm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage import measure

from sacroplasty.errors import AnatomyError
from sacroplasty.space import Mask


def surface_of(mask: Mask) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Vertices (n, 3) in LPS mm and triangles (m, 3) whose normals point outwards; AnatomyError where it is empty.

    Closed, and every edge has two triangles: voxels that touch along an edge alone are joined by one more.
    """
    if mask.is_empty():
        raise AnatomyError("An empty structure has no surface")
    inside = _joined_at_edges(np.pad(mask.array, 1)).astype(np.float32)
    index, faces, _, _ = measure.marching_cubes(inside, 0.5, gradient_direction="ascent")
    vertices = mask.grid.patient_from_voxel.points(index - 1)
    corners = vertices[faces]
    # Six times the enclosed volume: negative where the triangles look inwards.
    volume = float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))
    outwards = faces if volume > 0 else faces[:, ::-1]
    return vertices, np.ascontiguousarray(outwards, dtype=np.int64)


def _joined_at_edges(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask, with a voxel filled beside each pair that meets along an edge alone."""
    filled, found = inside.copy(), True
    while found:
        found = False
        for axes in ((0, 1), (0, 2), (1, 2)):
            seen = np.moveaxis(filled, axes, (0, 1))
            a, b, c, d = seen[:-1, :-1], seen[1:, :-1], seen[:-1, 1:], seen[1:, 1:]
            falling, rising = a & d & ~b & ~c, b & c & ~a & ~d
            b |= falling
            a |= rising
            found |= bool(falling.any() or rising.any())
    return filled
