"""Who is to be seen or called: appointments that are due or overdue, from the procedures' dates and schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sacroplasty.outcome.follow_up import Appointment, schedule


@dataclass(frozen=True)
class Reminder:
    """One open appointment: whose, which, first, planned and last day, and whether the window has closed."""

    pseudonym: str
    appointment: Appointment
    first: date
    planned: date
    last: date
    overdue: bool

    @property
    def sentence(self) -> str:
        """`P-1: 2 weeks by telephone, due 2026-01-12 to 2026-01-18`."""
        state = "overdue since" if self.overdue else "due until"
        return (
            f"{self.pseudonym}: {self.appointment.name} by {self.appointment.contact}, planned {self.planned}, "
            f"{state} {self.last}"
        )


def reminders(records: Iterable[Mapping[str, Any]], today: date) -> tuple[Reminder, ...]:
    """Open appointments on a day, the longest overdue first.

    An appointment is answered by a contact of its name or within its window. Procedures without a date have none.
    """
    found = []
    for record in records:
        for episode in record.get("episodes") or ():
            for procedure in episode.get("procedures") or ():
                found += _of(record["pseudonym"], episode, procedure, today)
    return tuple(sorted(found, key=lambda one: (one.last, one.pseudonym)))


def _of(pseudonym: str, episode: Mapping[str, Any], procedure: Mapping[str, Any], today: date) -> list[Reminder]:
    if not procedure.get("performed_on"):
        return []
    performed = date.fromisoformat(str(procedure["performed_on"]))
    contacts = episode.get("contacts") or ()
    names = {contact["name"] for contact in contacts}
    days = [contact["day"] for contact in contacts if contact.get("day") is not None]
    open_ones = []
    for one in schedule(procedure.get("schedule") or "default"):
        first, planned, last = one.due(performed)
        answered = one.name in names or any(abs(day - one.day) <= one.window_days for day in days)
        if not answered and first <= today:
            open_ones.append(Reminder(pseudonym, one, first, planned, last, last < today))
    return open_ones
