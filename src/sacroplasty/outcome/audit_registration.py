"""The later CT brought onto the plan's: rigid, on the sacrum alone, with a gate that refuses.

The patient lies differently, the table stands elsewhere, the slices are others and cement is new. A coarse search by
masked correlation (Padfield 2012) needs no starting guess; Gauss-Newton steps on the CT values then refine it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import GeometryError
from sacroplasty.evidence import value
from sacroplasty.space import Frame, Grid, Points, Transform, Volume

Array = npt.NDArray[Any]

# The band of CT values that bone and soft tissue share; cement, metal and air are cut to it.
LOWEST_HU, HIGHEST_HU = -150.0, 900.0
COARSE_MM = 5.0
# Turns of the coarse search about the patient's x and z, degrees; the refinement reaches half a step farther.
TURNS_X, TURNS_Z = (-24.0, -12.0, 0.0, 12.0, 24.0), (-12.0, 0.0, 12.0)
KEPT = 4
# Blur (SD, mm) and point spacing (mm) of the refinement, coarse to fine.
LEVELS = ((3.0, 4.0), (1.5, 2.0), (0.8, 1.5))
STEPS = 40
# A step shorter than this, mm at the sacrum's rim, ends a level.
SMALLEST_STEP_MM = 0.002
HUBER = 1.345
# The share of the points with the least slope, and the contrast they need, to compare the scales of both scans.
FLATTEST, LEAST_CONTRAST_HU = 0.3, 50.0
ARM_MM = 60.0


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the plan's world lies in the later CT's, and how sure that is.

    `later_from_plan` maps patient LPS mm of the plan's CT to that of the later one. `correlation` of CT values over
    the sacrum, `coverage` the share of the sacrum that the later CT shows, `spread_mm` the largest disagreement, at
    the sacrum, of registrations made from its left, right, upper or lower half alone; `mirrored_correlation` that of
    the same bone with its sides exchanged. `slope` and `offset_hu` turn the plan's CT values into the later one's.
    """

    later_from_plan: Transform
    correlation: float
    coverage: float
    spread_mm: float
    mirrored_correlation: float
    slope: float
    offset_hu: float
    turned_deg: float
    moved_mm: float


@dataclass(frozen=True, eq=False)
class _Samples:
    """Points (n, 3) of the plan's sacrum, their CT values (n,), and which are bone."""

    points: Points
    values: Array


def register(plan_ct: Volume, anatomy: Anatomy, later_ct: Volume) -> Registration:
    """The registration of a later CT to the plan's, on the sacrum; GeometryError where it cannot be trusted."""
    template = _template(plan_ct, anatomy, COARSE_MM)
    starts = _coarse(template, later_ct)
    centre = anatomy.labels.mask("sacrum").centroid_mm()
    found = [_refined(plan_ct, anatomy, later_ct, start, centre, LEVELS[:1]) for start in starts]
    best = max(found, key=lambda pair: pair[1])[0]
    pose, correlation = _refined(plan_ct, anatomy, later_ct, best, centre, LEVELS[1:])
    measured = _measured(plan_ct, anatomy, later_ct, pose, centre)
    registration = Registration(
        Transform(
            Frame.PATIENT, Frame.PATIENT, pose,
            later_ct.grid.frame_of_reference_uid or "later", plan_ct.grid.frame_of_reference_uid or "plan",
        ),
        correlation, *measured,
        turned_deg=float(np.rad2deg(Rotation.from_matrix(pose[:3, :3]).magnitude())),
        moved_mm=float(np.linalg.norm(pose[:3, :3] @ centre + pose[:3, 3] - centre)),
    )  # fmt: skip
    return require_trusted(registration)


def require_trusted(registration: Registration) -> Registration:
    """The registration, or GeometryError that says which limit it breaks."""
    r = registration
    remedy = "Check that both scans are the same patient and show the sacrum"
    if r.correlation < value("assumptions.audit_least_correlation"):
        raise GeometryError(
            "The later CT does not match the plan's", got=f"correlation {r.correlation:.3f}", remedy=remedy
        )
    if r.coverage < value("assumptions.audit_least_coverage"):
        raise GeometryError(
            "The later CT shows too little of the sacrum", got=f"{100 * r.coverage:.0f} % of it", remedy=remedy
        )
    if r.spread_mm > value("assumptions.audit_largest_spread"):
        raise GeometryError(
            "The halves of the sacrum do not agree on one position", got=f"{r.spread_mm:.1f} mm apart", remedy=remedy
        )
    if r.mirrored_correlation > r.correlation + value("assumptions.audit_mirror_margin"):
        raise GeometryError(
            "The later CT matches better with left and right exchanged",
            got=f"correlation {r.mirrored_correlation:.3f} against {r.correlation:.3f}",
            remedy="Check the orientation of both series",
        )
    return registration


