"""The registry keeps facts, loses no update, and holds the papers' three patients as they were published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError

from sacroplasty.errors import CaseError, InputError
from sacroplasty.registry import (
    Episode,
    PainRecord,
    Patient,
    Procedure,
    backed_up,
    edited,
    example_patients,
    open_registry,
)
from sacroplasty.registry.migration import drift, migrate
from tests.registry.writers import compete


@pytest.fixture
def sqlite(tmp_path: Path) -> Engine:
    return open_registry(tmp_path / "registry.sqlite")


def test_sqlite_is_durable_and_checks_references(sqlite: Engine) -> None:
    registry = sqlite
    with registry.connect() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_the_papers_patients_are_stored_as_published(registry: Engine) -> None:
    with edited(registry) as session:
        session.add_all(example_patients())
    with edited(registry) as session:
        found = {p.pseudonym: p for p in session.scalars(select(Patient))}
        volumes = {n: p.episodes[0].procedures[0].deposits[0].volume_ml for n, p in found.items()}
        assert volumes == {"zhang-1": 6.0, "zhang-2": None, "yeo": 2.0}
        assert [s.nrs for s in found["yeo"].episodes[0].pain_scores] == [10, 6, 2, 2]
        assert found["zhang-2"].episodes[0].override_reason
        assert [t.kind for t in found["zhang-1"].episodes[0].treatments][-1] == "vertebroplasty"


def test_a_stale_edit_is_refused(registry: Engine) -> None:
    with edited(registry) as session:
        session.add(Patient(pseudonym="P1"))
    with pytest.raises(CaseError, match="another window"), edited(registry) as slow:
        here = slow.scalars(select(Patient)).one()
        slow.commit()
        with edited(registry) as fast:
            fast.scalars(select(Patient)).one().birth_year = 1950
        here.birth_year = 1960
    with edited(registry) as session:
        assert session.scalars(select(Patient)).one().birth_year == 1950


def episode(**facts: Any) -> Patient:
    return Patient(pseudonym="P", episodes=[Episode(**{"cause": "lung", **facts})])


@pytest.mark.parametrize(
    "row",
    [
        lambda: Patient(pseudonym="P", sex="unknown word"),
        lambda: episode(cause="bad luck"),
        lambda: episode(pain_scores=[PainRecord(order=1, nrs=11, after="x")]),
        lambda: episode(pain_scores=[PainRecord(order=1, after="x")]),
        lambda: episode(procedures=[Procedure(approach="x", guidance="map")]),
    ],
)
def test_words_outside_the_lists_are_refused(registry: Engine, row: object) -> None:
    with pytest.raises(IntegrityError), edited(registry) as session:
        session.add(row())  # type: ignore[operator]


def test_deleting_a_patient_deletes_everything_of_theirs(registry: Engine) -> None:
    with edited(registry) as session:
        session.add_all(example_patients())
    with edited(registry) as session:
        session.delete(session.scalars(select(Patient).where(Patient.pseudonym == "yeo")).one())
    with registry.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pain_score WHERE nrs = 10")) == 0


def test_eight_writers_lose_no_update(place: str) -> None:
    """Eight times 500 is benchmarks/registry_writers.py."""
    reached, outcomes = compete(place, writers=8, edits=15)
    assert sum(one.accepted for one in outcomes) == 120
    assert reached == 120
    assert sum(one.refused for one in outcomes) > 0, "the writers never met, so this shows nothing"


def test_a_backup_is_whole_while_the_registry_is_open(sqlite: Engine, tmp_path: Path) -> None:
    registry = sqlite
    with edited(registry) as session:
        session.add_all(example_patients())
    copy = open_registry(backed_up(registry, tmp_path / "copy.sqlite"))
    with edited(copy) as session:
        assert len(session.scalars(select(Patient)).all()) == 3
    with pytest.raises(InputError, match="exists already"):
        backed_up(registry, tmp_path / "copy.sqlite")


def test_what_is_not_a_registry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.sqlite").write_text("this is not a database, but long enough to look like a page " * 50)
    with pytest.raises(CaseError, match="cannot be opened"):
        open_registry(tmp_path / "note.sqlite")
    with pytest.raises(InputError, match="does not exist"):
        open_registry(tmp_path / "nowhere" / "registry.sqlite")
    with pytest.raises(InputError, match="No driver"):
        open_registry("oracle9://somewhere")


def test_the_migrations_make_exactly_the_tables(registry: Engine) -> None:
    assert drift(registry) == []
    assert migrate(registry) == "0002"


def test_a_newer_schema_is_refused(registry: Engine) -> None:
    with registry.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CaseError, match="newer version"):
        migrate(registry)


def test_going_back_and_forth_keeps_the_schema(registry: Engine) -> None:
    from alembic import command

    from sacroplasty.registry.migration import _config

    with registry.begin() as connection:
        command.downgrade(_config(connection), "base")
    migrate(registry)
    assert drift(registry) == []


# What the papers print, by requirement: path to the stored fact and its value.
PRINTED = [
    ("zhang-1", "age_years", 62), ("zhang-1", "patient.sex", "male"), ("zhang-2", "age_years", 38),
    ("zhang-2", "patient.sex", "female"), ("yeo", "age_years", 74), ("yeo", "patient.sex", "female"),
    ("zhang-1", "cause", "lymphoma"), ("zhang-2", "cause", "lung"), ("yeo", "cause", "rectal"),
    ("zhang-1", "spread", "haematogenous metastasis"), ("yeo", "spread", "direct invasion"),
    ("zhang-1", "lesion_kind", "mixed"), ("zhang-2", "lesion_kind", "lytic"),
    ("zhang-1", "levels", ["S1"]), ("yeo", "levels", ["S3"]), ("yeo", "other_pain_source_excluded", True),
    ("zhang-1", "other_treated_levels", ["T12", "L1", "L2", "L3"]),
    ("yeo", "treatments.2.response", "NRS 10 to 6"), ("zhang-1", "treatments.3.kind", "vertebroplasty"),
    ("zhang-1", "treatments.3.relapse", "progressive return over one month"),
    ("yeo", "pain_site", "perineum"), ("yeo", "pain_character", ["dull", "lancinating", "electric shock"]),
    ("yeo", "pain_mechanical", True), ("zhang-1", "motor_deficit", "none"), ("yeo", "sensory_deficit", "none"),
    ("zhang-2", "histology_proven", True), ("zhang-1", "discussed_with", ["orthopaedic surgeon", "family"]),
    ("yeo", "consent_procedure", True), ("yeo", "consent_publication", True),
    ("yeo", "ethics_statement", "exempted from review, IRB No. 2023-09-013"),
    ("zhang-1", "procedures.0.antibiotic", "cefuroxime sodium"), ("zhang-1", "procedures.0.antibiotic_dose_g", 2.0),
    ("zhang-1", "procedures.0.antibiotic_minutes_before", 30), ("zhang-1", "procedures.0.antibiotic_days_after", 3),
    ("yeo", "procedures.0.antibiotic", "cefazolin sodium"), ("yeo", "procedures.0.antibiotic_dose_g", 1.0),
    ("yeo", "procedures.0.position", "prone"), ("yeo", "procedures.0.prepared_region", "sacrococcygeal region"),
    ("yeo", "procedures.0.anaesthesia", "2 mL of 1 % lidocaine at the sacral hiatus"),
    ("yeo", "procedures.0.incision_site", "sacral hiatus"), ("zhang-1", "procedures.0.mallet_used", True),
    ("zhang-1", "procedures.0.deposits.0.needle_gauge", 13),
    ("zhang-1", "procedures.0.deposits.0.needle_tip", "bevel"),
    ("zhang-1", "procedures.0.deposits.0.needle_maker", "OptiMED"),
    ("zhang-1", "procedures.0.deposits.0.cement", "Simplex P"),
    ("yeo", "procedures.0.deposits.0.cement", "Exolent Spine"),
    ("zhang-1", "procedures.0.operator_vertebroplasties", 837), ("yeo", "procedures.0.venogram", "tumour venogram"),
    ("yeo", "procedures.0.stylet_removed_before_injection", True), ("zhang-1", "procedures.0.technical_success", True),
    ("zhang-2", "procedures.0.leaks.0.compartment", "needle track"),
    ("zhang-2", "procedures.0.leaks.0.significant", False),
    ("zhang-2", "procedures.0.leaks.1.modality", "not assessable"),
    ("zhang-2", "procedures.0.neurological_check", "no complaint of nerve root compression"),
    ("zhang-1", "contacts.0.ambulation", "without assistance"),
    ("zhang-1", "contacts.3.tenderness", "none on palpation"),
    ("zhang-2", "contacts.0.mode", "telephone"), ("zhang-2", "contacts.0.day", 140),
    ("zhang-1", "procedures.0.days_in_hospital", 3.0), ("zhang-1", "goal", "both"),
    ("zhang-2", "preference", "patient and family strongly urged the operation"),
    ("zhang-2", "judged_unsuitable_because", "destroyed cortex margin"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "printed"), PRINTED, ids=lambda v: str(v)[:40])
def test_what_the_papers_print_is_stored(name: str, path: str, printed: object) -> None:
    found: Any = next(p for p in example_patients() if p.pseudonym == name).episodes[0]
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == printed
