"""A judged path made into a plan: probabilities, deposits, read-outs, findings, reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sacroplasty.approach import wording
from sacroplasty.approach.counsel import approach_statements, guidance_statements, root_statements
from sacroplasty.approach.judge import Judgement, judge
from sacroplasty.approach.measures import bevel_azimuth_deg, nerve_name, read_outs
from sacroplasty.approach.ranking import suitability_grade
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import ROOTS, VENTRAL, Scene
from sacroplasty.approach.target import LesionSamples, covered, deposit_reach_mm, injections_for
from sacroplasty.approach.uncertainty import PlacementError, Tolerance, tolerance_cone, with_breach, worst_margin_sigmas
from sacroplasty.evidence import value
from sacroplasty.plan import DenisZone, Finding, Level, Needle, NeedlePlan, Plan, Severity, Side, Trajectory


@dataclass(frozen=True, eq=False)
class Task:
    """What is planned for: the scene, the lesion's samples, the needle and how surely it can be placed."""

    scene: Scene
    samples: LesionSamples
    needle: Needle
    error: PlacementError
    any_length: bool = False

    def needle_for(self, trajectory: Trajectory) -> Needle:
        """The needle, or where its length is free the shortest usual one that reaches with its reserve.

        Where none reaches it is the longest; that a path is too long for it is for the judge of the rules to say.
        """
        if not self.any_length:
            return self.needle
        wanted = trajectory.length_mm + value("assumptions.needle_length_reserve")
        reaching = (n for n in usual_lengths_mm() if n >= wanted)
        return replace(self.needle, length_mm=next(reaching, self.needle.length_mm))


def usual_lengths_mm() -> tuple[float, ...]:
    """Needle lengths to choose from, shortest first."""
    keys = ("needles.length_short", "needles.length_usual", "assumptions.approach_needle_length_long")
    return tuple(sorted(value(key) for key in keys))


def main_place(task: Task, rule: ApproachRule | None = None) -> tuple[Level, DenisZone] | None:
    """The level and zone with the largest share of the lesion, among those an approach suits where one is given.

    Ties go to the more cranial level and the more lateral zone; None where there is none.
    """
    places = task.samples.places
    counts = {place: n for place, n in places.items() if rule is None or rule.grade(*place) is not None}
    return min(counts, key=lambda p: (-counts[p], p[0].value, p[1].value), default=None)


def needle_plan(task: Task, rule: ApproachRule, judgement: Judgement) -> NeedlePlan:
    """The needle of a judged path with probabilities and bevel, still without deposits."""
    return NeedlePlan(
        task.needle_for(judgement.trajectory),
        judgement.trajectory,
        judgement.crossings,
        with_breach(task.scene, rule, task.needle, judgement, task.error),
        (),
        bevel_azimuth_deg(task.scene, task.needle, judgement.trajectory),
    )


def assembled(task: Task, rule: ApproachRule, trajectories: tuple[Trajectory, ...], side: Side) -> Plan:
    """The feasible plan of one or several paths; the first path leads and gives the measures."""
    judgements = [judge(task.scene, rule, task.needle, t) for t in trajectories]
    deposits = injections_for(task.samples, trajectories)
    needles = tuple(
        NeedlePlan(n.needle, n.trajectory, n.crossings, n.clearances, given, n.bevel_azimuth_deg)
        for n, given in zip((needle_plan(task, rule, j) for j in judgements), deposits, strict=True)
    )
    cone = tolerance_cone(task.scene, rule, task.needle, trajectories[0], task.error)
    coverage = float(np.mean(np.any([covered(task.samples, t) for t in trajectories], axis=0)))
    measures = {**read_outs(task.scene, rule, task.needle, judgements[0]), **_risk(task, needles, cone, coverage)}
    measures["suitability_grade"] = suitability_grade(task.samples, rule)
    level = task.scene.anatomy.levels_at([trajectories[0].target_mm])[0]
    place = main_place(task, rule)
    target = level or (place[0] if place else Level.S1)
    findings = _findings(task, rule, needles, measures)
    reasons = _reasons(task, rule, needles, measures, target, cone)
    return Plan(rule.approach, side, target, needles, measures, reasons, findings)


