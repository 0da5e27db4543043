"""Pooling published series: fixed and random effects, heterogeneity, prediction interval.

Sources: DerSimonian & Laird 1986 (Control Clin Trials 7:177), Hartung & Knapp 2001 (Stat Med 20:1771), Higgins,
Thompson & Spiegelhalter 2009 (J R Stat Soc A 172:137); restricted likelihood after Viechtbauer 2005
(J Educ Behav Stat 30:261). SciPy's statistics are imported where they are used: the registry opens without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError

Array = npt.NDArray[np.float64]


class Method(StrEnum):
    """How the variance between studies is found."""

    FIXED = "fixed"
    DERSIMONIAN_LAIRD = "DerSimonian-Laird"
    REML = "REML"


@dataclass(frozen=True)
class Pooled:
    """Pooled effect with its 95 % interval; `tau2` is the variance between studies, `i2` the share it has (0..1).

    `prediction_low` and `prediction_high` bound the effect of a new study; NaN for fewer than three studies.
    """

    method: Method
    hartung_knapp: bool
    studies: int
    effect: float
    standard_error: float
    low: float
    high: float
    tau2: float
    q: float
    q_p_value: float
    i2: float
    prediction_low: float
    prediction_high: float


def _weighted(effects: Array, variances: Array, tau2: float) -> tuple[float, float, Array]:
    weights = 1.0 / (variances + tau2)
    return float(np.sum(weights * effects) / weights.sum()), float(1 / weights.sum()), weights


def _dersimonian_laird(effects: Array, variances: Array) -> float:
    mean, _, weights = _weighted(effects, variances, 0.0)
    q = float(np.sum(weights * (effects - mean) ** 2))
    scale = float(weights.sum() - np.sum(weights**2) / weights.sum())
    return max(0.0, (q - (len(effects) - 1)) / scale)


def _negative_restricted_likelihood(tau2: float, effects: Array, variances: Array) -> float:
    mean, _, weights = _weighted(effects, variances, tau2)
    squares = float(np.sum(weights * (effects - mean) ** 2))
    return 0.5 * (float(np.sum(np.log(variances + tau2))) + math.log(weights.sum()) + squares)


def _reml(effects: Array, variances: Array) -> float:
    """The maximum on a bracket that surely holds it, polished on the score's root; 0 where the likelihood falls."""
    from scipy import optimize

    largest = 10.0 * (float(np.var(effects)) + float(variances.max()))
    found = optimize.minimize_scalar(
        _negative_restricted_likelihood, bounds=(0.0, largest), args=(effects, variances), method="bounded",
        options={"xatol": 1e-12 * max(largest, 1.0)},
    )  # fmt: skip
    tau2 = float(found.x)
    at_zero = _negative_restricted_likelihood(0.0, effects, variances)
    if at_zero <= found.fun + 1e-12:
        return 0.0

    def score(candidate: float) -> float:
        mean, variance, weights = _weighted(effects, variances, candidate)
        squares = np.sum(weights**2 * ((effects - mean) ** 2 - variances))
        return float(squares / np.sum(weights**2) + variance - candidate)

    low, high = 0.5 * tau2, 2.0 * tau2
    if score(low) * score(high) < 0:
        return float(optimize.brentq(score, low, high, xtol=1e-14))
    return tau2


def pool(
    effects: Sequence[float], variances: Sequence[float], method: Method = Method.REML, *, hartung_knapp: bool = True
) -> Pooled:
    """Pool study effects with their sampling variances.

    Hartung-Knapp takes the interval from a t distribution and the weighted scatter of the studies.
    InputError for fewer than two studies, unequal counts or a variance that is not positive.
    """
    from scipy import stats

    y, v = np.asarray(effects, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if y.shape != v.shape or y.ndim != 1 or len(y) < 2:
        raise InputError("Pooling needs at least two studies with one variance each", got=f"{y.shape} and {v.shape}")
    if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
        raise InputError("Effects must be finite and variances positive", got=f"variances {v.tolist()}")
    tau2 = {Method.FIXED: lambda: 0.0, Method.DERSIMONIAN_LAIRD: lambda: _dersimonian_laird(y, v),
            Method.REML: lambda: _reml(y, v)}[method]()  # fmt: skip
    mean, variance, weights = _weighted(y, v, tau2)
    fixed_mean, _, fixed_weights = _weighted(y, v, 0.0)
    q, freedom = float(np.sum(fixed_weights * (y - fixed_mean) ** 2)), len(y) - 1
    if hartung_knapp and method is not Method.FIXED:
        scale = float(np.sum(weights * (y - mean) ** 2)) / freedom
        variance, quantile = variance * scale, float(stats.t.ppf(0.975, freedom))
    else:
        quantile = float(stats.norm.ppf(0.975))
    error = math.sqrt(variance)
    spread = float(stats.t.ppf(0.975, len(y) - 2)) * math.sqrt(tau2 + variance) if len(y) > 2 else math.nan
    return Pooled(
        method, hartung_knapp and method is not Method.FIXED, len(y), mean, error, mean - quantile * error,
        mean + quantile * error, tau2, q, float(stats.chi2.sf(q, freedom)), max(0.0, (q - freedom) / q) if q else 0.0,
        mean - spread, mean + spread,
    )  # fmt: skip


def exact_interval(events: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate `events / total`; InputError unless 0 <= events <= total and total > 0."""
    if not 0 <= events <= total or total <= 0:
        raise InputError("A rate needs 0 <= events <= total", got=f"{events} of {total}")
    from scipy import stats

    interval = stats.binomtest(events, total).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def logit_rate(events: int, total: int) -> tuple[float, float]:
    """Logit of a rate and its variance, with half an event added on each side where there are none or only events."""
    exact_interval(events, total)
    half = 0.5 if events in (0, total) else 0.0
    yes, no = events + half, total - events + half
    return math.log(yes / no), 1 / yes + 1 / no
