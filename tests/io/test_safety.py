"""The register of hazards is true: seventeen hazards, their controls, and tests that exist and say which they show."""

from __future__ import annotations

import ast
import os
import stat
import tomllib
from pathlib import Path

import pytest

from sacroplasty.errors import InputError, SacroplastyError
from sacroplasty.io import CODES, read_series, write_atomically
from tests.data import ROOT
from tests.io.made_dicom import body_ct, save_all, series

REGISTER = tomllib.loads((ROOT / "docs" / "safety" / "hazards.toml").read_text(encoding="utf-8"))
PAGE = ROOT / "docs" / "safety" / "hazards.md"


def never_run(path: Path) -> set[str]:
    """Test functions of a file that are always skipped or expected to fail."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            said = {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
            found |= {node.name} if said & {"pytest.mark.skip", "pytest.mark.xfail"} else set()
    return found


def marks(path: Path) -> dict[str, set[str]]:
    """Test functions of a file and the hazards they are marked with."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found[node.name] = {
                call.args[0].value
                for call in node.decorator_list
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.hazard"
            }
    return found


def row(name: str) -> str:
    """The table's row of a hazard."""
    entry = REGISTER[name]
    tests = "<br>".join(f"`{t.split('::')[0].removeprefix('tests/')}` {t.split('::')[1]}" for t in entry["tests"])
    cells = [name, *(entry[key] for key in ("hazard", "cause", "severity", "control")), tests or "none yet"]
    return f"| {' | '.join(cells)} | {entry['state']} |"


def test_the_manual_lists_every_code_of_the_gate() -> None:
    page = (ROOT / "docs" / "door.md").read_text(encoding="utf-8")
    for code, (verdict, words) in CODES.items():
        assert f"| {code} | {verdict} | {words} |" in page


def test_every_hazard_is_in_the_register_and_on_the_page() -> None:
    assert list(REGISTER) == [f"H{n:02}" for n in range(1, 18)]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    for name, entry in REGISTER.items():
        assert row(name) in page, row(name)
        assert entry["state"] in {"shown", "partial", "open"}
        assert bool(entry["tests"]) == (entry["state"] != "open")


@pytest.mark.parametrize("name", list(REGISTER))
def test_its_tests_exist_and_this_rooms_say_so(name: str) -> None:
    for test in REGISTER[name]["tests"]:
        file, _, function = test.partition("::")
        known = marks(ROOT / file)
        assert function in known, test
        assert function not in never_run(ROOT / file), test
        if file.startswith(("tests/io/", "tests/report/", "tests/case/")) and function != "test_verdict":
            assert name in known[function], test


def test_every_hazard_has_a_cause_a_control_and_a_gravity() -> None:
    for name, entry in REGISTER.items():
        for key in ("hazard", "cause", "control"):
            assert len(entry[key]) > 10, f"{name} {key}"
        assert entry["severity"] in {"critical", "serious"}
        assert entry["state"] == "shown", f"{name}: a control without a test"


def test_no_test_stands_for_an_unlisted_hazard() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for function, names in marks(path).items():
            assert names <= REGISTER.keys(), f"{path.name}::{function}"


@pytest.mark.hazard("H12")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, lambda stream: stream.write(b"old"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def full(stream: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write_atomically(path, full)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.hazard("H12")
def test_everything_is_forced_to_disk_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b))[1])
    write_atomically(tmp_path / "a", lambda stream: stream.write(b"x"))
    assert calls == ["fsync", "rename", "fsync"]


@pytest.mark.hazard("H16")
def test_no_name_is_kept_or_said(tmp_path: Path) -> None:
    made = series(body_ct())
    for ds in made:
        ds.PatientName, ds.PatientID = "Canarybird^Anna", "ID-7319"
    folder = save_all(made, tmp_path / "a")
    scan = read_series(folder)
    said = repr(dict(scan.provenance)) + repr(scan.remarks)
    assert "Canarybird" not in said
    assert "7319" not in said
    (folder / "0005.dcm").unlink()
    with pytest.raises(SacroplastyError) as caught:
        read_series(folder)
    assert "Canarybird" not in caught.value.sentence