def _risk(task: Task, needles: tuple[NeedlePlan, ...], cone: Tolerance, coverage: float) -> dict[str, float]:
    touches = [c for needle in needles for c in needle.clearances]
    margins = [worst_margin_sigmas(needle.trajectory, needle.clearances, task.error) for needle in needles]
    return {
        "needle_count": float(len(needles)),
        "worst_margin_sigmas": min(margins),
        "coverage_share": coverage,
        "planned_volume_ml": sum(i.volume_ml for needle in needles for i in needle.injections),
        "breach_probability": max((c.breach_probability or 0.0 for c in touches), default=0.0),
        "breach_probability_upper": max((c.breach_probability_upper or 0.0 for c in touches), default=0.0),
        "tolerance_cone_deg": cone.angle_deg,
        "tolerance_entry_mm": cone.entry_mm,
        "tolerance_tip_mm": cone.tip_mm,
        "bevel_drift_mm": value("assumptions.approach_bevel_drift") * needles[0].trajectory.length_mm ** 2,
    }


def _reasons(
    task: Task,
    rule: ApproachRule,
    needles: tuple[NeedlePlan, ...],
    measures: dict[str, float],
    target: Level,
    cone: Tolerance,
) -> tuple[str, ...]:
    lead = needles[0]
    lines = [*suitability_words(task, rule), wording.course(lead, measures), wording.skin_marks(measures)]
    if rule.midline:
        lines.append(wording.hiatus_course(measures, target))
    if lead.clearances:
        lines.append(wording.nearness(lead.clearances[0], task.error.guidance))
    lines.append(wording.tolerance(cone.angle_deg, cone.entry_mm, cone.tip_mm))
    count = sum(len(n.injections) for n in needles)
    lines.append(wording.deposits(measures["coverage_share"], measures["planned_volume_ml"], count))
    if lead.bevel_azimuth_deg is not None and lead.clearances:
        nerve = nerve_name(task.scene, lead.clearances[0].where_mm)
        lines.append(wording.bevel(lead.bevel_azimuth_deg, nerve, measures["bevel_drift_mm"]))
    lines.append(f"Needle: {lead.needle.describe()}.")
    if len(needles) > 1:
        lines.append(f"{len(needles)} needles, because one alone leaves too much of the lesion out of reach.")
    return tuple(lines)


def suitability_words(task: Task, rule: ApproachRule) -> tuple[str, ...]:
    """How well the approach suits where the lesion lies, with the shares; nothing where no level is known."""
    main, reached = main_place(task), main_place(task, rule)
    places = task.samples.places
    if main is None:
        return ()
    total = sum(places.values())
    words = wording.suitability(rule, *main, places[main] / total)
    if reached is not None and reached != main and rule.grade(*main) is None:
        share = 100 * places[reached] / total
        words += f" It reaches the {reached[0]} {wording.ZONE_WORDS[reached[1]]}, {share:.0f} % of it."
    return (words,)


def _findings(
    task: Task, rule: ApproachRule, needles: tuple[NeedlePlan, ...], measures: dict[str, float]
) -> tuple[Finding, ...]:
    found: list[Finding] = []
    limit = value("assumptions.approach_breach_limit")
    for needle in needles:
        worst = max(needle.clearances, key=lambda c: c.breach_probability or 0.0, default=None)
        if worst is not None and (remark := wording.breach_finding(worst, task.error.guidance, limit)):
            found.append(remark)
        found.extend(_standoff(needle))
        found.extend(_leaking_walls(task, needle))
    caution = value("approach.volume_caution")
    if measures["planned_volume_ml"] >= caution:
        found.append(
            Finding(
                Severity.CAUTION,
                "APPROACH-VOLUME",
                f"The lesion would take more than {caution:.0f} mL; the plan is capped there for one sitting.",
                evidence=("approach.volume_caution",),
            )
        )
    found.extend(_unknown(task, rule))
    found.extend(_unseen(task, rule, needles))
    found.extend(_foraminal_part(task))
    found.extend((*approach_statements(rule), *root_statements(task.scene, needles)))
    return (*found, *guidance_statements(task.error.guidance))


