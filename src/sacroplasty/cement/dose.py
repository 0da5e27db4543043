"""How much cement: the smallest volume that fills the lesion as wished within the accepted risk of a grave leak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sacroplasty.cement.ensemble import Ensemble
from sacroplasty.cement.result import DISCLAIMER
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.plan import Finding, Severity


@dataclass(frozen=True)
class DosePlan:
    """Volume to inject, its simulated fill (5 %, median, 95 %) and probability of a grave leak, and why.

    `limited_by` is `fill` (the wish is reached), `leak` (the budget ends it earlier) or `volume` (the simulated volume
    ended before the wish was reached).
    """

    volume_ml: float
    fill: tuple[float, float, float]
    grave_leak_probability: float
    any_leak_probability: float
    limited_by: str
    wished_fill: float
    leak_budget: float
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    statement: str = DISCLAIMER


def plan_dose(ensemble: Ensemble, *, wished_fill: float | None = None, leak_budget: float | None = None) -> DosePlan:
    """The dose from an ensemble; a volume of 0 means that even the first step exceeds the leak budget."""
    wish = value("assumptions.cement_wished_fill") if wished_fill is None else wished_fill
    budget = value("assumptions.cement_leak_budget") if leak_budget is None else leak_budget
    if not (0 < wish <= 1 and 0 <= budget <= 1):
        raise InputError("Fill must lie in 0 to 1 and the leak budget too", got=f"{wish}, {budget}")
    median = ensemble.fill_by_volume[:, 1]
    within = ensemble.grave_leak_by_volume <= budget
    # Leaks only grow with volume: the budget ends at the first volume that exceeds it.
    allowed = int(np.argmin(within)) if not within.all() else len(within)
    filled = int(np.argmax(median >= wish)) if (median >= wish).any() else len(median)
    if filled < allowed:
        step, limited = filled, "fill"
    elif allowed < len(median):
        step, limited = allowed - 1, "leak"
    else:
        step, limited = len(median) - 1, "volume"
    if step < 0:
        return _nothing(ensemble, wish, budget)
    low, middle, high = (float(v) for v in ensemble.fill_by_volume[step])
    volume = float(ensemble.volumes_ml[step])
    grave = float(ensemble.grave_leak_by_volume[step])
    reasons = [
        f"{volume:.1f} mL fill {middle:.0%} of the lesion (simulated, 5-95 % {low:.0%}-{high:.0%}).",
        f"Cement in canal, foramina or vessels in {grave:.0%} of {ensemble.members} simulated injections.",
    ]
    if limited == "leak":
        reasons.append(f"More would exceed the accepted {budget:.0%}.")
    if limited == "volume":
        reasons.append(f"The simulated volume ends before {wish:.0%} is filled.")
    reasons.append("More cement did not make the sacrum stronger or stiffer in 25 pelves (Richards 2009).")
    return DosePlan(
        volume,
        (low, middle, high),
        grave,
        float(ensemble.any_leak_by_volume[step]),
        limited,
        wish,
        budget,
        tuple(reasons),
        _session(volume),
    )


def _nothing(ensemble: Ensemble, wish: float, budget: float) -> DosePlan:
    grave = float(ensemble.grave_leak_by_volume[0])
    return DosePlan(
        0.0,
        (0.0, 0.0, 0.0),
        grave,
        float(ensemble.any_leak_by_volume[0]),
        "leak",
        wish,
        budget,
        (f"Already {ensemble.volumes_ml[0]:.1f} mL leak gravely in {grave:.0%} of the simulated injections.",),
        (Finding(Severity.WARNING, "cement-no-dose", "No volume stays within the leak budget; move the tip."),),
    )


def _session(volume_ml: float) -> tuple[Finding, ...]:
    limit = value("cement.session_volume_warning")
    if volume_ml <= limit:
        return ()
    return (
        Finding(
            Severity.WARNING,
            "cement-volume",
            f"{volume_ml:.1f} mL in one session is above {limit:.0f} mL.",
            evidence=("cement.session_volume_warning",),
        ),
    )
