"""The needle's actual path as far as the later CT shows it, against the plan; and the cement against what was planned.

A needle still in place gives the whole path; cement left in its track gives the axis; else it is not assessable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sacroplasty.cement import CementResult
from sacroplasty.outcome.audit_dense import BodyKind, DenseBody
from sacroplasty.plan import NeedlePlan, Plan, Point, as_point
from sacroplasty.space import LabelMap, Mask, Points

# A body belongs to a planned needle within this distance and turn.
REACH_MM, TURN_DEG = 25.0, 30.0
# Track cement shorter than this gives no direction.
SHORTEST_TRACK_MM = 8.0


@dataclass(frozen=True)
class PathFound:
    """One line of the actual path: two points on it (LPS mm, plan's frame), how it is known, and how it differs.

    `off_at_entry_mm` and `off_at_target_mm` are the distances of the planned entry and target from the actual axis;
    `turned_deg` the angle between both. `tip_mm` is known only for a needle in place.
    """

    source: str
    from_mm: Point
    to_mm: Point
    off_at_entry_mm: float
    off_at_target_mm: float
    turned_deg: float
    tip_mm: Point | None = None
    tip_off_mm: float | None = None


@dataclass(frozen=True)
class AgainstSimulation:
    """Cement found against cement simulated: volumes, shift between centres, overlap (Dice)."""

    found_ml: float
    simulated_ml: float
    shift_mm: float
    dice: float
    statement: str = "Simulated cloud against the scan"


def find_path(plan: Plan | None, bodies: tuple[DenseBody, ...], labels: LabelMap | None) -> PathFound | None:
    """The actual path of the plan's needles as far as the scan shows one; None: not assessable."""
    if plan is None:
        return None
    for body in bodies:
        if body.kind is BodyKind.NEW_METAL and body.rod_mm is not None:
            ends = np.array(body.rod_mm)
            for needle in plan.needles:
                if (found := _against(needle, ends[0], ends[1], "needle in place", tip=True)) is not None:
                    return found
    if labels is None or not labels.has("needle track"):
        return None
    points = labels.mask("needle track").points_mm()
    centre = points.mean(axis=0)
    axis = np.linalg.svd(points - centre, full_matrices=False)[2][0]
    along = (points - centre) @ axis
    if np.ptp(along) < SHORTEST_TRACK_MM:
        return None
    ends = centre + np.array([along.min(), along.max()])[:, None] * axis
    fits = [_against(needle, ends[0], ends[1], "cement in the track", tip=False) for needle in plan.needles]
    return next((fit for fit in fits if fit is not None), None)


def _against(needle: NeedlePlan, one: Points, other: Points, source: str, *, tip: bool) -> PathFound | None:
    path = needle.trajectory
    start, end = (one, other) if np.linalg.norm(one - path.entry_mm) < np.linalg.norm(other - path.entry_mm) else (
        other, one)  # fmt: skip
    axis = (end - start) / np.linalg.norm(end - start)
    turned = float(np.rad2deg(np.arccos(np.clip(axis @ path.direction, -1.0, 1.0))))
    entry, target = (_off(np.asarray(p), start, axis) for p in (path.entry_mm, path.target_mm))
    if turned > TURN_DEG or target > REACH_MM:
        return None
    place = as_point(end) if tip else None
    miss = float(np.linalg.norm(end - path.target_mm)) if tip else None
    return PathFound(source, as_point(start), as_point(end), entry, target, turned, place, miss)


def _off(point: Points, start: Points, axis: Points) -> float:
    offset = point - start
    return float(np.linalg.norm(offset - (offset @ axis) * axis))


def against_simulation(cement: Mask, cement_ml: float, simulated: CementResult) -> AgainstSimulation:
    """The scan's cement against a simulated injection, both in the plan's frame."""
    cloud = simulated.cloud_at(simulated.injected_ml)
    grid = cloud.grid
    found = _on(cement, cloud)
    both = float(np.count_nonzero(found & cloud.array))
    total = float(np.count_nonzero(found) + np.count_nonzero(cloud.array))
    shift = float(np.linalg.norm(cement.centroid_mm() - cloud.centroid_mm())) if cloud.array.any() else float("nan")
    placed = float(np.asarray(simulated.cement_fraction.array, dtype=np.float64).sum()) * grid.voxel_volume_ml
    return AgainstSimulation(cement_ml, placed, shift, 2.0 * both / total if total else 0.0)


def _on(cement: Mask, cloud: Mask) -> np.ndarray:
    """The finer mask on the cloud's grid by majority of its voxels."""
    points = cement.points_mm()
    index = np.rint(cloud.grid.voxel_from_patient.points(points)).astype(int)
    inside = ((index >= 0) & (index < np.asarray(cloud.grid.shape))).all(axis=1)
    counts = np.zeros(cloud.grid.shape)
    np.add.at(counts, tuple(index[inside].T), 1.0)
    share = counts * cement.grid.voxel_volume_ml / cloud.grid.voxel_volume_ml
    return np.asarray(ndimage.gaussian_filter(share, 0.5) >= 0.5)
