"""Long work survives reloads, restarts and cancels; what was stored stays, and nothing is overwritten unseen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from sacroplasty.case import CaseFolder
from sacroplasty.errors import CaseError
from sacroplasty.workstation.casebook import Casebook
from sacroplasty.workstation.jobs import Job, Jobs, JobState, Report
from sacroplasty.workstation.refusals import Refused
from sacroplasty.workstation.work import parameters_of, perform
from sacroplasty.workstation.working import WorkingFolder
from tests.workstation.conftest import client_of, revision


def ended(client: TestClient, job: dict[str, Any], seconds: float = 500.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(f"/api/jobs/{job['id']}").json()
        if found["state"] not in {"queued", "running"}:
            return found
        time.sleep(0.1)
    raise AssertionError(f"still {found}")


def test_a_stage_runs_in_a_worker_and_comes_back_as_done(cases: Path) -> None:
    with client_of(cases, workers=1) as client:
        body = {"centre_mm": [0.0, 14.0, -15.0], "radius_mm": 9.0}
        job = client.post("/api/cases/toy/lesion", json=body, headers=revision(client))
        assert job.status_code == 202
        busy = client.post("/api/cases/toy/lesion", json=body, headers=revision(client))
        assert busy.status_code == 409
        facts = client.get("/api/cases/toy/facts").json()["facts"]
        kept = client.put("/api/cases/toy/facts", json={"facts": facts}, headers=revision(client))
        assert kept.status_code == 200, "facts may be written while a stage is computed"
        done = ended(client, job.json())
        assert done["state"] == "done", done
        assert done["result"]["revision"] == client.get("/api/cases/toy").json()["revision"]
        assert client.get("/api/cases/toy").json()["stages"] == ["images", "segment", "lesion"]
        assert client.get("/api/cases/toy/facts").json()["facts"] == facts
        [lesion] = client.get("/api/cases/toy/lesions").json()["lesions"]
        assert lesion["volume_ml"] == pytest.approx(3.05, rel=0.1)


def test_a_failed_job_says_why_without_a_traceback(cases: Path) -> None:
    with client_of(cases, workers=1) as client:
        body = {"click_mm": [0.0, 0.0, 900.0]}
        job = client.post("/api/cases/toy/lesion", json=body, headers=revision(client)).json()
        found = ended(client, job)
        assert found["state"] == "failed"
        assert found["error"]["sentence"]
        assert "Traceback" not in json.dumps(found)
        assert client.get("/api/cases/toy").json()["stages"][-1] == "report"


def queue(tmp_path: Path, **changes: Any) -> Jobs:
    return Jobs(tmp_path / "jobs", tmp_path, **changes)


def test_a_queued_job_outlives_the_server(tmp_path: Path) -> None:
    job = queue(tmp_path, workers=0).submit("run", "a", "all stages", {"parameters": {}})
    again = queue(tmp_path, workers=0)
    assert again.get(job.id).state is JobState.QUEUED
    assert again.on_case("a") is not None


def test_what_ran_when_the_server_died_can_be_resumed(tmp_path: Path) -> None:
    first = queue(tmp_path, workers=0)
    job = first.submit("run", "a", "all stages", {"parameters": {}})
    path = tmp_path / "jobs" / job.id / "job.json"
    path.write_text(path.read_text().replace('"queued"', '"running"'))
    again = queue(tmp_path, workers=0)
    assert again.get(job.id).state is JobState.INTERRUPTED
    assert again.get(job.id).shown()["can_resume"] is True
    assert again.resume(job.id).state is JobState.QUEUED


def test_a_result_written_before_the_server_died_counts(tmp_path: Path) -> None:
    first = queue(tmp_path, workers=0)
    job = first.submit("run", "a", "all stages", {"parameters": {}})
    path = tmp_path / "jobs" / job.id / "job.json"
    path.write_text(path.read_text().replace('"queued"', '"running"'))
    Report(tmp_path / "jobs" / job.id).done({"case": "a"})
    assert queue(tmp_path, workers=0).get(job.id).state is JobState.DONE


def test_one_job_at_a_time_runs_on_a_case(tmp_path: Path) -> None:
    jobs = queue(tmp_path, workers=0)
    first = jobs.submit("run", "a", "all stages", {})
    with pytest.raises(Refused, match="A job is running"):
        jobs.submit("run", "a", "all stages", {})
    jobs.submit("run", "b", "all stages", {})
    assert jobs.cancel(first.id).state is JobState.CANCELLED
    again = jobs.submit("run", "a", "all stages", {})
    with pytest.raises(Refused, match="A job is running"):
        jobs.resume(first.id)
    assert again.state is JobState.QUEUED


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    jobs = queue(tmp_path, workers=0)
    for n in range(32):
        jobs.submit("run", f"case-{n}", "all stages", {})
    with pytest.raises(Refused) as caught:
        jobs.submit("run", "one-more", "all stages", {})
    assert caught.value.status == 429


def test_a_running_job_can_be_cancelled_at_once(cases: Path) -> None:
    with client_of(cases, workers=1) as client:
        job = client.post("/api/demo", json={"name": "zhang-1", "id": "slow"}).json()
        deadline = time.monotonic() + 60
        while client.get(f"/api/jobs/{job['id']}").json()["state"] == "queued" and time.monotonic() < deadline:
            time.sleep(0.05)
        before = time.monotonic()
        cancelled = client.post(f"/api/jobs/{job['id']}/cancel").json()
        assert cancelled["state"] == "cancelled"
        assert time.monotonic() - before < 10
        assert cancelled["can_resume"] is True


def test_a_killed_worker_is_interrupted_not_lost(cases: Path) -> None:
    with client_of(cases, workers=1) as client:
        job = client.post("/api/demo", json={"name": "zhang-1", "id": "killed"}).json()
        deadline = time.monotonic() + 60
        while client.get(f"/api/jobs/{job['id']}").json()["state"] == "queued" and time.monotonic() < deadline:
            time.sleep(0.05)
        jobs = client.app.app.state.station.jobs  # type: ignore[attr-defined]
        jobs._running[job["id"]].kill()
        assert ended(client, job)["state"] == "interrupted"


def test_a_result_is_not_stored_over_something_newer(cases: Path) -> None:
    folder = WorkingFolder.begin(cases / "toy")
    other = CaseFolder.open(cases / "toy")
    other.write_value("lesion", (), made_from={})
    made_from = {"lesion": "before"}
    with pytest.raises(CaseError, match="changed meanwhile"):
        folder.write_value("plan", (), made_from=made_from)
    fresh = WorkingFolder.begin(cases / "toy")
    CaseFolder.open(cases / "toy").write_value("facts", {"facts": {}})
    fresh.write_value("plan", (), made_from=made_from)
    assert Casebook(cases).open("toy").has("facts")


def test_a_run_goes_on_at_the_first_missing_stage(cases: Path) -> None:
    said: list[str] = []
    job = Job("x", "run", "toy", "all stages", {"parameters": {}})
    before = Casebook(cases).open("toy").index["stages"]["plan"]
    perform(cases, job, lambda fraction, message: said.append(message))
    assert Casebook(cases).open("toy").index["stages"]["plan"] == before
    assert said == ["Preparing the pictures"]
    assert list((cases / ".workstation" / "display" / "toy").glob("mesh-sacrum-*/mesh.gz"))


@pytest.mark.parametrize(
    ("values", "word"), [({"gauge": "thick"}, "whole number"), ({"guidance": 3}, "word")]
)  # fmt: skip
def test_a_stage_parameter_of_the_wrong_kind_is_refused(values: dict[str, Any], word: str) -> None:
    with pytest.raises(Exception, match=word):
        parameters_of("plan", values)


@pytest.mark.parametrize(
    ("name", "parameter"), [("segment", "labels"), ("segment", "mr"), ("lesion", "mask"), ("lesion", "mr_mask")]
)
def test_a_parameter_may_not_name_a_file(client: TestClient, name: str, parameter: str) -> None:
    body = {"parameters": {parameter: "/etc/passwd"}}
    answer = client.post(f"/api/cases/toy/stages/{name}", json=body, headers=revision(client))
    assert answer.status_code == 422
    assert "no such parameter" in answer.json()["sentence"]


def test_a_page_hears_of_jobs_and_changes(client: TestClient, cases: Path) -> None:
    station = client.app.app.state.station  # type: ignore[attr-defined]
    mine = station.listeners.join()
    job = client.post("/api/cases/toy/stages/plan", json={}, headers=revision(client)).json()
    assert "event: job" in mine.get_nowait()
    client.post(f"/api/jobs/{job['id']}/cancel")
    messages = [mine.get_nowait(), mine.get_nowait()]
    assert any("event: case" in one for one in messages)
    station.listeners.leave(mine)


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"id": 1}', '{"state": "asleep"}', "\ud800"])
def test_a_damaged_job_keeps_nobody_from_the_others(cases: Path, content: str) -> None:
    with client_of(cases) as client:
        body = {"parameters": {}}
        kept = client.post("/api/cases/toy/stages/report", json=body, headers=revision(client)).json()["id"]
    (cases / ".workstation" / "jobs" / "broken").mkdir()
    path = cases / ".workstation" / "jobs" / "broken" / "job.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with client_of(cases) as client:
        assert [job["id"] for job in client.get("/api/jobs").json()["jobs"]] == [kept]
