"""Random-walker labelling on a set of voxels: image edges are barriers, a soft prior pulls, fixed neighbours anchor.

Grady 2006 (IEEE TPAMI 28:1768) with a prior term; solved by over-relaxed red-black sweeps, the same on any core count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

OVER_RELAXATION = 1.5
# A barrier is never perfect, so that every voxel stays connected.
LEAST_WEIGHT = 1e-3


@njit(cache=True)
def _graph(number: npt.NDArray[np.int32], coordinates: npt.NDArray[np.int32], image: Floats, beta: float,
           neighbour: npt.NDArray[np.int32], weight: Floats) -> None:  # fmt: skip
    """Fill neighbours (n, 6) and edge weights; a neighbour beyond the active set is coded -2 - its flat index."""
    n0, n1, n2 = number.shape
    for q in range(coordinates.shape[0]):
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
            weight[q, d] = np.exp(-beta * difference * difference) + LEAST_WEIGHT
            other = number[ii, jj, kk]
            neighbour[q, d] = other if other >= 0 else -2 - ((ii * n1 + jj) * n2 + kk)


@njit(cache=True, parallel=True)
def _half_sweep(first: int, last: int, neighbour: npt.NDArray[np.int32], weight: Floats, prior: Floats, pull: Floats,
                fixed: npt.NDArray[np.uint8], solution: Floats) -> None:  # fmt: skip
    classes = prior.shape[1]
    for q in prange(first, last):
        total = pull[q]
        mean = np.zeros(classes, np.float32)
        for c in range(classes):
            mean[c] = pull[q] * prior[q, c]
        for d in range(6):
            other, w = neighbour[q, d], weight[q, d]
            if other >= 0:
                total += w
                for c in range(classes):
                    mean[c] += w * solution[other, c]
            elif other < -1:
                total += w
                mean[fixed[-2 - other]] += w
        for c in range(classes):
            solution[q, c] += OVER_RELAXATION * (mean[c] / total - solution[q, c])


def active_order(active: Bools) -> npt.NDArray[np.int32]:
    """Indices (n, 3) of the active voxels, all of even parity first: the order of priors and solutions."""
    coordinates = np.argwhere(active).astype(np.int32)
    odd = coordinates.sum(axis=1) % 2
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
    """Class probabilities (n, classes) of the voxels `coordinates` (from `active_order`).

    image (i, j, k): edge weights are exp(-beta difference²); prior (n, classes) sums to one and pulls with `pull` (n,);
    fixed (i, j, k) holds the class of every voxel that is not active.
    """
    number = np.full(image.shape, -1, np.int32)
    count = len(coordinates)
    number[tuple(coordinates.T)] = np.arange(count, dtype=np.int32)
    neighbour = np.empty((count, 6), np.int32)
    weight = np.empty((count, 6), np.float32)
    _graph(number, coordinates, image, beta, neighbour, weight)
    del number
    even = int(np.count_nonzero(coordinates.sum(axis=1) % 2 == 0))
    solution = prior.astype(np.float32, copy=True)
    flat = np.ascontiguousarray(fixed).ravel()
    for _ in range(sweeps):
        _half_sweep(0, even, neighbour, weight, prior, pull, flat, solution)
        _half_sweep(even, count, neighbour, weight, prior, pull, flat, solution)
    return np.clip(solution, 0.0, 1.0)
