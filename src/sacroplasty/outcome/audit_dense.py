"""Dense bodies in the later CT that are not new cement: old cement at other levels, metal, and a needle left in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.outcome.audit_registration import Registration
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Grid, Mask, Points, Volume

Array = npt.NDArray[Any]

SMALLEST_ML = 0.1
# A straight body at least this long and at most this wide is a needle, screw or rod.
ROD_LENGTH_MM, ROD_WIDTH_MM = 25.0, 7.0
# A body whose inside reaches this deep is no cortex, mm.
LEAST_DEPTH_MM = 1.8
# Blur and streaks round metal reach this far, mm.
METAL_HALO_MM = 2.5
METAL_GRID_MM = 1.0


class BodyKind(StrEnum):
    """What a dense body is."""

    OLD_CEMENT = "old cement"
    METAL = "metal"
    NEW_METAL = "metal that came between the scans"
    BEYOND = "dense body beyond the plan's CT"


@dataclass(frozen=True, eq=False)
class DenseBody:
    """One body: kind, volume, centre (LPS mm, plan's frame), bone or level it lies in, its ends where it is a rod."""

    kind: BodyKind
    volume_ml: float
    where_mm: Point
    place: str
    rod_mm: tuple[Point, Point] | None = None


@dataclass(frozen=True, eq=False)
class _Body:
    points: Points
    now: Array
    depth_mm: float
    volume_ml: float


def dense_bodies(
    plan_ct: Volume, anatomy: Anatomy, later_ct: Volume, registration: Registration
) -> tuple[tuple[DenseBody, ...], Mask | None]:
    """Every dense body but new cement, and where metal is (plan's frame, with its halo); None without metal."""
    found: list[DenseBody] = []
    metal: list[Points] = []
    for body in _bodies(later_ct, registration, value("assumptions.metal_lower_hu")):
        known, before = _before(plan_ct, registration, body.points)
        rod = _rod(body.points)
        old = known > 0.5 and before >= value("assumptions.audit_dense_hu")
        # New cement with much barium reaches the end of the scale too: new metal must look like metal.
        if not old and rod is None:
            continue
        metal.append(body.points)
        kind = BodyKind.METAL if old else BodyKind.NEW_METAL
        found.append(_named(kind, body, anatomy, rod))
    mask = _metal_mask(metal, plan_ct.grid) if metal else None
    for body in _bodies(later_ct, registration, value("assumptions.audit_dense_hu")):
        if mask is not None and mask.contains(body.points).mean() > 0.3:
            continue
        known, before = _before(plan_ct, registration, body.points)
        if body.depth_mm < LEAST_DEPTH_MM:
            continue
        if known < 0.5:
            found.append(_named(BodyKind.BEYOND, body, anatomy, None))
        elif before >= value("assumptions.audit_old_share") * float(np.median(body.now)):
            found.append(_named(BodyKind.OLD_CEMENT, body, anatomy, None))
    return tuple(found), mask


def _bodies(later_ct: Volume, registration: Registration, lowest_hu: float) -> Iterator[_Body]:
    """Connected bodies above a CT value, largest first, with their points in the plan's frame."""
    array = np.asarray(later_ct.array)
    bright = array > lowest_hu
    if not bright.any():
        return
    box = ndimage.find_objects(bright.astype(np.uint8))[0]
    part, grid = array[box], later_ct.grid.cropped(box)
    labels = cc3d.connected_components(bright[box], connectivity=26)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    boxes = ndimage.find_objects(labels)
    for number in np.argsort(-counts, kind="stable"):
        volume = float(counts[number]) * grid.voxel_volume_ml
        if volume < SMALLEST_ML:
            return
        around = boxes[number - 1]
        own = labels[around] == number
        padded = np.pad(own, 1)
        depth = float(ndimage.distance_transform_edt(padded, sampling=grid.spacing_mm).max())
        index = np.argwhere(own) + [s.start for s in around]
        points = registration.later_from_plan.inverse.points(grid.patient_from_voxel.points(index))
        yield _Body(points, part[around][own].astype(np.float32), depth, volume)


def _before(plan_ct: Volume, registration: Registration, points: Points) -> tuple[float, float]:
    """Share of the points that the plan's CT shows, and its median CT value there in the later CT's scale."""
    known = plan_ct.grid.contains(points)
    if not known.any():
        return 0.0, 0.0
    values = plan_ct.sampled(points[known])
    return float(known.mean()), registration.slope * float(np.median(values)) + registration.offset_hu


def _rod(points: Points) -> tuple[Point, Point] | None:
    """The two ends of a long, thin, straight body, else None."""
    centre = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - centre, full_matrices=False)
    spread = sizes / np.sqrt(len(points))
    along = (points - centre) @ axes[0]
    # A uniform disc's SD along a diameter is a quarter of it.
    if np.ptp(along) < ROD_LENGTH_MM or 4.0 * spread[1] > ROD_WIDTH_MM:
        return None
    return as_point(centre + along.min() * axes[0]), as_point(centre + along.max() * axes[0])


def _named(kind: BodyKind, body: _Body, anatomy: Anatomy, rod: tuple[Point, Point] | None) -> DenseBody:
    centre = body.points.mean(axis=0)
    return DenseBody(kind, body.volume_ml, as_point(centre), _place(anatomy, body.points), rod)


def _place(anatomy: Anatomy, points: Points) -> str:
    """The bone that holds most of the body; where none is labelled, above or beside what is."""
    labels = anatomy.labels.at(points)
    numbers, counts = np.unique(labels[labels > 0], return_counts=True)
    if numbers.size:
        name = anatomy.labels.names.get(int(numbers[np.argmax(counts)]), "unnamed")
        if name == "sacrum":
            level = anatomy.levels_at(points.mean(axis=0)[None])[0]
            return f"sacrum {level}" if level else "sacrum"
        return name.replace("_", " ")
    return "above L5-S1" if points[:, 2].mean() > anatomy.frame.origin_mm[2] else "outside the labelled bones"


def _metal_mask(parts: list[Points], grid: Grid) -> Mask:
    """Metal with its halo on a coarse grid of the plan's frame."""
    points = np.vstack(parts)
    margin = 2.0 * METAL_HALO_MM
    own = Grid.aligned(
        points.min(axis=0) - margin, points.max(axis=0) + margin, METAL_GRID_MM, grid.frame_of_reference_uid
    )
    mask = np.zeros(own.shape, dtype=bool)
    mask[tuple(np.rint(own.voxel_from_patient.points(points)).astype(int).T)] = True
    return Mask(ndimage.distance_transform_edt(~mask, sampling=METAL_GRID_MM) <= METAL_HALO_MM, own)
