"""Changing one row from a form that was open for a while: the version that was shown must still be the stored one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from sacroplasty.errors import CaseError, InputError
from sacroplasty.registry.database import edited
from sacroplasty.registry.record import fact_of, facts_of, kinds


def shown(engine: Engine, kind: str, identifier: str) -> tuple[int, dict[str, Any]]:
    """Version and facts of a row, for a form; InputError where there is none."""
    with edited(engine) as session:
        row: Any = session.get(_kind(kind), identifier)
        if row is None:
            raise InputError("The registry has no such row", got=f"{kind} {identifier}")
        return row.version, {name: getattr(row, name) for name in facts_of(_kind(kind))}


def revised(engine: Engine, kind: str, identifier: str, version: int, changes: Mapping[str, Any]) -> int:
    """Write changed facts of a row that was shown at `version`, and return its new version.

    CaseError where another writer came first; nothing is written then. InputError for an unknown field or a value that
    cannot stand in it.
    """
    columns = facts_of(_kind(kind))
    unknown = sorted(set(changes) - set(columns) | ({"id"} & set(changes)))
    if unknown:
        raise InputError("These fields cannot be changed", got=", ".join(unknown))
    with edited(engine) as session:
        row: Any = session.get(_kind(kind), identifier)
        if row is None:
            raise InputError("The registry has no such row", got=f"{kind} {identifier}")
        if row.version != version:
            raise CaseError("The record was changed by another window", got=f"version {row.version}, shown {version}",
                            remedy="Reload it and repeat the edit")  # fmt: skip
        for name, new in changes.items():
            setattr(row, name, fact_of(_kind(kind), columns[name], new, kind))
        session.flush()
        return int(row.version)


def _kind(kind: str) -> Any:
    if kind not in kinds():
        raise InputError("The registry has no such table", got=kind, remedy=f"Use one of {', '.join(kinds())}")
    return kinds()[kind]
