"""Places that may be lesions: marrow unlike the other side, the other levels and the patient's age."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.lesion.density import FEW_VOXELS, MAD_TO_SD
from sacroplasty.lesion.extent import lesions_in
from sacroplasty.lesion.growth import averaged, opened
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.lesion.reference import Reference, reference_of
from sacroplasty.lesion.region import Bools, Region, region_of
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import Volume

# Averaging of the difference to expected marrow, so that texture does not count.
SIGMA_MM = 2.0
# A mirror image counts where at least this much of it is marrow of the same part.
MIRRORED_SHARE = 0.5


def find_lesions(ct: Volume, anatomy: Anatomy, *, age_years: float | None = None) -> tuple[Lesion, ...]:
    """Candidates, the most voluminous first; none where the marrow is even. Proposals to look at, no diagnosis.

    A voxel stands out from what `reference_of` expects without a lesion, by more than healthy marrow of its part of the
    bone scatters. `age_years` narrows the densities that a level may have. Raises InputError for an impossible age,
    AnatomyError where there is no sacrum.
    """
    region = region_of(ct, anatomy)
    reference = reference_of(region, age_years)
    unlike = _unlike(region, reference)
    parts, count = ndimage.label(opened(unlike, region.spacing_mm))
    voxels = np.bincount(parts.ravel(), minlength=count + 1)
    smallest = value("assumptions.candidate_volume_ml") / region.grid.voxel_volume_ml
    chosen = sorted((n for n in range(1, count + 1) if voxels[n] >= smallest), key=lambda n: (-voxels[n], n))
    remark = Finding(Severity.CAUTION, "candidate", "Proposed by density alone: confirm on the images before use")
    found = lesions_in(region, [np.asarray(parts == n) for n in chosen])
    remarks = (remark, *reference.findings)
    return tuple(replace(lesion, findings=(*remarks, *lesion.findings)) for lesion in found)


def _unlike(region: Region, reference: Reference) -> Bools:
    """Marrow darker or denser than expected, and than its mirror image or by far; never mere fat."""
    weak = value("assumptions.lesion_contrast_hu")
    # One entry more: voxels of no level (-1) are of no level that strays.
    off = np.append(reference.off, 0)[region.level_index] * (reference.part == 1)
    result = np.zeros(region.grid.shape, np.bool_)
    for which in (1, 2):
        here = reference.part == which
        if not here.any():
            continue
        measure = averaged(region.hu - reference.expected_hu, here, region.spacing_mm, SIGMA_MM)
        sound = here & (off == 0) if (here & (off == 0)).any() else here
        spread = _spread(measure, sound, reference.deep)
        beside = measure - _mirrored(region, measure, here)
        for sign, alone in ((-1, "assumptions.candidate_dark_sd"), (1, "assumptions.candidate_sd")):
            strong = np.maximum(value(alone) * spread, weak)
            one_sided = (sign * measure > weak) & (sign * beside > np.maximum(weak, spread))
            result |= here & ((sign * measure > strong) | one_sided | ((off == sign) & (sign * measure > weak)))
    mean = averaged(region.hu, reference.part > 0, region.spacing_mm, SIGMA_MM)
    return result & (mean > value("assumptions.fat_below_hu"))


def _spread(measure: npt.NDArray[np.float32], sound: Bools, deep: Bools) -> npt.NDArray[np.float32]:
    """Scatter of sound marrow at every voxel: deep and, where thick slices blur cortex into it, shallow apart."""
    result = np.zeros(measure.shape, np.float32)
    for zone in (deep, ~deep):
        like = sound & zone if np.count_nonzero(sound & zone) >= FEW_VOXELS else sound
        result[zone] = MAD_TO_SD * np.median(np.abs(measure[like]))
    return result


def _mirrored(region: Region, measure: npt.NDArray[np.float32], here: Bools) -> npt.NDArray[np.float32]:
    """The measure at every voxel's mirror image in the mid-sagittal plane; the voxel's own where that is no marrow."""
    frame = region.anatomy.frame
    points = region.grid.patient_from_voxel.points(np.argwhere(here))
    across = (points - np.asarray(frame.origin_mm)) @ np.asarray(frame.left)
    image = points - 2 * across[:, None] * np.asarray(frame.left)
    values = Volume(np.where(here, measure, 0.0).astype(np.float32), region.grid, unit="HU").sampled(image, outside=0.0)
    share = Volume(here.astype(np.float32), region.grid, unit="1").sampled(image, outside=0.0)
    result = measure.copy()
    result[here] = np.where(share > MIRRORED_SHARE, values / np.maximum(share, MIRRORED_SHARE), measure[here])
    return result
