"""A REDCap project for the registry: its data dictionary, and the data as REDCap imports and exports them.

Patients are records; every other kind is a repeating instrument whose first field names the instance of its parent.
Column names and rules of the dictionary: the 18 standard columns of REDCap's own CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import JSON

from sacroplasty.errors import InputError
from sacroplasty.registry.record import Record, closed_words, facts_of, kinds, parent_of, usual_words
from sacroplasty.registry.tables import Patient, Table
from sacroplasty.registry.tabular import PARENT, Rows, csv_rows, csv_text, flat, nested

HEADER = [
    "Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label",
    "Choices, Calculations, OR Slider Labels", "Field Note", "Text Validation Type OR Show Slider Number",
    "Text Validation Min", "Text Validation Max", "Identifier?", "Branching Logic (Show field only if...)",
    "Required Field?", "Custom Alignment", "Question Number (surveys only)", "Matrix Group Name", "Matrix Ranking?",
    "Field Annotation",
]  # fmt: skip
DICTIONARY, DATA = "data_dictionary.csv", "data.csv"
RECORD = "record_id"
_REPEAT = ["redcap_repeat_instrument", "redcap_repeat_instance"]
_LIMITS = {"nrs": ("0", "10"), "nrs_before": ("0", "10"), "nrs_after": ("0", "10"), "volume_ml": ("0", ""),
           "age_years": ("0", "120"), "kps": ("0", "100"), "ecog": ("0", "5"), "odi": ("0", "100")}  # fmt: skip
# Dates and free text about a person are what a REDCap administrator marks as identifying.
_IDENTIFYING = {"birth_year", "performed_on", "override_on", "ethics_statement", "patient_perspective", "cement_lot",
                "case_name", "override_by"}  # fmt: skip


def _columns(kind: type[Table]) -> list[str]:
    return [name for name in facts_of(kind) if name not in {"id", "pseudonym"}]


def _field(kind: type[Table], column: str) -> str:
    return f"{kind.__tablename__}_{column}"


def _label(column: str) -> str:
    words = column.replace("_", " ")
    for suffix, unit in ((" mm", "mm"), (" ml", "mL"), (" deg", "degrees"), (" mgy", "mGy"), (" g", "g")):
        if words.endswith(suffix):
            words = f"{words.removesuffix(suffix)} ({unit})"
            break
    return words[0].upper() + words[1:]


def dictionary() -> str:
    """The data dictionary as CSV text, ready for REDCap's upload."""
    first = {HEADER[0]: RECORD, HEADER[1]: "patient", HEADER[3]: "text", HEADER[4]: "Pseudonym", HEADER[12]: "y"}
    rows = [first]
    for name, kind in kinds().items():
        if kind is not Patient:
            parent = {HEADER[0]: f"{name}_parent", HEADER[1]: name, HEADER[3]: "text", HEADER[7]: "integer"}
            rows.append(parent | {HEADER[4]: "Instance of its parent form", HEADER[8]: "1", HEADER[12]: "y"})
        rows += [_row(kind, column) for column in _columns(kind)]
    return csv_text(HEADER, [[row.get(column, "") for column in HEADER] for row in rows])


def _row(kind: type[Table], column: str) -> dict[str, str]:
    row = {HEADER[0]: _field(kind, column), HEADER[1]: kind.__tablename__, HEADER[4]: _label(column)}
    column_type = facts_of(kind)[column].type
    words, usual = closed_words(kind, column), usual_words(kind, column)
    if isinstance(column_type, JSON):
        row |= {HEADER[3]: "notes", HEADER[6]: "One per line"}
    elif column_type.python_type is bool:
        row[HEADER[3]] = "yesno"
    elif words:
        choices = " | ".join(f"{code}, {word}" for code, word in enumerate(words, start=1))
        row |= {HEADER[3]: "dropdown", HEADER[5]: choices}
    else:
        kinds_of_text = {int: "integer", float: "number"}
        is_date = column in {"performed_on", "override_on"}
        validation = "date_ymd" if is_date else kinds_of_text.get(column_type.python_type, "")
        low, high = _LIMITS.get(column, ("", ""))
        row |= {HEADER[3]: "text", HEADER[7]: validation, HEADER[8]: low, HEADER[9]: high}
    if usual and not words:
        row[HEADER[6]] = f"{row.get(HEADER[6], 'Usually')}: {', '.join(usual)}"[:250]
    if column in _IDENTIFYING:
        row[HEADER[10]] = "y"
    if not facts_of(kind)[column].nullable and facts_of(kind)[column].default is None:
        row[HEADER[12]] = "y"
    return row


