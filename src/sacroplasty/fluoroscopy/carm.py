"""The C-arm as a machine: distances, detector, mechanical limits, and named profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sacroplasty.errors import InputError
from sacroplasty.evidence import value

PROFILES = ("mobile", "fixed-room")


@dataclass(frozen=True)
class CArm:
    """One machine. Distances in mm along the central ray; detector rows x columns of square pixels, centred on it.

    `primary_limits_deg` and `secondary_limits_deg` are console angles (0 = detector straight above the table).
    `detector_housing_mm` and `tube_housing_mm` are the radii of the blocks at either end, for collisions;
    `tube_front_mm` is how far the tube block reaches from the focus towards the patient.
    """

    name: str
    source_detector_mm: float
    source_isocentre_mm: float
    rows: int
    columns: int
    pixel_mm: float
    primary_limits_deg: tuple[float, float]
    secondary_limits_deg: tuple[float, float]
    detector_housing_mm: float
    tube_housing_mm: float
    tube_front_mm: float

    def __post_init__(self) -> None:
        if not 0 < self.source_isocentre_mm < self.source_detector_mm:
            raise InputError(
                "The isocentre must lie between source and detector",
                got=f"source-isocentre {self.source_isocentre_mm} mm, source-detector {self.source_detector_mm} mm",
            )
        if self.rows < 2 or self.columns < 2 or self.pixel_mm <= 0:
            raise InputError(
                "A detector needs rows, columns and a pixel size above zero",
                got=f"{self.rows} x {self.columns} of {self.pixel_mm} mm",
            )
        for low, high in (self.primary_limits_deg, self.secondary_limits_deg):
            if low >= high:
                raise InputError("A limit's lower end must be below its upper end", got=f"{low} to {high} deg")

    @staticmethod
    def profile(name: str = "mobile") -> CArm:
        """The machine of a profile in PROFILES; its numbers are assumptions and can be replaced one by one."""
        if name not in PROFILES:
            raise InputError("There is no such C-arm profile", got=name, remedy=f"Use {' or '.join(PROFILES)}")
        key = f"assumptions.carm_{name.replace('-', '_')}"
        pixels = int(value(f"{key}_detector_pixels"))
        primary, secondary = value(f"{key}_primary_limit"), value(f"{key}_secondary_limit")
        return CArm(
            name=name,
            source_detector_mm=value(f"{key}_source_detector"),
            source_isocentre_mm=value(f"{key}_source_isocentre"),
            rows=pixels,
            columns=pixels,
            pixel_mm=value(f"{key}_detector_size") / pixels,
            primary_limits_deg=(-primary, primary),
            secondary_limits_deg=(-secondary, secondary),
            detector_housing_mm=value(f"{key}_detector_housing"),
            tube_housing_mm=value("assumptions.carm_tube_housing"),
            tube_front_mm=value("assumptions.carm_tube_front"),
        )

    @property
    def magnification(self) -> float:
        """How much larger than life a structure at the isocentre appears on the detector."""
        return self.source_detector_mm / self.source_isocentre_mm

    @property
    def isocentre_pixel_mm(self) -> float:
        """Size of a detector pixel scaled to the isocentre."""
        return self.pixel_mm / self.magnification

    @property
    def field_mm(self) -> tuple[float, float]:
        """Rows and columns of the detector in mm."""
        return self.rows * self.pixel_mm, self.columns * self.pixel_mm

    def binned(self, factor: int) -> Self:
        """The same machine whose detector sums squares of `factor` pixels; rows and columns must divide."""
        if factor < 1 or self.rows % factor or self.columns % factor:
            raise InputError("The detector does not divide", got=f"{self.rows} x {self.columns} by {factor}")
        changes = dict(self.__dict__)
        changes.update(rows=self.rows // factor, columns=self.columns // factor, pixel_mm=self.pixel_mm * factor)
        return type(self)(**changes)

    def with_pixels(self, pixels: int) -> Self:
        """The same machine and field with a square detector of `pixels` across, for faster or finer images."""
        changes = dict(self.__dict__)
        changes.update(rows=pixels, columns=pixels, pixel_mm=max(self.field_mm) / pixels)
        return type(self)(**changes)

    def magnified(self, field_mm: float) -> Self:
        """The same machine with its detector's magnification on: as many pixels over a smaller square field, in mm."""
        if not 0 < field_mm <= max(self.field_mm):
            raise InputError("A magnified field is part of the detector", got=f"{field_mm} of {max(self.field_mm)} mm")
        changes = dict(self.__dict__)
        changes.update(pixel_mm=field_mm / max(self.rows, self.columns))
        return type(self)(**changes)
