"""Nothing outside the cases can be reached, nothing large or foreign gets in, nothing of a name is executed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sacroplasty.workstation.guard import COOKIE
from sacroplasty.workstation.station import Setup
from tests.workstation.conftest import client_of, revision

OUTSIDE = ["..", "../toy", "..%2ftoy", "%2e%2e", "toy%2f..%2f..", "/etc", "toy/../../etc", ".workstation", "toy%00",
           "-x", "C:%5c", "\u202etoy"]  # fmt: skip


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "scan.nii.gz").write_bytes(b"x")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(tmp_path)
    return folder


@pytest.fixture
def small(cases: Path, shared: Path) -> Iterator[TestClient]:
    """A server that takes 2 MB at most and may import from one folder."""
    with client_of(cases, setup=Setup({"shared": shared}), limit=2_000_000) as one:
        yield one


def routes(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/api/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def filled(path: str) -> str:
    values = {"case": "toy", "name": "ct", "level": "0", "job": "x", "key": "consent", "number": "1",
              "upload": "0" * 16, "session": "0" * 12, "structure": "sacrum", "kind": "html", "folder": "shared",
              "archive": "a"}  # fmt: skip
    for name, content in values.items():
        path = path.replace(f"{{{name}}}", content)
    return path


def test_every_route_asks_for_the_session(small: TestClient) -> None:
    listed = routes(small)
    assert len(listed) > 60
    for value in (None, "wrong", small.cookies[COOKIE] + "x"):
        small.cookies.delete(COOKIE)
        if value:
            small.cookies.set(COOKIE, value)
        for method, path in listed:
            assert small.request(method, filled(path)).status_code == 401, path
        small.cookies.set(COOKIE, value or "x")


def test_every_route_refuses_another_host_and_origin(small: TestClient) -> None:
    for method, path in routes(small):
        assert small.request(method, filled(path), headers={"host": "evil.example"}).status_code == 421
        assert small.request(method, filled(path), headers={"origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("name", OUTSIDE)
def test_only_cases_of_this_folder_open(small: TestClient, cases: Path, name: str) -> None:
    (cases.parent / "etc").mkdir(exist_ok=True)
    for rest in ("", "/report.html", "/audit", "/images/ct/0"):
        answer = small.get(f"/api/cases/{name}{rest}")
        assert answer.status_code in {404, 405, 422}, (name, rest)
        assert "secret" not in answer.text


def test_a_case_behind_a_link_is_none(small: TestClient, cases: Path, template: Path) -> None:
    os.symlink(template / "toy", cases / "linked")
    assert [one["id"] for one in small.get("/api/cases").json()["cases"]] == ["toy"]
    assert small.get("/api/cases/linked").status_code == 404


@pytest.mark.parametrize(
    "path", ["..", "../secret.txt", "link/secret.txt", "/etc/passwd", "inner/../../secret.txt", "\0"]
)
def test_a_folder_shows_only_itself(small: TestClient, path: str) -> None:
    assert small.get("/api/folders/shared", params={"path": path}).status_code == 404
    body = {"id": "new", "folder": "shared", "path": path}
    assert small.post("/api/imports", json=body).status_code in {404, 422}


def test_a_folder_lists_what_it_holds_without_links(small: TestClient) -> None:
    entries = small.get("/api/folders/shared").json()["entries"]
    assert [entry["name"] for entry in entries] == ["inner"]
    inner = small.get("/api/folders/shared", params={"path": "inner"}).json()["entries"]
    assert [entry["path"] for entry in inner] == ["inner/scan.nii.gz"]
    assert small.get("/api/folders/other").status_code == 404


@pytest.mark.parametrize("identifier", ["../x", "a/b", "", ".", ".hidden", "x" * 65, "toy", "a b", "ü"])
def test_a_new_case_cannot_land_elsewhere(small: TestClient, cases: Path, identifier: str) -> None:
    before = sorted(cases.parent.rglob("case.json"))
    assert small.post("/api/demo", json={"name": "yeo", "id": identifier}).status_code in {409, 422}
    body = {"id": identifier, "folder": "shared", "path": "inner/scan.nii.gz"}
    assert small.post("/api/imports", json=body).status_code in {409, 422}
    assert sorted(cases.parent.rglob("case.json")) == before


def test_an_oversized_upload_is_refused_and_leaves_nothing(small: TestClient, cases: Path) -> None:
    upload = small.post("/api/uploads").json()["upload"]
    declared = small.put(f"/api/uploads/{upload}/files/0", content=b"x" * 3_000_000)
    assert declared.status_code == 413

    def stream() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    hidden = small.put(f"/api/uploads/{upload}/files/1", content=stream())
    assert hidden.status_code == 413
    assert list((cases / ".workstation" / "uploads" / upload).iterdir()) == []


def test_small_routes_take_small_bodies(cases: Path) -> None:
    with client_of(cases) as client:
        body = b'{"facts": "' + b"x" * (5 << 20) + b'"}'
        answer = client.put("/api/cases/toy/facts", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413


@pytest.mark.parametrize(
    "name", ["../../evil.nii.gz", "/etc/cron.d/x.zip", "a%2f..%2fb.nrrd", "x\u0000.nii", "CON.nii.gz"]
)
def test_an_uploads_name_never_becomes_a_path(small: TestClient, cases: Path, name: str) -> None:
    upload = small.post("/api/uploads").json()["upload"]
    folder = cases / ".workstation" / "uploads" / upload
    header = {"x-file-name": name.encode("utf-8").hex() if "\0" in name else name}
    assert small.put(f"/api/uploads/{upload}/files/3", content=b"abc", headers=header).status_code == 200
    [path] = list(folder.iterdir())
    assert path.name.startswith("00003")
    assert not (cases.parent / "evil.nii.gz").exists()


@pytest.mark.parametrize("upload", ["..", "0" * 15, "0" * 16, "%2e%2e", "jobs"])
def test_an_upload_that_was_not_begun_is_refused(small: TestClient, upload: str) -> None:
    assert small.put(f"/api/uploads/{upload}/files/0", content=b"x").status_code in {404, 405}


def test_a_mask_that_unpacks_without_end_is_refused(cases: Path) -> None:
    with client_of(cases) as client:
        bomb = gzip.compress(b"\0" * 80_000_000)
        answer = client.put("/api/cases/toy/lesion/mask", content=bomb, headers=revision(client))
        assert answer.status_code == 422
        assert "does not fill" in answer.json()["sentence"]
        broken = client.put("/api/cases/toy/lesion/mask", content=b"\x1f\x8bnonsense", headers=revision(client))
        assert broken.status_code == 422


def test_every_answer_is_unstorable_and_scriptless(small: TestClient) -> None:
    for path in ("/", "/health", "/api/cases", "/api/cases/toy/report.html", "/api/none", "/assets/none.js"):
        headers = small.get(path).headers
        assert headers["cache-control"] == "no-store", path
        assert headers["x-content-type-options"] == "nosniff", path
        policy = headers["content-security-policy"]
        assert "unsafe-eval" not in policy
        assert "unsafe-inline" not in policy.replace(
            "style-src 'unsafe-inline'", "" if "sandbox" in policy else "style"
        )


def test_no_error_shows_the_programs_inside(small: TestClient, cases: Path) -> None:
    for path in ("/api/cases/none", "/api/jobs/none", "/api/cases/toy/images/none/0", "/api/none", "/api/uploads"):
        text = small.get(path).text
        assert str(cases) not in text
        assert "Traceback" not in text


def test_a_failure_nobody_foresaw_is_one_sentence(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sacroplasty.workstation import casebook

    session_client = client_of(cases)
    monkeypatch.setattr(casebook.Casebook, "identifiers", lambda self: 1 / 0)
    with TestClient(session_client.app, base_url=str(session_client.base_url), raise_server_exceptions=False) as client:
        client.cookies.update(session_client.cookies)
        answer = client.get("/api/cases")
    assert answer.status_code == 500
    assert answer.json()["sentence"].startswith("The program failed")
    assert answer.headers["cache-control"] == "no-store"
