"""How alike two radiographs are: gradients, each divided by how strong gradients are around it.

Slow brightness (scatter, soft tissue, gain) drops out with the gradient, contrast with the division; what is left is
where edges lie. A least-squares solver can use the features, since half their squared difference is one minus their
correlation. No high-pass image is compared: soft tissue fills it with what the bone lacks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.projector import Image

# The filters reach this far; that rim of an image is not compared.
_RIM = 4
# Neighbourhood of the local strength as a share of the image, and the share of the strength at this rank below which
# nothing is amplified: skin edge and prosthesis must not outweigh the sacrum, nor noise in an empty corner. A rank and
# no mean, which the edge of a table or of a shutter would lift over all bone.
_LOCAL_SHARE = 8
_FLOOR, _RANK = 0.1, 0.6
# Residuals inside a square of this many pixels are taken as one measurement: features are smooth over fewer.
_BLOCK_PIXELS = 8
# The test of agreement: squares of this many pixels, moved by up to so many pixels, in place if within so many.
_PATCH_PIXELS, _REACH_PIXELS = 16, 5
_TAPS = np.exp(-(np.arange(-3, 4) ** 2) / 2.0).astype(np.float32)
_TAPS /= _TAPS.sum()


def binned(image: Image, factor: int) -> Image:
    """Means over squares of `factor` pixels."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    cut = image[: rows * factor, : columns * factor]
    return np.asarray(cut.reshape(rows, factor, columns, factor).mean(axis=(1, 3)), dtype=np.float32)


@njit(fastmath=True, cache=True)
def _gradients(image, taps, out):  # type: ignore[no-untyped-def]
    """Central differences (2, rows, columns) of the smoothed image."""
    rows, columns = image.shape
    half = taps.size // 2
    smooth = np.empty((rows, columns), np.float32)
    padded = np.empty(columns + 2 * half, np.float32)
    for r in range(rows):
        padded[:] = 0.0
        for k in range(taps.size):
            source = min(max(r + k - half, 0), rows - 1)
            for c in range(columns):
                padded[c + half] += taps[k] * image[source, c]
        for k in range(half):
            padded[k] = padded[half]
            padded[columns + half + k] = padded[columns + half - 1]
        for c in range(columns):
            total = np.float32(0)
            for k in range(taps.size):
                total += taps[k] * padded[c + k]
            smooth[r, c] = total
    for r in range(rows):
        above, below = max(r - 1, 0), min(r + 1, rows - 1)
        for c in range(columns):
            out[0, r, c] = smooth[r, min(c + 1, columns - 1)] - smooth[r, max(c - 1, 0)]
            out[1, r, c] = smooth[below, c] - smooth[above, c]


@njit(fastmath=True, cache=True)
def _box_mean(image, half, out):  # type: ignore[no-untyped-def]
    """Means over squares of 2 half + 1 pixels, cut off at the image's edge, by running sums."""
    rows, columns = image.shape
    across = np.empty((rows, columns), np.float32)
    for r in range(rows):
        total, count = np.float32(0), 0
        for c in range(-half, columns):
            if c + half < columns:
                total += image[r, c + half]
                count += 1
            if c - half - 1 >= 0:
                total -= image[r, c - half - 1]
                count -= 1
            if c >= 0:
                across[r, c] = total / count
    sums, count = np.zeros(columns, np.float32), 0
    for r in range(-half, rows):
        if r + half < rows:
            count += 1
            for c in range(columns):
                sums[c] += across[r + half, c]
        if r - half - 1 >= 0:
            count -= 1
            for c in range(columns):
                sums[c] -= across[r - half - 1, c]
        if r >= 0:
            for c in range(columns):
                out[r, c] = sums[c] / count


