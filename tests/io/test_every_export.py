"""Every export is read back by another program: one walk over all that a case writes, and each format on its own.

dcmtk (dcmdump, dsrdump, drtdump, dcmj2pnm, dcm2pdf, dcmp2pgm), dicom3tools' validator, dcmqi, SimpleITK, slicerio,
trimesh, Pillow, pypdf, pyigtl and a schema of Slicer's markups.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import trimesh
from PIL import Image
from pydicom.dataset import Dataset

from sacroplasty.fluoroscopy import CArm, View
from sacroplasty.io import needle_pose_message, read_nifti, send, trajectory_message
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.report.dicom_export import encapsulated_pdf, measurement_report, secondary_capture, segmentation
from sacroplasty.report.dicom_presentation import presentation_state
from sacroplasty.report.dicom_source import ct_series, saved
from sacroplasty.report.dicom_structures import structure_set
from sacroplasty.report.slicer_scene import markups, view_markups
from sacroplasty.space import Mask, Volume
from tests.data import sacroplasty
from tests.io.made_dicom import body_ct
from tests.report.test_dicom_export import WHEN, small_labels, small_plan, tool


def numbers(count: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}


TEXT, SWITCH = {"type": "string"}, {"type": "boolean"}
# What version 1.0.3 of Slicer's published markups schema says of the fields we write, all of it read and put down anew;
# stricter in that a field it does not name is a mistake here.
POINT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "label", "position"],
    "properties": {
        "id": TEXT, "label": TEXT, "description": TEXT, "associatedNodeID": TEXT, "position": numbers(3),
        "orientation": numbers(9), "selected": SWITCH, "locked": SWITCH, "visibility": SWITCH,
        "positionStatus": {"enum": ["undefined", "preview", "defined"]},
    },
}  # fmt: skip
MEASUREMENT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": TEXT, "enabled": SWITCH, "value": {"type": "number"}, "units": TEXT, "description": TEXT,
        "printFormat": TEXT,
    },
}  # fmt: skip
MARKUP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "coordinateSystem", "controlPoints"],
    "properties": {
        "type": {"enum": ["Fiducial", "Line", "Angle", "Curve", "ClosedCurve", "Plane", "ROI"]},
        "name": TEXT, "coordinateSystem": {"enum": ["LPS", "RAS"]},
        "coordinateUnits": {"enum": ["mm", "um"]}, "locked": SWITCH, "fixedNumberOfControlPoints": SWITCH,
        "labelFormat": TEXT, "controlPoints": {"type": "array", "items": POINT},
        "measurements": {"type": "array", "items": MEASUREMENT},
    },
}  # fmt: skip
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["@schema", "markups"],
    "properties": {
        "@schema": {"type": "string", "pattern": r"markups-schema-v1\.0\.3\.json#$"},
        "markups": {"type": "array", "minItems": 1, "items": MARKUP},
    },
}


def require_markups(found: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft7Validator(SCHEMA).validate(found)


def test_markups_fit_the_fields_of_slicers_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    view = View(CArm.profile(), 12.0, -20.0, (5.0, 12.0, -871.5), name="AP of S1")
    good = json.loads(json.dumps(markups(small_plan())))
    require_markups(good)
    require_markups(json.loads(json.dumps(view_markups([view]))))
    point = good["markups"][0]["controlPoints"][0]
    for change in ({"position": [1.0, 2.0]}, {"positionStatus": "set"}, {"visible": True}, {"locked": 1}):
        before = dict(point)
        point.update(change)
        with pytest.raises(jsonschema.ValidationError):
            require_markups(good)
        point.clear()
        point.update(before)
    for change in ({"description": "not a field of a markup"}, {"type": "Needle"}, {"locked": "yes"}):
        with pytest.raises(jsonschema.ValidationError):
            require_markups({**good, "markups": [{**good["markups"][0], **change}]})
    good["markups"][0]["coordinateSystem"] = "IJK"
    with pytest.raises(jsonschema.ValidationError):
        require_markups(good)


@pytest.mark.hazard("H01")
def test_another_programs_navigation_server_takes_the_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a socket, as in the operating room: pyigtl's server takes the message whole."""
    pyigtl = pytest.importorskip("pyigtl")
    # Its server would take over this process's signals.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = pyigtl.OpenIGTLinkServer(port=port)
    try:
        path = trajectory_message([("S1 right", (10, -20, 30), (1, 2, 3), 2.4)])
        send([path, needle_pose_message((10, -20, 30), (0, -2, 0), device="Needle", time_s=12.5)], port=port)
        until = time.monotonic() + 20
        while "Needle" not in server.incoming_messages and time.monotonic() < until:
            time.sleep(0.05)
        found = server.incoming_messages["Needle"]
        np.testing.assert_allclose(found.matrix[:3, 3], (-10, 20, 30))
        np.testing.assert_allclose(found.matrix[:3, 2], (0, 1, 0), atol=1e-7)
        assert found.timestamp == pytest.approx(12.5)
    finally:
        server.stop()


