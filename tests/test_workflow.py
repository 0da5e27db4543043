"""The main job on real scans: from file to report, the same plan however stored, refusals in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sacroplasty.case import CaseFolder
from sacroplasty.cohort.job import run_job
from sacroplasty.cohort.manifest import Job, keyed
from sacroplasty.report.document import Paragraph, Remark, Table
from sacroplasty.report.fluoroscopy_section import fluoroscopy_section
from sacroplasty.workflow import load_case
from tests.data import LABELLED_SPHERE, canal_runs_through, real, sacroplasty

# A synthetic lytic sphere in the S1 body of each scan: centre (LPS mm) and radius, placed by eye.
SPHERES = {
    "taichi": ("taichi/ct_sacrum_0.7mm.nii.gz", "-14,55,-1242,8"),
    "acrin": ("acrin/ct_pelvis_4.25mm.nii.gz", "-17,74,-731,8"),
    "totalsegmentator": ("totalsegmentator/ct_3mm.nii.gz", LABELLED_SPHERE),
}


@pytest.fixture(scope="module")
def planned(labelled_case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole job on the scan with given labels, in a copy for this module."""
    return shutil.copytree(labelled_case, tmp_path_factory.mktemp("case") / "totalsegmentator")


@pytest.mark.real
def test_the_report_stands_alone(planned: Path) -> None:
    html = (planned / "report" / "report.html").read_text(encoding="utf-8")
    assert "skin to lesion" in html
    assert "marrow space" in html
    assert html.count("data:image/png") >= 8
    assert "http://" not in html
    assert "<script" not in html
    assert (planned / "report" / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.real
def test_the_report_tells_views_visibility_rehearsal_and_dose(planned: Path) -> None:
    case = load_case(CaseFolder.open(planned))
    section = fluoroscopy_section(case)
    remarks = [block for block in section.blocks if isinstance(block, Remark)]
    assert "few defined landmarks" in remarks[0].text
    views, seen, stops = (block for block in section.blocks if isinstance(block, Table))
    assert len(views.rows) == len(case.views) == len(seen.header) - 1
    assert {"ventral cortex", "dorsal canal wall", "S1 anterior foramen left"} <= {row[0] for row in seen.rows}
    assert all(set(row[1:]) <= {"●", "◐", "○"} for row in seen.rows)
    assert stops.rows[0][0] == "skin"
    assert stops.rows[-1][0] == "lesion centre, the target"
    assert any(isinstance(block, Paragraph) and "mGy" in block.text for block in section.blocks)


@pytest.mark.real
def test_the_plan_file_says_everything(planned: Path) -> None:
    plans = json.loads((planned / "plan" / "plan.json").read_text(encoding="utf-8"))
    best = next(plan for plan in plans if plan["feasible"])
    needle = best["needles"][0]
    assert len(needle["trajectory"]["entry_mm"]) == len(needle["trajectory"]["target_mm"]) == 3
    assert needle["crossings"]
    depths = [c["start_depth_mm"] for c in needle["crossings"]]
    assert depths == sorted(depths)
    assert needle["clearances"]
    assert all(plan["feasible"] or plan["reasons"] for plan in plans)
    stage = json.loads((planned / "case.json").read_text(encoding="utf-8"))["stages"]["plan"]
    assert set(stage["made_from"]) == {"images", "segment", "lesion"}
    assert stage["package_version"]


@pytest.mark.real
def test_a_stage_can_be_run_again_from_the_folder(planned: Path) -> None:
    before = (planned / "plan" / "plan.json").read_bytes()
    assert sacroplasty("plan", planned).returncode == 0
    assert (planned / "plan" / "plan.json").read_bytes() == before
    assert sacroplasty("cite", planned).stdout.count("\n") > 10
    assert "unbroken" in sacroplasty("audit", planned).stdout


@pytest.mark.real
@pytest.mark.slow
def test_plans_can_be_dosed_by_simulated_injections(planned: Path, tmp_path: Path) -> None:
    case = shutil.copytree(planned, tmp_path / "case")
    result = sacroplasty("plan", case, "--approach", "trans-sacroiliac", "--forecast")
    assert result.returncode == 0, result.stderr
    plans = json.loads((case / "plan" / "plan.json").read_text(encoding="utf-8"))
    (dosed,) = [plan for plan in plans if "predicted_fill_share" in plan["measures"]]
    assert dosed["rank"] == 1
    assert any("Simulated in 64 injections" in reason for reason in dosed["reasons"])
    given = sum(i["volume_ml"] for needle in dosed["needles"] for i in needle["injections"])
    assert given == pytest.approx(dosed["measures"]["planned_volume_ml"], abs=0.05)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.hazard("H01")
def test_storage_order_does_not_change_the_plan(planned: Path, tmp_path: Path) -> None:
    """Axes permuted and reversed, the world the same: byte for byte the same plan."""
    for name in ("ct_3mm", "labels_3mm"):
        image = nib.load(real(f"totalsegmentator/{name}.nii.gz"))
        turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
        assert nib.aff2axcodes(turned.affine) != nib.aff2axcodes(image.affine)
        nib.save(turned, tmp_path / f"{name}.nii.gz")
    (tmp_path / "labels.txt").write_bytes(real("totalsegmentator/labels.txt").read_bytes())
    options = {"labels": str(tmp_path / "labels_3mm.nii.gz"), "lesion_sphere": LABELLED_SPHERE}
    job = keyed(Job("turned", tmp_path / "ct_3mm.nii.gz", ("segment", "lesion", "plan"), options))
    assert run_job(job, str(tmp_path / "out"))["status"] == "ok"
    found = tmp_path / "out" / "cases" / "turned" / "plan" / "plan.json"
    assert found.read_bytes() == (planned / "plan" / "plan.json").read_bytes()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("scan", ["taichi", "acrin", "totalsegmentator"])
def test_from_a_bare_ct_to_the_report(scan: str, tmp_path: Path) -> None:
    out = tmp_path / scan
    ct, sphere = SPHERES[scan]
    result = sacroplasty("run", "--ct", real(ct), "--lesion-sphere", sphere, "--out", out, "--json")
    assert result.returncode == 0, result.stderr
    assert (out / "report" / "report.html").stat().st_size > 100_000
    anatomy = load_case(CaseFolder.open(out)).anatomy
    assert canal_runs_through(anatomy)
    plans = {p["approach"]: p for p in json.loads(result.stdout)["plans"]}
    if scan == "taichi":
        assert not plans["interpedicular"]["feasible"]
        assert "hiatus" in " ".join(plans["interpedicular"]["reasons"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("sphere", "word"), [("0,0,900,8", "SAC-"), ("1,2,8", "4 numbers"), ("0,-115,218,nan", "4 numbers")]
)
def test_a_lesion_that_is_nowhere_is_refused(planned: Path, sphere: str, word: str) -> None:
    result = sacroplasty("lesion", planned, "--sphere", sphere)
    assert result.returncode == 2
    assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert (planned / "lesion" / "lesion.json").exists()


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "word"),
    [("other grid", "grid"), ("empty", "empty"), ("in the buttock", "bone"), ("outside the body", "air")],
)
def test_a_useless_lesion_mask_is_refused(planned: Path, tmp_path: Path, kind: str, word: str) -> None:
    ct = nib.load(real("totalsegmentator/ct_3mm.nii.gz"))
    lesion = np.zeros(ct.shape, bool)
    if kind == "in the buttock":
        middle = np.linalg.inv(ct.affine) @ [100.0, 60.0, 180.0, 1.0]
        i, j, k = np.rint(middle[:3]).astype(int)
        lesion[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3] = True
    if kind == "outside the body":
        lesion[:4, :4, :4] = True
    affine = ct.affine.copy()
    if kind == "other grid":
        lesion[:], affine[:3, 3] = True, affine[:3, 3] + 0.4
    path = tmp_path / "lesion.nii.gz"
    nib.save(nib.Nifti1Image(lesion.astype(np.uint8), affine), path)
    result = sacroplasty("lesion", planned, "--mask", path)
    assert result.returncode == 2
    assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert (planned / "lesion" / "lesion.json").exists()


@pytest.mark.real
def test_two_series_are_refused_until_one_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    for file in sorted(real("taichi/dicom/ct_sagittal").iterdir()):
        dataset = pydicom.dcmread(file)
        for copy in range(2):
            dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.{copy + 1}"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = (
                f"{dataset.SeriesInstanceUID}.{dataset.InstanceNumber}"
            )
            dataset.save_as(folder / f"{copy}_{file.name}")
    result = sacroplasty("run", "--ct", folder, "--lesion-sphere", "0,0,0,8", "--out", tmp_path / "case")
    assert result.returncode == 2
    assert "series" in result.stderr
    assert not (tmp_path / "case").exists()
