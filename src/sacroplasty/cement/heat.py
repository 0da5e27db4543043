"""Heat of the curing cement: cure kinetics, conduction and blood (Pennes), thermal dose at nerves and foramina.

The cure feeds itself and ends where the glass forms: dx/dt = k(T)·(x + x0)·(X(T) - x), X = T / Tg in kelvin
(Borzacchiello 1998). A cool cement therefore keeps monomer, and its heat, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement.result import DISCLAIMER, CementResult
from sacroplasty.cement.rheology import Cement, cement_named
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import Grid, Volume

Array = npt.NDArray[Any]

GAS_CONSTANT = 8.314
KELVIN = 273.15
BODY_CELSIUS = 37.0
ROOM_CELSIUS = 22.0
# Conversion that starts the autocatalysis.
SEED_CONVERSION = 1e-3
# Cement in the mould of ISO 5833 warms itself: at room temperature throughout it would take this many times as long to
# come half way (benchmarks/cement_heat.py).
MOULD_HASTE = 1.41
# Blood's density times heat capacity, J/(m³·K).
BLOOD_HEAT = 1050.0 * 3617.0
# Share of the largest stable explicit step.
SAFETY = 0.9
DEFAULT_SECONDS = 1200.0
MARGIN_MM = 14.0

kernel = numba.njit(fastmath=True, cache=True)


@kernel
def heat_step(
    t: Array, new: Array, conductivity: Array, capacity: Array, blood: Array, source: Array, dt: float, h: float
) -> None:
    """One explicit step of Pennes' equation inside the outer layer; blood W/(m³·K), source W/m³, capacity J/(m³·K)."""
    ni, nj, nk = t.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                here, own = t[i, j, k], conductivity[i, j, k]
                flow = 0.0
                for u, v, w in ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)):
                    other = conductivity[i + u, j + v, k + w]
                    flow += 2.0 * own * other / (own + other) * (t[i + u, j + v, k + w] - here)
                gain = flow / (h * h) + blood[i, j, k] * (BODY_CELSIUS - here) + source[i, j, k]
                new[i, j, k] = here + dt * gain / capacity[i, j, k]


def cure_step(
    t: Array, conversion: Array, fraction: Array, source: Array, dt: float, rate: float, energy: float, heat: float
) -> None:
    """Advances the conversion by dx/dt = rate·exp(-energy/RT)·(x + x0)·(reach(T) - x); source becomes its heat, W/m³.

    Flat arrays of the voxels (n,) that hold cement.
    """
    speed = rate * np.exp(-energy / (GAS_CONSTANT * (t + KELVIN)))
    gain = np.minimum(dt * speed * (conversion + SEED_CONVERSION), 1.0) * np.maximum(reach(t) - conversion, 0.0)
    conversion += gain
    np.multiply(gain, heat / dt * fraction, out=source)


def reach(celsius: Array | float) -> Any:
    """Largest conversion at a temperature: beyond it the cement is a glass and the cure stands still."""
    return np.minimum((np.asarray(celsius) + KELVIN) / (value("cement.glass_transition") + KELVIN), 1.0)


def add_dose(t: Array, dose: Array, dt: float) -> None:
    """Adds CEM43 minutes: 0.5 per degree above 43 °C, 0.25 below, nothing under 39 °C. Flat arrays (n,)."""
    warm = np.flatnonzero(t > 39.0)
    here = t[warm]
    dose[warm] += dt / 60.0 * np.where(here >= 43.0, 0.5, 0.25) ** (43.0 - here)


def _room_speed(cement: Cement) -> float:
    """Rate constant (1/s) at room temperature that makes the mould's cement set at the named time."""
    most = float(reach(ROOM_CELSIUS))
    doublings = np.log((0.5 * most + SEED_CONVERSION) / (0.5 * SEED_CONVERSION))
    return float(doublings / (most + SEED_CONVERSION) / (MOULD_HASTE * cement.setting_s))


def cure_rate(cement: Cement, energy_j_mol: float) -> float:
    """Rate constant (1/s) in front of Arrhenius' exponential that makes the named cement set at its setting time."""
    return float(_room_speed(cement) * np.exp(energy_j_mol / (GAS_CONSTANT * (ROOM_CELSIUS + KELVIN))))


