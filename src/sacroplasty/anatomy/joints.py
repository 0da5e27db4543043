"""Clefts between bones: the sacroiliac joints and the lumbosacral disc, never bridged by bone."""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.structures import STRUCTURES
from sacroplasty.space import Box

Labels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

VALUE = {name: value for value, name in STRUCTURES.items()}
# The interosseous space belongs to the joint where both bones are within this distance together.
CLEFT_WIDTH_MM, DISC_HEIGHT_MM = 5.0, 16.0
# A place is between two bones where their nearest points lie in about opposite directions (cosine below this).
OPPOSITE = -0.6


def with_clefts(labels: Labels, spacing_mm: float) -> Labels:
    """The labels (i, j, k) of `STRUCTURES` with both SI joints and the disc L5/S1 filled into the space between bones.

    Where two bones touch, the touching layer of the sacrum becomes cleft, so that every path from bone to bone is seen
    to cross the joint.
    """
    result = labels.copy()
    sacrum = VALUE["sacrum"]
    for side in ("left", "right"):
        other, cleft = VALUE[f"hip_{side}"], VALUE[f"si_joint_{side}"]
        found = _between(result, sacrum, other, CLEFT_WIDTH_MM, spacing_mm)
        if found is not None:
            box, space = found
            result[box][space | _touching(result[box], sacrum, other)] = cleft
    found = _between(result, sacrum, VALUE["l5"], DISC_HEIGHT_MM, spacing_mm)
    if found is not None:
        box, space = found
        # The largest piece is the disc; facet joints and the interlaminar window are apart from it.
        disc = cc3d.largest_k(space, k=1, connectivity=6) > 0
        result[box][disc | _touching(result[box], sacrum, VALUE["l5"])] = VALUE["disc_l5_s1"]
    return result


def _between(labels: Labels, one: int, other: int, width_mm: float, spacing_mm: float) -> tuple[Box, Bools] | None:
    """The box around two bones' neighbourhood, and the background in it that lies between them."""
    box = _common_box(labels, one, other, width_mm / spacing_mm)
    if box is None:
        return None
    part = labels[box]
    first, second = _nearest(part == one), _nearest(part == other)
    if first is None or second is None:
        return None
    place = np.indices(part.shape, dtype=np.int32)
    to_first, to_second = first - place, second - place
    lengths = np.sqrt((to_first**2).sum(axis=0)), np.sqrt((to_second**2).sum(axis=0))
    near = (part == 0) & ((lengths[0] + lengths[1]) * spacing_mm <= width_mm)
    cosine = (to_first * to_second).sum(axis=0) / np.maximum(lengths[0] * lengths[1], 1.0)
    return box, near & (cosine < OPPOSITE)


def _nearest(mask: Bools) -> npt.NDArray[np.int32] | None:
    """Index (3, i, j, k) of the nearest true voxel."""
    if not mask.any():
        return None
    return np.asarray(ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True))


def _touching(labels: Labels, one: int, other: int) -> Bools:
    """Voxels of the first bone that touch the second."""
    return np.asarray((labels == one) & _grown(labels == other))


def _common_box(labels: Labels, one: int, other: int, margin: float) -> Box | None:
    """The index box where both labels come within `margin` voxels of each other's bounding boxes."""
    spans = []
    for value in (one, other):
        mask = labels == value
        if not mask.any():
            return None
        ends = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
        spans.append(np.array(ends))
    low = np.maximum(spans[0][:, 0], spans[1][:, 0]) - int(margin) - 2
    high = np.minimum(spans[0][:, 1], spans[1][:, 1]) + int(margin) + 3
    low, high = np.clip(low, 0, labels.shape), np.clip(high, 0, labels.shape)
    if (high <= low).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k


def _grown(mask: Bools) -> Bools:
    """The mask and its six-neighbours."""
    result = mask.copy()
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(0, -1), slice(1, None)
        result[tuple(low)] |= mask[tuple(high)]
        result[tuple(high)] |= mask[tuple(low)]
    return result


def bridged_share(labels: Labels, one: int, other: int) -> float:
    """Share of the first bone's surface voxels that touch the second: 0 where the joint is open everywhere."""
    first = labels == one
    surface = first & _grown(~first)
    count = np.count_nonzero(surface)
    return float(np.count_nonzero(surface & _grown(labels == other)) / count) if count else 0.0
