"""How alike two radiographs are: gradient features whose squared difference is twice one minus their correlation.

Slow brightness (scatter, soft tissue, gain) drops out in the high-pass; a least-squares solver can use the features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.fluoroscopy.projector import Image

# The filters reach this far; that rim of an image is not compared.
_RIM = 3
# Features are divided by their local strength, so that skin edge and prosthesis do not outweigh the sacrum:
# neighbourhood as a share of the image, and the share of the mean strength below which nothing is amplified.
_LOCAL_SHARE = 16
_FLOOR = 0.1
# Blocks of image per axis for the covariance: residuals inside one are taken as correlated.
_BLOCKS = 8
BLOCKS_PER_FEATURE = 3


def binned(image: Image, factor: int) -> Image:
    """Means over squares of `factor` pixels."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    cut = image[: rows * factor, : columns * factor]
    return np.asarray(cut.reshape(rows, factor, columns, factor).mean(axis=(1, 3)), dtype=np.float32)


def _filtered(image: Image) -> npt.NDArray[np.float32]:
    """High-pass and both gradients (3, rows, columns) without the rim."""
    smooth = ndimage.gaussian_filter(image, 1.0, mode="nearest", truncate=3.0)
    slow = ndimage.uniform_filter(smooth, 13, mode="nearest")
    stack = np.stack(
        [smooth - slow, ndimage.sobel(smooth, 1, mode="nearest"), ndimage.sobel(smooth, 0, mode="nearest")]
    )
    stack = stack[:, _RIM:-_RIM, _RIM:-_RIM]
    size = (0, *(n / _LOCAL_SHARE for n in stack.shape[1:]))
    energy = ndimage.gaussian_filter(stack**2, size, mode="nearest", truncate=2.0)
    floor = _FLOOR * energy.mean(axis=(1, 2), keepdims=True)
    return np.asarray(stack / np.sqrt(energy + floor))


class Likeness:
    """One shot's features, and the difference of any projection's features from them.

    `ignored` (rows, columns): True where the shot shows what the CT cannot. Every feature block has unit norm, so
    a difference's squared norm is 2 (1 - correlation) summed over the three blocks.
    """

    def __init__(self, shot: Image, ignored: npt.NDArray[np.bool_] | None = None) -> None:
        self.shape = shot.shape
        weight = np.ones(shot.shape, np.float32) if ignored is None else 1.0 - ignored.astype(np.float32)
        inner = weight[_RIM:-_RIM, _RIM:-_RIM]
        self._weight = np.sqrt(ndimage.minimum_filter(inner, 3))[None]
        self._fixed = self._normalised(_filtered(shot))
        rows, columns = inner.shape
        block = (np.arange(rows) * _BLOCKS // rows)[:, None] * _BLOCKS + (np.arange(columns) * _BLOCKS // columns)
        self.blocks = np.broadcast_to(block, (3, rows, columns)).ravel()

    def _normalised(self, stack: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        stack = stack * self._weight
        norms = np.sqrt((stack.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True))
        return np.asarray(stack / np.maximum(norms, 1e-12), dtype=np.float32)

    def difference(self, projection: Image) -> npt.NDArray[np.float32]:
        """Features of a projection minus the shot's (n,)."""
        return (self._normalised(_filtered(projection)) - self._fixed).ravel()

    def mismatch(self, projection: Image) -> float:
        """One minus the mean correlation of the feature blocks: 0 for alike, 1 for unrelated."""
        moved = self._normalised(_filtered(projection))
        return 1.0 - float((moved * self._fixed).sum()) / BLOCKS_PER_FEATURE
