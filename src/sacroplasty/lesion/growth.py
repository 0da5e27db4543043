"""A lesion from one click: growth from the seed through altered marrow, stopped by cortex.

Two measures of alteration are averaged over a small neighbourhood: for lytic and sclerotic lesions the share of a voxel
that is lesion, by its density between the marrow expected there and the seed; for the mosaic of mixed ones, which the
seed's surroundings tell apart, the capped size of the difference. Growth goes half way from healthy marrow to the seed,
or further where half way leaks.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.evidence import value
from sacroplasty.lesion.density import FEW_VOXELS, MAD_TO_SD, expected_hu
from sacroplasty.lesion.extent import lesion_in
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.lesion.region import (
    CORTEX_MM,
    Bools,
    Region,
    box_of,
    distance_mm,
    filled,
    region_of,
    shifted,
    within_mm,
)
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Volume

# The first guess of the lesion, kept out of the healthy marrow.
FIRST_RADIUS_MM = 6.0
# The seed's own measure is taken over this ball.
SEED_RADIUS_MM = 3.0
# Is the seed altered at all? It is held, averaged over about its own size, against marrow of the same part of the
# sacrum that keeps off the cortex.
SEED_SIGMA_MM, LIKE_ARC_MM, LIKE_DEPTH_MM = 1.8, 15.0, 3.5
# Bridges thinner than twice this are leaks, not lesion.
OPENING_MM = 1.5
# Rounds of: expected marrow without the lesion, growth, expected marrow again.
ROUNDS = 2
# Averaging of the measures: an even lesion's border is kept, a mosaic's grains are joined.
SIGMA_MM, MOSAIC_SIGMA_MM = 1.0, 1.6
# Growth goes this part of the way from healthy marrow to the seed: the first that does not leak, that is, that does not
# grow much beyond the next.
PARTS = (0.5, 0.6, 0.7, 0.8)
LEAK = 1.6
# A lesion larger than this around the click is drawn, not clicked.
REACH_MM = 40.0
# Dense and soft parts of a mosaic count alike once they lie this many standard deviations from healthy marrow.
CAP_SD = 4.0
# A seed with more than this share of both dense and dark voxels, over this ball, is a mosaic.
MOSAIC_RADIUS_MM, MOSAIC_SHARE = 5.0, 0.1


def lesion_from_click(ct: Volume, anatomy: Anatomy, point_mm: npt.ArrayLike) -> Lesion:
    """The lesion that grows from one position (LPS mm) through altered marrow.

    Raises InputError where the click lies outside the scan, AnatomyError where it lies outside the sacrum or where the
    marrow around it does not differ from healthy marrow (draw a mask or a sphere then).
    """
    point = as_point(point_mm)
    if not bool(anatomy.labels.grid.contains(point)):
        raise InputError("The click lies outside the scan", got=str(point), remedy="Click inside the sacrum")
    region = region_of(ct, anatomy)
    middle = region.grid.voxel_from_patient.points(point)
    ways = np.ogrid[tuple(slice(0, n) for n in region.grid.shape)]
    squares = sum(((way - c) ** 2).astype(np.float32) for way, c in zip(ways, middle, strict=True))
    offset = np.asarray(np.sqrt(squares) * np.float32(region.spacing_mm))
    if offset[region.envelope].min() > SEED_RADIUS_MM:
        raise AnatomyError("The click lies outside the sacrum", got=str(point), remedy="Click on the bone's lesion")
    grown: Bools = region.envelope & (offset <= FIRST_RADIUS_MM)
    # The first round excludes a ball, later ones what has grown.
    for _ in range(ROUNDS):
        grown = _grown(region, grown, offset, point)
    return lesion_in(region, grown)


def averaged(
    values: npt.NDArray[np.float32], marrow: Bools, spacing_mm: float, sigma_mm: float
) -> npt.NDArray[np.float32]:
    """Gaussian mean of marrow voxels alone."""
    sigma, box = sigma_mm / spacing_mm, box_of(marrow, spacing_mm, 0.0)
    here = marrow[box].astype(np.float32)
    weight = ndimage.gaussian_filter(here, sigma, mode="constant")
    total = ndimage.gaussian_filter(here * values[box], sigma, mode="constant")
    result = np.zeros(marrow.shape, np.float32)
    result[box] = np.where(weight > 0.02, total / np.maximum(weight, 0.02), 0)
    return result


def _grown(region: Region, excluded: Bools, offset: npt.NDArray[np.float64], point: Point) -> Bools:
    expected, scatter = expected_hu(region, excluded)
    marrow = (region.clear_depth_mm > CORTEX_MM) & (region.hu > -1000)
    difference = region.hu - expected
    seed = marrow & (offset <= max(SEED_RADIUS_MM, float(offset[marrow].min()) + region.spacing_mm))
    healthy = marrow & ~excluded
    around = difference[marrow & (offset <= MOSAIC_RADIUS_MM)]
    step = value("assumptions.lesion_contrast_sd") * scatter
    mosaic = min((around > step).mean(), (around < -step).mean()) > MOSAIC_SHARE if around.size else False
    cap = max(CAP_SD * scatter, value("assumptions.lesion_contrast_hu"))
    kind = np.minimum(np.abs(difference), cap) if mosaic else difference
    alike = averaged(kind, marrow, region.spacing_mm, SEED_SIGMA_MM)
    separation = _separation(alike, seed, _like(region, seed, healthy))
    if separation < value("assumptions.click_contrast"):
        raise AnatomyError(
            "The marrow at the click does not differ from healthy marrow",
            got=f"{separation:.1f} standard deviations of healthy marrow at {tuple(round(v, 1) for v in point)}",
            remedy="Click on the lesion, or give a mask or a sphere",
        )
    share = kind if mosaic else _share(difference, expected, region.hu[seed], difference[seed])
    best = averaged(share, marrow, region.spacing_mm, MOSAIC_SIGMA_MM if mosaic else SIGMA_MM)
    ends = float(np.median(best[seed])), float(np.median(best[healthy]))
    marrow &= offset <= REACH_MM
    share_of_way = (best - ends[1]) / (ends[0] - ends[1])
    kept = np.zeros(marrow.shape, np.bool_)
    for now, then in pairwise(_connected(region, marrow & (share_of_way > part), seed) for part in PARTS):
        kept = now
        if np.count_nonzero(now) <= LEAK * np.count_nonzero(then):
            break
        kept = then
    return _to_surface(region, _without_holes(region, kept), expected)


def _share(
    difference: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
    seed_hu: npt.NDArray[np.float32],
    seed_difference: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """The share of each voxel that is lesion: how far its density lies on the way from the marrow expected there to the
    lesion's. Half is the border, however blurred, in dense marrow as in fatty."""
    sign = np.float32(1 if np.median(seed_difference) > 0 else -1)
    contrast = sign * (np.float32(np.median(seed_hu)) - expected)
    least = np.float32(value("assumptions.lesion_contrast_hu"))
    return np.asarray(np.clip(sign * difference / np.maximum(contrast, least), -1.0, 1.5))


