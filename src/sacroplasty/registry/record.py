"""A patient's record as plain data and back: the one form that every import and export passes through.

Plain data holds every stored fact by column name, children under their parents, dates as ISO text. What belongs to the
database and not to the patient (version, time of the last change) stays out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, cast

from sqlalchemy import JSON, CheckConstraint, Column, inspect, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapper, RelationshipProperty, Session

from sacroplasty.errors import CaseError, InputError
from sacroplasty.registry.tables import Patient, Table

Record = dict[str, Any]
_OF_THE_DATABASE = {"version", "changed_at"}


def kinds() -> dict[str, type[Table]]:
    """Every table's class by name, patients first, parents before their children."""
    found: dict[str, type[Table]] = {"patient": Patient}
    for kind in list(found.values()):
        _collect(kind, found)
    return found


def _collect(kind: type[Table], found: dict[str, type[Table]]) -> None:
    for child in children(kind).values():
        found[child.__tablename__] = child
        _collect(child, found)


def children(kind: type[Table]) -> dict[str, type[Table]]:
    """The lists a row of this kind owns, by attribute name."""
    owned = [r for r in _mapper(kind).relationships if r.cascade.delete_orphan]
    return {r.key: _target(r) for r in owned}


def _target(relation: RelationshipProperty[Any]) -> type[Table]:
    return relation.mapper.class_


def _mapper(kind: type[Table]) -> Mapper[Any]:
    return inspect(kind)


def _table(kind: type[Table]) -> SqlTable:
    return cast("SqlTable", kind.__table__)


def facts_of(kind: type[Table]) -> dict[str, Column[Any]]:
    """The columns that hold facts: everything but keys to parents and what belongs to the database."""
    columns = _table(kind).columns
    return {c.name: c for c in columns if c.name not in _OF_THE_DATABASE and not c.foreign_keys}


def closed_words(kind: type[Table], column: str) -> tuple[str, ...]:
    """The words that a column is limited to by the database; empty where any text may stand."""
    constraints = [c for c in _table(kind).constraints if isinstance(c, CheckConstraint)]
    found = [c.info["words"] for c in constraints if "words" in c.info and str(c.name).endswith(f"_{column}")]
    return found[0] if found else ()


def usual_words(kind: type[Table], column: str) -> tuple[str, ...]:
    """The words listed for a column, whether or not others may stand there."""
    return closed_words(kind, column) or facts_of(kind)[column].info.get("words", ())


def parent_of(kind: type[Table]) -> str:
    """The kind that a row of this kind belongs to; empty for patients."""
    keys = _table(kind).foreign_keys
    return next((key.column.table.name for key in keys), "")


def record_of(row: Table) -> Record:
    """Plain data of a row and all it owns; empty text counts as unknown."""
    kind = type(row)
    data: Record = {}
    for name, column in facts_of(kind).items():
        value = getattr(row, name)
        if value is None or value == "":
            value = _usual(column)
        data[name] = value.isoformat() if isinstance(value, date) else value
    for name in children(kind):
        data[name] = sorted((record_of(child) for child in getattr(row, name)), key=_place)
    return data


def _place(data: Record) -> tuple[Any, ...]:
    """Order among siblings, the same from every database: by number, day, then identifier."""
    day = data.get("day")
    return data.get("order") or 0, day is None, day or 0.0, data.get("id") or ""


def patient_of(data: Mapping[str, Any]) -> Patient:
    """The patient that plain data describes, not yet stored; InputError names the field that cannot be read."""
    row = _row(Patient, data, f"patient {data.get('pseudonym', '')!s}")
    assert isinstance(row, Patient)
    return row


