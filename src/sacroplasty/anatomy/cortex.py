"""Quality of the bone: cortex thickness over the surface and trabecular density inside it."""

from __future__ import annotations

import edt
import numpy as np
from scipy import ndimage

from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.signed_distance import BoolArray, FloatArray
from sacroplasty.evidence import value
from sacroplasty.space import Volume

STEP_MM = 0.4
# Profile across the cortex: from outside the mask's surface to this depth.
OUTER_MM, INNER_MM = -2.4, 4.8
# Trabecular HU is taken from here to the end of the profile.
TRABECULAR_FROM_MM = 3.6
# Bone nearer to the surface than this is cortex or partial volume.
SHELL_MM = 2.4
SMOOTHING_MM = 2.0


def cortex_thickness(field: SacrumField, bone: BoolArray) -> Volume:
    """Thickness of the cortex in mm at the voxels of the bone's surface, 0 elsewhere.

    Along the inward normal the HU above the trabecular level are summed and divided by what compact bone would add:
    blur moves HU along the profile but keeps the sum, so that a thin cortex does not look as thick as the blur.
    """
    spacing = (field.spacing_mm,) * 3
    depth = edt.edt(np.ascontiguousarray(bone, dtype=np.uint8), anisotropy=spacing, parallel=2)
    voxels = np.argwhere(bone & (depth < 1.05 * field.spacing_mm) & field.seen)
    smooth = ndimage.gaussian_filter(field.signed_mm, 1.0)
    normals = np.stack([np.gradient(smooth, axis=axis)[tuple(voxels.T)] for axis in range(3)], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    depths = np.arange(OUTER_MM, INNER_MM + 0.01, STEP_MM)
    places = voxels[:, None, :] + normals[:, None, :] * (depths[None, :, None] / field.spacing_mm)
    profile = ndimage.map_coordinates(field.hu, places.reshape(-1, 3).T, order=1, mode="nearest")
    profile = profile.reshape(len(voxels), len(depths))
    trabecular = np.maximum(np.median(profile[:, depths >= TRABECULAR_FROM_MM], axis=1), 0.0)
    compact = value("anatomy.compact_bone_hu")
    excess = np.clip(profile - trabecular[:, None], 0.0, None)[:, depths < TRABECULAR_FROM_MM].sum(axis=1)
    thickness = np.zeros(field.grid.shape, dtype=np.float32)
    thickness[tuple(voxels.T)] = excess * STEP_MM / np.maximum(compact - trabecular, 1.0)
    return Volume(thickness, field.grid, "mm")


def trabecular_density(field: SacrumField, bone: BoolArray) -> Volume:
    """Mineral density in mg/cm³ of the trabecular bone, smoothed over 2 mm inside it, 0 elsewhere.

    The CT is calibrated by one published pair of density and HU, not by a phantom: good for comparing regions of one
    scan, not for a diagnosis.
    """
    spacing = (field.spacing_mm,) * 3
    depth = edt.edt(np.ascontiguousarray(bone, dtype=np.uint8), anisotropy=spacing, parallel=2)
    inside = (depth > SHELL_MM) & field.seen
    sigma = SMOOTHING_MM / field.spacing_mm
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(inside, field.hu, 0.0).astype(np.float32), sigma)
    per_hu = value("anatomy.calibration_density") / value("anatomy.calibration_hu")
    density = np.where(inside, per_hu * total / np.maximum(weight, 1e-3), 0.0)
    return Volume(density.astype(np.float32), field.grid, "mg/cm3")


def surface_medians(thickness: Volume, ventral: BoolArray) -> tuple[float, float]:
    """Median cortex thickness in mm of the ventral and of the dorsal surface, NaN where there is none."""
    found: FloatArray = np.asarray(thickness.array)
    surface = found > 0
    front, back = (
        float(np.median(found[part])) if part.any() else float("nan")
        for part in (surface & ventral, surface & ~ventral)
    )
    return front, back
