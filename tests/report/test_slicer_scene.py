"""The Slicer folder, read back by slicerio, trimesh and our own readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sacroplasty.fluoroscopy import CArm, View
from sacroplasty.io import read_labels, read_markups, read_mask, read_mesh, read_series
from sacroplasty.report.slicer_scene import markups, view_markups, write_slicer_scene
from sacroplasty.report.surface import surface_of
from sacroplasty.space import Grid, Mask
from tests.io.made_dicom import body_ct
from tests.report.test_dicom_export import ENTRY, TARGET, small_labels, small_plan


def test_everything_is_there_and_reads_back(tmp_path: Path) -> None:
    slicerio = pytest.importorskip("slicerio")
    ct = body_ct()
    labels, lesion = small_labels(ct), Mask(ct.array > 400, ct.grid)
    written = write_slicer_scene(tmp_path, ct, labels, small_plan(), lesion=lesion)
    assert sorted(p.name for p in written) == [
        "anatomy.seg.nrrd", "ct.nii.gz", "hip_left.stl", "lesion.seg.nrrd", "lesion.stl", "needles.mrk.json",
        "sacrum.stl"]  # fmt: skip
    np.testing.assert_array_equal(read_series(tmp_path / "ct.nii.gz").volume.array, ct.array)
    found = slicerio.read_segmentation(str(tmp_path / "anatomy.seg.nrrd"))
    assert {s["name"]: s["labelValue"] for s in found["segments"]} == {"sacrum": 1, "hip_left": 4}
    np.testing.assert_array_equal(found["voxels"], labels.array)
    np.testing.assert_allclose(found["ijkToLPS"], ct.grid.affine_lps, atol=1e-9)
    np.testing.assert_array_equal(read_labels(tmp_path / "anatomy.seg.nrrd").array, labels.array)
    np.testing.assert_array_equal(read_mask(tmp_path / "lesion.seg.nrrd").array, lesion.array)
    (needle,) = read_markups(tmp_path / "needles.mrk.json")
    assert needle.labels == ("entry", "target")
    np.testing.assert_allclose(needle.points_mm, [ENTRY, TARGET])


def test_markups_follow_the_schema_that_slicer_publishes() -> None:
    found = json.loads(json.dumps(markups(small_plan())))
    assert found["@schema"].endswith("markups-schema-v1.0.3.json#")
    line = found["markups"][0]
    assert (line["type"], line["coordinateSystem"], line["coordinateUnits"]) == ("Line", "LPS", "mm")
    for point in line["controlPoints"]:
        assert len(point["position"]) == 3
        assert len(point["orientation"]) == 9
        assert point["positionStatus"] in {"undefined", "preview", "defined"}


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_surfaces_look_outwards_and_hold_the_volume(tmp_path: Path, mirror: float) -> None:
    affine = np.diag([mirror * 1.5, 1.0, 2.0, 1.0])
    affine[:3, 3] = (5, 6, 7)
    grid = Grid.from_affine((30, 30, 30), affine)
    x, y, z = np.moveaxis(grid.centres_mm(), -1, 0)
    centre = grid.patient_from_voxel.points((15, 15, 15))
    ball = Mask((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < 100, grid)
    mesh = trimesh.Trimesh(*surface_of(ball), process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4188.8, rel=0.04)
    np.testing.assert_allclose(mesh.center_mass, centre, atol=0.3)


def test_models_lie_where_the_mask_lies(tmp_path: Path) -> None:
    ct = body_ct()
    write_slicer_scene(tmp_path, ct, small_labels(ct), small_plan())
    vertices, _ = read_mesh(tmp_path / "sacrum.stl")
    expected = small_labels(ct).mask("sacrum").points_mm()
    np.testing.assert_allclose(vertices.min(axis=0), expected.min(axis=0) - 1.25, atol=0.01)
    np.testing.assert_allclose(vertices.max(axis=0), expected.max(axis=0) + 1.25, atol=0.01)


def test_views_come_in_as_lines_from_source_to_detector(tmp_path: Path) -> None:
    view = View(CArm.profile(), 12.0, -20.0, (5.0, 12.0, -871.5), name="AP of S1")
    (tmp_path / "v.mrk.json").write_text(json.dumps(view_markups([view])), encoding="utf-8")
    (line,) = read_markups(tmp_path / "v.mrk.json")
    assert line.labels == ("source", "detector")
    np.testing.assert_allclose(line.points_mm[0], view.source_mm)
    length = float(np.linalg.norm(line.points_mm[1] - line.points_mm[0]))
    assert length == pytest.approx(view.carm.source_detector_mm)
    share = view.carm.source_isocentre_mm / view.carm.source_detector_mm
    np.testing.assert_allclose(line.points_mm[0] * (1 - share) + line.points_mm[1] * share, view.isocentre_mm)


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_slicerio_converts_points_to_where_we_read_them(tmp_path: Path, system: str) -> None:
    """Another program's converter from .fcsv to .mrk.json; both files are read as the same places."""
    converter = pytest.importorskip("slicerio.markups")
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    old = tmp_path / "F.fcsv"
    text = f"# Markups fiducial file version = 4.11\n# CoordinateSystem = {system}\n{columns}"
    old.write_text(text + "1,10.5,-20,30,0,0,0,1,1,1,0,tip,,\n", encoding="utf-8")
    (ours,) = read_markups(old)
    (theirs,) = read_markups(converter.fcsv_to_markups_json(str(old), str(tmp_path / "F.mrk.json")))
    np.testing.assert_allclose(theirs.points_mm, ours.points_mm)
    assert theirs.labels == ours.labels == ("tip",)
