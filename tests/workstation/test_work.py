"""What workers do: scans in, corrections, guidance, results out."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sacroplasty.anatomy import Anatomy
from sacroplasty.case import CaseFolder
from sacroplasty.errors import SacroplastyError
from sacroplasty.io import write_nifti
from sacroplasty.plan import State
from sacroplasty.space import Volume
from sacroplasty.workstation import correcting, guiding
from sacroplasty.workstation.archives import archives_of
from sacroplasty.workstation.jobs import Job
from sacroplasty.workstation.work import perform
from tests.workstation.conftest import client_of, revision


def silent(fraction: float, message: str) -> None:
    """Nobody watches."""


def worked(client: TestClient, cases: Path, answer: Any) -> dict[str, Any]:
    """Do a queued job here and now, as its worker would."""
    assert answer.status_code == 202, answer.text
    jobs = client.app.app.state.station.jobs  # type: ignore[attr-defined]
    job = jobs.get(answer.json()["id"])
    result = perform(cases, job, silent)
    jobs.cancel(job.id)
    return result


@pytest.fixture
def scan(template: Path) -> bytes:
    """The toy's CT as a file."""
    return (template / "toy" / "images" / "ct.nii.gz").read_bytes()


def upload(client: TestClient, content: bytes, name: str = "scan.nii.gz") -> str:
    identifier: str = client.post("/api/uploads").json()["upload"]
    answer = client.put(f"/api/uploads/{identifier}/files/0", content=content, headers={"x-file-name": name})
    assert answer.status_code == 200
    return identifier


def test_an_uploaded_scan_is_judged_and_becomes_a_case(client: TestClient, cases: Path, scan: bytes) -> None:
    identifier = upload(client, scan)
    inspection = worked(client, cases, client.post(f"/api/uploads/{identifier}/inspect"))["inspection"]
    assert inspection["verdict"] in {"accept", "warn"}
    body = {"id": "new", "name": "Größe 천골", "upload": identifier}
    result = worked(client, cases, client.post("/api/imports", json=body))
    assert result["case"] == "new"
    assert client.get("/api/cases/new").json()["name"] == "Größe 천골"
    held = CaseFolder.open(cases / "new").read_value("images", Volume)
    assert np.array_equal(held.array, CaseFolder.open(cases / "toy").read_value("images", Volume).array)
    assert client.post(f"/api/uploads/{identifier}/inspect").status_code == 404, "the upload is cleared away"


def test_what_the_gate_refuses_makes_no_case(client: TestClient, cases: Path) -> None:
    identifier = upload(client, b"not an image at all")
    body = {"id": "bad", "upload": identifier}
    with pytest.raises(SacroplastyError):
        worked(client, cases, client.post("/api/imports", json=body))
    assert not (cases / "bad").exists()
    inspection = worked(client, cases, client.post(f"/api/uploads/{identifier}/inspect"))["inspection"]
    assert inspection["verdict"] == "reject"


@pytest.mark.parametrize("more", [{}, {"upload": "0" * 16, "folder": "x"}, {"archive": "clinic"}, {"upload": "zz"}])
def test_an_import_needs_one_known_source(client: TestClient, more: dict[str, str]) -> None:
    assert client.post("/api/imports", json={"id": "new", **more}).status_code in {404, 422}


def test_archives_are_those_of_the_file_alone(client: TestClient, cases: Path) -> None:
    assert client.get("/api/about").json()["archives"] == []
    (cases / "token.txt").write_text("secret\n")
    (cases / "archives.toml").write_text(
        '[clinic]\nhost = "127.0.0.1"\nport = 1\ntitle = "X"\ntimeout_s = 1.0\n'
        '[web]\naddress = "https://pacs.example.org/dicom-web"\ntoken_file = "token.txt"\n'
    )
    assert client.get("/api/about").json()["archives"] == ["clinic", "web"]
    assert archives_of(cases)["web"].token == "secret"  # type: ignore[union-attr]
    assert client.post("/api/archives/other/find", json={"patient_id": "1"}).status_code == 404
    unreachable = client.post("/api/archives/clinic/find", json={"patient_id": "1"})
    assert unreachable.status_code == 422
    assert unreachable.json()["sentence"]
    (cases / "archives.toml").write_text("[clinic]\nport = ")
    assert client.get("/api/about").status_code == 422


