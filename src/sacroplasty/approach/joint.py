"""Several needles as one problem: what they reach together, that they do not meet, what one hides of another."""

from __future__ import annotations

import numpy as np

from sacroplasty.approach.assemble import Task, assembled
from sacroplasty.approach.choice import Pool
from sacroplasty.approach.distance import segments_distance
from sacroplasty.approach.judge import judge
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.target import covered
from sacroplasty.evidence import value
from sacroplasty.plan import Plan, Trajectory

# A second needle must add this share of the lesion to be worth its track.
_WORTH = 0.10
# Share of the lesion that one unit of a candidate's cost must be outweighed by.
_PER_COST = 0.15
# Partners whose coverage is worked out exactly.
_TRIED = 400


def with_partner(task: Task, rule: ApproachRule, pool: Pool, plan: Plan) -> Plan:
    """The plan with the second needle of the same approach that adds most; the plan itself where none is worth it.

    The needles keep a gap between their shafts and between their hubs.
    """
    lead = plan.first.trajectory
    have = covered(task.samples, lead)
    best: tuple[float, Trajectory] | None = None
    stride = max(len(pool) // _TRIED, 1)
    for n in range(0, len(pool), stride):
        other = Trajectory(tuple(pool.entries_mm[n]), tuple(pool.tips_mm[n]))
        if not _compatible(task, lead, other):
            continue
        gain = float((covered(task.samples, other) & ~have).mean())
        value_of_it = gain - _PER_COST * float(pool.cost[n])
        if gain >= _WORTH and (best is None or value_of_it > best[0] + 1e-9):
            best = value_of_it, other
    if best is None or not judge(task.scene, rule, task.needle, best[1]).legal:
        return plan
    joint = assembled(task, rule, (lead, best[1]), plan.side)
    hidden = hidden_mm(lead, best[1])
    measures = {**joint.measures, "second_tip_off_first_ap_mm": hidden[0], "second_tip_off_first_lateral_mm": hidden[1]}
    return joint.with_(measures=measures, reasons=(*joint.reasons, _hiding_words(hidden)))


def _compatible(task: Task, first: Trajectory, second: Trajectory) -> bool:
    """Shafts and hubs keep their gaps."""
    ends = [np.asarray(p, dtype=np.float64) for t in (first, second) for p in (t.entry_mm, t.target_mm)]
    gap = segments_distance(*ends)[0] - 2 * task.needle.radius_mm
    hubs = float(np.linalg.norm(ends[0] - ends[2]))
    return gap >= value("assumptions.approach_needle_gap") and hubs >= value("assumptions.approach_hub_gap")


def hidden_mm(first: Trajectory, second: Trajectory) -> tuple[float, float]:
    """How far the second needle's tip lies beside the first needle's shadow in the AP and in the lateral view, mm.

    Parallel beams: the views are those along the patient's sagittal and transverse axes.
    """
    result = []
    for dropped in (1, 0):
        keep = [axis for axis in range(3) if axis != dropped]
        flat = [np.zeros(3) for _ in range(3)]
        for place, point in zip(flat, (first.entry_mm, first.target_mm, second.target_mm), strict=True):
            place[:2] = np.asarray(point)[keep]
        result.append(float(segments_distance(flat[0], flat[1], flat[2], flat[2])[0]))
    return result[0], result[1]


def _hiding_words(hidden: tuple[float, float]) -> str:
    if min(hidden) >= 5.0:
        return "The first needle hides the second tip in neither the AP nor the lateral view."
    view = "AP" if hidden[0] < hidden[1] else "lateral"
    return (
        f"In the {view} view the first needle passes within {min(hidden):.0f} mm of the second tip: place the second "
        "one under the other view, or first."
    )
