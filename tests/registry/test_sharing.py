"""Nothing that names a person leaves with a shared record; who a pseudonym is stays in a file of its own."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from sacroplasty.errors import CaseError, InputError
from sacroplasty.registry import edited, example_patients
from sacroplasty.registry.deidentify import deidentified
from sacroplasty.registry.exchange import read_records, write_records
from sacroplasty.registry.pseudonyms import PseudonymKeys
from sacroplasty.registry.record import add_records, facts_of, kinds, patient_of, record_of, stored_records
from tests.registry.test_exchange import full_record

CANARY = "Jane Canary 12.03.1950 St Mary Hospital"
KEY = b"0" * 32


def leaves(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a record with the field it stands in."""
    if isinstance(data, dict):
        for key, item in data.items():
            yield from leaves(item, key)
    elif isinstance(data, list):
        for item in data:
            yield from leaves(item, name)
    else:
        yield name, data


def test_a_name_planted_in_every_text_field_never_leaves() -> None:
    """Every column that can hold free text holds a name and a date; the shared copy holds neither."""
    record = full_record("Jane Canary", CANARY)
    planted = sum(CANARY in str(value) for _, value in leaves(record))
    assert planted > 100
    text = json.dumps(deidentified([record], KEY).records)
    for word in ("Jane", "Canary", "1950", "Mary", "2026"):
        assert word not in text


def test_what_is_kept_is_on_the_allow_list() -> None:
    shared = deidentified([full_record("P-1", CANARY)], KEY).records[0]
    dates = {name for kind in kinds().values() for name, c in facts_of(kind).items() if "DATE" in str(c.type)}
    for name, value in leaves(shared):
        if name in dates or name in {"birth_year", "cement_lot", "case_name", "ethics_statement"}:
            assert value is None, name


def test_the_examples_keep_their_figures() -> None:
    records = [record_of(patient) for patient in example_patients()]
    shared = deidentified(records, KEY)
    yeo = next(r for r in shared.records if r["episodes"][0]["cause"] == "rectal")["episodes"][0]
    assert [score["nrs"] for score in yeo["pain_scores"]] == [10, 6, 2, 2]
    assert [score["after"] for score in yeo["pain_scores"]][1:3] == ["caudal epidural steroid injection", "sacroplasty"]
    assert yeo["procedures"][0]["deposits"][0]["volume_ml"] == 2.0
    assert yeo["levels"] == ["S3"]
    assert yeo["ethics_statement"] is None
    assert shared.left_out["episode.ethics_statement"] == 1
    assert shared.unique_patients == 3
    assert all(patient_of(record) for record in shared.records)


def test_ages_from_ninety_on_are_one_group() -> None:
    record = {"pseudonym": "P", "episodes": [{"cause": "lung", "age_years": age} for age in (89, 90, 97)]}
    ages = [e["age_years"] for e in deidentified([record], KEY).records[0]["episodes"]]
    assert sorted(ages) == [89, 90, 90]


def test_two_receivers_cannot_join_their_copies() -> None:
    record = full_record("P-1")
    first, again, second = (deidentified([record], key).records[0] for key in (KEY, KEY, b"1" * 32))
    assert first == again
    here = {v for name, v in leaves(first) if name in {"id", "pseudonym"}}
    there = {v for name, v in leaves(second) if name in {"id", "pseudonym"}}
    assert not here & there
    assert "P-1" not in here
    with pytest.raises(InputError, match="too short"):
        deidentified([record], b"short")


def test_a_shared_registry_can_be_imported_and_analysed(registry: Engine, tmp_path: Path) -> None:
    with edited(registry) as session:
        session.add_all(example_patients())
    with edited(registry) as session:
        shared = deidentified(stored_records(session), KEY)
    write_records(shared.records, tmp_path / "shared", "csv")
    with edited(registry) as session:
        assert len(add_records(session, read_records(tmp_path / "shared", "csv"))) == 3


def test_pseudonyms_are_random_lasting_and_known_to_the_file_alone(tmp_path: Path) -> None:
    keys = PseudonymKeys(tmp_path / "keys.sqlite")
    first = keys.pseudonym_of("Jane  Canary, 12345")
    assert keys.pseudonym_of("Jane Canary, 12345") == first
    assert PseudonymKeys(tmp_path / "keys.sqlite").identity_of(first) == "Jane Canary, 12345"
    assert keys.pseudonym_of("John Doe, 1") != first
    assert "Jane" not in first
    assert PseudonymKeys(tmp_path / "other.sqlite").pseudonym_of("Jane Canary, 12345") != first
    assert keys.identities() == ("Jane Canary, 12345", "John Doe, 1")
    assert keys.receiver_key("registry B") == keys.receiver_key("registry B") != keys.receiver_key("C")
    keys.forget(first)
    with pytest.raises(InputError, match="does not know"):
        keys.identity_of(first)
    assert b"Jane" not in (tmp_path / "keys.sqlite").read_bytes()
    for empty in (lambda: keys.pseudonym_of("  "), lambda: keys.receiver_key("")):
        with pytest.raises(InputError):
            empty()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    PseudonymKeys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        PseudonymKeys(path)
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"not a database" * 100)
    broken.chmod(0o600)
    with pytest.raises(CaseError, match="cannot be used"):
        PseudonymKeys(broken)


def test_windows_that_ask_at_once_get_one_pseudonym(tmp_path: Path) -> None:
    def ask(_: int) -> str:
        return PseudonymKeys(tmp_path / "keys.sqlite").pseudonym_of("Jane Canary, 12345")

    with ThreadPoolExecutor(8) as windows:
        assert len(set(windows.map(ask, range(32)))) == 1


def test_lists_are_shared_by_their_words_alone() -> None:
    shared = deidentified([{"pseudonym": "P", "episodes": [{"cause": "lung", "levels": ["S1", CANARY]}]}], KEY)
    assert shared.records[0]["episodes"][0]["levels"] == ["S1"]
