"""A second, independent reader of NIfTI geometry: bytes of the header only, no library.

It exists to disagree: the gate compares its corners with those of the first reader.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from sacroplasty.space import Points

# Offsets of dim, pixdim, quaternion+offset, srow and codes, and the types of their numbers.
# Bytes of the largest voxel type, and room for header and extensions.
_LARGEST_VOXEL = 32
_ROOM = 4_000_000
_NIFTI1 = {
    "dim": (40, "8h"),
    "pixdim": (76, "8f"),
    "scale": (112, "2f"),
    "codes": (252, "2h"),
    "quaternion": (256, "6f"),
    "rows": (280, "12f"),
}
_NIFTI2 = {
    "dim": (16, "8q"),
    "pixdim": (104, "8d"),
    "scale": (176, "2d"),
    "codes": (344, "2i"),
    "quaternion": (352, "6d"),
    "rows": (400, "12d"),
}


def _layout(raw: bytes) -> tuple[str, dict[str, tuple[int, str]]] | None:
    """Byte order and layout, by the size that the header says of itself; None where that is no NIfTI size."""
    for order in "<>":
        size = struct.unpack_from(order + "i", raw)[0] if len(raw) >= 348 else 0
        layout = {348: _NIFTI1, 540: _NIFTI2}.get(size)
        if layout is not None and len(raw) >= size:
            return order, layout
    return None


def is_header(raw: bytes) -> bool:
    """The bytes begin with a header of a size that NIfTI-1 or NIfTI-2 prescribes."""
    return _layout(raw) is not None


def announced_bytes(raw: bytes) -> int:
    """Largest size of the whole file that its header allows, with room for extensions; small where it is no NIfTI."""
    found = _layout(raw)
    if found is None:
        return _ROOM
    dim = struct.unpack_from(found[0] + found[1]["dim"][1], raw, found[1]["dim"][0])
    counts = [max(int(n), 1) for n in dim[1 : 1 + max(0, min(int(dim[0]), 7))]]
    return _ROOM + math.prod(counts) * _LARGEST_VOXEL


def scale_from_bytes(raw: bytes) -> tuple[float, float]:
    """Slope and intercept as stored; (1, 0) where the header is not understood."""
    found = _layout(raw)
    if found is None:
        return 1.0, 0.0
    slope, intercept = struct.unpack_from(found[0] + found[1]["scale"][1], raw, found[1]["scale"][0])
    return float(slope), float(intercept)


def corners_from_bytes(raw: bytes) -> Points | None:
    """Centres of the eight corner voxels (8, 3) in LPS mm, i fastest; None where the header is not understood."""
    found = _layout(raw)
    if found is None:
        return None
    order, layout = found
    fields = {name: struct.unpack_from(order + kind, raw, offset) for name, (offset, kind) in layout.items()}
    qform_code, sform_code = fields["codes"]
    to_ras = _rows(fields["rows"]) if sform_code > 0 else _quaternion(fields["quaternion"], fields["pixdim"])
    if sform_code <= 0 and qform_code <= 0:
        return None
    last = [int(n) - 1 for n in fields["dim"][1:4]]
    index = [(i, j, k, 1) for k in (0, last[2]) for j in (0, last[1]) for i in (0, last[0])]
    ras = np.array(index, dtype=np.float64) @ to_ras.T
    return np.asarray(ras[:, :3] * (-1.0, -1.0, 1.0))


def _rows(numbers: tuple[float, ...]) -> Points:
    return np.vstack([np.array(numbers, dtype=np.float64).reshape(3, 4), (0.0, 0.0, 0.0, 1.0)])


def _quaternion(numbers: tuple[float, ...], pixdim: tuple[float, ...]) -> Points:
    """The matrix of method 2 of the NIfTI-1 standard (nifti1.h): unit quaternion, qfac in pixdim[0], offsets."""
    b, c, d, x, y, z = numbers
    a = np.sqrt(max(1.0 - (b * b + c * c + d * d), 0.0))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
        [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
        [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
    ])  # fmt: skip
    handedness = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (pixdim[1], pixdim[2], pixdim[3] * handedness)
    matrix[:3, 3] = (x, y, z)
    return matrix
