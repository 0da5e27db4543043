"""Read-outs against the toy's formulas; bevel and clock; several needles; the skin map."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sacroplasty.approach import RULES, plan_trajectories, skin_access
from sacroplasty.approach.choice import pareto
from sacroplasty.approach.joint import hidden_mm
from sacroplasty.approach.measures import (
    azimuth_deg,
    bevel_azimuth_deg,
    clock_position,
    ct_angles_deg,
    level_number,
    marrow_space_mm,
    ventral_parallelism_deg,
)
from sacroplasty.approach.scene import scene_of
from sacroplasty.approach.target import denis_zones
from sacroplasty.evidence import value
from sacroplasty.plan import Approach, DenisZone, Level, Needle, Side, Trajectory
from tests.approach import toy


@pytest.fixture(scope="module")
def scene(s1):
    return scene_of(*s1)


def test_marrow_space_is_the_bone_between_the_cortices(scene):
    space = marrow_space_mm(scene, (30.0, 20.0, -15.0))
    assert space == pytest.approx(float(toy.thickness(-15.0)), abs=1.6)
    body = marrow_space_mm(scene, (0.0, 14.0, -15.0))
    assert body == pytest.approx(float(toy.canal_y(-15.0) - toy.canal_radii(-15.0)[1] - toy.ventral(-15.0)), abs=1.6)
    assert marrow_space_mm(scene, (0.0, 85.0, -15.0)) == 0.0


def test_ct_angles_in_and_out_of_plane():
    left_up = Trajectory((0.0, 50.0, 0.0), (25.0, 25.0, math.hypot(25.0, 25.0)))
    in_plane, out_of_plane = ct_angles_deg(left_up)
    assert in_plane == pytest.approx(45.0)
    assert out_of_plane == pytest.approx(45.0)


def test_a_needle_along_the_ventral_edge_is_parallel(scene):
    z = -30.0
    slope = np.array([0.0, float(toy.ventral(z + 3) - toy.ventral(z - 3)), 6.0])
    tip = np.array([0.0, float(toy.ventral(z)) + 10.0, z])
    path = Trajectory(tuple(tip - 60 * slope / np.linalg.norm(slope)), tuple(tip))
    assert ventral_parallelism_deg(scene, path) == pytest.approx(0.0, abs=2.0)
    across = Trajectory((0.0, 80.0, z), tuple(tip))
    assert ventral_parallelism_deg(scene, across) > 60.0


@pytest.mark.parametrize(
    ("towards", "azimuth", "clock"),
    [((0, 0, 1), 0.0, "12 o'clock"), ((-1, 0, 0), 90.0, "3 o'clock"), ((0, 0, -1), 180.0, "6 o'clock"),
     ((1, 0, 0), 270.0, "9 o'clock")],
)  # fmt: skip
def test_the_clock_is_read_from_the_hub_behind_the_prone_patient(towards, azimuth, clock):
    """Looking from the back to the front with the head up, the patient's right is on the right hand."""
    path = Trajectory((0.0, 80.0, 0.0), (0.0, 0.0, 0.0))
    assert azimuth_deg(path, towards) == pytest.approx(azimuth)
    assert clock_position(azimuth_deg(path, towards)) == clock


def test_the_bevel_faces_the_nearest_nerve(scene):
    path = Trajectory((45.0, 78.0, -20.0), (30.0, 15.0, -20.0))
    azimuth = bevel_azimuth_deg(scene, Needle.gauge(13), path)
    tube = next(t for t in scene.tubes if t.name == "S1 root left")
    towards = tube.points_mm.mean(axis=0) - path.point_at(50.0)
    turn = abs((azimuth - azimuth_deg(path, towards) + 180) % 360 - 180)
    assert turn < 60
    assert bevel_azimuth_deg(scene, Needle(13, 2.4, 1.8, bevel_angle_deg=0.0), path) is None


def test_entry_is_told_from_the_midline_and_the_marks(s1_plans):
    plan = next(p for p in s1_plans if p.approach is Approach.TRANS_SACROILIAC and p.feasible)
    entry = plan.first.trajectory.entry_mm
    assert plan.measures["entry_left_of_midline_mm"] == pytest.approx(entry[0])
    assert plan.measures["entry_left_of_psis_left_mm"] == pytest.approx(entry[0] - 45.0)
    assert plan.measures["entry_cranial_of_hiatus_mm"] == pytest.approx(entry[2] + 82.0)
    assert plan.measures["depth_to_ilium_mm"] < plan.measures["depth_to_sacrum_mm"]
    assert plan.measures["skin_to_bone_mm"] == plan.measures["depth_to_ilium_mm"]
    assert plan.measures["needle_length_needed_mm"] == pytest.approx(plan.first.trajectory.length_mm + 20.0)


def test_levels_as_numbers():
    assert level_number(Level.S4) == 4.0
    assert math.isnan(level_number(Level.L5))
    assert math.isnan(level_number(None))


