"""A lesion from one click: growth from the seed through altered marrow, stopped by cortex.

A voxel is altered where the squared difference to the marrow expected there, averaged over a small neighbourhood, comes
nearer to the seed's than to healthy marrow's. That one measure serves lytic, sclerotic and mosaic (mixed) lesions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.evidence import value
from sacroplasty.lesion.density import expected_hu
from sacroplasty.lesion.extent import lesion_in
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.lesion.region import Bools, Region, distance_mm, region_of
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Volume

# The first guess of the lesion, kept out of the healthy marrow.
FIRST_RADIUS_MM = 10.0
# The seed's own measure is taken over this ball.
SEED_RADIUS_MM = 3.0
# Cortex lies within this depth; marrow is grown through below it.
CORTEX_MM = 2.2
# Bridges thinner than twice this are leaks, not lesion.
OPENING_MM = 1.5
# Rounds of: expected marrow without the lesion, growth, expected marrow again.
ROUNDS = 2
# Averaging of the squared difference.
SIGMA_MM = 1.6


def lesion_from_click(ct: Volume, anatomy: Anatomy, point_mm: npt.ArrayLike) -> Lesion:
    """The lesion that grows from one position (LPS mm) through altered marrow.

    Raises InputError where the click lies outside the scan, AnatomyError where it lies outside the sacrum or where the
    marrow around it does not differ from healthy marrow (draw a mask or a sphere then).
    """
    point = as_point(point_mm)
    if not bool(anatomy.labels.grid.contains(point)):
        raise InputError("The click lies outside the scan", got=str(point), remedy="Click inside the sacrum")
    region = region_of(ct, anatomy)
    offset = np.linalg.norm(region.grid.centres_mm() - np.asarray(point), axis=-1)
    if offset[region.envelope].min() > SEED_RADIUS_MM:
        raise AnatomyError("The click lies outside the sacrum", got=str(point), remedy="Click on the bone's lesion")
    grown: Bools = region.envelope & (offset <= FIRST_RADIUS_MM)
    # The first round excludes a ball, later ones what has grown.
    for _ in range(ROUNDS):
        grown = _grown(region, grown, offset, point)
    return lesion_in(region, grown)


def altered(region: Region, difference: npt.NDArray[np.float32], marrow: Bools) -> npt.NDArray[np.float32]:
    """Mean squared difference to expected marrow (HU²) around every voxel, from marrow alone."""
    sigma = SIGMA_MM / region.spacing_mm
    weight = ndimage.gaussian_filter(marrow.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(marrow, difference**2, 0).astype(np.float32), sigma)
    return np.asarray(np.where(weight > 0.02, total / np.maximum(weight, 0.02), 0), dtype=np.float32)


def _grown(region: Region, excluded: Bools, offset: npt.NDArray[np.float64], point: Point) -> Bools:
    expected, _ = expected_hu(region, excluded)
    marrow = (region.depth_mm > CORTEX_MM) & (region.hu > -1000)
    measure = altered(region, region.hu - expected, marrow)
    seed = marrow & (offset <= max(SEED_RADIUS_MM, float(offset[marrow].min()) + region.spacing_mm))
    healthy = float(np.median(measure[marrow & ~excluded]))
    level = float(np.median(measure[seed]))
    if level < value("assumptions.click_contrast") * healthy:
        raise AnatomyError(
            "The marrow at the click does not differ from healthy marrow",
            got=f"{level**0.5:.0f} HU from expected, healthy marrow {healthy**0.5:.0f} HU, at {point}",
            remedy="Click on the lesion, or give a mask or a sphere",
        )
    inside = marrow & (measure > (level + healthy) / 2)
    core = _opened(inside | seed, region.spacing_mm)
    parts, _ = ndimage.label(core | seed)
    kept = np.isin(parts, np.unique(parts[seed])) & (parts > 0)
    return _to_surface(region, np.asarray(ndimage.binary_fill_holes(kept) & region.envelope), expected)


def _opened(mask: Bools, spacing_mm: float) -> Bools:
    eroded = distance_mm(mask, spacing_mm) > OPENING_MM
    return np.asarray(distance_mm(~eroded, spacing_mm) <= OPENING_MM) & mask


def _to_surface(region: Region, core: Bools, expected: npt.NDArray[np.float32]) -> Bools:
    """The core and the rim of bone over it where cortex is no longer there to stop it."""
    near = distance_mm(~core, region.spacing_mm) <= CORTEX_MM + region.spacing_mm
    rim = near & region.envelope & (region.depth_mm <= CORTEX_MM)
    # Cortex is denser than the marrow it covers; a rim that is not has been replaced.
    lost = rim & (region.hu < np.maximum(expected, value("assumptions.lytic_below_hu")))
    return core | lost