def carried(grid: Grid, registration: Registration, uid: str) -> Grid:
    """A grid of the plan's world in the later CT's frame of reference."""
    return Grid(grid.shape, registration.later_from_plan @ grid.patient_from_voxel, uid)


def _clipped(values: Array) -> Array:
    return np.clip(np.asarray(values, dtype=np.float32), LOWEST_HU, HIGHEST_HU)


def _near_sacrum(plan_ct: Volume, anatomy: Anatomy, spacing_mm: float, margin_mm: float) -> tuple[Grid, Array]:
    """A grid of `spacing_mm` around the sacrum, and where it lies within a margin of the bone and in the plan's CT."""
    sacrum = anatomy.labels.mask("sacrum").require_any("sacrum")
    low, high = sacrum.points_mm().min(axis=0), sacrum.points_mm().max(axis=0)
    grid = Grid.aligned(low - margin_mm, high + margin_mm, spacing_mm, sacrum.grid.frame_of_reference_uid)
    there = sacrum.resampled(grid).array
    far = ndimage.distance_transform_edt(~there, sampling=spacing_mm)
    near = np.argwhere(far <= margin_mm)
    there = np.zeros(grid.shape, dtype=bool)
    there[tuple(near[plan_ct.grid.contains(grid.patient_from_voxel.points(near))].T)] = True
    return grid, there


def _smoothed(ct: Volume, grid: Grid, blur_mm: float) -> Array:
    """Clipped CT values on a grid, blurred to `blur_mm`, without aliasing where the CT is finer."""
    fine = ct.cropped(ct.grid.box_around(grid.corners_mm, 4.0 * blur_mm + 2.0))
    sd = tuple(blur_mm / s for s in fine.grid.spacing_mm)
    blurred = ndimage.gaussian_filter(_clipped(fine.array), sd, truncate=3.0)
    return np.asarray(Volume(blurred, fine.grid).resampled(grid, outside=LOWEST_HU).array)


def _template(plan_ct: Volume, anatomy: Anatomy, spacing_mm: float) -> _Samples:
    grid, near = _near_sacrum(plan_ct, anatomy, spacing_mm, 12.0)
    values = _smoothed(plan_ct, grid, spacing_mm / 2)[near]
    return _Samples(grid.patient_from_voxel.points(np.argwhere(near)), values)


