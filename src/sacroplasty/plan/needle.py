"""Bone needles and their catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from sacroplasty.errors import InputError
from sacroplasty.evidence import evidence_table, value

GAUGES = (8, 9, 10, 11, 12, 13, 14, 15)


@dataclass(frozen=True)
class Needle:
    """A straight bone needle: outer and inner diameter, usable length, bevel angle (0 = diamond tip), maker."""

    gauge_number: int
    outer_diameter_mm: float
    inner_diameter_mm: float
    length_mm: float = 150.0
    bevel_angle_deg: float = 30.0
    manufacturer: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.inner_diameter_mm < self.outer_diameter_mm < 10:
            raise InputError(
                "A needle's bore must be thinner than its shaft",
                got=f"outer {self.outer_diameter_mm} mm, inner {self.inner_diameter_mm} mm",
            )
        if not 20 <= self.length_mm <= 400:
            raise InputError("A needle's length must be 20 to 400 mm", got=f"{self.length_mm} mm")

    @property
    def radius_mm(self) -> float:
        """Outer radius, which clearances are measured from."""
        return self.outer_diameter_mm / 2

    @property
    def has_bevel(self) -> bool:
        """The tip is bevelled, so its azimuth is part of the plan."""
        return self.bevel_angle_deg > 0

    @staticmethod
    def gauge(number: int, length_mm: float = 150.0, manufacturer: str = "") -> Needle:
        """The catalogue needle of a gauge from 8 to 15, nominal diameters."""
        if number not in GAUGES:
            raise InputError(
                "The needle's gauge is not in the catalogue",
                got=f"{number} G",
                remedy="Use 8 to 15, or Needle(...)",
            )
        outer, inner = value(f"needles.outer_diameter_{number}g"), value(f"needles.inner_diameter_{number}g")
        return Needle(number, outer, inner, length_mm, manufacturer=manufacturer)

    def describe(self) -> str:
        """Gauge, diameters and length in words."""
        return (
            f"{self.gauge_number} G, {self.outer_diameter_mm:.1f}/{self.inner_diameter_mm:.1f} mm, "
            f"{self.length_mm:.0f} mm long"
        )


def catalogue() -> tuple[Needle, ...]:
    """The needle of every gauge that the evidence has, thickest first."""
    known = evidence_table()
    return tuple(Needle.gauge(g) for g in GAUGES if f"needles.outer_diameter_{g}g" in known)
