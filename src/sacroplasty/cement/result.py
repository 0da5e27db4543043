"""What a simulated injection gives: the cloud, where it went, pressures over time, leaks, distances, findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from sacroplasty.plan import Finding
from sacroplasty.space import LabelMap, Mask, Volume

# Said wherever a number of this room is shown.
DISCLAIMER = "Simulated, not validated against patients; read it with its range."


@dataclass(frozen=True)
class Moment:
    """One moment of the injection: seconds since its start, cement's age after mixing, volumes so far, pressures.

    `syringe_kpa` is what the hand needs; `cannula_share` the part of it that is lost in the bore.
    """

    time_s: float
    age_s: float
    injected_ml: float
    rate_ml_s: float
    tip_kpa: float
    syringe_kpa: float
    cannula_share: float
    lesion_fill: float
    leaked_ml: float
    needle: int = 0


@dataclass(frozen=True)
class Leak:
    """Cement in one compartment that should have none: volume, injected volume at its first sight, chance if sampled.

    `probability` and the 5-95 % range of the volume come from an ensemble and are None without one.
    """

    compartment: str
    volume_ml: float
    first_leak_ml: float | None = None
    probability: float | None = None
    probability_low: float | None = None
    probability_high: float | None = None
    volume_low_ml: float | None = None
    volume_high_ml: float | None = None


@dataclass(frozen=True)
class Front:
    """How near the cement came to one structure: signed distance (mm, negative inside) after each moment.

    `contact_ml` is the injected volume at contact, `seconds_to_contact` the time left at the last speed, both None
    where there is none in sight.
    """

    structure: str
    distance_mm: tuple[float, ...]
    contact_ml: float | None = None
    seconds_to_contact: float | None = None

    @property
    def nearest_mm(self) -> float:
        """Smallest distance of the whole injection."""
        return min(self.distance_mm)


@dataclass(frozen=True, eq=False)
class CementResult:
    """A simulated injection on its own block of voxels.

    saturation: share of the pores that is cement. cement_fraction: share of the voxel that is cement, so that its sum
    is the volume. arrival_ml: injected volume at which a voxel became half full, -1 where it never did; the cloud at
    any moment is `cloud_at`. tail_ml: cement of the bores that stayed in the tracks on withdrawal, on top of the
    injected volume. compartments: mL of cement by name. `findings` hold warnings and stop rules. All is simulated.
    """

    cement: str
    lesion_model: str
    requested_ml: float
    injected_ml: float
    placed_ml: float
    escaped_ml: float
    tail_ml: float
    lesion_fill: float
    stopped: str
    saturation: Volume
    cement_fraction: Volume
    arrival_ml: Volume
    compartment_labels: LabelMap
    compartments: Mapping[str, float]
    leaks: tuple[Leak, ...]
    fronts: tuple[Front, ...]
    moments: tuple[Moment, ...]
    findings: tuple[Finding, ...] = ()
    stop_rules: tuple[str, ...] = ()
    assumptions: Mapping[str, str] = field(default_factory=dict)
    members: int = 0
    statement: str = DISCLAIMER

    def __post_init__(self) -> None:
        for name in ("compartments", "assumptions"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def leaked_ml(self) -> float:
        """Cement outside lesion and sacrum."""
        return sum(leak.volume_ml for leak in self.leaks)

    @property
    def peak_syringe_kpa(self) -> float:
        """Largest pressure that the syringe needs."""
        return max(m.syringe_kpa for m in self.moments)

    def leak(self, compartment: str) -> Leak | None:
        """The leak into one compartment, if there is one."""
        return next((leak for leak in self.leaks if leak.compartment == compartment), None)

    def cloud_at(self, injected_ml: float) -> Mask:
        """Voxels at least half full of cement once a volume was injected."""
        arrival = np.asarray(self.arrival_ml.array)
        return Mask((arrival >= 0) & (arrival <= injected_ml + 1e-6), self.arrival_ml.grid)

    def with_(self, **changes: Any) -> Self:
        """A copy with fields replaced."""
        return replace(self, **changes)
