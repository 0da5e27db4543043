"""Exported DICOM objects, read back by highdicom, dcmtk, pypdf, plastimatch-like contour filling and ourselves."""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from reportlab.pdfgen import canvas
from skimage.draw import polygon2mask

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.io import read_labels, read_mask, read_series, read_structures
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.plan import Approach, Clearance, Injection, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.report.dicom_export import (
    code_of,
    encapsulated_pdf,
    measurement_report,
    secondary_capture,
    segmentation,
)
from sacroplasty.report.dicom_source import Identity, ct_series, saved, source_series
from sacroplasty.report.dicom_structures import structure_set
from sacroplasty.space import Grid, LabelMap, Mask, Volume
from tests.data import real
from tests.io.made_dicom import body_ct, save_all, turned_series

WHEN = datetime(2026, 3, 4, 5, 6, 7)
ENTRY, TARGET = (-30.5, 60.25, -860.0), (5.0, 12.0, -871.5)


def small_plan() -> Plan:
    needle = NeedlePlan(
        Needle.gauge(13),
        Trajectory(ENTRY, TARGET),
        clearances=(Clearance("S1 anterior foramen right", 6.2, 50.0, (0.0, 10.0, -870.0)),),
        injections=(Injection(61.0, 2.5, 0.02, "simplex-p"),),
    )
    measures = {"skin_to_lesion_mm": 61.2, "cephalad_deg": -11.0}
    return Plan(Approach.TRANS_SACROILIAC, Side.RIGHT, Level.S1, (needle,), measures)


def small_labels(ct: Volume) -> LabelMap:
    array = np.zeros(ct.grid.shape, dtype=np.uint8)
    array[ct.array == 500] = 1
    array[ct.array == -80] = 4
    return LabelMap(array, ct.grid, {1: "sacrum", 4: "hip_left"})


