"""Probabilities against closed forms, presets, the tolerance cone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from sacroplasty.approach import GUIDANCE, evaluate_path, placement_error
from sacroplasty.approach.distance import polyline_distance
from sacroplasty.approach.judge import judge
from sacroplasty.approach.rules import RULES
from sacroplasty.approach.scene import CANAL, scene_of
from sacroplasty.approach.uncertainty import (
    PlacementError,
    _touches_tube,
    placements,
    tolerance_cone,
    with_breach,
)
from sacroplasty.evidence import value
from sacroplasty.plan import Approach, Needle, Trajectory
from tests.approach import toy

NEEDLE = Needle.gauge(13)
RULE = RULES[Approach.POSTERIOR_SHORT_AXIS]
STRAIGHT = Trajectory((38.0, 74.0, -18.0), (38.0, 20.0, -18.0))


@pytest.fixture(scope="module")
def scene(ala):
    return scene_of(*ala)


def test_the_draws_have_the_spread_they_were_asked_for(scene):
    error = PlacementError("test", tip_mm=2.0, angle_deg=1.0, depth_mm=1.5, registration_mm=0.5)
    entries, ends = placements(scene, STRAIGHT, error, draws=20_000)
    length = STRAIGHT.length_mm
    aim = math.radians(1.0) * length
    shift = math.hypot(math.sqrt(4.0 - aim**2), 0.5)
    drift = value("assumptions.approach_bevel_drift") * length**2
    assert entries.std(axis=0)[[0, 2]] == pytest.approx([shift, shift], rel=0.03)
    assert ends.std(axis=0)[[0, 2]] == pytest.approx([math.sqrt(shift**2 + aim**2 + drift**2)] * 2, rel=0.03)
    assert ends.std(axis=0)[1] == pytest.approx(math.hypot(1.5, 0.5), rel=0.03)


def test_the_same_seed_gives_the_same_draws_and_another_gives_others(scene):
    error = placement_error("ct")
    assert (placements(scene, STRAIGHT, error, seed=1)[0] == placements(scene, STRAIGHT, error, seed=1)[0]).all()
    assert (placements(scene, STRAIGHT, error, seed=1)[0] != placements(scene, STRAIGHT, error, seed=2)[0]).any()


def test_a_parallel_shift_breaches_a_root_as_often_as_the_normal_law_says(scene):
    """A shift across a long straight tube: its probability is one normal tail, up to the tube's ends."""
    error = PlacementError("shift", tip_mm=3.0, angle_deg=0.0, depth_mm=0.0, registration_mm=0.0)
    near = judge(scene, RULE, NEEDLE, STRAIGHT)
    joint = next(c for c in near.clearances if c.structure == "SI joint")
    found = next(c for c in with_breach(scene, RULE, NEEDLE, near, error, draws=8000) if c.structure == "SI joint")
    # The toy's joint is a nearly flat wall beside this needle; the drift of the tip adds its own small spread.
    expected = norm.sf(joint.distance_mm / 3.0)
    assert found.breach_probability == pytest.approx(expected, abs=0.02)
    assert found.breach_probability < found.breach_probability_upper < found.breach_probability + 0.02


def test_no_hit_in_n_draws_is_bounded_by_three_over_n(scene):
    error = PlacementError("exact", tip_mm=1e-6, angle_deg=0.0, depth_mm=0.0, registration_mm=0.0)
    for clearance in with_breach(scene, RULE, NEEDLE, judge(scene, RULE, NEEDLE, STRAIGHT), error, draws=1000):
        assert clearance.breach_probability == 0.0
        assert clearance.breach_probability_upper == pytest.approx(0.00299, abs=2e-5)


