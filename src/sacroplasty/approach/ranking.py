"""What makes one plan better than another: where the lesion lies, what is reached, how surely nothing is touched."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from sacroplasty.approach.choice import pareto
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.target import LesionSamples
from sacroplasty.plan import CementForecast, Plan, dosed

# A part of the lesion that an approach does not reach counts as worse than its last choice.
NOT_REACHED = 4
# What counts beside the grade (1 to 4): uncovered lesion, probability of touching anything, want of normalised
# clearance (1 at none, 1/e at two standard deviations), every needle after the first, a grave leak where predicted.
_UNCOVERED, _BREACH, _WANT, _NEEDLE, _LEAK = 2.0, 1.5, 0.5, 0.1, 1.5
_SIGMAS = 2.0


def suitability_grade(samples: LesionSamples, rule: ApproachRule) -> float:
    """Mean grade of an approach over the lesion, 1 (first choice) to 4 (not reached): every level and Denis zone counts
    by its share, so that an approach made for the ala is not the first choice for a body lesion that grazes it.
    """
    places = samples.places
    total = sum(places.values())
    if not total:
        return float(NOT_REACHED)
    return sum(n * (rule.grade(*place) or NOT_REACHED) for place, n in places.items()) / total


def merit(plan: Plan) -> float:
    """What plans are ranked by, smaller is better; from the plan's measures alone, so that any room may rank anew."""
    m = plan.measures
    return (
        m["suitability_grade"]
        + _UNCOVERED * (1.0 - m.get("predicted_fill_share", m["coverage_share"]))
        + _BREACH * m["breach_probability"]
        + _WANT * math.exp(-max(m["worst_margin_sigmas"], 0.0) / _SIGMAS)
        + _NEEDLE * (m["needle_count"] - 1.0)
        + _LEAK * m.get("predicted_grave_leak_probability", 0.0)
    )


def best_first(plans: Sequence[Plan]) -> list[Plan]:
    """Plans of one approach: those that no other beats in normalised clearance, probability of a breach, coverage and
    length first, each group by merit.
    """
    if not plans:
        return []
    rows = [
        (
            -p.measures["worst_margin_sigmas"],
            p.measures["breach_probability"],
            -p.measures["coverage_share"],
            p.measures["skin_to_target_mm"],
        )
        for p in plans
    ]
    front = set(pareto(np.array(rows)).tolist())
    order = sorted(range(len(plans)), key=lambda n: (n not in front, merit(plans[n]), n))
    return [plans[n] for n in order]


def reconsidered(
    plans: Sequence[Plan], forecast: Callable[[Plan], CementForecast | None], approaches: int = 3
) -> tuple[Plan, ...]:
    """The plans with the mL that a cement prediction allows for the leads of the first approaches, ranked anew by what
    it says they fill and leak; the others keep the planner's own estimate.

    forecast: predicts one plan, or gives None where it cannot; it is called for as many leads as `approaches` says,
    because a prediction takes far longer than a plan.
    """
    done: set[str] = set()
    result = []
    for plan in sorted(plans, key=lambda p: p.rank):
        predicted = None
        if plan.feasible and plan.approach not in done and len(done) < approaches:
            done.add(plan.approach)
            predicted = forecast(plan)
        result.append(plan if predicted is None else dosed(plan, predicted))
    return ranked(result)


def ranked(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Plans with ranks: the best of each feasible approach by merit, their alternatives in the same order of
    approaches, then the infeasible ones. The order within an approach is kept.
    """
    feasible = [plan for plan in plans if plan.feasible]
    seen: Counter[str] = Counter()
    leads: list[tuple[int, Plan]] = []
    others: list[tuple[int, Plan]] = []
    for plan in feasible:
        (others if seen[plan.approach] else leads).append((seen[plan.approach], plan))
        seen[plan.approach] += 1
    leads.sort(key=lambda pair: merit(pair[1]))
    places = {plan.approach: n for n, (_, plan) in enumerate(leads)}
    others.sort(key=lambda pair: (places[pair[1].approach], pair[0]))
    order = [plan for _, plan in (*leads, *others)] + [plan for plan in plans if not plan.feasible]
    return tuple(plan.with_(rank=n) for n, plan in enumerate(order, start=1))
