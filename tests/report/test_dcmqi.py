"""Our segmentation, opened by dcmqi's converter and compared voxel by voxel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sacroplasty.report.dicom_export import segmentation
from sacroplasty.report.dicom_source import ct_series, saved
from tests.io.made_dicom import body_ct
from tests.report.test_dicom_export import WHEN, small_labels


def test_dcmqi_finds_every_voxel_of_every_segment(tmp_path: Path) -> None:
    program = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent)) or shutil.which(
        "segimage2itkimage"
    )
    if program is None:
        pytest.skip("dcmqi's segimage2itkimage is absent")
    nrrd = pytest.importorskip("nrrd")
    ct = body_ct()
    labels = small_labels(ct)
    path = saved(segmentation(labels, ct_series(ct, when=WHEN), WHEN), tmp_path / "seg.dcm")
    command = [program, "--inputDICOM", str(path), "--outputDirectory", str(tmp_path), "-t", "nrrd", "-p", "s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    about = json.loads((tmp_path / "s-meta.json").read_text(encoding="utf-8"))
    named = [s["SegmentLabel"] for group in about["segmentAttributes"] for s in group]
    assert sorted(named) == ["hip_left", "sacrum"]
    for number, name in enumerate(("sacrum", "hip_left"), start=1):
        array, header = nrrd.read(str(tmp_path / f"s-{number}.nrrd"))
        assert header["space"] == "left-posterior-superior"
        np.testing.assert_allclose(header["space origin"], ct.grid.affine_lps[:3, 3], atol=1e-3)
        np.testing.assert_allclose(np.abs(header["space directions"]), np.abs(ct.grid.affine_lps[:3, :3].T), atol=1e-4)
        np.testing.assert_array_equal(array > 0, labels.mask(name).array)
