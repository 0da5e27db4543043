"""Line integrals on an NVIDIA GPU: Joseph's method, one thread per pixel, behind the same call as the CPU's.

Single precision along the ray; it must agree with `joseph.py` to PARITY of the image's root mean square.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numba import cuda

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import Image, Rays
from sacroplasty.fluoroscopy.view import View

PARITY = 1e-4
_THREADS = (16, 16)
# Volumes stay on the device as long as they live here: a CT is projected many times.
_RESIDENT: WeakKeyDictionary[PackedVolume, Any] = WeakKeyDictionary()


@cuda.jit(device=True)
def _voxel(volume, main, a, b, k):  # type: ignore[no-untyped-def]
    """A voxel by ray axes: device arrays of three axes cannot be transposed."""
    if main == 0:
        return np.float32(volume[k, a, b])
    if main == 1:
        return np.float32(volume[a, k, b])
    return np.float32(volume[a, b, k])


@cuda.jit
def _joseph(volume, axes, source, corner, column, row, lengths, out):  # type: ignore[no-untyped-def]
    """Geometry in ray axes (a, b, k), which are `axes` of the volume; only slices between source and detector."""
    j, i = cuda.grid(2)
    if i >= out.shape[0] or j >= out.shape[1]:
        return
    ka = corner[0] + i * row[0] + j * column[0] - source[0]
    kb = corner[1] + i * row[1] + j * column[1] - source[1]
    kk = corner[2] + i * row[2] + j * column[2] - source[2]
    dx = lengths[0, 0] + i * lengths[2, 0] + j * lengths[1, 0]
    dy = lengths[0, 1] + i * lengths[2, 1] + j * lengths[1, 1]
    dz = lengths[0, 2] + i * lengths[2, 2] + j * lengths[1, 2]
    path = (dx * dx + dy * dy + dz * dz) ** 0.5 / abs(kk)
    slope_a = np.float32(ka / kk)
    slope_b = np.float32(kb / kk)
    # Where the ray meets slice 0: subtracting the far source in single precision would cost a tenth of a voxel.
    first_a = np.float32(source[0] - ka / kk * source[2])
    first_b = np.float32(source[1] - kb / kk * source[2])
    last_a = np.float32(volume.shape[axes[0]] - 1)
    last_b = np.float32(volume.shape[axes[1]] - 1)
    main = axes[2]
    zero = np.float32(0)
    one = np.float32(1)
    total = zero
    for k in range(volume.shape[main]):
        along = (k - source[2]) / kk
        if along <= 1e-3 or along >= 1:
            continue
        a = first_a + slope_a * np.float32(k)
        b = first_b + slope_b * np.float32(k)
        if a < zero or b < zero or a >= last_a or b >= last_b:
            continue
        ia = int(a)
        ib = int(b)
        fa = a - np.float32(ia)
        fb = b - np.float32(ib)
        low = _voxel(volume, main, ia, ib, k) * (one - fb) + _voxel(volume, main, ia, ib + 1, k) * fb
        high = _voxel(volume, main, ia + 1, ib, k) * (one - fb) + _voxel(volume, main, ia + 1, ib + 1, k) * fb
        total += low * (one - fa) + high * fa
    out[i, j] = total * path


def line_integrals_on_gpu(volume: PackedVolume, view: View) -> Image:
    """As `line_integrals`, on the first CUDA device. InputError where none can be used; nothing falls back."""
    if not cuda.is_available():
        raise InputError(
            "No CUDA device can be used",
            got='device="gpu"',
            remedy='Install the extra sacroplasty[gpu] and an NVIDIA driver, or ask for device="cpu"',
        )
    if volume not in _RESIDENT:
        _RESIDENT[volume] = cuda.to_device(volume.array)
    rays = Rays(volume, view)
    order = list(rays.axes)
    out = cuda.device_array((view.carm.rows, view.carm.columns), dtype=np.float32)
    blocks = (-(-view.carm.columns // _THREADS[0]), -(-view.carm.rows // _THREADS[1]))
    geometry = (rays.source[order], rays.corner[order], rays.column[order], rays.row[order], rays.lengths_mm)
    on_device = [cuda.to_device(np.ascontiguousarray(part)) for part in geometry]
    _joseph[blocks, _THREADS](_RESIDENT[volume], rays.axes, *on_device, out)
    return np.asarray(out.copy_to_host() * np.float32(volume.scale))
