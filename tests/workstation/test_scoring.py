"""A trainee's score: its parts by hand, its sum, what breaks a rule, what cannot be judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sacroplasty.case import Case
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy import CArm, View, view_from_console
from sacroplasty.plan import Plan, Point
from sacroplasty.space import Grid, Mask
from sacroplasty.workstation.scoring import Score, kerma_mgy, scored, thickness_mm
from tests.workstation.conftest import toy_case

CENTRE: Point = (0.0, 0.0, 0.0)
HALF_MM = (150.0, 100.0, 120.0)


def trunk() -> Mask:
    """A box 300 mm wide, 200 mm deep and 240 mm high about the origin."""
    grid = Grid.aligned((-158.0, -118.0, -138.0), (158.0, 118.0, 138.0), 4.0)
    inside = (np.abs(grid.centres_mm()) <= HALF_MM).all(axis=-1)
    return Mask(inside, grid)


def view(lao_deg: float = 0.0, cra_deg: float = 0.0) -> View:
    return view_from_console(CArm.profile(), lao_deg, cra_deg, CENTRE)


@pytest.fixture(scope="module")
def case() -> Case:
    return toy_case()


@pytest.fixture(scope="module")
def plan(case: Case) -> Plan:
    return case.plans[0]


def shares(score: Score) -> dict[str, float | None]:
    return {part.name: part.share for part in score.parts}


def moved(plan: Plan, off_mm: float) -> Plan:
    """The plan with its tip moved and nothing else judged anew."""
    needle = plan.first
    x, y, z = needle.trajectory.target_mm
    path = needle.trajectory.moved(target_mm=(x, y, z + off_mm))
    return plan.with_(needles=(replace(needle, trajectory=path),))


def test_weights_sum_to_one() -> None:
    names = ("aim", "clearance", "shots", "time", "dose")
    assert sum(value(f"assumptions.score_{name}_weight") for name in names) == pytest.approx(1.0)


def test_each_part_is_a_straight_line_between_its_marks(plan: Plan) -> None:
    body = trunk()
    good = scored(plan, plan, (view(), view(90)), 60.0, body)
    assert shares(good)["aim"] == shares(good)["shots"] == shares(good)["time"] == 1.0
    half = scored(moved(plan, 5.0), plan, (view(),) * 18, 750.0, body)
    assert shares(half)["aim"] == pytest.approx(0.5)
    assert shares(half)["shots"] == pytest.approx(0.5)
    assert shares(half)["time"] == pytest.approx(0.5)
    assert shares(half)["dose"] == pytest.approx(0.5), "pictures straight from the front cost what their number does"
    far = scored(moved(plan, 30.0), plan, (view(),) * 40, 5000.0, body)
    assert [shares(far)[name] for name in ("aim", "shots", "time", "dose")] == [0.0] * 4


def test_the_sum_is_that_of_its_parts(plan: Plan) -> None:
    score = scored(moved(plan, 2.0), plan, (view(), view(90)), 400.0, trunk())
    by_hand = sum(part.weight * (part.share or 0.0) for part in score.parts)
    assert score.overall_percent == pytest.approx(100 * by_hand)
    assert all(part.name in score.sentence for part in score.parts)


def test_a_path_that_breaks_a_rule_earns_nothing(plan: Plan) -> None:
    broken = plan.with_(feasible=False, reasons=("The needle comes too near to the canal.",))
    score = scored(broken, plan, (view(),), 10.0, trunk())
    assert score.overall_percent == 0.0
    assert "too near to the canal" in score.sentence


def test_without_a_plan_to_aim_at_nothing_is_scored(plan: Plan) -> None:
    score = scored(plan, None, (view(),), 10.0, trunk())
    assert score.overall_percent is None
    assert "aim" in score.sentence


def test_a_lateral_picture_costs_what_the_thicker_patient_does() -> None:
    body = trunk()
    assert thickness_mm(CENTRE, (0.0, 1.0, 0.0), body) == pytest.approx(200.0, abs=4.0)
    front, side = kerma_mgy((view(),), body), kerma_mgy((view(90),), body)
    beyond = (300.0 - 200.0) / value("assumptions.score_half_value_tissue")
    assert side / front == pytest.approx(2.0**beyond, rel=0.15)
    assert kerma_mgy((view(), view()), body) == pytest.approx(2 * front)


def test_the_server_gives_parts_and_sum(reading: TestClient, plan: Plan) -> None:
    path = plan.first.trajectory
    body: dict[str, Any] = {
        "approach": plan.approach.value, "entry_mm": path.entry_mm, "target_mm": path.target_mm, "gauge": 13,
        "shots": [{"lao_deg": 0, "cra_deg": 0}, {"lao_deg": 90, "cra_deg": 0}], "seconds": 100,
    }  # fmt: skip
    answer = reading.post("/api/cases/toy/rehearsal/score", json=body).json()
    assert [part["name"] for part in answer["parts"]] == ["aim", "clearance", "shots", "time", "dose"]
    assert answer["parts"][0]["measured"] == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < answer["overall_percent"] <= 100.0
    assert answer["sentences"][-1] == "2 pictures in 1.7 minutes."
