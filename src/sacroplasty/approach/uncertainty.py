"""How surely a needle keeps off what it must not touch, given how surely it can be placed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy.special import betaincinv

from sacroplasty.approach.distance import Field, clip, segments_distance, trilinear
from sacroplasty.approach.judge import Judgement, judged_end
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import TUNNELS, Scene
from sacroplasty.approach.search import margin_field
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.plan import Clearance, Needle, Trajectory

# Mean length of a 3-D error whose axes are independent and normal with one standard deviation: sqrt(8 / pi).
_MEAN_OF_THREE_AXES = math.sqrt(8.0 / math.pi)
# Mean of the absolute angle between two directions whose two components are normal: sqrt(pi / 2).
_MEAN_OF_TWO_AXES = math.sqrt(math.pi / 2.0)
DRAWS, SEED = 1000, 20080901
# Far more than rounding can make of a distance of metres.
_ROUNDING_MM = 1e-6
# Directions and bisection steps of the tolerance cone.
_AZIMUTHS, _HALVINGS, _WIDEST_DEG, _WIDEST_MM = 16, 9, 15.0, 15.0
# What stands for "nothing near" in normalised clearance.
WIDE_SIGMAS = 10.0
# Of a structure outside the fields the part this near to the path's nearest place is drawn against, mm.
_NEAR_MM = 20.0
# A structure's displacement is cut off at this many standard deviations per axis.
_WIDEST_DRAW = 4.0
# Standard normal quantile of the breach limit, one-sided 1 %.
_QUANTILE_1_PERCENT = 2.326


@dataclass(frozen=True)
class PlacementError:
    """Standard deviations per axis of placing a needle: tip across the path, aim, depth, registration."""

    guidance: str
    tip_mm: float
    angle_deg: float
    depth_mm: float
    registration_mm: float


# Evidence keys of mean 3-D tip error, mean angle error and registration error, by guidance mode.
_PRESETS: Mapping[str, tuple[str, str, str]] = {
    "fluoroscopy": (
        "assumptions.approach_fluoroscopy_error_mm",
        "assumptions.approach_fluoroscopy_angle_error_deg",
        "assumptions.approach_registration_error_fluoroscopy",
    ),
    "ct": ("approach.ct_error", "approach.ct_angle_error", ""),
    "ct-laser": ("approach.ct_laser_error", "approach.laser_angle_error", ""),
    # The needle is placed under CT, the cement watched under fluoroscopy.
    "ct-and-fluoroscopy": ("approach.ct_error", "approach.ct_angle_error", ""),
    "cone-beam-ct": ("approach.cone_beam_ct_error", "approach.laser_angle_error", ""),
    "navigation": ("approach.navigation_error", "approach.laser_angle_error", "approach.registration_error"),
}
GUIDANCE = tuple(_PRESETS)


def placement_error(guidance: str) -> PlacementError:
    """The preset of a guidance mode: published mean errors turned into standard deviations per axis."""
    if guidance not in _PRESETS:
        raise InputError("There is no such guidance mode", got=guidance, remedy=f"Use one of {', '.join(GUIDANCE)}")
    tip, angle, registration = _PRESETS[guidance]
    sigma = value(tip) / _MEAN_OF_THREE_AXES
    turned = value(registration) / _MEAN_OF_THREE_AXES if registration else 0.0
    return PlacementError(guidance, sigma, value(angle) / _MEAN_OF_TWO_AXES, sigma, turned)


def placements(
    scene: Scene, trajectory: Trajectory, error: PlacementError, draws: int = DRAWS, seed: int = SEED
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Entries and judged ends (draws, 3) of needles placed with the error; the same seed gives the same draws.

    The tip's error splits into an aim error, which grows with depth from the entry, and a shift of the whole needle.
    Half of the draws mirror the other half across the needle's own plane, so that left and right sides agree.
    """
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((draws - draws // 2, 8))
    normal = np.concatenate([half, half * np.array([1, -1, 1, -1, 1, 1, -1, 1])])[:draws]
    across = _across(scene, trajectory.direction)
    axes = np.stack([trajectory.direction, *across])
    length = trajectory.length_mm
    aim = min(math.radians(error.angle_deg) * length, error.tip_mm)
    shift = math.sqrt(max(error.tip_mm**2 - aim**2, 0.0))
    drift = value("assumptions.approach_bevel_drift") * length**2
    moved = shift * normal[:, 0:2] @ across + error.registration_mm * normal[:, 4:7] @ axes
    aimed = math.hypot(aim, drift) * normal[:, 2:4] @ across + error.depth_mm * normal[:, 7:] * trajectory.direction
    return np.asarray(trajectory.entry_mm) + moved, judged_end(trajectory) + moved + aimed


def sigma_mm(trajectory: Trajectory, error: PlacementError, depth_mm: float) -> float:
    """Standard deviation per axis of the shaft at a depth: the shift, the aim's share, the drift, the registration."""
    share = depth_mm / trajectory.length_mm
    aim = min(math.radians(error.angle_deg) * trajectory.length_mm, error.tip_mm)
    drift = value("assumptions.approach_bevel_drift") * trajectory.length_mm**2
    shift = math.sqrt(max(error.tip_mm**2 - aim**2, 0.0))
    return math.sqrt(shift**2 + (share * math.hypot(aim, drift)) ** 2 + error.registration_mm**2)


def worst_margin_sigmas(trajectory: Trajectory, clearances: Iterable[Clearance], error: PlacementError) -> float:
    """Least clearance beyond what is required, in standard deviations of the shaft there; `WIDE_SIGMAS` if none."""
    return min(
        ((c.distance_mm - c.required_mm) / max(sigma_mm(trajectory, error, c.depth_mm), 1e-3) for c in clearances),
        default=WIDE_SIGMAS,
    )


def _moves(scene: Scene, draws: int, seed: int, sigma: float) -> npt.NDArray[np.float64]:
    """Displacements (draws, 3) of a structure; half of them mirror the other half across the sagittal plane."""
    half = np.random.default_rng(seed + 1).standard_normal((draws - draws // 2, 3)).clip(-_WIDEST_DRAW, _WIDEST_DRAW)
    both = np.concatenate([half, half * np.array([-1.0, 1.0, 1.0])])[:draws]
    return np.asarray(sigma * both @ scene.anatomy.frame.axes)


def _across(scene: Scene, direction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Two unit vectors (2, 3) across a direction, the first in the sagittal plane as far as the direction allows."""
    frame = scene.anatomy.frame
    first = np.cross(direction, frame.left)
    if np.linalg.norm(first) < 1e-3:
        first = np.asarray(frame.cranial)
    first = first / np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first)])


def with_breach(
    scene: Scene,
    rule: ApproachRule,
    needle: Needle,
    judgement: Judgement,
    error: PlacementError,
    draws: int = DRAWS,
    seed: int = SEED,
) -> tuple[Clearance, ...]:
    """The clearances with the probability that the needle, as placed, touches each structure, and its 95 % bound.

    A structure whose keep-out does not hold its uncertainty (`Tube.keep_out_mm`) is moved by it in every draw.
    Touching is judged on the clearance's lower bound, so the probability errs to the high side. The upper bound is
    Clopper-Pearson's, one-sided.
    """
    entries, ends = placements(scene, judgement.trajectory, error, draws, seed)
    starts, stops = scene.voxels(entries) - scene.offset, scene.voxels(ends) - scene.offset
    tubes = {tube.name: tube for tube in scene.tubes}
    path = judgement.trajectory
    # No point of a straight needle moves farther than the farther moving of its two ends.
    farthest = max(_moved(entries, np.asarray(path.entry_mm)), _moved(ends, judged_end(path)))
    threshold = np.float64(scene.bound_mm + needle.radius_mm)
    result = []
    for clearance in judgement.clearances:
        tube = tubes.get(clearance.structure)
        left_out = 0.0 if tube is None else tube.radius_mm + tube.uncertainty_mm - tube.keep_out_mm(rule.midline)
        if clearance.distance_mm > farthest + _WIDEST_DRAW * left_out:
            hits = 0
        elif tube is not None:
            moves = _moves(scene, draws, seed, left_out)
            reach = tube.keep_out_mm(rule.midline) + needle.radius_mm
            hits = _touches_tube(entries + moves, ends + moves, tube.points_mm, reach)
        elif clearance.structure in scene.beyond_mm and _beyond_fields(scene, clearance):
            points = scene.beyond_mm[clearance.structure]
            near = points[np.linalg.norm(points - np.asarray(clearance.where_mm), axis=1) < _NEAR_MM]
            hits = _touches_points(entries, ends, np.ascontiguousarray(near), float(threshold))
        else:
            name = TUNNELS if clearance.structure not in scene.fields else clearance.structure
            hits = _touches_field(scene.fields[name], starts, stops, scene.spacing_mm, threshold)
        upper = 1.0 if hits == draws else float(betaincinv(hits + 1, draws - hits, 0.95))
        result.append(replace(clearance, breach_probability=hits / draws, breach_probability_upper=upper))
    return tuple(result)


def _moved(points: npt.NDArray[np.float64], planned: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(points - planned, axis=1).max())


@njit(parallel=True, cache=True)
def _touches_tube(entries, ends, line, distance):  # type: ignore[no-untyped-def]
    hits = 0
    for n in prange(len(entries)):
        hits += _within(entries[n], ends[n], line, distance)
    return hits


@njit(cache=True)
def _within(p, q, line, distance):  # type: ignore[no-untyped-def]
    """Whether a polyline comes nearer to the segment p-q than a distance.

    A piece whose enclosing ball stays clear cannot; most do, and the exact distance costs ten times as much.
    """
    dx, dy, dz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    dd = max(dx * dx + dy * dy + dz * dz, 1e-12)
    for k in range(max(len(line) - 1, 1)):
        a, b = line[k], line[min(k + 1, len(line) - 1)]
        mx, my, mz = (a[0] + b[0]) / 2 - p[0], (a[1] + b[1]) / 2 - p[1], (a[2] + b[2]) / 2 - p[2]
        t = min(max((mx * dx + my * dy + mz * dz) / dd, 0.0), 1.0)
        x, y, z = mx - t * dx, my - t * dy, mz - t * dz
        half = math.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2) / 2
        if x * x + y * y + z * z > (distance + half + _ROUNDING_MM) ** 2:
            continue
        if segments_distance(p, q, a, b)[0] < distance:
            return True
    return False


def _beyond_fields(scene: Scene, clearance: Clearance) -> bool:
    """Whether the nearest place of a structure lies outside the crop of the fields, or there is no field of it."""
    shape = np.array([part.stop - part.start for part in scene.box])
    place = scene.voxels(clearance.where_mm) - scene.offset
    return clearance.structure not in scene.fields or not bool(((place >= 0) & (place < shape)).all())


@njit(cache=True)
def _touches_points(starts, ends, points, reach):  # type: ignore[no-untyped-def]
    """How many needles come within reach of any of the points."""
    hits = 0
    for n in range(len(starts)):
        d = ends[n] - starts[n]
        dd = (d * d).sum()
        for k in range(len(points)):
            r = points[k] - starts[n]
            f = min(max((r * d).sum() / dd, 0.0), 1.0)
            if ((r - f * d) ** 2).sum() < reach * reach:
                hits += 1
                break
    return hits


@njit(cache=True)
def _touches(field: Field, start, end, spacing, threshold):  # type: ignore[no-untyped-def]
    """Whether the field falls below the threshold between two points, by steps no longer than the room left."""
    d = end - start
    length = math.sqrt((d * d).sum()) * spacing
    enter, leave = clip(start, end, field.shape)
    s, last = enter * length, leave * length
    while s <= last:
        f = s / length
        room = trilinear(field, start[0] + f * d[0], start[1] + f * d[1], start[2] + f * d[2]) - threshold
        if room < 0.0:
            return True
        s += max(room, 0.25 * spacing)
    return False


@njit(parallel=True, cache=True)
def _touches_field(field, starts, ends, spacing, threshold):  # type: ignore[no-untyped-def]
    hits = 0
    for n in prange(len(starts)):
        if _touches(field, starts[n], ends[n], spacing, threshold):
            hits += 1
    return hits


@njit(cache=True)
def _any_touches(field, starts, ends, spacing, threshold):  # type: ignore[no-untyped-def]
    """The same for a few needles, where starting threads costs more than it saves."""
    hits = 0
    for n in range(len(starts)):
        hits += _touches(field, starts[n], ends[n], spacing, threshold)
    return hits > 0


@dataclass(frozen=True)
class Tolerance:
    """How far the operator may be off before the probability of a breach passes the limit: turned about the skin
    entry, shifted in parallel, and what the turn means at the tip.
    """

    angle_deg: float
    entry_mm: float
    tip_mm: float


def tolerance_cone(
    scene: Scene, rule: ApproachRule, needle: Needle, trajectory: Trajectory, error: PlacementError
) -> Tolerance:
    """The widest cone and parallel shift, over 16 directions, whose needle keeps off everything.

    What remains uncertain once the needle's own error is taken as the deviation is the registration: the needle must
    keep 2.33 of its standard deviations (1 %, one-sided) from every structure.
    """
    field = margin_field(scene, tuple((name, 0.0) for name in rule.margins), rule.midline)
    threshold = needle.radius_mm + _QUANTILE_1_PERCENT * error.registration_mm
    across = _across(scene, trajectory.direction)
    azimuths = 2 * math.pi * np.arange(_AZIMUTHS) / _AZIMUTHS
    ring = np.stack([np.cos(azimuths), np.sin(azimuths)], axis=1) @ across
    entry, end = np.asarray(trajectory.entry_mm), judged_end(trajectory)
    length = float(np.linalg.norm(end - entry))

    def safe(turn_deg: float, shift_mm: float) -> bool:
        starts = entry + shift_mm * ring
        stops = end + shift_mm * ring + math.tan(math.radians(turn_deg)) * length * ring
        a, b = scene.voxels(starts) - scene.offset, scene.voxels(stops) - scene.offset
        return not _any_touches(field, a, b, scene.spacing_mm, threshold)

    angle = _widest(lambda v: safe(v, 0.0), _WIDEST_DEG)
    return Tolerance(angle, _widest(lambda v: safe(0.0, v), _WIDEST_MM), math.tan(math.radians(angle)) * length)


def _widest(safe, most: float) -> float:  # type: ignore[no-untyped-def]
    """The largest deviation up to `most` below which all tried ones are safe, by bisection; 0 where none is."""
    low, high = 0.0, most
    if not safe(0.0):
        return 0.0
    if safe(most):
        return most
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if safe(middle) else (low, middle)
    return low
