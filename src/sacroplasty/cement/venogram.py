"""Contrast before cement: it is thinner than marrow, so it mixes and fingers instead of pushing a sharp front.

A tracer is carried by the pressure field of the mixture (quarter-power law). What counts is not the picture but the
share of every outlet and the order in which they take contrast.
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
from sacroplasty.cement.deposits import Setting, prepare, tip_source
from sacroplasty.cement.material import LesionModel, Material, NeedleInPlace, build_medium
from sacroplasty.cement.medium import Medium, face_conductance
from sacroplasty.cement.multigrid import PressureSolver, padded_shape
from sacroplasty.cement.result import DISCLAIMER
from sacroplasty.cement.tissue import WANTED, Tissue
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Finding, Plan, Point, Severity
from sacroplasty.space import Volume

Array = npt.NDArray[Any]

STEPS = 8
TOLERANCE = 1e-4
SPACING_MM = 1.5
SINUSOIDS = "veins of the bone"
# Tip positions tried along the needle and across it, mm.
SHIFTS_MM = ((0, 0), (-3, 0), (-6, 0), (-9, 0), (3, 0), (0, 3), (0, -3))


@dataclass(frozen=True)
class Outlet:
    """Share of the contrast that left by one outlet, its first time there (s, None if not reached), and its order."""

    name: str
    share: float
    first_s: float | None
    order: int


@dataclass(frozen=True)
class TipShift:
    """A tip position tried: along the needle (negative is back), across it, and what share of contrast then stays."""

    along_mm: float
    across_mm: float
    tip_mm: Point
    venous_share: float
    lesion_share: float


@dataclass(frozen=True, eq=False)
class VenogramResult:
    """A simulated venogram: concentration (0 to 1), outlets by share, tip shifts with the best first, findings.

    `sensitivity` is the measured ceiling of venograms as predictors of cement leaks.
    """

    concentration: Volume
    outlets: tuple[Outlet, ...]
    shifts: tuple[TipShift, ...]
    volume_ml: float
    sensitivity: float
    shares: Mapping[str, float]
    findings: tuple[Finding, ...] = ()
    statement: str = DISCLAIMER

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))

    @property
    def best_shift(self) -> TipShift:
        """The tried position with the least venous share."""
        return self.shifts[0]


@numba.njit(cache=True)
def _carry(
    order: Array,
    faces_x: Array,
    faces_y: Array,
    faces_z: Array,
    pressure: Array,
    lost: Array,
    pore: Array,
    inflow: Array,
    concentration: Array,
    seconds: float,
    drained: Array,
) -> None:
    """One implicit upwind step, voxel by voxel in the order of falling pressure; adds what leaves to `drained`.

    `lost` is each voxel's conductance to zero pressure, `inflow` (m³/s) the injected pure contrast.
    """
    _, nj, nk = pressure.shape
    for n in range(order.shape[0]):
        i, j, k = order[n] // (nj * nk), (order[n] // nk) % nj, order[n] % nk
        here = pressure[i, j, k]
        gain = inflow[i, j, k]
        out = lost[i, j, k] * max(here, 0.0)
        for a in range(6):
            if a < 2:
                t = faces_x[i + a, j, k]
                u, v, w = i - 1 + 2 * a, j, k
            elif a < 4:
                t = faces_y[i, j + a - 2, k]
                u, v, w = i, j - 1 + 2 * (a - 2), k
            else:
                t = faces_z[i, j, k + a - 4]
                u, v, w = i, j, k - 1 + 2 * (a - 4)
            flux = t * (here - pressure[u, v, w])
            if flux > 0.0:
                out += flux
            else:
                gain -= flux * concentration[u, v, w]
        room = pore[i, j, k]
        if room + seconds * out <= 0.0:
            continue
        c = (concentration[i, j, k] * room + seconds * gain) / (room + seconds * out)
        concentration[i, j, k] = min(c, 1.0)
        drained[i, j, k] += seconds * lost[i, j, k] * max(here, 0.0) * concentration[i, j, k]


class _Tracer:
    """Contrast in one block, from one source."""

    def __init__(self, medium: Medium) -> None:
        shape = medium.porosity.shape
        full = tuple(n + 2 for n in padded_shape(shape))
        self.inner = tuple(slice(1, n + 1) for n in shape)
        self._solver = PressureSolver(padded_shape(shape))
        self._faces = (np.zeros(full), np.zeros(full), np.zeros(full))
        self._medium = medium
        self._permeability, self._pore, self._drainage = (np.zeros(full) for _ in range(3))
        self._permeability[self.inner] = medium.permeability_m2
        self._pore[self.inner] = np.asarray(medium.porosity) * medium.voxel_volume_m3
        if medium.drainage_per_m2 is not None:
            self._drainage[self.inner] = np.asarray(medium.drainage_per_m2) * medium.voxel_volume_m3
        self._walls = [np.zeros(full) for _ in range(3)]
        if medium.wall_per_m is not None:
            for axis in range(3):
                self._walls[axis][self.inner] = medium.wall_per_m[..., axis]
        self.concentration, self.drained, self._pressure = (np.zeros(full) for _ in range(3))

    def run(self, voxels: Array, weights: Array, volume_ml: float, rate_ml_s: float, watch: Any) -> None:
        """Injects in STEPS equal steps; `watch(seconds)` is called after each."""
        thin, thick = value("assumptions.cement_contrast_viscosity"), value("cement.marrow_viscosity")
        h = self._medium.spacing_mm * 1e-3
        inflow = np.zeros_like(self._pressure)
        np.add.at(inflow, tuple(voxels.T + 1), rate_ml_s * 1e-6 * weights)
        seconds = volume_ml / rate_ml_s / STEPS
        live = np.zeros(self._pressure.shape, np.bool_)
        live[self.inner] = self._permeability[self.inner] > 0
        low, high = np.ones(3, np.int64), np.array(self._pressure.shape) - 1
        for step in range(STEPS):
            c = self.concentration
            viscosity = (c * thin**-0.25 + (1.0 - c) * thick**-0.25) ** -4.0
            for axis in range(3):
                face_conductance(
                    self._permeability, self._walls[axis], viscosity, axis, h, low, high, self._faces[axis]
                )
            lost = self._drainage / viscosity
            for axis in range(3):
                for end in (1, self._medium.porosity.shape[axis]):
                    rim = tuple(end if a == axis else part for a, part in enumerate(self.inner))
                    lost[rim] += 2.0 * h * self._permeability[rim] / viscosity[rim]
            self._solver.solve(self._faces, lost, inflow, self._pressure, TOLERANCE)
            places = np.flatnonzero(live)
            order = places[np.argsort(-self._pressure.ravel()[places], kind="stable")]
            _carry(
                order, *self._faces, self._pressure, lost, self._pore, inflow, self.concentration, seconds, self.drained
            )
            watch((step + 1) * seconds)

    def amount(self) -> tuple[Array, Array]:
        """Contrast (m³) that is in each voxel or has left the block from it (i, j, k)."""
        return (self.concentration * self._pore)[self.inner], self.drained[self.inner]


def _shares(tissue: Tissue, tracer: _Tracer) -> dict[str, float]:
    """Share of the contrast by compartment; what sinusoids took from bone is its own entry."""
    held, drained = tracer.amount()
    bone = tissue.bone
    numbers = tissue.compartments.array
    amounts = np.bincount(numbers.ravel(), weights=(held + np.where(bone, 0.0, drained)).ravel(), minlength=256)
    total = float(held.sum() + drained.sum())
    shares = {name: float(amounts[n]) / total for n, name in tissue.compartments.names.items()}
    shares[SINUSOIDS] = float(drained[bone].sum()) / total
    return shares


def simulate_venogram(
    ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion,
    plan: Plan,
    *,
    volume_ml: float | None = None,
    rate_ml_s: float | None = None,
    lesion_model: LesionModel | str | None = None,
    spacing_mm: float = SPACING_MM,
) -> VenogramResult:
    """Which outlets take contrast, in which order and share, and which tip shift lowers the venous share (simulated).

    For the plan's first needle. The shares hold for the assumed drainage; compare positions rather than trust them.
    """
    contrast_ml = value("assumptions.cement_contrast_volume") if volume_ml is None else volume_ml
    rate = value("assumptions.cement_contrast_rate") if rate_ml_s is None else rate_ml_s
    if not (0 < contrast_ml <= 20 and 0 < rate <= 5):
        raise InputError("Contrast volume and rate must be positive and small", got=f"{contrast_ml} mL, {rate} mL/s")
    model = None if lesion_model is None else LesionModel(lesion_model)
    setting = prepare(ct, anatomy, lesion, plan, spacing_mm=spacing_mm)
    material = Material.nominal(lesion, model)
    first: dict[str, float] = {}
    tracer, shares = _one(setting, material, (0.0, 0.0), contrast_ml, rate, first)
    shifts = []
    for shift in SHIFTS_MM:
        try:
            moved = shares if shift == (0, 0) else _one(setting, material, shift, contrast_ml, rate, {})[1]
        except InputError:
            continue
        x, y, z = (float(v) for v in _tip(setting, shift))
        along, across = float(shift[0]), float(shift[1])
        shifts.append(TipShift(along, across, (x, y, z), _venous(moved), moved.get("lesion", 0.0)))
    shifts.sort(key=lambda s: (s.venous_share, abs(s.along_mm) + abs(s.across_mm)))
    outlets = [n for n in shares if n not in WANTED and shares[n] > 1e-4]
    outlets.sort(key=lambda n: (first.get(n, np.inf), -shares[n]))
    concentration = tracer.concentration[tracer.inner].astype(np.float32)
    return VenogramResult(
        Volume(concentration, setting.tissue.grid, "1"),
        tuple(Outlet(n, shares[n], first.get(n), place + 1) for place, n in enumerate(outlets)),
        tuple(shifts),
        contrast_ml,
        value("cement.venogram_sensitivity"),
        shares,
        _findings(shifts),
    )


def _tip(setting: Setting, shift: tuple[float, float]) -> Array:
    deposit = setting.deposits[0]
    along = deposit.needle.trajectory.direction
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= max(float(np.linalg.norm(across)), 1e-9)
    tip = deposit.needle.trajectory.point_at(deposit.injection.tip_depth_mm)
    return np.asarray(tip + shift[0] * along + shift[1] * across)


def _one(
    setting: Setting,
    material: Material,
    shift: tuple[float, float],
    volume_ml: float,
    rate_ml_s: float,
    first: dict[str, float],
) -> tuple[_Tracer, dict[str, float]]:
    """One venogram with the tip shifted along and across the needle."""
    deposit = setting.deposits[0]
    depth = deposit.injection.tip_depth_mm
    needles = (NeedleInPlace(deposit.needle, depth + shift[0], depth),)
    medium = build_medium(setting.tissue, material, needles, setting.cortex)
    original = deposit.needle.trajectory.point_at(depth)
    source = tip_source(setting, deposit, medium, _tip(setting, shift) - original)
    tracer = _Tracer(medium)

    def watch(seconds: float) -> None:
        for name, share in _shares(setting.tissue, tracer).items():
            if share * volume_ml > value("assumptions.cement_leak_threshold"):
                first.setdefault(name, seconds)

    tracer.run(source.voxels, source.weights, volume_ml, rate_ml_s, watch)
    return tracer, _shares(setting.tissue, tracer)


def _venous(shares: Mapping[str, float]) -> float:
    """Share that left lesion and bone, through sinusoids or any other outlet."""
    return sum(share for name, share in shares.items() if name not in WANTED)


def _findings(shifts: list[TipShift]) -> tuple[Finding, ...]:
    ceiling = value("cement.venogram_sensitivity")
    here = next((s for s in shifts if (s.along_mm, s.across_mm) == (0.0, 0.0)), None)
    findings = [
        Finding(
            Severity.INFO,
            "venogram-ceiling",
            f"A venogram foretold {ceiling:.0%} of cement leaks in patients; a clean one does not exclude a leak.",
            evidence=("cement.venogram_sensitivity",),
        )
    ]
    if here is not None and shifts and shifts[0] is not here and here.venous_share - shifts[0].venous_share > 0.05:
        best = shifts[0]
        findings.append(
            Finding(
                Severity.CAUTION,
                "venogram-shift",
                f"Simulated: {best.venous_share:.0%} instead of {here.venous_share:.0%} of the contrast leaves the "
                f"bone with the tip {best.along_mm:+.0f} mm along and {best.across_mm:+.0f} mm across the needle.",
                where_mm=best.tip_mm,
            )
        )
    return tuple(findings)
