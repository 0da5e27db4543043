"""A straight needle path from skin to target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError

Point = tuple[float, float, float]


def as_point(xyz: npt.ArrayLike) -> Point:
    """Three finite floats in LPS mm; anything else raises InputError."""
    array = np.asarray(xyz, dtype=np.float64)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise InputError("A point needs three finite coordinates in mm", got=str(xyz))
    return float(array[0]), float(array[1]), float(array[2])


@dataclass(frozen=True)
class Trajectory:
    """From `entry_mm` on the skin to `target_mm`, where the tip shall come to rest; both LPS mm."""

    entry_mm: Point
    target_mm: Point

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_mm", as_point(self.entry_mm))
        object.__setattr__(self, "target_mm", as_point(self.target_mm))
        if self.length_mm < 1.0:
            raise InputError("Entry and target coincide", got=f"{self.length_mm:.2f} mm apart")

    @property
    def length_mm(self) -> float:
        """Depth from skin to target along the path."""
        return math.dist(self.entry_mm, self.target_mm)

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """Unit vector (3,) of insertion, LPS."""
        offset = np.subtract(self.target_mm, self.entry_mm)
        return np.asarray(offset / np.linalg.norm(offset))

    def point_at(self, depth_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Positions (..., 3) at depths (...) below the skin; depths beyond the target lie on the extension."""
        depth = np.asarray(depth_mm, dtype=np.float64)[..., None]
        return np.asarray(np.asarray(self.entry_mm) + depth * self.direction)

    @property
    def cephalad_deg(self) -> float:
        """Angle of insertion towards the head, from the patient's axial plane; negative is caudad."""
        return math.degrees(math.asin(float(np.clip(self.direction[2], -1, 1))))

    @property
    def leftward_deg(self) -> float:
        """Angle of insertion towards the patient's left, from the sagittal plane; negative is towards the right."""
        return math.degrees(math.asin(float(np.clip(self.direction[0], -1, 1))))

    def moved(self, *, entry_mm: npt.ArrayLike | None = None, target_mm: npt.ArrayLike | None = None) -> Self:
        """A copy with another entry or target."""
        entry = self.entry_mm if entry_mm is None else as_point(entry_mm)
        target = self.target_mm if target_mm is None else as_point(target_mm)
        return type(self)(entry, target)
