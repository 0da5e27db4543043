"""Plans on the analytic pelvis: the right approach, the right order, nothing touched, reasons given."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sacroplasty.approach import RULES, Tissue, evaluate_path, plan_trajectories
from sacroplasty.cohort.virtual_patient import built, described
from sacroplasty.errors import GeometryError, InputError, PlanError
from sacroplasty.plan import Approach, Level, Needle, Severity, Side, State, Trajectory
from sacroplasty.space import Grid, LabelMap, Mask, Volume
from tests.approach import toy


def _order(needle):
    return [c.structure for c in needle.crossings]


def _best(plans, approach):
    return next(p for p in plans if p.approach is approach)


def test_the_body_of_s1_is_reached_across_the_si_joint_first(s1_plans):
    assert s1_plans[0].approach is Approach.TRANS_SACROILIAC
    assert s1_plans[0].feasible
    assert s1_plans[0].target_level is Level.S1
    assert [p.rank for p in s1_plans] == list(range(1, len(s1_plans) + 1))


def test_the_body_of_s3_is_reached_through_the_hiatus_first(s3_plans):
    assert s3_plans[0].approach is Approach.INTERPEDICULAR
    assert s3_plans[0].side is Side.MIDLINE


def test_the_ala_is_reached_from_behind_first(ala_plans):
    assert ala_plans[0].approach is Approach.POSTERIOR_SHORT_AXIS
    assert ala_plans[0].side is Side.LEFT


def test_every_approach_is_answered(s1_plans, s3_plans, ala_plans):
    for plans in (s1_plans, s3_plans, ala_plans):
        assert {p.approach for p in plans} == set(Approach)
        assert all(p.reasons for p in plans)
        assert all(p.feasible or p.worst is Severity.BLOCKER for p in plans)


def test_trans_sacroiliac_needles_cross_ilium_joint_sacrum_and_nothing_else(s1_plans):
    for plan in s1_plans:
        if plan.feasible and plan.approach in (Approach.TRANS_SACROILIAC, Approach.TRANSILIAC):
            order = _order(plan.first)
            assert order[0] == "soft tissue"
            assert order[1] == "ilium"
            assert order[-1] == "sacrum"
            assert set(order[2:-1]) <= {"SI joint", "interosseous ligament"}


def test_the_interpedicular_needle_passes_the_hiatus_below_the_sac_and_punctures_one_level_below(s3, s3_plans):
    plan, anatomy = s3_plans[0], s3[1]
    order = _order(plan.first)
    assert order[-2:] == ["sacral canal", "sacrum"]
    canal = next(c for c in plan.first.crossings if c.structure == "sacral canal")
    entry = plan.first.trajectory.point_at(canal.start_depth_mm)
    assert abs(entry[0]) < anatomy.hiatus.width_mm / 2
    assert entry[2] < anatomy.hiatus.apex_mm[2] + 8.0
    assert entry[2] < anatomy.thecal_sac.end_mm[2] - anatomy.thecal_sac.uncertainty_mm
    assert abs(plan.measures["entry_left_of_midline_mm"]) <= 15.0
    assert 3.0 <= plan.measures["bone_entry_level"] <= 4.0
    assert plan.measures["ventral_parallelism_deg"] < 35.0


def test_no_needle_comes_nearer_to_the_analytic_truth_than_it_says(s1, s3, ala, s1_plans, s3_plans, ala_plans):
    for plans in (s1_plans, s3_plans, ala_plans):
        for plan in (p for p in plans if p.feasible):
            needle = plan.first
            depths = np.linspace(0, needle.trajectory.length_mm + 1.0, 400)
            line = needle.trajectory.point_at(depths)
            for level in toy.TUNNELS:
                for sign, side in ((1.0, Side.LEFT), (-1.0, Side.RIGHT)):
                    points = toy.root_line(level, sign)
                    told = [c for c in needle.clearances if c.structure == f"{level} root {side}"]
                    dense = np.concatenate(
                        [a + np.linspace(0, 1, 50)[:, None] * (b - a) for a, b in pairwise(points[1:])]
                    )
                    true = np.linalg.norm(line[:, None] - dense[None], axis=-1).min()
                    true -= 0.5 * toy.TUNNELS[level][2] + needle.needle.radius_mm
                    assert told
                    assert told[0].distance_mm <= true + 0.05
            if plan.approach is not Approach.INTERPEDICULAR:
                assert _canal_clearance(line) - needle.needle.radius_mm >= 2.0


def _canal_clearance(line):
    """Distance to the analytic canal's surface, by points on it."""
    z = np.arange(10.0, -99.0, -1.0)
    t = np.linspace(0, 2 * np.pi, 48)
    a, b = toy.canal_radii(z)
    x = a[:, None] * np.cos(t)
    y = toy.canal_y(z)[:, None] + b[:, None] * np.sin(t)
    surface = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3)
    return np.linalg.norm(line[:, None] - surface[None], axis=-1).min()


