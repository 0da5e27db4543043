"""Every change to the audit trail is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sacroplasty.case.audit import append_entry, read_trail, verify_trail
from sacroplasty.errors import CaseError


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    file = tmp_path / "audit.jsonl"
    for number in range(6):
        append_entry(file, f"stage {number}", {"by": "operator", "number": number})
    return file


def test_an_untouched_trail_is_whole(trail: Path) -> None:
    assert [entry.number for entry in verify_trail(trail)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.hazard("H14")
def test_every_flipped_character_is_found(trail: Path) -> None:
    text = trail.read_text()
    for place in range(0, len(text) - 1, 7):
        if text[place] == "\n":
            continue
        trail.write_text(text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :])
        head = read_head(text)
        with pytest.raises(CaseError):
            verify_trail(trail, head)


def read_head(text: str) -> str:
    return str(json.loads(text.strip().split("\n")[-1])["sha256"])


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("change", ["delete", "swap"])
def test_removed_or_moved_lines_are_found(trail: Path, change: str) -> None:
    lines = trail.read_text().splitlines(keepends=True)
    lines = lines[:2] + lines[3:] if change == "delete" else [lines[1], lines[0], *lines[2:]]
    trail.write_text("".join(lines))
    with pytest.raises(CaseError, match="was changed"):
        verify_trail(trail)


def test_a_cut_end_is_found_against_the_exported_head(trail: Path) -> None:
    head = read_trail(trail)[-1].sha256
    trail.write_text("".join(trail.read_text().splitlines(keepends=True)[:-1]))
    verify_trail(trail)
    with pytest.raises(CaseError, match="exported head"):
        verify_trail(trail, head)


def test_a_torn_last_line_does_not_hide_the_rest(trail: Path) -> None:
    with trail.open("a") as stream:
        stream.write('{"number": 7, "ti')
    assert len(read_trail(trail)) == 6
    append_entry(trail, "after the power cut")
    assert len(verify_trail(trail)) == 7


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("line", [b'{"Number": 1, "\x85\x96": "t"}', b"[" * 100_000, b'{"number": "1"}', b"3", b"\xff"])
@pytest.mark.parametrize("place", [0, 3])
def test_bytes_that_are_no_entry_are_a_sentence(trail: Path, line: bytes, place: int) -> None:
    lines = trail.read_bytes().splitlines()
    lines[place] = line
    trail.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(CaseError, match=f"line {place + 1}"):
        verify_trail(trail)


@pytest.mark.parametrize("change", [{"number": "1"}, {"details": 3}, {"details": {"version": "x"}}, {"time": None}])
def test_an_entry_of_other_kinds_is_a_sentence(trail: Path, change: dict[str, object]) -> None:
    lines = trail.read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **change})
    trail.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(CaseError, match="line 3"):
        read_trail(trail)
