"""The second readers of enhanced DICOM and NRRD: they agree on good files, and a disagreement is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from sacroplasty.errors import SacroplastyError
from sacroplasty.io import read_ct, read_series, write_nrrd
from sacroplasty.io.series import judge, load
from tests.io.made_dicom import ROOT, body_ct, enhanced, one_slice, save, save_all, series, turned_series, two_stacks


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("order", [None, list(range(27, -1, -1))])
def test_enhanced_multi_frame_has_a_second_reader(tmp_path: Path, order: list[int] | None) -> None:
    ct = body_ct()
    raw = replace(load(save(enhanced(ct, order), tmp_path / "a.dcm")), modality="CT")
    assert raw.second_corners_mm is not None
    np.testing.assert_allclose(judge(raw).volume.grid.corners_mm, ct.grid.corners_mm, atol=1e-3)
    apart = np.array(raw.second_corners_mm)
    apart[:, 0] += 0.5
    with pytest.raises(SacroplastyError, match="Two independent readers"):
        judge(replace(raw, second_corners_mm=apart))


@pytest.mark.hazard("H04")
@pytest.mark.parametrize(
    ("second", "unsaid"), [("same place", "SAC-G015"), ("further up", "SAC-G025"), ("turned", "SAC-G010")]
)
def test_stacks_of_one_enhanced_file_are_offered_and_never_merged(tmp_path: Path, second: str, unsaid: str) -> None:
    ct = body_ct()
    path = save(two_stacks(ct, second), tmp_path / "a.dcm")
    with pytest.raises(SacroplastyError, match=rf"{ROOT}.3#1: 28 CT .* {ROOT}.3#2: 28 CT") as caught:
        load(path)
    assert caught.value.code == "SAC-G010"
    first, other = (judge(replace(load(path, series=f"{ROOT}.3#{n}"), modality="CT")).volume for n in (1, 2))
    np.testing.assert_allclose(first.grid.corners_mm, ct.grid.corners_mm, atol=1e-3)
    np.testing.assert_array_equal(first.array, ct.array)
    if second != "turned":
        move, add = ((0, 0, 120), 0) if second == "further up" else ((0, 0, 0), 1)
        np.testing.assert_allclose(other.grid.corners_mm, ct.grid.corners_mm + move, atol=1e-3)
        np.testing.assert_array_equal(other.array, ct.array + np.int16(add))
    with pytest.raises(SacroplastyError) as caught:
        judge(replace(load(save(two_stacks(ct, second, said=False), tmp_path / "b.dcm")), modality="CT"))
    assert caught.value.code == unsaid


def test_frames_that_are_each_a_stack_of_their_own_are_one_volume(tmp_path: Path) -> None:
    ds = enhanced(body_ct())
    for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.StackID = str(k)
        frame.FrameContentSequence = [content]
    found = judge(replace(load(save(ds, tmp_path / "a.dcm")), modality="CT")).volume
    np.testing.assert_array_equal(found.array, body_ct().array)


def test_a_second_reader_that_cannot_tell_counts_as_disagreement(tmp_path: Path) -> None:
    raw = replace(load(save(enhanced(body_ct()), tmp_path / "a.dcm")), modality="CT")
    with pytest.raises(SacroplastyError, match="Two independent readers"):
        judge(replace(raw, second_corners_mm=np.full((8, 3), np.nan)))


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("written", ["left-posterior-superior", "RAS", "left-anterior-superior"])
def test_nrrd_has_a_second_reader_of_its_text(tmp_path: Path, written: str) -> None:
    ct = body_ct()
    path = write_nrrd(ct, tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", written.encode()))
    raw = replace(load(path), modality="CT")
    assert raw.second_corners_mm is not None
    found = judge(raw).volume.grid.corners_mm
    signs = {"left-posterior-superior": (1, 1, 1), "RAS": (-1, -1, 1), "left-anterior-superior": (1, -1, 1)}[written]
    np.testing.assert_allclose(sorted(map(tuple, found)), sorted(map(tuple, ct.grid.corners_mm * signs)), atol=1e-3)


@pytest.mark.hazard("H01")
def test_readers_are_compared_before_a_tilted_series_is_resampled(tmp_path: Path) -> None:
    made = series(body_ct())
    for n, ds in enumerate(made):
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y + 0.4 * n, z]
    raw = replace(load(save_all(made, tmp_path)), modality="CT")
    judge(raw, resample_tilted=True)
    assert raw.second_corners_mm is not None
    with pytest.raises(SacroplastyError, match="Two independent readers"):
        judge(replace(raw, second_corners_mm=raw.second_corners_mm * (-1, 1, 1)), resample_tilted=True)


@pytest.mark.hazard("H01")
def test_a_bare_volume_is_never_given_with_unsaid_warnings(tmp_path: Path) -> None:
    ct = body_ct()
    warned = save_all(turned_series(ct, (0, 1, 2), (1, 1, 1)), tmp_path / "a")
    for path in warned.iterdir():
        ds = one_slice(ct, int(path.stem) - 1)
        ds.PatientPosition = "HFDR"
        save(ds, path)
    with pytest.raises(SacroplastyError) as caught:
        read_ct(warned)
    assert caught.value.code == "SAC-G080"
    assert "SAC-G037" in caught.value.sentence
    assert read_ct(warned, acknowledge=["SAC-G037"]).grid.same_as(ct.grid)
    with pytest.raises(SacroplastyError, match="SAC-G037"):
        read_ct(warned, acknowledge=["SAC-G026"])
    assert [w.code for w in read_series(warned).warnings] == ["SAC-G037"]
