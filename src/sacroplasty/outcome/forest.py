"""Forest and funnel plots of pooled series, our own registry's cohort drawn beside them and never in the pool."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sacroplasty.outcome.series import Synthesis

if TYPE_CHECKING:
    from sacroplasty.outcome.meta_analysis import Pooled

_DOTS_PER_INCH = 150
_PUBLISHED, _OURS, _POOLED, _QUIET = "#0072B2", "#D55E00", "#222222", "#777777"
# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054
# Below this many studies a funnel plot cannot tell asymmetry from chance.
_ENOUGH_FOR_A_FUNNEL = 10


@dataclass(frozen=True)
class OwnSeries:
    """A cohort of this registry: name, patients, mean change and its 95 % interval (NaN for a single patient)."""

    name: str
    patients: int
    change: float
    low: float
    high: float


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """An empty white figure of a size in inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def as_png(figure: Any) -> bytes:
    """A matplotlib figure as PNG bytes, the same for the same drawing."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _words(change: float, low: float, high: float) -> str:
    words = f"{change:.1f}" if math.isnan(low) else f"{change:.1f} [{low:.1f}, {high:.1f}]"
    return words.replace("-", "−")


def forest_plot(found: Synthesis, own: Sequence[OwnSeries] = ()) -> bytes:
    """PNG of a forest plot: change in pain per series with 95 % interval and weight, pooled diamond, prediction bar."""
    pooled, rows = found.pooled, found.rows
    weights = 1 / (np.asarray(found.variances) + pooled.tau2)
    shares = weights / weights.sum()
    places = len(rows) + 2 + (len(own) + 1 if own else 0)
    figure, axes = new_figure(10.5, 1.5 + 0.36 * places)
    figure.set_layout_engine("none")
    axes.set_position((0.27, 0.9 / (1.5 + 0.36 * places), 0.42, 1 - 1.5 / (1.5 + 0.36 * places)))
    for n, (row, effect, variance) in enumerate(zip(rows, found.effects, found.variances, strict=True)):
        half = _Z * math.sqrt(variance)
        _line(axes, -n, effect, effect - half, effect + half, _PUBLISHED, 4 + 14 * math.sqrt(shares[n]))
        _texts(axes, -n, f"{row.series} (n={row.scored})", _words(effect, effect - half, effect + half),
               f"{100 * shares[n]:.0f} %")  # fmt: skip
    place = -len(rows) - 0.4
    _diamond(axes, place, pooled)
    _texts(axes, place, f"{pooled.method}{', Hartung-Knapp' if pooled.hartung_knapp else ''}",
           _words(pooled.effect, pooled.low, pooled.high), "")  # fmt: skip
    for n, one in enumerate(own):
        at = place - 1.6 - n
        _line(axes, at, one.change, one.low, one.high, _OURS, 8)
        _texts(axes, at, f"{one.name} (n={one.patients})", _words(one.change, one.low, one.high), "not pooled")
    _finish_forest(axes, found, place - 1.6 - len(own) if own else place - 1)
    return as_png(figure)


def _line(axes: Any, at: float, middle: float, low: float, high: float, colour: str, size: float) -> None:
    if not math.isnan(low):
        axes.plot([low, high], [at, at], color=colour, lw=1.4)
    axes.plot([middle], [at], "s", color=colour, ms=size)


def _diamond(axes: Any, at: float, pooled: Pooled) -> None:
    if not math.isnan(pooled.prediction_low):
        axes.plot([pooled.prediction_low, pooled.prediction_high], [at, at], color=_QUIET, lw=3, solid_capstyle="butt")
    corners = [(pooled.low, at), (pooled.effect, at + 0.28), (pooled.high, at), (pooled.effect, at - 0.28)]
    axes.fill(*zip(*corners, strict=True), color=_POOLED, zorder=3)


def _texts(axes: Any, at: float, name: str, numbers: str, weight: str) -> None:
    across = axes.get_yaxis_transform()
    axes.text(-0.01, at, name, transform=across, ha="right", va="center", fontsize=9)
    axes.text(1.01, at, numbers, transform=across, ha="left", va="center", fontsize=9)
    axes.text(1.62, at, weight, transform=across, ha="right", va="center", fontsize=9, color=_QUIET)


def _finish_forest(axes: Any, found: Synthesis, bottom: float) -> None:
    pooled = found.pooled
    axes.axvline(0, color=_QUIET, lw=0.8)
    axes.axvline(pooled.effect, color=_POOLED, lw=0.8, ls=":")
    axes.set_ylim(bottom - 0.2, 0.8)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.set_xlabel("Change in pain, NRS or VAS points of 10 (negative is relief)")
    across = axes.get_yaxis_transform()
    axes.text(1.01, 0.75, "Change [95 %]", transform=across, fontsize=9, weight="bold", va="center")
    axes.text(1.62, 0.75, "Weight", transform=across, fontsize=9, weight="bold", ha="right", va="center")
    axes.set_title(
        f"First score after sacroplasty.  τ² {pooled.tau2:.2f}, I² {100 * pooled.i2:.0f} %, grey bar: prediction "
        f"interval.\nScatter of change from an assumed correlation of {found.correlation:g} between before and after.",
        fontsize=9, loc="left", color=_QUIET,
    )  # fmt: skip


def funnel_plot(found: Synthesis) -> bytes:
    """PNG of a funnel plot: change against its standard error, with the 95 % region around the pooled change."""
    figure, axes = new_figure(6.4, 4.8)
    errors = np.sqrt(np.asarray(found.variances))
    deepest = 1.15 * float(errors.max())
    middle = found.pooled.effect
    axes.fill([middle, middle - _Z * deepest, middle + _Z * deepest], [0, deepest, deepest], color="#eeeeee")
    axes.axvline(middle, color=_POOLED, lw=0.8, ls=":")
    axes.plot(found.effects, errors, "o", color=_PUBLISHED)
    taken: list[tuple[float, float]] = []
    for row, effect, error in sorted(zip(found.rows, found.effects, errors, strict=True), key=lambda one: one[2]):
        # Labels of neighbours would lie on each other: the next one goes below its point.
        below = any(abs(effect - x) < 1.5 and abs(error - y) < 0.05 * deepest for x, y in taken)
        axes.annotate(row.series, (effect, error), textcoords="offset points", xytext=(5, -11 if below else 4),
                      fontsize=8)  # fmt: skip
        taken.append((effect, error))
    axes.set_ylim(deepest, 0)
    axes.margins(x=0.25)
    axes.set_xlabel("Change in pain, NRS or VAS points of 10")
    axes.set_ylabel("Standard error")
    few = len(found.rows) < _ENOUGH_FOR_A_FUNNEL
    axes.set_title(f"{len(found.rows)} series: too few to judge asymmetry" if few else "", fontsize=9, loc="left",
                   color=_QUIET)  # fmt: skip
    return as_png(figure)
