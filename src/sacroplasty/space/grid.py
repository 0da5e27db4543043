"""Regular voxel grids placed in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import GeometryError
from sacroplasty.space.frame import Frame, Points, Transform

Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel counts (i, j, k) and where they lie: `patient_from_voxel` in LPS mm, under one frame-of-reference UID."""

    shape: Shape
    patient_from_voxel: Transform
    frame_of_reference_uid: str = ""

    def __post_init__(self) -> None:
        transform = self.patient_from_voxel
        if (transform.target, transform.source) != (Frame.PATIENT, Frame.VOXEL):
            raise GeometryError("A grid needs patient_from_voxel", got=f"{transform.target}_from_{transform.source}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError("A grid needs three positive voxel counts", got=str(self.shape))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if abs(np.linalg.det(transform.matrix[:3, :3])) < 1e-12:
            raise GeometryError(
                "The image's voxel axes do not span space",
                got=f"matrix {np.round(transform.matrix[:3, :3], 6).tolist()}",
                remedy="Re-export the series with spacing and orientation",
            )

    @staticmethod
    def from_affine(shape: Shape, affine_lps: npt.ArrayLike, frame_of_reference_uid: str = "") -> Grid:
        """The grid of a 4x4 voxel-to-LPS-mm matrix."""
        transform = Transform(Frame.PATIENT, Frame.VOXEL, np.asarray(affine_lps, dtype=np.float64))
        return Grid(shape, transform, frame_of_reference_uid)

    @staticmethod
    def aligned(
        low_mm: npt.ArrayLike, high_mm: npt.ArrayLike, spacing_mm: float, frame_of_reference_uid: str = ""
    ) -> Grid:
        """The isotropic grid along the patient's axes whose voxel centres start at `low_mm` and reach `high_mm`."""
        low, high = np.asarray(low_mm, dtype=np.float64), np.asarray(high_mm, dtype=np.float64)
        counts = np.maximum(np.ceil((high - low) / spacing_mm - 1e-9).astype(int) + 1, 1)
        affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        affine[:3, 3] = low
        return Grid.from_affine((int(counts[0]), int(counts[1]), int(counts[2])), affine, frame_of_reference_uid)

    @cached_property
    def voxel_from_patient(self) -> Transform:
        """Fractional voxel indices of LPS mm."""
        return self.patient_from_voxel.inverse

    @property
    def affine_lps(self) -> Points:
        """The 4x4 voxel-to-LPS-mm matrix."""
        return self.patient_from_voxel.matrix

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k."""
        i, j, k = (float(v) for v in np.linalg.norm(self.affine_lps[:3, :3], axis=0))
        return i, j, k

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    @cached_property
    def corners_mm(self) -> Points:
        """Centres of the eight corner voxels (8, 3), LPS mm, i fastest."""
        last = np.asarray(self.shape, dtype=np.float64) - 1
        index = [(i * last[0], j * last[1], k * last[2]) for k in (0, 1) for j in (0, 1) for i in (0, 1)]
        return self.patient_from_voxel.points(index)

    @property
    def bounds_mm(self) -> tuple[Points, Points]:
        """Lowest and highest corner of the box, LPS mm, that holds every voxel centre."""
        return self.corners_mm.min(axis=0), self.corners_mm.max(axis=0)

    def contains(self, points_mm: npt.ArrayLike, margin_mm: float = 0.0) -> npt.NDArray[np.bool_]:
        """For positions (..., 3) in LPS mm: inside the hull of voxel centres, and at least `margin_mm` from its rim."""
        index = self.voxel_from_patient.points(points_mm)
        margin = margin_mm / np.asarray(self.spacing_mm) - 1e-6
        upper = np.asarray(self.shape) - 1 - margin
        return np.asarray(((index >= margin) & (index <= upper)).all(axis=-1))

    def same_as(self, other: Grid, tolerance_mm: float = 0.01) -> bool:
        """Same counts, same place to `tolerance_mm` at every corner, and no two different frames of reference."""
        uids = {self.frame_of_reference_uid, other.frame_of_reference_uid} - {""}
        if self.shape != other.shape or len(uids) > 1:
            return False
        return bool(np.abs(self.corners_mm - other.corners_mm).max() <= tolerance_mm)

    def require_same(self, other: Grid, what: str = "The two images") -> None:
        """Raise GeometryError unless both grids are one."""
        if not self.same_as(other):
            raise GeometryError(
                f"{what} do not share one grid",
                got=f"{self.describe()} against {other.describe()}",
                remedy="Resample one onto the other on purpose, or export both from the same series",
            )

    def describe(self) -> str:
        """Counts, spacing and origin in one line."""
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        origin = ", ".join(f"{v:.1f}" for v in self.affine_lps[:3, 3])
        uid = f", frame of reference {self.frame_of_reference_uid}" if self.frame_of_reference_uid else ""
        return f"{self.shape[0]}x{self.shape[1]}x{self.shape[2]} voxels of {spacing} mm at ({origin}) mm{uid}"

    def cropped(self, box: Box) -> Grid:
        """The sub-grid of an index box with step 1; it must not be empty."""
        starts, counts = [], []
        for part, count in zip(box, self.shape, strict=True):
            start, stop, step = part.indices(count)
            if step != 1 or stop <= start:
                raise GeometryError("A crop box must be non-empty with step 1", got=str(box))
            starts.append(start)
            counts.append(stop - start)
        affine = np.array(self.affine_lps)
        affine[:3, 3] = self.patient_from_voxel.points(starts)
        return Grid.from_affine((counts[0], counts[1], counts[2]), affine, self.frame_of_reference_uid)

    def box_around(self, points_mm: npt.ArrayLike, margin_mm: float = 0.0) -> Box:
        """The index box, clipped to the grid, that holds positions (n, 3) in LPS mm with a margin."""
        index = self.voxel_from_patient.points(np.asarray(points_mm, dtype=np.float64).reshape(-1, 3))
        margin = margin_mm / np.asarray(self.spacing_mm)
        low = np.clip(np.floor(index.min(axis=0) - margin), 0, np.asarray(self.shape) - 1).astype(int)
        high = np.clip(np.ceil(index.max(axis=0) + margin), 0, np.asarray(self.shape) - 1).astype(int)
        i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
        return i, j, k

    def resized(self, spacing_mm: float) -> Grid:
        """An isotropic grid of `spacing_mm` with the same axes that covers the same box of voxel centres."""
        old = np.asarray(self.spacing_mm)
        counts = np.floor((np.asarray(self.shape) - 1) * old / spacing_mm + 1e-9).astype(int) + 1
        affine = np.array(self.affine_lps)
        affine[:3, :3] *= spacing_mm / old
        return Grid.from_affine((int(counts[0]), int(counts[1]), int(counts[2])), affine, self.frame_of_reference_uid)

    def binned(self, factors: Shape) -> Grid:
        """The grid whose voxels are blocks of `factors` voxels; a rest at the far end is dropped."""
        counts = [max(n // f, 1) for n, f in zip(self.shape, factors, strict=True)]
        affine = np.array(self.affine_lps)
        affine[:3, :3] = self.affine_lps[:3, :3] * np.asarray(factors, dtype=np.float64)
        affine[:3, 3] = self.patient_from_voxel.points((np.asarray(factors, dtype=np.float64) - 1) / 2)
        return Grid.from_affine((counts[0], counts[1], counts[2]), affine, self.frame_of_reference_uid)

    def refined(self, factors: Shape) -> Grid:
        """The grid whose voxels are these ones cut into `factors` parts along i, j, k: what `binned` undoes."""
        parts = np.asarray(factors, dtype=np.float64)
        affine = np.array(self.affine_lps)
        affine[:3, :3] = self.affine_lps[:3, :3] / parts
        affine[:3, 3] = self.patient_from_voxel.points((1.0 / parts - 1.0) / 2)
        counts = [n * f for n, f in zip(self.shape, factors, strict=True)]
        return Grid.from_affine((counts[0], counts[1], counts[2]), affine, self.frame_of_reference_uid)

    def centres_mm(self) -> Points:
        """Every voxel centre (i, j, k, 3) in LPS mm: large, use on crops."""
        index = np.stack(np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij"), axis=-1)
        return self.patient_from_voxel.points(index)
