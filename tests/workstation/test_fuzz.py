"""Requests that a machine makes up from the published contract never break the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")

from tests.workstation.fuzzing import Fuzzed  # noqa: E402

# Examples per route and mode, and which series of them; a deeper run asks for many.
EXAMPLES = int(os.environ.get("SACROPLASTY_FUZZ_EXAMPLES", "3"))
SERIES = int(os.environ.get("SACROPLASTY_FUZZ_SERIES", "0"))


@pytest.fixture(scope="module")
def fuzzed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Fuzzed:
    return Fuzzed(template / "toy", tmp_path_factory.mktemp("fuzz") / "cases", number=SERIES)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=str)
def test_no_request_breaks_the_server(fuzzed: Fuzzed, mode: Any) -> None:
    assert fuzzed.run(EXAMPLES, mode) > 60
    assert fuzzed.broken == []


@pytest.mark.slow
def test_the_requests_come_through_the_door(fuzzed: Fuzzed) -> None:
    """A fuzz of which everything is refused at once would tell nothing."""
    assert sum(n for code, n in fuzzed.codes.items() if code < 300) > fuzzed.codes.total() / 10