def conversion_at(cement: Cement, age_s: float) -> float:
    """Share that has reacted after an age at room temperature."""
    most, x0 = float(reach(ROOM_CELSIUS)), SEED_CONVERSION
    growth = x0 / most * np.exp(_room_speed(cement) * (most + x0) * age_s)
    return float((growth * most - x0) / (1.0 + growth))


@dataclass(frozen=True)
class HeatDose:
    """Peak temperature and thermal dose at one structure, and where the cement's nearest edge lies."""

    structure: str
    peak_celsius: float
    dose_min: float
    seconds_above_45: float


@dataclass(frozen=True, eq=False)
class HeatResult:
    """Simulated heat: peak temperature and CEM43 (Volumes), the hottest cement, and the dose at each structure."""

    peak: Volume
    dose: Volume
    hottest_celsius: float
    hottest_at_s: float
    structures: tuple[HeatDose, ...]
    findings: tuple[Finding, ...]
    parameters: Mapping[str, float]
    statement: str = DISCLAIMER

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


def simulate_heat(
    result: CementResult, anatomy: Anatomy, *, seconds: float = DEFAULT_SECONDS, perfused: bool = True
) -> HeatResult:
    """Temperatures of a simulated injection from its end on, and the dose at canal, foramina and roots (simulated)."""
    cement = cement_named(result.cement)
    grid = result.saturation.grid
    filled = np.argwhere(np.asarray(result.cement_fraction.array) > 0.01)
    box = grid.box_around(grid.patient_from_voxel.points(filled), MARGIN_MM)
    fraction = np.asarray(result.cement_fraction.array[box], dtype=np.float64)
    labels = np.asarray(result.compartment_labels.array[box])
    names = result.compartment_labels.names
    bony = np.isin(labels, [n for n, name in names.items() if name in ("sacrum", "lesion", "L5") or "iliac" in name])
    age = result.moments[-1].age_s
    small = grid.cropped(box)
    watched = _watched(small, anatomy, labels, names)
    cured = cure(fraction, bony, cement, age_s=age, spacing_mm=small.spacing_mm[0], seconds=seconds, perfused=perfused)
    structures = tuple(
        sorted(
            (
                HeatDose(
                    name,
                    float(cured.peak_celsius[where].max()),
                    float(cured.dose_min[where].max()),
                    float(cured.seconds_above[where].max()),
                )
                for name, where in watched.items()
            ),
            key=lambda s: -s.dose_min,
        )
    )
    return HeatResult(
        Volume(cured.peak_celsius.astype(np.float32), small, "°C"),
        Volume(cured.dose_min.astype(np.float32), small, "min"),
        cured.hottest_celsius,
        cured.hottest_at_s,
        structures,
        _findings(structures),
        {"heat_j_g": cement.heat_j_g, "setting_s": cement.setting_s, "age_at_end_s": age},
    )


def _fields(fraction: Array, bony: Array, perfused: bool) -> tuple[Array, Array, Array]:
    """Conductivity, capacity and perfusion; voxels partly cement are averaged by share."""
    base = np.where(bony, value("cement.bone_conductivity"), value("assumptions.cement_soft_conductivity"))
    conductivity = fraction * value("assumptions.cement_conductivity") + (1 - fraction) * base
    own = value("assumptions.cement_density") * 1e3 * value("assumptions.cement_heat_capacity") * 1e3
    capacity = fraction * own + (1 - fraction) * value("assumptions.cement_bone_heat_capacity") * 1e6
    flow = value("assumptions.cement_perfusion") * BLOOD_HEAT * float(perfused)
    return conductivity, capacity, np.where(fraction > 0.05, 0.0, flow)


@dataclass(frozen=True, eq=False)
class Cured:
    """Peak temperature (°C), dose (CEM43 min) and seconds above a limit per voxel; the hottest and its time."""

    peak_celsius: Array
    dose_min: Array
    seconds_above: Array
    hottest_celsius: float
    hottest_at_s: float


