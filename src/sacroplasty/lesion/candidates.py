"""Places that may be lesions: marrow that differs from the same level and distance from the midline elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.lesion.density import MAD_TO_SD, expected_hu
from sacroplasty.lesion.extent import lesion_in
from sacroplasty.lesion.growth import averaged, opened
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.lesion.region import CORTEX_MM, region_of
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import Volume

# Averaging of the difference to expected marrow, so that texture does not count.
SIGMA_MM = 2.0


def find_lesions(ct: Volume, anatomy: Anatomy) -> tuple[Lesion, ...]:
    """Candidates, the most voluminous first; none where the marrow is even. Proposals to look at, no diagnosis.

    Both sides set the expected marrow together, so a one-sided lesion stands out against its mirror side; one that
    fills more than half of a level's body on both sides hides itself.
    """
    region = region_of(ct, anatomy)
    expected, _ = expected_hu(region, np.zeros(region.grid.shape, np.bool_))
    marrow = (region.depth_mm > CORTEX_MM) & (region.hu > -1000)
    measure = averaged(region.hu - expected, marrow, region.spacing_mm, SIGMA_MM)
    middle = float(np.median(measure[marrow]))
    spread = float(MAD_TO_SD * np.median(np.abs(measure[marrow] - middle)))
    limit = max(value("assumptions.candidate_sd") * spread, value("assumptions.lesion_contrast_hu"))
    parts, count = ndimage.label(opened(marrow & (np.abs(measure - middle) > limit), region.spacing_mm))
    voxels = np.bincount(parts.ravel(), minlength=count + 1)
    smallest = value("assumptions.candidate_volume_ml") / region.grid.voxel_volume_ml
    chosen = sorted((n for n in range(1, count + 1) if voxels[n] >= smallest), key=lambda n: (-voxels[n], n))
    remark = Finding(Severity.CAUTION, "candidate", "Proposed by density alone: confirm on the images before use")
    found = (lesion_in(region, np.asarray(parts == n)) for n in chosen)
    return tuple(replace(lesion, findings=(remark, *lesion.findings)) for lesion in found)
