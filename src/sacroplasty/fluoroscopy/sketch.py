"""Quick projections for the global search: few rays through coarse bone, with no view made for each pose.

Ray by ray (Joseph), in single precision. The obliquity of a ray changes its sum slowly over the image, which the
likeness does not see, so the sums are per slice and not per mm; `projector.py` has the exact integrals.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sacroplasty.fluoroscopy.alignment import Alignment, Vector, rigid
from sacroplasty.fluoroscopy.projector import Image


@njit(parallel=True, fastmath=True, cache=True)
def _sums(volume, source, corner, column, row, out):  # type: ignore[no-untyped-def]
    """Sums of volume[k, a, b] over slices k along the ray of every pixel; geometry in the volume's own axis order."""
    count_k, count_a, count_b = volume.shape
    one = np.uint32(1)
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            ray_k = corner[2] + i * row[2] + j * column[2] - source[2]
            step_a = (corner[0] + i * row[0] + j * column[0] - source[0]) / ray_k
            step_b = (corner[1] + i * row[1] + j * column[1] - source[1]) / ray_k
            a0 = source[0] - step_a * source[2]
            b0 = source[1] - step_b * source[2]
            low, high = 0.0, count_k - 1.0
            for start, step, last in ((a0, step_a, count_a - 1.001), (b0, step_b, count_b - 1.001)):
                if abs(step) < 1e-9:
                    if start < 0 or start > last:
                        high = -1.0
                else:
                    ends = (-start / step, (last - start) / step)
                    low, high = max(low, min(ends)), min(high, max(ends))
            total = np.float32(0)
            first_a, first_b = np.float32(a0), np.float32(b0)
            along_a, along_b = np.float32(step_a), np.float32(step_b)
            for k in range(math.ceil(low), math.floor(high) + 1):
                a, b = first_a + along_a * np.float32(k), first_b + along_b * np.float32(k)
                cell_a, cell_b = np.int32(a), np.int32(b)
                fa, fb = a - np.float32(cell_a), b - np.float32(cell_b)
                ia, ib = np.uint32(cell_a), np.uint32(cell_b)  # unsigned: no code for negative wrap-around
                near = volume[k, ia, ib] + fb * (volume[k, ia, ib + one] - volume[k, ia, ib])
                far = volume[k, ia + one, ib] + fb * (volume[k, ia + one, ib + one] - volume[k, ia + one, ib])
                total += near + fa * (far - near)
            out[i, j] = total


class Sketch:
    """An alignment's mismatch at many poses, fast; source and detector lie between the patient and the machine."""

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment
        bone = alignment.volume
        self._voxel_from_patient = bone.voxel_from_patient @ alignment.start.inverse
        views = alignment.views
        # Source, first pixel, its neighbours to the right and below: patient mm at the nominal pose.
        self._marks = np.array(
            [[v.source_mm, *v.detector_points_mm([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])] for v in views]
        )
        self._away = np.array([v.ahead * v.carm.source_detector_mm for v in views])
        main = np.argmax(np.abs(bone.grid.voxel_from_patient.vectors(self._away)), axis=1)
        self._orders = [{0: (1, 2, 0), 1: (0, 2, 1), 2: (0, 1, 2)}[int(k)] for k in main]
        stored = np.asarray(bone.array, dtype=np.float32) * np.float32(bone.scale)
        self._volumes: list[npt.NDArray[np.float32]] = [
            np.ascontiguousarray(stored.transpose(o[2], o[0], o[1])) for o in self._orders
        ]

    def images(self, p: Vector) -> list[Image]:
        """The bone in every shot, up to a slowly varying factor."""
        marks = self._marks
        if self._alignment.unknown.scale:
            marks = marks.copy()
            marks[:, 1:] += p[6] * self._away[:, None]
        moved = self._voxel_from_patient.points(rigid(p[:6], self._alignment.centre).inverse.points(marks))
        found = []
        for at, order, volume, view in zip(moved, self._orders, self._volumes, self._alignment.views, strict=True):
            source, corner, right, down = at[:, list(order)]
            out = np.empty((view.carm.rows, view.carm.columns), dtype=np.float32)
            _sums(volume, source, corner, right - corner, down - corner, out)
            found.append(out)
        return found

    def mismatch(self, p: Vector) -> float:
        """One minus the correlation of the gradients, mean over the shots."""
        pairs = zip(self._alignment.likenesses, self.images(p), strict=True)
        return float(np.mean([like.mismatch(image) for like, image in pairs]))
