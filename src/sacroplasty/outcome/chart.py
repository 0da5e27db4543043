"""Charts of pain: one patient over time with what counts as better and the published bands; relief of a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.outcome.forest import as_png, new_figure
from sacroplasty.outcome.relief import ReliefCurve
from sacroplasty.outcome.series import early_band, later_band

_LINE, _BAND, _BETTER, _QUIET = "#0072B2", "#cfe3f1", "#009E73", "#777777"
# Distance between scores before the procedure whose days are unknown, on the chart's own scale.
_UNKNOWN_STEP = 1.6
# Where the published bands are asked for: first day, a month, half a year, a year, a year and a half.
_BAND_DAYS = (1.0, 30.0, 182.0, 365.0, 548.0)


@dataclass(frozen=True)
class ChartPoint:
    """One score: day after the procedure (negative before it), NRS, and the intervention it follows.

    `day` is None for a score before the procedure whose day nobody wrote down; it is drawn open, in the order given.
    """

    day: float | None
    nrs: float
    after: str


def pain_chart(points: Sequence[ChartPoint], title: str = "") -> bytes:
    """PNG of NRS over time on a scale that shows days and years; InputError without a score.

    Drawn behind: the level that is "much better" than the last score before the procedure (-2 points, PMID 15207508),
    and the range of published means. Words at the points name the intervention that the change belongs to.
    """
    if not points:
        raise InputError("A chart of pain needs at least one numeric score", remedy="Words are listed, not drawn")
    figure, axes = new_figure(7.2, 4.2)
    earlier = [one for one in points if one.day is None or one.day < 0]
    later = sorted((one for one in points if one.day is not None and one.day >= 0), key=lambda one: one.day or 0.0)
    last = max([30.0, *(one.day or 0.0 for one in later)])
    _bands(axes, last)
    if earlier:
        better = earlier[-1].nrs - value("outcome.nrs_much_better")
        axes.axhline(better, color=_BETTER, lw=1, ls="--")
        axes.text(_place(last) * 1.02, better + 0.1, "much better (−2)", color=_BETTER, fontsize=8, va="bottom")
    places = [*_earlier_places(earlier), *(_place(one.day or 0.0) for one in later)]
    drawn = [*earlier, *later]
    axes.plot(places, [one.nrs for one in drawn], "-", color=_LINE)
    for place, one in zip(places, drawn, strict=True):
        axes.plot([place], [one.nrs], "o", color=_LINE, mfc="white" if one.day is None else _LINE)
        unknown = ", day not recorded" if one.day is None else ""
        axes.annotate(f"{one.nrs:g}\n{one.after}{unknown}", (place, one.nrs), textcoords="offset points", xytext=(4, 6),
                      fontsize=8)  # fmt: skip
    axes.axvline(_place(0), color=_QUIET, lw=0.8)
    _finish(axes, min([0.0, *places]), last, title)
    return as_png(figure)


def _earlier_places(earlier: Sequence[ChartPoint]) -> list[float]:
    """Where scores before the procedure stand: by their day, or one step apart in the order given."""
    if all(one.day is not None for one in earlier):
        return [_place(one.day or 0.0) for one in earlier]
    return [_UNKNOWN_STEP * (n - len(earlier)) for n in range(len(earlier))]


def _place(day: float) -> float:
    """Days on a scale that is linear near the procedure and logarithmic far from it."""
    return float(np.sign(day) * np.log1p(abs(day)))


def _bands(axes: Any, last: float) -> None:
    days = [day for day in _BAND_DAYS if day <= last]
    bands = [early_band() if day <= value("assumptions.outcome_early_days") else later_band(day) for day in days]
    if days:
        days, bands = [*days, last], [*bands, bands[-1]]
        places = [_place(day) for day in days]
        axes.fill_between(places, [b[0] for b in bands], [b[1] for b in bands], color=_BAND, lw=0)
        axes.text(places[0], bands[0][0] - 0.1, "published means", fontsize=8, color=_LINE, va="top")


def _finish(axes: Any, first: float, last: float, title: str) -> None:
    ticks = [day for day in (0, 1, 7, 30, 91, 182, 365, 730) if day <= last * 1.1]
    axes.set_xticks([_place(day) for day in ticks], [f"{day:g}" for day in ticks])
    axes.set_xlim(first - 0.3, _place(last) * 1.25 + 0.6)
    axes.set_ylim(-0.2, 11.5)
    axes.set_yticks(range(0, 11, 2))
    axes.set_xlabel("Days after the procedure")
    axes.set_ylabel("Pain, NRS")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["right", "top"]].set_visible(False)


def relief_chart(curve: ReliefCurve, title: str = "") -> bytes:
    """PNG of a Kaplan-Meier curve of relief with its 95 % band and the numbers still watched."""
    figure, axes = new_figure(6.4, 4.2)
    days = [0.0, *(step.day for step in curve.steps)]
    curves = [[1.0, *values, values[-1] if values else 1.0] for values in (
        [step.share for step in curve.steps], [step.low for step in curve.steps], [step.high for step in curve.steps],
    )]  # fmt: skip
    days.append(max(days[-1] * 1.1, 30.0))
    axes.fill_between(days, curves[1], curves[2], step="post", color=_BAND, lw=0)
    axes.step(days, curves[0], where="post", color=_LINE)
    for step in curve.steps:
        axes.annotate(f"{step.at_risk}", (step.day, step.share), textcoords="offset points", xytext=(3, 5), fontsize=7,
                      color=_QUIET)  # fmt: skip
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("Days since relief began (numbers: patients still watched)")
    axes.set_ylabel("Share with relief")
    axes.set_title(title or f"{curve.patients} patients with at least 30 % less pain", fontsize=9, loc="left")
    axes.spines[["right", "top"]].set_visible(False)
    return as_png(figure)
