"""The presentation state: every mark lies on the needle, every image near it is marked, and dcmtk accepts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from sacroplasty.errors import GeometryError
from sacroplasty.plan import Trajectory
from sacroplasty.report.dicom_presentation import piece_on, presentation_state
from sacroplasty.report.dicom_source import ct_series, saved
from sacroplasty.space import Volume
from tests.io.made_dicom import body_ct, turned_series
from tests.report.test_dicom_export import ENTRY, TARGET, WHEN, small_plan, tool

PATH = Trajectory(ENTRY, TARGET)


def with_empty_elements(images: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    for ds in images:
        for name in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex", "ReferringPhysicianName"):
            setattr(ds, name, "")
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return images


def marks_mm(state: pydicom.Dataset, source: list[pydicom.Dataset]) -> dict[str, np.ndarray]:
    """Where the marks lie in the patient, LPS mm, by image; DICOM's own rule for pixels, written anew."""
    by_uid = {str(ds.SOPInstanceUID): ds for ds in source}
    found = {}
    for note in state.GraphicAnnotationSequence:
        uid = str(note.ReferencedImageSequence[0].ReferencedSOPInstanceUID)
        ds, drawn = by_uid[uid], note.GraphicObjectSequence[0]
        points = np.reshape(drawn.GraphicData, (-1, 2))[: 1 if drawn.GraphicType == "CIRCLE" else None]
        orientation = np.array(ds.ImageOrientationPatient, dtype=float)
        down, across = (float(v) for v in ds.PixelSpacing)
        corner = np.array(ds.ImagePositionPatient, dtype=float)
        found[uid] = np.array([
            corner + (x - 0.5) * across * orientation[:3] + (y - 0.5) * down * orientation[3:] for x, y in points
        ])  # fmt: skip
    return found


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_every_mark_lies_on_the_needle(tmp_path: Path, order: tuple[int, int, int]) -> None:
    ct = body_ct()
    plain = order == (0, 1, 2)
    source = ct_series(ct, when=WHEN) if plain else with_empty_elements(turned_series(ct, order, (1, -1, 1)))
    path = saved(presentation_state(small_plan(), source, WHEN), tmp_path / "ps.dcm")
    found = marks_mm(pydicom.dcmread(path), source)
    line, unit = np.array(ENTRY), np.array(PATH.direction)
    for points in found.values():
        for point in points:
            offset = point - line
            assert np.linalg.norm(offset - (offset @ unit) * unit) < ct.grid.spacing_mm[2] / 2 + 0.1
            assert -2 < offset @ unit < PATH.length_mm + 2
    inside = ct.grid.contains(PATH.point_at(np.linspace(0, PATH.length_mm, 300)))
    heights = PATH.point_at(np.linspace(0, PATH.length_mm, 300))[inside][:, order[2]]
    assert len(found) >= np.ptp(heights) / ct.grid.spacing_mm[order[2]] - 1


def test_dcmtk_accepts_it_and_renders_an_image_under_it(tmp_path: Path) -> None:
    source = ct_series(body_ct(), when=WHEN)
    state = presentation_state(small_plan(), source, WHEN)
    path = saved(state, tmp_path / "ps.dcm")
    uid = str(state.GraphicAnnotationSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID)
    image = saved(next(ds for ds in source if str(ds.SOPInstanceUID) == uid), tmp_path / "ct.dcm")
    tool("dcmp2pgm", "-p", path, image, tmp_path / "out.pgm")
    assert (tmp_path / "out.pgm").read_bytes().startswith(b"P5")
    dump = tool("dcmdump", path)
    assert "POLYLINE" in dump
    assert "NOT FOR CLINICAL" in dump
    again = saved(presentation_state(small_plan(), source, WHEN), tmp_path / "again.dcm")
    assert again.read_bytes() == path.read_bytes()


def test_a_needle_elsewhere_is_refused() -> None:
    ct = body_ct()
    away = ct_series(Volume(ct.array, ct.grid.from_affine(ct.grid.shape, np.diag([2.5, 2.5, 2.5, 1.0]))), when=WHEN)
    with pytest.raises(GeometryError, match="No needle passes"):
        presentation_state(small_plan(), away, WHEN)


def test_a_needle_that_stands_on_the_image_is_still_marked() -> None:
    image = ct_series(body_ct(), when=WHEN)[10]
    x, y, z = (float(v) for v in image.ImagePositionPatient)
    piece = piece_on(Trajectory((x + 10, y + 20, z + 50), (x + 10, y + 20, z - 50)), image, 1.25)
    assert piece is not None
    np.testing.assert_allclose(piece, [[4.5, 8.5], [4.5, 8.5]])
