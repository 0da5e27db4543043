"""Every path from a skin patch to a set of tips, judged by course, clearance and crossing order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sacroplasty.approach.distance import FAR_MM, Field, clip, stamp_capsule, trilinear
from sacroplasty.approach.rules import ApproachRule, Stage
from sacroplasty.approach.scene import Scene
from sacroplasty.approach.skin import local_coordinates
from sacroplasty.evidence import value
from sacroplasty.plan import Needle, Side
from sacroplasty.space import Points

# The walk along a path samples tissues this often, voxels.
_TISSUE_STEP = 0.5
_OFF_EVEN = 0.31
# Air within this depth of the first sample is the skin's own roughness, mm.
_SKIN_MM = 4.0


class Reason(IntEnum):
    """Why a candidate was dropped; GRAMMAR + n: the legal order broke in stage n."""

    LEGAL = 0
    LENGTH = 1
    COURSE = 2
    SKIN_ANGLE = 3
    CLEARANCE = 4
    GRAMMAR = 10


@dataclass(frozen=True, eq=False)
class Candidates:
    """All pairs of entry and tip, entry-major: margin (n,) in mm beyond the required clearances, reason (n,), and the
    depth (n, stages) at which each stage began (NaN where it was not met).
    """

    entries_mm: Points
    tips_mm: Points
    margin_mm: npt.NDArray[np.float32]
    reason: npt.NDArray[np.uint8]
    starts_mm: npt.NDArray[np.float32]

    def pair(self, index: npt.ArrayLike) -> tuple[Points, Points]:
        """Entries and tips (k, 3) of flat indices (k,)."""
        entry, tip = np.divmod(np.asarray(index), len(self.tips_mm))
        return self.entries_mm[entry], self.tips_mm[tip]


def required_mm(scene: Scene, rule: ApproachRule) -> dict[str, float]:
    """Least surface distance to each keep-out the approach has, its structure's uncertainty included."""
    return {name: value(key) + scene.widening_mm.get(name, 0.0) for name, key in rule.margins.items()}


@lru_cache(maxsize=12)
def margin_field(scene: Scene, required: tuple[tuple[str, float], ...], through_canal: bool) -> Field:
    """Lower bound of (distance of a point to a keep-out minus what is required), least over the keep-outs, on the crop.

    required: (name of the keep-out, mm) in any order; those not named are no obstacle. through_canal: see
    `Tube.keep_out_mm`.
    """
    needed = dict(required)
    shape = tuple(part.stop - part.start for part in scene.box)
    field = np.full(shape, FAR_MM, dtype=np.float32)
    for name, distance in scene.fields.items():
        if name in needed:
            np.minimum(field, distance - np.float32(scene.bound_mm + needed[name]), out=field)
    for tube in scene.tubes:
        if tube.group in needed:
            line = scene.voxels(tube.points_mm) - scene.offset
            for n in range(max(len(line) - 1, 1)):
                end = line[min(n + 1, len(line) - 1)]
                reach = tube.keep_out_mm(through_canal)
                stamp_capsule(field, line[n], end, reach, needed[tube.group], scene.spacing_mm)
    field.flags.writeable = False
    return field


def field_of(scene: Scene, rule: ApproachRule) -> Field:
    """The margin field of an approach."""
    return margin_field(scene, tuple(sorted(required_mm(scene, rule).items())), rule.midline)


