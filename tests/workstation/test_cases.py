"""What a finished case shows is what lies in its folder, at the revision the page has seen."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from sacroplasty.anatomy import Anatomy
from sacroplasty.case import CaseFolder
from sacroplasty.plan import Plan
from sacroplasty.space import Grid, Volume
from sacroplasty.workstation.casebook import Casebook
from sacroplasty.workstation.work import prepare
from tests.workstation.conftest import HOSTILE, client_of, revision


def test_the_list_names_what_is_done(reading: TestClient) -> None:
    [one] = reading.get("/api/cases").json()["cases"]
    assert one["id"] == "toy"
    assert one["stages"] == ["images", "segment", "lesion", "plan", "views", "cement", "report"]
    assert one["decision"] == "trans-sacroiliac, left, S1"
    assert one["simulated"] is True


def test_a_name_in_any_script_comes_back_as_text(reading: TestClient) -> None:
    answer = reading.get("/api/cases/toy")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["name"] == HOSTILE


def test_a_case_says_its_gate_findings_and_revision(reading: TestClient) -> None:
    answer = reading.get("/api/cases/toy")
    body = answer.json()
    assert answer.headers["etag"] == f'"{body["revision"]}"'
    assert body["source"]["remarks"] == [
        {"code": "SAC-G013", "message": "Images were set aside", "acknowledged": False}
    ]
    assert {finding["stage"] for finding in body["findings"]} <= {"segment", "lesion", "plan", "cement"}
    assert body["stale"] == []


def test_looking_at_a_finished_case_writes_nothing_into_it(client: TestClient, cases: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in sorted((cases / "toy").rglob("*")) if p.is_file()}
    paths = ["", "/anatomy", "/lesions", "/plans", "/cement", "/views", "/images", "/surfaces", "/audit",
             "/report.html", "/facts", "/procedure", "/follow-up", "/citations", "/rehearsal"]  # fmt: skip
    for path in paths:
        assert client.get(f"/api/cases/toy{path}").status_code == 200, path
    after = {p: p.stat().st_mtime_ns for p in sorted((cases / "toy").rglob("*")) if p.is_file()}
    assert after == before


@pytest.mark.parametrize("name", ["ct", "labels"])
def test_an_image_travels_bare_with_i_fastest(reading: TestClient, template: Path, name: str) -> None:
    described = reading.get(f"/api/cases/toy/images/{name}").json()
    level = described["levels"][0]
    answer = reading.get(level["url"])
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.content) == level["bytes"]
    folder = CaseFolder.open(template / "toy")
    held = folder.read_value("images", Volume) if name == "ct" else folder.read_value("segment", Anatomy).labels
    kind = {"int16": "<i2", "uint8": "u1"}[described["type"]]
    sent = np.frombuffer(answer.content, kind).reshape(level["shape"], order="F")
    assert np.array_equal(sent, held.array)


def test_geometry_puts_every_corner_where_it_is(reading: TestClient, template: Path) -> None:
    grid = CaseFolder.open(template / "toy").read_value("images", Volume).grid
    for level in reading.get("/api/cases/toy/images/ct").json()["levels"]:
        axes = np.array(level["direction"]).reshape(3, 3) * np.array(level["spacing_mm"])[:, None]
        last = np.array(level["origin_mm"]) + (np.array(level["shape"]) - 1) @ axes
        step = 2 ** level["level"]
        # A coarser voxel's centre is the middle of its block.
        index = (np.array(level["shape"]) - 1) * step + (step - 1) / 2
        assert np.allclose(last, grid.patient_from_voxel.points(index), atol=1e-9)


def test_the_coarsest_level_is_small_and_the_mean_of_the_fine_one(reading: TestClient) -> None:
    levels = reading.get("/api/cases/toy/images/ct").json()["levels"]
    assert np.prod(levels[-1]["shape"]) <= 400_000
    fine = np.frombuffer(reading.get(levels[0]["url"]).content, "<i2").reshape(levels[0]["shape"], order="F")
    coarse = np.frombuffer(reading.get(levels[1]["url"]).content, "<i2").reshape(levels[1]["shape"], order="F")
    assert abs(int(coarse[10, 11, 12]) - fine[20:22, 22:24, 24:26].mean()) <= 0.5


def test_images_and_levels_that_are_not_there_are_404(reading: TestClient) -> None:
    for path in ("images/mr/0", "images/ct/9", "images/lesion-2/0", "images/lesion-0/0", "surfaces/spleen", "venogram"):
        assert reading.get(f"/api/cases/toy/{path}").status_code == 404, path


def mesh(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    magic, version, points, triangles = struct.unpack("<4sIII", content[:16])
    assert (magic, version) == (b"SPMS", 1)
    split = 16 + 12 * points
    assert len(content) == split + 12 * triangles
    vertices = np.frombuffer(content[16:split], "<f4").reshape(-1, 3).astype(float)
    return vertices, np.frombuffer(content[split:], "<u4").reshape(-1, 3)


def test_a_surface_encloses_the_structure_in_lps(reading: TestClient, template: Path) -> None:
    labels = CaseFolder.open(template / "toy").read_value("segment", Anatomy).labels
    vertices, faces = mesh(reading.get("/api/cases/toy/surfaces/hip_left").content)
    corners = vertices[faces]
    volume_ml = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6000
    mask = labels.mask("hip_left")
    assert volume_ml == pytest.approx(mask.volume_ml, rel=0.05)
    assert np.allclose(vertices.mean(axis=0), mask.centroid_mm(), atol=4.0)


def test_every_surface_that_is_listed_can_be_had(reading: TestClient) -> None:
    listed = reading.get("/api/cases/toy/surfaces").json()["surfaces"]
    assert {"sacrum", "canal", "lesion-1", "skin", "cement"} <= {one["name"] for one in listed}
    for one in listed:
        mesh(reading.get(one["url"]).content)
    assert [one["simulated"] for one in listed if one["name"] == "cement"] == [True]


def test_the_cement_surface_grows_with_the_injected_volume(reading: TestClient) -> None:
    sizes = []
    for ml in (0.0, 0.4, 1.0):
        vertices, faces = mesh(reading.get("/api/cases/toy/surfaces/cement", params={"injected_ml": ml}).content)
        corners = vertices[faces]
        sizes.append(float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))))
    assert sizes[0] < sizes[1] < sizes[2]


def test_foramina_come_with_their_outline(reading: TestClient) -> None:
    anatomy = reading.get("/api/cases/toy/anatomy").json()
    one = anatomy["foramina"][0]
    rim = np.array(one["rim_mm"])
    assert rim.shape == (33, 3)
    assert np.allclose(rim[:-1].mean(axis=0), one["centre_mm"], atol=0.01)
    assert "labels" not in anatomy


def test_cement_alarms_are_in_the_order_of_time(reading: TestClient) -> None:
    body = reading.get("/api/cases/toy/cement").json()
    assert body["simulated"] is True
    assert [a["injected_ml"] for a in body["alarms"]] == sorted(a["injected_ml"] for a in body["alarms"])
    assert "saturation" not in body


def test_the_report_may_do_nothing_but_style_itself(reading: TestClient) -> None:
    answer = reading.get("/api/cases/toy/report.html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert reading.get("/api/cases/toy/report.pdf").content.startswith(b"%PDF")


def test_the_trail_says_where_it_was_edited(client: TestClient, cases: Path) -> None:
    assert client.get("/api/cases/toy/audit").json()["unbroken"] is True
    path = cases / "toy" / "audit.jsonl"
    first, *rest = path.read_text().splitlines()
    entry = json.loads(first)
    entry["event"] = "something else"
    path.write_text("\n".join([json.dumps(entry), *rest]) + "\n")
    assert client.get("/api/cases/toy/audit").json()["unbroken"] is False


def test_a_result_of_an_older_plan_is_said_to_be_stale(client: TestClient, cases: Path) -> None:
    folder = CaseFolder.open(cases / "toy")
    folder.write_value(
        "plan", folder.read_value("plan", tuple[Plan, ...])[:1], evidence=[], made_from={"images": "older"}
    )
    stale = client.get("/api/cases/toy").json()["stale"]
    assert {"plan", "cement", "views", "report"} <= set(stale)
    assert client.get("/api/cases/toy/cement").json()["stale"] is True


def test_a_changed_file_is_refused_not_shown(client: TestClient, cases: Path) -> None:
    path = cases / "toy" / "cement" / "cement.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    answer = client.get("/api/cases/toy/cement")
    assert answer.status_code == 409
    assert "changed" in answer.json()["sentence"]


def test_a_damaged_case_does_not_hide_the_others(client: TestClient, cases: Path) -> None:
    (cases / "broken").mkdir()
    (cases / "broken" / "case.json").write_text("{")
    listed = {one["id"]: one for one in client.get("/api/cases").json()["cases"]}
    assert "error" in listed["broken"]
    assert listed["toy"]["revision"] > 0
    assert client.get("/api/cases/broken").status_code == 422


def test_a_server_starts_over_a_damaged_case(cases: Path) -> None:
    (cases / "broken").mkdir()
    (cases / "broken" / "case.json").write_text("{")
    with client_of(cases) as client:
        assert client.get("/api/cases").status_code == 200


def test_facts_lead_to_a_judgement_and_an_override_is_kept_beside_it(client: TestClient) -> None:
    facts = client.get("/api/cases/toy/facts").json()["facts"]
    assert client.get("/api/cases/toy/suitability").json()["verdict"] == "not decided"
    facts["aetiology"], facts["pain"]["nrs"], facts["pain"]["sites"] = "lymphoma", 0.0, ["sacral"]
    kept = client.put("/api/cases/toy/facts", json={"facts": facts}, headers=revision(client))
    assert kept.status_code == 200
    judged = client.get("/api/cases/toy/suitability").json()
    assert judged["verdict"] == "judged unsuitable"
    assert judged["proceeds"] is False
    override = {"reason": "The patient's wish", "by": "the team", "when": "2026-01-02"}
    assert client.put("/api/cases/toy/override", json=override, headers=revision(client)).status_code == 200
    after = client.get("/api/cases/toy/suitability").json()
    assert (after["verdict"], after["proceeds"]) == ("judged unsuitable", True)
    events = [entry["event"] for entry in client.get("/api/cases/toy/audit").json()["entries"]]
    assert "override recorded" in events


@pytest.mark.parametrize("nrs", [11, -1, "NaN", "many"])
def test_impossible_facts_are_refused(client: TestClient, nrs: object) -> None:
    facts = client.get("/api/cases/toy/facts").json()["facts"]
    facts["pain"]["nrs"] = nrs
    answer = client.put("/api/cases/toy/facts", json={"facts": facts}, headers=revision(client))
    assert answer.status_code == 422
    assert answer.json()["sentence"]


def test_two_windows_do_not_overwrite_each_other(client: TestClient) -> None:
    facts = client.get("/api/cases/toy/facts").json()["facts"]
    mine = revision(client)
    assert client.put("/api/cases/toy/facts", json={"facts": facts}).status_code == 428
    assert client.put("/api/cases/toy/facts", json={"facts": facts}, headers=mine).status_code == 200
    theirs = client.put("/api/cases/toy/facts", json={"facts": {**facts, "sex": "male"}}, headers=mine)
    assert theirs.status_code == 409
    assert client.get("/api/cases/toy/facts").json()["facts"]["sex"] == ""


def test_an_mri_has_no_value_where_it_does_not_reach(cases: Path) -> None:
    folder = CaseFolder.open(cases / "toy")
    anatomy = folder.read_value("segment", Anatomy)
    grid = Grid.aligned((-20.0, 0.0, -40.0), (20.0, 30.0, 0.0), 2.0)
    seen = np.random.default_rng(3).normal(300.0, 40.0, grid.shape).astype(np.float32)
    seen[:5] = 0.0
    seen[-1, -1, -1] = 5000.0
    facts = {name: folder.index["stages"]["segment"][name] for name in ("parameters", "evidence", "made_from")}
    folder.write_value("segment", anatomy.with_(maps={"mr": Volume(seen, grid, "1")}), **facts)
    with client_of(cases) as client:
        told = client.get("/api/cases/toy/images/mr").json()
        held = np.frombuffer(client.get(told["levels"][0]["url"]).content, "<f4").reshape(grid.shape, order="F")
    assert np.isnan(held[:5]).all()
    assert np.array_equal(held[5:], seen[5:])
    assert told["highest"] == 5000.0
    assert 150.0 < told["window"][0] < 300.0 < told["window"][1] < 500.0, "one bright voxel leaves the rest readable"


def test_looking_at_a_prepared_case_computes_nothing(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page asks for when a finished case is opened and its results are read, with everything that computes."""
    prepare(Casebook(cases), "toy")
    from sacroplasty.workstation import images, surfaces
    from sacroplasty.workstation.routes import paths, radiographs

    def computed(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    for module, name in ((paths, "evaluate_path"), (radiographs, "render"), (surfaces, "surface_of"),
                         (images.gzip, "compress")):  # fmt: skip
        monkeypatch.setattr(module, name, computed)
    with client_of(cases) as client:
        case = "/api/cases/toy"
        for path in ("", "/audit", "/citations", "/images", "/anatomy", "/lesions", "/plans", "/views", "/cement",
                     "/procedure", "/follow-up", "/facts", "/report.html"):  # fmt: skip
            assert client.get(f"{case}{path}").status_code == 200, path
        for image in client.get(f"{case}/images").json()["images"]:
            for level in image["levels"]:
                assert client.get(level["url"]).status_code == 200
        for surface in client.get(f"{case}/surfaces").json()["surfaces"]:
            assert client.get(surface["url"]).status_code == 200