def _row(kind: type[Table], data: Any, where: str) -> Table:
    if not isinstance(data, Mapping):
        raise InputError(f"The {where} is not a record", got=type(data).__name__)
    columns, lists = facts_of(kind), children(kind)
    unknown = sorted(set(data) - set(columns) - set(lists))
    if unknown:
        raise InputError(f"The {where} has unknown fields", got=", ".join(unknown), remedy="Remove them, or update")
    values = {name: fact_of(kind, column, data.get(name), where) for name, column in columns.items()}
    lacking = [name for name, value in values.items() if value is None and not columns[name].nullable and name != "id"]
    if lacking:
        raise InputError(f"The {where} lacks fields that must be there", got=", ".join(lacking))
    given = {name: value for name, value in values.items() if name != "id" or value is not None}
    owned = {name: [_row(child, item, f"{where}, {child.__tablename__} {n}")
                    for n, item in enumerate(data.get(name) or [], start=1)]
             for name, child in lists.items()}  # fmt: skip
    return kind(**given, **owned)


def fact_of(kind: type[Table], column: Column[Any], value: Any, where: str) -> Any:
    """A value as it may stand in a column; InputError names the column where it cannot."""
    if value is None or value == "":
        return _usual(column)
    name = column.name
    words = closed_words(kind, name)
    if words and value not in words:
        raise InputError(f"The {where} has a word outside its list in '{name}'", got=str(value),
                         remedy=f"Use one of: {', '.join(words)}")  # fmt: skip
    try:
        return _READERS[list if isinstance(column.type, JSON) else column.type.python_type](value)
    except (TypeError, ValueError):
        raise InputError(f"The {where} has an unreadable '{name}'", got=repr(value)[:80]) from None


def _usual(column: Column[Any]) -> Any:
    """What a column holds where nothing is said."""
    if isinstance(column.type, JSON):
        return []
    default: Any = column.default
    return default.arg if default is not None and default.is_scalar else None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _truth(value: Any) -> bool:
    if value not in (True, False) or not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError
    value.encode()  # half a surrogate pair is no text
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError
    if any("\n" in _text(item) for item in value):
        raise ValueError
    return list(value)


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)


_READERS: dict[type, Callable[[Any], Any]] = {
    float: _number, int: _whole, bool: _truth, str: _text, list: _texts, date: _day,
}  # fmt: skip


def stored_records(session: Session) -> list[Record]:
    """Plain data of every patient, by pseudonym."""
    found = [record_of(patient) for patient in session.scalars(select(Patient))]
    return sorted(found, key=lambda data: data["pseudonym"])


def add_records(session: Session, records: Iterable[Mapping[str, Any]], *, known: str = "refuse") -> list[str]:
    """Store records and return the pseudonyms that changed something.

    A pseudonym that is there already with the same facts is left alone. With other facts `known` decides: "refuse"
    raises CaseError and nothing is stored, "skip" keeps what is there, "replace" takes the new record.
    """
    if known not in {"refuse", "skip", "replace"}:
        raise InputError("What to do with known patients is unclear", got=known, remedy="refuse, skip or replace")
    changed = []
    for data in records:
        new = patient_of(data)
        old = session.scalars(select(Patient).where(Patient.pseudonym == new.pseudonym)).one_or_none()
        if old is not None:
            if known == "skip" or same_facts(record_of(old), record_of(new)):
                continue
            if known == "refuse":
                raise CaseError("The registry has other facts about this patient", got=new.pseudonym,
                                remedy="Say whether to skip or to replace known patients")  # fmt: skip
            session.delete(old)
            session.flush()
        session.add(new)
        changed.append(new.pseudonym)
        try:
            session.flush()
        except IntegrityError as error:
            session.rollback()
            raise InputError("The record breaks a rule of the registry", got=str(error.orig).strip()[:160]) from error
    return changed


def same_facts(one: Record, other: Record) -> bool:
    """Two records tell the same, whatever their identifiers."""
    return without_ids(one) == without_ids(other)


def without_ids(data: Any) -> Any:
    """Plain data without row identifiers and what is empty, siblings in an order that only their facts decide."""
    if isinstance(data, Mapping):
        kept = {k: without_ids(v) for k, v in data.items() if k != "id"}
        return {k: v for k, v in kept.items() if v is not None and v != []}
    if isinstance(data, list):
        items = [without_ids(item) for item in data]
        return sorted(items, key=repr) if items and isinstance(items[0], dict) else items
    return data
