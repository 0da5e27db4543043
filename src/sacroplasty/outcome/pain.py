"""Pain over time: scores and words, each change with the intervention it belongs to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from sacroplasty.errors import InputError
from sacroplasty.evidence import value


class Response(StrEnum):
    """What a change in pain amounts to."""

    COMPLETE = "complete relief"
    MUCH_BETTER = "much better"
    BETTER = "better"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    UNKNOWN = "not scored"


@dataclass(frozen=True)
class PainScore:
    """Pain on one day: NRS 0 to 10 or None where only words are known; `after` names the intervention before it."""

    when: date
    nrs: float | None
    words: str = ""
    after: str = "baseline"
    on_walking: bool | None = None

    def __post_init__(self) -> None:
        if self.nrs is not None and not 0 <= self.nrs <= 10:
            raise InputError("NRS runs from 0 to 10", got=str(self.nrs), remedy="Divide a 0-100 mm VAS by ten")
        if self.nrs is None and not self.words:
            raise InputError("A pain score needs a number or words", got="neither")


@dataclass(frozen=True)
class PainChange:
    """The change that belongs to one intervention: last score before it and first after it."""

    intervention: str
    before: float | None
    after: float | None
    response: Response

    @property
    def points(self) -> float | None:
        """Change in points, negative is relief; None where a side is not scored."""
        return None if self.before is None or self.after is None else self.after - self.before


def response_of(before: float | None, after: float | None) -> Response:
    """What a change amounts to, by the minimal important differences of PMID 15207508."""
    if before is None or after is None:
        return Response.UNKNOWN
    drop = before - after
    if after == 0 and before > 0:
        return Response.COMPLETE
    share = drop / before if before else 0.0
    if drop >= value("outcome.nrs_much_better") or share >= value("outcome.nrs_much_better_share"):
        return Response.MUCH_BETTER
    if drop >= value("outcome.nrs_minimal_change") or share >= value("outcome.nrs_minimal_change_share"):
        return Response.BETTER
    return Response.WORSE if drop <= -value("outcome.nrs_minimal_change") else Response.UNCHANGED


def attributed(scores: tuple[PainScore, ...]) -> tuple[PainChange, ...]:
    """One change per intervention in the order of the days: what it did, not what came before it.

    Yeo's patient: 10 to 6 belongs to the caudal block, 6 to 2 to the sacroplasty, though the whole drop is 8.
    """
    ordered = sorted(scores, key=lambda score: score.when)
    changes: list[PainChange] = []
    for earlier, later in itertools.pairwise(ordered):
        if later.after != earlier.after:
            changes.append(PainChange(later.after, earlier.nrs, later.nrs, response_of(earlier.nrs, later.nrs)))
    return tuple(changes)


def is_responder(before: float, after: float) -> bool:
    """At least 30 % less pain (Dougherty 2014); False where there was none before."""
    return before > 0 and (before - after) / before >= value("outcome.responder_share")