def _coarse(template: _Samples, later_ct: Volume) -> list[Points]:
    """The likeliest poses (4x4), best first, by masked normalised correlation over all shifts and some turns."""
    low, high = later_ct.grid.bounds_mm
    grid = Grid.aligned(low, high, COARSE_MM, later_ct.grid.frame_of_reference_uid)
    image = _smoothed(later_ct, grid, COARSE_MM / 2)
    seen = later_ct.grid.contains(grid.centres_mm()).astype(np.float32)
    image = (image - LOWEST_HU) * seen
    centre = template.points.mean(axis=0)
    radius = float(np.linalg.norm(template.points - centre, axis=1).max())
    pad = 2 * int(np.ceil(radius / COARSE_MM)) + 3
    shape = [fft.next_fast_len(n + pad, real=True) for n in image.shape]
    spectra = [fft.rfftn(a, shape) for a in (image, image**2, seen)]
    found: list[tuple[float, Points]] = []
    for x in TURNS_X:
        for z in TURNS_Z:
            turn = Rotation.from_euler("xz", (x, z), degrees=True).as_matrix()
            score, cell = _best_shift(template, centre, turn, spectra, shape, pad // 2)
            pose = np.eye(4)
            pose[:3, :3] = turn
            pose[:3, 3] = grid.patient_from_voxel.points(cell) - turn @ centre
            found.append((score, pose))
    found.sort(key=lambda pair: -pair[0])
    return [pose for _, pose in found[:KEPT]]


def _best_shift(
    template: _Samples, centre: Points, turn: Points, spectra: list[Array], shape: list[int], half: int
) -> tuple[float, Points]:
    """Highest correlation of the turned template over all shifts, and the image cell of the template's centre."""
    cells = np.rint((template.points - centre) @ turn.T / COARSE_MM).astype(int) + half
    mask = np.zeros(shape, dtype=np.float32)
    kernel = np.zeros(shape, dtype=np.float32)
    np.add.at(mask, tuple(cells.T), 1.0)
    np.add.at(kernel, tuple(cells.T), template.values - LOWEST_HU)
    kernel = np.where(mask > 0, kernel / np.maximum(mask, 1.0), 0.0)
    mask = (mask > 0).astype(np.float32)
    m, t, t2 = (np.conj(fft.rfftn(a, shape)) for a in (mask, kernel, kernel**2))
    count = fft.irfftn(spectra[2] * m, shape)
    product, sum_i, sum_i2 = (fft.irfftn(a * b, shape) for a, b in ((spectra[0], t), (spectra[0], m), (spectra[1], m)))
    sum_t, sum_t2 = fft.irfftn(spectra[2] * t, shape), fft.irfftn(spectra[2] * t2, shape)
    n = np.maximum(count, 1.0)
    spread = np.maximum(sum_i2 - sum_i**2 / n, 1.0) * np.maximum(sum_t2 - sum_t**2 / n, 1.0)
    score = (product - sum_i * sum_t / n) / np.sqrt(spread)
    # Where less than half of the sacrum would be seen, a high score means little.
    score[count < 0.5 * mask.sum()] = -1.0
    place = np.array(np.unravel_index(int(np.argmax(score)), score.shape))
    place = np.where(place > np.array(shape) - half - 1, place - np.array(shape), place)
    return float(score.max()), np.asarray(place + half, dtype=np.float64)


def _samples(plan_ct: Volume, anatomy: Anatomy, blur_mm: float, spacing_mm: float) -> _Samples:
    grid, near = _near_sacrum(plan_ct, anatomy, spacing_mm, 5.0)
    return _Samples(grid.patient_from_voxel.points(np.argwhere(near)), _smoothed(plan_ct, grid, blur_mm)[near])


def _target(later_ct: Volume, samples: _Samples, pose: Points, blur_mm: float) -> tuple[Volume, list[Volume], Volume]:
    """The later CT around the sacrum at one blur, its gradient per mm in LPS, and where it can be compared."""
    where = samples.points @ pose[:3, :3].T + pose[:3, 3]
    low, high = where.min(axis=0) - 15.0, where.max(axis=0) + 15.0
    spacing = max(blur_mm, 0.8)
    grid = Grid.aligned(low, high, spacing, later_ct.grid.frame_of_reference_uid)
    values = _smoothed(later_ct, grid, blur_mm)
    slopes = [Volume(g.astype(np.float32), grid) for g in np.gradient(values, spacing)]
    dense = np.asarray(later_ct.resampled(grid).array, dtype=np.float32) > value("assumptions.audit_dense_hu")
    blocked = ndimage.binary_dilation(dense, iterations=int(np.ceil((1.0 + 2.0 * blur_mm) / spacing)))
    usable = later_ct.grid.contains(grid.centres_mm()) & ~blocked
    return Volume(values, grid), slopes, Volume(usable.astype(np.float32), grid, "1")


def _refined(
    plan_ct: Volume, anatomy: Anatomy, later_ct: Volume, pose: Points, centre: Points,
    levels: tuple[tuple[float, float], ...],
) -> tuple[Points, float]:  # fmt: skip
    """The pose after Gauss-Newton steps at each level, and the correlation at the last."""
    correlation = -1.0
    for blur, spacing in levels:
        samples = _samples(plan_ct, anatomy, blur, spacing)
        target = _target(later_ct, samples, pose, blur)
        pose, correlation, _ = _aligned(samples, target, pose, centre)
    return pose, correlation


def _aligned(
    samples: _Samples, target: tuple[Volume, list[Volume], Volume], pose: Points, centre: Points
) -> tuple[Points, float, tuple[float, float]]:
    """Gauss-Newton with Huber weights on later = slope * plan + offset; pose, correlation, (slope, offset)."""
    image, slopes, usable = target
    line = (1.0, 0.0)
    correlation = -1.0
    for _ in range(STEPS):
        turned = (samples.points - centre) @ pose[:3, :3].T
        where = turned + (pose[:3, :3] @ centre + pose[:3, 3])
        seen = usable.sampled(where, outside=0.0) > 0.99
        if np.count_nonzero(seen) < 100:
            return pose, -1.0, line
        plan, later = samples.values[seen], image.sampled(where[seen])
        correlation, line, residual, weight = _compared(plan, later)
        slope = np.stack([g.sampled(where[seen], outside=0.0) for g in slopes], axis=1)
        jacobian = np.concatenate([np.cross(turned[seen], slope), slope], axis=1)
        scaled = jacobian * weight[:, None]
        step = -np.linalg.lstsq(scaled.T @ jacobian, scaled.T @ residual, rcond=None)[0]
        # Far from the goal the linear step overshoots: no more than a few mm or degrees at once.
        size = max(float(np.linalg.norm(step[:3])) * ARM_MM, float(np.linalg.norm(step[3:])))
        step *= min(1.0, 4.0 / max(size, 1e-9))
        turn = Rotation.from_rotvec(step[:3]).as_matrix()
        pivot = pose[:3, :3] @ centre + pose[:3, 3]
        pose = np.array(pose)
        pose[:3, :3] = turn @ pose[:3, :3]
        pose[:3, 3] = pivot + step[3:] - pose[:3, :3] @ centre
        if size < SMALLEST_STEP_MM:
            break
    return pose, correlation, line


def _compared(plan: Array, later: Array) -> tuple[float, tuple[float, float], Array, Array]:
    """Correlation, line through the pairs, residuals later - line, and Huber weights."""
    weight = np.ones(len(plan))
    slope, offset = 1.0, 0.0
    for _ in range(2):
        total = weight.sum()
        mp, ml = float(weight @ plan / total), float(weight @ later / total)
        variance = float(weight @ (plan - mp) ** 2)
        slope = float(weight @ ((plan - mp) * (later - ml))) / max(variance, 1e-9)
        offset = ml - slope * mp
        residual = later - (slope * plan + offset)
        spread = 1.4826 * float(np.median(np.abs(residual))) + 1e-6
        weight = np.minimum(1.0, HUBER * spread / np.maximum(np.abs(residual), 1e-9))
    correlation = float(np.corrcoef(plan, later)[0, 1])
    return correlation, (slope, offset), residual, weight


def _measured(
    plan_ct: Volume, anatomy: Anatomy, later_ct: Volume, pose: Points, centre: Points
) -> tuple[float, float, float, float, float]:
    """Coverage, spread between halves, mirrored correlation, slope and offset."""
    blur, spacing = LEVELS[1]
    samples = _samples(plan_ct, anatomy, blur, spacing)
    target = _target(later_ct, samples, pose, blur)
    moved = samples.points @ pose[:3, :3].T + pose[:3, 3]
    coverage = float(later_ct.grid.contains(moved).mean())
    line = _scale(samples, target, moved)
    left = (samples.points - centre) @ np.asarray(anatomy.frame.left)
    up = (samples.points - centre) @ np.asarray(anatomy.frame.cranial)
    probes = samples.points[:: max(len(samples.points) // 500, 1)]
    placed = [_half(samples, side, target, pose, centre, probes) for side in (left > 0, left <= 0, up > 0, up <= 0)]
    spread = max(
        float(np.linalg.norm(a - b, axis=1).mean()) for a, b in ((placed[0], placed[1]), (placed[2], placed[3]))
    )
    exchanged = _exchanged(samples, anatomy)
    _, mirrored, _ = _aligned(exchanged, target, pose, centre)
    return coverage, spread, mirrored, line[0], line[1]


def _scale(samples: _Samples, target: tuple[Volume, list[Volume], Volume], moved: Points) -> tuple[float, float]:
    """Slope and offset of the later CT values over the plan's, where neither scan's blur matters; 1, 0 if unclear."""
    image, slopes, usable = target
    steep = np.sqrt(sum(g.sampled(moved, outside=0.0) ** 2 for g in slopes))
    seen = usable.sampled(moved, outside=0.0) > 0.99
    flat = seen & (steep <= np.quantile(steep[seen], FLATTEST)) if seen.any() else seen
    if flat.sum() < 100 or samples.values[flat].std() < LEAST_CONTRAST_HU:
        return 1.0, 0.0
    _, line, _, _ = _compared(samples.values[flat], image.sampled(moved[flat]))
    return line if 0.7 < line[0] < 1.4 else (1.0, 0.0)


def _half(
    samples: _Samples, part: Array, target: tuple[Volume, list[Volume], Volume], pose: Points, centre: Points,
    probes: Points,
) -> Points:  # fmt: skip
    """Where the probes go by a registration of a part of the sacrum alone."""
    own = _aligned(_Samples(samples.points[part], samples.values[part]), target, pose, centre)[0]
    return np.asarray(probes @ own[:3, :3].T + own[:3, 3])


def _exchanged(samples: _Samples, anatomy: Anatomy) -> _Samples:
    """The same bone with left and right exchanged at its own mid-sagittal plane."""
    left = np.asarray(anatomy.frame.left)
    away = (samples.points - np.asarray(anatomy.frame.origin_mm)) @ left
    return _Samples(samples.points - 2.0 * away[:, None] * left, samples.values)