def _header() -> list[str]:
    fields = []
    for name, kind in kinds().items():
        fields += [*(() if kind is Patient else (f"{name}_parent",)), *(_field(kind, c) for c in _columns(kind))]
    return [RECORD, *_REPEAT, *fields]


def data(records: Iterable[Mapping[str, Any]]) -> str:
    """The records as REDCap's flat CSV with raw codes, one line per instance."""
    header, lines = _header(), []
    for record in records:
        rows = flat([record])
        instance: dict[str, int] = {}
        for name, of_kind in rows.items():
            kind = kinds()[name]
            for number, row in enumerate(of_kind, start=1):
                instance[f"{name} {row['id']}"] = number
                line = {RECORD: str(record["pseudonym"])}
                if kind is not Patient:
                    line |= dict(zip(_REPEAT, (name, str(number)), strict=True))
                    parent = parent_of(kind)
                    owner = f"{parent} {row[PARENT]}"
                    # The patient itself is the record and has no instance.
                    line[f"{name}_parent"] = str(instance.get(owner, 1) if parent != "patient" else 1)
                line |= {_field(kind, c): _raw(kind, c, row.get(c)) for c in _columns(kind)}
                lines.append([line.get(column, "") for column in header])
    return csv_text(header, lines)


def _raw(kind: type[Table], column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return "\n".join(value)
    words = closed_words(kind, column)
    return str(words.index(value) + 1) if words else (repr(value) if isinstance(value, float) else str(value))


def _cooked(kind: type[Table], column: str, text: str) -> Any:
    if text == "":
        return None
    column_type, words = facts_of(kind)[column].type, closed_words(kind, column)
    try:
        if isinstance(column_type, JSON):
            return [line for line in text.split("\n") if line]
        if column_type.python_type is bool:
            return {"1": True, "0": False}[text]
        if words:
            return dict(enumerate(words, start=1))[int(text)]
        return float(text) if column_type.python_type in (int, float) else text
    except (KeyError, ValueError):
        raise InputError("A REDCap cell cannot be read", got=f"{_field(kind, column)}: {text[:60]}") from None


def from_data(path: Path) -> list[Record]:
    """The records in a REDCap export of raw data (CSV, one line per instance)."""
    rows: Rows = {name: [] for name in kinds()}
    for line in csv_rows(path):
        if RECORD not in line:
            raise InputError("The file is not a REDCap export of this project", got=path.name)
        name = line.get(_REPEAT[0]) or "patient"
        if name not in rows:
            raise InputError("The REDCap export has an instrument this registry does not know", got=name)
        kind, who = kinds()[name], line[RECORD]
        row: Record = {c: _cooked(kind, c, line.get(_field(kind, c), "")) for c in _columns(kind)}
        if kind is Patient:
            row |= {"id": f"{who}/patient/1", "pseudonym": who}
        else:
            parent = parent_of(kind)
            row["id"] = f"{who}/{name}/{line[_REPEAT[1]]}"
            row[PARENT] = f"{who}/{parent}/{line.get(f'{name}_parent') or 1}"
        rows[name].append(row)
    return [_without_made_ids(record) for record in nested(rows)]


def _without_made_ids(data: Any) -> Any:
    """REDCap numbers instances; the registry gives its own identifiers when the record is stored."""
    if isinstance(data, Mapping):
        return {key: _without_made_ids(value) for key, value in data.items() if key != "id"}
    return [_without_made_ids(item) for item in data] if isinstance(data, list) else data
