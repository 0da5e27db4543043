"""A lesion from one click: growth from the seed through altered marrow, stopped by cortex.

Two measures of alteration are averaged over a small neighbourhood: the difference to the marrow expected there, for
lytic and sclerotic lesions, and its capped size, for the mosaic of mixed ones, which the seed's surroundings tell
apart. Growth goes half way from healthy marrow to the
seed, or further where half way leaks.
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
from sacroplasty.lesion.region import CORTEX_MM, Bools, Region, distance_mm, region_of
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
    offset = np.linalg.norm(region.grid.centres_mm() - np.asarray(point), axis=-1)
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
    sigma = sigma_mm / spacing_mm
    weight = ndimage.gaussian_filter(marrow.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(marrow, values, 0).astype(np.float32), sigma)
    return np.asarray(np.where(weight > 0.02, total / np.maximum(weight, 0.02), 0), dtype=np.float32)


def _grown(region: Region, excluded: Bools, offset: npt.NDArray[np.float64], point: Point) -> Bools:
    expected, scatter = expected_hu(region, excluded)
    marrow = (region.depth_mm > CORTEX_MM) & (region.hu > -1000)
    difference = region.hu - expected
    seed = marrow & (offset <= max(SEED_RADIUS_MM, float(offset[marrow].min()) + region.spacing_mm))
    healthy = marrow & ~excluded
    around = difference[marrow & (offset <= MOSAIC_RADIUS_MM)]
    step = value("assumptions.lesion_contrast_sd") * scatter
    mosaic = min((around > step).mean(), (around < -step).mean()) > MOSAIC_SHARE if around.size else False
    cap = max(CAP_SD * scatter, value("assumptions.lesion_contrast_hu"))
    kind = np.minimum(np.abs(difference), cap) if mosaic else difference
    best = averaged(kind, marrow, region.spacing_mm, MOSAIC_SIGMA_MM if mosaic else SIGMA_MM)
    separation = _separation(
        averaged(kind, marrow, region.spacing_mm, SEED_SIGMA_MM), seed, _like(region, seed, healthy)
    )
    if separation < value("assumptions.click_contrast"):
        raise AnatomyError(
            "The marrow at the click does not differ from healthy marrow",
            got=f"{separation:.1f} standard deviations of healthy marrow at {tuple(round(v, 1) for v in point)}",
            remedy="Click on the lesion, or give a mask or a sphere",
        )
    ends = float(np.median(best[seed])), float(np.median(best[healthy]))
    marrow &= offset <= REACH_MM
    steps = [_connected(region, marrow, (best - ends[1]) / (ends[0] - ends[1]) > part, seed) for part in PARTS]
    kept = next(
        (now for now, then in pairwise(steps) if np.count_nonzero(now) <= LEAK * np.count_nonzero(then)), steps[-1]
    )
    return _to_surface(region, np.asarray(ndimage.binary_fill_holes(kept) & region.envelope), expected)


def _like(region: Region, seed: Bools, healthy: Bools) -> Bools:
    """Healthy marrow beside the seed along the sacrum, away from cortex; all of it where that is too little."""
    arc = region.coordinates[0]
    near = healthy & (region.depth_mm > LIKE_DEPTH_MM) & (np.abs(arc - np.nanmedian(arc[seed])) < LIKE_ARC_MM)
    return near if np.count_nonzero(near) >= FEW_VOXELS else healthy


def _connected(region: Region, marrow: Bools, passing: Bools, seed: Bools) -> Bools:
    """The part of the passing marrow that hangs together with the seed by more than thin bridges."""
    core = opened((marrow & passing) | seed, region.spacing_mm) | seed
    parts, _ = ndimage.label(core)
    return np.isin(parts, np.unique(parts[seed])) & (parts > 0)


def _separation(measure: npt.NDArray[np.float32], seed: Bools, healthy: Bools) -> float:
    """Distance of the seed from healthy marrow in the latter's (robust) standard deviations."""
    middle = np.median(measure[healthy])
    spread = MAD_TO_SD * np.median(np.abs(measure[healthy] - middle))
    return float(abs(np.median(measure[seed]) - middle) / max(float(spread), 1e-6))


def opened(mask: Bools, spacing_mm: float) -> Bools:
    """The mask without parts thinner than twice OPENING_MM."""
    eroded = distance_mm(mask, spacing_mm) > OPENING_MM
    return np.asarray(distance_mm(~eroded, spacing_mm) <= OPENING_MM) & mask


def _to_surface(region: Region, core: Bools, expected: npt.NDArray[np.float32]) -> Bools:
    """The core and the rim of bone over it where cortex is no longer there to stop it."""
    near = distance_mm(~core, region.spacing_mm) <= CORTEX_MM + region.spacing_mm
    rim = near & region.envelope & (region.depth_mm <= CORTEX_MM)
    # Cortex is denser than the marrow it covers; a rim that is not has been replaced.
    lost = rim & (region.hu < np.maximum(expected, value("assumptions.lytic_below_hu")))
    return core | lost
