"""The registry's own figures, appointments that are due, edits from an open form."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine, select

from sacroplasty.errors import CaseError, InputError
from sacroplasty.outcome.series import pooled_change
from sacroplasty.registry import Patient, edited, example_patients
from sacroplasty.registry.analysis import courses, own_series, summarised
from sacroplasty.registry.edit import revised, shown
from sacroplasty.registry.record import add_records, record_of, stored_records
from sacroplasty.registry.reminders import reminders


def treated(
    name: str, before: float, after: list[tuple[float, float]], modality: str = "CT", leak: bool = False
) -> Any:
    scores = [{"order": 1, "nrs": before, "after": "baseline"}]
    scores += [{"order": n, "day": day, "nrs": nrs, "after": "sacroplasty"} for n, (day, nrs) in enumerate(after, 2)]
    leaks = [{"order": 1, "compartment": "presacral", "modality": modality}] if leak else []
    procedure = {"approach": "interpedicular", "leak_modality": modality, "leaks": leaks}
    episode = {"cause": "lung", "pain_scores": scores, "procedures": [procedure]}
    return {"pseudonym": name, "episodes": [episode]}


COHORT = [
    treated("A", 8, [(1, 3), (30, 4), (91, 8)]), treated("B", 10, [(1, 2), (30, 2)], "fluoroscopy", leak=True),
    treated("C", 6, [(1, 5), (30, 5)], leak=True), treated("D", 7, [(1, 1)], "not assessable"),
]  # fmt: skip


def test_examples_count_only_when_asked_for() -> None:
    records = [record_of(patient) for patient in example_patients()]
    assert courses(records) == ()
    found = {one.pseudonym: one for one in courses(records, with_examples=True)}
    assert (found["yeo"].before, found["yeo"].early) == (6, 2)
    assert found["zhang-1"].before is None
    assert [one.leaked for one in found["zhang-2"].looked] == [True]


def test_figures_of_a_cohort() -> None:
    found = summarised(courses(COHORT))
    assert found.change is not None
    assert found.change.mean_change == pytest.approx((3 - 8 + 2 - 10 + 5 - 6 + 1 - 7) / 4)
    assert found.responders is not None
    assert (found.responders.thirty_percent.events, found.responders.thirty_percent.total) == (3, 4)
    assert found.relief is not None
    assert [(step.day, step.lost) for step in found.relief.steps] == [(90, 1)]
    assert {one.group: (one.events, one.total) for one in found.leaks} == {"CT": (1, 2), "fluoroscopy": (1, 1)}
    assert found.not_assessable == 1
    assert found.over_time is not None
    assert [effect.time for effect in found.over_time.effects] == ["day 1", "1 month", "3 months"]


def test_an_empty_cohort_says_what_is_missing() -> None:
    found = summarised(())
    assert found.change is None
    assert [line.partition(":")[0] for line in found.missing] == ["change", "responders", "relief", "course over time"]


def test_our_series_stands_beside_the_published_and_not_in_them() -> None:
    own = own_series(courses(COHORT))
    assert [(one.name, one.patients) for one in own] == [("this registry, interpedicular", 4)]
    assert own[0].name not in {one.series for one in pooled_change().rows}


def test_both_databases_give_the_same_figures(registry: Engine) -> None:
    with edited(registry) as session:
        add_records(session, COHORT)
    with edited(registry) as session:
        stored = stored_records(session)
    assert courses(stored) == courses(COHORT)
    assert summarised(courses(stored)) == summarised(courses(COHORT))


def seen(day: float | None = None, name: str = "call") -> dict[str, Any]:
    return {"name": name, "day": day}


@pytest.mark.parametrize(
    ("contacts", "today", "expected"),
    [
        ([], date(2026, 1, 2), [("day 1", False)]),
        ([], date(2026, 1, 20), [("day 1", True), ("2 weeks", True)]),
        ([seen(1)], date(2026, 1, 14), [("2 weeks", False)]),
        ([seen(None, "day 1"), seen(13)], date(2026, 1, 20), []),
        ([seen(1), seen(14)], date(2025, 12, 1), []),
    ],
)
def test_reminders_name_what_is_open(contacts: list[Any], today: date, expected: list[tuple[str, bool]]) -> None:
    procedure = {"approach": "interpedicular", "performed_on": "2026-01-01", "schedule": "default"}
    record = {"pseudonym": "P", "episodes": [{"cause": "lung", "procedures": [procedure], "contacts": contacts}]}
    found = reminders([record], today)
    assert [(one.appointment.name, one.overdue) for one in found] == expected
    assert all(one.sentence.startswith("P: ") for one in found)


def test_a_procedure_without_a_date_reminds_of_nothing() -> None:
    assert reminders([record_of(patient) for patient in example_patients()], date(2030, 1, 1)) == ()


def test_a_form_that_is_out_of_date_changes_nothing(registry: Engine) -> None:
    with edited(registry) as session:
        session.add(Patient(pseudonym="P"))
    with edited(registry) as session:
        identifier = session.scalars(select(Patient.id)).one()
    version, facts = shown(registry, "patient", identifier)
    assert facts["pseudonym"] == "P"
    assert revised(registry, "patient", identifier, version, {"birth_year": 1950}) == version + 1
    with pytest.raises(CaseError, match="another window"):
        revised(registry, "patient", identifier, version, {"birth_year": 1960})
    assert shown(registry, "patient", identifier)[1]["birth_year"] == 1950


@pytest.mark.parametrize(
    ("kind", "who", "changes", "words"),
    [("patient", "own", {"shoe": 1}, "cannot be changed"), ("patient", "own", {"id": "x"}, "cannot be changed"),
     ("patient", "own", {"sex": "yes"}, "outside its list"), ("patient", "nobody", {"sex": "male"}, "no such row"),
     ("shoe", "own", {}, "no such table")],
)  # fmt: skip
def test_bad_edits_are_refused(registry: Engine, kind: str, who: str, changes: dict[str, Any], words: str) -> None:
    with edited(registry) as session:
        session.add(Patient(pseudonym="P"))
    with edited(registry) as session:
        identifier = session.scalars(select(Patient.id)).one()
    with pytest.raises(InputError, match=words):
        revised(registry, kind, identifier if who == "own" else who, 1, changes)
