"""The local server answers its own page alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from sacroplasty.workstation.guard import COOKIE, Guard, Session

PORT = 8123


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"length": len(await request.body())})


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def client(session: Session) -> Iterator[TestClient]:
    app = Starlette(routes=[Route(path, _echo, methods=["GET", "POST"]) for path in ("/", "/health", "/api/cases")])
    guarded = Guard(app, session, PORT, largest_body_bytes=1000)
    with TestClient(guarded, base_url=f"http://127.0.0.1:{PORT}") as one:
        yield one


@pytest.fixture
def known(client: TestClient, session: Session) -> TestClient:
    client.cookies.set(COOKIE, session.cookie)
    return client


def test_a_stranger_is_refused_everywhere_but_health(client: TestClient) -> None:
    assert client.get("/api/cases").status_code == 401
    assert client.get("/").status_code == 401
    assert client.get("/health").status_code == 200


def test_the_invitation_works_once_and_becomes_a_cookie(client: TestClient, session: Session) -> None:
    answer = client.get(f"/?token={session.invitation}", follow_redirects=False)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/cases").status_code == 200
    client.cookies.clear()
    assert client.get(f"/?token={session.invitation}", follow_redirects=False).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "%00", "token=token"])
def test_a_wrong_token_is_refused(client: TestClient, token: str) -> None:
    assert client.get(f"/?token={token}").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:1", "127.0.0.1.evil.example", ""])
def test_another_host_name_is_refused(known: TestClient, host: str) -> None:
    assert known.get("/api/cases", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1"])
def test_another_origin_is_refused(known: TestClient, origin: str) -> None:
    assert known.post("/api/cases", headers={"origin": origin}).status_code == 403


def test_a_cross_site_form_without_origin_is_refused(known: TestClient) -> None:
    assert known.post("/api/cases", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_the_own_page_is_answered(known: TestClient) -> None:
    assert known.post("/api/cases", headers={"origin": f"http://127.0.0.1:{PORT}"}).status_code == 200


@pytest.mark.parametrize(("length", "status"), [("2000", 413), ("-5", 413), ("many", 400)])
def test_a_large_or_odd_body_is_refused(known: TestClient, length: str, status: int) -> None:
    assert known.post("/api/cases", content=b"", headers={"content-length": length}).status_code == status


def test_every_answer_carries_the_headers(client: TestClient) -> None:
    for path in ("/health", "/api/cases"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_two_sessions_do_not_share_secrets() -> None:
    assert Session().cookie != Session().cookie
    assert not Session().accepts_cookie("")
