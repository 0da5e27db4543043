"""Line integrals of a packed volume along every ray of a view, on the CPU by shear-warp, on request on a GPU.

Cost follows the volume's resolution, not the detector's: each slice across the dominant axis of the central ray is
resampled to an intermediate image on a plane near the isocentre, the slices are added there, and the sum is mapped to
the detector once with cubic interpolation (Lacroute & Levoy 1994, as an object-order Joseph projector).
`joseph.py` is the ray-driven specification that this must match.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.view import View

Image = npt.NDArray[np.float32]

DEVICES = ("cpu", "gpu")
# The intermediate image's sampling, in mm on its plane: finer than a CT voxel loses nothing a detector shows.
STEP_MM = 0.5
# Cells kept free around the intermediate image for the cubic kernel.
_BORDER = 3


@njit(fastmath=True, cache=True)
def _interpolated_row(low, high, weight, row):  # type: ignore[no-untyped-def]
    for z in range(low.size):
        row[z] = np.float32(low[z]) + weight * (np.float32(high[z]) - np.float32(low[z]))


@njit(fastmath=True, cache=True)
def _add_resampled(row, total, start, step):  # type: ignore[no-untyped-def]
    for n in range(total.size):
        place = start + step * np.float32(n)
        cell = np.int32(place)
        weight = place - np.float32(cell)
        index = np.uint32(cell)  # unsigned: no code for negative wrap-around, a third faster
        total[n] += row[index] + weight * (row[index + np.uint32(1)] - row[index])


@njit(parallel=True, fastmath=True, cache=True)
def _shear(volume, a_start, a_step, b_start, b_step, image):  # type: ignore[no-untyped-def]
    """Sum over slices k of volume[a, k, b], sampled at a = a_start[k] + a_step[k] * row, likewise b along columns."""
    count_a, count_k, count_b = volume.shape
    rows, columns = image.shape
    for r in prange(rows):
        total = np.zeros(columns, np.float32)
        row = np.zeros(count_b + 2, np.float32)
        for k in range(count_k):
            a = a_start[k] + a_step[k] * r
            cell = math.floor(a)
            if cell < 0 or cell >= count_a - 1:
                continue
            first = max(0, math.ceil(-b_start[k] / b_step[k]))
            last = min(columns - 1, math.floor((count_b - 1 - b_start[k]) / b_step[k]))
            if first > last:
                continue
            low = int(b_start[k] + b_step[k] * first)
            high = min(count_b - 1, int(b_start[k] + b_step[k] * last) + 1)
            used = high + 1 - low
            _interpolated_row(
                volume[cell, k, low : high + 1], volume[cell + 1, k, low : high + 1], np.float32(a - cell), row
            )
            row[used] = row[used - 1]  # float32 rounding may step one cell on
            row[used + 1] = row[used - 1]
            start = np.float32(max(0.0, b_start[k] + b_step[k] * first - low))
            _add_resampled(row, total[first : last + 1], start, np.float32(b_step[k]))
        for n in range(columns):  # a slice assignment here would double the compile time
            image[r, n] = total[n]


@njit(inline="always")
def _cubic(t, weights):  # type: ignore[no-untyped-def]
    """Catmull-Rom weights of the four cells around a fraction t."""
    weights[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    weights[1] = (1.5 * t - 2.5) * t * t + 1.0
    weights[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    weights[3] = (0.5 * t - 0.5) * t * t


@njit(parallel=True, fastmath=True, cache=True)
def _warp(image, source, corner, column, row, lengths, axes, plane, start, step, scale, out):  # type: ignore[no-untyped-def]
    """Map the intermediate image to the detector, times the path in mm per slice."""
    a, b, k = axes[0], axes[1], axes[2]
    for i in prange(out.shape[0]):
        wa = np.empty(4, np.float32)
        wb = np.empty(4, np.float32)
        ray = np.empty(3)
        for j in range(out.shape[1]):
            for c in range(3):
                ray[c] = corner[c] + i * row[c] + j * column[c] - source[c]
            t = (plane - source[k]) / ray[k]
            x = (source[a] + t * ray[a] - start[0]) / step[0]
            y = (source[b] + t * ray[b] - start[1]) / step[1]
            ix = int(x)
            iy = int(y)
            _cubic(np.float32(x - ix), wa)
            _cubic(np.float32(y - iy), wb)
            total = np.float32(0)
            for p in range(4):
                part = np.float32(0)
                for q in range(4):
                    part += wb[q] * image[ix - 1 + p, iy - 1 + q]
                total += wa[p] * part
            dx = lengths[0, 0] + i * lengths[2, 0] + j * lengths[1, 0]
            dy = lengths[0, 1] + i * lengths[2, 1] + j * lengths[1, 1]
            dz = lengths[0, 2] + i * lengths[2, 2] + j * lengths[1, 2]
            path = math.sqrt(dx * dx + dy * dy + dz * dz) / abs(ray[k])
            out[i, j] = total * np.float32(path * scale)


class Rays:
    """The rays of a view in the index space of a packed volume: source, first pixel, steps per column and row.

    `lengths_mm` rows: source to first pixel, step per column, step per row, in mm, for the path length of a ray.
    `axes` is (a, b, k): k the axis the central ray runs along most, b the contiguous axis where it is free.
    """

    def __init__(self, volume: PackedVolume, view: View) -> None:
        pixels = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        first, right, down = view.detector_points_mm(pixels)
        self.lengths_mm = np.array([first - view.source_mm, right - first, down - first])
        voxel = volume.voxel_from_patient
        self.source = voxel.points(view.source_mm)
        self.corner = voxel.points(first)
        self.column, self.row = voxel.vectors(self.lengths_mm[1:])
        self.central = voxel.vectors(view.ahead * view.carm.source_detector_mm)
        main = int(np.argmax(np.abs(self.central)))
        self.axes = {0: (1, 2, 0), 1: (0, 2, 1), 2: (0, 1, 2)}[main]
        self.voxels_per_mm = np.linalg.norm(voxel.vectors(np.eye(3)), axis=0)


def line_integrals(volume: PackedVolume, view: View, step_mm: float = STEP_MM, *, device: str = "cpu") -> Image:
    """Integral (rows, columns) of a packed volume along the ray of every pixel: density per mm times mm.

    Only what lies between the source and the detector counts. `step_mm` samples the intermediate image; use about the
    voxel size of a coarse volume. The array is as the source sees it: never mirrored. device: one of DEVICES; "gpu"
    goes ray by ray on the first CUDA device, does not use `step_mm`, and raises InputError where there is none.
    """
    if device not in DEVICES:
        raise InputError("There is no such device", got=device, remedy=f"Use {' or '.join(DEVICES)}")
    if device == "gpu":
        from sacroplasty.fluoroscopy._gpu import line_integrals_on_gpu

        return line_integrals_on_gpu(volume, view)
    rays = Rays(volume, view)
    a, b, k = rays.axes
    plane = rays.source[k] + rays.central[k] * view.carm.source_isocentre_mm / view.carm.source_detector_mm
    last = np.array([view.carm.rows, view.carm.columns]) - 1
    corners = np.array([[0, 0], [0, last[1]], [last[0], 0], [last[0], last[1]]])
    rim = rays.corner + corners[:, :1] * rays.row + corners[:, 1:] * rays.column - rays.source
    t = (plane - rays.source[k]) / rim[:, k]
    footprint = rays.source + t[:, None] * rim
    step = step_mm * rays.voxels_per_mm[[a, b]]
    start = footprint[:, [a, b]].min(axis=0) - _BORDER * step
    counts = np.ceil((footprint[:, [a, b]].max(axis=0) - start) / step).astype(int) + _BORDER + 1
    slices = np.arange(volume.array.shape[k])
    grown = (slices - rays.source[k]) / (plane - rays.source[k])
    detector = rays.central[k] / (plane - rays.source[k])
    between = (grown > 1e-3) & (grown < detector)
    out = np.zeros((view.carm.rows, view.carm.columns), dtype=np.float32)
    if not between.any():
        return out
    grown, used = grown[between], slices[between]
    image = np.empty((int(counts[0]), int(counts[1])), dtype=np.float32)
    stack = volume.array.transpose(a, k, b)[:, used[0] : used[-1] + 1]
    _shear(
        stack,
        rays.source[a] + grown * (start[0] - rays.source[a]),
        grown * step[0],
        rays.source[b] + grown * (start[1] - rays.source[b]),
        grown * step[1],
        image,
    )
    axes = np.array(rays.axes)
    _warp(
        image,
        rays.source,
        rays.corner,
        rays.column,
        rays.row,
        rays.lengths_mm,
        axes,
        plane,
        start,
        step,
        volume.scale,
        out,
    )
    return out
