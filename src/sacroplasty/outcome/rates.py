"""Rates with exact intervals, by group; leaks are never pooled across the modalities that looked for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.outcome.meta_analysis import exact_interval
from sacroplasty.outcome.pain import is_responder

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Rate:
    """Events among a total with the exact (Clopper-Pearson) 95 % interval, all as shares."""

    group: str
    events: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Events over total."""
        return self.events / self.total

    @property
    def sentence(self) -> str:
        """`3 of 10, 30 % (95 % interval 7 to 65 %)`."""
        spread = f"{100 * self.low:.0f} to {100 * self.high:.0f} %"
        return f"{self.events} of {self.total}, {100 * self.share:.0f} % (95 % interval {spread})"


def rate(group: str, events: int, total: int) -> Rate:
    """A rate with its interval; InputError unless 0 <= events <= total and total > 0."""
    low, high = exact_interval(events, total)
    return Rate(group, events, total, low, high)


@dataclass(frozen=True)
class Looked:
    """Whether a procedure leaked, how it was looked for and by which way it was done.

    `leaked` is None where the modality could not tell.
    """

    approach: str
    modality: str
    leaked: bool | None


def leak_rates(found: Iterable[Looked], *, by_approach: bool = False) -> tuple[Rate, ...]:
    """One rate per modality (and approach); procedures that could not be judged count nowhere but in their own row.

    There is no row over all modalities: fluoroscopy sees about 59 % of what CT sees, so the sum means nothing.
    """
    groups: dict[str, list[bool]] = {}
    for one in found:
        if one.leaked is None:
            continue
        group = f"{one.modality or NOT_STATED}, {one.approach}" if by_approach else one.modality or NOT_STATED
        groups.setdefault(group, []).append(one.leaked)
    return tuple(rate(group, sum(leaks), len(leaks)) for group, leaks in sorted(groups.items()))


def pooled_leak_rate(found: Sequence[Looked]) -> Rate:
    """The rate over procedures that one modality judged; InputError for a mixture of modalities or nothing judged."""
    judged = [one for one in found if one.leaked is not None]
    modalities = sorted({one.modality or NOT_STATED for one in judged})
    if len(modalities) != 1 or modalities == [NOT_STATED]:
        raise InputError(
            "Leak rates of different or unknown modalities are not pooled",
            got=", ".join(modalities) or "no procedure that was judged",
            remedy="Ask for one rate per modality",
        )
    return rate(modalities[0], sum(one.leaked is True for one in judged), len(judged))


@dataclass(frozen=True)
class ResponderRates:
    """Shares of patients who got better, by three definitions that the literature uses."""

    thirty_percent: Rate
    two_points: Rate
    complete: Rate


def responder_rates(pairs: Sequence[tuple[float, float]]) -> ResponderRates:
    """Responders among pairs of pain before and after (0-10); pairs without pain before are left out.

    InputError where no pair is left.
    """
    scored = [(before, after) for before, after in pairs if before > 0]
    if not scored:
        raise InputError("Responder rates need patients with pain before and a score after", got="none")
    drop = value("outcome.nrs_much_better")
    return ResponderRates(
        rate("at least 30 % less pain", sum(is_responder(b, a) for b, a in scored), len(scored)),
        rate(f"at least {drop:g} points less", sum(b - a >= drop for b, a in scored), len(scored)),
        rate("no pain", sum(a == 0 for _, a in scored), len(scored)),
    )
