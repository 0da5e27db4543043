"""The procedure in time, what came after it, and how both reach the registry and the cohort."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from sacroplasty.errors import SacroplastyError
from sacroplasty.lesion import Aetiology, PatientFacts
from sacroplasty.registry import Patient, open_registry
from sacroplasty.workstation import checklist
from sacroplasty.workstation.records import cause_of
from tests.workstation.conftest import HOSTILE, revision

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def do(client: TestClient, key: str, minutes: float, **more: Any) -> Any:
    body = {"at": (START + timedelta(minutes=minutes)).isoformat(), **more}
    return client.post(f"/api/cases/toy/procedure/steps/{key}", json=body, headers=revision(client))


def test_contrast_and_cement_wait_for_the_stylet(client: TestClient) -> None:
    do(client, "incision", 40)
    do(client, "needle_in", 42)
    do(client, "cement_mixed", 50)
    for key in ("venogram", "injection_start"):
        answer = do(client, key, 55)
        assert answer.status_code == 422
        assert "Stylet removed" in answer.json()["sentence"]
    assert do(client, "stylet_removed", 52).status_code == 200
    assert do(client, "venogram", 51).status_code == 422, "before the stylet came out"
    assert do(client, "venogram", 53).status_code == 200
    assert do(client, "injection_start", 55).status_code == 200
    back = client.delete("/api/cases/toy/procedure/steps/stylet_removed", headers=revision(client))
    assert back.status_code == 409


@pytest.mark.parametrize(("minutes", "warned"), [(10, True), (29, True), (30, False), (45, False)])
def test_an_antibiotic_too_late_warns(minutes: float, warned: bool) -> None:
    done = {"antibiotic": {"at": START.isoformat()}, "consent": {"at": START.isoformat()},
            "side_checked": {"at": START.isoformat()},
            "incision": {"at": (START + timedelta(minutes=minutes)).isoformat()}}  # fmt: skip
    assert any("Antibiotic" in words for words in checklist.warnings_of(done)) is warned


def test_an_incision_without_antibiotic_consent_or_side_warns() -> None:
    warnings = " ".join(checklist.warnings_of({"incision": {"at": START.isoformat()}}))
    assert all(word in warnings for word in ("antibiotic", "consent", "side"))


def test_a_step_cannot_be_in_the_future_or_unknown(client: TestClient) -> None:
    ahead = {"at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    assert (
        client.post("/api/cases/toy/procedure/steps/consent", json=ahead, headers=revision(client)).status_code == 422
    )
    assert client.post("/api/cases/toy/procedure/steps/lunch", json={}, headers=revision(client)).status_code == 404


def test_a_step_taken_back_stays_in_the_trail(client: TestClient) -> None:
    do(client, "consent", 0, note="in writing")
    client.delete("/api/cases/toy/procedure/steps/consent", headers=revision(client))
    steps = {step["key"]: step for step in client.get("/api/cases/toy/procedure").json()["steps"]}
    assert steps["consent"]["done_at"] is None
    events = [entry["event"] for entry in client.get("/api/cases/toy/audit").json()["entries"]]
    assert events.count("stage procedure") == 2


@pytest.fixture
def treated(client: TestClient) -> TestClient:
    """The toy with a whole procedure and a follow-up."""
    facts = client.get("/api/cases/toy/facts").json()["facts"]
    facts.update(aetiology="haematogenous metastasis", primary_tumour="Breast", age_years=62.0, sex="female")
    client.put("/api/cases/toy/facts", json={"facts": facts}, headers=revision(client))
    times = {"consent": 0, "side_checked": 20, "antibiotic": 5, "incision": 40, "needle_in": 42, "tip_confirmed": 50,
             "stylet_removed": 52, "cement_mixed": 53, "injection_start": 55, "injection_end": 60,
             "needle_out": 62}  # fmt: skip
    for key, minutes in times.items():
        assert do(client, key, minutes).status_code == 200
    details = {"approach": "trans-sacroiliac", "guidance": "fluoroscopy", "leak_verdict": "none",
               "deposits": [{"level": "S1", "needle_gauge": 13, "cement": "Simplex P", "volume_ml": 4.5}]}  # fmt: skip
    client.put("/api/cases/toy/procedure/details", json=details, headers=revision(client))
    body = {"procedure_on": "2026-01-05", "schedule": "default"}
    client.put("/api/cases/toy/follow-up", json=body, headers=revision(client))
    for entry in ({"day": -1, "nrs": 8}, {"day": 1, "nrs": 2, "after": "sacroplasty"}):
        client.post("/api/cases/toy/follow-up/pain", json=entry, headers=revision(client))
    visit = {"name": "day 1", "day": 1, "mode": "visit", "odi": 30}
    client.post("/api/cases/toy/follow-up/contacts", json=visit, headers=revision(client))
    client.post("/api/cases/toy/follow-up/events", json={"name": "fever", "therapy": 1}, headers=revision(client))
    return client


def test_a_closed_record_is_in_the_registry_and_stays_closed(treated: TestClient, cases: Path) -> None:
    assert treated.post("/api/cases/toy/procedure/close", headers=revision(treated)).status_code == 200
    assert do(treated, "neuro_check", 70).status_code == 409
    engine = open_registry(cases / "registry.sqlite")
    with Session(engine) as session:
        [patient] = session.scalars(select(Patient)).all()
        episode = patient.episodes[0]
        procedure = episode.procedures[0]
        assert (patient.pseudonym, patient.sex, episode.cause) == ("toy", "female", "breast")
        assert procedure.antibiotic_minutes_before == 35
        assert procedure.stylet_removed_before_injection is True
        assert procedure.deposits[0].volume_ml == 4.5
        assert [score.nrs for score in episode.pain_scores] == [8, 2]
        assert procedure.events[0].name == "fever"
    engine.dispose()


def test_an_unfinished_record_cannot_be_closed(client: TestClient) -> None:
    answer = client.post("/api/cases/toy/procedure/close", headers=revision(client))
    assert answer.status_code == 409


def test_the_follow_up_says_what_is_due_what_changed_and_how_grave(treated: TestClient) -> None:
    body = treated.get("/api/cases/toy/follow-up").json()
    states = {one["name"]: one["state"] for one in body["schedule"]}
    assert states["day 1"] == "done"
    assert states["2 weeks"] == "overdue"
    assert body["changes"] == [
        {"intervention": "sacroplasty", "before": 8, "after": 2, "points": -6, "response": "much better"}
    ]
    assert {grade["scheme"] for grade in body["events"][0]["grades"]} >= {"CIRSE"}
    series = {one["name"]: one["points"] for one in body["chart"]["series"]}
    assert series["pain (NRS)"] == [[-1, 8], [1, 2]]
    assert series["ODI"] == [[1, 30]]


@pytest.mark.parametrize("entry", [{"day": 1}, {"nrs": 11}, {"nrs": -1}, {"nrs": 3, "after": ""}, {"nrs": "x"}])
def test_a_pain_score_without_sense_is_refused(client: TestClient, entry: dict[str, Any]) -> None:
    answer = client.post("/api/cases/toy/follow-up/pain", json=entry, headers=revision(client))
    assert answer.status_code == 422
    assert client.get("/api/cases/toy/follow-up").json()["pain"] == []


def test_an_unknown_schedule_is_refused(client: TestClient) -> None:
    answer = client.put("/api/cases/toy/follow-up", json={"schedule": "never"}, headers=revision(client))
    assert answer.status_code == 422


def test_the_cohort_holds_the_case_beside_the_papers_patients(treated: TestClient) -> None:
    body = treated.get("/api/cohort").json()
    rows = {row["pseudonym"]: row for row in body["rows"]}
    assert rows["toy"]["volume_ml"] == 4.5
    assert (rows["toy"]["nrs_before"], rows["toy"]["nrs_after"]) == (8, 2)
    assert rows["yeo"]["example"] is True
    assert rows["yeo"]["nrs_before"] == 6
    share = body["figures"]["responder_share"]
    assert share["n"] == 2
    assert share["low"] < share["value"] <= share["high"]


def test_no_cell_of_the_table_is_a_formula(treated: TestClient) -> None:
    facts = treated.get("/api/cases/toy/facts").json()["facts"]
    treated.put("/api/cases/toy/facts", json={"facts": facts}, headers=revision(treated))
    details = treated.get("/api/cases/toy/procedure").json()["details"]
    details["leak_verdict"] = "=1+1|cmd"
    treated.put("/api/cases/toy/procedure/details", json=details, headers=revision(treated))
    table = list(csv.DictReader(io.StringIO(treated.get("/api/cohort.csv").text)))
    cells = [cell for row in table for cell in row.values()]
    assert not [
        cell for cell in cells if cell.startswith(("=", "+", "@")) or (cell.startswith("-") and cell[1:2] == "=")
    ]
    assert "'=1+1|cmd" in cells


@pytest.mark.parametrize(
    ("aetiology", "tumour", "cause"),
    [
        (Aetiology.LYMPHOMA, "", "lymphoma"),
        (Aetiology.METASTASIS, "lung cancer", "lung"),
        (Aetiology.METASTASIS, "thyroid", "other metastasis"),
        (Aetiology.DIRECT_INVASION, "rectal", "rectal"),
        (Aetiology.INSUFFICIENCY_FRACTURE, "", "osteoporotic insufficiency fracture"),
        (None, "", "other"),
    ],
)
def test_the_registrys_word_for_a_cause(aetiology: Aetiology | None, tumour: str, cause: str) -> None:
    assert cause_of(PatientFacts(aetiology=aetiology, primary_tumour=tumour)) == cause


def test_hostile_words_come_back_as_they_went_in(client: TestClient) -> None:
    entry = {"name": HOSTILE, "words": HOSTILE}
    answer = client.post("/api/cases/toy/follow-up/contacts", json=entry, headers=revision(client))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["contacts"][0]["words"] == HOSTILE


def test_unknown_steps_are_refused_in_the_rules() -> None:
    with pytest.raises(SacroplastyError, match="no such step"):
        checklist.step_of("lunch")
