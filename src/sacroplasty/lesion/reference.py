"""The marrow that a search for lesions expects: as on the other side, in the other levels, and at the patient's age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.lesion.density import ACROSS_MM, ACROSS_STEPS, FEW_VOXELS, MARROW_DEPTH_MM
from sacroplasty.lesion.region import Bools, Region
from sacroplasty.plan import Finding, Level, Severity

# So far from the midline is a level's body; the steps within it.
BODY_MM = 15.0
BODY_STEPS = round(BODY_MM / ACROSS_MM)
# Between cortex and marrow as thick slices show them: so deep below what a slice averages with the outside.
CLEAR_MM = 1.0
# Compact bone blurs this far in, in steps: marrow is compared with marrow of the same clear depth.
DEPTH_EDGES_MM = (CLEAR_MM, 2.0, MARROW_DEPTH_MM, 4.0, 5.5, 8.0)
# Levels whose bodies are large enough to be judged as a whole.
JUDGED = (Level.S1, Level.S2, Level.S3)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """Marrow HU expected of every voxel (i, j, k), the part of the bone that each is in, and remarks.

    `part` is 0 outside marrow, 1 before the canal's ventral wall (bodies and alae), 2 behind it. `deep` is what no
    thick slice averages with cortex; only there is a level's own density read. `off` says of every level whether as a
    whole it is too dark (-1) or too dense (1) for the other levels or the age, else 0.
    """

    expected_hu: npt.NDArray[np.float32]
    part: npt.NDArray[np.uint8]
    deep: Bools
    off: npt.NDArray[np.int8]
    findings: tuple[Finding, ...]


def age_range_hu(age_years: float | None) -> tuple[float, float, float]:
    """Least, mean and greatest trabecular HU (mean ± 2 SD) of a vertebral body at an age; over all adults for None.

    Jang 2019: L1 falls in a straight line with age. The S1 body is not less dense than L1. Raises InputError outside
    0 to 120 years.
    """
    young, fall = value("anatomy.l1_hu_young"), value("anatomy.l1_hu_fall_per_year")
    old, first, last = value("anatomy.l1_hu_old"), value("anatomy.l1_hu_young_age"), value("anatomy.l1_hu_old_age")
    spread_young, spread_old = value("anatomy.l1_hu_young_sd"), value("anatomy.l1_hu_old_sd")
    if age_years is None:
        return old - 2 * spread_old, (young + old) / 2, young + 2 * spread_young
    if not 0 <= age_years <= 120:
        raise InputError("An age lies between 0 and 120 years", got=f"{age_years}")
    mean = float(np.clip(young - fall * (age_years - first), old, young))
    spread = float(np.interp(age_years, (first, last), (spread_young, spread_old)))
    return mean - 2 * spread, mean, mean + 2 * spread


def reference_of(region: Region, age_years: float | None = None) -> Reference:
    """Expected marrow without a lesion, where the lesion is not known.

    Bodies and alae: the median of the same level at the same distance from the midline; where the sides differ by more
    than a lesion does, the side that fits the other levels. A level whose whole body fits neither the other levels nor
    the patient's age is set aside, and what the others show is expected of it. Behind the canal: both sides together.
    """
    hu = region.smooth_hu
    clear = region.clear_depth_mm
    inner = (region.depth_mm >= MARROW_DEPTH_MM) & (clear >= CLEAR_MM)
    marrow = inner & (region.hu > -1000) & (region.level_index >= 0)
    deep = clear >= MARROW_DEPTH_MM
    part = np.where(marrow, np.where(region.behind_body, 2, 1), 0).astype(np.uint8)
    expected = np.full(hu.shape, np.float32(np.median(hu[marrow]) if marrow.any() else value("assumptions.marrow_hu")))
    front, behind = part == 1, part == 2
    off = np.zeros(len(region.anatomy.levels), np.int8)
    findings: tuple[Finding, ...] = ()
    if np.count_nonzero(front) >= FEW_VOXELS:
        bodies = _agreed(region, _bodies(region, hu, front & deep), age_years)
        off, findings = _levels_off(region, bodies, age_years)
        table = _levels_table(region, _medians(region, hu, front & deep), bodies, off, age_years)
        _fill(expected, region, front, table)
    if np.count_nonzero(behind) >= FEW_VOXELS:
        expected[behind] = np.median(hu[behind])
        sides = _medians(region, hu, behind)
        _fill(expected, region, behind, _chosen(sides, np.broadcast_to(_median(_pooled(sides)), sides[:, 0].shape)))
    _by_depth(expected, region, hu, part)
    return Reference(expected, part, deep, off, findings)


def _levels_table(
    region: Region, sides: Floats, bodies: Floats, off: npt.NDArray[np.int8], age_years: float | None
) -> Floats:
    """Expected HU (level, step from the midline), NaN where nothing is known."""
    model = _model(region, _pooled(sides), bodies, off, age_years)
    return np.where((off != 0)[:, None], model, _chosen(sides, model))


def _chosen(sides: Floats, model: Floats) -> Floats:
    """Both sides together, or where they differ as a lesion does, the side nearer to the model; else the model."""
    pooled = _pooled(sides)
    unlike = np.abs(sides[:, 0] - sides[:, 1]) > value("assumptions.lesion_contrast_hu")
    nearer = np.where(np.abs(sides[:, 0] - model) <= np.abs(sides[:, 1] - model), sides[:, 0], sides[:, 1])
    return np.where(unlike & ~np.isnan(model), nearer, np.where(np.isnan(pooled), model, pooled))


def _median(rows: Floats) -> Floats:
    """Median of every column's known values, NaN where there is none."""
    known = ~np.isnan(rows).all(axis=0)
    result = np.full(rows.shape[1], np.nan)
    result[known] = np.nanmedian(rows[:, known], axis=0)
    return result


