"""A path under edit is judged as the planner judges, adopted only on the seen revision, and seen in radiographs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sacroplasty.approach import evaluate_path
from sacroplasty.case import Case, CaseFolder, encode
from sacroplasty.plan import Plan, Trajectory
from sacroplasty.workflow import load_case
from tests.workstation.conftest import revision


@pytest.fixture(scope="module")
def case(template: Path) -> Case:
    return load_case(CaseFolder.open(template / "toy"))


def body_of(plan: Plan, **changes: object) -> dict[str, object]:
    path = plan.first.trajectory
    return {"approach": plan.approach, "entry_mm": path.entry_mm, "target_mm": path.target_mm, **changes}


def test_plans_are_those_of_plan_json(reading: TestClient, case: Case) -> None:
    body = reading.get("/api/cases/toy/plans").json()
    assert body["chosen"] == 0
    for shown, plan in zip(body["plans"], case.plans, strict=True):
        for name, content in encode(plan).items():
            if name != "needles":
                assert shown[name] == content
        derived = shown["needles"][0]["derived"]
        assert derived["length_mm"] == plan.first.trajectory.length_mm
        assert dict(map(tuple, shown["spoken"]))["skin to lesion"].endswith("mm")


@pytest.mark.parametrize("offset_mm", [0.0, 4.0, -30.0])
def test_an_edited_path_is_judged_by_the_planners_rules(reading: TestClient, case: Case, offset_mm: float) -> None:
    plan = case.plans[0]
    x, y, z = plan.first.trajectory.entry_mm
    body = body_of(plan, entry_mm=(x, y, z + offset_mm))
    shown = reading.post("/api/cases/toy/paths", json=body).json()["plan"]
    assert case.anatomy is not None
    path = Trajectory((x, y, z + offset_mm), plan.first.trajectory.target_mm)
    expected = evaluate_path(case.ct, case.anatomy, case.lesions[0], plan.approach, path)
    assert shown["feasible"] == expected.feasible
    assert shown["reasons"] == list(expected.reasons)
    assert shown["measures"] == dict(expected.measures)


def test_an_entry_snaps_onto_the_skin_along_the_path(reading: TestClient, case: Case) -> None:
    plan = case.plans[0]
    path = plan.first.trajectory
    for depth in (-25.0, 15.0):
        body = body_of(plan, entry_mm=tuple(path.point_at(depth)), snap=True)
        shown = reading.post("/api/cases/toy/paths", json=body).json()["plan"]
        entry = np.array(shown["needles"][0]["trajectory"]["entry_mm"])
        assert np.linalg.norm(np.cross(entry - path.entry_mm, path.direction)) < 0.01
        assert case.anatomy is not None
        assert case.anatomy.body.contains(entry)
        assert not case.anatomy.body.contains(entry - 2.0 * path.direction)


def test_judging_stores_nothing(client: TestClient, case: Case) -> None:
    before = revision(client)
    assert client.post("/api/cases/toy/paths", json=body_of(case.plans[0])).status_code == 200
    assert revision(client) == before


@pytest.mark.parametrize(
    "changes",
    [{"entry_mm": [0, 0]}, {"entry_mm": [0, 0, 1e9]}, {"entry_mm": ["NaN", 0, 0]}, {"gauge": 3}, {"approach": "up"},
     {"guidance": "luck"}, {"length_mm": 5}, {"more": 1}],
)  # fmt: skip
def test_a_senseless_path_is_refused_with_a_sentence(
    reading: TestClient, case: Case, changes: dict[str, object]
) -> None:
    answer = reading.post("/api/cases/toy/paths", json=body_of(case.plans[0], **changes))
    assert answer.status_code == 422
    assert answer.json()["sentence"]


def test_an_adopted_path_leads_and_forgets_what_was_made_from_the_old_one(client: TestClient, case: Case) -> None:
    plan = case.plans[0]
    x, y, z = plan.first.trajectory.entry_mm
    body = body_of(plan, entry_mm=(x, y, z + 0.5), reason="Further from the joint")
    assert client.post("/api/cases/toy/plans", json=body).status_code == 428
    answer = client.post("/api/cases/toy/plans", json=body, headers=revision(client))
    assert answer.status_code == 200
    assert answer.json()["plan"]["rank"] == 1
    after = client.get("/api/cases/toy").json()
    assert after["stages"] == ["images", "segment", "lesion", "plan"]
    assert after["revision"] == answer.json()["revision"]
    assert client.get("/api/cases/toy/cement").status_code == 404
    entries = client.get("/api/cases/toy/audit").json()["entries"]
    assert entries[-1]["details"]["reason"] == "Further from the joint"
    plans = client.get("/api/cases/toy/plans").json()["plans"]
    assert [one["rank"] for one in plans] == list(range(1, len(case.plans) + 2))


def test_a_path_that_breaks_a_rule_is_kept_but_never_chosen(client: TestClient, case: Case) -> None:
    plan = case.plans[0]
    x, y, z = plan.first.trajectory.entry_mm
    body = body_of(plan, entry_mm=(x, y, z - 60), reason="To show why not")
    assert client.post("/api/cases/toy/plans", json=body, headers=revision(client)).json()["plan"]["feasible"] is False
    body_after = client.get("/api/cases/toy/plans").json()
    assert body_after["chosen"] == 0
    assert body_after["plans"][0]["feasible"] is True


def test_another_plan_can_be_put_first(client: TestClient, case: Case) -> None:
    second = case.plans[1]
    answer = client.post("/api/cases/toy/choice", json={"rank": 2, "reason": "Prone only"}, headers=revision(client))
    assert answer.status_code == 200
    assert client.get("/api/cases/toy").json()["decision"].startswith(second.approach)
    missing = client.post("/api/cases/toy/choice", json={"rank": 9, "reason": "None"}, headers=revision(client))
    assert missing.status_code == 404


def picture(client: TestClient, **query: object) -> np.ndarray:
    answer = client.get("/api/cases/toy/radiograph.png", params={"size": 128, "marks": False, **query})
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(float)


def attenuation(client: TestClient, **query: object) -> np.ndarray:
    answer = client.get("/api/cases/toy/radiograph.f32", params=query)
    return np.frombuffer(answer.content, "<f4").reshape(query["size"], query["size"])


def test_the_needle_stands_where_the_overlay_says(reading: TestClient) -> None:
    shot = {"size": 128, "cra_deg": 5}
    changed = attenuation(reading, plan=1, **shot) - attenuation(reading, **shot)
    described = reading.get("/api/cases/toy/radiograph.json", params={"plan": 1, **shot}).json()
    assert described["mirrored"] is False
    [needle] = [one for one in described["overlays"] if one["kind"] == "needle"]
    entry, target = np.array(needle["points"])
    along = target + (entry - target) * np.linspace(0.05, 0.6, 30)[:, None]
    rows, columns = np.rint(along[:, 1]).astype(int), np.rint(along[:, 0]).astype(int)
    assert changed[rows, columns].mean() > 5 * changed.mean()


def test_the_patients_right_is_on_the_left_and_said_so(reading: TestClient, case: Case) -> None:
    described = reading.get("/api/cases/toy/radiograph.json", params={"size": 128}).json()
    assert described["letters"] == {"left": "R", "right": "L", "up": "H", "down": "F"}
    assert described["angles_label"] == "LAO 0 / CRA 0 (patient prone, head first)"
    right = [o for o in described["overlays"] if o["kind"] == "foramen" and o["name"].endswith("right")]
    left = [o for o in described["overlays"] if o["kind"] == "foramen" and o["name"].endswith("left")]
    assert np.mean([p[0] for o in right for p in o["points"]]) < np.mean([p[0] for o in left for p in o["points"]])


def test_numbers_are_never_mirrored(reading: TestClient) -> None:
    answer = reading.get("/api/cases/toy/radiograph.f32", params={"size": 64, "lao_deg": 20})
    numbers = np.frombuffer(answer.content, "<f4").reshape(64, 64)
    assert np.isfinite(numbers).all()
    assert numbers.max() > 1.0


def test_a_shallower_needle_and_cement_show(reading: TestClient) -> None:
    full, shallow = picture(reading, plan=1), picture(reading, plan=1, depth_mm=30)
    assert np.abs(full - shallow).max() > 20
    plain, filled = picture(reading, lao_deg=90), picture(reading, lao_deg=90, cement_ml=1.0)
    assert np.abs(plain - filled).max() > 10
    assert np.array_equal(plain, picture(reading, lao_deg=90, cement_ml=0.0))


@pytest.mark.parametrize(
    "query",
    [{"size": 8}, {"size": 5000}, {"cra_deg": 89}, {"lao_deg": "nan"}, {"carm": "x-wing"}, {"isocentre": "1,2"},
     {"isocentre": "1,2,nan"}, {"entry": "0,80,0"}, {"plan": 99}, {"contrast": True}, {"colour": 1}],
)  # fmt: skip
def test_a_senseless_picture_is_refused(reading: TestClient, query: dict[str, object]) -> None:
    answer = reading.get("/api/cases/toy/radiograph.png", params=query)
    assert answer.status_code in {404, 422}
    assert answer.json()["sentence"]


def test_the_entry_view_looks_down_the_needle(reading: TestClient, case: Case) -> None:
    path = case.plans[0].first.trajectory
    query = {
        "entry": ",".join(f"{v:.4f}" for v in path.entry_mm),
        "target": ",".join(f"{v:.4f}" for v in path.target_mm),
    }
    view = reading.get("/api/cases/toy/views/entry", params=query).json()
    shot = {**query, "lao_deg": view["lao_deg"], "cra_deg": view["cra_deg"], "isocentre": query["target"], "size": 256}
    overlays = reading.get("/api/cases/toy/radiograph.json", params=shot).json()["overlays"]
    [needle] = [one for one in overlays if one["kind"] == "needle"]
    assert np.linalg.norm(np.subtract(*needle["points"])) < 1.0


def test_stored_views_are_listed(reading: TestClient) -> None:
    views = reading.get("/api/cases/toy/views").json()["views"]
    assert [view["name"] for view in views] == ["AP", "true lateral"]
    assert views[1]["angles_label"].startswith("LAO 90")


def test_a_rehearsal_goes_from_skin_to_target(reading: TestClient) -> None:
    body = reading.get("/api/cases/toy/rehearsal").json()
    assert body["checkpoints"][0]["name"] == "skin"
    assert body["checkpoints"][-1]["name"] == "lesion centre, the target"
    assert len(body["checkpoints"][0]["shows"]) == len(body["views"])


def test_an_attempt_is_measured_against_the_plan(reading: TestClient, case: Case) -> None:
    plan = case.plans[0]
    x, y, z = plan.first.trajectory.target_mm
    body = body_of(plan, target_mm=(x, y, z + 3.0), shots=[{"lao_deg": 0, "cra_deg": 0}], seconds=120)
    scored = reading.post("/api/cases/toy/rehearsal/score", json=body).json()
    assert scored["parts"][0]["measured"] == pytest.approx(3.0)
    assert scored["sentences"][-1] == "1 picture in 2.0 minutes."
