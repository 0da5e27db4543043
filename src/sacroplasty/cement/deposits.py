"""One run of a plan: needles in order, rate or pressure held, cement that thickens, what is seen meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement.advice import is_grave
from sacroplasty.cement.flow import GROWTH, PRESSURE_TOLERANCE, CementFlow, portions_ml
from sacroplasty.cement.material import Material, NeedleInPlace, build_medium, cortex_mm
from sacroplasty.cement.medium import Medium
from sacroplasty.cement.result import Moment
from sacroplasty.cement.rheology import Cement
from sacroplasty.cement.source import Source
from sacroplasty.cement.tissue import Tissue, region_grid, signed_distance_mm, tissue_map
from sacroplasty.errors import InputError, PlanError
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Injection, NeedlePlan, Plan
from sacroplasty.space import Volume

Array = npt.NDArray[Any]
Progress = Callable[[float, str], None]

DEFAULT_SPACING_MM = 1.0
DEFAULT_MARGIN_MM = 20.0
# A rate below this share of the wished one means that the pressure limit has ended the injection.
LEAST_RATE_SHARE = 0.02
# Structures whose distance from the cement front is followed.
WATCHED = ("canal", "foramen", "presacral", "SI joint", "L5-S1 disc", "iliac vein", "iliac artery")


@dataclass(frozen=True)
class Deposit:
    """One injection of one needle, in the order it is made."""

    needle_number: int
    needle: NeedlePlan
    injection: Injection


@dataclass(frozen=True, eq=False)
class Setting:
    """What does not change between members of an ensemble: tissue, cortex, deposits, distances to structures."""

    tissue: Tissue
    cortex: Array
    deposits: tuple[Deposit, ...]
    distances: dict[str, Array]


def prepare(
    ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion,
    plan: Plan,
    *,
    volume_ml: float | None = None,
    rate_ml_s: float | None = None,
    spacing_mm: float = DEFAULT_SPACING_MM,
    margin_mm: float = DEFAULT_MARGIN_MM,
) -> Setting:
    """The block, its structures and the deposits of a plan; the plan's own injections unless a volume is given."""
    if not plan.needles:
        raise PlanError("The plan has no needle", remedy="Plan a trajectory first")
    grid = region_grid(lesion, plan, spacing_mm, margin_mm)
    tissue = tissue_map(ct, anatomy, lesion, plan, grid)
    deposits = _deposits(plan, lesion, volume_ml, rate_ml_s)
    distances = {
        name: signed_distance_mm(tissue.compartment(name), spacing_mm).astype(np.float32)
        for name in tissue.compartments.names.values()
        if any(word in name for word in WATCHED) and tissue.compartment(name).any()
    }
    return Setting(tissue, cortex_mm(tissue), deposits, distances)


def _deposits(plan: Plan, lesion: Lesion, volume_ml: float | None, rate_ml_s: float | None) -> tuple[Deposit, ...]:
    """The plan's injections by their order; where it has none, one at each target that shares the volume."""
    if volume_ml is not None and not 0 < volume_ml <= 30:
        raise InputError("The cement volume must lie in 0 to 30 mL", got=f"{volume_ml} mL")
    planned = [(n, needle, i) for n, needle in enumerate(plan.needles) for i in needle.injections]
    if not planned:
        total = volume_ml or min(lesion.volume_ml, value("cement.session_volume_warning"))
        rate = value("cement.injection_rate")
        planned = [
            (n, needle, Injection(needle.trajectory.length_mm, total / len(plan.needles), rate, "", n + 1))
            for n, needle in enumerate(plan.needles)
        ]
    scale = 1.0 if volume_ml is None else volume_ml / sum(i.volume_ml for _, _, i in planned)
    deposits = [
        Deposit(
            n,
            needle,
            Injection(i.tip_depth_mm, i.volume_ml * scale, rate_ml_s or i.rate_ml_s, i.cement, i.order),
        )
        for n, needle, i in planned
    ]
    for deposit in deposits:
        if not (deposit.injection.volume_ml > 0 and deposit.injection.rate_ml_s > 0):
            raise InputError("An injection needs a positive volume and rate", got=str(deposit.injection))
    return tuple(sorted(deposits, key=lambda d: (d.injection.order, d.needle_number)))


def _needles_in_place(deposits: tuple[Deposit, ...], now: int) -> tuple[NeedleInPlace, ...]:
    """Every needle of the plan as it stands during one deposit; a tip that was deeper before leaves its track open."""
    placed: dict[int, NeedleInPlace] = {}
    for number, deposit in enumerate(deposits):
        at = deposit.injection.tip_depth_mm
        if number <= now or deposit.needle_number not in placed:
            before = placed.get(deposit.needle_number)
            deepest = max(at, before.deepest_mm) if before else at
            placed[deposit.needle_number] = NeedleInPlace(deposit.needle, at, deepest)
    return tuple(placed.values())


