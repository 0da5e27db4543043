"""What every file reader hands to the geometry gate: slices as they lie, before anything is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sacroplasty.io.verdict import Remark
from sacroplasty.space import Points

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class RawImage:
    """Parallel slices: `array` (i, j, k), the in-plane steps and where voxel (0, 0) of every slice lies, LPS mm.

    `first_step_mm` and `second_step_mm` (3,) lead from a voxel to its neighbour along i and j; `origins_mm` (k, 3).
    `modality` is "CT", "MR" or "" where the file does not say. `second_corners_mm` (8, 3), i fastest, is what an
    independent reader finds; None where there is no second reader for the format.
    """

    array: Array
    first_step_mm: Points
    second_step_mm: Points
    origins_mm: Points
    modality: str = ""
    remarks: tuple[Remark, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    second_corners_mm: Points | None = None

    @property
    def normal(self) -> Points:
        """Unit normal (3,) of the slices, first step cross second step."""
        cross = np.cross(self.first_step_mm, self.second_step_mm)
        return np.asarray(cross / np.linalg.norm(cross))

    @property
    def heights_mm(self) -> Points:
        """Place (k,) of every slice along the normal."""
        return np.asarray(self.origins_mm @ self.normal)

    @property
    def affine_lps(self) -> Points:
        """The voxel-to-LPS matrix, if the slices are evenly spaced along one direction."""
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = self.first_step_mm, self.second_step_mm
        steps = max(len(self.origins_mm) - 1, 1)
        affine[:3, 2] = (self.origins_mm[-1] - self.origins_mm[0]) / steps
        affine[:3, 3] = self.origins_mm[0]
        return affine


def raw_from_affine(
    array: Array,
    affine_lps: Points,
    *,
    modality: str = "",
    remarks: tuple[Remark, ...] = (),
    about: Mapping[str, str] | None = None,
    second_corners_mm: Points | None = None,
) -> RawImage:
    """The raw image of an array on a matrix: slices lie across the file's third axis."""
    origins = affine_lps[:3, 3] + np.arange(array.shape[2])[:, None] * affine_lps[:3, 2]
    return RawImage(
        array, affine_lps[:3, 0], affine_lps[:3, 1], origins, modality, remarks, dict(about or {}), second_corners_mm
    )


def shrunk(array: npt.NDArray[np.generic]) -> Array:
    """The array as int16 where every value is an integer that fits, else float32."""
    if array.dtype == np.int16:
        return array
    if np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.bool_):
        low, high = int(array.min()), int(array.max())
        fits = np.iinfo(np.int16).min <= low and high <= np.iinfo(np.int16).max
        return array.astype(np.int16 if fits else np.float32)
    single = array.astype(np.float32, copy=False)
    finite = bool(np.isfinite(single).all())
    if finite and single.size and abs(single).max() < 32768 and bool((single == np.rint(single)).all()):
        return single.astype(np.int16)
    return single