def test_another_programs_checksum_is_ours() -> None:
    messages = pytest.importorskip("pyigtl.messages")
    for raw in (
        needle_pose_message((10, -20, 30), (0, -2, 0)),
        trajectory_message([("S1 right", (10, -20, 30), (1, 2, 3), 2.4)]),
    ):
        header = messages.MessageBase.parse_header(raw[:58])
        assert header["body_size"] == len(raw) - 58
        assert int.from_bytes(raw[50:58], "big") == messages.CRC64(raw[58:])


def made_objects(ct: Volume) -> dict[str, Dataset]:
    """One of each kind of DICOM object, small."""
    source = ct_series(ct, when=WHEN)
    lesion = Lesion(Mask(ct.array > 400, ct.grid), (12.0, 18.0, -870.0), 3.5, LesionKind.LYTIC)
    labels = small_labels(ct)
    picture = np.random.default_rng(1).integers(0, 255, (40, 32), dtype=np.uint8)
    return {
        "CT": source[0],
        "SEG": segmentation(labels, source, WHEN),
        "SR": measurement_report(small_plan(), source, WHEN, lesion=lesion),
        "RTSTRUCT": structure_set({"sacrum": labels.mask("sacrum")}, source, WHEN),
        "PR": presentation_state(small_plan(), source, WHEN),
        "DOC": encapsulated_pdf(b"%PDF-1.4 test", source, WHEN, title="Plan"),
        "grey": secondary_capture(picture, source, WHEN, description="AP"),
        "colour": secondary_capture(np.stack([picture] * 3, axis=-1), source, WHEN, description="AP", number=2),
    }


@pytest.mark.parametrize("name", ["CT", "SEG", "SR", "RTSTRUCT", "PR", "DOC", "grey", "colour"])
def test_a_validator_of_dicom_finds_no_error(tmp_path: Path, name: str) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is absent")
    path = saved(made_objects(body_ct())[name], tmp_path / "a.dcm")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    broken = pydicom.dcmread(path)
    del broken.StudyInstanceUID
    broken.save_as(tmp_path / "broken.dcm")
    done = subprocess.run(["dciodvfy", str(tmp_path / "broken.dcm")], capture_output=True, text=True, check=False)
    assert "Error" in done.stdout + done.stderr


def test_dcmtk_reads_the_structure_set(tmp_path: Path) -> None:
    path = saved(made_objects(body_ct())["RTSTRUCT"], tmp_path / "rt.dcm")
    said = tool("drtdump", path)
    assert "RT Structure Set object" in said
    assert "NOT FOR CLINICAL USE" in said


