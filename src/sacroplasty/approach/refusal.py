"""Why an approach cannot be done: the binding constraint, where it binds, by how much, and the smallest change."""

from __future__ import annotations

import math

import numpy as np

from sacroplasty.approach.assemble import Task, main_place
from sacroplasty.approach.hiatus import off_hiatus_mm
from sacroplasty.approach.judge import Judgement, judge
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.search import Candidates, Reason
from sacroplasty.approach.tissue import Tissue
from sacroplasty.approach.wording import ZONE_WORDS
from sacroplasty.evidence import value
from sacroplasty.plan import Clearance, Finding, Level, NeedlePlan, Plan, Severity, Side, Trajectory, catalogue


def refused(task: Task, rule: ApproachRule, side: Side, sentence: str, *, judged: Judgement | None = None) -> Plan:
    """The infeasible plan that says why; it shows the nearest miss where there is one."""
    place = main_place(task, rule)
    level = place[0] if place else _lesion_level(task)
    needles: tuple[NeedlePlan, ...] = ()
    where = None
    measures: dict[str, float] = {}
    if judged is not None:
        needles = (NeedlePlan(task.needle, judged.trajectory, judged.crossings, judged.clearances),)
        measures["worst_margin_mm"] = judged.margin_mm
        if judged.broken_stage < 0 and judged.worst is not None:
            where = judged.worst.where_mm
    finding = Finding(Severity.BLOCKER, "APPROACH-INFEASIBLE", sentence, where_mm=where)
    return Plan(rule.approach, side, level, needles, measures, (sentence,), (finding,), feasible=False)


def _lesion_level(task: Task) -> Level:
    known = [level for level in task.samples.levels if level is not None]
    return max(sorted(set(known)), key=known.count, default=Level.S1)


def nothing_to_reach(task: Task, rule: ApproachRule) -> str:
    """The lesion lies where the approach does not go."""
    zones = " and ".join(ZONE_WORDS[z] for z in sorted(rule.zones, key=lambda z: z.value))
    levels = sorted({level.value for level, _ in rule.suits})
    where = f"{zones} of {levels[0]} to {levels[-1]}"
    return f"The {rule.title} approach reaches the {where}; no part of the lesion lies there."


def diagnosis(task: Task, rule: ApproachRule, found: list[Candidates]) -> tuple[str, Judgement | None]:
    """The binding constraint of a search that found nothing, from candidates judged without early rejection.

    The nearest miss is the candidate in legal order with the largest margin; where no candidate keeps the order, the
    one that gets farthest in it.
    """
    if not any(len(c.reason) for c in found):
        return (
            "There is no skin in view on the side the needle would come from: the field of view ends before it.",
            None,
        )
    ordered = _best(found, lambda c: c.reason == Reason.LEGAL)
    if ordered is not None:
        judgement = judge(task.scene, rule, task.needle, ordered)
        if rule.midline and judgement.broken_stage < 0:
            off = float(off_hiatus_mm(task.scene, ordered.point_at(judgement.starts_mm[2:3]))[0])
            if off > 0 and judgement.margin_mm >= 0:
                return _beside_hiatus(off), judgement
        if judgement.worst is not None and judgement.margin_mm < 0:
            return _too_near(task, judgement.worst), judgement
    stages = range(len(rule.stages) - 1, -1, -1)
    for stage in stages:
        broken = _best(found, lambda c, s=stage: c.reason == Reason.GRAMMAR + s)
        if broken is not None:
            judgement = judge(task.scene, rule, task.needle, broken)
            return _out_of_order(task, rule, judgement), judgement
    return _no_direction(task, rule, found), None


def _best(found: list[Candidates], wanted) -> Trajectory | None:  # type: ignore[no-untyped-def]
    """The candidate with the largest margin among those wanted."""
    best: tuple[float, Trajectory] | None = None
    for candidates in found:
        index = np.flatnonzero(wanted(candidates))
        if len(index):
            n = index[np.argmax(candidates.margin_mm[index])]
            margin = float(candidates.margin_mm[n])
            if best is None or margin > best[0]:
                entry, tip = candidates.pair(n)
                best = margin, Trajectory(tuple(entry), tuple(tip))
    return best[1] if best else None


