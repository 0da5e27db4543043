"""Images on a grid: CT or MR values, masks and labels. Arrays are read-only; changes are copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import AnatomyError, GeometryError, InputError
from sacroplasty.space.frame import Points
from sacroplasty.space.frozen import readonly
from sacroplasty.space.grid import Box, Grid, Shape


def _require_shape(array: npt.NDArray[np.generic], grid: Grid, what: str) -> None:
    if array.shape != grid.shape:
        raise GeometryError(f"{what} does not fill its grid", got=f"array {array.shape}, grid {grid.shape}")


def _pulled(
    array: npt.NDArray[np.generic], source: Grid, target: Grid, order: int, outside: float
) -> npt.NDArray[np.float32]:
    """Values of `array` on `source` interpolated at the voxel centres of `target`."""
    _require_one_frame(source, target)
    source_from_target = (source.voxel_from_patient @ target.patient_from_voxel).matrix
    values = np.asarray(array, dtype=np.float32)
    if order == 1:
        # numba and scipy only where they are used: every child process that parses a file imports this room.
        from sacroplasty.space import linear

        return linear.pulled(values, source_from_target, target.shape, outside)
    from scipy import ndimage

    across = source_from_target[:3, :3]
    diagonal = np.diag(np.diag(across))
    matrix = np.diag(diagonal) if np.allclose(across, diagonal, atol=1e-12) else across
    return np.asarray(
        ndimage.affine_transform(
            values,
            matrix,
            offset=source_from_target[:3, 3],
            output_shape=target.shape,
            order=order,
            mode="constant",
            cval=outside,
            output=np.float32,
        )
    )


def _require_one_frame(a: Grid, b: Grid) -> None:
    uids = {a.frame_of_reference_uid, b.frame_of_reference_uid} - {""}
    if len(uids) > 1:
        raise GeometryError(
            "The images lie in different frames of reference",
            got=" and ".join(sorted(uids)),
            remedy="Register one to the other first",
        )


@dataclass(frozen=True, eq=False)
class Volume:
    """Scalar image (i, j, k), float32 or int16, on a grid; `unit` is "HU" for CT, "1" for MR or derived maps."""

    array: npt.NDArray[np.generic]
    grid: Grid
    unit: str = "HU"

    def __post_init__(self) -> None:
        dtype = np.int16 if self.array.dtype == np.int16 else np.float32
        object.__setattr__(self, "array", readonly(self.array, dtype))
        _require_shape(self.array, self.grid, "The image")

    def cropped(self, box: Box) -> Volume:
        """The part of an index box."""
        return replace(self, array=self.array[box], grid=self.grid.cropped(box))

    def resampled(self, grid: Grid, order: int = 1, outside: float = -1024.0) -> Volume:
        """The values at the voxel centres of another grid of the same frame of reference."""
        return Volume(_pulled(self.array, self.grid, grid, order, outside), grid, self.unit)

    def binned(self, factors: Shape) -> Volume:
        """Means over blocks of `factors` voxels: the image without aliasing on a coarser grid."""
        grid = self.grid.binned(factors)
        used = tuple(slice(0, n * f) for n, f in zip(grid.shape, factors, strict=True))
        blocks = self.array[used]
        for axis, factor in enumerate(factors):
            if factor > 1:
                count = blocks.shape[axis] // factor
                split = (*blocks.shape[:axis], count, factor, *blocks.shape[axis + 1 :])
                blocks = blocks.reshape(split).mean(axis=axis + 1, dtype=np.float32)
        return Volume(np.asarray(blocks, dtype=np.float32), grid, self.unit)

    def sampled(self, points_mm: npt.ArrayLike, order: int = 1, outside: float = -1024.0) -> npt.NDArray[np.float32]:
        """Values at positions (..., 3) in LPS mm; `outside` beyond the grid."""
        points = np.asarray(points_mm, dtype=np.float64)
        index = self.grid.voxel_from_patient.points(points.reshape(-1, 3))
        if order == 1:
            from sacroplasty.space import linear

            return linear.sampled(np.asarray(self.array, np.float32), index, outside).reshape(points.shape[:-1])
        from scipy import ndimage

        source = self.array if order == 0 else np.asarray(self.array, dtype=np.float32)
        values = ndimage.map_coordinates(source, index.T, order=order, mode="constant", cval=outside)
        return np.asarray(values, dtype=np.float32).reshape(points.shape[:-1])


@dataclass(frozen=True, eq=False)
class Mask:
    """True where a structure is, (i, j, k) on a grid."""

    array: npt.NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", readonly(self.array, np.bool_))
        _require_shape(self.array, self.grid, "The mask")

    @property
    def volume_ml(self) -> float:
        """Volume of the true voxels."""
        return float(np.count_nonzero(self.array)) * self.grid.voxel_volume_ml

    def is_empty(self) -> bool:
        """No voxel is true."""
        return not bool(self.array.any())

    def require_any(self, name: str) -> Mask:
        """This mask, or AnatomyError where it is empty."""
        if self.is_empty():
            raise AnatomyError(f"The {name} is empty", remedy="Check the label value or draw it again")
        return self

    def points_mm(self) -> Points:
        """Centres (n, 3) of the true voxels, LPS mm."""
        return self.grid.patient_from_voxel.points(np.argwhere(self.array))

    def corners_mm(self) -> Points:
        """Corners (8, 3), LPS mm, of the box along the voxel axes that holds the true voxels' centres; needs any."""
        spans = [np.flatnonzero(self.array.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
        corners = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)
        return self.grid.patient_from_voxel.points(corners)

    def centroid_mm(self) -> Points:
        """Mean position of the true voxels, LPS mm; AnatomyError where empty."""
        return np.asarray(self.require_any("mask").points_mm().mean(axis=0))

    def contains(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether positions (..., 3) in LPS mm fall in a true voxel."""
        points = np.asarray(points_mm, dtype=np.float64)
        index = np.rint(self.grid.voxel_from_patient.points(points)).astype(np.int64)
        inside = ((index >= 0) & (index < np.asarray(self.grid.shape))).all(axis=-1)
        clipped = np.clip(index, 0, np.asarray(self.grid.shape) - 1)
        return np.asarray(inside & self.array[clipped[..., 0], clipped[..., 1], clipped[..., 2]])

    def cropped(self, box: Box) -> Mask:
        """The part of an index box."""
        return Mask(self.array[box], self.grid.cropped(box))

    def resampled(self, grid: Grid) -> Mask:
        """The mask on another grid, by its trilinear occupancy at one half."""
        return Mask(_pulled(self.array, self.grid, grid, 1, 0.0) >= 0.5, grid)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Named structures that exclude each other: unsigned values (i, j, k) on a grid, 0 is background."""

    array: npt.NDArray[np.unsignedinteger]
    grid: Grid
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        highest = max([int(self.array.max(initial=0)), *self.names])
        if highest > np.iinfo(np.uint16).max:
            raise InputError("A label value is too large", got=str(highest), remedy="Number the labels up to 65535")
        dtype = np.uint8 if highest < 256 else np.uint16
        object.__setattr__(self, "array", readonly(self.array, dtype))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))
        _require_shape(self.array, self.grid, "The label map")

    @property
    def values(self) -> Mapping[str, int]:
        """Label value of each name."""
        return {name: value for value, name in self.names.items()}

    def has(self, name: str) -> bool:
        """The structure is named and has at least one voxel."""
        value = self.values.get(name)
        return value is not None and bool((self.array == value).any())

    def mask(self, *names: str) -> Mask:
        """True where any of the named structures is; a name that is not in the map raises AnatomyError."""
        missing = [name for name in names if name not in self.values]
        if missing:
            raise AnatomyError(
                f"The labels have no {', '.join(missing)}", got=", ".join(sorted(self.values)) or "no names"
            )
        wanted = [self.values[name] for name in names]
        return Mask(np.isin(self.array, wanted), self.grid)

    def at(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.unsignedinteger]:
        """Label values at positions (..., 3) in LPS mm, 0 outside the grid."""
        points = np.asarray(points_mm, dtype=np.float64)
        index = np.rint(self.grid.voxel_from_patient.points(points)).astype(np.int64)
        inside = ((index >= 0) & (index < np.asarray(self.grid.shape))).all(axis=-1)
        clipped = np.clip(index, 0, np.asarray(self.grid.shape) - 1)
        found = self.array[clipped[..., 0], clipped[..., 1], clipped[..., 2]]
        return np.where(inside, found, 0).astype(self.array.dtype)

    def cropped(self, box: Box) -> LabelMap:
        """The part of an index box."""
        return LabelMap(self.array[box], self.grid.cropped(box), self.names)

    def resampled(self, grid: Grid) -> LabelMap:
        """The labels on another grid, by nearest voxel centre."""
        from sacroplasty.space import linear  # here: this room is imported by everything, numba is slow to import

        _require_one_frame(self.grid, grid)
        source_from_target = (self.grid.voxel_from_patient @ grid.patient_from_voxel).matrix
        return LabelMap(linear.picked(self.array, source_from_target, grid.shape, 0), grid, self.names)
