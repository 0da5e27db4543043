"""Which plan is better, what the literature says of it, and what a cement prediction changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sacroplasty.approach import GUIDANCE, RULES, Tissue, evaluate_path, merit, plan_trajectories, reconsidered
from sacroplasty.approach.counsel import guidance_statements
from sacroplasty.approach.joint import hidden_mm, in_order
from sacroplasty.approach.ranking import best_first, suitability_grade
from sacroplasty.approach.scene import scene_of
from sacroplasty.approach.target import lesion_samples
from sacroplasty.approach.tissue import tissue_map
from sacroplasty.evidence import evidence, value
from sacroplasty.plan import Approach, CementForecast, Severity, State, Trajectory
from sacroplasty.space import LabelMap, Mask
from tests.approach import toy


def test_an_approach_counts_by_the_share_of_the_lesion_it_is_made_for(pelvis):
    """A body lesion that grazes the ala is no case for the approach to the ala."""
    ct, anatomy = pelvis
    lesion = toy.lesion(anatomy, (12.0, 16.0, -18.0), 14.0)
    samples = lesion_samples(scene_of(ct, anatomy, lesion))
    grades = {a: suitability_grade(samples, RULES[a]) for a in Approach}
    assert grades[Approach.TRANS_SACROILIAC] < 2.0
    assert grades[Approach.POSTERIOR_SHORT_AXIS] > 3.0
    plans = plan_trajectories(ct, anatomy, lesion)
    assert plans[0].approach is Approach.TRANS_SACROILIAC
    short = next(p for p in plans if p.approach is Approach.POSTERIOR_SHORT_AXIS)
    assert "not meant for" in short.reasons[0] or not short.feasible


def test_plans_come_by_merit_and_merit_needs_nothing_but_the_plan(s1_plans):
    leads = {}
    for plan in s1_plans:
        if plan.feasible:
            leads.setdefault(plan.approach, plan)
    merits = [merit(plan) for plan in leads.values()]
    assert merits == sorted(merits)
    worse = s1_plans[0].with_(measures={**s1_plans[0].measures, "coverage_share": 0.1})
    assert merit(worse) > merit(s1_plans[0])


def test_a_plan_that_another_beats_in_everything_comes_after_it(s1_plans):
    plan = s1_plans[0]
    beaten = plan.with_(measures={
        **plan.measures, "worst_margin_sigmas": plan.measures["worst_margin_sigmas"] - 1.0,
        "coverage_share": plan.measures["coverage_share"] - 0.1,
        "breach_probability": plan.measures["breach_probability"] + 0.1,
    })  # fmt: skip
    assert best_first([beaten, plan]) == [plan, beaten]
    assert best_first([]) == []


def test_drawbacks_roots_and_guidance_are_said_with_their_sources(s1_plans):
    lateral = next(p for p in s1_plans if p.approach is Approach.TRANS_SACROILIAC)
    oblique = next(p for p in s1_plans if p.approach is Approach.ANTERIOR_OBLIQUE and p.feasible)
    codes = {f.code for f in lateral.findings}
    assert {"APPROACH-MERIT", "APPROACH-DRAWBACK", "APPROACH-ROOT", "GUIDANCE-MERIT", "GUIDANCE-DRAWBACK"} <= codes
    assert any("zone of the sacral foramina" in f.message for f in lateral.findings)
    assert any("iliac bone" in f.message for f in lateral.findings)
    assert any("ventral cortex curves away" in f.message for f in oblique.findings)
    assert any("injure sacral nerve roots" in f.message for f in oblique.findings)
    root = next(f for f in lateral.findings if f.code == "APPROACH-ROOT")
    assert root.structure.split()[0] in {"S1", "S2", "L5"}
    for finding in lateral.findings:
        if finding.code.split("-")[0] == "GUIDANCE":
            (key,) = finding.evidence
            assert evidence(key).source in finding.message


def test_every_guidance_mode_says_what_speaks_for_it():
    for mode in GUIDANCE:
        assert any(f.code == "GUIDANCE-MERIT" for f in guidance_statements(mode))
    assert any("real time" in f.message for f in guidance_statements("ct") if f.code == "GUIDANCE-DRAWBACK")
    assert any("radiation" in f.message for f in guidance_statements("ct-and-fluoroscopy"))


def test_every_rule_cites_what_exists():
    for rule in RULES.values():
        assert rule.merits
        assert rule.drawbacks
        for name in (*rule.merits, *rule.drawbacks):
            assert evidence(f"approach_counsel.{name}").note


def _with_roots(anatomy, state, sigma):
    low = {"S3", "S4"}
    return anatomy.with_(
        roots=tuple(replace(r, state=state, uncertainty_mm=sigma) if r.level in low else r for r in anatomy.roots)
    )


def test_roots_that_nobody_saw_do_not_close_the_hiatus_but_raise_the_risk(s3):
    ct, anatomy, lesion = s3
    only = (Approach.INTERPEDICULAR,)
    seen = plan_trajectories(ct, _with_roots(anatomy, State.MEASURED, 9.0), lesion, approaches=only)[0]
    guessed = plan_trajectories(ct, _with_roots(anatomy, State.INFERRED, 9.0), lesion, approaches=only)[0]
    sure = plan_trajectories(ct, _with_roots(anatomy, State.INFERRED, 0.1), lesion, approaches=only)[0]
    assert not seen.feasible
    assert guessed.feasible
    assert any(f.code == "APPROACH-UNSEEN" and f.severity is Severity.CAUTION for f in guessed.findings)
    path = guessed.first.trajectory
    risk = [
        evaluate_path(ct, _with_roots(anatomy, State.INFERRED, sigma), lesion, only[0], path).measures
        for sigma in (0.1, 9.0)
    ]
    assert risk[1]["breach_probability"] > risk[0]["breach_probability"] + 0.02
    assert merit(sure) < merit(guessed)


def test_a_tunnel_drawn_into_the_canal_is_canal(s3):
    _, anatomy, lesion = s3
    array = np.array(anatomy.labels.array)
    grid = anatomy.labels.grid
    ball = np.linalg.norm(grid.centres_mm() - np.array([0.0, toy.canal_y(-87.0), -87.0]), axis=-1) < 4.0
    array[ball] = 11
    drawn = anatomy.with_(labels=LabelMap(array, grid, anatomy.labels.names))
    tissue = tissue_map(drawn, lesion)
    assert (tissue[ball] == Tissue.CANAL).all()
    assert (tissue == Tissue.TUNNEL).any()


def test_bowel_beyond_the_fields_is_kept_off(s1):
    ct, anatomy, lesion = s1
    (plan, *_) = plan_trajectories(ct, anatomy, lesion, approaches=(Approach.TRANSILIAC,))
    path = plan.first.trajectory
    far = path.point_at(8.0)
    grid = anatomy.labels.grid
    assert abs(far[0]) > 120.0
    near = np.linalg.norm(grid.centres_mm() - (far + np.array([0.0, -11.0, 0.0])), axis=-1) < 6.0
    array = np.where(near, 24, anatomy.labels.array).astype(np.uint8)
    bowel = anatomy.with_(labels=LabelMap(array, grid, {**anatomy.labels.names, 24: "colon"}))
    judged = evaluate_path(ct, bowel, lesion, Approach.TRANSILIAC, path)
    (clearance,) = [c for c in judged.first.clearances if c.structure == "bowel and bladder"]
    assert 1.0 < clearance.distance_mm < 5.0
    assert not judged.feasible
    nearer = path.moved(entry_mm=np.add(path.entry_mm, (0, -3, 0)), target_mm=np.add(path.target_mm, (0, -3, 0)))
    judged = evaluate_path(ct, bowel, lesion, Approach.TRANSILIAC, nearer)
    (clearance,) = [c for c in judged.first.clearances if c.structure == "bowel and bladder"]
    assert clearance.breach_probability > 0.2


def test_three_apart_get_three_needles_that_keep_their_gaps(pelvis):
    ct, anatomy = pelvis
    balls = [toy.lesion(anatomy, c, 8.0) for c in ((38.0, 20.0, -14.0), (30.0, 22.0, -46.0), (-37.0, 20.0, -16.0))]
    mask = Mask(np.logical_or.reduce([b.mask.array for b in balls]), balls[0].mask.grid)
    lesion = replace(balls[0], mask=mask, centre_mm=(10.0, 20.0, -25.0))
    plan = plan_trajectories(ct, anatomy, lesion, approaches=(Approach.POSTERIOR_SHORT_AXIS,))[0]
    assert plan.measures["needle_count"] == 3
    assert plan.measures["coverage_share"] > 0.8
    assert plan.measures["needle_gap_mm"] >= value("assumptions.approach_needle_gap")
    assert plan.measures["hub_gap_mm"] >= value("assumptions.approach_hub_gap")
    assert any("needle 3:" in reason for reason in plan.reasons)
    amounts = [sum(i.volume_ml for i in needle.injections) for needle in plan.needles]
    assert all(a > 0.2 for a in amounts)


def test_the_needle_that_hides_another_is_placed_after_it():
    behind = Trajectory((0.0, 80.0, 0.0), (0.0, 30.0, 0.0))
    deep = Trajectory((40.0, 80.0, 0.0), (0.0, 10.0, 0.0))
    order = in_order((behind, deep))
    last, first = order[-1], order[0]
    best = min(hidden_mm(first, last))
    assert best >= min(hidden_mm(last, first))


def test_a_forecast_sets_the_millilitres_and_the_order(s1_plans):
    before = [p for p in s1_plans if p.feasible]
    lead = before[0].approach

    def predicted(plan):
        leaks = plan.approach is lead
        return CementForecast(1.0 if leaks else 3.0, 0.1 if leaks else 0.9, 0.9 if leaks else 0.0, "Simulated")

    after = reconsidered(s1_plans, predicted)
    assert [p.rank for p in after] == list(range(1, len(after) + 1))
    assert after[0].approach is not lead
    changed = next(p for p in after if p.approach is lead)
    assert changed.total_volume_ml == pytest.approx(1.0, abs=0.05)
    assert "Simulated: 1.0 mL fill 10 %" in changed.reasons[-1]
    assert len(after) == len(s1_plans)


def test_no_forecast_changes_nothing(s1_plans):
    after = reconsidered(s1_plans, lambda plan: None)
    assert [(p.approach, p.first.trajectory if p.needles else None) for p in after] == [
        (p.approach, p.first.trajectory if p.needles else None) for p in s1_plans
    ]