def tool(*command: str | Path) -> str:
    """Run one of dcmtk's programs; skip where it is absent."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} (dcmtk) is absent")
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


def test_the_case_as_a_ct_series_is_the_same_world(tmp_path: Path) -> None:
    ct = body_ct()
    images = ct_series(ct, Identity(patient_id="C1"), WHEN)
    for n, ds in enumerate(images):
        saved(ds, tmp_path / f"{n}.dcm")
    again = read_series(tmp_path)
    assert again.volume.grid.same_as(ct.grid)
    np.testing.assert_array_equal(again.volume.array, ct.array)
    assert [w.code for w in again.warnings] == ["SAC-G037"]
    assert "ISO_IR" in tool("dcmdump", tmp_path / "0.dcm") or "NOT FOR CLINICAL USE" in tool(
        "dcmdump", tmp_path / "0.dcm"
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_segmentation_comes_back_with_every_frame(tmp_path: Path, order: tuple[int, int, int]) -> None:
    ct = body_ct()
    folder = save_all(turned_series(ct, order, (1, -1, 1) if order[0] else (1, 1, 1)), tmp_path / "ct")
    source = source_series(folder, ct)
    labels = small_labels(ct)
    lesion = Mask(ct.array > 400, ct.grid)
    made = segmentation(labels, source, WHEN)
    assert made.NumberOfFrames == 2 * len(source)
    path = saved(made, tmp_path / "seg.dcm")
    found = read_labels(path)
    assert found.grid.same_as(ct.grid)
    assert {found.names[v] for v in found.names} == {"sacrum", "hip_left"}
    for name in ("sacrum", "hip_left"):
        np.testing.assert_array_equal(found.mask(name).array, labels.mask(name).array)
    assert "BINARY" in tool("dcmdump", "+P", "SegmentationType", path)
    overlapping = saved(segmentation(labels, source, WHEN, lesion=lesion), tmp_path / "both.dcm")
    with pytest.raises(Exception, match="not one label map"):
        read_labels(overlapping)
    alone = saved(
        segmentation(LabelMap(lesion.array.astype(np.uint8), ct.grid, {1: "lesion"}), source, WHEN), tmp_path / "l.dcm"
    )
    np.testing.assert_array_equal(read_mask(alone).array, lesion.array)


def test_same_content_same_bytes(tmp_path: Path) -> None:
    ct = body_ct()
    for name in "ab":
        source = ct_series(ct, when=WHEN)
        saved(segmentation(small_labels(ct), source, WHEN), tmp_path / f"seg{name}.dcm")
        saved(measurement_report(small_plan(), source, WHEN), tmp_path / f"sr{name}.dcm")
    for kind in ("seg", "sr"):
        assert (tmp_path / f"{kind}a.dcm").read_bytes() == (tmp_path / f"{kind}b.dcm").read_bytes()


@pytest.mark.hazard("H13")
def test_report_holds_the_needle_as_a_polyline(tmp_path: Path) -> None:
    import highdicom as hd

    ct = body_ct()
    source = ct_series(ct, when=WHEN)
    lesion = Lesion(Mask(ct.array > 400, ct.grid), (12.0, 18.0, -870.0), 3.5, LesionKind.LYTIC)
    path = saved(measurement_report(small_plan(), source, WHEN, lesion=lesion), tmp_path / "sr.dcm")
    report = hd.sr.srread(str(path))
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    np.testing.assert_allclose(groups[0].roi.value, [ENTRY, TARGET], atol=1e-3)
    assert groups[0].roi.frame_of_reference_uid == ct.grid.frame_of_reference_uid
    values = {m.name.meaning: (m.value, m.unit.value) for m in groups[0].get_measurements()}
    assert values["skin to lesion"] == (61.2, "mm")
    assert values["clearance S1 anterior foramen right"] == (6.2, "mm")
    assert values["cement volume"] == (2.5, "ml")
    text = tool("dsrdump", "+Pl", path)
    assert "Imaging Measurement Report" in text
    assert "POLYLINE" in text
    assert "needle 1: trans-sacroiliac right" in text
    assert "RESEARCH" in str(pydicom.dcmread(path).SeriesDescription)


def test_no_two_measures_share_a_code() -> None:
    walls = ("sacral_canal", "s1_anterior_foramen_left", "s1_anterior_foramen_right", "s1_posterior_foramen_left")
    stems = [f"clearance_{wall}" for wall in walls] + ["depth_skin_to_bone", "depth_skin_to_target", "volume", "length"]
    found = [code_of(stem) for stem in stems]
    assert len(set(found)) == len(stems)
    assert all(len(code) <= 16 and code == code.upper() for code in found)
    assert found == [code_of(stem) for stem in stems]
    assert code_of("volume") == "SAC-VOLUME"


def test_picture_and_pdf_are_opened_by_dcmtk(tmp_path: Path) -> None:
    import pypdf

    source = ct_series(body_ct(), when=WHEN)
    picture = np.random.default_rng(1).integers(0, 255, (41, 33), dtype=np.uint8)
    path = saved(secondary_capture(picture, source, WHEN, description="AP, simulated"), tmp_path / "sc.dcm")
    tool("dcmj2pnm", "+op", "--no-windowing", path, tmp_path / "sc.pgm")
    raw = (tmp_path / "sc.pgm").read_bytes()
    np.testing.assert_array_equal(np.frombuffer(raw[-41 * 33 :], np.uint8).reshape(41, 33), picture)
    colour = np.stack([picture] * 3, axis=-1)
    saved(secondary_capture(colour, source, WHEN, description="plan", number=2), tmp_path / "colour.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "colour.dcm").pixel_array, colour)
    assert pydicom.dcmread(path).PatientOrientation in ("", None)
    buffer = io.BytesIO()
    page = canvas.Canvas(buffer, invariant=1)
    page.drawString(72, 720, "Plan of the right side")
    page.save()
    pdf = saved(encapsulated_pdf(buffer.getvalue(), source, WHEN, title="Plan"), tmp_path / "pdf.dcm")
    tool("dcm2pdf", pdf, tmp_path / "out.pdf")
    assert "right side" in pypdf.PdfReader(tmp_path / "out.pdf").pages[0].extract_text()


def test_structure_set_encloses_the_mask(tmp_path: Path) -> None:
    ct = body_ct()
    source = ct_series(ct, when=WHEN)
    mask = small_labels(ct).mask("sacrum")
    path = saved(structure_set({"sacrum": mask}, source, WHEN), tmp_path / "rt.dcm")
    ds = pydicom.dcmread(path)
    assert ds.StructureSetROISequence[0].ROIName == "sacrum"
    np.testing.assert_array_equal(filled(ds, ct), mask.array)
    assert "CLOSED_PLANAR" in tool("dcmdump", path)
    np.testing.assert_array_equal(read_structures(path, ct.grid)["sacrum"].array, mask.array)
    with pytest.raises(GeometryError, match="frames of reference"):
        read_structures(path, Grid(ct.grid.shape, ct.grid.patient_from_voxel, "1.2.3"))
    with pytest.raises(GeometryError, match="slices"):
        read_structures(path, ct.grid.resized(2.0))
    with pytest.raises(InputError, match="not an RT Structure Set"):
        read_structures(saved(source[0], tmp_path / "ct.dcm"), ct.grid)


def filled(ds: Dataset, ct: Volume) -> np.ndarray:
    """The contours filled again by even-odd, as a radiotherapy program would."""
    again = np.zeros(ct.grid.shape, dtype=bool)
    for contour in ds.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        index = ct.grid.voxel_from_patient.points(points)
        k = round(float(index[0, 2]))
        assert np.ptp(index[:, 2]) < 1e-2
        again[:, :, k] ^= polygon2mask(ct.grid.shape[:2], index[:, :2])
    return again


@pytest.mark.hazard("H09")
def test_a_series_of_another_ct_is_refused(tmp_path: Path) -> None:
    ct = body_ct()
    folder = save_all(turned_series(ct, (0, 1, 2), (1, 1, 1)), tmp_path)
    assert len(source_series(folder, ct)) == 28
    other = ct.grid.from_affine(ct.grid.shape, ct.grid.affine_lps, "1.2.3")
    with pytest.raises(InputError, match="does not fit"):
        source_series(folder, Volume(ct.array, other))
    with pytest.raises(InputError, match="does not fit"):
        source_series(folder, ct.cropped((slice(0, 40), slice(0, 36), slice(0, 28))))


@pytest.mark.real
def test_real_series_as_source_of_a_segmentation(tmp_path: Path) -> None:
    folder = real("taichi/dicom/ct_sagittal")
    ct = read_series(folder).volume
    source = source_series(folder, ct)
    assert len(source) == 38
    labels = LabelMap((ct.array > 250).astype(np.uint8), ct.grid, {1: "sacrum"})
    found = read_labels(saved(segmentation(labels, source, WHEN), tmp_path / "seg.dcm"))
    assert found.grid.same_as(ct.grid)
    np.testing.assert_array_equal(found.array, labels.array)
