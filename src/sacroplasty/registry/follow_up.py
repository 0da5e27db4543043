"""Recording a contact after a procedure, with the pain that was told in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, select

from sacroplasty.errors import InputError
from sacroplasty.registry.database import edited
from sacroplasty.registry.record import fact_of, facts_of
from sacroplasty.registry.tables import ContactRecord, Episode, PainRecord, Patient


def record_contact(
    engine: Engine,
    pseudonym: str,
    contact: Mapping[str, Any],
    *,
    nrs: float | None = None,
    words: str | None = None,
    after: str = "sacroplasty",
) -> None:
    """Store a contact of a patient's latest episode, and its score in numbers or words where one was told.

    InputError where the patient is unknown, has no episode, the score is not between 0 and 10, or a field is not a
    contact's.
    """
    columns = facts_of(ContactRecord)
    unknown = sorted(set(contact) - set(columns) | ({"id"} & set(contact)))
    if unknown:
        raise InputError("These fields are not a contact's", got=", ".join(unknown))
    if nrs is not None and not 0 <= nrs <= 10:
        raise InputError("NRS runs from 0 to 10", got=f"{nrs:g}", remedy="Divide a 0-100 mm VAS by ten")
    with edited(engine) as session:
        patient = session.scalars(select(Patient).where(Patient.pseudonym == pseudonym)).one_or_none()
        if patient is None or not patient.episodes:
            raise InputError("The registry does not know this patient, or no episode of theirs", got=pseudonym)
        episode: Episode = patient.episodes[-1]
        episode.contacts.append(
            ContactRecord(**{name: fact_of(ContactRecord, columns[name], v, "contact") for name, v in contact.items()})
        )
        if nrs is not None or words:
            last = max((score.order for score in episode.pain_scores), default=0)
            episode.pain_scores.append(
                PainRecord(order=last + 1, day=contact.get("day"), nrs=nrs, words=words, after=after)
            )
