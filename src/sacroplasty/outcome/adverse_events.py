"""Adverse events as facts; every grade is computed from them, with the scheme and its year."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sacroplasty.errors import InputError


class Therapy(IntEnum):
    """The gravest treatment that the event needed."""

    NONE = 0
    OBSERVATION = 1
    MINOR = 2
    MAJOR = 3
    URGENT = 4


class Sequelae(IntEnum):
    """What stays."""

    NONE = 0
    MILD = 1
    SEVERE = 2
    DEATH = 3


@dataclass(frozen=True)
class AdverseEvent:
    """What happened: name, therapy, extra hours in hospital, what stays, solved in the same session, symptoms."""

    name: str
    therapy: Therapy
    extra_hospital_hours: float = 0.0
    sequelae: Sequelae = Sequelae.NONE
    solved_in_session: bool = False
    symptomatic: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.extra_hospital_hours < 24 * 3650:
            raise InputError("Extra hours in hospital must not be negative", got=str(self.extra_hospital_hours))


@dataclass(frozen=True)
class Grade:
    """A grade with the scheme it comes from."""

    scheme: str
    year: int
    grade: str


def cirse_2017(event: AdverseEvent) -> Grade:
    """CIRSE 2017: 1 no more than the session, 2 observed under 48 h, 3 therapy or stay, 4, 5 sequelae, 6 death."""
    if event.sequelae is Sequelae.DEATH:
        grade = 6
    elif event.sequelae is Sequelae.SEVERE:
        grade = 5
    elif event.sequelae is Sequelae.MILD:
        grade = 4
    elif (event.therapy >= Therapy.MINOR and not event.solved_in_session) or event.extra_hospital_hours > 48:
        grade = 3
    else:
        grade = 2 if event.extra_hospital_hours > 0 else 1
    return Grade("CIRSE", 2017, str(grade))


def ctcae_5(event: AdverseEvent) -> Grade:
    """CTCAE 5.0: 1 observation, 2 minimal intervention, 3 hospital or disabling, 4 urgent, 5 death."""
    if event.sequelae is Sequelae.DEATH:
        grade = 5
    elif event.therapy is Therapy.URGENT:
        grade = 4
    elif event.therapy is Therapy.MAJOR or event.extra_hospital_hours > 0 or event.sequelae is Sequelae.SEVERE:
        grade = 3
    elif event.therapy is Therapy.MINOR:
        grade = 2
    else:
        grade = 1
    return Grade("CTCAE", 2017, str(grade))


def sir_classic(event: AdverseEvent) -> Grade:
    """SIR classic: A and B minor, C to F major (therapy with short stay, long stay, permanent sequelae, death)."""
    if event.sequelae is Sequelae.DEATH:
        letter = "F"
    elif event.sequelae is not Sequelae.NONE:
        letter = "E"
    elif event.therapy >= Therapy.MAJOR and event.extra_hospital_hours > 48:
        letter = "D"
    elif event.therapy >= Therapy.MAJOR:
        letter = "C"
    else:
        letter = "A" if event.therapy is Therapy.NONE else "B"
    return Grade("SIR classic", 2003, letter)


def grades(event: AdverseEvent) -> tuple[Grade, ...]:
    """The event in every scheme."""
    return cirse_2017(event), ctcae_5(event), sir_classic(event)