def _unseen(task: Task, rule: ApproachRule, needles: tuple[NeedlePlan, ...]) -> list[Finding]:
    """On the way through the canal: roots near the needle whose place nobody saw."""
    if not rule.midline:
        return []
    tubes = {tube.name: tube for tube in task.scene.tubes if tube.group == ROOTS and not tube.seen}
    found = []
    for needle in needles:
        for clearance in needle.clearances:
            tube = tubes.get(clearance.structure)
            if tube is not None and clearance.distance_mm < clearance.required_mm + 2 * tube.uncertainty_mm:
                found.append(
                    Finding(
                        Severity.CAUTION,
                        "APPROACH-UNSEEN",
                        f"The {tube.name} was not seen in this scan, its place is known to "
                        f"{tube.uncertainty_mm:.1f} mm only; the needle keeps {clearance.distance_mm:.1f} mm from "
                        "where it most likely leaves the canal. Stay in the midline, below the thecal sac.",
                        tube.name,
                        clearance.where_mm,
                    )
                )
    return found


def _foraminal_part(task: Task) -> list[Finding]:
    """A caution where much of the lesion lies between the foramina, beside the roots."""
    places = task.samples.places
    share = sum(n for (_, zone), n in places.items() if zone is DenisZone.FORAMINA) / max(sum(places.values()), 1)
    if share < value("assumptions.approach_foraminal_share"):
        return []
    return [
        Finding(
            Severity.CAUTION,
            "APPROACH-ZONE",
            f"{100 * share:.0f} % of the lesion lies in the foraminal zone (Denis zone II): no approach fills it "
            "without cement beside a root; keep the tip out of that zone where the rest can be filled.",
            evidence=("assumptions.approach_foraminal_share",),
        )
    ]


def _standoff(needle: NeedlePlan) -> list[Finding]:
    """A caution where the tip comes nearer to the ventral cortex than its stand-off."""
    standoff = value("assumptions.approach_ventral_tip_standoff")
    near = [c for c in needle.clearances if c.structure == VENTRAL and c.distance_mm < standoff]
    return [
        Finding(
            Severity.CAUTION,
            "APPROACH-VENTRAL",
            f"The needle comes within {c.distance_mm:.1f} mm of the ventral cortex; {standoff:.0f} mm are wanted.",
            VENTRAL,
            c.where_mm,
            ("assumptions.approach_ventral_tip_standoff",),
        )
        for c in near
    ]


def _leaking_walls(task: Task, needle: NeedlePlan) -> list[Finding]:
    """Destroyed walls that a deposit of this needle reaches."""
    reach = deposit_reach_mm()
    remarks = []
    for wall in task.scene.lesion.breached:
        tips = needle.trajectory.point_at([i.tip_depth_mm for i in needle.injections])
        if wall.where_mm is not None and len(tips):
            distance = float(np.linalg.norm(tips - np.asarray(wall.where_mm), axis=1).min())
            if distance <= reach:
                remarks.append(
                    Finding(
                        Severity.WARNING,
                        "APPROACH-WALL",
                        f"The {wall.name} wall is destroyed {distance:.0f} mm from a deposit: cement can leave there.",
                        wall.name,
                        wall.where_mm,
                        ("assumptions.approach_reach",),
                    )
                )
    return remarks


def _unknown(task: Task, rule: ApproachRule) -> list[Finding]:
    """Foramina and roots near the lesion's levels that nothing keeps the needle from, because nobody knows them."""
    levels = {level for level in task.samples.levels if level is not None}
    levels |= {level.below for level in list(levels) if level.below} | {lv.above for lv in list(levels) if lv.above}
    anatomy = task.scene.anatomy
    names = [f.name for f in anatomy.foramina if f.level in levels and not f.state.known]
    names += [r.name for r in anatomy.roots if r.level in levels and not r.state.known]
    if not names:
        return []
    return [
        Finding(
            Severity.CAUTION,
            "APPROACH-UNKNOWN",
            f"Not known in this scan, so that no clearance to them is given: {', '.join(names)}.",
        )
    ]
