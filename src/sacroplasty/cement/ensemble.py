"""Many injections with the uncertain numbers drawn anew: from where cement leaks to how probable that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement.advice import is_grave
from sacroplasty.cement.deposits import Progress, Setting, prepare, run
from sacroplasty.cement.material import LesionModel, Material
from sacroplasty.cement.result import DISCLAIMER, Leak
from sacroplasty.cement.rheology import cement_named
from sacroplasty.cement.tissue import WANTED
from sacroplasty.cement.veins import VEINS, with_veins
from sacroplasty.errors import InputError, PlanError
from sacroplasty.evidence import evidence, value
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Plan
from sacroplasty.space import Volume

Array = npt.NDArray[Any]

# Members are coarse and many: the spread of the inputs is far larger than what a finer grid would change.
SPACING_MM = 2.0
UPDATES, GROWTH, TOLERANCE = 8, 0.5, 1e-3
# Volumes at which the members' histories are compared.
VOLUME_STEPS = 24


def leak_threshold_ml() -> float:
    """Cement below this in a compartment is less than a simulation or an eye can tell."""
    return value("assumptions.cement_leak_threshold")


@dataclass(frozen=True)
class Member:
    """One draw of everything uncertain."""

    material: Material
    viscosity_factor: float
    marrow_pa_s: float
    tip_shift_mm: tuple[float, float, float]
    veins: int
    seed: int


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What `members` simulated injections had in common.

    leaks: per compartment the probability of more than the leak threshold with its 95 % interval, the median injected
    volume at first leak among those that leak, and the 5-95 % range of the volume. `volumes_ml` (m,) goes with
    `fill_by_volume` (m, 3: 5 %, median, 95 %), `any_leak_by_volume` and `grave_leak_by_volume` (m,).
    """

    members: int
    seed: int
    leaks: tuple[Leak, ...]
    volumes_ml: Array
    fill_by_volume: Array
    any_leak_by_volume: Array
    grave_leak_by_volume: Array
    peak_syringe_kpa: tuple[float, float, float]
    ended_early: float
    spread: Mapping[str, str]
    statement: str = DISCLAIMER

    def __post_init__(self) -> None:
        object.__setattr__(self, "spread", MappingProxyType(dict(self.spread)))

    def probability(self, compartment: str) -> float:
        """Probability of a leak into one compartment, 0 where no member leaked there."""
        return next((leak.probability or 0.0 for leak in self.leaks if leak.compartment == compartment), 0.0)


def draw_members(lesion: Lesion, count: int, seed: int, model: LesionModel | None = None) -> tuple[Member, ...]:
    """`count` draws from a seed; the lesion model is drawn too unless it is given."""
    if not 1 <= count <= 4096:
        raise InputError("An ensemble needs 1 to 4096 members", got=str(count))
    rng = np.random.default_rng(seed)
    nominal = Material.nominal(lesion, model)
    models = (model,) if model else (nominal.lesion_model, LesionModel.VOID, LesionModel.SOFT)
    k = evidence("assumptions.cement_log10_permeability")
    spread_k = ((k.high or k.value) - (k.low or k.value)) / 2

    def within(key: str, logarithmic: bool = False) -> float:
        found = evidence(key)
        low, high = float(found.low or 0.0), float(found.high or found.value)
        return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if logarithmic else float(rng.uniform(low, high))

    members = []
    for n in range(count):
        material = nominal.with_(
            log10_permeability=float(rng.normal(k.value, spread_k)),
            log10_cortex_permeability=within("assumptions.cement_log10_cortex_permeability"),
            cortex_open_below_mm=within("assumptions.cement_cortex_open_below"),
            cortex_factor=float(np.exp(rng.normal(0.0, value("assumptions.cement_cortex_spread")))),
            lesion_model=models[rng.integers(len(models))],
            soft_yield_kpa=within("assumptions.cement_soft_yield", logarithmic=True),
            track_gap_mm=within("assumptions.cement_track_gap"),
            drainage_length_mm=within("assumptions.cement_drainage_length", logarithmic=True),
            tail_share=within("assumptions.cement_tail_share"),
        )
        x, y, z = (float(v) for v in rng.normal(0.0, value("assumptions.cement_tip_error"), 3))
        members.append(
            Member(
                material,
                float(np.exp(rng.normal(0.0, value("assumptions.cement_viscosity_spread")))),
                within("cement.marrow_viscosity"),
                (x, y, z),
                int(rng.poisson(value("assumptions.cement_vein_count"))),
                seed * 100_003 + n,
            )
        )
    return tuple(members)


@dataclass(frozen=True, eq=False)
class History:
    """One member: leaked mL by compartment name over injected volume, lesion fill, peak pressure, early end."""

    injected_ml: Array
    by_name: dict[str, Array]
    fill: Array
    peak_kpa: float
    stopped: bool


