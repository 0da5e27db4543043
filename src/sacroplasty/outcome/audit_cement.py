"""Cement in the later CT, told from bone by what was there before, and measured by its mass of CT number.

The plan's CT, averaged over the later one's own voxels, is taken off; what is left is cement, whatever the slices. A
voxel's share of cement is its excess over that of full cement, so that volumes do not hang on a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import GeometryError
from sacroplasty.evidence import value
from sacroplasty.outcome.audit_registration import Registration, carried
from sacroplasty.space import Box, Grid, Mask, Points, Transform, Volume

Array = npt.NDArray[Any]

# Beyond this from the sacrum cement is not looked for, mm: it holds the SI joints, the track and the L5 body.
REACH_MM = 60.0
MARGIN_MM = 8.0
# A voxel is cut into at most this many parts along an axis where the plan's CT is averaged over it.
MAX_PARTS = 4
FINEST_MM, COARSEST_MM = 0.5, 0.8
# Radius of the neighbourhood whose fullest voxel sets the half height of an edge.
PLATEAU_MM = 2.5
# The emptiest and fullest plateau that counts: below, it is noise; above, voxels are full.
LEAST_PLATEAU, MOST_PLATEAU = 0.34, 0.9
# Around hard voxels this far, at least one and a half voxels of the scan, the blurred rest belongs to them.
HALO_MM, HALO_VOXELS = 2.0, 1.5
# Fewer voxels are no core.
SMALLEST_CORE = 30
# Fat is the least dense tissue that cement displaces.
LEAST_BEFORE_HU = -120.0


@dataclass(frozen=True, eq=False)
class Cement:
    """New cement in the plan's frame: `fraction` of each voxel (Volume, unit 1), `hard` voxels inside half height,
    and `owner` (n, 3): for every voxel of `near`, the hard voxel it belongs to. `cement_hu` is the CT value of full
    cement and `saturated` says that the scan's scale ends below it. `excess_noise` is the SD of the fraction.
    """

    fraction: Volume
    hard: Mask
    near: Array
    owner: Array
    cement_hu: float
    saturated: bool
    excess_noise: float
    slice_mm: float

    def volumes_ml(self, place: Array, count: int) -> Array:
        """mL of cement by the place number (n_hard,) of each hard voxel, in the order of np.argwhere(hard)."""
        numbers = np.zeros(self.hard.grid.shape, dtype=np.int64)
        numbers[tuple(np.argwhere(self.hard.array).T)] = place
        owned = numbers[tuple(self.owner.T)]
        amounts = np.asarray(self.fraction.array)[tuple(self.near.T)].astype(np.float64)
        return np.bincount(owned, weights=amounts, minlength=count) * self.fraction.grid.voxel_volume_ml

    @property
    def volume_ml(self) -> float:
        """All new cement, without bone or anything else between it."""
        amounts = np.asarray(self.fraction.array)[tuple(self.near.T)]
        return float(amounts.sum(dtype=np.float64)) * self.fraction.grid.voxel_volume_ml


@dataclass(frozen=True, eq=False)
class Difference:
    """The later CT, the plan's CT as the later scanner would have shown it, and where both were scanned."""

    later: Volume
    before: Volume
    known: Array

    @property
    def excess(self) -> Array:
        """CT value that came between the scans; 0 where the plan's CT shows nothing."""
        gained = np.asarray(self.later.array, dtype=np.float32) - np.asarray(self.before.array)
        return np.where(self.known, gained, np.float32(0.0))


def averaged_over(plan_ct: Volume, registration: Registration, later: Grid) -> tuple[Array, Array]:
    """Mean of the plan's CT over each voxel of a grid of the later CT, in the later CT's scale, and where known."""
    moved = Volume(plan_ct.array, carried(plan_ct.grid, registration, later.frame_of_reference_uid))
    finest = min(plan_ct.grid.spacing_mm)
    i, j, k = (int(np.clip(np.rint(s / finest), 1, MAX_PARTS)) for s in later.spacing_mm)
    values = moved.resampled(later.refined((i, j, k)), outside=np.nan)
    mean = np.asarray(values.binned((i, j, k)).array)
    known = np.isfinite(mean)
    # Where the plan's CT shows air or nothing (bowel gas, padding), soft tissue may have come: that is no cement.
    before = np.maximum(registration.slope * mean + registration.offset_hu, LEAST_BEFORE_HU)
    return np.where(known, before, 0.0).astype(np.float32), known


