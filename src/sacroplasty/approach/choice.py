"""From all legal candidates to a few clearly different good ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sacroplasty.approach.hiatus import through_hiatus
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import Scene
from sacroplasty.approach.search import Candidates, Reason
from sacroplasty.approach.skin import local_coordinates
from sacroplasty.approach.target import LesionSamples, deposit_reach_mm, thinned
from sacroplasty.approach.tissue import Tissue
from sacroplasty.evidence import value
from sacroplasty.plan import SACRAL_LEVELS, Side, Trajectory
from sacroplasty.space import Points

# Margin beyond the required clearance by which its worth falls to 1/e, mm: from red (2) to green (5). More room always
# counts, but less and less.
_MARGIN_SCALE_MM = 3.0
# What one unit of each objective is worth against the others when one of the Pareto set must go first: uncovered
# lesion, want of margin, degrees off the ideal course, mm of path, steps off the approach's own way.
_UNCOVERED, _MARGIN, _DEGREES, _LENGTH, _OFF_WAY = 4.0, 4.0, 1 / 30.0, 1 / 150.0, 1.0
# Candidates whose coverage is worked out, and the samples it is counted on.
_SHORTLIST, _COVERAGE_SAMPLES = 3000, 300
# Two plans are clearly different when tips, entries or directions differ by this much.
APART_ENTRY_MM, APART_TIP_MM, _APART_DEG = 15.0, 8.0, 8.0


@dataclass(frozen=True, eq=False)
class Pool:
    """Legal candidates of one approach: entries and tips (n, 3), and their objectives (n, 5), smaller is better:
    want of margin (0..1), uncovered share, degrees off the course, length mm, and how far off the approach's own
    way: levels between the puncture of the canal and one below the target, or 1 where the SI joint is missed.
    """

    entries_mm: Points
    tips_mm: Points
    objectives: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.entries_mm)

    @property
    def cost(self) -> npt.NDArray[np.float64]:
        """One number (n,) per candidate that grows with every objective."""
        return np.asarray(self.objectives @ np.array([_MARGIN, _UNCOVERED, _DEGREES, _LENGTH, _OFF_WAY]))

    def only(self, index: npt.NDArray[np.intp]) -> Pool:
        """The candidates of an index array."""
        return Pool(self.entries_mm[index], self.tips_mm[index], self.objectives[index])


def pool_of(scene: Scene, rule: ApproachRule, samples: LesionSamples, found: list[Candidates]) -> Pool:
    """Legal candidates with objectives: through the hiatus for the midline approach, through the SI joint for those
    that cross it, wherever any path does; a path dorsal of the joint is the second best.
    """
    entries, tips, margins, off_way = [], [], [], []
    for candidates in found:
        legal = np.flatnonzero(candidates.reason == Reason.LEGAL)
        e, t = candidates.pair(legal)
        starts = candidates.starts_mm[legal]
        off = _joint_missed(rule, starts)
        if rule.midline and len(legal):
            u = (t - e) / np.linalg.norm(t - e, axis=1, keepdims=True)
            passes = through_hiatus(scene, e + starts[:, 2:3] * u)
            off = _levels_off(scene, e + starts[:, 3:4] * u, t)
            legal, e, t, off = legal[passes], e[passes], t[passes], off[passes]
        entries.append(e)
        tips.append(t)
        margins.append(candidates.margin_mm[legal])
        off_way.append(off)
    entry, tip = np.concatenate(entries), np.concatenate(tips)
    margin = np.exp(-np.maximum(np.concatenate(margins), 0.0) / _MARGIN_SCALE_MM)
    degrees, length = _course_off(scene, rule, entry, tip)
    objectives = np.stack([margin, np.zeros(len(entry)), degrees, length, np.concatenate(off_way)], axis=1)
    pool = Pool(entry, tip, objectives.astype(np.float64))
    if not rule.midline and (objectives[:, 4] == 0).any():
        pool = pool.only(np.flatnonzero(objectives[:, 4] == 0))
    pool = pool.only(_ordered(scene, pool)[:_SHORTLIST])
    objectives = pool.objectives.copy()
    objectives[:, 1] = 1.0 - _coverage(scene, samples, pool.entries_mm, pool.tips_mm)
    pool = Pool(pool.entries_mm, pool.tips_mm, objectives)
    return pool.only(_ordered(scene, pool))


def _ordered(scene: Scene, pool: Pool) -> npt.NDArray[np.intp]:
    """Candidates from best to worst; ties go by place with |x|, so that left and right are treated alike."""
    frame = scene.anatomy.frame
    ends = np.concatenate([local_coordinates(frame, pool.tips_mm), local_coordinates(frame, pool.entries_mm)], axis=1)
    keys = np.round(np.concatenate([ends[:, [0]], ends[:, [2, 1, 5, 4]], np.abs(ends[:, [0, 3]])], axis=1), 3)
    return np.asarray(np.lexsort((*keys.T, np.round(pool.cost, 6))))


def _course_off(
    scene: Scene, rule: ApproachRule, entries: Points, tips: Points
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Degrees (n,) between each path and the expert's course for its side, and its length (n,)."""
    axes = scene.anatomy.frame.axes
    offset = (tips - entries) @ axes.T
    length = np.linalg.norm(offset, axis=1)
    u = offset / np.maximum(length, 1e-9)[:, None]
    inward = -np.sign(local_coordinates(scene.anatomy.frame, entries)[:, 0])
    medial, cephalad = np.radians(rule.course.ideal_medial_deg), np.radians(rule.course.ideal_cephalad_deg)
    cephalad = min(cephalad, np.pi / 2)
    x, z = np.sin(medial), np.sin(cephalad)
    ideal = np.stack([inward * x, np.full_like(inward, -np.sqrt(max(1 - x * x - z * z, 0.0))), np.full_like(inward, z)])
    ideal /= np.linalg.norm(ideal, axis=0)
    return np.degrees(np.arccos(np.clip((u * ideal.T).sum(axis=1), -1.0, 1.0))), length


