"""Markups, meshes and OpenIGTLink messages, against other programs' readers and writers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sacroplasty.errors import SacroplastyError
from sacroplasty.io import needle_pose_message, read_markups, read_mesh, send, trajectory_message, write_mesh
from sacroplasty.io.markups import load_markups

SCHEMA = "https://example.org/Schema/markups-schema-v1.0.3.json#"


def content(*markups: object, schema: object = SCHEMA) -> str:
    return json.dumps({"@schema": schema, "markups": markups})


def line(system: str | None, **more: object) -> dict[str, object]:
    points = [{"label": "entry", "position": [10, -20, 30], "positionStatus": "defined"},
              {"label": "ghost", "position": [0, 0, 0], "positionStatus": "preview"},
              {"label": "target", "position": [1, 2, 3]}]  # fmt: skip
    found: dict[str, object] = {"type": "Line", "name": "N", "controlPoints": points, **more}
    return found if system is None else {**found, "coordinateSystem": system}


@pytest.mark.hazard("H01")
@pytest.mark.parametrize(("system", "first"), [("LPS", (10, -20, 30)), (None, (10, -20, 30)), ("RAS", (-10, 20, 30))])
def test_slicer_markups_come_in_as_lps(tmp_path: Path, system: str | None, first: tuple[float, ...]) -> None:
    path = tmp_path / "a.mrk.json"
    path.write_text(content(line(system)), encoding="utf-8")
    (markup,) = read_markups(path)
    assert (markup.kind, markup.labels) == ("Line", ("entry", "target"))
    np.testing.assert_array_equal(markup.points_mm[0], first)


POINT = {"position": [1, 2, 3]}


@pytest.mark.parametrize(("text", "code"), [
    ("", "SAC-G003"), ("[]", "SAC-G003"), ("[" * 100000, "SAC-G003"), ("{}", "SAC-G005"),
    (json.dumps({"markups": [line("LPS")]}), "SAC-G005"),
    (content(line("LPS"), schema="markups-schema-v2.0.0.json#"), "SAC-G005"),
    (content(line("LPS"), schema=None), "SAC-G005"),
    (json.dumps({"@schema": SCHEMA}), "SAC-G003"), (json.dumps({"@schema": SCHEMA, "markups": 3}), "SAC-G003"),
    (content({}), "SAC-G003"),
    (content(line("IJK")), "SAC-G050"), (content(line("LPS", coordinateUnits="um")), "SAC-G050"),
    (content(line("LPS", coordinateUnits=["um", "UCUM", "micrometer"])), "SAC-G050"),
    (content(line("LPS", coordinateUnits=[])), "SAC-G003"),
    (content({"type": "Line", "controlPoints": [{"position": [1, 2]}]}), "SAC-G003"),
    (content({"type": "Line", "controlPoints": [{**POINT, "positionStatus": "Defined"}]}), "SAC-G003"),
    (content({"type": "Line", "controlPoints": [{"position": [float("nan"), 1, 2]}]}), "SAC-G033"),
])  # fmt: skip
def test_odd_markups_are_refused(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "a.mrk.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SacroplastyError) as caught:
        load_markups(path)
    assert caught.value.code == code


def test_a_refused_markup_is_a_sentence_of_the_child(tmp_path: Path) -> None:
    path = tmp_path / "a.mrk.json"
    path.write_text(content(line("IJK")), encoding="utf-8")
    with pytest.raises(SacroplastyError, match="neither in LPS nor RAS"):
        read_markups(path)


def test_what_slicers_schema_leaves_open_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "a.mrk.json"
    path.write_text(content({"type": "Fiducial"}, line(None, coordinateUnits=["mm", "UCUM", "millimeter"])))
    empty, full = read_markups(path)
    assert (empty.kind, empty.name, empty.points_mm.shape, empty.labels) == ("Fiducial", "", (0, 3), ())
    np.testing.assert_array_equal(full.points_mm, [(10, -20, 30), (1, 2, 3)])


@pytest.mark.hazard("H01")
def test_fcsv_must_say_its_frame(tmp_path: Path) -> None:
    path = tmp_path / "F.fcsv"
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    for said, first in (("LPS", (1, 2, 3)), ("RAS", (-1, -2, 3)), ("0", (-1, -2, 3)), ("1", (1, 2, 3))):
        path.write_text(f"# CoordinateSystem = {said}\n{columns}0,1,2,3,0,0,0,1,1,1,0,tip,,\n", encoding="utf-8")
        (markup,) = read_markups(path)
        np.testing.assert_array_equal(markup.points_mm, [first])
        assert markup.labels == ("tip",)
    path.write_text(f"{columns}0,1,2,3,0,0,0,1,1,1,0,tip,,\n", encoding="utf-8")
    with pytest.raises(SacroplastyError, match="coordinate system"):
        read_markups(path)


@pytest.mark.parametrize("ending", ["stl", "ply"])
def test_meshes_come_back_and_other_programs_read_them(tmp_path: Path, ending: str) -> None:
    box = trimesh.creation.box((10, 20, 30))
    box.apply_translation((5, -7, 900))
    path = write_mesh(np.asarray(box.vertices), np.asarray(box.faces), tmp_path / f"box.{ending}")
    assert b"SPACE=LPS" in path.read_bytes()[:200]
    vertices, faces = read_mesh(path)
    assert len(faces) == 12
    np.testing.assert_allclose(vertices.mean(axis=0), (5, -7, 900), atol=1e-4)
    theirs = trimesh.load(path)
    assert theirs.is_watertight
    assert theirs.volume == pytest.approx(6000, rel=1e-5)
    np.testing.assert_allclose(theirs.bounds, box.bounds, atol=1e-4)


@pytest.mark.hazard("H01")
def test_a_mesh_that_says_ras_is_turned(tmp_path: Path) -> None:
    path = write_mesh(np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 10]]), np.array([[0, 1, 2]]), tmp_path / "a.stl")
    path.write_bytes(path.read_bytes().replace(b"SPACE=LPS", b"SPACE=RAS"))
    vertices, _ = read_mesh(path)
    assert sorted(map(tuple, vertices.tolist())) == [(-7, -8, 10), (-4, -5, 6), (-1, -2, 3)]


def test_binary_ply_of_other_programs(tmp_path: Path) -> None:
    box = trimesh.creation.box((10, 20, 30))
    path = tmp_path / "a.ply"
    path.write_bytes(trimesh.exchange.ply.export_ply(box, encoding="binary_little_endian"))
    vertices, faces = read_mesh(path)
    np.testing.assert_allclose(vertices, box.vertices, atol=1e-5)
    np.testing.assert_array_equal(faces, box.faces)
    turned = path.read_bytes().replace(b"format binary", b"comment SPACE=RAS\nformat binary", 1)
    path.write_bytes(turned)
    np.testing.assert_allclose(read_mesh(path)[0], box.vertices * (-1, -1, 1), atol=1e-5)


SHORT_PLY = b"ply\nformat ascii 1.0\nelement vertex 9\nelement face 1\nend_header\n1 2 3\n"
BINARY_PLY = b"ply\nformat binary_little_endian 1.0\nend_header\n"


HEAD_PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
)
QUAD_PLY, NEGATIVE_PLY = HEAD_PLY + b"4 0 1 2 3\n", HEAD_PLY + b"3 0 1 -2\n"
HUGE_PLY = HEAD_PLY.replace(b"vertex 4", b"vertex 99999999999") + b"3 0 1 2\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"solid nothing",
        BINARY_PLY,
        b"\0" * 84,
        SHORT_PLY,
        QUAD_PLY,
        NEGATIVE_PLY,
        HUGE_PLY,
        b"ply\n",
        HUGE_PLY.replace(b"ascii", b"binary_big_endian"),
    ],
)
def test_odd_meshes_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.stl"
    path.write_bytes(raw)
    with pytest.raises(SacroplastyError):
        read_mesh(path)


@pytest.mark.hazard("H01")
def test_pyigtl_reads_the_needle_pose() -> None:
    messages = pytest.importorskip("pyigtl.messages")
    raw = needle_pose_message((10, -20, 30), (0, -2, 0), device="Needle", time_s=12.5)
    header = messages.MessageBase.parse_header(raw[:58])
    found = messages.MessageBase.create_message(header["message_type"])
    found.unpack(header, raw[58:])
    assert header["message_type"] == "TRANSFORM"
    assert found.device_name == "Needle"
    # Slicer's RAS: left becomes minus, posterior becomes minus.
    np.testing.assert_allclose(found.matrix[:3, 3], (-10, 20, 30))
    np.testing.assert_allclose(found.matrix[:3, 2], (0, 1, 0), atol=1e-7)
    assert np.linalg.det(found.matrix[:3, :3]) == pytest.approx(1)


def test_trajectory_message_has_the_layout_of_the_protocol() -> None:
    import struct

    raw = trajectory_message([("S1 right", (10, -20, 30), (1, 2, 3), 2.4)])
    version, kind, device, _, size, _ = struct.unpack(">H12s20sQQQ", raw[:58])
    assert (version, kind.rstrip(b"\0"), device.rstrip(b"\0"), size) == (1, b"TRAJ", b"Plan", 150)
    assert len(raw) == 58 + 150
    assert raw[58:122].rstrip(b"\0") == b"S1 right"
    np.testing.assert_allclose(struct.unpack(">7f", raw[58 + 102 : 58 + 130]), (-10, 20, 30, -1, -2, 3, 2.4), rtol=1e-6)


def test_checksum_is_that_of_the_standard() -> None:
    from sacroplasty.io.openigtlink import _crc64

    # Check value of CRC-64/ECMA-182, which OpenIGTLink uses.
    assert _crc64(b"123456789") == 0x6C40DF5F0B497347


def test_nobody_listening_is_a_sentence() -> None:
    with pytest.raises(SacroplastyError, match="No OpenIGTLink server"):
        send([b""], port=1, timeout_s=0.5)
    with pytest.raises(SacroplastyError, match="finite"):
        needle_pose_message((0, 0, float("nan")), (0, 0, 1))
