"""Random-walker labelling on a set of voxels: image edges are barriers, a soft prior pulls, fixed neighbours anchor.

Grady 2006 (IEEE TPAMI 28:1768) with a prior term; solved by over-relaxed red-black sweeps, the same on any core count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sacroplasty.space import threaded

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

OVER_RELAXATION = 1.5
# A barrier is never perfect, so that every voxel stays connected.
LEAST_WEIGHT = 1e-3
VOXELS_AT_ONCE = 1 << 17


@njit(cache=True, nogil=True)
def _graph(number: npt.NDArray[np.int32], coordinates: npt.NDArray[np.int32], image: Floats, beta: float,
           neighbour: npt.NDArray[np.int32], weight: Floats, first: int, last: int) -> None:  # fmt: skip
    """Fill neighbours (n, 6) and edge weights; a neighbour beyond the active set is coded -2 - its flat index."""
    n0, n1, n2 = number.shape
    for q in range(first, last):
        i, j, k = coordinates[q, 0], coordinates[q, 1], coordinates[q, 2]
        for d in range(6):
            ii, jj, kk = i, j, k
            step = 1 if d % 2 == 0 else -1
            if d < 2:
                ii += step
            elif d < 4:
                jj += step
            else:
                kk += step
            if ii < 0 or jj < 0 or kk < 0 or ii >= n0 or jj >= n1 or kk >= n2:
                neighbour[q, d] = -1
                weight[q, d] = 0.0
                continue
            difference = image[i, j, k] - image[ii, jj, kk]
            weight[q, d] = np.exp(np.float32(-beta * difference * difference)) + LEAST_WEIGHT
            other = number[ii, jj, kk]
            neighbour[q, d] = other if other >= 0 else -2 - ((ii * n1 + jj) * n2 + kk)


@njit(cache=True, nogil=True, fastmath=True)
def _half_sweep(first: int, last: int, neighbour: npt.NDArray[np.int32], weight: Floats, prior: Floats, pull: Floats,
                fixed: npt.NDArray[np.uint8], solution: Floats) -> None:  # fmt: skip
    """One over-relaxed step of the voxels first..last; eight sums by name stay in registers, as an array's do not."""
    for q in range(first, last):
        n, total = np.uintp(q), pull[q]
        a, b, c, d = total * prior[n, 0], total * prior[n, 1], total * prior[n, 2], total * prior[n, 3]
        e, f, g, h = total * prior[n, 4], total * prior[n, 5], total * prior[n, 6], total * prior[n, 7]
        for side in range(6):
            other, w = neighbour[n, side], weight[n, side]
            if other >= 0:
                total += w
                m = np.uintp(other)
                a, b = a + w * solution[m, 0], b + w * solution[m, 1]
                c, d = c + w * solution[m, 2], d + w * solution[m, 3]
                e, f = e + w * solution[m, 4], f + w * solution[m, 5]
                g, h = g + w * solution[m, 6], h + w * solution[m, 7]
            elif other < -1:
                total += w
                held = fixed[np.uintp(-2 - other)]
                a, b = a + w * (held == 0), b + w * (held == 1)
                c, d = c + w * (held == 2), d + w * (held == 3)
                e, f = e + w * (held == 4), f + w * (held == 5)
                g, h = g + w * (held == 6), h + w * (held == 7)
        ahead, kept = np.float32(OVER_RELAXATION) / total, np.float32(1.0 - OVER_RELAXATION)
        solution[n, 0] = kept * solution[n, 0] + ahead * a
        solution[n, 1] = kept * solution[n, 1] + ahead * b
        solution[n, 2] = kept * solution[n, 2] + ahead * c
        solution[n, 3] = kept * solution[n, 3] + ahead * d
        solution[n, 4] = kept * solution[n, 4] + ahead * e
        solution[n, 5] = kept * solution[n, 5] + ahead * f
        solution[n, 6] = kept * solution[n, 6] + ahead * g
        solution[n, 7] = kept * solution[n, 7] + ahead * h


def active_order(active: Bools) -> npt.NDArray[np.int32]:
    """Indices (n, 3) of the active voxels, all of even parity first: the order of priors and solutions."""
    coordinates = np.argwhere(active).astype(np.int32)
    odd = (coordinates[:, 0] + coordinates[:, 1] + coordinates[:, 2]) & 1
    return np.concatenate([coordinates[odd == 0], coordinates[odd == 1]])


def random_walk(
    image: Floats,
    coordinates: npt.NDArray[np.int32],
    prior: Floats,
    pull: Floats,
    fixed: npt.NDArray[np.uint8],
    *,
    beta: float,
    sweeps: int,
) -> Floats:
    """Class probabilities (n, 8) of the voxels `coordinates` (from `active_order`).

    image (i, j, k): edge weights are exp(-beta difference²); prior (n, 8) sums to one and pulls with `pull` (n,);
    fixed (i, j, k) holds the class of every voxel that is not active.
    """
    number = np.full(image.shape, -1, np.int32)
    count = len(coordinates)
    number[tuple(coordinates.T)] = np.arange(count, dtype=np.int32)
    neighbour = np.empty((count, 6), np.int32)
    weight = np.empty((count, 6), np.float32)
    threaded(
        lambda first, last: _graph(number, coordinates, image, beta, neighbour, weight, first, last),
        count,
        VOXELS_AT_ONCE,
    )
    even = int(np.count_nonzero((coordinates[:, 0] + coordinates[:, 1] + coordinates[:, 2]) & 1 == 0))
    solution = prior.astype(np.float32, copy=True)
    flat = np.ascontiguousarray(fixed).ravel()
    for _ in range(sweeps):
        for start, end in ((0, even), (even, count)):

            def sweep(first: int, last: int, start: int = start) -> None:
                _half_sweep(start + first, start + last, neighbour, weight, prior, pull, flat, solution)

            threaded(sweep, end - start, VOXELS_AT_ONCE)
    return np.clip(solution, 0.0, 1.0, out=solution)
