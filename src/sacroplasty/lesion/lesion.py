"""A sacral lesion: where it is, what it is made of and which walls still hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from sacroplasty.plan import DenisZone, Finding, Level, Point, Side
from sacroplasty.space import Mask, Points, readonly


class LesionKind(StrEnum):
    """Bone loss, bone gain or both."""

    LYTIC = "lytic"
    MIXED = "mixed"
    SCLEROTIC = "sclerotic"
    UNCLEAR = "unclear"


class Integrity(StrEnum):
    """State of a cortical wall next to the lesion."""

    INTACT = "intact"
    THINNED = "thinned"
    BREACHED = "breached"
    UNCLEAR = "not assessable on this scan"
    NOT_ADJACENT = "not adjacent"


@dataclass(frozen=True, eq=False)
class Wall:
    """One wall of the bone as the lesion leaves it: name (ventral, dorsal, endplate, canal, `S1 anterior foramen
    right`, si_joint_left ...), integrity, area that is gone and area the lesion abuts, mm², and where the worst is.

    `breach_mm` (n, 3) are the places on the surface, LPS mm, where the cortex is gone.
    """

    name: str
    integrity: Integrity
    breach_area_mm2: float = 0.0
    adjacent_area_mm2: float = 0.0
    where_mm: Point | None = None
    breach_mm: Points = field(default_factory=lambda: np.zeros((0, 3)))

    def __post_init__(self) -> None:
        object.__setattr__(self, "breach_mm", readonly(self.breach_mm))

    @property
    def to_hold_mm2(self) -> float:
        """Area of the wall next to the lesion that a fill would have to rely on."""
        return max(self.adjacent_area_mm2 - self.breach_area_mm2, 0.0)


class FractureKind(StrEnum):
    """Course of a fracture plane."""

    ALAR = "alar"
    TRANSVERSE = "transverse"
    OBLIQUE = "oblique"


@dataclass(frozen=True, eq=False)
class Fracture:
    """One fracture plane: kind, side (None where it crosses the midline), centre and unit normal (LPS), area seen.

    `filled` is the share of its outline that is dark, `levels` are those it runs through, `zone` the Denis zone of most
    of it, `points_mm` (n, 3) its voxels, and `lesion_gap_mm` the distance to the lesion it was sought for, if any.
    """

    kind: FractureKind
    side: Side | None
    centre_mm: Point
    normal: Point
    area_mm2: float
    filled: float
    zone: DenisZone
    levels: tuple[Level, ...]
    points_mm: Points
    lesion_gap_mm: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points_mm", readonly(self.points_mm))

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        levels = "-".join(dict.fromkeys((self.levels[0], self.levels[-1]))) if self.levels else "no known level"
        kind = f"{self.kind.capitalize()} fracture plane" + (f" {self.side}" if self.side else "")
        return f"{kind}, {levels}, Denis zone {self.zone.value}: {self.area_mm2:.0f} mm² seen; confirm on the images"


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion: mask on the anatomy's grid, centre, volume, kind and the numbers behind it.

    `levels` and `zones` map to the share (0..1) of the lesion's bony part; `measures` holds named numbers with units
    (mean_hu, lytic_fraction ...); `soft_tissue_ml` is the part outside the bone; `fractures` are the sacrum's fracture
    planes, nearest to the lesion first.
    """

    mask: Mask
    centre_mm: Point
    volume_ml: float
    kind: LesionKind
    levels: Mapping[Level, float] = field(default_factory=dict)
    zones: Mapping[DenisZone, float] = field(default_factory=dict)
    walls: tuple[Wall, ...] = ()
    soft_tissue_ml: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    synthetic: bool = False
    fractures: tuple[Fracture, ...] = ()

    def __post_init__(self) -> None:
        for name in ("levels", "zones", "measures"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def main_level(self) -> Level | None:
        """The level that holds most of the lesion."""
        return max(self.levels, key=lambda level: self.levels[level], default=None)

    @property
    def breached(self) -> tuple[Wall, ...]:
        """Walls that no longer hold."""
        return tuple(wall for wall in self.walls if wall.integrity is Integrity.BREACHED)
