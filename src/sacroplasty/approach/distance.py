"""Distances from a needle to structures that are never larger than the truth.

A structure known only by voxels reaches up to one voxel beyond the centres that are inside it, so a distance to those
centres is too large by up to a voxel (evidence: planning c2). `VOXEL_BOUND` times the spacing is therefore taken off
every field distance; polylines with a radius are measured exactly.
"""

from __future__ import annotations

import math

import edt
import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

# Voxels by which a distance between voxel centres may exceed the distance to the true surface: a slab whose face lies
# just short of the next layer of centres reaches it; spheres, cylinders and oblique slabs stay below.
VOXEL_BOUND = 1.0
# Mean of that excess over surfaces of all directions, voxels (measured, planning c2): taken off for a best estimate.
VOXEL_BIAS = 0.28
# Fields say nothing beyond this distance; every required distance is far smaller.
FAR_MM = 30.0
# Samples along a path are at most this far apart where it matters, voxels.
STEP_VOXELS = 0.25


def signed_distance_mm(mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Field:
    """Distance (i, j, k) in mm from each voxel centre to the nearest centre inside the mask, clipped to FAR_MM.

    Negative inside: minus the distance to the nearest centre outside. An empty mask is FAR_MM everywhere.
    """
    if not mask.any():
        return np.full(mask.shape, FAR_MM, dtype=np.float32)
    # With two labels and no background one pass gives every voxel its distance to the other kind.
    apart = edt.edt(mask.astype(np.uint8) + np.uint8(1), anisotropy=spacing_mm, parallel=2)
    return np.asarray(np.clip(np.where(mask, -apart, apart), -FAR_MM, FAR_MM), dtype=np.float32)


@njit(cache=True, inline="always")
def trilinear(field: Field, x: float, y: float, z: float) -> float:
    """The field at fractional voxel coordinates; FAR_MM outside its grid."""
    if (
        x < 0
        or y < 0
        or z < 0
        or x > field.shape[0] - 1.001
        or y > field.shape[1] - 1.001
        or z > field.shape[2] - 1.001
    ):
        return FAR_MM
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - i, y - j, z - k
    low = (field[i, j, k] * (1 - c) + field[i, j, k + 1] * c) * (1 - b) + (
        field[i, j + 1, k] * (1 - c) + field[i, j + 1, k + 1] * c
    ) * b
    high = (field[i + 1, j, k] * (1 - c) + field[i + 1, j, k + 1] * c) * (1 - b) + (
        field[i + 1, j + 1, k] * (1 - c) + field[i + 1, j + 1, k + 1] * c
    ) * b
    return float(low * (1 - a) + high * a)


@njit(cache=True)
def path_minimum(field: Field, start: Array, end: Array, spacing_mm: float) -> tuple[float, float]:
    """Least field value between two points (3,) in voxel coordinates, and its distance from `start` in mm.

    Neighbouring samples a, b at a gap g bound what lies between by (a + b - g) / 2, because a distance changes by at
    most 1 mm per mm; the bound is what is returned. Stretches that cannot beat the best so far are skipped.
    """
    dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz) * spacing_mm
    enter, leave = clip(start, end, field.shape)
    s, last = enter * length, leave * length
    floor = STEP_VOXELS * spacing_mm
    best, place, before, gap = FAR_MM, s, 0.0, 0.0
    while s <= last:
        f = s / length if length > 0 else 0.0
        here = trilinear(field, start[0] + f * dx, start[1] + f * dy, start[2] + f * dz)
        bound = min(here, 0.5 * (before + here - gap)) if gap > 0 else here
        if bound < best:
            best, place = bound, s
        if s >= last:
            break
        near = here - best <= floor
        step = min(floor if near else here - best, last - s)
        before, gap = here, (step if near else 0.0)
        s = s + step if step > 1e-9 else last
    return best, place


@njit(cache=True)
def clip(start: Array, end: Array, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Fractions along start-end (voxel coordinates) where it enters and leaves a grid; (1, 0) where it misses it."""
    enter, leave = 0.0, 1.0
    for axis in range(3):
        low, high = 0.0, shape[axis] - 1.002
        d = end[axis] - start[axis]
        if abs(d) < 1e-12:
            if start[axis] < low or start[axis] > high:
                return 1.0, 0.0
            continue
        a, b = (low - start[axis]) / d, (high - start[axis]) / d
        enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return (enter, leave) if enter <= leave else (1.0, 0.0)


@njit(cache=True)
def segments_distance(p: Array, q: Array, a: Array, b: Array) -> tuple[float, float]:
    """Exact distance between segments p-q and a-b (3,), mm, and the fraction along p-q where it is."""
    d1, d2, r = q - p, b - a, p - a
    aa, ee, f = np.dot(d1, d1), np.dot(d2, d2), np.dot(d2, r)
    s, t = 0.0, 0.0
    if ee <= 1e-12:
        s = 0.0 if aa <= 1e-12 else min(max(-np.dot(d1, r) / aa, 0.0), 1.0)
    else:
        c = np.dot(d1, r)
        if aa <= 1e-12:
            t = min(max(f / ee, 0.0), 1.0)
        else:
            bb = np.dot(d1, d2)
            denominator = aa * ee - bb * bb
            s = min(max((bb * f - c * ee) / denominator, 0.0), 1.0) if denominator > 1e-9 else 0.0
            t = (bb * s + f) / ee
            if t < 0.0:
                t, s = 0.0, min(max(-c / aa, 0.0), 1.0)
            elif t > 1.0:
                t, s = 1.0, min(max((bb - c) / aa, 0.0), 1.0)
    offset = (p + s * d1) - (a + t * d2)
    return math.sqrt(np.dot(offset, offset)), s


@njit(cache=True)
def polyline_distance(p: Array, q: Array, line: Array) -> tuple[float, float]:
    """Exact distance between segment p-q and a polyline (n, 3), mm, and the fraction along p-q where it is."""
    best, place = 1e9, 0.0
    for n in range(max(len(line) - 1, 1)):
        distance, s = segments_distance(p, q, line[n], line[min(n + 1, len(line) - 1)])
        if distance < best:
            best, place = distance, s
    return best, place


@njit(cache=True)
def stamp_capsule(field: Field, a: Array, b: Array, radius_mm: float, offset_mm: float, spacing_mm: float) -> None:
    """Lower `field` to (distance to the capsule a-b, voxel coordinates, minus `offset_mm`) wherever that is less."""
    reach = (radius_mm + FAR_MM / 2) / spacing_mm
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        low[axis] = max(math.floor(min(a[axis], b[axis]) - reach), 0)
        high[axis] = min(math.ceil(max(a[axis], b[axis]) + reach), field.shape[axis] - 1)
    d = b - a
    dd = max(np.dot(d, d), 1e-12)
    for i in range(low[0], high[0] + 1):
        for j in range(low[1], high[1] + 1):
            for k in range(low[2], high[2] + 1):
                rx, ry, rz = i - a[0], j - a[1], k - a[2]
                t = min(max((rx * d[0] + ry * d[1] + rz * d[2]) / dd, 0.0), 1.0)
                ox, oy, oz = rx - t * d[0], ry - t * d[1], rz - t * d[2]
                value = math.sqrt(ox * ox + oy * oy + oz * oz) * spacing_mm - radius_mm - offset_mm
                if value < field[i, j, k]:
                    field[i, j, k] = value
