"""Moving cement through the voxels: fill, then pass the overflow on, in the order of falling pressure.

A voxel passes cement on only once its pores are full, so the front stays sharp and shells of cement keep their order.
Every microlitre is in a voxel, has escaped, or is reported as blocked: the balance is exact by construction.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Faces with less than this share of a voxel's outflow are round-off of the pressure solution.
NEGLIGIBLE_SHARE = 1e-9


@numba.njit(cache=True)
def _pushed(keys: Array, places: Array, count: int, key: float, place: int) -> None:
    """Adds an entry to a heap of `count` whose smallest key is first."""
    n = count
    while n > 0 and keys[(n - 1) // 2] > key:
        keys[n], places[n] = keys[(n - 1) // 2], places[(n - 1) // 2]
        n = (n - 1) // 2
    keys[n], places[n] = key, place


@numba.njit(cache=True)
def _popped(keys: Array, places: Array, count: int) -> int:
    """Takes the place with the smallest key off a heap of `count`."""
    first, last = places[0], count - 1
    key, place, n = keys[last], places[last], 0
    while 2 * n + 1 < last:
        below = 2 * n + 1
        if below + 1 < last and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[n], places[n] = keys[below], places[below]
        n = below
    keys[n], places[n] = key, place
    return first


@numba.njit(cache=True)
def _shares(share: Array, faces: Array, strides: Array, pressure: Array, escape: Array, here: int) -> float:
    """Outflow of a voxel through its six faces and its outlet into `share` (7), the negligible dropped; their sum."""
    share[6] = max(escape[here] * pressure[here], 0.0)
    total = share[6]
    for a in range(6):
        up, stride = a % 2, strides[a // 2]
        there = here + (2 * up - 1) * stride
        share[a] = max(faces[a // 2, here + up * stride] * (pressure[here] - pressure[there]), 0.0)
        total += share[a]
    kept = 0.0
    for a in range(7):
        if share[a] <= NEGLIGIBLE_SHARE * total:
            share[a] = 0.0
        kept += share[a]
    return kept


@numba.njit(cache=True)
def fill_and_overflow(
    faces: Array,
    strides: Array,
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
    keys: Array,
    places: Array,
) -> float:
    """Pushes `volume` from the source voxels; returns the part that found no way on.

    All arrays of voxels are flat (n,), from a grid with one ghost layer and these `strides` (3,); `faces` (3, n) holds
    the conductance of the face before each voxel along each axis. Changes `saturation` (share of `pore`, the pore
    volume per voxel). A full voxel with a conductance `escape` to zero pressure loses its share of the overflow, which
    is added to `escaped[outlet]` of that voxel. `sources` (m,) with `weights` (m,) that sum to 1. Work: `inflow`, zero
    before and after, `keys` and `places`.
    """
    count = 0
    for s in range(sources.shape[0]):
        if inflow[sources[s]] == 0.0:
            _pushed(keys, places, count, -pressure[sources[s]], sources[s])
            count += 1
        inflow[sources[s]] += volume * weights[s]
    blocked = 0.0
    share = np.zeros(7)
    while count > 0:
        here = _popped(keys, places, count)
        count -= 1
        arrived, inflow[here] = inflow[here], 0.0
        room = pore[here] * (1.0 - saturation[here])
        if arrived <= room:
            if arrived > 0.0:
                saturation[here] = min(saturation[here] + arrived / pore[here], 1.0)
            continue
        saturation[here] = 1.0
        arrived -= room
        kept = _shares(share, faces, strides, pressure, escape, here)
        if kept <= 0.0:
            blocked += arrived
            continue
        escaped[outlet[here]] += arrived * share[6] / kept
        for a in range(6):
            if share[a] > 0.0:
                there = here + (2 * (a % 2) - 1) * strides[a // 2]
                if inflow[there] == 0.0:
                    _pushed(keys, places, count, -pressure[there], there)
                    count += 1
                inflow[there] += arrived * share[a] / kept
    return blocked
