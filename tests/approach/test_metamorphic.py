"""What must not change a plan, and what must change it one way only."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sacroplasty.approach import evaluate_path, merit, plan_trajectories
from sacroplasty.approach.choice import Pool
from sacroplasty.approach.scene import scene_of
from sacroplasty.approach.search import margin_field
from sacroplasty.approach.target import lesion_samples
from sacroplasty.plan import Approach
from sacroplasty.space import Grid, LabelMap, Mask, Volume
from tests.approach import toy

BODY = ((6.0, 14.0, -15.0), 11.0)


def _turned(case, angle_deg, shift):
    """The whole patient turned about the head-foot axis, and moved: the same arrays on another grid."""
    ct, anatomy, lesion = case
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    def at(points):
        return np.asarray(points) @ turn.T + shift

    def point(p):
        return tuple(float(v) for v in at(p))

    def along(v):
        return tuple(float(x) for x in turn @ np.asarray(v))

    old = anatomy.labels.grid
    affine = np.array(old.affine_lps)
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = at(affine[:3, 3])
    grid = Grid.from_affine(old.shape, affine)
    f = anatomy.frame
    frame = replace(f, origin_mm=point(f.origin_mm), left=along(f.left), dorsal=along(f.dorsal),
                    cranial=along(f.cranial), ventral_curve_mm=at(f.ventral_curve_mm))  # fmt: skip
    there = anatomy.with_(
        labels=LabelMap(anatomy.labels.array, grid, anatomy.labels.names),
        body=Mask(anatomy.body.array, grid), frame=frame,
        levels=tuple(replace(lv, body_centre_mm=point(lv.body_centre_mm)) for lv in anatomy.levels),
        foramina=tuple(replace(o, centre_mm=point(o.centre_mm), axis=along(o.axis)) for o in anatomy.foramina),
        roots=tuple(replace(r, points_mm=at(r.points_mm)) for r in anatomy.roots),
        canal=replace(anatomy.canal, centreline_mm=at(anatomy.canal.centreline_mm)),
        hiatus=replace(anatomy.hiatus, apex_mm=point(anatomy.hiatus.apex_mm)),
        thecal_sac=replace(anatomy.thecal_sac, end_mm=point(anatomy.thecal_sac.end_mm)),
        landmarks={k: replace(v, position_mm=point(v.position_mm)) for k, v in anatomy.landmarks.items()},
    )  # fmt: skip
    moved = replace(lesion, mask=Mask(lesion.mask.array, grid), centre_mm=point(lesion.centre_mm))
    return (Volume(ct.array, grid), there, moved), at


def test_a_turned_patient_gets_the_turned_plans():
    ct, anatomy = toy.build(2.0)
    case = ct, anatomy, toy.lesion(anatomy, *BODY)
    there, at = _turned(case, 9.0, np.array([21.0, -14.0, 30.0]))
    here, away = _leads(plan_trajectories(*case)), _leads(plan_trajectories(*there))
    assert [(p.approach, p.side) for p in here] == [(p.approach, p.side) for p in away]
    for a, b in zip(here, away, strict=True):
        assert merit(a) == pytest.approx(merit(b), abs=1e-3)
    for first, second in zip(here, away, strict=True):
        for a, b in zip(first.needles, second.needles, strict=True):
            assert np.allclose(at(a.trajectory.entry_mm), b.trajectory.entry_mm, atol=1e-3)
            assert np.allclose(at(a.tip_mm), b.tip_mm, atol=1e-3)
            assert a.clearances[0].distance_mm == pytest.approx(b.clearances[0].distance_mm, abs=0.01)


def _leads(plans):
    """The best plan of each feasible approach, by rank."""
    found = {}
    for plan in plans:
        if plan.feasible:
            found.setdefault(plan.approach, plan)
    return list(found.values())


def test_a_mirrored_patient_gets_the_mirrored_plans():
    (ct, anatomy), (other_ct, other) = toy.build(2.0), toy.build(2.0, mirror=True)
    centre, radius = BODY
    plans = _leads(plan_trajectories(ct, anatomy, toy.lesion(anatomy, centre, radius)))
    flipped = toy.lesion(other, (-centre[0], *centre[1:]), radius)
    mirrored = _leads(plan_trajectories(other_ct, other, flipped))
    assert len(plans) >= 4
    for a, b in zip(plans, mirrored, strict=True):
        assert (a.approach, a.side) == (b.approach, b.side.other)
        assert merit(a) == pytest.approx(merit(b), abs=1e-6)
        for near, far in zip(a.needles, b.needles, strict=True):
            assert np.allclose(near.tip_mm, np.multiply(far.tip_mm, (-1, 1, 1)), atol=1e-6)
            assert np.allclose(near.trajectory.entry_mm, np.multiply(far.trajectory.entry_mm, (-1, 1, 1)), atol=1e-6)


def test_plans_do_not_depend_on_what_was_kept_from_before(ala):
    only = (Approach.POSTERIOR_SHORT_AXIS,)
    warm = pickle.dumps(plan_trajectories(*ala, approaches=only))
    for kept in (scene_of, lesion_samples, margin_field):
        kept.cache_clear()
    assert pickle.dumps(plan_trajectories(*ala, approaches=only)) == warm


def test_moving_towards_a_root_never_improves_a_path(ala, ala_plans):
    path = ala_plans[0].first.trajectory
    root = next(r for r in ala[1].roots if r.name == "S1 root left")
    near = path.point_at(path.length_mm - 5.0)
    towards = root.points_mm[np.linalg.norm(root.points_mm - near, axis=1).argmin()] - near
    towards /= np.linalg.norm(towards)
    rows = []
    room = {c.structure: c for c in ala_plans[0].first.clearances}["S1 root left"].distance_mm
    for share in (0.0, 0.25, 0.5, 0.75, 0.95):
        off = share * room * towards
        moved = path.moved(entry_mm=np.add(path.entry_mm, off), target_mm=np.add(path.target_mm, off))
        plan = evaluate_path(*ala, Approach.POSTERIOR_SHORT_AXIS, moved)
        found = {c.structure: c for c in plan.first.clearances}["S1 root left"]
        rows.append((found.distance_mm, found.breach_probability))
    distances, probabilities = zip(*rows, strict=True)
    assert list(distances) == sorted(distances, reverse=True)
    assert list(probabilities) == sorted(probabilities)
    assert probabilities[-1] > probabilities[0]


def test_a_structure_less_surely_known_never_makes_a_plan_better(s1):
    ct, anatomy, lesion = s1
    margins = []
    for sigma in (0.2, 2.0, 7.0, 14.0):
        roots = tuple(replace(r, uncertainty_mm=sigma) for r in anatomy.roots)
        plan = plan_trajectories(
            ct, anatomy.with_(roots=roots), lesion, approaches=(Approach.TRANS_SACROILIAC,), alternatives=1
        )[0]
        margins.append(plan.measures["worst_margin_mm"])
    # The finalists trade margin against coverage and length, so that it may sway by a fraction of a voxel.
    assert all(b <= a + 0.5 for a, b in pairwise(margins))
    assert margins[-1] < margins[0] - 2.0


def test_every_objective_costs():
    rows = np.full((6, 5), 0.3)
    rows[1:] += np.eye(5) * 0.1
    cost = Pool(np.zeros((6, 3)), np.zeros((6, 3)), rows).cost
    assert (cost[1:] > cost[0]).all()
