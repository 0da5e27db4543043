"""The registry's own cohort in figures: change, responders, how long relief lasts, leaks by modality, course.

Works on plain records, so that a shared or imported registry is analysed by the same lines. The papers' example
patients are left out unless asked for: they are in the published table already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.outcome.decision import DecisionFacts
from sacroplasty.outcome.follow_up import schedule
from sacroplasty.outcome.forest import OwnSeries
from sacroplasty.outcome.mixed_model import BASELINE, PainOverTime, Scored, pain_over_time
from sacroplasty.outcome.paired import PairedChange, paired_change
from sacroplasty.outcome.rates import Looked, Rate, ResponderRates, leak_rates, responder_rates
from sacroplasty.outcome.relief import Followed, ReliefCurve, followed, relief_curve

_PROCEDURE = "sacroplasty"
_NOT_ASSESSABLE = "not assessable"


@dataclass(frozen=True)
class Course:
    """One episode: pain before its first sacroplasty, (day, NRS) after it, approach, and the search for leaks."""

    pseudonym: str
    approach: str
    before: float | None
    later: tuple[tuple[float, float], ...]
    looked: tuple[Looked, ...]

    @property
    def early(self) -> float | None:
        """First score within a month."""
        limit = value("assumptions.outcome_early_days")
        return next((nrs for day, nrs in self.later if 0 <= day <= limit), None)


def courses(records: Iterable[Mapping[str, Any]], *, with_examples: bool = False) -> tuple[Course, ...]:
    """One course per episode that has a sacroplasty, in the records' order."""
    return tuple(
        _course(record["pseudonym"], episode)
        for record in records
        if with_examples or not record.get("example")
        for episode in record.get("episodes") or ()
        if episode.get("procedures")
    )


def _course(pseudonym: str, episode: Mapping[str, Any]) -> Course:
    scores = [one for one in episode.get("pain_scores") or () if one.get("nrs") is not None]
    begun = next((n for n, one in enumerate(scores) if one["after"] == _PROCEDURE), len(scores))
    before = scores[begun - 1]["nrs"] if begun else None
    later = sorted((one["day"], one["nrs"]) for one in scores[begun:] if one.get("day") is not None)
    procedures = episode["procedures"]
    looked = tuple(found for procedure in procedures for found in _looked(procedure))
    return Course(pseudonym, procedures[0]["approach"], before, tuple(later), looked)


def _looked(procedure: Mapping[str, Any]) -> tuple[Looked, ...]:
    """One finding per modality that looked; a procedure nobody could judge is one finding without answer."""
    leaks = procedure.get("leaks") or ()
    modalities = dict.fromkeys([procedure.get("leak_modality"), *(leak["modality"] for leak in leaks)])
    seen = [name for name in modalities if name and name != _NOT_ASSESSABLE]
    if not seen:
        return (Looked(procedure["approach"], _NOT_ASSESSABLE, None),)
    return tuple(Looked(procedure["approach"], name, any(leak["modality"] == name for leak in leaks)) for name in seen)


@dataclass(frozen=True)
class CohortSummary:
    """Figures of a cohort; what could not be computed is None and `missing` says why."""

    episodes: int
    change: PairedChange | None
    responders: ResponderRates | None
    relief: ReliefCurve | None
    over_time: PainOverTime | None
    leaks: tuple[Rate, ...]
    leaks_by_approach: tuple[Rate, ...]
    not_assessable: int
    missing: tuple[str, ...]


def summarised(found: tuple[Course, ...]) -> CohortSummary:
    """Every figure of a cohort; never fails for lack of data."""
    missing: list[str] = []
    pairs = [(one.before, one.early) for one in found if one.before is not None and one.early is not None]
    watched = [kept for one in found if (kept := _relief(one)) is not None]

    def tried(name: str, make: Any) -> Any:
        try:
            return make()
        except InputError as error:
            missing.append(f"{name}: {error.sentence}")
            return None

    looked = [one for course in found for one in course.looked]
    return CohortSummary(
        len(found),
        tried("change", lambda: paired_change(pairs)),
        tried("responders", lambda: responder_rates(pairs)),
        tried("relief", lambda: relief_curve(watched)),
        tried("course over time", lambda: pain_over_time(_scored(found), [one.name for one in schedule("default")])),
        leak_rates(looked),
        leak_rates(looked, by_approach=True),
        sum(one.leaked is None for one in looked),
        tuple(missing),
    )


def _relief(one: Course) -> Followed | None:
    return followed(one.before, one.later) if one.before is not None else None


def _scored(found: tuple[Course, ...]) -> list[Scored]:
    """The first score in each window of the default schedule; patients without a score before are left out."""
    scores: list[Scored] = []
    for number, one in enumerate(found):
        if one.before is None:
            continue
        patient = f"{one.pseudonym}/{number}"
        scores.append(Scored(patient, BASELINE, one.before))
        for planned in schedule("default"):
            near = (nrs for day, nrs in one.later if abs(day - planned.day) <= planned.window_days)
            nrs = next(near, None)
            if nrs is not None:
                scores.append(Scored(patient, planned.name, nrs))
    return scores


def own_series(found: tuple[Course, ...], name: str = "this registry") -> tuple[OwnSeries, ...]:
    """The cohort's early change per approach, to be drawn beside the published series."""
    series = []
    for approach in sorted({one.approach for one in found}):
        pairs = [
            (one.before, one.early)
            for one in found
            if one.approach == approach and one.before is not None and one.early is not None
        ]
        if pairs:
            change = paired_change(pairs)
            series.append(
                OwnSeries(f"{name}, {approach}", change.patients, change.mean_change, change.low, change.high)
            )
    return tuple(series)


def decision_facts(episode: Mapping[str, Any]) -> DecisionFacts:
    """What of an episode the decision rests on; instability is taken from a stored SINS score."""
    score = episode.get("sins_score")
    therapies = {one["kind"] for one in episode.get("treatments") or ()}
    return DecisionFacts(
        unstable=None if score is None else score >= value("suitability.sins_potentially_unstable"),
        acute_deterioration=episode.get("acute_deterioration"),
        irradiated_before=bool(therapies & {"radiotherapy", "chemoradiotherapy"}),
        limited_life_expectancy=episode.get("limited_life_expectancy"),
        preference=episode.get("preference") or "",
        refused=tuple(episode.get("alternatives_refused") or ()),
        override_reason=episode.get("override_reason") or "",
    )
