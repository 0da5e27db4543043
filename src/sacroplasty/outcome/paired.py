"""Change within patients: mean with t interval, median, and the smallest group for which that is said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sacroplasty.errors import InputError


@dataclass(frozen=True)
class PairedChange:
    """Pain before and after in the same patients; `mean_change` is negative for relief, `low` and `high` its interval.

    `sd_change` and the 95 % t interval are NaN for a single patient.
    """

    patients: int
    before_mean: float
    before_sd: float
    after_mean: float
    after_sd: float
    mean_change: float
    sd_change: float
    low: float
    high: float
    median_change: float
    correlation: float

    @property
    def variance(self) -> float:
        """Sampling variance of the mean change."""
        return self.sd_change**2 / self.patients


def paired_change(pairs: Sequence[tuple[float, float]]) -> PairedChange:
    """The change over (before, after) pairs; InputError for no pair or a number that is not finite."""
    if not pairs:
        raise InputError("A change needs at least one patient scored before and after", got="none")
    scores = np.asarray(pairs, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != 2 or not np.isfinite(scores).all():
        raise InputError("Scores must be finite pairs of before and after", got=str(scores.shape))
    before, after = scores[:, 0], scores[:, 1]
    change, count = after - before, len(scores)
    sds = [float(np.std(part, ddof=1)) if count > 1 else math.nan for part in (before, after, change)]
    half = _half_width(sds[2], count)
    related = count > 2 and sds[0] > 0 and sds[1] > 0
    correlation = float(np.corrcoef(before, after)[0, 1]) if related else math.nan
    mean = float(change.mean())
    return PairedChange(
        count, float(before.mean()), sds[0], float(after.mean()), sds[1], mean, sds[2], mean - half, mean + half,
        float(np.median(change)), correlation,
    )  # fmt: skip


def _half_width(sd: float, count: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.975, count - 1)) * sd / math.sqrt(count) if count > 1 else math.nan
