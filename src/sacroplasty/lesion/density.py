"""What the marrow would measure without the lesion, and what kind of lesion the difference makes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.evidence import value
from sacroplasty.lesion.lesion import LesionKind
from sacroplasty.lesion.region import Bools, Region, distance_mm

# Marrow begins this deep below the surface: cortex and its blur lie above.
MARROW_DEPTH_MM = 3.0
# Healthy bone for reference keeps this distance from the lesion: its rim is often altered.
AWAY_MM = 4.0
# A median over fewer voxels says nothing about a level and zone.
FEW_VOXELS = 150
# Fine mosaic survives, voxel noise does not.
SMOOTHING_MM = 0.8
# Median absolute deviation to standard deviation of a normal distribution.
MAD_TO_SD = 1.4826


def smoothed(hu: npt.NDArray[np.float32], spacing_mm: float, sigma_mm: float) -> npt.NDArray[np.float32]:
    """HU after a Gaussian of `sigma_mm`; voxels without data (-1024) keep their neighbours clean."""
    known = hu > -1000
    weight = ndimage.gaussian_filter(known.astype(np.float32), sigma_mm / spacing_mm)
    total = ndimage.gaussian_filter(np.where(known, hu, 0).astype(np.float32), sigma_mm / spacing_mm)
    return np.asarray(np.where(weight > 0.05, total / np.maximum(weight, 0.05), -1024.0), dtype=np.float32)


def expected_hu(region: Region, lesion: Bools) -> tuple[npt.NDArray[np.float32], float]:
    """Expected marrow HU of every voxel without the lesion (i, j, k), and the scatter of healthy marrow, HU.

    The median of healthy marrow of the same level and zone, both sides together; else of the zone, else of the sacrum.
    Where a scan leaves no healthy marrow at all, a published value stands in.
    """
    near = distance_mm(~lesion, region.spacing_mm) <= AWAY_MM if lesion.any() else lesion
    hu = smoothed(region.hu, region.spacing_mm, SMOOTHING_MM)
    healthy = (region.depth_mm >= MARROW_DEPTH_MM) & ~near & (region.hu > -1000)
    fallback = float(np.median(hu[healthy])) if healthy.sum() >= FEW_VOXELS else value("assumptions.marrow_hu")
    expected = np.full(hu.shape, fallback, np.float32)
    for zone in (1, 2, 3):
        in_zone = region.zone == zone
        middle = _median(hu, healthy & in_zone, fallback)
        expected[in_zone] = middle
        for level in np.unique(region.level_index[healthy]):
            here = in_zone & (region.level_index == level)
            expected[here] = _median(hu, healthy & here, middle)
    if healthy.sum() < FEW_VOXELS:
        return expected, value("assumptions.marrow_scatter_hu")
    rest = hu[healthy] - expected[healthy]
    return expected, float(MAD_TO_SD * np.median(np.abs(rest - np.median(rest))))


def _median(hu: npt.NDArray[np.float32], where: Bools, otherwise: float) -> float:
    return float(np.median(hu[where])) if where.sum() >= FEW_VOXELS else otherwise


def kind_of(region: Region, lesion: Bools) -> tuple[LesionKind, dict[str, float]]:
    """Lytic, mixed or sclerotic, with the numbers: mean HU, expected HU, and the shares of dark and dense voxels.

    Judged in the lesion's bony part, cortex excluded where enough remains. Dense is above what healthy marrow of this
    place and patient reaches; a lesion with dense and other parts is mixed; one that is neither darker nor denser than
    healthy marrow is unclear (it may be visible on MR alone).
    """
    bony = lesion & region.envelope & (region.hu > -1000)
    inner = bony & (region.depth_mm >= MARROW_DEPTH_MM)
    part = inner if inner.sum() >= max(FEW_VOXELS, 0.2 * bony.sum()) else bony
    expected, scatter = expected_hu(region, lesion)
    if not part.any():
        return LesionKind.UNCLEAR, {}
    hu = smoothed(region.hu, region.spacing_mm, SMOOTHING_MM)[part]
    rise = hu - expected[part]
    step = max(value("assumptions.lesion_contrast_hu"), value("assumptions.lesion_contrast_sd") * scatter)
    dense, dark = float((rise > step).mean()), float((rise < -step).mean())
    numbers = {
        "mean_hu": float(region.hu[part].mean()),
        "sd_hu": float(region.hu[part].std()),
        "expected_hu": float(expected[part].mean()),
        "marrow_scatter_hu": scatter,
        "sclerotic_fraction": dense,
        "lytic_fraction": dark,
    }
    return _kind(dense, dark, float(np.median(hu))), numbers


def _kind(dense: float, dark: float, median_hu: float) -> LesionKind:
    mostly, trace = value("assumptions.sclerotic_from_fraction"), value("assumptions.mixed_from_fraction")
    if dense >= mostly:
        return LesionKind.SCLEROTIC
    if dense >= trace:
        return LesionKind.MIXED
    # Fatty alar marrow is as dark as tumour: soft-tissue density in bone counts as lysis also without a difference.
    soft = median_hu <= value("assumptions.lytic_below_hu")
    return LesionKind.LYTIC if soft or dark >= trace else LesionKind.UNCLEAR