def drawn(anatomy: Anatomy, name: str, shift: int = 0) -> bytes:
    array = np.roll(anatomy.labels.mask(name).array, shift, axis=0)
    return gzip.compress(array.astype(np.uint8).tobytes(order="F"))


def test_a_drawn_lesion_is_taken_as_drawn(client: TestClient, cases: Path) -> None:
    folder = CaseFolder.open(cases / "toy")
    anatomy = folder.read_value("segment", Anatomy)
    points = anatomy.labels.grid.centres_mm()
    ball = (np.linalg.norm(points - (0.0, 14.0, -15.0), axis=-1) < 8.0) & (anatomy.labels.array == 1)
    body = gzip.compress(ball.astype(np.uint8).tobytes(order="F"))
    worked(client, cases, client.put("/api/cases/toy/lesion/mask", content=body, headers=revision(client)))
    answer = client.get("/api/cases/toy/images/lesion-1")
    sent = np.frombuffer(client.get(answer.json()["levels"][0]["url"]).content, "u1")
    assert np.array_equal(sent.reshape(ball.shape, order="F"), ball)
    assert client.get("/api/cases/toy").json()["stages"] == ["images", "segment", "lesion"]


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x02" * 100])
def test_a_mask_of_another_size_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.put("/api/cases/toy/lesion/mask", content=body, headers=revision(client))
    assert answer.status_code == 422
    assert "does not fill" in answer.json()["sentence"]


def test_a_drawn_canal_moves_the_keep_out_and_says_so(client: TestClient, cases: Path) -> None:
    anatomy = CaseFolder.open(cases / "toy").read_value("segment", Anatomy)
    before = client.get("/api/cases/toy/plans").json()
    plan = before["plans"][before["chosen"]]
    body = drawn(anatomy, "canal", 1)
    worked(client, cases, client.put("/api/cases/toy/labels/canal", content=body, headers=revision(client)))
    after = CaseFolder.open(cases / "toy").read_value("segment", Anatomy)
    moved = after.labels.mask("canal").centroid_mm() - anatomy.labels.mask("canal").centroid_mm()
    assert moved[0] == pytest.approx(2.0, abs=0.3)
    assert "ANATOMY-DRAWN" in {f.code for f in after.findings}
    assert not CaseFolder.open(cases / "toy").has("plan")
    trail = client.get("/api/cases/toy/audit").json()["entries"]
    assert trail[-1]["event"] == "canal drawn by hand"
    assert plan["feasible"]
    assert client.put("/api/cases/toy/labels/spleen", content=body, headers=revision(client)).status_code == 404


def test_a_moved_foramen_becomes_given(client: TestClient, cases: Path) -> None:
    foramen = client.get("/api/cases/toy/anatomy").json()["foramina"][0]
    x, y, z = foramen["centre_mm"]
    place = {key: foramen[key] for key in ("level", "side", "face")}
    body = {"foramina": [{**place, "centre_mm": [x, y, z + 3]}], "landmarks": {"psis_left": [45, 61, -30]},
            "hiatus_apex_mm": [0, 30, -80], "reason": "Seen on MR"}  # fmt: skip
    worked(client, cases, client.patch("/api/cases/toy/anatomy", json=body, headers=revision(client)))
    after = client.get("/api/cases/toy/anatomy").json()
    assert after["foramina"][0]["state"] == "given"
    assert after["foramina"][0]["centre_mm"] == [x, y, z + 3]
    assert after["landmarks"]["psis_left"]["state"] == "given"
    assert after["hiatus"]["apex_mm"] == [0, 30, -80]
    assert client.get("/api/cases/toy/audit").json()["entries"][-1]["details"]["reason"] == "Seen on MR"


