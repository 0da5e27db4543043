"""Every approach tried, the feasible ones ranked, the others explained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sacroplasty.anatomy import Anatomy
from sacroplasty.approach.assemble import Task, assembled, usual_lengths_mm
from sacroplasty.approach.choice import (
    APART_ENTRY_MM,
    APART_TIP_MM,
    Pool,
    clearly_apart,
    different,
    pareto,
    pool_of,
    side_of,
)
from sacroplasty.approach.hiatus import hiatus_refusal, off_hiatus_mm
from sacroplasty.approach.joint import with_partners
from sacroplasty.approach.judge import judge
from sacroplasty.approach.ranking import best_first, merit, ranked
from sacroplasty.approach.refine import refined
from sacroplasty.approach.refusal import diagnosis, nothing_to_reach, refused
from sacroplasty.approach.rules import RULES, ApproachRule
from sacroplasty.approach.scene import scene_of
from sacroplasty.approach.search import search_sides
from sacroplasty.approach.target import lesion_samples, tip_candidates
from sacroplasty.approach.uncertainty import placement_error
from sacroplasty.errors import PlanError
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Approach, Finding, Needle, Plan, Severity, Side, Trajectory, as_point
from sacroplasty.space import Volume

Progress = Callable[[float, str], None]
# Plans shown per approach; twice as many are completed, and at most this many finalists refined for them.
ALTERNATIVES, _FINALISTS = 3, 24
# How far below the required clearance the search for a nearest miss looks, mm.
_MISS_MM = -25.0
DEFAULT_GAUGE = 13


def plan_trajectories(
    ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion,
    *,
    needle: Needle | None = None,
    approaches: Sequence[Approach] | None = None,
    guidance: str = "fluoroscopy",
    alternatives: int = ALTERNATIVES,
    progress: Progress | None = None,
) -> tuple[Plan, ...]:
    """Plans by rank: the best of each feasible approach, their alternatives, then the infeasible ones with reasons.

    needle: where none is given 13 G, as in both source papers, in the shortest usual length that reaches. approaches:
    all six where none are given. guidance: one of `GUIDANCE`, which sets the placement error. Raises PlanError where
    the lesion has no part in the sacrum. The same input gives the same plans.
    """
    task = task_of(ct, anatomy, lesion, needle, guidance)
    wanted = tuple(RULES) if approaches is None else tuple(approaches)
    plans: list[Plan] = []
    for n, approach in enumerate(wanted):
        if progress is not None:
            progress(n / len(wanted), f"{approach} approach")
        plans.extend(_plans_of(task, RULES[approach], alternatives))
    if progress is not None:
        progress(1.0, "ranked")
    return ranked(plans)


def evaluate_path(
    ct: Volume,
    anatomy: Anatomy,
    lesion: Lesion,
    approach: Approach,
    trajectory: Trajectory,
    needle: Needle | None = None,
    *,
    guidance: str = "fluoroscopy",
) -> Plan:
    """A user's own path judged by the same rules as ours; infeasible with every broken rule as a finding.

    The first call for a patient prepares the scene; later ones take milliseconds.
    """
    task = task_of(ct, anatomy, lesion, needle, guidance)
    rule = RULES[approach]
    broken = _broken_rules(task, rule, trajectory)
    plan = assembled(task, rule, (trajectory,), side_of(task.scene, rule, trajectory.entry_mm))
    if not broken:
        return plan
    reasons = (*(finding.message for finding in broken), *plan.reasons)
    return plan.with_(feasible=False, findings=(*broken, *plan.findings), reasons=reasons)


def task_of(ct: Volume, anatomy: Anatomy, lesion: Lesion, needle: Needle | None, guidance: str) -> Task:
    """What is planned for, prepared; PlanError where the lesion has no part in the sacrum."""
    scene = scene_of(ct, anatomy, lesion)
    samples = lesion_samples(scene)
    if not len(samples.points_mm):
        raise PlanError(
            "The lesion has no part in the sacral bone, so there is nothing to fill",
            got=f"lesion of {lesion.volume_ml:.1f} mL at {tuple(round(v) for v in lesion.centre_mm)} mm",
            remedy="Check the lesion mask against the sacrum",
        )
    chosen = Needle.gauge(DEFAULT_GAUGE, usual_lengths_mm()[-1]) if needle is None else needle
    return Task(scene, samples, chosen, placement_error(guidance), needle is None)


def _plans_of(task: Task, rule: ApproachRule, alternatives: int) -> list[Plan]:
    """The plans of one approach, best first, or one refusal."""
    scene = task.scene
    side = Side.MIDLINE if rule.midline else _near_side(task)
    if rule.midline and (sentence := hiatus_refusal(scene, task.needle)):
        return [refused(task, rule, side, sentence)]
    tips = tip_candidates(scene, task.samples, rule, task.needle.radius_mm)
    if not len(tips):
        return [refused(task, rule, side, nothing_to_reach(task, rule))]
    found = search_sides(scene, rule, task.needle, tips)
    pool = pool_of(scene, rule, task.samples, found)
    if not len(pool):
        sentence, judged = diagnosis(task, rule, search_sides(scene, rule, task.needle, tips, _MISS_MM))
        return [refused(task, rule, side, sentence, judged=judged)]
    return _best_plans(task, rule, pool, alternatives)


def _near_side(task: Task) -> Side:
    x = task.scene.anatomy.frame.coordinates(np.asarray(task.scene.lesion.centre_mm))[1]
    return Side.LEFT if x > 0 else Side.RIGHT


def _best_plans(task: Task, rule: ApproachRule, pool: Pool, alternatives: int) -> list[Plan]:
    """The finalists refined, judged exactly, completed and ordered; the best with the further needles worth having."""
    front = pool.only(pareto(pool.objectives))
    plans: list[Plan] = []
    for index in different(front, _FINALISTS):
        if len(plans) >= 2 * alternatives:
            break
        trajectory = _settled(task, rule, front, int(index), free=not plans)
        # Two finalists may be refined into one.
        if trajectory is None or any(not clearly_apart(trajectory, plan.first.trajectory) for plan in plans):
            continue
        plans.append(assembled(task, rule, (trajectory,), side_of(task.scene, rule, trajectory.entry_mm)))
    if not plans:
        trajectory = Trajectory(tuple(pool.entries_mm[0]), tuple(pool.tips_mm[0]))
        judgement = judge(task.scene, rule, task.needle, trajectory)
        broken = " ".join(finding.message for finding in _broken_rules(task, rule, trajectory))
        sentence = f"No path passes its exact check. Of the best one: {broken}"
        return [refused(task, rule, _near_side(task), sentence, judged=judgement)]
    plans = best_first(plans)[:alternatives]
    if plans[0].measures["coverage_share"] < value("assumptions.approach_coverage_enough"):
        joint = with_partners(task, rule, pool, plans[0])
        if merit(joint) < merit(plans[0]):
            plans[0] = joint
    return plans


def _settled(task: Task, rule: ApproachRule, pool: Pool, index: int, *, free: bool) -> Trajectory | None:
    """A finalist refined, freely or nearby, or as it was where that fails its exact check; None where both fail."""
    reach = (math.inf, math.inf) if free else (APART_ENTRY_MM / 2, APART_TIP_MM / 2)
    entry, tip = refined(task.scene, rule, task.needle, task.samples, pool, index, reach)
    for ends in ((entry, tip), (pool.entries_mm[index], pool.tips_mm[index])):
        trajectory = Trajectory(tuple(ends[0]), tuple(ends[1]))
        if judge(task.scene, rule, task.needle, trajectory).legal:
            return trajectory
    return None


def _broken_rules(task: Task, rule: ApproachRule, trajectory: Trajectory) -> tuple[Finding, ...]:
    """Every hard rule that a path breaks."""
    judgement = judge(task.scene, rule, task.needle, trajectory)
    found: list[Finding] = []

    def add(message: str, structure: str = "", depth: float | None = None) -> None:
        where = None if depth is None else as_point(trajectory.point_at(depth))
        found.append(Finding(Severity.BLOCKER, "APPROACH-INFEASIBLE", message, structure, where))

    if rule.midline and (sentence := hiatus_refusal(task.scene, task.needle)):
        add(sentence, "hiatus")
    if judgement.broken_stage >= 0:
        stage = rule.stages[judgement.broken_stage]
        order = ", ".join(s.name for s in rule.stages)
        add(
            f"The order of crossings is broken {judgement.broken_depth_mm:.0f} mm below the skin, in the {stage.name}; "
            f"the approach crosses {order}.",
            stage.name,
            judgement.broken_depth_mm,
        )
    elif rule.midline:
        off = float(off_hiatus_mm(task.scene, trajectory.point_at(judgement.starts_mm[2:3]))[0])
        if off > 0:
            add(f"The needle meets the canal {off:.1f} mm outside the hiatus.", "hiatus", float(judgement.starts_mm[2]))
    for clearance in judgement.clearances:
        short = clearance.required_mm - clearance.distance_mm
        if short > 0:
            add(
                f"The needle comes {short:.1f} mm too near to the {clearance.structure}: "
                f"{clearance.distance_mm:.1f} mm of {clearance.required_mm:.1f} mm required.",
                clearance.structure,
                clearance.depth_mm,
            )
    needed = trajectory.length_mm + value("assumptions.needle_length_reserve")
    if needed > task.needle.length_mm:
        add(f"The needle is too short: {needed:.0f} mm are needed, it has {task.needle.length_mm:.0f} mm.")
    return tuple(found)
