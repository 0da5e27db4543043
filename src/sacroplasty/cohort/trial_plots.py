"""The pictures of a trial: who the virtual patients are, rates with exact intervals, where simulated cement leaks."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sacroplasty.cohort.job import Row
from sacroplasty.cohort.virtual_patient import VirtualPatient
from sacroplasty.plan import Approach

# Okabe and Ito's palette, one colour per guidance mode in the order they are met.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")
SAID = "simulated, not validated"
MOST_PLACES = 14


def trial_pngs(people: Sequence[VirtualPatient], cells: Sequence[Row], rates: Sequence[Any]) -> dict[str, bytes]:
    """PNG bytes by file name."""
    pictures = {"patients.png": patients_png(people)}
    if cells:
        pictures |= {"rates.png": rates_png(rates), "leaks.png": leaks_png(cells)}
    return pictures


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def patients_png(people: Sequence[VirtualPatient]) -> bytes:
    """Distributions of what the virtual patients were drawn from."""
    figure = _figure(9.0, 3.0)
    axes = figure.subplots(1, 4)
    for place, kinds in enumerate(("tumour", "fracture")):
        own = [p for p in people if p.tumour == (kinds == "tumour")]
        axes[0].hist([p.lumbar_hu for p in own], 25, color=COLOURS[place], alpha=0.7, label=kinds)
        axes[1].hist([p.radius_mm for p in own], 25, color=COLOURS[place], alpha=0.7)
    axes[0].set_xlabel("L1-L3, HU")
    axes[0].legend(fontsize=7, frameon=False)
    axes[0].set_ylabel("virtual patients")
    axes[1].set_xlabel("lesion radius, mm")
    for axis, words in ((axes[2], [f"{p.level} {'body' if p.place == 'body' else 'ala'}" for p in people]),
                        (axes[3], [str(p.kind) for p in people])):  # fmt: skip
        counts = sorted(Counter(words).items())
        axis.barh([name for name, _ in counts], [n for _, n in counts], color=COLOURS[0])
        axis.tick_params(labelsize=8)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{len(people)} virtual patients ({SAID})", fontsize=10)
    return _png(figure)


def rates_png(rates: Sequence[Any]) -> bytes:
    """Every outcome by approach and guidance mode, with its exact 95 % interval and its denominator."""
    outcomes = [
        o for o in ("feasible", "success", "breach", "leak", "neural_leak") if any(r.outcome == o for r in rates)
    ]
    guidances = list(dict.fromkeys(r.guidance for r in rates))
    approaches = [str(a) for a in Approach if any(r.approach == a for r in rates)]
    figure = _figure(2.6 * len(outcomes) + 1.4, 4.2)
    axes = figure.subplots(1, len(outcomes), sharey=True, squeeze=False)[0]
    for axis, outcome in zip(axes, outcomes, strict=True):
        for n, guidance in enumerate(guidances):
            own = {r.approach: r for r in rates if r.outcome == outcome and r.guidance == guidance}
            # Feasibility is the plan's, before anything is placed: the same for every guidance mode.
            if outcome == "feasible" and n:
                continue
            for row, approach in enumerate(approaches):
                rate = own.get(approach)
                if rate is None:
                    continue
                y = row + (0.0 if outcome == "feasible" else 0.24 * (n - (len(guidances) - 1) / 2))
                colour = "#555555" if outcome == "feasible" else COLOURS[n]
                axis.plot([100 * rate.low, 100 * rate.high], [y, y], color=colour, linewidth=1.5)
                axis.plot([100 * rate.rate], [y], "o", color=colour, markersize=4)
                axis.text(101, y, f"{rate.events}/{rate.total}", fontsize=6, va="center", color=colour)
        axis.set_title(outcome.replace("_", " "), fontsize=9)
        axis.set_xlim(-2, 100)
        axis.set_xlabel("%", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(approaches)), [a.replace("-", " ") for a in approaches], fontsize=8)
    axes[0].invert_yaxis()
    handles = [axes[0].plot([], [], "o-", color=COLOURS[n], label=g)[0] for n, g in enumerate(guidances)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(guidances), fontsize=8, frameon=False)
    figure.suptitle(f"Virtual trial, exact 95 % intervals ({SAID})", fontsize=10)
    return _png(figure)


def leaks_png(cells: Sequence[Row]) -> bytes:
    """Share of simulated injections with cement in each compartment, by approach."""
    done = [cell for cell in cells if cell.get("delivered")]
    approaches = [str(a) for a in Approach if any(c["approach"] == a for c in done)]
    counts: dict[str, Counter[str]] = {a: Counter() for a in approaches}
    totals = Counter(c["approach"] for c in done)
    for cell in done:
        counts[cell["approach"]].update(name for name in cell["leaks"].split("; ") if name)
    places = [name for name, _ in sum(counts.values(), Counter()).most_common(MOST_PLACES)]
    figure = _figure(7.5, 1.6 + 0.28 * max(len(places), 1))
    axis = figure.subplots()
    shares = [[100.0 * counts[a][place] / totals[a] for a in approaches] for place in places] or [[0.0]]
    image = axis.imshow(shares, cmap="viridis", vmin=0.0, aspect="auto")
    for row, values in enumerate(shares if places else ()):
        for column, share in enumerate(values):
            if share:
                axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7,
                          color="white" if share < 0.6 * max(map(max, shares)) else "black")  # fmt: skip
    axis.set_xticks(
        range(len(approaches)), [f"{a.replace('-', chr(10), 1)}\nn = {totals[a]}" for a in approaches], fontsize=7
    )
    axis.set_yticks(range(len(places)), places, fontsize=7)
    figure.colorbar(image, label="% of injections")
    axis.set_title(f"Where cement leaks ({SAID})", fontsize=10)
    return _png(figure)