def test_what_was_never_found_cannot_be_moved(cases: Path) -> None:
    anatomy = CaseFolder.open(cases / "toy").read_value("segment", Anatomy)
    lost = anatomy.foramina[0].__class__(**{**anatomy.foramina[0].__dict__, "state": State.NOT_FOUND})
    place = {"level": lost.level, "side": lost.side, "face": lost.face, "centre_mm": (0, 0, 0)}
    with pytest.raises(SacroplastyError, match="no size or direction"):
        correcting.moved(anatomy.with_(foramina=(lost, *anatomy.foramina[1:])), {"foramina": [place]})
    with pytest.raises(SacroplastyError, match="no such landmark"):
        correcting.moved(anatomy, {"landmarks": {"nose": (0, 0, 0)}})


def test_an_export_is_a_zip_of_standard_objects(client: TestClient, cases: Path) -> None:
    result = worked(client, cases, client.post("/api/cases/toy/export", json={"formats": ["slicer"]}))
    answer = client.get(result["url"])
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == result["files"] > 3
    assert client.get("/api/cases/toy/exports/..%2f..%2fcase.json").status_code in {404, 405}
    assert client.post("/api/cases/toy/export", json={"formats": ["exe"]}).status_code == 422


@pytest.fixture(scope="module")
def guided(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A simulated guidance session on the toy, registered with three landmarks clicked where they are seen."""
    import shutil

    cases = tmp_path_factory.mktemp("guided") / "cases"
    shutil.copytree(template, cases)
    views = [{"lao_deg": lao, "cra_deg": cra, "name": name} for lao, cra, name in ((0, 10, "AP"), (90, 0, "lateral"))]
    arguments = {"views": views, "seed": 5, "depth_mm": None, "carm": "mobile"}
    session = perform(cases, Job("x", "simulate shots", "toy", "", arguments), silent)["session"]
    found = {"session": session, "landmarks": [], "calibrated": True}
    perform(cases, Job("y", "register", "toy", "", found), silent)
    return cases, session


@pytest.mark.slow
def test_guidance_finds_the_tip_and_says_how_surely(guided: tuple[Path, str]) -> None:
    cases, session = guided
    with client_of(cases) as client:
        body = client.get(f"/api/cases/toy/guidance/{session}").json()
        assert body["simulated"] is True
        assert body["state"] in {"registered", "refused"}
        shown = client.get(body["shots"][0]["url"])
        assert shown.headers["content-type"] == "image/png"
        if body["state"] == "registered":
            clicks = true_clicks(cases, session)
            answer = client.post(f"/api/cases/toy/guidance/{session}/tip", json={"clicks": clicks})
            assert answer.status_code == 200, answer.text
            assert answer.json()["advice"] in {"continue", "correct", "stop"}
            revealed = client.post(f"/api/cases/toy/guidance/{session}/reveal").json()
            assert revealed["answers"][-1]["error_mm"] < 8.0
        refused = client.post(f"/api/cases/toy/guidance/{session}/tip", json={"clicks": outside()})
        assert refused.status_code in {409, 422}


def outside() -> list[dict[str, Any]]:
    return [{"shot": n, "tip": [9000, 1], "shaft": [1, 1]} for n in (1, 2)]


def true_clicks(cases: Path, session: str, case: str = "toy") -> list[dict[str, Any]]:
    """Where the needle of the simulation stands in each shot, as a person would click it."""
    from sacroplasty.workstation.casebook import Casebook

    folder = guiding.folder_of(Casebook(cases), case, session)
    truth = guiding.read_json(folder / "truth.json")
    found = guiding.registration_of(folder)
    assert found is not None
    tip = np.array(truth["tip_mm"])
    shaft = tip - 50.0 * np.array(truth["direction"])
    clicks = []
    for n, view in enumerate(found.views, start=1):
        frame = guiding.frame_of(view)
        places = frame.points(view.detector_from_patient.points([tip, shaft]))
        clicks.append({"shot": n, "tip": places[0].tolist(), "shaft": places[1].tolist()})
    return clicks


@pytest.mark.slow
def test_shots_are_void_once_the_ct_changes(guided: tuple[Path, str]) -> None:
    from sacroplasty.workflow import store_ct

    cases, session = guided
    folder = CaseFolder.open(cases / "toy")
    ct = folder.read_value("images", Volume)
    store_ct(folder, Volume(np.asarray(ct.array) + np.int16(1), ct.grid), {})
    with client_of(cases) as client:
        assert client.get(f"/api/cases/toy/guidance/{session}").json()["state"] == "void"
        body = {"clicks": [{"shot": n, "tip": [100, 100], "shaft": [120, 100]} for n in (1, 2)]}
        answer = client.post(f"/api/cases/toy/guidance/{session}/tip", json=body)
        assert answer.status_code == 409
        assert client.post(f"/api/cases/toy/guidance/{session}/register", json={}).status_code == 409


def test_an_unregistered_session_gives_no_tip(client: TestClient, cases: Path) -> None:
    arguments = {"views": [{"lao_deg": 0, "cra_deg": 0, "name": ""}] * 2, "seed": 1, "depth_mm": 40.0, "carm": "mobile"}
    session = perform(cases, Job("x", "simulate shots", "toy", "", arguments), silent)["session"]
    body = {"clicks": [{"shot": n, "tip": [100, 100], "shaft": [120, 100]} for n in (1, 2)]}
    answer = client.post(f"/api/cases/toy/guidance/{session}/tip", json=body)
    assert answer.status_code == 409
    assert "not registered" in answer.json()["sentence"]


def test_the_same_seed_gives_the_same_exercise(cases: Path) -> None:
    case = CaseFolder.open(cases / "toy")
    from sacroplasty.workflow import load_case

    plan = load_case(case).plan
    assert plan is not None
    first, second = (guiding.missed(plan.first, np.random.default_rng(7), None) for _ in range(2))
    other = guiding.missed(plan.first, np.random.default_rng(8), None)
    assert first.trajectory == second.trajectory
    assert first.trajectory != other.trajectory


def test_a_venogram_is_stored_with_what_it_was_made_from(cases: Path) -> None:
    perform(cases, Job("x", "stage", "toy", "", {"stage": "venogram", "parameters": {}}), silent)
    with client_of(cases) as client:
        body = client.get("/api/cases/toy/venogram").json()
        assert body["simulated"] is True
        assert body["stale"] is False
        assert sum(one["share"] for one in body["outlets"]) <= 1.0001
        image = client.get("/api/cases/toy/images/venogram").json()
        assert image["type"] == "float32"


def test_a_folder_written_here_is_read_there(cases: Path, tmp_path: Path) -> None:
    """A scan from a named folder goes the same way as an upload: judged first, then made into a case."""
    from sacroplasty.workstation.station import Setup

    ct = CaseFolder.open(cases / "toy").read_value("images", Volume)
    (tmp_path / "scans").mkdir()
    write_nifti(ct, tmp_path / "scans" / "a.nii.gz")
    with client_of(cases, setup=Setup({"scans": tmp_path / "scans"})) as client:
        judged = worked(client, cases, client.post("/api/folders/scans/inspect", json={"path": "a.nii.gz"}))
        assert judged["inspection"]["verdict"] in {"accept", "warn"}
        assert client.post("/api/folders/scans/inspect", json={"path": "../b"}).status_code == 404
        assert client.post("/api/folders/other/inspect", json={"path": ""}).status_code == 404
        body = {"id": "from-folder", "folder": "scans", "path": "a.nii.gz"}
        assert worked(client, cases, client.post("/api/imports", json=body))["case"] == "from-folder"


def test_a_damaged_session_is_a_refusal(client: TestClient, cases: Path) -> None:
    arguments = {"views": [{"lao_deg": 0, "cra_deg": 0, "name": ""}] * 2, "seed": 1, "depth_mm": 40.0, "carm": "mobile"}
    session = perform(cases, Job("x", "simulate shots", "toy", "", arguments), silent)["session"]
    folder = cases / ".workstation" / "guidance" / "toy" / session
    (folder / "registration.json").write_text("{", encoding="utf-8")
    assert client.get(f"/api/cases/toy/guidance/{session}").status_code == 422