@njit(fastmath=True, cache=True)
def _best_shifts(moved, fixed, patch, reach, energies, shifts):  # type: ignore[no-untyped-def]
    """Per patch of the moved features: their energy, and the shift in pixels at which the fixed ones correlate best."""
    _two, rows, columns = moved.shape
    n = 0
    for top in range(reach, rows - patch - reach + 1, patch):
        for left in range(reach, columns - patch - reach + 1, patch):
            energy = np.float32(0)
            for p in range(2):
                for r in range(patch):
                    for c in range(patch):
                        energy += moved[p, top + r, left + c] ** 2
            best = np.float32(-2)
            for dr in range(-reach, reach + 1):
                for dc in range(-reach, reach + 1):
                    product, other = np.float32(0), np.float32(0)
                    for p in range(2):
                        for r in range(patch):
                            for c in range(patch):
                                there = fixed[p, top + r + dr, left + c + dc]
                                product += moved[p, top + r, left + c] * there
                                other += there * there
                    score = product / np.sqrt(other + np.float32(1e-12))
                    if score > best:
                        best = score
                        shifts[n, 0], shifts[n, 1] = dr, dc
            energies[n] = energy
            n += 1
    return n


def _filtered(image: Image) -> npt.NDArray[np.float32]:
    """Both gradients over their local strength (2, rows, columns), without the rim."""
    stack = np.empty((2, *image.shape), dtype=np.float32)
    _gradients(np.ascontiguousarray(image, dtype=np.float32), _TAPS, stack)
    energy = np.empty(image.shape, dtype=np.float32)
    once = np.empty_like(energy)
    half = max(2, min(image.shape) // (2 * _LOCAL_SHARE))
    _box_mean(stack[0] ** 2 + stack[1] ** 2, half, once)
    _box_mean(once, half, energy)
    # Running sums leave a speck below zero where an image is empty.
    ranked = np.partition(energy.ravel(), int(_RANK * energy.size))[int(_RANK * energy.size)]
    energy = np.maximum(energy, np.float32(0)) + np.float32(_FLOOR * max(float(ranked), 0.0) + 1e-20)
    return np.asarray((stack / np.sqrt(energy))[:, _RIM:-_RIM, _RIM:-_RIM])


def _normalised(stack: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    flat = stack.ravel()
    return np.asarray(stack / np.float32(max(float(np.sqrt(flat @ flat)), 1e-12)), dtype=np.float32)


class Likeness:
    """One shot's features, and the difference of any projection's features from them.

    Features have unit norm, so a difference's squared norm is 2 (1 - correlation). `blocks` (n,) numbers the square of
    image that each feature lies in.
    """

    def __init__(self, shot: Image) -> None:
        self._fixed = _normalised(_filtered(shot))
        rows, columns = self._fixed.shape[1:]
        down, across = np.arange(rows) // _BLOCK_PIXELS, np.arange(columns) // _BLOCK_PIXELS
        block = down[:, None] * (across[-1] + 1) + across
        self.blocks = np.broadcast_to(block, (2, rows, columns)).ravel()
        self.block_count = int(block[-1, -1]) + 1

    def difference(self, projection: Image) -> npt.NDArray[np.float32]:
        """Features of a projection minus the shot's (n,)."""
        return (_normalised(_filtered(projection)) - self._fixed).ravel()

    def mismatch(self, projection: Image) -> float:
        """One minus the correlation of the features: 0 for alike, 1 for unrelated."""
        return 1.0 - float(_normalised(_filtered(projection)).ravel() @ self._fixed.ravel())

    def agreement(self, projection: Image) -> float:
        """Share of the projection's edges, patch by patch, that the shot shows in that very place and not beside it.

        Each patch with more edges than the median patch is moved about; it agrees if it correlates best within
        the assumed number of pixels of where it is. About one patch in ten does so by chance. Unlike the correlation
        it hardly falls with edges that the shot has and the projection lacks.
        """
        moved = _normalised(_filtered(projection))
        most = moved[0].size // _PATCH_PIXELS**2 + 1
        energies, shifts = np.zeros(most, np.float32), np.zeros((most, 2), np.float32)
        count = _best_shifts(moved, self._fixed, _PATCH_PIXELS, _REACH_PIXELS, energies, shifts)
        if not count:
            return 0.0
        telling = energies[:count] >= np.median(energies[:count])
        near = np.abs(shifts[:count]).max(axis=1) <= value("assumptions.registration_patch_tolerance")
        return float(near[telling].mean())
