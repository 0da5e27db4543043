"""Trilinear and nearest interpolation, compiled: what every stage spends most of its resampling on.

The values of scipy's `affine_transform` and `map_coordinates` of order 1 and 0 in mode "constant", several times as
fast.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sacroplasty.space.frame import Points
from sacroplasty.space.threads import threaded

Values = npt.NDArray[np.float32]
# Points that one thread takes at once.
POINTS_AT_ONCE = 50_000
# A voxel centre that a chain of matrices puts this far outside, in voxels, lies on the rim.
ROUNDING = 1e-6


@njit(cache=True, nogil=True, inline="always")
def _at(flat, ni, nj, nk, x, y, z, outside):  # type: ignore[no-untyped-def]
    """The value at voxel coordinates of an array laid out flat; `outside` beyond the centres of the rim."""
    if not (
        -ROUNDING <= x <= ni - 1 + ROUNDING
        and -ROUNDING <= y <= nj - 1 + ROUNDING
        and -ROUNDING <= z <= nk - 1 + ROUNDING
    ):
        return outside
    x, y, z = min(max(x, 0.0), ni - 1.0), min(max(y, 0.0), nj - 1.0), min(max(z, 0.0), nk - 1.0)
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - i, y - j, z - k
    # Unsigned, so that no place is taken for one counted from the end.
    here = np.uintp((i * nj + j) * nk + k)
    up = np.uintp(1 if k + 1 < nk else 0)
    right = np.uintp(nk if j + 1 < nj else 0)
    over = np.uintp(nj * nk if i + 1 < ni else 0)
    low = (flat[here] * (1 - c) + flat[here + up] * c) * (1 - b) + (
        flat[here + right] * (1 - c) + flat[here + right + up] * c
    ) * b
    high = (flat[here + over] * (1 - c) + flat[here + over + up] * c) * (1 - b) + (
        flat[here + over + right] * (1 - c) + flat[here + over + right + up] * c
    ) * b
    return low * (1 - a) + high * a


@njit(cache=True, nogil=True)
def _pull(flat, source_shape, m, outside, out, first, last):  # type: ignore[no-untyped-def]
    ni, nj, nk = source_shape
    for i in range(first, last):
        for j in range(out.shape[1]):
            x0 = m[0, 0] * i + m[0, 1] * j
            y0 = m[1, 0] * i + m[1, 1] * j
            z0 = m[2, 0] * i + m[2, 1] * j
            for k in range(out.shape[2]):
                x = x0 + m[0, 2] * k + m[0, 3]
                y = y0 + m[1, 2] * k + m[1, 3]
                z = z0 + m[2, 2] * k + m[2, 3]
                out[i, j, k] = _at(flat, ni, nj, nk, x, y, z, outside)


@njit(cache=True, nogil=True)
def _sample(flat, source_shape, index, outside, out, first, last):  # type: ignore[no-untyped-def]
    ni, nj, nk = source_shape
    for n in range(first, last):
        out[n] = _at(flat, ni, nj, nk, index[n, 0], index[n, 1], index[n, 2], outside)


def pulled(source: Values, source_from_target: Points, shape: tuple[int, int, int], outside: float) -> Values:
    """Values (i, j, k) of `source` at the voxels of another grid; `source_from_target` (4, 4) maps voxel to voxel."""
    out = np.empty(shape, np.float32)
    matrix = np.ascontiguousarray(source_from_target[:3])
    flat = np.ascontiguousarray(source).ravel()
    threaded(
        lambda first, last: _pull(flat, source.shape, matrix, outside, out, first, last),
        shape[0],
        max(1, shape[0] // 8),
    )
    return out


@njit(cache=True, nogil=True)
def _pick(source, m, outside, out, first, last):  # type: ignore[no-untyped-def]
    ni, nj, nk = source.shape
    for i in range(first, last):
        for j in range(out.shape[1]):
            x0 = m[0, 0] * i + m[0, 1] * j
            y0 = m[1, 0] * i + m[1, 1] * j
            z0 = m[2, 0] * i + m[2, 1] * j
            for k in range(out.shape[2]):
                x = x0 + m[0, 2] * k + m[0, 3]
                y = y0 + m[1, 2] * k + m[1, 3]
                z = z0 + m[2, 2] * k + m[2, 3]
                if (
                    -ROUNDING <= x <= ni - 1 + ROUNDING
                    and -ROUNDING <= y <= nj - 1 + ROUNDING
                    and -ROUNDING <= z <= nk - 1 + ROUNDING
                ):
                    a, b, c = min(int(x + 0.5), ni - 1), min(int(y + 0.5), nj - 1), min(int(z + 0.5), nk - 1)
                    out[i, j, k] = source[np.uintp(a), np.uintp(b), np.uintp(c)]
                else:
                    out[i, j, k] = outside


def picked(
    source: npt.NDArray[np.unsignedinteger], source_from_target: Points, shape: tuple[int, int, int], outside: int
) -> npt.NDArray[np.unsignedinteger]:
    """The nearest voxel's label (i, j, k), of the source's type, at the voxels of another grid, like `pulled`."""
    out = np.empty(shape, source.dtype)
    matrix, fill = np.ascontiguousarray(source_from_target[:3]), source.dtype.type(outside)
    whole = np.ascontiguousarray(source)
    threaded(lambda first, last: _pick(whole, matrix, fill, out, first, last), shape[0], max(1, shape[0] // 8))
    return out


def sampled(source: Values, index: Points, outside: float) -> Values:
    """Values (n,) of `source` at voxel coordinates (n, 3)."""
    out = np.empty(len(index), np.float32)
    flat, index = np.ascontiguousarray(source).ravel(), np.ascontiguousarray(index, dtype=np.float64)

    def work(first: int, last: int) -> None:
        _sample(flat, source.shape, index, outside, out, first, last)

    if len(index) <= POINTS_AT_ONCE:
        work(0, len(index))
    else:
        threaded(work, len(index), POINTS_AT_ONCE)
    return out
