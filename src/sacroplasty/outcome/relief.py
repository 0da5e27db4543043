"""How long relief lasts: Kaplan-Meier estimate with Greenwood's variance and a log-log interval.

Sources: Kaplan & Meier 1958 (J Am Stat Assoc 53:457), Kalbfleisch & Prentice for the log-log interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sacroplasty.errors import InputError
from sacroplasty.outcome.pain import is_responder

# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Followed:
    """One patient: days of relief until it was lost, or until the last contact where it still held."""

    days: float
    lost: bool


@dataclass(frozen=True)
class Step:
    """The curve from a day on: share still relieved, its 95 % interval, and how many were watched just before."""

    day: float
    share: float
    low: float
    high: float
    at_risk: int
    lost: int


@dataclass(frozen=True)
class ReliefCurve:
    """Share of patients whose relief holds, as steps; `median_days` is NaN while more than half are still relieved."""

    patients: int
    steps: tuple[Step, ...]
    median_days: float

    def at(self, day: float) -> float:
        """Share still relieved on a day."""
        return next((step.share for step in reversed(self.steps) if step.day <= day), 1.0)


def relief_curve(patients: Sequence[Followed]) -> ReliefCurve:
    """The Kaplan-Meier curve; InputError for nobody or a negative time.

    Losses and last contacts on the same day: losses come first.
    """
    if not patients:
        raise InputError("A relief curve needs at least one patient who had relief", got="none")
    if any(not (math.isfinite(one.days) and one.days >= 0) for one in patients):
        raise InputError("Days of relief must be zero or more")
    share, sum_of_terms, steps = 1.0, 0.0, []
    for day in sorted({one.days for one in patients if one.lost}):
        at_risk = sum(one.days >= day for one in patients)
        lost = sum(one.lost and one.days == day for one in patients)
        share *= 1 - lost / at_risk
        sum_of_terms += lost / (at_risk * (at_risk - lost)) if at_risk > lost else math.inf
        low, high = _interval(share, sum_of_terms)
        steps.append(Step(day, share, low, high, at_risk, lost))
    median = next((step.day for step in steps if step.share <= 0.5), math.nan)
    return ReliefCurve(len(patients), tuple(steps), median)


def _interval(share: float, terms: float) -> tuple[float, float]:
    if not 0 < share < 1:
        return (math.nan, math.nan) if share == 0 else (1.0, 1.0)
    width = _Z * math.sqrt(terms) / abs(math.log(share))
    return share ** math.exp(width), share ** math.exp(-width)


def followed(before: float, scores: Sequence[tuple[float, float]]) -> Followed | None:
    """A patient's relief from (day, NRS) scores after a procedure; None where no relief was ever scored.

    Relief is at least 30 % less pain than before. It is dated as lost on the first later day with less than that, which
    is when the loss was seen, not when it came.
    """
    ordered = sorted(scores)
    begun = next((n for n, (_, nrs) in enumerate(ordered) if is_responder(before, nrs)), None)
    if begun is None:
        return None
    start = ordered[begun][0]
    for day, nrs in ordered[begun:]:
        if not is_responder(before, nrs):
            return Followed(day - start, True)
    return Followed(ordered[-1][0] - start, False)
