"""The second readers of enhanced DICOM and NRRD: they agree on good files, and a disagreement is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sacroplasty.errors import SacroplastyError
from sacroplasty.io import read_ct, read_series, write_nrrd
from sacroplasty.io.series import judge, load
from tests.io.made_dicom import body_ct, enhanced, one_slice, save, save_all, series, turned_series


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