def _joint_missed(rule: ApproachRule, starts: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """1 for each path (n,) that goes past the SI joint although its approach crosses it, else 0."""
    place = next((n for n, stage in enumerate(rule.stages) if stage.tissues == (Tissue.SI_JOINT,)), None)
    if place is None:
        return np.zeros(len(starts))
    return (starts[:, place + 1] - starts[:, place] <= 0).astype(np.float64)


def _levels_off(scene: Scene, punctures: Points, tips: Points) -> npt.NDArray[np.float64]:
    """How many levels (n,) the puncture of the canal's ventral wall is off from one below the tip's level."""
    edges = [
        (lv.upper_arc_mm, lv.lower_arc_mm, SACRAL_LEVELS.index(lv.level))
        for lv in scene.anatomy.levels
        if lv.state.known and lv.level in SACRAL_LEVELS
    ]
    if not edges:
        return np.zeros(len(tips))
    middles = np.array([(a + b) / 2 for a, b, _ in edges])
    numbers = np.array([n for _, _, n in edges], dtype=np.float64)
    frame = scene.anatomy.frame

    def number(points: Points) -> npt.NDArray[np.float64]:
        return np.interp(frame.coordinates(points)[:, 0], middles, numbers)

    last = numbers.max()
    return np.abs(np.minimum(number(tips) + 1.0, last) - number(punctures))


def _coverage(scene: Scene, samples: LesionSamples, entries: Points, tips: Points) -> npt.NDArray[np.float64]:
    """Share (n,) of the lesion within reach of deposits at the tip and at each withdrawal step inside the lesion."""
    step, reach = value("assumptions.approach_withdrawal_step"), deposit_reach_mm()
    some, weights = thinned(scene.anatomy.frame, samples, _COVERAGE_SAMPLES)
    back = (entries - tips) / np.linalg.norm(entries - tips, axis=1, keepdims=True)
    middle = some.mean(axis=0)
    others = some - middle
    near = np.zeros((len(tips), len(some)), dtype=bool)
    still = np.ones(len(tips), dtype=bool)
    for n in range(6):
        at = tips + n * step * back
        if n:
            still &= scene.lesion.mask.contains(at)
        if not still.any():
            break
        here = at[still] - middle
        squared = (here**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2.0 * here @ others.T
        near[still] |= squared <= reach**2
    return np.asarray(near @ weights)


def pareto(objectives: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Indices, in order, of the rows (n, k) that no other row beats in every objective; equal rows keep the first."""
    kept: list[int] = []
    front = np.empty((0, objectives.shape[1]))
    for n in np.lexsort(np.round(objectives, 6).T[::-1]):
        row = objectives[n]
        if not len(front) or not (front <= row + 1e-9).all(axis=1).any():
            kept.append(int(n))
            front = np.vstack([front, row])
    return np.array(sorted(kept), dtype=np.intp)


def different(pool: Pool, count: int) -> npt.NDArray[np.intp]:
    """Up to `count` candidates of an ordered pool, best first, each clearly different from those before."""
    chosen: list[int] = []
    u = pool.tips_mm - pool.entries_mm
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    free = np.ones(len(pool), dtype=bool)
    while len(chosen) < count and free.any():
        n = int(np.argmax(free))
        chosen.append(n)
        close = np.linalg.norm(pool.entries_mm - pool.entries_mm[n], axis=1) < APART_ENTRY_MM
        close &= np.linalg.norm(pool.tips_mm - pool.tips_mm[n], axis=1) < APART_TIP_MM
        close &= u @ u[n] > np.cos(np.radians(_APART_DEG))
        free &= ~close
        free[n] = False
    return np.array(chosen, dtype=np.intp)


def clearly_apart(a: Trajectory, b: Trajectory) -> bool:
    """Whether two paths still differ by half of what made their coarse forerunners different."""
    return (
        math.dist(a.entry_mm, b.entry_mm) >= APART_ENTRY_MM / 2
        or math.dist(a.target_mm, b.target_mm) >= APART_TIP_MM / 2
        or float(a.direction @ b.direction) <= math.cos(math.radians(_APART_DEG / 2))
    )


def side_of(scene: Scene, rule: ApproachRule, entry_mm: npt.ArrayLike) -> Side:
    """The patient's side a path comes from; a midline approach has none."""
    if rule.midline:
        return Side.MIDLINE
    return Side.LEFT if local_coordinates(scene.anatomy.frame, entry_mm)[0] > 0 else Side.RIGHT
