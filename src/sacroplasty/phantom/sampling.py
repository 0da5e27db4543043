"""The implicit phantom on a voxel grid: partial volume by splitting only the cells that hold a border."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from numba import get_num_threads, njit

from sacroplasty.phantom.geometry import Array, Geometry
from sacroplasty.phantom.tissue import CORTEX, tissue
from sacroplasty.space import Grid, Points

# Cells larger than this are split before borders are looked for, so that no thin wall falls between samples.
LARGEST_CELL_MM = 1.6
# Border cells are sampled at this density.
BORDER_SAMPLE_MM = 0.8


def _threaded(layer: Callable[[int], None], count: int) -> None:
    """Run a kernel that frees the interpreter once per layer: numba's parallel mode takes twice as long to compile."""
    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(layer, range(count)))


@njit(cache=True, nogil=True, error_model="numpy")
def _classify(
    codes: npt.NDArray[np.uint8], hus: npt.NDArray[np.float32], a: int, i: Array, j: Array, k: Array, affine: Array,
    g: Geometry, fine: float,
) -> None:  # fmt: skip
    for b in range(len(j)):
        for c in range(len(k)):
            x = affine[0, 0] * i[a] + affine[0, 1] * j[b] + affine[0, 2] * k[c] + affine[0, 3]
            y = affine[1, 0] * i[a] + affine[1, 1] * j[b] + affine[1, 2] * k[c] + affine[1, 3]
            z = affine[2, 0] * i[a] + affine[2, 1] * j[b] + affine[2, 2] * k[c] + affine[2, 3]
            code, hu = tissue(x, y, z, g, fine)
            codes[a, b, c] = code
            hus[a, b, c] = hu


@njit(cache=True, nogil=True, error_model="numpy")
def _refine(
    codes: npt.NDArray[np.uint8], hus: npt.NDArray[np.float32], a: int, i: Array, j: Array, k: Array, affine: Array,
    g: Geometry, fine: float, cell: Array, splits: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    ni, nj, nk = codes.shape
    for b in range(nj):
        for c in range(nk):
            code = codes[a, b, c]
            border = (
                codes[max(a - 1, 0), b, c] != code or codes[min(a + 1, ni - 1), b, c] != code
                or codes[a, max(b - 1, 0), c] != code or codes[a, min(b + 1, nj - 1), c] != code
                or codes[a, b, max(c - 1, 0)] != code or codes[a, b, min(c + 1, nk - 1)] != code
            )  # fmt: skip
            if not border:
                continue
            total = 0.0
            for u in range(splits[0]):
                for v in range(splits[1]):
                    for w in range(splits[2]):
                        pi = i[a] + cell[0] * ((u + 0.5) / splits[0] - 0.5)
                        pj = j[b] + cell[1] * ((v + 0.5) / splits[1] - 0.5)
                        pk = k[c] + cell[2] * ((w + 0.5) / splits[2] - 0.5)
                        x = affine[0, 0] * pi + affine[0, 1] * pj + affine[0, 2] * pk + affine[0, 3]
                        y = affine[1, 0] * pi + affine[1, 1] * pj + affine[1, 2] * pk + affine[1, 3]
                        z = affine[2, 0] * pi + affine[2, 1] * pj + affine[2, 2] * pk + affine[2, 3]
                        total += tissue(x, y, z, g, fine)[1]
            hus[a, b, c] = total / (splits[0] * splits[1] * splits[2])


def _classified(
    positions: list[Array], affine: Array, g: Geometry, fine: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Code and HU at every combination of three lists of indices."""
    shape = tuple(len(p) for p in positions)
    codes, hus = np.empty(shape, np.uint8), np.empty(shape, np.float32)
    _threaded(lambda a: _classify(codes, hus, a, *positions, affine, g, fine), len(codes))
    return codes, hus


def sampled_hu(grid: Grid, phantom_from_patient: Points, g: Geometry, slice_mm: float) -> npt.NDArray[np.float32]:
    """Mean HU (i, j, k) over every voxel's box; along k the box is `slice_mm` thick, whatever the slice distance."""
    affine = phantom_from_patient @ grid.affine_lps
    extents = np.array([grid.spacing_mm[0], grid.spacing_mm[1], slice_mm])
    parts = np.maximum(np.ceil(extents / LARGEST_CELL_MM - 1e-6).astype(int), 1)
    in_index = extents / np.asarray(grid.spacing_mm)
    positions = [
        (np.arange(n)[:, None] + width * ((np.arange(p) + 0.5) / p - 0.5)).ravel()
        for n, p, width in zip(grid.shape, parts, in_index, strict=True)
    ]
    cell_mm = extents / parts
    splits = np.maximum(np.ceil(cell_mm / BORDER_SAMPLE_MM - 1e-6), 2).astype(np.int64)
    fine = float(np.prod(np.minimum(1.0, 1.3 / cell_mm)) ** 0.5)
    codes, hus = _classified(positions, affine, g, fine)
    cell = in_index / parts
    _threaded(lambda a: _refine(codes, hus, a, *positions, affine, g, fine, cell, splits), len(codes))
    if parts.prod() > 1:
        a, b, c = grid.shape
        hus = hus.reshape(a, parts[0], b, parts[1], c, parts[2]).mean(axis=(1, 3, 5), dtype=np.float32)
    return hus


def sampled_codes(grid: Grid, phantom_from_patient: Points, g: Geometry) -> npt.NDArray[np.uint8]:
    """Structure or tissue code at every voxel centre, compact bone counted with its bone."""
    index = [np.arange(n, dtype=np.float64) for n in grid.shape]
    codes, _ = _classified(index, phantom_from_patient @ grid.affine_lps, g, 1.0)
    return np.where(codes >= CORTEX, codes - CORTEX, codes).astype(np.uint8)
