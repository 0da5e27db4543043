"""Storage order of voxels: RAS to LPS, and the order whose axes lie nearest +x left, +y posterior, +z superior.

The only place where image axes are permuted or reversed. The world does not move: the affine follows the array.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from sacroplasty.space import Points

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True)
class Storage:
    """How voxels lay in the file: new axis n was old axis `axes[n]`, reversed where `reversed_axes[n]`."""

    axes: tuple[int, int, int]
    reversed_axes: tuple[bool, bool, bool]
    letters: str

    def undone(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """An array in canonical order brought back to the file's order."""
        turned = array[tuple(slice(None, None, -1) if r else slice(None) for r in self.reversed_axes)]
        return turned.transpose(np.argsort(self.axes))


def storage_of(affine_lps: Points) -> Storage:
    """The storage order of a voxel-to-LPS matrix: which axis runs along which of the patient's, and which way."""
    directions = affine_lps[:3, :3] / np.linalg.norm(affine_lps[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(directions[n, p[n]]) for n in range(3)))
    axes = (best[0], best[1], best[2])
    flips = (bool(directions[0, axes[0]] < 0), bool(directions[1, axes[1]] < 0), bool(directions[2, axes[2]] < 0))
    letters = [""] * 3
    for n in range(3):
        letters[axes[n]] = _LETTERS[n][0 if flips[n] else 1]
    return Storage(axes, flips, "".join(letters))


def canonical(array: npt.NDArray[np.generic], affine_lps: Points) -> tuple[npt.NDArray[np.generic], Points, Storage]:
    """The array with axes near +left, +posterior, +superior, its matrix, and the storage order it came in."""
    storage = storage_of(affine_lps)
    turned = array.transpose(storage.axes)
    affine = np.eye(4)
    affine[:3, :3] = affine_lps[:3, list(storage.axes)]
    affine[:3, 3] = affine_lps[:3, 3]
    for n in range(3):
        if storage.reversed_axes[n]:
            affine[:3, 3] += affine[:3, n] * (turned.shape[n] - 1)
            affine[:3, n] = -affine[:3, n]
    turned = turned[tuple(slice(None, None, -1) if r else slice(None) for r in storage.reversed_axes)]
    return turned, affine, storage