def read_segmentation(path: Path, folder: Path, names: set[str]) -> None:
    """dcmqi finds the named segments and writes an image of each."""
    program = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent)) or shutil.which(
        "segimage2itkimage"
    )
    if program is None:
        pytest.skip("dcmqi's segimage2itkimage is absent")
    command = [program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd", "-p", "s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    about = json.loads((folder / "s-meta.json").read_text(encoding="utf-8"))
    found = {s["SegmentLabel"] for group in about["segmentAttributes"] for s in group}
    assert names <= found
    assert len(list(folder.glob("s-*.nrrd"))) == len(found)


def read_object(path: Path, folder: Path, dicom: Path) -> str:
    """An exported DICOM object through the program that is made for its kind; the kind."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    kind = str(ds.Modality)
    if kind == "SEG":
        read_segmentation(path, folder, {"sacrum", "lesion"})
    elif kind == "SR":
        assert "POLYLINE" in tool("dsrdump", "+Pl", path)
    elif kind == "RTSTRUCT":
        assert "RT Structure Set object" in tool("drtdump", path)
        assert "CLOSED_PLANAR" in tool("dcmdump", path)
    elif kind == "DOC":
        pypdf = pytest.importorskip("pypdf")
        tool("dcm2pdf", path, folder / "out.pdf")
        assert "acroplasty" in pypdf.PdfReader(folder / "out.pdf").pages[0].extract_text()
    elif kind == "PR":
        uid = str(ds.GraphicAnnotationSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID)
        image = next(p for p in (dicom / "ct").iterdir() if pydicom.dcmread(p, True).SOPInstanceUID == uid)
        tool("dcmp2pgm", "-p", path, image, folder / "out.pgm")
        assert (folder / "out.pgm").read_bytes().startswith(b"P5")
    else:
        assert kind in {"OT", "CT"}
        tool("dcmj2pnm", "--write-png", path, folder / "out.png")
        assert Image.open(folder / "out.png").size == (ds.Columns, ds.Rows)
    return kind


def read_scene_file(path: Path, case: Path) -> str:
    """A file of the Slicer folder through a program that is not ours; its ending."""
    ending = path.name.split(".", 1)[1]
    if ending == "nii.gz":
        sitk = pytest.importorskip("SimpleITK")
        image = sitk.ReadImage(str(path))
        ours = read_nifti(case / "images" / "ct.nii.gz", Volume)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), ours.array)
        np.testing.assert_allclose(image.GetOrigin(), ours.grid.affine_lps[:3, 3], atol=1e-3)
    elif ending == "seg.nrrd":
        slicerio = pytest.importorskip("slicerio")
        found = slicerio.read_segmentation(str(path))
        present = set(np.unique(found["voxels"]).tolist()) - {0}
        # A structure that the table names may have no voxel; a voxel without a name may not be.
        assert present
        assert present <= {s["labelValue"] for s in found["segments"]}
    elif ending == "stl":
        mesh = trimesh.load(path)
        assert mesh.is_watertight
        assert mesh.volume > 0
    elif ending == "mrk.json":
        require_markups(json.loads(path.read_text(encoding="utf-8")))
    else:
        assert ending == "png"
        Image.open(path).verify()
    return ending


@pytest.mark.real
@pytest.mark.slow
def test_every_file_of_an_exported_case_is_read_by_another_program(labelled_case: Path, tmp_path: Path) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    case = shutil.copytree(labelled_case, tmp_path / "case")
    done = sacroplasty("export", case, "--out", out)
    assert done.returncode == 0, done.stderr[-800:]
    walk_over(case, out, scratch)


def walk_over(case: Path, out: Path, scratch: Path) -> None:
    """Read every written file; every kind that the manual lists must be among them."""
    scene = {read_scene_file(path, case) for path in (out / "slicer").iterdir()}
    assert scene == {"nii.gz", "seg.nrrd", "stl", "mrk.json", "png"}
    objects = {read_object(path, scratch, out / "dicom") for path in (out / "dicom").glob("*.dcm")}
    images = sorted((out / "dicom" / "ct").iterdir())
    objects |= {read_object(path, scratch, out / "dicom") for path in images[:: len(images) // 5]}
    assert objects == {"SEG", "SR", "RTSTRUCT", "DOC", "PR", "OT", "CT"}
