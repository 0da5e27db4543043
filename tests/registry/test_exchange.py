"""What goes out comes back: JSON, CSV, FHIR R4 and REDCap; other programs can read it; bad files are refused."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, Engine

from sacroplasty.errors import CaseError, InputError, SacroplastyError
from sacroplasty.registry import edited, example_patients, open_registry, redcap
from sacroplasty.registry.exchange import FORMATS, read_records, write_records
from sacroplasty.registry.fhir import PAIN_CODE, to_fhir
from sacroplasty.registry.record import (
    Record,
    add_records,
    children,
    closed_words,
    facts_of,
    kinds,
    patient_of,
    record_of,
    same_facts,
    stored_records,
)
from sacroplasty.registry.tables import Patient, Table

HOSTILE = [
    '=cmd|"/c calc"!A1',
    "+1",
    "@x",
    "-2",
    "'quoted",
    "line\nfeed",
    'comma, "quote"; | pipe',
    "김 철수",
    "\r",
    "é" * 300,
]


def full_record(pseudonym: str, text: str = "word") -> Record:
    """A record in which every column holds something, two rows per list."""

    def fill(kind: type[Table], number: int) -> Record:
        data: Record = {}
        for name, column in facts_of(kind).items():
            words = closed_words(kind, name)
            if name in {"id", "pseudonym"}:
                continue
            if isinstance(column.type, JSON):
                data[name] = [f"{text.splitlines()[0] if text.strip() else 'x'} {n}" for n in (1, 2)]
            elif column.type.python_type is bool:
                data[name] = number % 2 == 0
            elif column.type.python_type is int:
                data[name] = number
            elif column.type.python_type is float:
                data[name] = number + 0.1
            elif column.type.python_type is date:
                data[name] = f"2026-01-{number:02d}"
            else:
                data[name] = words[number % len(words)] if words else f"{text}"
        for name, child in children(kind).items():
            data[name] = [fill(child, n) for n in (1, 2)]
        return data

    return {"pseudonym": pseudonym, **fill(Patient, 3)}


def came_back(records: list[Record], place: Path, form: str) -> list[Record]:
    write_records(records, place, form)
    return [record_of(patient_of(data)) for data in read_records(place, form)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", ["word", *HOSTILE])
def test_every_column_survives_every_format(form: str, text: str, tmp_path: Path) -> None:
    records = [full_record("P-1", text), full_record("P-2")]
    assert not [name for name in facts_of(kinds()["procedure"]) if full_record("P")["episodes"][0]["procedures"][0]
                .get(name) is None and name != "id"]  # fmt: skip
    for before, after in zip(records, came_back(records, tmp_path / "out", form), strict=True):
        assert same_facts(record_of(patient_of(before)), after)


@pytest.mark.parametrize("form", FORMATS)
def test_a_registry_survives_a_move_to_another(form: str, registry: Engine, tmp_path: Path) -> None:
    with edited(registry) as session:
        session.add_all(example_patients())
    with edited(registry) as session:
        stored = stored_records(session)
    write_records(stored, tmp_path / "out", form)
    other = open_registry(tmp_path / "other.sqlite")
    with edited(other) as session:
        assert add_records(session, read_records(tmp_path / "out", form)) == ["yeo", "zhang-1", "zhang-2"]
    with edited(other) as session:
        assert all(same_facts(a, b) for a, b in zip(stored, stored_records(session), strict=True))


TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1, max_size=20)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT)
def test_any_text_survives_csv_and_json(tmp_path: Path, text: str) -> None:
    record = {"pseudonym": "P", "episodes": [{"cause": "lung", "pain_site": text}]}
    for form in ("csv", "json"):
        place = tmp_path / f"{abs(hash(text))}-{form}"
        if not place.exists():
            assert came_back([record], place, form)[0]["episodes"][0]["pain_site"] == text


def test_a_spreadsheet_runs_no_cell(tmp_path: Path) -> None:
    write_records([full_record("P-1", '=cmd|"/c calc"!A1')], tmp_path / "out", "csv")
    for path in (tmp_path / "out").glob("*.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "@", "+"))]


def test_same_records_give_the_same_bytes(registry: Engine, tmp_path: Path) -> None:
    with edited(registry) as session:
        session.add_all(example_patients())
    for name in ("one", "two"):
        with edited(registry) as session:
            write_records(stored_records(session), tmp_path / name, "json")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_fhir_is_read_by_another_program() -> None:
    bundle_type = pytest.importorskip("fhir.resources.R4B.bundle").Bundle
    records = [full_record("P-1"), *(record_of(p) for p in example_patients())]
    made = json.loads(json.dumps(to_fhir(records)))
    bundle = bundle_type.model_validate(made)
    kinds_found = {entry.resource.get_resource_type() for entry in bundle.entry}
    assert kinds_found == {"Patient", "Condition", "Procedure", "Observation", "Device", "AdverseEvent", "Encounter"}
    references = set(re.findall(r'"reference": "([^"]+)"', json.dumps(made)))
    assert references <= {entry["fullUrl"] for entry in made["entry"]}
    pains = [e["resource"] for e in made["entry"] if e["resource"].get("code", {}).get("coding") == [PAIN_CODE]]
    assert [p["valueQuantity"]["value"] for p in pains if "valueQuantity" in p][-4:] == [10, 6, 2, 2]


def test_the_redcap_dictionary_keeps_redcaps_rules() -> None:
    rows = list(csv.DictReader(io.StringIO(redcap.dictionary())))
    assert list(rows[0]) == redcap.HEADER
    names = [row["Variable / Field Name"] for row in rows]
    assert names[0] == "record_id"
    assert len(names) == len(set(names))
    for row in rows:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row["Variable / Field Name"])
        assert len(row["Variable / Field Name"]) <= 100
        assert row["Field Type"] in {"text", "notes", "dropdown", "yesno"}
        validation = row["Text Validation Type OR Show Slider Number"]
        assert validation in {"", "integer", "number", "date_ymd"}
        if row["Field Type"] == "dropdown":
            choices = row["Choices, Calculations, OR Slider Labels"].split(" | ")
            assert all(re.fullmatch(r"\d+, [^|,]+", choice) for choice in choices)
    forms = [row["Form Name"] for row in rows]
    assert len([n for n, name in enumerate(forms) if n == 0 or forms[n - 1] != name]) == len(set(forms))


def test_the_redcap_data_fit_the_dictionary() -> None:
    fields = {row["Variable / Field Name"] for row in csv.DictReader(io.StringIO(redcap.dictionary()))}
    lines = list(csv.DictReader(io.StringIO(redcap.data([full_record("P-1")]))))
    assert set(lines[0]) == fields | {"redcap_repeat_instrument", "redcap_repeat_instance"}
    keys = [(row["record_id"], row["redcap_repeat_instrument"], row["redcap_repeat_instance"]) for row in lines]
    assert len(keys) == len(set(keys))


def broken(change: Any) -> Record:
    record = full_record("P")
    change(record)
    return record


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(shoe_size=42), "unknown fields"),
        (lambda r: r.update(birth_year="old"), "unreadable 'birth_year'"),
        (lambda r: r.update(birth_year=float("nan")), "unreadable"),
        (lambda r: r.update(sex="yes"), "outside its list"),
        (lambda r: r.pop("pseudonym"), "lacks fields"),
        (lambda r: r["episodes"][0].update(cause=None), "lacks fields"),
        (lambda r: r.update(episodes=["x"]), "not a record"),
        (lambda r: r["episodes"][0].update(levels="S1"), "unreadable 'levels'"),
        (lambda r: r["episodes"][0].update(consent_procedure="true"), "unreadable"),
        (lambda r: r["episodes"][0].update(override_on="yesterday"), "unreadable"),
        (lambda r: r["episodes"][0].update(pain_site="a\x00b"), "unreadable"),
    ],
)
def test_bad_records_are_refused_by_name(change: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        patient_of(broken(change))


def test_rules_of_the_database_are_told(registry: Engine) -> None:
    record = {"pseudonym": "P", "episodes": [{"cause": "lung", "pain_scores": [{"order": 1, "after": "x", "nrs": 11}]}]}
    with pytest.raises(InputError, match="breaks a rule"), edited(registry) as session:
        add_records(session, [record])
    with edited(registry) as session:
        assert stored_records(session) == []


def test_known_patients_are_refused_skipped_or_replaced(registry: Engine) -> None:
    old, new = ({"pseudonym": "P", "episodes": [{"cause": cause}]} for cause in ("lung", "breast"))
    with edited(registry) as session:
        assert add_records(session, [old]) == ["P"]
    with edited(registry) as session:
        assert add_records(session, [old]) == []
    with pytest.raises(CaseError, match="other facts"), edited(registry) as session:
        add_records(session, [new])
    with edited(registry) as session:
        assert add_records(session, [new], known="skip") == []
        assert add_records(session, [new], known="replace") == ["P"]
    with edited(registry) as session:
        assert [r["episodes"][0]["cause"] for r in stored_records(session)] == ["breast"]
    with pytest.raises(InputError, match="unclear"), edited(registry) as session:
        add_records(session, [new], known="maybe")


@pytest.mark.parametrize(
    ("form", "text"),
    [("json", "{}"), ("json", "not json"), ("json", '{"format": "sacroplasty registry", "version": 9, "patients": []}'),
     ("fhir", "[]"), ("fhir", '{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]}'),
     ("redcap", "a,b\n1,2\n"), ("redcap", "record_id,redcap_repeat_instrument\nP,shoes\n"),
     ("redcap", "record_id\n1,2,3\n")],
)  # fmt: skip
def test_files_that_are_no_registry_are_refused(form: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text, encoding="utf-8")
    with pytest.raises(SacroplastyError):
        read_records(tmp_path / "file", form)


def test_places_and_formats_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to import"):
        read_records(tmp_path / "nowhere", "json")
    with pytest.raises(InputError, match="format is unknown"):
        write_records([], tmp_path / "out", "xml")
    write_records([], tmp_path / "out", "json")
    with pytest.raises(InputError, match="exists already"):
        write_records([], tmp_path / "out", "json")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_records(tmp_path / "bytes", "json")
    with pytest.raises(InputError, match=re.escape("patient.csv")):
        read_records(tmp_path, "csv")


def test_a_csv_row_without_its_parent_is_refused(tmp_path: Path) -> None:
    write_records([full_record("P-1")], tmp_path / "out", "csv")
    path = tmp_path / "out" / "episode.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("patient-P-1,", "patient-P-9,"), encoding="utf-8")
    with pytest.raises(InputError, match="has no patient"):
        read_records(tmp_path / "out", "csv")