def difference(plan_ct: Volume, later_ct: Volume, registration: Registration, box: Box) -> Difference:
    """What came between the scans, on a box of the later CT's own voxels."""
    later = later_ct.cropped(box)
    before, known = averaged_over(plan_ct, registration, later.grid)
    return Difference(later, Volume(before, later.grid), known)


def search_box(anatomy: Anatomy, later_ct: Volume, registration: Registration) -> Box:
    """The part of the later CT around the sacrum in which cement is looked for."""
    sacrum = registration.later_from_plan.points(anatomy.labels.mask("sacrum").points_mm())
    return later_ct.grid.box_around(sacrum, REACH_MM)


def candidates(plan_ct: Volume, later_ct: Volume, registration: Registration, box: Box) -> Points:
    """Voxels (n, 3) of the later CT, LPS mm of the plan, whose CT value rose as only cement or metal can."""
    part = later_ct.cropped(box)
    bright = np.argwhere(np.asarray(part.array) > value("assumptions.audit_candidate_hu"))
    points = registration.later_from_plan.inverse.points(part.grid.patient_from_voxel.points(bright))
    before = registration.slope * plan_ct.sampled(points, outside=np.nan) + registration.offset_hu
    now = np.asarray(part.array)[tuple(bright.T)]
    risen = now - np.nan_to_num(before, nan=3071.0) > value("assumptions.audit_candidate_excess")
    return np.asarray(points[risen])


def find_cement(
    plan_ct: Volume, anatomy: Anatomy, later_ct: Volume, registration: Registration,
    *, cement_hu: float | None = None, metal: Mask | None = None,
) -> Cement | None:  # fmt: skip
    """The new cement, or None where there is none; `metal` (in the plan's frame) is left out.

    `cement_hu` is the CT value of full cement where it is known (the brand, or cement left in the syringe); otherwise
    it is read from the core of the deposits. GeometryError where the plan's CT shows cement in metal only.
    """
    box = search_box(anatomy, later_ct, registration)
    places = candidates(plan_ct, later_ct, registration, box)
    if metal is not None and len(places):
        places = places[~metal.contains(places)]
    if not len(places):
        return None
    box = later_ct.grid.box_around(registration.later_from_plan.points(places), MARGIN_MM)
    seen = difference(plan_ct, later_ct, registration, box)
    noise = _noise(seen)
    full, saturated = _full_cement(seen) if cement_hu is None else (cement_hu, False)
    fluid = value("assumptions.audit_displaced_hu")
    room = np.maximum(full - np.minimum(np.asarray(seen.before.array), fluid), 200.0)
    native = Volume(seen.excess / room, seen.later.grid, "1")
    fraction = _in_plan_frame(native, registration, plan_ct.grid.frame_of_reference_uid, places)
    array = np.array(fraction.array)
    if metal is not None:
        array[metal.resampled(fraction.grid).array] = 0.0
    return _edged(Volume(array, fraction.grid, "1"), full, saturated, noise / (full - fluid), later_ct.grid)