def test_clearances_keep_what_is_required(s1_plans, ala_plans):
    for plan in (*s1_plans, *ala_plans):
        for needle in plan.needles if plan.feasible else ():
            assert all(c.distance_mm >= c.required_mm - 1e-9 for c in needle.clearances)
            assert all(c.permitted for c in needle.crossings)


def test_the_same_input_gives_the_same_bytes(s3):
    again = plan_trajectories(*s3)
    assert pickle.dumps(again) == pickle.dumps(plan_trajectories(*s3))


def test_alternatives_differ_clearly(s1_plans):
    plans = [p for p in s1_plans if p.feasible and p.approach is Approach.TRANS_SACROILIAC]
    assert len(plans) >= 2
    for n, a in enumerate(plans):
        for b in plans[:n]:
            turn = np.degrees(np.arccos(np.clip(a.first.trajectory.direction @ b.first.trajectory.direction, -1, 1)))
            entry = np.linalg.norm(np.subtract(a.first.trajectory.entry_mm, b.first.trajectory.entry_mm))
            tip = np.linalg.norm(np.subtract(a.first.trajectory.target_mm, b.first.trajectory.target_mm))
            assert turn > 4 or entry > 6 or tip > 4


def test_a_mirrored_patient_gets_the_mirrored_plan():
    ct, anatomy = toy.build(2.0)
    other_ct, other = toy.build(2.0, mirror=True)
    centre, radius = toy.LEFT_ALA
    flipped = (-centre[0], *centre[1:])
    approaches = (Approach.POSTERIOR_SHORT_AXIS, Approach.TRANS_SACROILIAC)
    plans = plan_trajectories(ct, anatomy, toy.lesion(anatomy, centre, radius), approaches=approaches)
    mirrored = plan_trajectories(other_ct, other, toy.lesion(other, flipped, radius), approaches=approaches)
    for a, b in zip(plans, mirrored, strict=True):
        assert a.approach is b.approach
        assert a.side is b.side.other
        for p, q in (
            (a.first.trajectory.entry_mm, b.first.trajectory.entry_mm),
            (a.first.trajectory.target_mm, b.first.trajectory.target_mm),
        ):
            assert np.allclose(p, np.multiply(q, (-1, 1, 1)), atol=1e-6)


