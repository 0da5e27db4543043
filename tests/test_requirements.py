"""docs/requirements.md lists every requirement of the papers, and each row that is done names a test that exists."""

from __future__ import annotations

import re

import pytest

from tests.data import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| R\d+ ", line)
]


def test_every_requirement_has_one_row() -> None:
    assert [row[0] for row in ROWS] == [f"R{n}" for n in range(1, 87)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_is_true(row: list[str]) -> None:
    _, sentence, room, shown_by, state = row
    assert sentence
    assert (ROOT / "src" / "sacroplasty" / room).is_dir()
    assert state in {"open", "done"}
    if state == "done":
        path, _, name = shown_by.strip("`").partition("::")
        assert (ROOT / path).is_file(), f"{shown_by} does not exist"
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
