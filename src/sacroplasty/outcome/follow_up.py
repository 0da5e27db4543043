"""When a patient is seen again, and whether an answer came in its window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from sacroplasty.errors import InputError


class Contact(StrEnum):
    """How the patient is reached."""

    VISIT = "visit"
    TELEPHONE = "telephone"


@dataclass(frozen=True)
class Appointment:
    """One planned contact: days after the procedure, window in days either way, how."""

    name: str
    day: int
    window_days: int
    contact: Contact = Contact.VISIT

    def due(self, procedure: date) -> tuple[date, date, date]:
        """First, planned and last day of the window."""
        planned = procedure + timedelta(days=self.day)
        spread = timedelta(days=self.window_days)
        return planned - spread, planned, planned + spread


SCHEDULES: dict[str, tuple[Appointment, ...]] = {
    "default": (
        Appointment("day 1", 1, 1), Appointment("2 weeks", 14, 3, Contact.TELEPHONE),
        Appointment("1 month", 30, 7), Appointment("3 months", 91, 14, Contact.TELEPHONE),
        Appointment("6 months", 182, 21), Appointment("12 months", 365, 30),
    ),
    "zhang-2008": (
        Appointment("day 1", 1, 1), Appointment("2 weeks", 14, 3, Contact.TELEPHONE),
        Appointment("3 months", 91, 14, Contact.TELEPHONE), Appointment("20 weeks", 140, 14, Contact.TELEPHONE),
    ),
    "yeo-2024": (Appointment("day 1", 1, 1), Appointment("4 months", 122, 21)),
    "andresen-2017": (
        Appointment("day 2", 2, 1), Appointment("6 months", 182, 21), Appointment("12 months", 365, 30),
        Appointment("18 months", 548, 30),
    ),
    "tian-2020": (
        Appointment("day 3", 3, 1), Appointment("1 month", 30, 7), Appointment("3 months", 91, 14),
        Appointment("6 months", 182, 21), Appointment("12 months", 365, 30), Appointment("18 months", 548, 30),
    ),
}  # fmt: skip


def schedule(name: str) -> tuple[Appointment, ...]:
    """A template by name; InputError lists the names where it is unknown."""
    if name not in SCHEDULES:
        raise InputError("The follow-up schedule is unknown", got=name, remedy=f"Use one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def overdue(procedure: date, today: date, answered: set[str], template: str = "default") -> tuple[Appointment, ...]:
    """Appointments whose window has closed without an answer."""
    return tuple(one for one in schedule(template) if one.name not in answered and one.due(procedure)[2] < today)