def tip_source(setting: Setting, deposit: Deposit, medium: Medium, tip_shift_mm: Array) -> Source:
    """Where the cement comes out: in front of the tip, shifted towards the side that the bevel faces."""
    needle = deposit.needle
    tip = needle.trajectory.point_at(deposit.injection.tip_depth_mm) + tip_shift_mm
    radius = needle.needle.inner_diameter_mm / 2
    out = needle.trajectory.direction * 0.5 * setting.tissue.grid.spacing_mm[0]
    if needle.bevel_azimuth_deg is not None and needle.needle.has_bevel:
        out = out + bevel_direction(needle) * radius
    index = setting.tissue.grid.voxel_from_patient.points(tip + out)
    return Source.at(index, radius, medium.permeability_m2)


def bevel_direction(needle: NeedlePlan) -> Array:
    """Unit vector (3,), LPS, that the bevel faces: azimuth 0 is headwards, then clockwise seen from the hub."""
    along = needle.trajectory.direction
    head = np.array([0.0, 0.0, 1.0]) - along[2] * along
    if np.linalg.norm(head) < 1e-6:
        head = np.array([0.0, -1.0, 0.0])
    head /= np.linalg.norm(head)
    clockwise = np.cross(along, head)
    angle = np.deg2rad(needle.bevel_azimuth_deg or 0.0)
    return np.asarray(np.cos(angle) * head + np.sin(angle) * clockwise)


@dataclass(eq=False)
class Watch:
    """Gathers what happens during a run."""

    setting: Setting
    pore_ml: Array
    moments: list[Moment]
    volumes: list[Array]
    distances: list[dict[str, float]]
    arrival: Array
    tail_by_name: dict[str, float] = field(default_factory=dict)

    def see(self, flow: CementFlow, moment: Moment) -> None:
        """Notes compartments, distances and arrivals after a portion."""
        saturation = flow.saturation
        numbers = self.setting.tissue.compartments.array
        self.volumes.append(np.bincount(numbers.ravel(), weights=(saturation * self.pore_ml).ravel(), minlength=256))
        new = (saturation >= 0.5) & (self.arrival < 0)
        self.arrival[new] = moment.injected_ml
        # The first portion may fill no voxel to the half: then the fullest one is the front.
        filled = saturation >= min(0.5, float(saturation.max()))
        nearest = {name: float(far[filled].min()) for name, far in self.setting.distances.items()}
        self.distances.append(nearest)
        self.moments.append(moment)


def run(
    setting: Setting,
    material: Material,
    cement: Cement,
    *,
    marrow_pa_s: float,
    updates: int = 16,
    growth: float = GROWTH,
    tolerance: float = PRESSURE_TOLERANCE,
    tip_shift_mm: npt.ArrayLike = (0.0, 0.0, 0.0),
    pressure_cap_kpa: float | None = None,
    progress: Progress | None = None,
) -> tuple[CementFlow, Watch, str]:
    """Makes the deposits one after the other; returns the last state, what was seen, and why it ended early, if so."""
    cap = value("assumptions.cement_pressure_cap") * 1e3 if pressure_cap_kpa is None else pressure_cap_kpa
    shift = np.asarray(tip_shift_mm, dtype=np.float64)
    medium = build_medium(setting.tissue, material, _needles_in_place(setting.deposits, 0), setting.cortex)
    flow = CementFlow(medium, marrow_pa_s, tolerance)
    pore_ml = np.asarray(medium.porosity) * medium.voxel_volume_m3 * 1e6
    watch = Watch(setting, pore_ml, [], [], [], np.full(medium.porosity.shape, -1.0, np.float32))
    time_s, injected, stopped = 0.0, 0.0, ""
    total = sum(d.injection.volume_ml for d in setting.deposits)
    for number, deposit in enumerate(setting.deposits):
        if number:
            medium = build_medium(setting.tissue, material, _needles_in_place(setting.deposits, number), setting.cortex)
            flow.set_medium(medium)
            watch.pore_ml = np.asarray(medium.porosity) * medium.voxel_volume_m3 * 1e6
        source = tip_source(setting, deposit, medium, shift)
        for volume in portions_ml(deposit.injection.volume_ml, injected, updates, growth):
            age = cement.start_age_s + time_s
            if cement.too_thick(age):
                stopped = f"the cement has set {age / 60:.1f} min after mixing"
                break
            law = cement.at(age)
            step = _held(flow, source, deposit, law, cap)
            if step is None:
                stopped = f"the syringe would need more than {cap / 1000:.1f} MPa"
                break
            rate, tip, voxel, iterations, drop = step
            flow.move(source, volume, tip, voxel, iterations)
            injected += volume
            time_s += volume / rate
            pressures = (tip / 1e3, (tip + drop) / 1e3, drop / (tip + drop))
            fill = _lesion_fill(setting.tissue, flow.saturation, pore_ml)
            leaked = _leaked(setting.tissue, flow, watch.pore_ml)
            at = (time_s, cement.start_age_s + time_s, injected, rate)
            watch.see(flow, Moment(*at, *pressures, fill, leaked, deposit.needle_number))
            if progress is not None:
                progress(injected / total, f"{injected:.1f} of {total:.1f} mL")
        if stopped:
            break
        flow.settle(source, deposit.injection.rate_ml_s, cement.at(cement.start_age_s + time_s))
    if not watch.moments:
        raise PlanError("No cement can be injected here", got=stopped, remedy="Move the tip or use a thinner cement")
    if material.tail_share > 0:
        _leave_tails(setting, material, flow, watch)
    return flow, watch, stopped