def cure(
    fraction: Array,
    bone: Array,
    cement: Cement,
    *,
    age_s: float,
    spacing_mm: float,
    seconds: float = DEFAULT_SECONDS,
    perfused: bool = True,
    above_celsius: float = 45.0,
) -> Cured:
    """Heat of a cloud on plain arrays (i, j, k), without a patient: cement's share of each voxel, and where bone is.

    From `age_s` after mixing on; the block's outer layer stays at body temperature, as a bath or the body holds it.
    InputError for shapes that differ or shares beyond 0 to 1.
    """
    if fraction.shape != bone.shape or not ((fraction >= 0) & (fraction <= 1)).all():
        raise InputError(
            "The cement's share must lie in 0 to 1 and fit the bone",
            got=f"{fraction.shape} and {bone.shape}, up to {fraction.max():.2f}",
        )
    conductivity, capacity, blood = _fields(fraction, bone, perfused)
    h = spacing_mm * 1e-3
    dt = SAFETY * h * h / (6.0 * float((conductivity / capacity).max()))
    energy = value("cement.cure_activation") * 1e3
    rate = cure_rate(cement, energy)
    heat = cement.heat_j_g * value("assumptions.cement_density") * 1e6
    start = value("assumptions.cement_temperature_at_injection")
    t = np.where(fraction > 0, fraction * start + (1 - fraction) * BODY_CELSIUS, BODY_CELSIUS)
    cement_at = np.flatnonzero(fraction > 0)
    share = fraction.ravel()[cement_at]
    conversion, gained = np.full(len(cement_at), conversion_at(cement, age_s)), np.zeros(len(cement_at))
    new, source, peak = t.copy(), np.zeros_like(t), t.copy()
    dose, over = np.zeros_like(t), np.zeros_like(t)
    hottest = (float(t.max()), 0.0)
    for step in range(int(np.ceil(seconds / dt))):
        cure_step(t.ravel()[cement_at], conversion, share, gained, dt, rate, energy, heat)
        source.ravel()[cement_at] = gained
        heat_step(t, new, conductivity, capacity, blood, source, dt, h)
        t, new = new, t
        add_dose(t.ravel(), dose.ravel(), dt)
        np.maximum(peak, t, out=peak)
        over += dt * (t > above_celsius)
        warm = float(t.max())
        if warm > hottest[0]:
            hottest = (warm, (step + 1) * dt)
    return Cured(peak, dose, over, *hottest)


def _watched(grid: Grid, anatomy: Anatomy, labels: Array, names: Mapping[int, str]) -> dict[str, Array]:
    """Voxels of canal, foramina and roots inside the block."""
    watched = {
        name: labels == number
        for number, name in names.items()
        if ("canal" in name or "foramen" in name) and (labels == number).any()
    }
    for root in anatomy.roots:
        if not root.state.known:
            continue
        inside = grid.contains(root.points_mm)
        if inside.any():
            index = np.rint(grid.voxel_from_patient.points(root.points_mm[inside])).astype(int)
            where = np.zeros(labels.shape, np.bool_)
            where[tuple(index.T)] = True
            watched[root.name] = where
    return watched


def _findings(structures: tuple[HeatDose, ...]) -> tuple[Finding, ...]:
    warn, alarm = value("cement.dose_warning"), value("assumptions.cement_dose_alarm")
    findings = []
    for found in structures:
        if found.dose_min < warn and found.peak_celsius < 45.0:
            continue
        grave = found.dose_min >= alarm or found.peak_celsius >= 45.0
        findings.append(
            Finding(
                Severity.WARNING if grave else Severity.CAUTION,
                "cement-heat-dose",
                f"Simulated: {found.structure} reaches {found.peak_celsius:.1f} °C, thermal dose "
                f"{found.dose_min:.3g} min at 43 °C; keep cement more than {value('cement.nerve_heat_distance'):.0f} "
                "mm away.",
                found.structure,
                evidence=("cement.dose_warning", "assumptions.cement_dose_alarm", "cement.nerve_heat_distance"),
            )
        )
    return tuple(findings)