def test_zones_lie_beside_and_between_the_foramina(pelvis):
    zones = denis_zones(pelvis[1], [(0, 14, -27), (19, 14, -27), (45, 20, -27), (-45, 20, -27)])
    assert zones.tolist() == [DenisZone.CENTRAL.value, DenisZone.FORAMINA.value, DenisZone.ALA.value,
                              DenisZone.ALA.value]  # fmt: skip


def test_zones_without_foramina_come_from_the_literature(pelvis):
    bare = pelvis[1].with_(foramina=())
    assert denis_zones(bare, [(0, 14, -27), (20, 14, -27), (40, 20, -27)]).tolist() == [3, 2, 1]


def test_deposits_share_the_planned_volume_and_stay_in_the_needle(s1_plans, ala_plans):
    for plan in (p for p in (*s1_plans, *ala_plans) if p.feasible):
        assert plan.total_volume_ml == pytest.approx(plan.measures["planned_volume_ml"])
        assert plan.total_volume_ml <= value("approach.volume_caution") + 0.01
        orders = [i.order for needle in plan.needles for i in needle.injections]
        assert sorted(orders) == list(range(1, len(orders) + 1))
        for needle in plan.needles:
            depths = [i.tip_depth_mm for i in needle.injections]
            assert depths == sorted(depths, reverse=True)
            assert all(0 < d <= needle.trajectory.length_mm for d in depths)


def test_more_lesion_asks_for_more_cement_up_to_the_cap(pelvis):
    ct, anatomy = pelvis
    volumes = []
    for radius in (6.0, 10.0, 14.0, 24.0):
        lesion = toy.lesion(anatomy, toy.LEFT_ALA[0], radius)
        plan = plan_trajectories(ct, anatomy, lesion, approaches=(Approach.POSTERIOR_SHORT_AXIS,))[0]
        volumes.append(plan.total_volume_ml)
    assert volumes == sorted(volumes)
    assert volumes[0] < 1.0
    assert volumes[-1] <= 7.01


def test_a_wide_lesion_gets_two_needles_that_do_not_meet(pelvis):
    ct, anatomy = pelvis
    grid = anatomy.labels.grid
    left, right = (toy.lesion(anatomy, (s * 36.0, 22.0, -18.0), 10.0) for s in (1, -1))
    from dataclasses import replace

    from sacroplasty.space import Mask

    both = replace(left, mask=Mask(left.mask.array | right.mask.array, grid), centre_mm=(0.0, 22.0, -18.0))
    plan = plan_trajectories(ct, anatomy, both, approaches=(Approach.POSTERIOR_SHORT_AXIS,))[0]
    assert plan.measures["needle_count"] == 2
    first, second = plan.needles
    assert np.sign(first.tip_mm[0]) != np.sign(second.tip_mm[0])
    s = np.linspace(0, 1, 100)[:, None]
    lines = [np.asarray(n.trajectory.entry_mm) * (1 - s) + np.asarray(n.tip_mm) * s for n in plan.needles]
    gap = np.linalg.norm(lines[0][:, None] - lines[1][None], axis=-1).min() - 2 * first.needle.radius_mm
    assert gap >= value("assumptions.approach_needle_gap") - 0.1
    assert plan.measures["coverage_share"] > 0.8
    assert any("needles" in reason for reason in plan.reasons)


def test_the_first_needle_hides_what_lies_behind_it():
    first = Trajectory((0.0, 80.0, 0.0), (0.0, 0.0, 0.0))
    ap, lateral = hidden_mm(first, Trajectory((0.0, 80.0, 30.0), (0.0, 20.0, 0.0)))
    assert ap == pytest.approx(0.0)
    assert lateral == pytest.approx(0.0)
    ap, lateral = hidden_mm(first, Trajectory((30.0, 80.0, 0.0), (30.0, 20.0, 0.0)))
    assert ap == pytest.approx(30.0)
    assert lateral == pytest.approx(0.0)


def test_the_skin_map_is_best_where_the_plan_enters(ala, ala_plans):
    access = skin_access(*ala, Approach.POSTERIOR_SHORT_AXIS)
    legal = ~np.isnan(access.margin_mm)
    assert legal.any()
    assert (~legal).any()
    assert ((access.reachable_share > 0) == legal).all()
    entry = ala_plans[0].first.trajectory.entry_mm
    near = np.linalg.norm(access.points_mm - np.asarray(entry), axis=1).argmin()
    assert legal[near]
    x = access.points_mm[legal][:, 0]
    assert np.median(x) > 0, "the left ala is reached from the left"
    assert ala_plans[0].side is Side.LEFT


def test_pareto_keeps_what_nothing_beats():
    rows = np.array([[1.0, 5.0], [2.0, 2.0], [5.0, 1.0], [3.0, 3.0], [2.0, 2.0]])
    assert pareto(rows).tolist() == [0, 1, 2]


def test_courses_are_ranges_around_their_ideal():
    for rule in RULES.values():
        for (low, high), ideal in (
            (rule.course.medial_deg, rule.course.ideal_medial_deg),
            (rule.course.cephalad_deg, rule.course.ideal_cephalad_deg),
        ):
            assert low <= ideal <= high
