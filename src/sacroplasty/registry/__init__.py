"""Patients, procedures and follow-ups over years: one database, SQLite or PostgreSQL, no update lost.

Names are loaded when they are first asked for, so that the command can list its verbs without a database library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sacroplasty.registry.database import backed_up, edited, open_registry
    from sacroplasty.registry.examples import example_patients
    from sacroplasty.registry.tables import (
        ChecklistItem,
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

_HOMES = {
    "database": ("backed_up", "edited", "open_registry"),
    "examples": ("example_patients",),
    "tables": (
        "ChecklistItem", "ContactRecord", "Deposit", "EarlierTreatment", "Episode", "EventRecord", "LeakRecord",
        "PainRecord", "Patient", "Procedure", "Table",
    ),
}  # fmt: skip

__all__ = [
    "ChecklistItem",
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


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
