"""Records as flat tables: one list of rows per kind, each row with its parent's identifier; and as CSV files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import JSON

from sacroplasty.errors import InputError
from sacroplasty.registry.record import Record, children, facts_of, kinds
from sacroplasty.registry.tables import Patient, Table

Rows = dict[str, list[Record]]
PARENT = "parent_id"
# A spreadsheet would run a cell that begins with one of these; such a text is written behind an apostrophe.
_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "'")


def flat(records: Iterable[Mapping[str, Any]]) -> Rows:
    """Rows per kind in the records' order; every row has `id` and, but for patients, `parent_id`."""
    rows: Rows = {name: [] for name in kinds()}

    def walk(kind: type[Table], data: Mapping[str, Any], number: str, parent: str | None) -> None:
        own = {name: data.get(name) for name in facts_of(kind)}
        own["id"] = own["id"] or number
        rows[kind.__tablename__].append(own if parent is None else {PARENT: parent, **own})
        for name, child in children(kind).items():
            for n, item in enumerate(data.get(name) or [], start=1):
                walk(child, item, f"{own['id']}-{child.__tablename__}-{n}", own["id"])

    for data in records:
        walk(Patient, data, f"patient-{data['pseudonym']}", None)
    return rows


def nested(rows: Mapping[str, list[Record]]) -> list[Record]:
    """The records that flat rows describe; InputError for a row whose parent is missing or an identifier met twice."""
    made: dict[tuple[str, str], Record] = {}
    for name in kinds():
        for row in rows.get(name, []):
            identifier = str(row.get("id") or "")
            if not identifier or (name, identifier) in made:
                raise InputError(f"A row of {name} lacks its own identifier", got=identifier or "nothing")
            made[name, identifier] = {key: value for key, value in row.items() if key != PARENT}
    for parent, kind in kinds().items():
        for attribute, child in children(kind).items():
            for row in rows.get(child.__tablename__, []):
                owner = made.get((parent, str(row.get(PARENT) or "")))
                if owner is None:
                    raise InputError(f"A row of {child.__tablename__} has no {parent}", got=str(row.get(PARENT)))
                owner.setdefault(attribute, []).append(made[child.__tablename__, str(row["id"])])
    return [made["patient", str(row["id"])] for row in rows.get("patient", [])]


def cell(value: Any) -> str:
    """A value as the text of a CSV cell: unknown is empty, lists are JSON, truth is true or false."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    text = repr(value) if isinstance(value, float) else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_ACTIVE) else text


def uncell(kind: type[Table], name: str, text: str) -> Any:
    """The value that `cell` wrote into a column; InputError where the text cannot be one."""
    if text == "":
        return None
    column = facts_of(kind).get(name)
    try:
        if column is None or name == "id":
            return text
        if isinstance(column.type, JSON):
            return json.loads(text)
        if column.type.python_type is bool:
            return {"true": True, "false": False}[text.lower()]
        if column.type.python_type in (int, float):
            return float(text)
    except (KeyError, ValueError):
        raise InputError(f"A cell of {kind.__tablename__}.{name} cannot be read", got=text[:80]) from None
    return text.removeprefix("'") if text.startswith(tuple(f"'{sign}" for sign in _ACTIVE)) else text


def to_csv(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """One CSV text per kind by file name."""
    texts = {}
    for name, rows in flat(records).items():
        kind = kinds()[name]
        header = [*(() if kind is Patient else (PARENT,)), *facts_of(kind)]
        texts[f"{name}.csv"] = csv_text(header, [[cell(row.get(column)) for column in header] for row in rows])
    return texts


def csv_text(header: list[str], rows: Iterable[list[str]]) -> str:
    """A CSV table as text, lines ended as RFC 4180 asks, which also makes the writer quote both kinds of line end."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column name; InputError where it is not a table."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError("The file is not a CSV table in UTF-8", got=f"{path.name}: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise InputError("A line of the table has too many or too few cells", got=path.name)
    return rows


def from_csv(folder: Path) -> list[Record]:
    """The records in a folder that `to_csv` filled; a missing file is an empty table, but patients must be there."""
    if not (folder / "patient.csv").is_file():
        raise InputError("The folder holds no patient.csv", got=str(folder))
    rows: Rows = {}
    for name, kind in kinds().items():
        path = folder / f"{name}.csv"
        if path.is_file():
            rows[name] = [{c: uncell(kind, c, text) for c, text in row.items()} for row in csv_rows(path)]
    return nested(rows)
