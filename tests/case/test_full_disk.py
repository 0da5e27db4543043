"""A full or failing disk costs nothing that was stored: every kind of write, at every amount of free space and at every
call that can fail, either happens whole or leaves a sentence and the case as it was."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sacroplasty.case import AUDIT, CaseFolder, verify_trail
from sacroplasty.errors import CaseError, InputError
from sacroplasty.space import Grid, LabelMap, Mask, Volume

GRID = Grid.from_affine((20, 20, 20), np.diag([1.0, 1.0, 1.0, 1.0]), "1.2.3")
PAGE = 4096


def volume(level: int) -> Volume:
    return Volume(np.random.default_rng(level).integers(-1000, 1000, GRID.shape).astype(np.int16), GRID)


def value(level: int) -> dict[str, Any]:
    """Numbers, an array, a volume, a mask and labels: every kind of file a stage can hold."""
    ct = volume(level)
    labels = LabelMap((ct.array > 0).astype(np.uint8), GRID, {1: "sacrum"})
    return {"number": level, "array": np.full(500, float(level)), "ct": ct, "mask": Mask(ct.array > 0, GRID),
            "labels": labels}  # fmt: skip


WRITES: dict[str, Callable[[CaseFolder], None]] = {
    "a stage again": lambda case: case.write_value("plan", value(2)),
    "a new stage": lambda case: case.write_value("cement", value(2)),
    "a stage that forgets another": lambda case: case.write_value("images", value(2), forget=("plan",)),
    "a stage with extra files": lambda case: case.write_value("views", {"n": 1}, extra={"a.png": b"x" * 9000}),
    "a decision": lambda case: case.note("override", {"reason": "x" * 5000}),
}


def stored(path: Path) -> CaseFolder:
    """A case with two stages."""
    case = CaseFolder.create(path, "full")
    case.write_value("images", value(1))
    case.write_value("plan", value(1))
    return case


def state(path: Path) -> tuple[dict[str, Any], int]:
    """Index and number of trail entries, after checking every stored file and the trail."""
    case = CaseFolder.open(path)
    for stage, entry in case.index["stages"].items():
        for name in entry["files"]:
            case.file(stage, name)
    return case.index, len(verify_trail(path / AUDIT))


def whole_or_not_at_all(path: Path, kind: str, before: dict[str, Any], error: InputError | None) -> None:
    """After a try at a write: nothing half, nothing acknowledged lost, the trail true, and the case works again."""
    index, entries = state(path)
    if kind == "a decision":
        assert entries == (2 if error else 3)
    assert index["version"] in {before["version"], before["version"] + 1}
    if index["version"] == before["version"]:
        assert index == before
        assert error is not None or kind == "a decision"
    assert verify_trail(path / AUDIT)
    told = [e.details["version"] for e in verify_trail(path / AUDIT) if "version" in e.details]
    assert told[-1] == index["version"]
    assert not [p.name for p in path.iterdir() if p.name.endswith((".new", ".old", ".part"))]
    again = CaseFolder.open(path)
    WRITES[kind](again)
    state(path)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 1 MB, where this process may mount one."""
    place = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here; failing calls are tested below all the same")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def leave_free(place: Path, free: int) -> Path:
    """A ballast file that leaves so many bytes of the file system."""
    ballast = place / "ballast"
    room = os.statvfs(place)
    ballast.write_bytes(b"\0" * max(0, room.f_bavail * room.f_frsize - free))
    return ballast


@pytest.mark.hazard("H12")
@pytest.mark.parametrize("kind", list(WRITES))
def test_a_full_disk_loses_and_tears_nothing(small_disk: Path, kind: str) -> None:
    failed = passed = 0
    for pages in [*range(24), 32, 48, 64]:
        path = small_disk / "case"
        before = dict(stored(path).index)
        ballast = leave_free(small_disk, pages * PAGE)
        caught = None
        case = CaseFolder.open(path)
        try:
            WRITES[kind](case)
            passed += 1
        except InputError as error:
            caught, failed = error, failed + 1
        assert caught is None or "No space left" in caught.got
        # The case opens, and what it says is there is there, while the disk is still full.
        state(path)
        ballast.unlink()
        whole_or_not_at_all(path, kind, before, caught)
        shutil.rmtree(path)
    assert failed
    assert passed


def test_a_case_that_cannot_be_made_is_a_sentence(small_disk: Path) -> None:
    ballast = leave_free(small_disk, 0)
    with pytest.raises(InputError, match="No space left"):
        CaseFolder.create(small_disk / "new", "x")
    ballast.unlink()
    shutil.rmtree(small_disk / "new", ignore_errors=True)
    with pytest.raises(InputError, match="case folder cannot be made"):
        CaseFolder.create(Path("/proc/nothing/case"), "x")


CALLS = [(os, "fsync"), (os, "replace"), (os, "rename"), (os, "open"), (os, "mkdir"), (os, "ftruncate")]


class Failing:
    """Lets so many of the calls that reach the disk pass, then fails one of them, and all later ones if it stays."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, code: int, stays: bool) -> None:
        self.left, self.code, self.stays, self.fired = number, code, stays, False
        for holder, name in CALLS:
            patch.setattr(holder, name, self.wrapped(getattr(holder, name)))

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def may_fail(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == -1 or (self.left < 0 and self.stays):
                self.fired = True
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **named)

        return may_fail


@pytest.mark.hazard("H12")
@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("kind", list(WRITES))
def test_an_error_at_any_call_loses_and_tears_nothing(tmp_path: Path, kind: str, stays: bool) -> None:
    number = 0
    while True:
        path = tmp_path / f"case{number}"
        before = dict(stored(path).index)
        case, caught = CaseFolder.open(path), None
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, number, errno.EIO if number % 2 else errno.ENOSPC, stays)
            try:
                WRITES[kind](case)
            except InputError as error:
                caught = error
        whole_or_not_at_all(path, kind, before, caught)
        if not failing.fired:
            break
        number += 1
    assert caught is None
    # Every kind of write has several calls that can fail; a decision is one line, forced to disk once.
    assert number >= (1 if kind == "a decision" else 9)


def test_a_folder_that_may_not_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = stored(tmp_path / "case")
    place = case.path / ".lock"
    place.unlink()
    place.mkdir()
    with pytest.raises(InputError, match="cannot be locked"):
        case.note("x", {})
    place.rmdir()
    case.note("x", {})
    with pytest.raises(CaseError, match="no case"):
        CaseFolder.open(tmp_path / "nothing")