def stage_table(stages: tuple[Stage, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Allowed tissues as bit masks (n,), and least and most way (n, 2) in mm."""
    allowed = np.array([sum(1 << int(t) for t in stage.tissues) for stage in stages], dtype=np.int64)
    ways = [(s.least_mm, value(s.most_key) if s.most_key else s.most_mm) for s in stages]
    return allowed, np.array(ways, dtype=np.float64)


def entry_candidates(scene: Scene, rule: ApproachRule, side: Side) -> tuple[Points, Points]:
    """Skin points (n, 3) and normals of the side from which the approach comes; the midline has a strip of its own."""
    midline = side is Side.MIDLINE
    points = scene.midline_mm if midline else scene.skin_mm
    normals = scene.midline_normals if midline else scene.skin_normals
    local = local_coordinates(scene.anatomy.frame, points)
    lateral = np.abs(local[:, 0]) if midline else local[:, 0] * (-1.0 if side is Side.RIGHT else 1.0)
    wanted = (lateral >= rule.lateral_mm[0]) & (lateral <= rule.lateral_mm[1])
    return points[wanted], normals[wanted]


def search(
    scene: Scene,
    rule: ApproachRule,
    needle: Needle,
    field: Field,
    entries: tuple[Points, Points],
    tips_mm: Points,
    side: Side,
    least_margin_mm: float = 0.0,
) -> Candidates:
    """Judge every entry against every tip; candidates below `least_margin_mm` are dropped early.

    entries: positions (n, 3) and outward normals (n, 3) of the skin. The margins are lower bounds up to the sampling
    floor; finalists are judged again by `judge`, which has none.
    """
    points, normals = entries
    frame = scene.anatomy.frame
    allowed, ways = stage_table(rule.stages)
    sign = -1.0 if side is Side.RIGHT else 1.0
    limits = np.array([*rule.course.medial_deg, *rule.course.cephalad_deg])
    longest = needle.length_mm - value("assumptions.needle_length_reserve")
    steepest = math.cos(math.radians(value("assumptions.approach_skin_angle_max")))
    n = len(points) * len(tips_mm)
    margin = np.full(n, -FAR_MM, dtype=np.float32)
    reason, starts = np.zeros(n, dtype=np.uint8), np.full((n, len(allowed)), np.nan, dtype=np.float32)
    if n:
        _judge_all(
            local_coordinates(frame, points), local_coordinates(frame, tips_mm), normals @ frame.axes.T,
            scene.voxels(points), scene.voxels(tips_mm), scene.offset, field, scene.tissue, allowed, ways,
            np.sin(np.radians(limits)), sign, longest, steepest, needle.radius_mm,
            value("assumptions.approach_overshoot"), least_margin_mm, scene.spacing_mm, margin, reason, starts,
        )  # fmt: skip
    return Candidates(points, tips_mm, margin, reason, starts)


def search_sides(
    scene: Scene, rule: ApproachRule, needle: Needle, tips_mm: Points, least_margin_mm: float = 0.0
) -> list[Candidates]:
    """The search from every side the approach may come from."""
    field = field_of(scene, rule)
    sides = (Side.MIDLINE,) if rule.midline else (Side.LEFT, Side.RIGHT)
    return [
        search(scene, rule, needle, field, entry_candidates(scene, rule, side), tips_mm, side, least_margin_mm)
        for side in sides
    ]


@njit(cache=True)
def _least_margin(
    field: Field, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], spacing: float, give_up: float
) -> float:
    """Least field value from `start` (the tip) to `end`, or the first one below `give_up`."""
    length = math.sqrt(((end - start) ** 2).sum()) * spacing
    enter, leave = clip(start, end, field.shape)
    s, last, best, floor = enter * length, leave * length, FAR_MM, 0.5 * spacing
    while s <= last:
        f = s / length
        here = trilinear(
            field,
            start[0] + f * (end[0] - start[0]),
            start[1] + f * (end[1] - start[1]),
            start[2] + f * (end[2] - start[2]),
        )
        if here < best:
            best = here
            if best < give_up:
                return best
        # Beyond 10 mm more room has no value to a plan, so far stretches are crossed in leaps.
        s += max(here - min(best, 10.0), floor)
    return best


@njit(cache=True)
def walk(
    tissue: npt.NDArray[np.uint8],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    length: float,
    step_mm: float,
    allowed: npt.NDArray[np.int64],
    ways: npt.NDArray[np.float64],
    starts: npt.NDArray[np.float32],
) -> tuple[int, float]:
    """Follow the legal order from skin (`start`, voxels) to tip: the broken stage and its depth, or -1 and the length.

    Writes the depth at which each stage began into `starts`.
    """
    count = int(length / step_mm) + 1
    stage, begun = 0, 0.0
    starts[0] = 0.0
    for n in range(count + 1):
        # Off the even fractions, whose samples between voxel centres would be rounded to one side.
        f = min((n + _OFF_EVEN) / count, 1.0)
        depth = f * length
        i = round(start[0] + f * (end[0] - start[0]))
        j = round(start[1] + f * (end[1] - start[1]))
        k = round(start[2] + f * (end[2] - start[2]))
        kind = 0
        if 0 <= i < tissue.shape[0] and 0 <= j < tissue.shape[1] and 0 <= k < tissue.shape[2]:
            kind = tissue[i, j, k]
        if kind == 0 and depth < _SKIN_MM:
            kind = 1
        while (allowed[stage] >> kind) & 1 == 0:
            if depth - begun < ways[stage, 0] or stage + 1 == len(allowed):
                return stage, depth
            stage += 1
            begun = depth
            starts[stage] = depth
        if depth - begun > ways[stage, 1]:
            return stage, depth
    if stage + 1 < len(allowed) or length - begun < ways[stage, 0]:
        return stage, length
    return -1, length


@njit(parallel=True, cache=True)
def _judge_all(  # type: ignore[no-untyped-def]
    entries, tips, normals, entry_voxels, tip_voxels, offset, field, tissue, allowed, ways, sines, sign,
    longest, steepest, radius, overshoot, least_margin, spacing, margin, reason, starts,
):  # fmt: skip
    """Fill margin, reason and starts for every pair; cheap tests first, then clearance from the tip, then the order."""
    for e in prange(len(entries)):
        for t in range(len(tips)):
            n = e * len(tips) + t
            d = tips[t] - entries[e]
            length = math.sqrt((d * d).sum())
            if length > longest or length < 10.0:
                reason[n] = 1
                continue
            u = d / length
            medial = -sign * u[0]
            if medial < sines[0] or medial > sines[1] or u[2] < sines[2] or u[2] > sines[3] or u[1] > 0.2:
                reason[n] = 2
                continue
            if -(u * normals[e]).sum() < steepest:
                reason[n] = 3
                continue
            step = (tip_voxels[t] - entry_voxels[e]) / length
            best = _least_margin(
                field, tip_voxels[t] + overshoot * step - offset, entry_voxels[e] - offset, spacing,
                least_margin + radius,
            )  # fmt: skip
            margin[n] = best - radius
            if margin[n] < least_margin:
                reason[n] = 4
                continue
            stage, _ = walk(
                tissue, entry_voxels[e], tip_voxels[t], length, _TISSUE_STEP * spacing, allowed, ways, starts[n]
            )
            if stage >= 0:
                reason[n] = 10 + stage
