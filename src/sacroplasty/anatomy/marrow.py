"""Fatty marrow: what bone encloses belongs to the bone, however dark it is."""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.joints import VALUE
from sacroplasty.anatomy.morphology import within
from sacroplasty.space import Volume

Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

# A wall of bone is this much brighter than muscle; leaks of it up to twice this wide, or this share of a slice, count
# as closed.
WALL_HU, LEAK_MM, LEAK_SLICES = 55.0, 1.0, 0.4
# A void is the sacrum's where so much of the bone around it is, and not the disc's or a joint's.
OWN_SHARE = 0.8
MARGIN = 12
# A ball does not fill the corners of a void.
CORNER_VOXELS = 1.5


def fill_marrow(array: Labels, value: int) -> None:
    """In place: background that a bone's label encloses is its marrow."""
    mask = array == value
    if mask.any():
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        array[box][_enclosed(mask[box]) & (array[box] == 0)] = value


def fill_sacral_marrow(array: Labels, ct: Volume, muscle_hu: float, slice_mm: float) -> None:
    """In place: the same for the sacrum, whose marrow at the lateral angles may lie beyond the fitted shape.

    array (i, j, k) on the CT's grid. Walls are all that is labelled or as bright as bone; canal and tunnels are open to
    the outside at their ends and stay as they are. `slice_mm`: the scan's slice distance, whose partial volume opens
    leaks in thin cortex.
    """
    value, spacing = VALUE["sacrum"], ct.grid.spacing_mm[0]
    mask = array == value
    if not mask.any():
        return
    tight = ndimage.find_objects(mask.astype(np.uint8))[0]
    box = tuple(slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in tight)
    part = array[box]
    bright = ndimage.gaussian_filter(np.asarray(ct.array)[box], 0.8) > muscle_hu + WALL_HU
    leak = max(LEAK_MM, LEAK_SLICES * slice_mm) / spacing
    pad = int(leak) + 2
    inner = (slice(pad, -pad),) * 3
    tight_void = _enclosed(within(np.pad((part > 0) | bright, pad), leak))
    void = within(tight_void, leak + CORNER_VOXELS)[inner] & (part == 0)
    pieces, count = cc3d.connected_components(void, connectivity=6, return_N=True)
    own, around = _walls(pieces, part, value, count)
    part[(own > OWN_SHARE * around)[pieces] & void] = value
    fill_marrow(array, value)


def _enclosed(mask: Bools) -> Bools:
    """Background with no way (six neighbours) to the rim of the array."""
    pieces = cc3d.connected_components(np.pad(~mask, 1, constant_values=True), connectivity=6)
    # The first piece holds the padding.
    return np.asarray(pieces[1:-1, 1:-1, 1:-1] > 1)


def _walls(
    pieces: npt.NDArray[np.unsignedinteger], labels: Labels, value: int, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Per piece (count + 1,): faces it shares with voxels of one label, and with labelled voxels at all."""
    own, around = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for axis in range(3):
        low = tuple(slice(0, -1) if n == axis else slice(None) for n in range(3))
        high = tuple(slice(1, None) if n == axis else slice(None) for n in range(3))
        for here, there in ((low, high), (high, low)):
            piece, label = pieces[here], labels[there]
            own += np.bincount(piece[label == value], minlength=count + 1)
            around += np.bincount(piece[label > 0], minlength=count + 1)
    return own, around
