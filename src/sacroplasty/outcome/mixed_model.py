"""Pain over time with every patient's own level: a linear mixed model with a random intercept.

Fitted by restricted likelihood. The ratio of the variances is the only parameter that must be searched for; everything
else follows from it in closed form (Laird & Ware 1982, Biometrics 38:963). Tests compare it with statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError

BASELINE = "baseline"
Array = npt.NDArray[np.float64]
# Patients' levels may scatter this many times (as variance) more than their scores do; beyond it nothing changes.
_LARGEST_RATIO = 1e4


@dataclass(frozen=True)
class Scored:
    """One score of one patient at one named time."""

    patient: str
    time: str
    nrs: float


@dataclass(frozen=True)
class TimeEffect:
    """Change from baseline at a time with its 95 % interval, and how many patients were scored then."""

    time: str
    patients: int
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class PainOverTime:
    """Baseline level, change at each time, scatter between patients and within them (SD), in NRS points."""

    patients: int
    baseline: float
    effects: tuple[TimeEffect, ...]
    between_sd: float
    within_sd: float


def pain_over_time(scores: Sequence[Scored], order: Sequence[str] = ()) -> PainOverTime:
    """Fit NRS = baseline + time + patient's own level + error; times come back in the given order, others as met.

    Uses every score, also of patients who missed a time, and assumes that what is missing does not depend on the pain
    that was not seen. Intervals are t with scores minus patients minus times degrees of freedom, so that two times with
    everybody scored give exactly the paired t interval. InputError without a baseline, with fewer than three patients,
    or with too few scores to tell scatter from change.
    """
    times = list(dict.fromkeys(one.time for one in scores))
    patients = sorted({one.patient for one in scores})
    if BASELINE not in times or len(times) < 2 or len(patients) < 3:
        raise InputError("A mixed model needs three patients, a baseline and a later time",
                         got=f"{len(patients)} patients at {', '.join(times) or 'no time'}")  # fmt: skip
    if len({(one.patient, one.time) for one in scores}) != len(scores):
        raise InputError("A patient has two scores at one time", remedy="Keep the first of each window")
    times = [*(time for time in order if time in times), *(time for time in times if time not in order)]
    later = [time for time in times if time != BASELINE]
    freedom = len(scores) - len(patients) - len(later)
    if freedom < 1:
        raise InputError("There are too few scores for a mixed model", got=f"{len(scores)} of {len(patients)} patients")
    design = np.array([[1.0, *(float(one.time == time) for time in later)] for one in scores])
    nrs = np.array([one.nrs for one in scores], dtype=np.float64)
    groups = np.searchsorted(patients, [one.patient for one in scores])
    effects, covariance, within, ratio = _fitted(nrs, design, groups)
    return PainOverTime(
        len(patients), float(effects[0]),
        tuple(_effect(time, n, scores, effects, covariance, freedom) for n, time in enumerate(later, start=1)),
        math.sqrt(ratio * within), math.sqrt(within),
    )  # fmt: skip


def _effect(
    time: str, place: int, scores: Sequence[Scored], effects: Array, covariance: Array, freedom: int
) -> TimeEffect:
    from scipy import stats

    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(float(covariance[place, place]))
    change = float(effects[place])
    return TimeEffect(time, sum(one.time == time for one in scores), change, change - half, change + half)


def _fitted(nrs: Array, design: Array, groups: npt.NDArray[np.intp]) -> tuple[Array, Array, float, float]:
    """Effects, their covariance, variance within patients, and ratio of the variances that maximises the likelihood."""
    from scipy import optimize

    def negative(root: float) -> float:
        return _profile(root * root, nrs, design, groups)[0]

    # Searched over the root, whose scale is that of standard deviations; both ends are tried too.
    largest = math.sqrt(_LARGEST_RATIO)
    starts = [optimize.minimize_scalar(negative, bounds=(0.0, upper), method="bounded", options={"xatol": 1e-10})
              for upper in (2.0, largest)]  # fmt: skip
    best = min(((float(found.fun), float(found.x)) for found in starts), default=(math.inf, 0.0))
    root = min([best, (negative(0.0), 0.0)])[1]
    _, effects, covariance, within = _profile(root * root, nrs, design, groups)
    return effects, covariance, within, root * root


def _profile(
    ratio: float, nrs: Array, design: Array, groups: npt.NDArray[np.intp]
) -> tuple[float, Array, Array, float]:
    """Negative restricted log-likelihood at a variance ratio, with effects, covariance and variance that go with it."""
    counts = np.bincount(groups)
    shrink = ratio / (1 + ratio * counts)

    def weighted(values: Array) -> Array:
        """Inverse of (identity + ratio x ones within a patient) applied to columns."""
        sums = np.zeros((len(counts), values.shape[1]))
        np.add.at(sums, groups, values)
        return values - (shrink[:, None] * sums)[groups]

    normal = design.T @ weighted(design)
    inverse = np.linalg.inv(normal)
    effects = inverse @ (design.T @ weighted(nrs[:, None])[:, 0])
    residual = nrs - design @ effects
    freedom = len(nrs) - design.shape[1]
    squares = float(residual @ weighted(residual[:, None])[:, 0])
    within = max(squares / freedom, np.finfo(np.float64).tiny)
    determinants = float(np.log1p(ratio * counts).sum() + np.linalg.slogdet(normal)[1])
    return 0.5 * (freedom * math.log(within) + determinants), effects, inverse * within, within
