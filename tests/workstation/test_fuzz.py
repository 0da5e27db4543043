"""Requests that a machine makes up from the published contract never break the server."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from sacroplasty.workstation.app import app
from sacroplasty.workstation.guard import COOKIE, Session
from tests.workstation.conftest import PORT

schemathesis = pytest.importorskip("schemathesis")

# Examples per route; the benchmark run asks for many.
EXAMPLES = int(os.environ.get("SACROPLASTY_FUZZ_EXAMPLES", "3"))
HOST = f"127.0.0.1:{PORT}"


class Served:
    """A server without workers over a copy of the toy; the contract that it publishes."""

    def __init__(self, root: Path) -> None:
        session = Session()
        guarded = app(root, session=session, port=PORT, workers=0)
        self.headers = {"host": HOST, "cookie": f"{COOKIE}={session.cookie}"}
        self.schema = schemathesis.openapi.from_asgi("/api/openapi.json", guarded, headers=self.headers)

    def check(self, case: Any) -> None:
        """One made-up request, half of them on the case that exists."""
        if case.path_parameters and "case" in case.path_parameters and len(str(case.path_parameters)) % 2:
            case.path_parameters["case"] = "toy"
        answer = case.call(headers=self.headers)
        assert answer.status_code < 500, (case.method, case.formatted_path, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"code", "what", "got", "remedy", "sentence"}


@pytest.fixture(scope="module")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    root = tmp_path_factory.mktemp("fuzz") / "cases"
    shutil.copytree(template, root)
    return Served(root)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=str)
def test_no_request_breaks_the_server(served: Served, mode: Any) -> None:
    tried = 0
    for found in served.schema.get_all_operations():
        operation = found.ok()
        # The stream of events does not end by itself.
        if operation.path != "/api/events":
            checked = settings(
                max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck),
            )(given(operation.as_strategy(generation_mode=mode))(served.check))  # fmt: skip
            with suppress(Unsatisfiable):  # a route that takes nothing cannot be asked wrongly
                checked()
            tried += 1
    assert tried > 60
