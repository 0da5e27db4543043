"""What a cement prediction says of a plan, in words that planner and predictor share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sacroplasty.errors import InputError
from sacroplasty.plan.finding import Finding, Severity
from sacroplasty.plan.plan import NeedlePlan, Plan

# A deposit below this is left out, mL: nothing leaves the needle.
_NOTHING_ML = 0.01


@dataclass(frozen=True)
class CementForecast:
    """Predicted for a plan: mL to inject in all, share of the lesion filled, probability of a grave leak, and by what.

    `deposits_ml` gives the mL of each deposit in the order of injection; where it is empty the plan's own shares are
    kept. `source` says how it was predicted and that it is simulated where it is.
    """

    volume_ml: float
    fill_share: float
    grave_leak_probability: float
    source: str
    deposits_ml: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shares = (self.fill_share, self.grave_leak_probability)
        amounts = (self.volume_ml, *self.deposits_ml)
        if not all(math.isfinite(v) and v >= 0 for v in amounts) or not all(0 <= v <= 1 for v in shares):
            raise InputError(
                "A forecast needs amounts of 0 mL or more, and shares from 0 to 1",
                got=f"{amounts} mL, {shares}",
            )
        if self.deposits_ml and abs(sum(self.deposits_ml) - self.volume_ml) > 0.02 * max(self.volume_ml, 1.0):
            raise InputError(
                "The deposits of a forecast must add up to its volume",
                got=f"{sum(self.deposits_ml):.2f} of {self.volume_ml:.2f} mL",
            )


def dosed(plan: Plan, forecast: CementForecast) -> Plan:
    """The plan with the forecast's mL in its deposits, its figures among the measures, and the sentence for people.

    A plan without deposits, or a number of deposits that is not the plan's, raises InputError.
    """
    orders = sorted(i.order for needle in plan.needles for i in needle.injections)
    if not orders or (forecast.deposits_ml and len(forecast.deposits_ml) != len(orders)):
        raise InputError(
            "The forecast does not fit the plan's deposits",
            got=f"{len(forecast.deposits_ml)} for {len(orders)} deposits",
        )
    scale = forecast.volume_ml / plan.total_volume_ml if plan.total_volume_ml > 0 else 0.0
    given = dict(zip(orders, forecast.deposits_ml, strict=True)) if forecast.deposits_ml else {}
    needles = tuple(_dosed_needle(needle, given, scale) for needle in plan.needles)
    measures = {
        **plan.measures,
        "planned_volume_ml": forecast.volume_ml,
        "predicted_fill_share": forecast.fill_share,
        "predicted_grave_leak_probability": forecast.grave_leak_probability,
    }
    sentence = (
        f"{forecast.source}: {forecast.volume_ml:.1f} mL fill {100 * forecast.fill_share:.0f} % of the lesion, with a "
        f"grave leak in {100 * forecast.grave_leak_probability:.0f} %."
    )
    findings = plan.findings
    if forecast.volume_ml < _NOTHING_ML:
        message = f"{forecast.source}: no volume stays within the accepted risk of a leak from these tips."
        findings = (*findings, Finding(Severity.WARNING, "PLAN-NO-DOSE", message))
    return plan.with_(needles=needles, measures=measures, reasons=(*plan.reasons, sentence), findings=findings)


def _dosed_needle(needle: NeedlePlan, given: dict[int, float], scale: float) -> NeedlePlan:
    amounts = [(i, given.get(i.order, i.volume_ml * scale)) for i in needle.injections]
    kept = tuple(replace(i, volume_ml=round(ml, 2)) for i, ml in amounts if ml >= _NOTHING_ML)
    return replace(needle, injections=kept)