def _too_near(task: Task, worst: Clearance) -> str:
    """The best path still comes too near to something."""
    lacking = worst.required_mm - worst.distance_mm
    radius = task.needle.radius_mm
    thinner = [n for n in catalogue() if n.radius_mm <= radius - lacking]
    if thinner:
        change = f"A {thinner[0].gauge_number} G needle ({thinner[0].outer_diameter_mm:.1f} mm) would fit."
    elif worst.distance_mm > 0:
        change = (
            f"Accepting {worst.distance_mm:.1f} mm instead of {worst.required_mm:.1f} mm there would make it possible."
        )
    else:
        change = "The needle would touch it: no smaller margin helps, only another target or approach."
    x, y, z = worst.where_mm
    return (
        f"The best path comes {lacking:.1f} mm too near to the {worst.structure}, {worst.depth_mm:.0f} mm below the "
        f"skin at ({x:.0f}, {y:.0f}, {z:.0f}) mm: {max(worst.distance_mm, 0.0):.1f} mm are left of the "
        f"{worst.required_mm:.1f} mm required. {change}"
    )


def _beside_hiatus(off_mm: float) -> str:
    return (
        f"Every path that reaches the lesion meets the canal at least {off_mm:.1f} mm outside the hiatus, through "
        f"closed bone; the opening would have to be {off_mm:.1f} mm longer or wider, or the lamina drilled there."
    )


def _out_of_order(task: Task, rule: ApproachRule, judgement: Judgement) -> str:
    """The legal order of crossings cannot be kept."""
    order = ", ".join(stage.name for stage in rule.stages)
    depth = judgement.broken_depth_mm
    tissue = task.scene.tissue_at(judgement.trajectory.point_at(depth)[None])[0]
    return (
        f"No path keeps the order {order}: the best one meets {Tissue(int(tissue)).words} {depth:.0f} mm below the "
        f"skin while in the {rule.stages[judgement.broken_stage].name}."
    )


def _no_direction(task: Task, rule: ApproachRule, found: list[Candidates]) -> str:
    """No candidate has a usable length, course or skin angle."""
    reasons = np.concatenate([c.reason for c in found])
    entries = np.concatenate([c.entries_mm for c in found])
    tips = np.concatenate([c.tips_mm for c in found])
    nearest = float(np.linalg.norm(entries[:, None] - tips[None, :: max(len(tips) // 20, 1)], axis=-1).min())
    reserve = value("assumptions.needle_length_reserve")
    if (reasons == Reason.LENGTH).all():
        return (
            f"The needle is too short: {nearest:.0f} mm to the nearest tip and {reserve:.0f} mm of reserve need "
            f"{nearest + reserve:.0f} mm, the needle has {task.needle.length_mm:.0f} mm."
        )
    if (reasons == Reason.SKIN_ANGLE).any():
        steep = value("assumptions.approach_skin_angle_max")
        return f"Every path on the approach's course meets the skin at more than {steep:.0f} deg from its normal."
    return _skin_on_course(task, rule)


def _skin_on_course(task: Task, rule: ApproachRule) -> str:
    """Where the approach's ideal course, followed outwards from the lesion, leaves the body or the image."""
    frame = task.scene.anatomy.frame
    centre = np.asarray(task.scene.lesion.centre_mm)
    sign = 1.0 if frame.coordinates(centre)[1] >= 0 else -1.0
    medial, cephalad = (math.radians(v) for v in (rule.course.ideal_medial_deg, rule.course.ideal_cephalad_deg))
    x, z = math.sin(medial), math.sin(cephalad)
    outward = np.array([sign * x, math.sqrt(max(1 - x * x - z * z, 0.0)), -z]) @ frame.axes
    depths = np.arange(0.0, 400.0, 1.0)
    line = centre + depths[:, None] * outward / np.linalg.norm(outward)
    out = int(np.argmin(task.scene.anatomy.body.contains(line)))
    course = (
        f"({rule.course.medial_deg[0]:.0f} to {rule.course.medial_deg[1]:.0f} deg towards the midline, "
        f"{rule.course.cephalad_deg[0]:.0f} to {rule.course.cephalad_deg[1]:.0f} deg cephalad in the sacral frame)"
    )
    if not task.scene.grid.contains(line[out], 3.0 * task.scene.spacing_mm):
        return (
            f"The skin on the approach's course {course} lies outside the field of view, which ends {out} mm from the "
            "lesion's centre; a scan that shows the skin there would be needed."
        )
    return (
        f"The skin on the approach's course {course} lies {out} mm from the lesion's centre: with "
        f"{value('assumptions.needle_length_reserve'):.0f} mm of reserve the {task.needle.length_mm:.0f} mm needle "
        "does not reach, or no skin there faces the course."
    )