def _like(region: Region, seed: Bools, healthy: Bools) -> Bools:
    """Healthy marrow beside the seed along the sacrum, away from cortex; all of it where that is too little."""
    arc = region.coordinates[0]
    near = healthy & (region.clear_depth_mm > LIKE_DEPTH_MM) & (np.abs(arc - np.nanmedian(arc[seed])) < LIKE_ARC_MM)
    return near if np.count_nonzero(near) >= FEW_VOXELS else healthy


def _connected(region: Region, passing: Bools, seed: Bools) -> Bools:
    """The part of the passing marrow that hangs together with the seed by more than thin bridges."""
    core = opened(passing | seed, region.spacing_mm) | seed
    box = box_of(core, region.spacing_mm, 0.0)
    parts, _ = ndimage.label(core[box])
    result = np.zeros(core.shape, np.bool_)
    result[box] = np.isin(parts, np.unique(parts[seed[box]])) & (parts > 0)
    return result


def _without_holes(region: Region, core: Bools) -> Bools:
    """The core with the bone that it encloses."""
    box = box_of(core, region.spacing_mm, region.spacing_mm)
    result = core.copy()
    result[box] = filled(core[box]) & region.envelope[box]
    return result


def _separation(measure: npt.NDArray[np.float32], seed: Bools, healthy: Bools) -> float:
    """Distance of the seed from healthy marrow in the latter's (robust) standard deviations."""
    middle = np.median(measure[healthy])
    spread = MAD_TO_SD * np.median(np.abs(measure[healthy] - middle))
    return float(abs(np.median(measure[seed]) - middle) / max(float(spread), 1e-6))


def opened(mask: Bools, spacing_mm: float) -> Bools:
    """The mask without parts thinner than twice OPENING_MM."""
    box = box_of(mask, spacing_mm, OPENING_MM)
    result = np.zeros(mask.shape, np.bool_)
    if mask[box].size:
        eroded = distance_mm(mask[box], spacing_mm) > OPENING_MM
        result[box] = (distance_mm(~eroded, spacing_mm) <= OPENING_MM) & mask[box]
    return result


def _to_surface(region: Region, core: Bools, expected: npt.NDArray[np.float32]) -> Bools:
    """The core and the rim of bone over it where cortex is no longer there to stop it."""
    core = core | _to_slice_ends(region, core)
    near = within_mm(core, region.spacing_mm, CORTEX_MM + region.spacing_mm)
    rim = near & region.envelope & (region.depth_mm <= CORTEX_MM)
    # Cortex is denser than the marrow it covers; a rim that is not has been replaced.
    lost = rim & (region.hu < np.maximum(expected, value("assumptions.lytic_below_hu")))
    return core | lost


def _to_slice_ends(region: Region, core: Bools) -> Bools:
    """The marrow over a core that thick slices average with cortex, so that it could not pass by its own density."""
    blurred = region.envelope & (region.depth_mm > CORTEX_MM) & (region.clear_depth_mm <= CORTEX_MM)
    over = np.zeros(core.shape, np.bool_)
    for step in region.slice_steps:
        over |= shifted(core, step) | shifted(core, tuple(-n for n in step))
    return over & blurred
