"""A server that only shows cases: it changes nothing, computes nothing, writes nothing, and says why."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from sacroplasty.cli import app as cli
from sacroplasty.errors import InputError
from sacroplasty.workstation import serve
from sacroplasty.workstation.casebook import Casebook
from sacroplasty.workstation.guard import COOKIE, SAFE_METHODS
from sacroplasty.workstation.images import Images
from sacroplasty.workstation.routes import radiographs
from sacroplasty.workstation.station import Setup
from sacroplasty.workstation.surfaces import Surfaces
from sacroplasty.workstation.work import prepare
from tests.workstation.conftest import client_of, revision
from tests.workstation.test_security import filled, routes

READ_ONLY = Setup(read_only=True)
# A picture is either stored or computed: these routes compute it.
COMPUTED = {"radiograph.png", "radiograph.f32", "radiograph.json"}


@pytest.fixture
def looking(cases: Path) -> Iterator[TestClient]:
    with client_of(cases, setup=READ_ONLY, workers=1) as one:
        yield one


def content(folder: Path) -> dict[str, str]:
    """A digest of every file under the folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_route_that_could_change_something_is_refused(looking: TestClient, cases: Path) -> None:
    before = content(cases)
    changing = [(method, path) for method, path in routes(looking) if method not in SAFE_METHODS]
    assert len(changing) > 35
    for method, path in changing:
        answer = looking.request(method, filled(path), headers={"If-Match": '"1"'}, json={})
        assert answer.status_code == 403, (method, path)
        assert "only shows cases" in answer.json()["sentence"]
        assert "--read-only" in answer.json()["remedy"]
    assert content(cases) == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MERGE"])
def test_a_route_that_is_not_there_is_no_way_around(looking: TestClient, method: str) -> None:
    assert looking.request(method, "/api/nothing").status_code == 403
    assert looking.request(method, "/").status_code == 403


def test_a_stranger_is_still_a_stranger(looking: TestClient) -> None:
    looking.cookies.delete(COOKIE)
    assert looking.post("/api/cases/toy/run").status_code == 401
    assert looking.get("/api/cases").status_code == 401


def test_everything_stored_is_shown_and_nothing_is_written(
    looking: TestClient, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radiographs, "render", lambda *_, **__: pytest.fail("a radiograph was computed"))
    before = content(cases)
    for method, path in routes(looking):
        if method != "GET" or path == "/api/events":
            continue
        address = filled(path)
        status = looking.get(address).status_code
        if Path(path).name in COMPUTED:
            assert status == 403, path
        else:
            assert status in {200, 404, 422}, path
    for name in ("anatomy", "lesions", "plans", "views", "views/1.png", "cement", "suitability", "rehearsal", "facts",
                 "procedure", "follow-up", "guidance", "audit", "citations", "report.html", "report.pdf"):  # fmt: skip
        assert looking.get(f"/api/cases/toy/{name}").status_code == 200, name
    for one in looking.get("/api/cases/toy/images").json()["images"]:
        assert looking.get(one["levels"][0]["url"]).status_code == 200
    for one in looking.get("/api/cases/toy/surfaces").json()["surfaces"]:
        assert looking.get(one["url"]).status_code == 200
    assert content(cases) == before
    assert looking.get("/api/about").json()["read_only"] is True
    assert looking.get("/api/jobs").json()["jobs"] == []


def test_what_an_earlier_session_prepared_is_shown_as_it_lies_there(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Casebook(cases), "toy")
    for kind, name in ((Images, "_image"), (Surfaces, "_mask")):
        monkeypatch.setattr(kind, name, lambda *_: pytest.fail("something was made for the display"))
    before = content(cases)
    with client_of(cases, setup=READ_ONLY) as one:
        for image in one.get("/api/cases/toy/images").json()["images"]:
            assert one.get(image["levels"][0]["url"]).status_code == 200
        for surface in one.get("/api/cases/toy/surfaces").json()["surfaces"]:
            assert one.get(surface["url"]).status_code == 200
    assert content(cases) == before


def test_a_job_of_another_server_is_left_alone(cases: Path) -> None:
    with client_of(cases) as other:
        queued = other.post("/api/cases/toy/stages/report", headers=revision(other))
        assert queued.status_code == 202
        before = content(cases)
        with client_of(cases, setup=READ_ONLY):
            assert content(cases) == before
        assert other.get("/api/jobs").json()["jobs"][0]["state"] == "queued"


def test_a_folder_that_cannot_be_written_is_shown(cases: Path) -> None:
    shutil.rmtree(cases / ".workstation", ignore_errors=True)
    with client_of(cases, setup=READ_ONLY) as one:
        assert one.get("/api/cases/toy/anatomy").status_code == 200
    assert not (cases / ".workstation").exists()


def test_a_folder_to_show_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        serve.serve(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_the_verb_passes_the_option_on(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(serve, "serve", lambda *_, **options: given.append(options["read_only"]))
    for options in ([], ["--read-only"]):
        assert CliRunner().invoke(cli, ["serve", str(cases), *options]).exit_code == 0
    assert given == [False, True]


def test_the_server_says_whether_it_only_shows(cases: Path) -> None:
    with client_of(cases) as one:
        assert one.get("/api/about").json()["read_only"] is False
