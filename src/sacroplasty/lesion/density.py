"""What the marrow would measure without the lesion, and what kind of lesion the difference makes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sacroplasty.evidence import value
from sacroplasty.lesion.lesion import LesionKind
from sacroplasty.lesion.region import Bools, Region, within_mm

# Marrow begins this deep below the surface: cortex and its blur lie above.
MARROW_DEPTH_MM = 3.0
# Healthy bone for reference keeps this distance from the lesion: its rim is often altered.
AWAY_MM = 4.0
# A median over fewer voxels says nothing.
FEW_VOXELS = 80
# Marrow thins from the body to the ala: steps of distance from the midline, and how many reach the sacrum's edge.
ACROSS_MM, ACROSS_STEPS = 5.0, 16
# Median absolute deviation to standard deviation of a normal distribution.
MAD_TO_SD = 1.4826


def expected_hu(region: Region, lesion: Bools) -> tuple[npt.NDArray[np.float32], float]:
    """Expected marrow HU of every voxel without the lesion (i, j, k), and the scatter of healthy marrow, HU.

    The median of healthy marrow of the same level at the same distance from the midline, both sides together, between
    steps interpolated; else of any level, shifted by the level's own offset. Where a scan leaves no healthy marrow, a
    published value stands in.
    """
    near = within_mm(lesion, region.spacing_mm, AWAY_MM)
    hu = region.smooth_hu
    healthy = (region.clear_depth_mm >= MARROW_DEPTH_MM) & ~near & (region.hu > -1000)
    if healthy.sum() < FEW_VOXELS:
        empty = np.full(hu.shape, value("assumptions.marrow_hu"), np.float32)
        return empty, value("assumptions.marrow_scatter_hu")
    across = np.abs(region.coordinates[1])
    everywhere = _profile(hu[healthy], across[healthy], None)
    expected = np.full(hu.shape, float(np.median(hu[healthy])), np.float32)
    for level in np.unique(region.level_index[region.envelope]):
        here = region.envelope & (region.level_index == level)
        sample = here & healthy
        # A level may be denser or fattier as a whole: where its own steps are lost, that offset is kept.
        shift = np.interp(across[sample], *everywhere)
        offset = float(np.median(hu[sample] - shift)) if sample.sum() >= FEW_VOXELS else 0.0
        centres, medians = _profile(hu[sample], across[sample], (everywhere[0], everywhere[1] + offset))
        expected[here] = np.interp(across[here], centres, medians)
    rest = hu[healthy] - expected[healthy]
    return expected, float(MAD_TO_SD * np.median(np.abs(rest - np.median(rest))))


_Profile = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _profile(hu: npt.NDArray[np.float32], across: npt.NDArray[np.float32], otherwise: _Profile | None) -> _Profile:
    """Median HU over steps of distance from the midline; steps with few voxels take `otherwise`, or are left out."""
    step = np.floor(across / ACROSS_MM).astype(int)
    found: dict[float, float] = {}
    for n in range(ACROSS_STEPS):
        centre, members = (n + 0.5) * ACROSS_MM, hu[step == n]
        if len(members) >= FEW_VOXELS:
            found[centre] = float(np.median(members))
        elif otherwise is not None:
            found[centre] = float(np.interp(centre, *otherwise))
    if not found:
        found[0.0] = float(np.median(hu))
    return np.array(list(found)), np.array(list(found.values()))


def kind_of(
    region: Region, lesion: Bools, expected: npt.NDArray[np.float32], scatter: float
) -> tuple[LesionKind, dict[str, float]]:
    """Lytic, mixed or sclerotic, with the numbers: mean HU, expected HU, and the shares of dark and dense voxels.

    `expected` (i, j, k) and `scatter`, HU, are those of `expected_hu`.

    Judged in the lesion's bony part, cortex excluded where enough remains. Dense is above what healthy marrow of this
    place and patient reaches, dark what is below it; beside a dense part also what is darker than healthy marrow and
    nearer to soft tissue than to that part, for fatty marrow is nearly as dark as tumour. A lesion with both is mixed;
    one that is neither darker nor denser than healthy marrow is unclear (it may be visible on MR alone).
    """
    bony = lesion & region.envelope & (region.hu > -1000)
    inner = bony & (region.clear_depth_mm >= MARROW_DEPTH_MM)
    part = inner if inner.sum() >= max(FEW_VOXELS, 0.2 * bony.sum()) else bony
    if not part.any():
        return LesionKind.UNCLEAR, {}
    hu = region.smooth_hu[part]
    rise = hu - expected[part]
    step = max(value("assumptions.lesion_contrast_hu"), value("assumptions.lesion_contrast_sd") * scatter)
    dense, dark = rise > step, rise < -step
    if dense.mean() >= value("assumptions.altered_from_fraction"):
        dark |= (rise < 0) & (hu < (value("assumptions.soft_tissue_hu") + np.median(hu[dense])) / 2)
    numbers = {
        "mean_hu": float(region.hu[part].mean()),
        "sd_hu": float(region.hu[part].std()),
        "expected_hu": float(expected[part].mean()),
        "marrow_scatter_hu": scatter,
        "sclerotic_fraction": float(dense.mean()),
        "lytic_fraction": float(dark.mean()),
    }
    return _kind(numbers["sclerotic_fraction"], numbers["lytic_fraction"], float(np.median(hu))), numbers


def _kind(dense: float, dark: float, median_hu: float) -> LesionKind:
    if dense >= value("assumptions.altered_from_fraction"):
        return LesionKind.MIXED if dark >= value("assumptions.mixed_from_fraction") else LesionKind.SCLEROTIC
    # Fatty alar marrow is as dark as tumour: soft-tissue density in bone counts as lysis also without a difference.
    soft = median_hu <= value("assumptions.lytic_below_hu")
    return LesionKind.LYTIC if soft or dark >= value("assumptions.altered_from_fraction") else LesionKind.UNCLEAR
