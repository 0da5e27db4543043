"""A stored case comes back as it was, survives crashes, and refuses what was changed or written by another hand."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sacroplasty.case import CaseFolder, verify_trail
from sacroplasty.case.store import AUDIT
from sacroplasty.errors import CaseError, InputError
from sacroplasty.space import Grid, LabelMap, Mask, Volume

GRID = Grid.from_affine((5, 6, 7), [[0.7, 0, 0, 1.1], [0, 0.7, 0.1, -33.3], [0, 0, 1.3, 7], [0, 0, 0, 1]], "1.2.3")


def volume(level: int = 0) -> Volume:
    return Volume((np.arange(210).reshape(5, 6, 7) + level).astype(np.int16), GRID)


@pytest.fixture
def stored(tmp_path: Path) -> CaseFolder:
    folder = CaseFolder.create(tmp_path / "case", "test")
    folder.write_value("images", volume(), path="ct")
    return folder


def test_images_come_back_bit_for_bit(stored: CaseFolder) -> None:
    labels = LabelMap(np.ones(GRID.shape, np.uint8), GRID, {1: "sacrum"})
    stored.write_value("segment", (volume(3), Mask(volume().array > 100, GRID), labels))
    kind = tuple[Volume, Mask, LabelMap]
    back, mask, names = CaseFolder.open(stored.path).read_value("segment", kind)
    np.testing.assert_array_equal(back.array, volume(3).array)
    np.testing.assert_array_equal(back.grid.affine_lps, GRID.affine_lps)
    assert back.grid.frame_of_reference_uid == "1.2.3"
    assert mask.array.sum() == (volume().array > 100).sum()
    assert dict(names.names) == {1: "sacrum"}


@pytest.mark.hazard("H14")
def test_changing_a_stage_forgets_what_came_after(stored: CaseFolder) -> None:
    stored.write_value("plan", {"a": 1})
    stored.write_value("images", volume(1), path="ct", forget=("plan",))
    again = CaseFolder.open(stored.path)
    assert not again.has("plan")
    assert not (stored.path / "plan").exists()
    with pytest.raises(CaseError, match="has no plan"):
        again.read_value("plan", dict)


@pytest.mark.hazard("H09")
def test_a_file_changed_outside_is_refused(stored: CaseFolder) -> None:
    file = stored.path / "images" / "ct.nii.gz"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(CaseError, match="changed outside"):
        CaseFolder.open(stored.path).read_value("images", Volume)


@pytest.mark.hazard("H12")
def test_a_second_writer_is_refused(stored: CaseFolder) -> None:
    other = CaseFolder.open(stored.path)
    other.write_value("plan", {"by": "other"})
    with pytest.raises(CaseError, match="another window"):
        stored.write_value("plan", {"by": "this"})
    assert CaseFolder.open(stored.path).read_value("plan", dict[str, str]) == {"by": "other"}


@pytest.mark.hazard("H12")
def test_a_failed_write_leaves_the_old_result(stored: CaseFolder) -> None:
    stored.write_value("plan", {"number": 1})

    def fail(folder: Path) -> None:
        (folder / "half").write_text("torn")
        raise OSError("no space left")

    with pytest.raises(InputError, match="no space"):
        stored.write("plan", fail)
    assert CaseFolder.open(stored.path).read_value("plan", dict[str, int]) == {"number": 1}
    assert not list(stored.path.glob(".*.new"))


@pytest.mark.parametrize("moment", ["before the swap", "between the renames"])
def test_a_crash_after_the_commit_is_finished_on_opening(stored: CaseFolder, moment: str) -> None:
    stored.write_value("plan", {"number": 1})
    stored._swap = lambda stage: None  # type: ignore[method-assign]
    stored.write_value("plan", {"number": 2})
    if moment == "between the renames":
        (stored.path / "plan").replace(stored.path / ".plan.old")
    assert CaseFolder.open(stored.path).read_value("plan", dict[str, int]) == {"number": 2}


def test_foreign_folders_newer_cases_and_non_cases_are_refused(tmp_path: Path, stored: CaseFolder) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(CaseError, match="not a case"):
        CaseFolder.create(tmp_path / "photos", "x")
    with pytest.raises(CaseError, match="is a file"):
        CaseFolder.create(tmp_path / "photos" / "cat.jpg", "x")
    with pytest.raises(CaseError, match="no case"):
        CaseFolder.open(tmp_path / "photos")
    index = stored.path / "case.json"
    index.write_text(index.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(CaseError, match="newer version"):
        CaseFolder.open(stored.path)


def test_every_step_is_in_the_trail(stored: CaseFolder) -> None:
    stored.write_value("plan", {"number": 1})
    stored.note("override", {"reason": "urged by the family"})
    events = [entry.event for entry in verify_trail(stored.path / AUDIT)]
    assert events == ["stage images", "stage plan", "override"]


@pytest.mark.hazard("H16")
def test_the_folder_is_for_its_owner_only(stored: CaseFolder) -> None:
    assert stored.path.stat().st_mode & 0o077 == 0


@pytest.mark.hazard("H12")
def test_opening_a_case_does_not_disturb_a_write_that_is_going_on(stored: CaseFolder) -> None:
    # Forked while the lock is held, so it inherits the lock's handle too; the lock must be given back all the same.
    reader = multiprocessing.get_context("fork").Process(target=CaseFolder.open, args=(stored.path,))

    def slowly(folder: Path) -> None:
        (folder / "a.txt").write_text("half", encoding="utf-8")
        reader.start()
        reader.join(0.3)
        assert reader.is_alive(), "it must wait for the writer"
        assert (folder / "a.txt").read_text(encoding="utf-8") == "half"

    stored.write("plan", slowly)
    reader.join(60)
    assert reader.exitcode == 0
    assert CaseFolder.open(stored.path).file("plan", "a.txt").read_text(encoding="utf-8") == "half"


def _write_forever(path: Path, acknowledged: Path) -> None:
    folder = CaseFolder.open(path)
    number = 0
    while True:
        number += 1
        folder.write_value("plan", {"number": number, "padding": "x" * 20000})
        with acknowledged.open("a") as stream:
            stream.write(f"{number}\n")


@pytest.mark.hazard("H12")
def test_kills_lose_nothing_that_was_acknowledged(stored: CaseFolder, tmp_path: Path) -> None:
    for round_number in range(12):
        acknowledged = tmp_path / f"acknowledged{round_number}"
        acknowledged.touch()
        process = multiprocessing.get_context("fork").Process(target=_write_forever, args=(stored.path, acknowledged))
        process.start()
        time.sleep(0.05 + 0.013 * round_number)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        last = int((acknowledged.read_text().split() or ["0"])[-1])
        folder = CaseFolder.open(stored.path)
        if last:
            assert folder.read_value("plan", dict[str, Any])["number"] >= last
        trail = verify_trail(stored.path / AUDIT)
        assert trail[-1].details["version"] == folder.index["version"]
