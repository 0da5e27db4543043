"""A plan's injection in a patient's CT, simulated: the cloud, leaks, distances and what they mean."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement.advice import findings_of, stop_rules_of
from sacroplasty.cement.deposits import (
    DEFAULT_MARGIN_MM,
    DEFAULT_SPACING_MM,
    Progress,
    Setting,
    Watch,
    prepare,
    run,
)
from sacroplasty.cement.ensemble import Ensemble, leak_threshold_ml, simulate_ensemble
from sacroplasty.cement.flow import CementFlow
from sacroplasty.cement.material import LesionModel, Material
from sacroplasty.cement.result import CementResult, Front, Leak
from sacroplasty.cement.rheology import Cement, cement_named
from sacroplasty.cement.tissue import WANTED
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Plan
from sacroplasty.space import Volume


def _leaks(setting: Setting, watch: Watch, escaped_ml: float) -> tuple[Leak, ...]:
    threshold = leak_threshold_ml()
    history = np.array(watch.volumes)
    injected = np.array([m.injected_ml for m in watch.moments])
    found = []
    for number, name in setting.tissue.compartments.names.items():
        series = history[:, number]
        if name in WANTED or series[-1] < threshold:
            continue
        found.append(Leak(name, float(series[-1]), float(injected[np.argmax(series >= threshold)])))
    if escaped_ml >= threshold:
        found.append(Leak("beyond the block", escaped_ml))
    return tuple(sorted(found, key=lambda leak: -leak.volume_ml))


def _fronts(watch: Watch) -> tuple[Front, ...]:
    fronts = []
    for name in watch.setting.distances:
        series = tuple(round(d[name], 3) for d in watch.distances)
        touched = [m.injected_ml for m, d in zip(watch.moments, series, strict=True) if d <= 0]
        seconds = None
        if len(series) > 1 and series[-1] > 0:
            lookback = max(len(series) - 5, 0)
            approach = series[lookback] - series[-1]
            took = watch.moments[-1].time_s - watch.moments[lookback].time_s
            seconds = series[-1] / approach * took if approach > 1e-6 else None
        fronts.append(Front(name, series, touched[0] if touched else None, seconds))
    return tuple(sorted(fronts, key=lambda front: front.nearest_mm))


def simulate_injection(
    ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion,
    plan: Plan,
    *,
    cement: str = "simplex-p",
    volume_ml: float | None = None,
    rate_ml_s: float | None = None,
    lesion_model: LesionModel | str | None = None,
    material: Material | None = None,
    spacing_mm: float = DEFAULT_SPACING_MM,
    margin_mm: float = DEFAULT_MARGIN_MM,
    updates: int = 16,
    members: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> CementResult:
    """Where the cement of a plan would go (simulated), with pressures, leaks, distances and findings.

    The plan's injections are made in their order; `volume_ml` rescales them, or is shared among the needles where the
    plan has none. With `members` > 0 an ensemble from `seed` adds to every leak its probability
    and range. Raises InputError for an unknown cement or senseless numbers, PlanError where nothing can flow.
    """
    named = cement_named(cement)
    model = None if lesion_model is None else LesionModel(lesion_model)
    chosen = material if material is not None else Material.nominal(lesion, model)
    setting = prepare(
        ct,
        anatomy,
        lesion,
        plan,
        volume_ml=volume_ml,
        rate_ml_s=rate_ml_s,
        spacing_mm=spacing_mm,
        margin_mm=margin_mm,
    )
    flow, watch, stopped = run(
        setting, chosen, named, marrow_pa_s=value("cement.marrow_viscosity"), updates=updates, progress=progress
    )
    result = _result(setting, chosen, named, flow, watch, stopped)
    if members:
        ensemble = simulate_ensemble(
            ct,
            anatomy,
            lesion,
            plan,
            cement=cement,
            volume_ml=volume_ml,
            members=members,
            seed=seed,
            lesion_model=model,
            progress=progress,
        )
        result = with_probabilities(result, ensemble)
    return result.with_(findings=findings_of(result), stop_rules=stop_rules_of(result))


def with_probabilities(result: CementResult, ensemble: Ensemble) -> CementResult:
    """The nominal run with the ensemble's chances; a leak that only members show keeps its nominal volume of 0."""
    nominal = {leak.compartment: leak for leak in result.leaks}
    chances = {leak.compartment: leak for leak in ensemble.leaks}
    least = value("assumptions.cement_least_probability")
    leaks = []
    for name in [*nominal, *(n for n, c in chances.items() if n not in nominal and (c.probability or 0) >= least)]:
        own, chance = nominal.get(name), chances.get(name)
        leaks.append(
            Leak(
                name,
                own.volume_ml if own else 0.0,
                own.first_leak_ml if own else chance.first_leak_ml if chance else None,
                chance.probability if chance else 0.0,
                chance.probability_low if chance else None,
                chance.probability_high if chance else None,
                chance.volume_low_ml if chance else None,
                chance.volume_high_ml if chance else None,
            )
        )
    leaks.sort(key=lambda leak: (-(leak.probability or 0.0), -leak.volume_ml))
    return result.with_(leaks=tuple(leaks), members=ensemble.members)


def _result(
    setting: Setting, material: Material, cement: Cement, flow: CementFlow, watch: Watch, stopped: str
) -> CementResult:
    tissue = setting.tissue
    grid = tissue.grid
    escaped = float(flow.escaped_ml.sum())
    fraction = flow.saturation * watch.pore_ml / grid.voxel_volume_ml
    compartments = {
        name: float(watch.volumes[-1][number])
        for number, name in tissue.compartments.names.items()
        if watch.volumes[-1][number] > 0
    }
    return CementResult(
        cement=cement.name,
        lesion_model=str(material.lesion_model),
        requested_ml=sum(d.injection.volume_ml for d in setting.deposits),
        injected_ml=watch.moments[-1].injected_ml,
        placed_ml=flow.placed_ml,
        escaped_ml=escaped,
        tail_ml=sum(watch.tail_by_name.values()),
        lesion_fill=watch.moments[-1].lesion_fill,
        stopped=stopped,
        saturation=Volume(flow.saturation.astype(np.float32), grid, "1"),
        cement_fraction=Volume(fraction.astype(np.float32), grid, "1"),
        arrival_ml=Volume(watch.arrival, grid, "mL"),
        compartment_labels=tissue.compartments,
        compartments=compartments,
        leaks=_leaks(setting, watch, escaped),
        fronts=_fronts(watch),
        moments=tuple(watch.moments),
        assumptions={
            "lesion model": str(material.lesion_model),
            "permeability at porosity 0.85": f"1e{material.log10_permeability:.2f} m²",
            "cortex counts as broken below": f"{material.cortex_open_below_mm:.2f} mm",
            "needle-track gap": f"{material.track_gap_mm:.2f} mm",
        },
    )
