"""Foramina that the mask has closed, looked for in the CT itself on the unrolled ventral and dorsal surface.

A foramen is a gap in the cortex. The surface of the closed hull is unrolled along arc length and distance from the
midline; each place holds the brightest HU of the outermost millimetres, so that intact cortex is bright and a foramen
is a dark disc. A disc is accepted near the expected place where it is darker than its rim by a clear margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.expectation import Expected, Key
from sacroplasty.anatomy.signed_distance import FloatArray
from sacroplasty.anatomy.unrolled import STEP_MM, UnrolledSurface
from sacroplasty.evidence import value
from sacroplasty.plan import Side
from sacroplasty.space import Points

Array = npt.NDArray[np.float64]

# Sizes tried, as shares of the norm, and the share of a foramen's radius whose mean stands for its middle.
SIZES = (0.5, 0.75, 1.0)
DISC_SHARE = 0.7
# The gap at the very surface is looked for within this many radii of the disc.
OUTER_REACH = 1.4
# Ring around a disc that must hold cortex.
RIM_MM = 3.0
# How many standard deviations from the expected place a disc may lie.
REACH_SD = 2.5
LEAST_REACH_MM = 5.0
# Price in HU of one squared standard deviation away from the expected place.
PRIOR_PRICE_HU = 12.0


@dataclass(frozen=True, eq=False)
class Reopened:
    """A gap in the cortex: sacral coordinates (s, x, d), size, and how much darker than its rim it is, HU."""

    coordinates: Points
    diameter_mm: float
    contrast_hu: float


def reopened(surface: UnrolledSurface, key: Key, expected: Expected) -> Reopened | None:
    """The gap in the cortex that is most like the expected foramen, or None where none is clear."""
    level, side, face = key
    sign = 1.0 if side is Side.LEFT else -1.0
    radius = value(f"anatomy.{level.lower()}_{face}_foramen_diameter") / 2
    arc, lateral = np.meshgrid(surface.arc_mm, surface.lateral_mm * sign, indexing="ij")
    away_arc = (arc - expected.arc_mm) / max(expected.arc_sd_mm, LEAST_REACH_MM / REACH_SD)
    away_lateral = (lateral - expected.lateral_mm) / max(expected.lateral_sd_mm, LEAST_REACH_MM / REACH_SD)
    away = away_arc**2 + away_lateral**2
    discs = [_disc_and_rim(surface.hu, DISC_SHARE * size * radius, size * radius) for size in SIZES]
    contrasts = np.array([rim - inner for inner, rim in discs])
    size = contrasts.argmax(axis=0)
    inner, rim = (np.take_along_axis(np.array([d[n] for d in discs]), size[None], axis=0)[0] for n in (0, 1))
    contrast = rim - inner
    allowed = (away < REACH_SD**2) & surface.seen & (lateral > 0)
    if not allowed.any():
        return None
    score = np.where(allowed, contrast - PRIOR_PRICE_HU * away, -np.inf)
    n, m = np.unravel_index(int(score.argmax()), score.shape)
    if contrast[n, m] < value("anatomy.reopening_contrast") or inner[n, m] > value("anatomy.reopening_darkest"):
        return None
    threshold = 0.5 * (inner[n, m] + rim[n, m])
    near = np.hypot(arc - arc[n, m], lateral - lateral[n, m]) < 1.6 * radius
    gap = ndimage.label((surface.hu < threshold) & near)[0]
    own = (gap == gap[n, m]) & near if gap[n, m] else np.hypot(arc - arc[n, m], lateral - lateral[n, m]) < radius
    diameter = float(np.clip(2 * np.sqrt(own.sum() * STEP_MM**2 / np.pi), 0.5 * radius, 3 * radius))
    around = np.hypot(arc - arc[n, m], lateral - lateral[n, m]) < OUTER_REACH * radius
    outer_threshold = 0.5 * (np.percentile(surface.outer_hu[around], 10) + np.percentile(surface.outer_hu[around], 90))
    outer = ndimage.label(around & (surface.outer_hu < outer_threshold))[0]
    touching = np.unique(outer[own])
    outermost = np.isin(outer, touching[touching > 0])
    weights = (outermost if outermost.any() else own).astype(np.float64)
    centre_arc, centre_lateral = (float((grid * weights).sum() / weights.sum()) for grid in (arc, lateral))
    row = int(np.argmin(np.abs(surface.arc_mm - centre_arc)))
    column = int(np.argmin(np.abs(surface.lateral_mm - sign * centre_lateral)))
    depth = float(surface.depth_mm[row, column])
    return Reopened(np.array([centre_arc, sign * centre_lateral, depth]), diameter, float(contrast[n, m]))


def _disc_and_rim(image: FloatArray, inner_mm: float, rim_mm: float) -> tuple[Array, Array]:
    """Mean of a disc around each place, and mean of the ring outside the foramen's radius."""
    reach = int(np.ceil((rim_mm + RIM_MM) / STEP_MM))
    distance = STEP_MM * np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    disc, ring = distance <= inner_mm, (distance > rim_mm) & (distance <= rim_mm + RIM_MM)
    inner, rim = (
        ndimage.convolve(image.astype(np.float64), part / part.sum(), mode="nearest") for part in (disc, ring)
    )
    return inner, rim