def test_a_moved_patient_gets_the_moved_plan(s1):
    ct, anatomy, lesion = s1
    shift = np.array([13.0, -7.0, 31.0])

    def moved(grid):
        affine = np.array(grid.affine_lps)
        affine[:3, 3] += shift
        return Grid.from_affine(grid.shape, affine)

    def at(point):
        return tuple(np.asarray(point) + shift)

    grid = moved(anatomy.labels.grid)
    frame = replace(anatomy.frame, origin_mm=at(anatomy.frame.origin_mm),
                    ventral_curve_mm=anatomy.frame.ventral_curve_mm + shift)  # fmt: skip
    there = anatomy.with_(
        labels=LabelMap(anatomy.labels.array, grid, anatomy.labels.names),
        body=Mask(anatomy.body.array, grid), frame=frame,
        foramina=tuple(replace(f, centre_mm=at(f.centre_mm)) for f in anatomy.foramina),
        roots=tuple(replace(r, points_mm=r.points_mm + shift) for r in anatomy.roots),
        canal=replace(anatomy.canal, centreline_mm=anatomy.canal.centreline_mm + shift),
        hiatus=replace(anatomy.hiatus, apex_mm=at(anatomy.hiatus.apex_mm)),
        thecal_sac=replace(anatomy.thecal_sac, end_mm=at(anatomy.thecal_sac.end_mm)),
        landmarks={k: replace(v, position_mm=at(v.position_mm)) for k, v in anatomy.landmarks.items()},
    )  # fmt: skip
    there_lesion = replace(lesion, mask=Mask(lesion.mask.array, grid), centre_mm=at(lesion.centre_mm))
    only = (Approach.TRANS_SACROILIAC,)
    here = plan_trajectories(ct, anatomy, lesion, approaches=only)[0]
    away = plan_trajectories(Volume(ct.array, grid), there, there_lesion, approaches=only)[0]
    assert np.allclose(np.add(here.first.trajectory.entry_mm, shift), away.first.trajectory.entry_mm, atol=1e-6)
    assert np.allclose(np.add(here.first.trajectory.target_mm, shift), away.first.trajectory.target_mm, atol=1e-6)


@pytest.mark.parametrize(
    ("state", "depth", "words"),
    [
        (State.ABSENT, 5.4, "absent"),
        (State.OUTSIDE, 5.4, "outside the field of view"),
        (State.NOT_FOUND, 5.4, "not found"),
        (State.MEASURED, 2.2, "14 G needle (2.1 mm) would pass"),
        (State.MEASURED, 1.0, "No needle of the catalogue would pass"),
    ],
)
def test_without_a_hiatus_the_interpedicular_approach_says_why(s3, state, depth, words):
    ct, anatomy, lesion = s3
    changed = anatomy.with_(hiatus=replace(anatomy.hiatus, state=state, depth_mm=depth))
    (plan,) = plan_trajectories(ct, changed, lesion, approaches=(Approach.INTERPEDICULAR,))
    assert not plan.feasible
    assert words in plan.reasons[0]


def test_a_blocked_corridor_names_the_structure_where_and_how_much(s1):
    ct, anatomy, lesion = s1
    wide = anatomy.with_(roots=tuple(replace(r, uncertainty_mm=22.0) for r in anatomy.roots))
    (plan,) = plan_trajectories(ct, wide, lesion, approaches=(Approach.ANTERIOR_OBLIQUE,))
    assert not plan.feasible
    assert "mm too near to the S" in plan.reasons[0]
    assert "root" in plan.reasons[0]
    assert plan.findings[0].where_mm is not None
    assert plan.measures["worst_margin_mm"] < 0
    assert plan.first.trajectory.length_mm > 10


def test_a_low_sac_closes_the_hiatus_route(s1):
    ct, anatomy, lesion = s1
    low = anatomy.with_(thecal_sac=replace(anatomy.thecal_sac, end_mm=(0.0, float(toy.canal_y(-90.0)), -90.0)))
    (plan,) = plan_trajectories(ct, low, lesion, approaches=(Approach.INTERPEDICULAR,))
    assert not plan.feasible
    assert "thecal sac" in plan.reasons[0]


def test_a_short_needle_is_refused_with_the_length_needed(s1):
    (plan,) = plan_trajectories(*s1, needle=Needle.gauge(13, 60.0), approaches=(Approach.TRANSILIAC,))
    assert not plan.feasible
    assert "too short" in plan.reasons[0]


@pytest.mark.slow
def test_paths_that_fail_only_their_exact_check_say_by_what_and_how_much():
    """A narrow hiatus on coarse voxels: the search finds a path, the exact check does not let it pass."""
    (plan,) = plan_trajectories(*built(described(0, 1), 1.5), approaches=(Approach.INTERPEDICULAR,))
    assert not plan.feasible
    assert "order of crossings is broken" in plan.reasons[0]
    assert "mm too near to the S3 root tunnel right" in plan.reasons[0]


