"""Several needles as one problem: what they reach together, that they do not meet, what one hides of another."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import numpy.typing as npt

from sacroplasty.approach.assemble import Task, assembled
from sacroplasty.approach.choice import Pool
from sacroplasty.approach.distance import segments_distance
from sacroplasty.approach.judge import judge
from sacroplasty.approach.ranking import merit
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.target import covered
from sacroplasty.evidence import value
from sacroplasty.plan import Plan, Trajectory

# A further needle must add this share of the lesion to be worth its track.
_WORTH = 0.10
# Share of the lesion that one unit of a candidate's cost must be outweighed by.
_PER_COST = 0.15
# Candidates that partners are chosen from, besides the lead.
_TRIED = 240
# A tip this near to another needle's shadow is hidden by it, mm.
_HIDDEN_MM = 5.0

Bools = npt.NDArray[np.bool_]


def with_partners(task: Task, rule: ApproachRule, pool: Pool, plan: Plan) -> Plan:
    """The plan with as many further needles of the same approach as are worth their tracks, the set chosen as a whole;
    the plan itself where none is. Needles keep a gap between their shafts and between their hubs.
    """
    paths = _candidates(task, rule, pool, plan)
    reach = np.stack([covered(task.samples, path) for path in paths])
    costs = np.concatenate([[0.0], pool.cost[_chosen(pool)]])[: len(paths)]
    apart = _apart(task, paths)
    best = plan
    chosen: tuple[int, ...] = (0,)
    for _ in range(int(value("approach.needles_most")) - 1):
        chosen = _one_more(reach, costs, apart, chosen)
        if not chosen:
            break
        needles = in_order(tuple(paths[n] for n in chosen))
        if not all(judge(task.scene, rule, task.needle, path).legal for path in needles):
            break
        joint = _told(assembled(task, rule, needles, plan.side), needles)
        if merit(joint) >= merit(best):
            break
        best = joint
    return best


def _chosen(pool: Pool) -> npt.NDArray[np.intp]:
    return np.arange(0, len(pool), max(len(pool) // _TRIED, 1))


def _candidates(task: Task, rule: ApproachRule, pool: Pool, plan: Plan) -> list[Trajectory]:
    """The lead, then the pool thinned evenly from best to worst."""
    ends = ((pool.entries_mm[n], pool.tips_mm[n]) for n in _chosen(pool))
    return [plan.first.trajectory, *(Trajectory(tuple(entry), tuple(tip)) for entry, tip in ends)]


def _apart(task: Task, paths: list[Trajectory]) -> Bools:
    """Which pairs (n, n) of needles keep their gaps, shaft to shaft and hub to hub."""
    ends = [(np.asarray(p.entry_mm, dtype=np.float64), np.asarray(p.target_mm, dtype=np.float64)) for p in paths]
    hubs = np.array([entry for entry, _ in ends])
    apart = np.linalg.norm(hubs[:, None] - hubs[None], axis=-1) >= value("assumptions.approach_hub_gap")
    least = value("assumptions.approach_needle_gap") + 2 * task.needle.radius_mm
    for a, b in combinations(range(len(paths)), 2):
        if apart[a, b] and segments_distance(*ends[a], *ends[b])[0] < least:
            apart[a, b] = apart[b, a] = False
    return np.asarray(apart)


def _one_more(reach: Bools, costs: npt.NDArray[np.float64], apart: Bools, chosen: tuple[int, ...]) -> tuple[int, ...]:
    """The set with one needle more that reaches most for its cost: the best addition, then exchanges of single needles
    until none improves it. Empty where no addition is worth its track.
    """
    added = _best_with(reach, costs, apart, chosen)
    if added is None or reach[[*chosen, added]].any(axis=0).mean() - reach[list(chosen)].any(axis=0).mean() < _WORTH:
        return ()
    now = (*chosen, added)
    for _ in range(2 * len(now)):
        options = []
        for place in range(1, len(now)):
            rest = (*now[:place], *now[place + 1 :])
            other = _best_with(reach, costs, apart, rest)
            if other is not None:
                options.append((_worth(reach, costs, (*rest, other)), (*rest, other)))
        best = max(options, key=lambda option: option[0], default=None)
        if best is None or best[0] <= _worth(reach, costs, now) + 1e-9:
            break
        now = best[1]
    return now


def _worth(reach: Bools, costs: npt.NDArray[np.float64], chosen: tuple[int, ...]) -> float:
    return float(reach[list(chosen)].any(axis=0).mean() - _PER_COST * costs[list(chosen)].sum())


def _best_with(reach: Bools, costs: npt.NDArray[np.float64], apart: Bools, chosen: tuple[int, ...]) -> int | None:
    """The candidate that adds most to a set for its cost and keeps its gaps; None where none does."""
    have = reach[list(chosen)].any(axis=0)
    gains = (reach & ~have).mean(axis=1) - _PER_COST * costs
    allowed = apart[list(chosen)].all(axis=0)
    if not allowed.any():
        return None
    return int(np.argmax(np.where(allowed, np.round(gains, 9), -np.inf)))


def in_order(needles: tuple[Trajectory, ...]) -> tuple[Trajectory, ...]:
    """The needles in the order in which the ones in place hide least of the next tip in the AP and lateral views."""

    def hiding(order: tuple[int, ...]) -> tuple[int, float]:
        offsets = [
            off
            for late in range(1, len(order))
            for early in range(late)
            for off in hidden_mm(needles[order[early]], needles[order[late]])
        ]
        return sum(off < _HIDDEN_MM for off in offsets), -min(offsets, default=0.0)

    best = min(permutations(range(len(needles))), key=lambda order: (*hiding(order), order))
    return tuple(needles[n] for n in best)


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


def _told(plan: Plan, needles: tuple[Trajectory, ...]) -> Plan:
    """The joint plan with gaps and hiding among its measures and reasons, needles numbered in the order of placing."""
    measures, lines = dict(plan.measures), []
    shafts, hubs = [], []
    for (a, first), (b, second) in combinations(enumerate(needles, start=1), 2):
        ends = [np.asarray(p, dtype=np.float64) for t in (first, second) for p in (t.entry_mm, t.target_mm)]
        shafts.append(float(segments_distance(*ends)[0]) - 2 * plan.needles[0].needle.radius_mm)
        hubs.append(float(np.linalg.norm(ends[0] - ends[2])))
        ap, lateral = hidden_mm(first, second)
        measures[f"needle_{b}_tip_off_needle_{a}_ap_mm"] = ap
        measures[f"needle_{b}_tip_off_needle_{a}_lateral_mm"] = lateral
        if min(ap, lateral) < _HIDDEN_MM:
            view, other = ("AP", "lateral") if ap < lateral else ("lateral", "AP")
            lines.append(
                f"In the {view} view needle {a} passes within {min(ap, lateral):.0f} mm of the tip of needle {b}: "
                f"check that tip in the {other} view, or tilt the beam."
            )
    if not lines:
        lines.append("No needle hides the tip of a later one in the AP or lateral view.")
    measures.update(needle_gap_mm=min(shafts), hub_gap_mm=min(hubs))
    spread = f"Shafts keep at least {min(shafts):.0f} mm, hubs {min(hubs):.0f} mm."
    shares = "; ".join(
        f"needle {n}: {sum(i.volume_ml for i in needle.injections):.1f} mL" for n, needle in enumerate(plan.needles, 1)
    )
    return plan.with_(measures=measures, reasons=(*plan.reasons, f"In order of placing, {shares}.", spread, *lines))
