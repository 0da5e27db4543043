"""The four frames and the affine transforms between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import FrameError
from sacroplasty.space.frozen import readonly

Points = npt.NDArray[np.float64]


class Frame(Enum):
    """Where coordinates live.

    PATIENT: DICOM LPS, mm, moves with the patient. VOXEL: (i, j, k), integers at voxel centres.
    CAMERA: mm, x-ray source at the origin, +z towards the detector. DETECTOR: (u, v) pixels, integers at centres.
    """

    PATIENT = "patient"
    VOXEL = "voxel"
    CAMERA = "camera"
    DETECTOR = "detector"


@dataclass(frozen=True, eq=False)
class Transform:
    """Affine map written `target_from_source`: `(a_from_b @ b_from_c)` is `a_from_c`.

    `matrix` is 4x4. `target_id` and `source_id` name which grid (VOXEL) or frame of reference (PATIENT) is meant;
    empty means unspecified. A chain whose inner frames or ids differ raises FrameError.
    """

    target: Frame
    source: Frame
    matrix: Points
    target_id: str = ""
    source_id: str = ""

    def __post_init__(self) -> None:
        matrix = readonly(self.matrix)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise FrameError(
                "A transform needs a finite 4x4 matrix",
                got=f"shape {matrix.shape}, finite: {bool(np.isfinite(matrix).all())}",
                remedy="Check the image's orientation and spacing",
            )
        if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
            raise FrameError(
                "A transform must be affine", got=f"last row {matrix[3].tolist()}", remedy="Use Projection"
            )
        object.__setattr__(self, "matrix", matrix)

    @staticmethod
    def identity(frame: Frame, identifier: str = "") -> Transform:
        """The transform that changes nothing."""
        return Transform(frame, frame, np.eye(4), identifier, identifier)

    def __matmul__(self, other: Transform) -> Transform:
        clash = self.source_id and other.target_id and self.source_id != other.target_id
        if self.source is not other.target or clash:
            raise FrameError(
                "Transforms do not chain",
                got=f"{self._name} @ {other._name}",
                remedy="Chain as a_from_b @ b_from_c, inverting one if needed",
            )
        product = self.matrix @ other.matrix
        product[3] = (0.0, 0.0, 0.0, 1.0)
        return Transform(self.target, other.source, product, self.target_id, other.source_id)

    @property
    def _name(self) -> str:
        target = f"{self.target.value}({self.target_id})" if self.target_id else self.target.value
        source = f"{self.source.value}({self.source_id})" if self.source_id else self.source.value
        return f"{target}_from_{source}"

    @cached_property
    def inverse(self) -> Transform:
        """`source_from_target`; raises FrameError where the matrix is singular."""
        determinant = float(np.linalg.det(self.matrix[:3, :3]))
        if abs(determinant) < 1e-12:
            raise FrameError(
                f"{self._name} cannot be inverted",
                got=f"determinant {determinant:.3g}",
                remedy="Check the image's spacing and orientation",
            )
        linear = np.linalg.inv(self.matrix[:3, :3])
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = -linear @ self.matrix[:3, 3]
        return Transform(self.source, self.target, matrix, self.source_id, self.target_id)

    def points(self, xyz: npt.ArrayLike) -> Points:
        """Positions (..., 3) carried over, translation included."""
        return self.vectors(xyz) + self.matrix[:3, 3]

    def vectors(self, xyz: npt.ArrayLike) -> Points:
        """Directions or displacements (..., 3) carried over, translation left out."""
        array = np.asarray(xyz, dtype=np.float64)
        # One flat product: numpy multiplies a stack of small matrices one by one, thirty times slower.
        return np.asarray(array.reshape(-1, 3) @ self.matrix[:3, :3].T).reshape(array.shape)


@dataclass(frozen=True, eq=False)
class Projection:
    """Perspective map from a 3-D frame to DETECTOR pixels: homogeneous 3x4 `matrix`, written detector_from_source."""

    source: Frame
    matrix: Points
    source_id: str = ""

    def __post_init__(self) -> None:
        matrix = readonly(self.matrix)
        if matrix.shape != (3, 4) or not np.isfinite(matrix).all():
            raise FrameError("A projection needs a finite 3x4 matrix", got=f"shape {matrix.shape}")
        object.__setattr__(self, "matrix", matrix)

    def __matmul__(self, other: Transform) -> Projection:
        clash = self.source_id and other.target_id and self.source_id != other.target_id
        if self.source is not other.target or clash:
            raise FrameError(
                "A projection does not chain",
                got=f"detector_from_{self.source.value} @ {other._name}",
                remedy="Chain as detector_from_camera @ camera_from_patient",
            )
        return Projection(other.source, self.matrix @ other.matrix, other.source_id)

    def points(self, xyz: npt.ArrayLike) -> Points:
        """Pixel positions (..., 2) as (u, v) of positions (..., 3); points at or behind the source give NaN."""
        array = np.asarray(xyz, dtype=np.float64)
        homogeneous = array.reshape(-1, 3) @ self.matrix[:, :3].T + self.matrix[:, 3]
        depth = homogeneous[:, 2:]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = homogeneous[:, :2] / depth
        return np.where(depth > 0, pixels, np.nan).reshape((*array.shape[:-1], 2))
