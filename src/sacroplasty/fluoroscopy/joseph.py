"""Line integrals by Joseph's method, ray by ray: the specification that the fast projector is held to.

Slower (one bilinear sample per ray and slice), and independent of the shear-warp's intermediate image.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import Image, Rays
from sacroplasty.fluoroscopy.view import View


@njit(parallel=True, cache=True)
def _joseph(volume, source, corner, column, row, lengths, out):  # type: ignore[no-untyped-def]
    """volume[a, b, k] with geometry in its own axis order; only slices between source and detector."""
    count_a, count_b, count_k = volume.shape
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            ka = corner[0] + i * row[0] + j * column[0] - source[0]
            kb = corner[1] + i * row[1] + j * column[1] - source[1]
            kk = corner[2] + i * row[2] + j * column[2] - source[2]
            slope_a = ka / kk
            slope_b = kb / kk
            dx = lengths[0, 0] + i * lengths[2, 0] + j * lengths[1, 0]
            dy = lengths[0, 1] + i * lengths[2, 1] + j * lengths[1, 1]
            dz = lengths[0, 2] + i * lengths[2, 2] + j * lengths[1, 2]
            path = math.sqrt(dx * dx + dy * dy + dz * dz) / abs(kk)
            total = 0.0
            for k in range(count_k):
                along = (k - source[2]) / kk
                if along <= 1e-3 or along >= 1:
                    continue
                a = source[0] + slope_a * (k - source[2])
                b = source[1] + slope_b * (k - source[2])
                if a < 0 or b < 0 or a >= count_a - 1 or b >= count_b - 1:
                    continue
                ia = int(a)
                ib = int(b)
                fa = a - ia
                fb = b - ib
                low = volume[ia, ib, k] * (1 - fb) + volume[ia, ib + 1, k] * fb
                high = volume[ia + 1, ib, k] * (1 - fb) + volume[ia + 1, ib + 1, k] * fb
                total += low * (1 - fa) + high * fa
            out[i, j] = total * path


def line_integrals_by_ray(volume: PackedVolume, view: View) -> Image:
    """As `line_integrals`, by Joseph's method in double precision."""
    rays = Rays(volume, view)
    order = list(rays.axes)
    out = np.zeros((view.carm.rows, view.carm.columns), dtype=np.float32)
    _joseph(
        volume.array.transpose(order),
        rays.source[order],
        rays.corner[order],
        rays.column[order],
        rays.row[order],
        rays.lengths_mm,
        out,
    )
    return out * np.float32(volume.scale)