def test_a_needle_in_the_canal_touches_it_always(scene):
    path = Trajectory((0.0, 74.0, -15.0), (0.0, float(toy.canal_y(-15.0)), -15.0))
    hit = with_breach(scene, RULE, NEEDLE, judge(scene, RULE, NEEDLE, path), placement_error("navigation"))
    canal = next(c for c in hit if c.structure == CANAL)
    assert canal.breach_probability > 0.95
    assert canal.breach_probability_upper <= 1.0


def test_worse_guidance_never_lowers_the_risk(s1, s1_plans):
    path = s1_plans[0].first.trajectory
    # The plan itself has so much room that hardly any guidance touches anything; one near the roots has not.
    near = path.moved(entry_mm=np.add(path.entry_mm, (0, 0, -5)), target_mm=np.add(path.target_mm, (0, 0, -5)))
    risk = {
        mode: evaluate_path(*s1, Approach.TRANS_SACROILIAC, near, guidance=mode).measures["breach_probability"]
        for mode in GUIDANCE
    }
    assert risk["cone-beam-ct"] <= risk["navigation"] <= risk["ct-laser"] <= risk["ct"] == risk["ct-and-fluoroscopy"]
    assert risk["ct"] > 0.02


def test_presets_turn_mean_errors_into_standard_deviations():
    assert placement_error("cone-beam-ct").tip_mm == pytest.approx(2.2 / math.sqrt(8 / math.pi))
    assert placement_error("ct").angle_deg == pytest.approx(3.4 / math.sqrt(math.pi / 2))
    assert {placement_error(mode).guidance for mode in GUIDANCE} == set(GUIDANCE)


def test_every_needle_in_the_tolerance_cone_keeps_off_everything(scene):
    error = PlacementError("sure", tip_mm=1.0, angle_deg=1.0, depth_mm=1.0, registration_mm=0.0)
    cone = tolerance_cone(scene, RULE, NEEDLE, STRAIGHT, error)
    assert cone.angle_deg > 1.0
    assert cone.entry_mm > 1.0
    assert cone.tip_mm == pytest.approx(math.tan(math.radians(cone.angle_deg)) * 55.0, rel=1e-6)
    for azimuth in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        off = 0.98 * cone.entry_mm * np.array([np.cos(azimuth), 0.0, np.sin(azimuth)])
        moved = Trajectory(tuple(STRAIGHT.entry_mm + off), tuple(STRAIGHT.target_mm + off))
        assert min(c.distance_mm for c in judge(scene, RULE, NEEDLE, moved).clearances) > -0.3


def test_registration_error_narrows_the_cone(scene):
    sure = PlacementError("sure", 1.0, 1.0, 1.0, 0.0)
    unsure = PlacementError("unsure", 1.0, 1.0, 1.0, 1.5)
    assert (
        tolerance_cone(scene, RULE, NEEDLE, STRAIGHT, unsure).entry_mm
        < tolerance_cone(scene, RULE, NEEDLE, STRAIGHT, sure).entry_mm
    )
    hopeless = PlacementError("hopeless", 1.0, 1.0, 1.0, 20.0)
    cone = tolerance_cone(scene, RULE, NEEDLE, STRAIGHT, hopeless)
    assert (cone.angle_deg, cone.entry_mm) == (0.0, 0.0)


@pytest.mark.parametrize("reach_mm", [0.5, 2.0, 5.0, 20.0, 60.0])
@pytest.mark.parametrize("points", [1, 2, 40])
def test_hits_on_a_tube_are_those_of_the_exact_distance(reach_mm, points):
    """Pieces are left out by the ball about them; what is counted is what the exact distance would count."""
    rng = np.random.default_rng(points)
    line = np.cumsum(rng.normal(size=(points, 3)), axis=0) * 3.0
    starts = rng.normal(size=(400, 3)) * 30.0
    ends = starts + rng.normal(size=(400, 3)) * 60.0
    near = sum(polyline_distance(p, q, line)[0] < reach_mm for p, q in zip(starts, ends, strict=True))
    assert _touches_tube(starts, ends, line, reach_mm) == near