def _leave_tails(setting: Setting, material: Material, flow: CementFlow, watch: Watch) -> None:
    """Withdraws the needles: of every bore a share stays in its track, because the cement has not set.

    What lies beyond the block counts as `needle track` too.
    """
    needles = {d.needle_number: d for d in setting.deposits}
    tissue = setting.tissue
    gone = tuple(NeedleInPlace(d.needle, 0.0, d.injection.tip_depth_mm) for d in needles.values())
    medium = build_medium(tissue, material, gone, setting.cortex)
    flow.set_medium(medium)
    watch.pore_ml = np.asarray(medium.porosity) * medium.voxel_volume_m3 * 1e6
    added, beyond = np.zeros(tissue.hu.shape), 0.0
    step = tissue.grid.spacing_mm[0] / 4
    for deposit in needles.values():
        depths = np.arange(step / 2, deposit.injection.tip_depth_mm, step)
        index = tissue.grid.voxel_from_patient.points(deposit.needle.trajectory.point_at(depths))
        places = np.rint(index).astype(int)
        inside = ((places >= 0) & (places < added.shape)).all(axis=1)
        amount = material.tail_share * np.pi / 4.0 * deposit.needle.needle.inner_diameter_mm**2 * step / 1000.0
        np.add.at(added, tuple(places[inside].T), amount)
        beyond += amount * float((~inside).sum())
    kept = flow.deposit(added)
    # Cement in a track is a leak along the track, unless the track crosses something worse or the lesion itself.
    names = tissue.compartments.names
    track = tissue.compartments.values["needle track"]
    own = [n for n, name in names.items() if is_grave(name) or name == "lesion"]
    numbers = np.where(np.isin(tissue.compartments.array, own), tissue.compartments.array, track)
    sums = np.bincount(numbers.ravel(), weights=kept.ravel(), minlength=256)
    sums[track] += beyond
    watch.tail_by_name = {name: float(sums[n]) for n, name in names.items() if sums[n] > 0}
    watch.volumes[-1] = watch.volumes[-1] + sums


def _held(
    flow: CementFlow, source: Source, deposit: Deposit, law: Any, cap_kpa: float
) -> tuple[float, float, float, int, float] | None:
    """Rate, tip and voxel pressure, iterations and cannula drop: the wished rate, or the one that the cap allows."""
    needle = deposit.needle.needle
    rate = deposit.injection.rate_ml_s
    for _ in range(3):
        tip, voxel, iterations = flow.field(source, rate, law)
        drop = law.cannula_drop_pa(rate, needle.length_mm, needle.inner_diameter_mm)
        total = (tip + drop) / 1e3
        if total <= cap_kpa * 1.001:
            return rate, tip, voxel, iterations, drop
        rate *= float((cap_kpa / total) ** (1.0 / law.index))
        if rate < LEAST_RATE_SHARE * deposit.injection.rate_ml_s:
            return None
    return rate, tip, voxel, iterations, drop


def _lesion_fill(tissue: Tissue, saturation: Array, pore_ml: Array) -> float:
    """Share of the lesion's pores that is cement."""
    inside = tissue.lesion
    room = float(pore_ml[inside].sum())
    return float((saturation[inside] * pore_ml[inside]).sum()) / room if room > 0 else 0.0


def _leaked(tissue: Tissue, flow: CementFlow, pore_ml: Array) -> float:
    return float((flow.saturation * pore_ml)[~tissue.wanted].sum() + flow.escaped_ml.sum())
