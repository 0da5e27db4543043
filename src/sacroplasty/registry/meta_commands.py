"""Verbs of `sacroplasty registry` that compute: the cohort in figures, pooled series with plots, the literature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sacroplasty.registry.commands import DEFAULT_PLACE, PlaceOption, _records, registry_app

if TYPE_CHECKING:
    from sacroplasty.outcome.series import Synthesis
    from sacroplasty.registry.analysis import CohortSummary

__all__ = ["meta_lines", "registry_app", "summary_lines"]

ExamplesOption = Annotated[bool, typer.Option("--examples", help="Count the papers' example patients too.")]


@registry_app.command()
def summary(with_examples: ExamplesOption = False, place: PlaceOption = DEFAULT_PLACE) -> None:
    """Print the cohort's figures: change, responders, relief, course over time, leaks by modality."""
    from sacroplasty.registry.analysis import courses, summarised

    for line in summary_lines(summarised(courses(_records(place), with_examples=with_examples))):
        typer.echo(line)


def summary_lines(found: CohortSummary) -> list[str]:
    """A cohort's figures as sentences."""
    lines = [f"{found.episodes} episodes with a procedure"]
    if found.change is not None:
        one = found.change
        lines.append(f"Pain {one.before_mean:.1f} to {one.after_mean:.1f} within a month in {one.patients} patients, "
                     f"change {one.mean_change:.1f} (95 % interval {one.low:.1f} to {one.high:.1f})")  # fmt: skip
    if found.responders is not None:
        rates = (found.responders.thirty_percent, found.responders.two_points, found.responders.complete)
        lines += [f"Responders, {one.group}: {one.sentence}" for one in rates]
    if found.relief is not None:
        median = (
            "not reached" if found.relief.median_days != found.relief.median_days else f"{found.relief.median_days:g} d"
        )
        lines.append(f"Relief was followed in {found.relief.patients} patients; median time until it is lost: {median}")
    if found.over_time is not None:
        lines += [f"Mixed model, {one.time}: change {one.change:.1f} ({one.low:.1f} to {one.high:.1f}), "
                  f"{one.patients} patients" for one in found.over_time.effects]  # fmt: skip
    lines += [f"Leaks on {one.group}: {one.sentence}" for one in found.leaks_by_approach]
    if found.not_assessable:
        lines.append(f"Leaks not assessable: {found.not_assessable} procedures")
    return [*lines, *(f"Not computed: {line}" for line in found.missing)]


@registry_app.command()
def meta(
    out: Annotated[Path | None, typer.Option(help="Folder for forest and funnel plot.")] = None,
    method: Annotated[str, typer.Option(help="fixed, DerSimonian-Laird or REML.")] = "REML",
    hartung_knapp: Annotated[bool, typer.Option(help="Interval by Hartung and Knapp.")] = True,
    with_examples: ExamplesOption = False,
    place: Annotated[str | None, typer.Option("--registry", help="Draw this registry's cohort beside.")] = None,
) -> None:
    """Pool the published series, compare with published reviews, and draw our cohort beside them."""
    from sacroplasty.errors import InputError
    from sacroplasty.io import write_atomically
    from sacroplasty.outcome.forest import forest_plot, funnel_plot
    from sacroplasty.outcome.meta_analysis import Method
    from sacroplasty.outcome.series import pooled_change
    from sacroplasty.registry.analysis import courses, own_series

    if method not in list(Method):
        raise InputError("The method is unknown", got=method, remedy=f"Use one of {', '.join(Method)}")
    found = pooled_change(Method(method), hartung_knapp=hartung_knapp)
    own = own_series(courses(_records(place), with_examples=with_examples)) if place else ()
    for line in meta_lines(found):
        typer.echo(line)
    for one in own:
        typer.echo(f"{one.name}: {one.change:.1f} ({one.low:.1f} to {one.high:.1f}), n={one.patients}, not pooled")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, png in (("forest.png", forest_plot(found, own)), ("funnel.png", funnel_plot(found))):
            write_atomically(out / name, lambda stream, png=png: stream.write(png))  # type: ignore[misc]
        typer.echo(f"Wrote {out / 'forest.png'} and {out / 'funnel.png'}")


def meta_lines(found: Synthesis) -> list[str]:
    """The pool, every row left out with its reason, and the published reviews beside ours."""
    from sacroplasty.outcome.reproduction import comparisons

    pooled = found.pooled
    lines = [
        f"Change in pain over {pooled.studies} series: {pooled.effect:.2f} (95 % interval {pooled.low:.2f} to "
        f"{pooled.high:.2f}), prediction {pooled.prediction_low:.2f} to {pooled.prediction_high:.2f}, "
        f"tau2 {pooled.tau2:.2f}, I2 {100 * pooled.i2:.0f} %",
        f"Assumed correlation of pain before and after: {found.correlation:g}",
    ]
    lines += [f"Pooled: {row.series}, {row.source}" for row in found.rows]
    lines += [f"Left out: {name} {reason}" for name, reason in found.left_out]
    for one in comparisons():
        state = "reproduced" if one.reproduced else "differs"
        lines.append(f"{one.review}, {one.measure}: printed {one.printed:g}, here {one.ours:.2f}, {state}. {one.why}")
    return lines


@registry_app.command()
def literature(
    topic: Annotated[str | None, typer.Argument(help="volume, mechanism, risk, relief, guidance, ...")] = None,
) -> None:
    """Print what the literature says on a topic, each claim with its source and what does not fit."""
    from sacroplasty.outcome.literature import TOPICS, claims, fluoroscopy_only

    for name in (topic,) if topic else TOPICS:
        found = claims(name)
        typer.echo(f"{name}: {TOPICS[name]}")
        for claim in found:
            typer.echo(f"  {claim.sentence}")
        if name == "guidance":
            for row in fluoroscopy_only():
                typer.echo(f"  {row.series}, {row.patients} patients: {row.source}")
