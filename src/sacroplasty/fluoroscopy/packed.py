"""A volume packed for projecting: 16-bit, rows contiguous, one voxel of emptiness around it.

The rim of zeros makes the field fall to nothing over one voxel past the outermost centres, so that every projector
integrates the same function up to the volume's edge and needs no case for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import GeometryError
from sacroplasty.space import Frame, Grid, Transform, Volume, readonly

_FULL_SCALE = 32000


@dataclass(frozen=True, eq=False)
class PackedVolume:
    """int16 `array` (i + 2, j + 2, k + 2) with a rim of zeros; times `scale` it is a density per mm of path.

    `grid` is that of the voxels without the rim. What the density means is the packer's affair: attenuation in 1/mm,
    or g/cm³ of a material.
    """

    array: npt.NDArray[np.int16]
    grid: Grid
    scale: float

    @staticmethod
    def of(volume: Volume) -> PackedVolume:
        """Pack a volume; precision is its largest magnitude / 32000."""
        largest = max(float(volume.array.max()), -float(volume.array.min()))
        if not np.isfinite(largest):
            raise GeometryError("A projected quantity must be finite", remedy="Replace missing values first")
        scale = (largest or 1.0) / _FULL_SCALE
        padded = np.zeros([n + 2 for n in volume.array.shape], dtype=np.int16)
        for i, plane in enumerate(volume.array):  # plane by plane: no float copy of the whole volume
            padded[i + 1, 1:-1, 1:-1] = np.rint(plane / np.float32(scale))
        padded.flags.writeable = False
        return PackedVolume(padded, volume.grid, scale)

    @cached_property
    def voxel_from_patient(self) -> Transform:
        """Indices into `array`, rim included, of LPS mm."""
        shift = np.eye(4)
        shift[:3, 3] = 1.0
        return Transform(Frame.VOXEL, Frame.VOXEL, shift) @ self.grid.voxel_from_patient

    def coarser(self, factor: int) -> Self:
        """Block means over `factor` voxels along each axis; what does not fill a block is left out at the far end."""
        inner = self.array[1:-1, 1:-1, 1:-1]
        counts = [n // factor for n in inner.shape]
        if min(counts) < 2:
            raise GeometryError("The volume is too small to be made coarser", got=f"{inner.shape} by {factor}")
        total = np.zeros(counts, dtype=np.int32)
        ends = [n * factor for n in counts]
        for di in range(factor):
            for dj in range(factor):
                for dk in range(factor):
                    total += inner[di : ends[0] : factor, dj : ends[1] : factor, dk : ends[2] : factor]
        padded = np.zeros([n + 2 for n in counts], dtype=np.int16)
        padded[1:-1, 1:-1, 1:-1] = np.rint(total / factor**3)
        affine = np.array(self.grid.affine_lps)
        affine[:3, 3] = self.grid.patient_from_voxel.points([(factor - 1) / 2] * 3)
        affine[:3, :3] *= factor
        grid = Grid.from_affine((counts[0], counts[1], counts[2]), affine, self.grid.frame_of_reference_uid)
        return type(self)(np.asarray(readonly(padded, np.int16)), grid, self.scale)