def run_member(setting: Setting, member: Member, cement: str) -> History | None:
    """Runs one member; None where its tip fell onto something closed."""
    tissue = with_veins(setting.tissue, member.veins, np.random.default_rng(member.seed))
    own = replace(setting, tissue=tissue, distances={})
    named = cement_named(cement, viscosity_factor=member.viscosity_factor)
    try:
        _, watch, stopped = run(
            own,
            member.material,
            named,
            marrow_pa_s=member.marrow_pa_s,
            updates=UPDATES,
            growth=GROWTH,
            tolerance=TOLERANCE,
            tip_shift_mm=member.tip_shift_mm,
        )
    except (InputError, PlanError):
        return None
    volumes = np.array(watch.volumes)
    by_name = {name: volumes[:, n] for n, name in tissue.compartments.names.items() if name not in WANTED}
    injected = np.array([m.injected_ml for m in watch.moments])
    leaked = np.array([m.leaked_ml for m in watch.moments])
    by_name["beyond the block"] = np.maximum(leaked - sum(by_name.values()), 0.0)
    for name, tail in watch.tail_by_name.items():
        if name not in WANTED:
            # The tail comes with the withdrawal, whatever volume was injected before.
            by_name[name] = by_name[name] + tail
    return History(
        injected,
        by_name,
        np.array([m.lesion_fill for m in watch.moments]),
        max(m.syringe_kpa for m in watch.moments),
        bool(stopped),
    )


def simulate_ensemble(
    ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion,
    plan: Plan,
    *,
    cement: str = "simplex-p",
    volume_ml: float | None = None,
    members: int = 64,
    seed: int = 0,
    lesion_model: LesionModel | str | None = None,
    spacing_mm: float = SPACING_MM,
    progress: Progress | None = None,
) -> Ensemble:
    """Probabilities of leakage (simulated) over permeability, cortex, veins, viscosity, tip position and lesion model.

    PlanError where the tip is blocked in more than half of the members.
    """
    model = None if lesion_model is None else LesionModel(lesion_model)
    setting = prepare(ct, anatomy, lesion, plan, volume_ml=volume_ml, spacing_mm=spacing_mm)
    total = sum(d.injection.volume_ml for d in setting.deposits)
    histories = []
    drawn = draw_members(lesion, members, seed, model)
    for n, member in enumerate(drawn):
        found = run_member(setting, member, cement)
        if found is not None:
            histories.append(found)
        if progress is not None:
            progress((n + 1) / members, f"{n + 1} of {members} simulated injections")
    if len(histories) * 2 < members:
        raise PlanError(
            "The tip lies in something closed in most of the sampled positions",
            got=f"{members - len(histories)} of {members}",
            remedy="Move the tip into open bone or lesion",
        )
    return _summary(histories, np.linspace(total / VOLUME_STEPS, total, VOLUME_STEPS), seed)


def _summary(histories: list[History], volumes: Array, seed: int) -> Ensemble:
    threshold = leak_threshold_ml()
    names = sorted({name for h in histories for name in h.by_name})
    # Members without a vein have no such compartment; a member that ended early keeps what it had.
    series = {
        name: np.array(
            [np.interp(volumes, h.injected_ml, h.by_name.get(name, 0.0 * h.fill), left=0.0) for h in histories]
        )
        for name in names
    }
    fill = np.array([np.interp(volumes, h.injected_ml, h.fill, left=0.0) for h in histories])
    leaks = [_chance(name, series[name], volumes, threshold) for name in names]
    any_leak = np.any([s >= threshold for s in series.values()], axis=0)
    grave = np.any([s >= threshold for name, s in series.items() if is_grave(name)] or [0 * any_leak], axis=0)
    peaks = [h.peak_kpa for h in histories]
    low, middle, high = (float(v) for v in np.percentile(peaks, [5, 50, 95]))
    return Ensemble(
        len(histories),
        seed,
        tuple(sorted((leak for leak in leaks if leak.probability), key=lambda leak: -(leak.probability or 0.0))),
        volumes,
        np.percentile(fill, [5, 50, 95], axis=0).T,
        any_leak.mean(axis=0),
        grave.mean(axis=0),
        (low, middle, high),
        float(np.mean([h.stopped for h in histories])),
        {
            "permeability": "log-normal over a decade",
            "cortex": "thickness, permeability and the thickness that counts as broken",
            "veins": f"Poisson, {VEINS} that CT does not show",
            "tip": f"{value('assumptions.cement_tip_error'):.1f} mm SD along each axis",
            "lesion": "model and yield pressure",
            "cement": "viscosity",
            "needle": "gap round the shaft, and the share of the bore left behind on withdrawal",
        },
    )


def _chance(name: str, series: Array, volumes: Array, threshold: float) -> Leak:
    """Probability with its Clopper-Pearson 95 % interval, volume range, and median volume at first leak."""
    count, final = len(series), series[:, -1]
    hits = int((final >= threshold).sum())
    low = float(betaincinv(hits, count - hits + 1, 0.025)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 0.975)) if hits < count else 1.0
    leaking = series[final >= threshold]
    first = float(np.median(volumes[np.argmax(leaking >= threshold, axis=1)])) if hits else None
    p5, p50, p95 = (float(v) for v in np.percentile(final, [5, 50, 95]))
    return Leak(name, p50, first, hits / count, low, high, p5, p95)
