"""What two published reviews pooled, beside what the rows of our table give, and why they differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sacroplasty.outcome.meta_analysis import Method, pool
from sacroplasty.outcome.series import PublishedSeries, published_series

# Chandra 2019 searched until February 2018 and took studies of more than five patients.
_CHANDRA_LAST_YEAR, _CHANDRA_FEWEST = 2017, 6
# Series that hold metastases and whose printed scores are the extremes that Tarawneh 2020 prints (6.9 and 4.7), or that
# were scored by then; the review's own list of seven was not read.
_TARAWNEH_ROWS = ("kortman-2013-lesion", "moussazadeh-2015", "tian-2019")


@dataclass(frozen=True)
class Comparison:
    """A printed pooled value and ours; `reproduced` is True where the printed one lies in our interval."""

    review: str
    measure: str
    printed: float
    ours: float
    low: float
    high: float
    rows: tuple[str, ...]
    why: str

    @property
    def reproduced(self) -> bool:
        """The printed value lies inside our interval."""
        return self.low <= self.printed <= self.high


def _row(name: str) -> PublishedSeries:
    return next(one for one in published_series() if one.series == name)


def _known(number: float | None) -> float:
    return math.nan if number is None else number


def chandra_baseline() -> Comparison:
    """Pain before the procedure: random-effects mean of the rows that meet the review's criteria, against 8.32."""
    rows = [
        one for one in published_series()
        if not one.poolable and one.year <= _CHANDRA_LAST_YEAR and (one.scored or 0) >= _CHANDRA_FEWEST
    ]  # fmt: skip
    levels = [_known(one.before) for one in rows]
    variances = [_known(one.before_sd) ** 2 / (one.scored or 0) for one in rows]
    found = pool(levels, variances, Method.REML)
    least = math.sqrt(found.tau2 / 19)
    why = (
        f"{len(rows)} of the 19 studies are in the table with means and SDs. Between these the true levels differ with "
        f"an SD of {math.sqrt(found.tau2):.2f}, so that a random-effects mean of 19 studies cannot have a standard "
        f"error below {least:.2f}; the printed 0.01 is not one."
    )
    return Comparison("chandra-2019", "pain before", _known(_row("chandra-2019").before), found.effect, found.low,
                      found.high, tuple(one.series for one in rows), why)  # fmt: skip


def _tarawneh(measure: str, level: Callable[[PublishedSeries], float | None]) -> Comparison:
    review = _row("tarawneh-2020")
    rows = [_row(name) for name in _TARAWNEH_ROWS]
    counts = [one.scored or 0 for one in rows]
    total, rest = sum(counts), (review.patients or 0) - sum(counts)
    held = sum(n * _known(level(one)) for n, one in zip(counts, rows, strict=True))
    before = measure == "pain before"
    low, high = (
        (_known(review.before_low), _known(review.before_high)) if before
        else (_known(review.after_low), _known(review.after_high))
    )  # fmt: skip
    printed = _known(review.before if before else review.after)
    needed = (printed * (review.patients or 0) - held) / rest
    possible = [(held + rest * edge) / (total + rest) for edge in (low, high)]
    why = (
        f"{total} of {review.patients} patients are in recognised rows (weighted mean {held / total:.2f}). The other "
        f"{rest} would have to average {needed:.2f}, which is inside the printed range of means, {low:g} to {high:g}: "
        "the printed value fits a mean weighted by patients. The interval is what any such rest could give."
    )
    return Comparison("tarawneh-2020", measure, printed, held / total, min(possible), max(possible),
                      _TARAWNEH_ROWS, why)  # fmt: skip


def tarawneh_leaks() -> Comparison:
    """The printed leak rate in per cent against its own counts."""
    review = _row("tarawneh-2020")
    events, total = review.leaks or 0, review.leak_total or 1
    ours = 100 * events / total
    why = (
        f"{events} of {total} is {ours:.1f} %; 25.4 % follows from no whole number of patients between 101 and 107 by "
        "rounding. Counts and printed value are both kept."
    )
    return Comparison("tarawneh-2020", "leaks, per cent", _known(review.leak_printed_percent), ours, ours - 0.05,
                      ours + 0.05, ("tarawneh-2020",), why)  # fmt: skip


def comparisons() -> tuple[Comparison, ...]:
    """Every printed pooled value that can be put beside ours."""
    return (
        chandra_baseline(),
        _tarawneh("pain before", lambda one: one.before),
        _tarawneh("pain after", lambda one: one.after),
        tarawneh_leaks(),
    )
