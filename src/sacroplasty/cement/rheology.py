"""How cement flows: power law, thickening while it cures, pressure lost in bone and in the cannula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError
from sacroplasty.evidence import value

Array = npt.NDArray[Any]

# Bounds of the effective viscosity: a slower or thicker cement stands still for the purpose of a few minutes.
LOWEST_PA_S = 1e-3
HIGHEST_PA_S = 1e5
# Speeds below this count as standing still, so that a shear-thinning law stays finite.
SLOWEST_M_S = 1e-9


@dataclass(frozen=True)
class PowerLaw:
    """Viscosity `consistency_pa_sn · shear_rate ** (index - 1)`; index 1 is Newtonian, below 1 shear-thinning."""

    consistency_pa_sn: float
    index: float = 1.0

    def __post_init__(self) -> None:
        if not (self.consistency_pa_sn > 0 and 0.1 <= self.index <= 1.5):
            raise InputError(
                "A power law needs a positive consistency and an index of 0.1 to 1.5",
                got=f"{self.consistency_pa_sn} Pa·s^n, n = {self.index}",
            )

    def _pore_factor(self, permeability_m2: Array | float, porosity: Array | float) -> Any:
        """Christopher and Middleman's effective viscosity (Pa·s^n·m^(1-n)) of the law in a porous medium."""
        n = self.index
        scale = self.consistency_pa_sn / 12.0 * (9.0 + 3.0 / n) ** n
        return scale * (150.0 * permeability_m2 * porosity) ** ((1.0 - n) / 2.0)

    def in_bone(self, speed_m_s: Array, permeability_m2: Array, porosity: Array) -> Array | float:
        """Effective viscosity (Pa·s) at a Darcy speed."""
        if self.index == 1.0:
            return self.consistency_pa_sn
        # A speed of zero is a voxel that cement has not reached: give it what a slow front would have.
        speed = np.maximum(speed_m_s, SLOWEST_M_S)
        value = self._pore_factor(permeability_m2, porosity) * speed ** (self.index - 1.0)
        return np.clip(value, LOWEST_PA_S, HIGHEST_PA_S)

    def radial_drop_pa(
        self, rate_m3_s: float, permeability_m2: float, porosity: float, inner_m: float, outer_m: float
    ) -> float:
        """Pressure between two spheres round a point source; negative where the outer is the smaller."""
        n = self.index
        factor = float(self._pore_factor(permeability_m2, porosity)) / permeability_m2
        flux = (rate_m3_s / (4.0 * np.pi)) ** n
        power = 1.0 - 2.0 * n
        if abs(power) < 1e-9:
            return float(factor * flux * np.log(outer_m / inner_m))
        return float(factor * flux * (inner_m**power - outer_m**power) / -power)

    def cannula_drop_pa(self, rate_ml_s: float, length_mm: float, inner_diameter_mm: float) -> float:
        """Pressure along a straight bore: dp = 2 m L / R · ((3n + 1) / n · Q / (pi R³)) ** n."""
        n, radius = self.index, inner_diameter_mm * 0.5e-3
        wall_rate = (3.0 * n + 1.0) / n * rate_ml_s * 1e-6 / (np.pi * radius**3)
        return float(2.0 * self.consistency_pa_sn * length_mm * 1e-3 / radius * wall_rate**n)


@dataclass(frozen=True)
class Cement:
    """A named cement: consistency at the start of injection, its doubling time, setting time, and flow index.

    Ages are seconds after mixing at room temperature; `heat_j_g` is released from mixing to full set.
    """

    name: str
    consistency_pa_sn: float
    doubling_s: float
    setting_s: float
    index: float
    start_age_s: float
    heat_j_g: float
    assumed: bool = True

    def at(self, age_s: float) -> PowerLaw:
        """The power law at an age; the index falls linearly to half at setting."""
        growth = 2.0 ** ((age_s - self.start_age_s) / self.doubling_s)
        cured = float(np.clip((age_s - self.start_age_s) / (self.setting_s - self.start_age_s), 0.0, 1.0))
        index = max(self.index * (1.0 - 0.5 * cured), 0.2)
        return PowerLaw(min(self.consistency_pa_sn * growth, HIGHEST_PA_S), index)

    def too_thick(self, age_s: float) -> bool:
        """The cement has set, or is so thick that nothing moves."""
        return age_s >= self.setting_s or self.at(age_s).consistency_pa_sn >= HIGHEST_PA_S


CEMENTS = ("simplex-p", "exolent-spine", "low-viscosity", "high-viscosity")


def cement_named(name: str, *, viscosity_factor: float = 1.0) -> Cement:
    """The catalogue's cement of a name; `viscosity_factor` multiplies its consistency. InputError for other names."""
    if name not in CEMENTS:
        raise InputError("The cement is not in the catalogue", got=name, remedy="Use " + ", ".join(CEMENTS))
    key = "assumptions.cement_" + name.replace("-", "_")
    return Cement(
        name,
        value(f"{key}_consistency") * viscosity_factor,
        value(f"{key}_doubling"),
        value(f"{key}_setting"),
        value("assumptions.cement_flow_index"),
        value("assumptions.cement_start_age"),
        value("cement.heat_of_polymerisation"),
    )
