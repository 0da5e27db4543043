"""Enclosed lumens: voxels that bone surrounds on most sides, which is what a canal or a tunnel is and marrow is not."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.signed_distance import FloatArray
from sacroplasty.space import threaded

IntArray = npt.NDArray[np.int64]
VOXELS_AT_ONCE = 8192


def directions(count: int) -> npt.NDArray[np.float64]:
    """Unit vectors (count, 3) spread evenly over the sphere (Fibonacci spiral)."""
    n = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * n / count), np.pi * (1 + 5**0.5) * n
    return np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1)


def occlusion(
    signed_mm: FloatArray,
    voxels: IntArray,
    spacing_mm: float,
    range_mm: float,
    count: int = 96,
    enough: float | None = None,
) -> FloatArray:
    """Share (n,) of directions in which bone is met within a range, for voxels (n, 3) of a signed distance (positive
    in bone). With `enough` it is counted only until it is known whether the share reaches that.
    """
    shares = np.zeros(len(voxels), dtype=np.float32)
    # Neighbouring rays tell the same: in this order the first ones already look all around.
    rays = directions(count)[np.argsort(np.arange(count) * 0.6180339887 % 1.0)]
    flat = np.ascontiguousarray(signed_mm, dtype=np.float32).ravel()
    needed = 0 if enough is None else int(np.ceil(enough * count - 1e-9))
    threaded(
        lambda first, last: _occlusion(
            flat, signed_mm.shape, voxels, rays / spacing_mm, spacing_mm, range_mm, needed, shares, first, last
        ),
        len(voxels),
        VOXELS_AT_ONCE,
    )
    return shares


@numba.njit(cache=True, nogil=True, fastmath=True)
def _occlusion(flat, shape, voxels, rays, spacing, reach, needed, shares, first, last):  # type: ignore[no-untyped-def]
    """`rays` (m, 3) are in voxels per mm."""
    ni, nj, nk = shape
    count = len(rays)
    for q in range(first, last):
        blocked = 0
        x, y, z = voxels[q, 0] + 0.5, voxels[q, 1] + 0.5, voxels[q, 2] + 0.5
        for r in range(count):
            way = spacing
            while way < reach:
                i, j, k = int(x + rays[r, 0] * way), int(y + rays[r, 1] * way), int(z + rays[r, 2] * way)
                if i < 0 or j < 0 or k < 0 or i >= ni or j >= nj or k >= nk:
                    break
                distance = flat[np.uintp((i * nj + j) * nk + k)]
                if distance > 0.0:
                    blocked += 1
                    break
                # The distance to bone bounds the next free step; a little less, because voxels are sampled.
                way += max(0.8 * spacing, -0.8 * distance)
            if needed and (blocked >= needed or blocked + count - 1 - r < needed):
                break
        shares[q] = blocked / count


def enclosure(
    free: npt.NDArray[np.bool_], columns: slice, pixel_mm: float, range_mm: float
) -> tuple[FloatArray, FloatArray]:
    """For slices (n, x, d) of free space: share of 24 in-plane rays that meet an obstacle within a range, and the same
    for the rays that point ventrally (towards smaller d). Only `columns` of x are filled.
    """
    around = np.zeros(free.shape, dtype=np.float32)
    ventral = np.zeros(free.shape, dtype=np.float32)
    low, high, _ = columns.indices(free.shape[1])
    _enclosure(np.ascontiguousarray(free), low, high, pixel_mm, range_mm, around, ventral)
    return around, ventral


@numba.njit(cache=True, parallel=True)
def _enclosure(
    free: npt.NDArray[np.bool_],
    low: int,
    high: int,
    pixel: float,
    reach: float,
    around: FloatArray,
    ventral: FloatArray,
) -> None:
    rays = 24
    for n in numba.prange(free.shape[0]):
        for x in range(low, high):
            for d in range(free.shape[2]):
                if not free[n, x, d]:
                    continue
                met, met_ventral, all_ventral = 0, 0, 0
                for r in range(rays):
                    angle = 2 * np.pi * r / rays
                    along_x, along_d = np.cos(angle), np.sin(angle)
                    hit = False
                    step = 1.0
                    while step * pixel < reach:
                        to_x, to_d = round(x + step * along_x), round(d + step * along_d)
                        if to_x < 0 or to_d < 0 or to_x >= free.shape[1] or to_d >= free.shape[2]:
                            break
                        if not free[n, to_x, to_d]:
                            hit = True
                            break
                        step += 1.0
                    met += hit
                    if along_d < -0.6:
                        all_ventral += 1
                        met_ventral += hit
                around[n, x, d] = met / rays
                ventral[n, x, d] = met_ventral / max(all_ventral, 1)
