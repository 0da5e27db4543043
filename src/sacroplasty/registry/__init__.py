"""Patients, procedures and follow-ups over years: one database, SQLite or PostgreSQL, no update lost."""

from sacroplasty.registry.database import backed_up, edited, open_registry
from sacroplasty.registry.examples import example_patients
from sacroplasty.registry.tables import (
    ContactRecord,
    Deposit,
    EarlierTreatment,
    Episode,
    EventRecord,
    LeakRecord,
    PainRecord,
    Patient,
    Procedure,
    Table,
)

__all__ = [
    "ContactRecord",
    "Deposit",
    "EarlierTreatment",
    "Episode",
    "EventRecord",
    "LeakRecord",
    "PainRecord",
    "Patient",
    "Procedure",
    "Table",
    "backed_up",
    "edited",
    "example_patients",
    "open_registry",
]