def _noise(seen: Difference) -> float:
    """SD of the difference in soft tissue, from the median."""
    before = np.asarray(seen.before.array)
    quiet = seen.known & (before > -50.0) & (before < 150.0)
    sample = seen.excess[quiet][:: max(int(quiet.sum()) // 100_000, 1)]
    return float(1.4826 * np.median(np.abs(sample - np.median(sample)))) if sample.size > 100 else 20.0


def _full_cement(seen: Difference) -> tuple[float, bool]:
    """CT value of full cement from the core of the deposits, and whether the scan's scale ends below it."""
    now = np.asarray(seen.later.array)
    cement = (now > value("assumptions.audit_dense_hu")) & (seen.excess > value("assumptions.audit_candidate_excess"))
    spacing = np.asarray(seen.later.grid.spacing_mm)
    core = cement & (ndimage.distance_transform_edt(cement, sampling=spacing) > 2.0)
    if core.sum() < SMALLEST_CORE:
        core = cement & (ndimage.distance_transform_edt(cement, sampling=spacing) > 1.0)
    metal = value("assumptions.metal_lower_hu")
    if (core & (now < metal)).sum() >= SMALLEST_CORE:
        core &= now < metal
    level = _between_trabeculae(seen)
    values = level[core] if core.sum() >= SMALLEST_CORE else np.sort(level[cement])[-SMALLEST_CORE:]
    if not values.size:
        return value("assumptions.audit_cement_hu"), False
    # The median: half of a core may be less than full, where cement and marrow mixed, before it errs.
    full = float(np.median(values))
    return full, full > value("assumptions.audit_saturated_hu")


def _between_trabeculae(seen: Difference) -> Array:
    """CT value that cement would have where it fills the pores of what was there before, trabeculae staying."""
    before, fluid = np.asarray(seen.before.array), value("assumptions.audit_displaced_hu")
    bone = np.clip((before - fluid) / (value("assumptions.audit_bone_tissue_hu") - fluid), 0.0, 0.5)
    return np.asarray(np.minimum(before, fluid) + seen.excess / (1.0 - bone))


def _in_plan_frame(native: Volume, registration: Registration, uid: str, places: Points) -> Volume:
    """The fraction on a fine grid along the plan's axes around the candidates."""
    back: Transform = registration.later_from_plan.inverse
    turned = Volume(native.array, Grid(native.grid.shape, back @ native.grid.patient_from_voxel, uid), "1")
    spacing = float(np.clip(min(native.grid.spacing_mm), FINEST_MM, COARSEST_MM))
    fine = Grid.aligned(places.min(axis=0) - MARGIN_MM, places.max(axis=0) + MARGIN_MM, spacing, uid)
    return turned.resampled(fine, outside=0.0)


def _edged(fraction: Volume, full: float, saturated: bool, noise: float, later: Grid) -> Cement | None:
    """Hard voxels at half the height of their neighbourhood, and the halo that belongs to each."""
    share, spacing = np.asarray(fraction.array), fraction.grid.spacing_mm[0]
    size = 2 * round(PLATEAU_MM / spacing) + 1
    plateau = ndimage.maximum_filter(ndimage.uniform_filter(share, 3), size=size)
    hard = (share > 0.5 * np.clip(plateau, LEAST_PLATEAU, MOST_PLATEAU)) & (plateau > LEAST_PLATEAU)
    parts = cc3d.connected_components(hard, connectivity=26)
    amounts = np.bincount(parts.ravel(), weights=share.ravel()) * fraction.grid.voxel_volume_ml
    peaks = ndimage.maximum(share, parts, np.arange(len(amounts)))
    kept = (amounts >= value("assumptions.audit_smallest_leak") / 2) & (peaks > LEAST_PLATEAU)
    kept[0] = False
    hard = kept[parts]
    if not hard.any():
        return None
    halo = max(HALO_MM, HALO_VOXELS * max(later.spacing_mm))
    away, nearest = ndimage.distance_transform_edt(~hard, sampling=spacing, return_indices=True)
    near = np.argwhere(away <= halo)
    owner = np.stack([axis[tuple(near.T)] for axis in nearest], axis=1)
    return Cement(
        fraction, Mask(hard, fraction.grid), near, owner, full, saturated, noise, float(max(later.spacing_mm))
    )


def require_background(seen: Difference) -> None:
    """Raise GeometryError where the two scans share no voxel."""
    if not seen.known.any():
        raise GeometryError("The two scans do not overlap", remedy="Check the registration")
