"""The published series: what each printed, which of them may be pooled, and why the others may not."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.outcome.meta_analysis import Method, Pooled, pool

# Reviews contain other rows, a case report has no scatter, a pelvic series is another bone.
_POOLED_KINDS = {"series", "trial arm"}


@dataclass(frozen=True)
class PublishedSeries:
    """One row of the table as printed; None where nothing was read.

    Pain is NRS or VAS from 0 to 10. `statistic` says whether `before` and `after` are means with SD, medians with
    quartiles (`_low`, `_high`) or a single patient's. `leak_printed_percent` is kept where it differs from the counts.
    """

    series: str
    year: int
    guidance: str
    indication: str
    patients: int | None
    scored: int | None
    statistic: str
    before: float | None
    before_sd: float | None
    before_low: float | None
    before_high: float | None
    after: float | None
    after_sd: float | None
    after_low: float | None
    after_high: float | None
    after_days: int | None
    volume_ml: float | None
    volume_statistic: str
    leaks: int | None
    leak_total: int | None
    leak_printed_percent: float | None
    leak_modality: str
    kind: str
    overlaps: str
    doi: str
    source: str
    note: str

    @property
    def poolable(self) -> str:
        """Empty where the pain of this row may be pooled, else the reason why not."""
        if self.kind not in _POOLED_KINDS:
            return f"is a {self.kind}" if self.kind != "not sacrum alone" else "is not of the sacrum alone"
        if self.overlaps:
            return f"has the patients of {self.overlaps}"
        if self.before is None or self.after is None:
            return "prints no pain scores that were read"
        if self.statistic != "mean":
            return f"prints {self.statistic}s, which are not averaged with means"
        if not self.scored:
            return "does not say how many were scored"
        if not self.before_sd or not self.after_sd:
            return "prints no standard deviations"
        return ""

    @property
    def change(self) -> tuple[float, float]:
        """Mean change in pain (negative is relief) and its sampling variance; InputError where it is not poolable.

        The scatter of the change follows from both SDs and an assumed correlation between before and after.
        """
        return self.change_at(value("assumptions.outcome_before_after_correlation"))

    def change_at(self, correlation: float) -> tuple[float, float]:
        """The change under a given correlation between before and after."""
        if self.poolable:
            raise InputError("The series cannot be pooled", got=f"{self.series} {self.poolable}")
        assert self.before is not None
        assert self.after is not None
        assert self.before_sd
        assert self.after_sd
        assert self.scored
        spread = self.before_sd**2 + self.after_sd**2 - 2 * correlation * self.before_sd * self.after_sd
        return self.after - self.before, spread / self.scored


@dataclass(frozen=True)
class LaterScore:
    """Mean pain of a series on one day after the procedure, with its SD where printed."""

    series: str
    day: int
    mean: float
    sd: float | None


def _lines(name: str) -> list[dict[str, str]]:
    text = resources.files("sacroplasty.evidence").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _typed(kind: str, text: str) -> object:
    if "int" in kind:
        return int(text) if text else None
    if "float" in kind:
        return float(text) if text else None
    return text


@cache
def published_series() -> tuple[PublishedSeries, ...]:
    """Every row of the table, in the order of publication."""
    sorts = {one.name: str(one.type) for one in fields(PublishedSeries)}
    return tuple(
        PublishedSeries(**{name: _typed(kind, line[name]) for name, kind in sorts.items()})  # type: ignore[arg-type]
        for line in _lines("series.csv")
    )


@cache
def later_scores() -> tuple[LaterScore, ...]:
    """Published mean pain by day after the procedure."""
    return tuple(
        LaterScore(row["series"], int(row["day"]), float(row["mean"]), float(row["sd"]) if row["sd"] else None)
        for row in _lines("series_over_time.csv")
    )


def early_series(*, with_unknown_time: bool = False) -> tuple[PublishedSeries, ...]:
    """Rows whose first score may be pooled as early; those that do not say when only where asked for."""
    limit = value("assumptions.outcome_early_days")
    return tuple(
        one
        for one in published_series()
        if not one.poolable and (with_unknown_time if one.after_days is None else one.after_days <= limit)
    )


@dataclass(frozen=True)
class Synthesis:
    """A pooled change with the rows behind it, the rows left out and why."""

    pooled: Pooled
    rows: tuple[PublishedSeries, ...]
    effects: tuple[float, ...]
    variances: tuple[float, ...]
    left_out: tuple[tuple[str, str], ...]
    correlation: float


def pooled_change(
    method: Method = Method.REML,
    *,
    hartung_knapp: bool = True,
    correlation: float | None = None,
    rows: Iterable[PublishedSeries] | None = None,
) -> Synthesis:
    """Published early change in pain, pooled; every row left out is named with its reason."""
    kept = early_series() if rows is None else tuple(rows)
    r = value("assumptions.outcome_before_after_correlation") if correlation is None else correlation
    if not -1 < r < 1:
        raise InputError("A correlation lies between -1 and 1", got=f"{r}")
    changes = [one.change_at(r) for one in kept]
    effects, variances = [c[0] for c in changes], [c[1] for c in changes]
    names = {one.series for one in kept}
    left_out = tuple(
        (one.series, one.poolable or _too_late(one)) for one in published_series() if one.series not in names
    )
    pooled = pool(effects, variances, method, hartung_knapp=hartung_knapp)
    return Synthesis(pooled, kept, tuple(effects), tuple(variances), left_out, r)


def _too_late(one: PublishedSeries) -> str:
    if one.after_days is None:
        return "does not say when the second score was taken"
    return f"was scored after {one.after_days} days"


def early_band() -> tuple[float, float]:
    """Lowest and highest published early mean pain: the band drawn behind a patient's chart."""
    means = [one.after for one in early_series() if one.after is not None]
    return min(means), max(means)


def later_band(day: float) -> tuple[float, float]:
    """Lowest and highest published mean pain at the printed day nearest to a day; NaN where nothing is near.

    Near is within a factor of two, so that a score at six months is not compared with one at three days.
    """
    near = [one for one in later_scores() if 0.5 <= (one.day + 1) / (day + 1) <= 2]
    if not near:
        return math.nan, math.nan
    nearest = min(near, key=lambda one: abs(one.day - day)).day
    means = [one.mean for one in near if one.day == nearest]
    return min(means), max(means)
