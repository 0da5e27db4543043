"""The patient's body in a CT: what was scanned at all, the inside of the skin without table and clothes, metal."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.morphology import filled_slices, within
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import Grid, LabelMap, Points, Volume

Bools = npt.NDArray[np.bool_]

# Skin, fat and the partial volume at the skin lie above, air and foam of the table below.
SKIN_HU = -300.0
# Voxels at or below this were never measured: filling outside the reconstructed field, or outside an oblique stack.
NO_DATA_HU = -1020.0
# Above any cortex (enamel aside): implants, cement, clips.
METAL_HU = 2200.0
# Coarse grid on which the table is taken off.
COARSE_MM = 3.0
# A table top and clothing are thinner than this; the body is not.
TABLE_THICKNESS_MM = 9.0
# On the fine grid: a sheet under the patient is thinner than this, every fold of skin thicker.
SHEET_THICKNESS_MM = 5.0
# More tissue than this against the rim of the field means that the body goes on beyond it.
CUT_AREA_MM2 = 1500.0


def isotropic(ct: Volume, spacing_mm: float, low_mm: Points | None = None, high_mm: Points | None = None) -> Volume:
    """The CT on an isotropic grid along the patient's axes between two corners (default: all of it), without aliasing.

    Outside the scan the value is -1024. The result depends on what lies where in the patient, not on storage order.
    """
    factors = tuple(max(int(spacing_mm / s + 0.35), 1) for s in ct.grid.spacing_mm)
    low, high = ct.grid.bounds_mm
    low = low if low_mm is None else np.maximum(low, low_mm)
    high = high if high_mm is None else np.minimum(high, high_mm)
    if (high <= low).any():
        raise AnatomyError("The region asked for lies outside the scan", remedy="Use a scan that covers the sacrum")
    source = ct.cropped(ct.grid.box_around(_corners(low, high), 2 * spacing_mm))
    if max(factors) > 1:
        source = source.binned((factors[0], factors[1], factors[2]))
    return source.resampled(Grid.aligned(low, high, spacing_mm, ct.grid.frame_of_reference_uid))


def _corners(low: Points, high: Points) -> Points:
    return np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])


@dataclass(frozen=True, eq=False)
class CoarseBody:
    """Body, scanned and metal masks (i, j, k) on one coarse grid, and the CT there."""

    ct: Volume
    inside: Bools
    scanned: Bools
    metal: Bools


def coarse_body(ct: Volume) -> CoarseBody:
    """The body on a 3 mm grid; AnatomyError where nothing like a body is seen."""
    coarse = isotropic(ct, COARSE_MM)
    values = np.asarray(coarse.array)
    # Noise in air also falls this low, but never over a region.
    unseen = np.pad(values <= NO_DATA_HU, 6, constant_values=True)
    scanned = ~ndimage.binary_opening(unseen, iterations=2)[6:-6, 6:-6, 6:-6]
    tissue = values > SKIN_HU
    inside = _without_table(tissue)
    if np.count_nonzero(inside) * COARSE_MM**3 < 5e5:
        raise AnatomyError(
            "No body is seen in the scan",
            got=f"{np.count_nonzero(tissue) * COARSE_MM**3 / 1000:.0f} mL above {SKIN_HU:.0f} HU",
            remedy="Check that the image is a CT in Hounsfield units",
        )
    return CoarseBody(coarse, inside, scanned, (values > METAL_HU) & inside)


def _without_table(tissue: Bools) -> Bools:
    """The largest thick piece of tissue, its rim restored and its inner air filled slice by slice."""
    radius = TABLE_THICKNESS_MM / 2 / COARSE_MM
    core = cc3d.largest_k(tissue & ~within(~tissue, radius), k=1, connectivity=6) > 0
    return filled_slices(within(core, radius + 0.6) & tissue) if core.any() else core


def fine_body(ct: Volume, coarse: CoarseBody) -> Bools:
    """The body (i, j, k) on a finer grid: threshold at the skin within reach of the coarse body, inner air filled."""
    near = _on(ct.grid, ndimage.binary_dilation(coarse.inside), coarse.ct.grid)
    core = _on(ct.grid, ndimage.binary_erosion(coarse.inside, iterations=2), coarse.ct.grid)
    tissue = (near & (np.asarray(ct.array) > SKIN_HU)) | core
    # Sheets and pads that touch the skin are thin: what a ball cannot enter is not body.
    reach = SHEET_THICKNESS_MM / 2 / ct.grid.spacing_mm[0]
    thick = cc3d.largest_k(tissue & ~within(~tissue, reach), k=1, connectivity=6) > 0
    return filled_slices(within(thick, reach + 0.5) & tissue)


def _on(grid: Grid, array: Bools, source: Grid) -> Bools:
    return LabelMap(array.astype(np.uint8), source).resampled(grid).array > 0


def field_findings(body: CoarseBody) -> tuple[Finding, ...]:
    """Sides on which the body leaves the scanned field: there its border is the field's, not the skin.

    A transverse slice counts as cut on a side where tissue reaches the scan's rim or lies against unmeasured voxels.
    """
    inside, spacing = body.inside, body.ct.grid.spacing_mm[0]
    unseen = np.pad(~body.scanned, ((1, 1), (1, 1), (0, 0)), constant_values=True)
    cut = []
    for name, axis, step in (("right", 0, -1), ("left", 0, 1), ("anterior", 1, -1), ("posterior", 1, 1)):
        beyond = np.roll(unseen, -step, axis=axis)[1:-1, 1:-1]
        if np.count_nonzero(inside & beyond) * spacing**2 > CUT_AREA_MM2:
            cut.append(name)
    if not cut:
        return ()
    return (
        Finding(
            Severity.WARNING,
            "SAC-A101",
            f"The scan ends inside the body on the {', '.join(cut)} side: there the border is not skin, "
            "and no entry point can be planned through it",
            "skin",
        ),
    )