def test_a_path_beyond_every_usual_needle_is_judged_and_refused(s1):
    far = Trajectory((0.0, 0.0, 0.0), (0.0, 0.0, 181.0))
    plan = evaluate_path(*s1, Approach.TRANSILIAC, far)
    assert not plan.feasible
    assert any("too short" in f.message and "200 mm" in f.message for f in plan.findings)


def test_a_thicker_needle_never_gets_more_room(s1):
    margins = []
    path = plan_trajectories(*s1, approaches=(Approach.TRANS_SACROILIAC,))[0].first.trajectory
    for gauge in (15, 13, 11, 8):
        plan = evaluate_path(*s1, Approach.TRANS_SACROILIAC, path, Needle.gauge(gauge))
        margins.append(plan.measures["worst_margin_mm"])
    assert margins == sorted(margins, reverse=True)


def test_our_own_path_is_judged_like_the_users(s1, s1_plans):
    ours = s1_plans[0]
    same = evaluate_path(*s1, ours.approach, ours.first.trajectory)
    assert same.feasible
    assert same.first.clearances == ours.first.clearances
    assert same.measures["worst_margin_mm"] == ours.measures["worst_margin_mm"]


def test_a_path_through_the_canal_is_refused_across_the_joint(s1, s1_plans):
    path = s1_plans[0].first.trajectory
    bad = path.moved(target_mm=(0.0, float(toy.canal_y(-15.0)), -15.0))
    plan = evaluate_path(*s1, Approach.TRANS_SACROILIAC, bad)
    assert not plan.feasible
    blockers = [f for f in plan.findings if f.severity is Severity.BLOCKER]
    assert any("order of crossings" in f.message for f in blockers)
    assert any(f.structure == "sacral canal" for f in blockers)
    assert all(f.where_mm is not None for f in blockers if "too near" in f.message)


def test_from_behind_is_not_across_the_joint(ala, ala_plans):
    path = _best(ala_plans, Approach.POSTERIOR_SHORT_AXIS).first.trajectory
    assert not evaluate_path(*ala, Approach.TRANS_SACROILIAC, path).feasible


def test_a_lesion_outside_the_sacrum_is_refused(s1):
    ct, anatomy, lesion = s1
    empty = replace(lesion, mask=Mask(np.zeros(lesion.mask.array.shape, bool), lesion.mask.grid))
    with pytest.raises(PlanError, match="no part in the sacral bone"):
        plan_trajectories(ct, anatomy, empty)


def test_unknown_guidance_is_refused(s1):
    with pytest.raises(InputError, match="guidance"):
        plan_trajectories(*s1, guidance="hope")


def test_an_uneven_grid_is_refused(s1):
    ct, anatomy, lesion = s1
    affine = np.array(anatomy.labels.grid.affine_lps)
    affine[2, 2] *= 2.0
    grid = Grid.from_affine(anatomy.labels.grid.shape, affine)
    stretched = anatomy.with_(
        labels=LabelMap(anatomy.labels.array, grid, anatomy.labels.names), body=Mask(anatomy.body.array, grid)
    )
    with pytest.raises(GeometryError, match="isotropic"):
        plan_trajectories(ct, stretched, replace(lesion, mask=Mask(lesion.mask.array, grid)))


def test_a_needle_is_long_enough_for_its_path(s1_plans):
    for plan in (p for p in s1_plans if p.feasible):
        assert plan.first.needle.length_mm >= plan.first.trajectory.length_mm + 20.0


def test_every_rule_ends_in_bone_and_has_keep_outs():
    for approach, rule in RULES.items():
        assert rule.approach is approach
        assert rule.stages[0].tissues == (Tissue.SOFT,)
        assert rule.stages[-1].tissues == (Tissue.SACRUM,)
        assert {"nerve roots", "foramina", "ventral cortex"} <= set(rule.margins)
        assert ("sacral canal" in rule.margins) is not rule.midline
        assert Tissue.TUNNEL not in {t for stage in rule.stages for t in stage.tissues}