def _medians(region: Region, hu: npt.NDArray[np.float32], part: Bools) -> Floats:
    """Median HU (level, side, step from the midline), NaN where voxels are few; left is side 0."""
    x = region.coordinates[1][part]
    levels = len(region.anatomy.levels)
    step = np.minimum(np.abs(x) // ACROSS_MM, ACROSS_STEPS - 1).astype(int)
    place = (region.level_index[part].astype(int) * 2 + (x < 0)) * ACROSS_STEPS + step
    number = levels * 2 * ACROSS_STEPS
    count = np.bincount(place, minlength=number)
    medians = np.full(number, np.nan)
    enough = np.flatnonzero(count >= FEW_VOXELS // 2)
    medians[enough] = ndimage.median(hu[part], place, enough)
    return medians.reshape(levels, 2, ACROSS_STEPS)


def _pooled(sides: Floats) -> Floats:
    """Mean of both sides' medians (level, step); what only one side has stands alone."""
    known = ~np.isnan(sides)
    return np.where(known.any(axis=1), np.nansum(sides, axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)


def _bodies(region: Region, hu: npt.NDArray[np.float32], front: Bools) -> Floats:
    """Median HU of the left and right half of every level's body (level, side), NaN where voxels are few."""
    x = region.coordinates[1]
    halves = [front & (x >= 0) & (x < BODY_MM), front & (x < 0) & (x > -BODY_MM)]
    here = [[hu[half & (region.level_index == n)] for half in halves] for n in range(len(region.anatomy.levels))]
    return np.array([[np.median(h) if len(h) >= FEW_VOXELS else np.nan for h in row] for row in here])


def _agreed(region: Region, halves: Floats, age_years: float | None) -> Floats:
    """HU of every level's body: the mean of its halves, or where they differ, the half that fits the other levels."""
    ratios = _ratios(region)[:, None]
    middle = float(np.nanmedian([*(halves / ratios).ravel(), age_range_hu(age_years)[1]]))
    left, right = halves.T
    apart = np.abs(np.log(np.maximum(halves, 1.0) / ratios / middle))
    nearer = np.where(apart[:, 0] <= apart[:, 1], left, right)
    unlike = np.abs(left - right) > value("assumptions.lesion_contrast_hu")
    return np.where(unlike, nearer, _pooled(halves[:, :, None])[:, 0])


def _ratios(region: Region) -> Floats:
    """A level's body against the body of S1, by the published means of S1 and S2; below S2 assumed."""
    known = {Level.S1: 1.0, Level.S2: value("anatomy.s2_body_hu") / value("anatomy.s1_body_hu")}
    below = value("assumptions.low_level_density")
    return np.array([known.get(each.level, below) for each in region.anatomy.levels])


def _levels_off(
    region: Region, bodies: Floats, age_years: float | None
) -> tuple[npt.NDArray[np.int8], tuple[Finding, ...]]:
    """Which levels' bodies fit neither the others nor the age; none where all stray alike, which is no lesion."""
    as_s1 = bodies / _ratios(region)
    names = [each.level for each in region.anatomy.levels]
    judged = np.isin(names, JUDGED) & ~np.isnan(bodies)
    low, mean, high = age_range_hu(age_years)
    most = value("assumptions.level_unlike_others")
    # The age has a vote of its own: of two levels that contradict each other, it tells the odd one.
    middle = float(np.median([*as_s1[judged], mean]))
    off = judged * ((as_s1 > most * middle).astype(np.int8) - (as_s1 * most < middle))
    strays = np.where(as_s1 < low, -1, np.where(as_s1 > high, 1, 0)) * (judged & np.isin(names, JUDGED[:2]))
    if abs(int(strays.sum())) < len(JUDGED[:2]):
        return np.where(off != 0, off, strays).astype(np.int8), ()
    text = f"Marrow of S1 and S2 is {'below' if strays.sum() < 0 else 'above'} the range of {_age(age_years)}"
    detail = f"{', '.join(f'{v:.0f}' for v in as_s1[strays != 0])} against {low:.0f} to {high:.0f} HU"
    remark = Finding(Severity.CAUTION, "marrow-age", f"{text} ({detail}): look for diffuse disease")
    return off.astype(np.int8), (remark,)


def _age(age_years: float | None) -> str:
    return "adults" if age_years is None else f"{age_years:.0f} years"


def _model(
    region: Region, pooled: Floats, bodies: Floats, off: npt.NDArray[np.int8], age_years: float | None
) -> Floats:
    """Expected HU (level, step) by the levels that fit: their common course across, at the height of each level."""
    ratios = _ratios(region)
    fit = (off == 0) & ~np.isnan(bodies)
    judged = fit & np.isin([each.level for each in region.anatomy.levels], JUDGED)
    common = float(np.median((bodies / ratios)[judged])) if judged.any() else age_range_hu(age_years)[1]
    shape = _median(pooled[fit] - bodies[fit, None])
    height = np.where(fit, np.nan_to_num(bodies), common * ratios)
    return np.asarray(height[:, None] + shape)


def _fill(expected: npt.NDArray[np.float32], region: Region, front: Bools, table: Floats) -> None:
    centres = (np.arange(ACROSS_STEPS) + 0.5) * ACROSS_MM
    for n, row in enumerate(table):
        here = front & (region.level_index == n)
        known = ~np.isnan(row)
        if known.any():
            expected[here] = np.interp(np.abs(region.coordinates[1][here]), centres[known], row[known])


def _by_depth(
    expected: npt.NDArray[np.float32], region: Region, hu: npt.NDArray[np.float32], part: npt.NDArray[np.uint8]
) -> None:
    """Adds what marrow of a depth has more than all marrow of its part."""
    step = np.digitize(region.clear_depth_mm, DEPTH_EDGES_MM)
    for which in (1, 2):
        for n in range(1, len(DEPTH_EDGES_MM) + 1):
            here = (part == which) & (step == n)
            if np.count_nonzero(here) >= FEW_VOXELS:
                expected[here] += np.float32(np.median(hu[here] - expected[here]))
