"""Veins that no CT shows: random channels from the lesion through the cortex, for the members of an ensemble."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.cement.tissue import Tissue
from sacroplasty.space import LabelMap

Array = npt.NDArray[Any]

VEINS = "peritumoural veins"
# How far a vein may run inside the bone, and how far it is followed outside, mm.
LONGEST_MM, BEYOND_MM = 25.0, 4.0


def with_veins(tissue: Tissue, count: int, rng: np.random.Generator) -> Tissue:
    """The tissue with `count` straight veins from random lesion voxels to random places on the bone's surface."""
    h = tissue.grid.spacing_mm[0]
    bone = tissue.bone
    surface = tissue.surface
    start = np.argwhere(tissue.lesion & bone)
    if count == 0 or not len(start) or not len(surface):
        return tissue
    veins = np.zeros(bone.shape, np.bool_)
    for _ in range(count):
        origin = start[rng.integers(len(start))]
        length = np.linalg.norm(surface - origin, axis=1) * h
        near = surface[(length <= LONGEST_MM) & (length > h)]
        if not len(near):
            continue
        end = near[rng.integers(len(near))]
        way = np.linalg.norm(end - origin)
        stretch = 1.0 + BEYOND_MM / h / way
        steps = np.linspace(0.0, stretch, int(np.ceil(2 * way * stretch)) + 1)
        line = np.rint(origin + steps[:, None] * (end - origin)).astype(int)
        line = line[((line >= 0) & (line < bone.shape)).all(axis=1)]
        veins[tuple(line.T)] = True
    numbers = np.array(tissue.compartments.array)
    names = dict(tissue.compartments.names)
    number = max(names) + 1
    numbers[veins & ~tissue.lesion] = number
    return replace(tissue, compartments=LabelMap(numbers, tissue.grid, {**names, number: VEINS}))
