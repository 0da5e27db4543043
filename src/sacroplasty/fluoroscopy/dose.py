"""Fluoroscopy time and entrance air kerma expected of a plan, beside published figures: an estimate, not dosimetry."""

from __future__ import annotations

from dataclasses import dataclass

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.view import View

_MINUTE_S = 60.0


@dataclass(frozen=True)
class DoseEstimate:
    """Fluoroscopy time in s for placing needles and for cement, air kerma at the skin in mGy, and the comparison."""

    placement_s: float
    cement_s: float
    air_kerma_mgy: float
    sentence: str

    @property
    def total_s(self) -> float:
        """Placement and cement."""
        return self.placement_s + self.cement_s


def estimated_dose(views: tuple[View, ...], needles: int = 1, *, skin_distance_mm: float | None = None) -> DoseEstimate:
    """Time and air kerma of placing `needles` and injecting under these views, scaled from published vertebroplasty.

    skin_distance_mm: from the source to the skin; the rate follows the inverse square of it. Published means come from
    other hands and machines: expect a factor of two either way.
    """
    if needles < 1 or not views:
        raise InputError("A dose estimate needs needles and views", got=f"{needles} needles, {len(views)} views")
    placement = value("fluoroscopy.placement_time") * _MINUTE_S * needles
    cement = value("fluoroscopy.cement_time") * _MINUTE_S * needles
    usual = value("assumptions.usual_skin_distance")
    rate = value("fluoroscopy.skin_dose") / value("fluoroscopy.skin_dose_time") / _MINUTE_S
    near = usual if skin_distance_mm is None else skin_distance_mm
    if near <= 100:
        raise InputError("The skin cannot be that near to the focal spot", got=f"{near} mm")
    kerma = rate * (usual / near) ** 2 * (placement + cement)
    published = value("fluoroscopy.skin_dose")
    sentence = (
        f"Expected (estimate): {(placement + cement) / _MINUTE_S:.0f} min of fluoroscopy in {len(views)} views and "
        f"{kerma:.0f} mGy at the skin; published means are {published:.0f} mGy in "
        f"{value('fluoroscopy.skin_dose_time'):.0f} min for vertebroplasty and "
        f"{value('fluoroscopy.malignant_dose'):.0f} mGy in {value('fluoroscopy.malignant_time') / _MINUTE_S:.0f} min "
        f"for augmentation of malignant fractures."
    )
    return DoseEstimate(placement, cement, kerma, sentence)
