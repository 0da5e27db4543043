"""Moving cement through the voxels: fill, then pass the overflow on, in the order of falling pressure.

A voxel passes cement on only once its pores are full, so the front stays sharp and shells of cement keep their order.
Every microlitre is in a voxel, has escaped, or is reported as blocked: the balance is exact by construction.
"""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Faces with less than this share of a voxel's outflow are round-off of the pressure solution.
NEGLIGIBLE_SHARE = 1e-9


@numba.njit(cache=True)
def _shares(
    share: Array, tx: Array, ty: Array, tz: Array, pressure: Array, escape: Array, i: int, j: int, k: int
) -> float:
    """Outflow of a voxel through its six faces and its outlet into `share` (7), the negligible dropped; their sum."""
    here = pressure[i, j, k]
    share[0] = tx[i, j, k] * (here - pressure[i - 1, j, k])
    share[1] = tx[i + 1, j, k] * (here - pressure[i + 1, j, k])
    share[2] = ty[i, j, k] * (here - pressure[i, j - 1, k])
    share[3] = ty[i, j + 1, k] * (here - pressure[i, j + 1, k])
    share[4] = tz[i, j, k] * (here - pressure[i, j, k - 1])
    share[5] = tz[i, j, k + 1] * (here - pressure[i, j, k + 1])
    share[6] = escape[i, j, k] * here
    total = 0.0
    for a in range(7):
        share[a] = max(share[a], 0.0)
        total += share[a]
    kept = 0.0
    for a in range(7):
        if share[a] <= NEGLIGIBLE_SHARE * total:
            share[a] = 0.0
        kept += share[a]
    return kept


@numba.njit(cache=True)
def fill_and_overflow(
    tx: Array,
    ty: Array,
    tz: Array,
    pressure: Array,
    saturation: Array,
    pore: Array,
    sources: Array,
    weights: Array,
    volume: float,
    escape: Array,
    outlet: Array,
    escaped: Array,
    inflow: Array,
    queued: Array,
) -> float:
    """Pushes `volume` from the source voxels; returns the part that found no way on.

    Changes `saturation` (share of `pore`, the pore volume per voxel). A full voxel with a conductance `escape` to zero
    pressure loses its share of the overflow, which is added to `escaped[outlet]` of that voxel. `sources` (m, 3) with
    `weights` (m,) that sum to 1. `inflow` and `queued` work, zero before and after. All carry one ghost layer.
    """
    heap = [(0.0, 0, 0, 0) for _ in range(0)]
    for s in range(sources.shape[0]):
        i, j, k = sources[s, 0], sources[s, 1], sources[s, 2]
        inflow[i, j, k] += volume * weights[s]
        if not queued[i, j, k]:
            queued[i, j, k] = True
            heapq.heappush(heap, (-pressure[i, j, k], i, j, k))
    blocked = 0.0
    share = np.zeros(7)
    while len(heap) > 0:
        _, i, j, k = heapq.heappop(heap)
        arrived = inflow[i, j, k]
        inflow[i, j, k] = 0.0
        queued[i, j, k] = False
        room = pore[i, j, k] * (1.0 - saturation[i, j, k])
        if arrived <= room:
            if arrived > 0.0:
                saturation[i, j, k] = min(saturation[i, j, k] + arrived / pore[i, j, k], 1.0)
            continue
        saturation[i, j, k] = 1.0
        arrived -= room
        total = _shares(share, tx, ty, tz, pressure, escape, i, j, k)
        if total <= 0.0:
            blocked += arrived
            continue
        if share[6] > 0.0:
            escaped[outlet[i, j, k]] += arrived * share[6] / total
        for a in range(6):
            if share[a] <= 0.0:
                continue
            u = i + (1 if a == 1 else 0) - (1 if a == 0 else 0)
            v = j + (1 if a == 3 else 0) - (1 if a == 2 else 0)
            w = k + (1 if a == 5 else 0) - (1 if a == 4 else 0)
            inflow[u, v, w] += arrived * share[a] / total
            if not queued[u, v, w]:
                queued[u, v, w] = True
                heapq.heappush(heap, (-pressure[u, v, w], u, v, w))
    return blocked
