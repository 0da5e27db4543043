"""From fitted shapes to voxels: soft priors of every bone, random walks on a coarse and then on a fine grid."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage

from sacroplasty.anatomy.lumbar import DISC_RADIUS_MM, Disc
from sacroplasty.anatomy.morphology import within
from sacroplasty.anatomy.random_walk import VOXELS_AT_ONCE, active_order, random_walk
from sacroplasty.anatomy.surroundings import Surroundings
from sacroplasty.space import Box, Grid, LabelMap, Points, Volume, threaded

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

Discs = tuple[Disc | None, Disc | None]

# Classes of the random walk; BONE_L4 stands for L4 and everything above it.
BACKGROUND, BONE_SACRUM, BONE_HIP_LEFT, BONE_HIP_RIGHT, BONE_L5, BONE_L4, BONE_FEMUR, BONE_OTHER = range(8)
CLASSES = 8
# Contrast (100 HU) of the walk's edges.
BETA = 2.0
EDGE_LOW_HU, EDGE_HIGH_HU = -150.0, 450.0
# How deep partial volume reaches, and how much a ridge stands above its sides.
TRIM_DEPTH_MM, RIDGE_HU = 2.0, 25.0


def _sigmoid(distance_mm: Floats, width_mm: float) -> Floats:
    """1 well below zero, 0 well above."""
    return np.asarray(1 / (1 + np.exp(np.clip(distance_mm / width_mm, -30, 30))), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class BoneProbability:
    """P(bone | HU) of one scan as a table (hu, probability), its muscle level and the HU where bone is as likely."""

    hu: Points
    probability: Points
    muscle_hu: float
    half_hu: float

    def __call__(self, values: Floats) -> Floats:
        return np.interp(values, self.hu, self.probability).astype(np.float32)


def bone_probability(values: Floats, place: Surroundings, body: Bools) -> BoneProbability:
    """From the scan's own histograms inside the fitted bones and in the soft tissue around them."""
    nearest = place.nearest
    other_bone = ((place.beside_spine < 45) & (place.above_disc > -8)) | (place.femur < 12) | place.below_sacrum
    edges = np.arange(-200, 1001, 10.0)
    clipped = np.clip(values, -199, 999)

    def histogram(where: Bools) -> Points:
        counts = ndimage.gaussian_filter1d(np.histogram(clipped[where], edges)[0].astype(float), 2.0)
        return np.asarray(counts / max(counts.sum(), 1) + 1e-5)

    inside = histogram((nearest < -1.0) & body)
    around = histogram((nearest > 3) & (nearest < 14) & body & ~other_bone)
    probability = inside / (inside + around)
    hu = (edges[1:] + edges[:-1]) / 2
    muscle = int(np.argmax(around * (hu > -20)))
    probability[muscle:] = np.maximum.accumulate(probability[muscle:])
    # No soft tissue without contrast medium is this bright, whatever the fit says.
    probability = np.where(hu > 350, np.maximum(probability, 0.97), probability)
    probability = np.where((hu > 200) & (hu <= 350), np.maximum(probability, 0.7), probability)
    half = hu[int(np.argmax((probability > 0.5) & (hu > hu[muscle])))]
    return BoneProbability(hu, probability, float(hu[muscle]), float(half))


def without_discs(bone: Floats, discs: Discs, points_mm: Points, values: Floats) -> Floats:
    """Bone probability (...) at positions (..., 3) where discs, as bright as marrow, are taken out."""
    for disc in discs:
        if disc is not None:
            bone = bone * (1 - 0.95 * disc.tissue(points_mm, values))
    return bone


def _prior(place: Surroundings, bone: Floats) -> Floats:
    """Class priors (i, j, k, classes) from shape and brightness, summing to one."""
    width = 1.4
    sacrum, left, right = (_sigmoid(d, width) for d in (place.sacrum, place.hip_left, place.hip_right))
    inside = np.maximum(np.maximum(sacrum, left), right)
    # The marrow of a vertebral body may be fat.
    core = (place.beside_spine < 17) & (place.disc_gap > 8) & (place.above_disc > 0)
    spine_bone = np.maximum(bone, 0.95 * core)
    femur = _sigmoid(place.femur + 4, 1.0) * (1 - 0.7 * inside)
    spine = _sigmoid(-place.above_disc, 1.0) * _sigmoid(place.beside_spine - 60, 3.0)
    # In front of and beside the bodies run vessels, bright with contrast medium; processes are behind.
    spine = spine * (1 - inside) * (place.hips > 2) * ((place.beside_spine < 28) | (place.behind_spine > -4))
    upper = _sigmoid(-place.above_l5, 1.5)
    coccyx = place.below_sacrum * _sigmoid(place.above_disc, 2.0)
    coccyx = 2 * coccyx * _sigmoid(np.maximum(place.sacrum - 30, 0) - 6, 6.0) * (1 - inside)
    other = np.clip((place.nearest - 3) / 5, 0, 1) * (1 - np.clip(spine * 1.5, 0, 1))
    prior = np.empty((*bone.shape, CLASSES), np.float32)
    prior[..., BACKGROUND] = (1 - spine_bone) * (1 - inside) * 1.2 + 0.01
    prior[..., BONE_SACRUM] = np.maximum(sacrum * (0.12 + bone), 0.9 * bone**2 * coccyx)
    prior[..., BONE_HIP_LEFT] = left * (0.12 + bone)
    prior[..., BONE_HIP_RIGHT] = right * (0.12 + bone)
    prior[..., BONE_L5] = spine_bone**2 * spine * (1 - upper)
    prior[..., BONE_L4] = spine_bone**2 * spine * upper
    prior[..., BONE_FEMUR] = bone**2 * femur
    prior[..., BONE_OTHER] = 0.7 * bone**2 * other * (1 - np.clip(spine + coccyx + femur, 0, 1))
    return prior / prior.sum(axis=-1, keepdims=True)


def _pull(prior: Floats) -> Floats:
    """Strength of a prior: weak where it wavers, strong where it is sure."""
    return (0.01 + 0.8 * np.clip((prior.max(axis=-1) - 0.55) / 0.45, 0, 1) ** 3).astype(np.float32)


def _edges(values: Floats) -> Floats:
    clipped = np.clip(values, EDGE_LOW_HU, EDGE_HIGH_HU)
    return (ndimage.gaussian_filter(clipped, 0.4) / 100.0).astype(np.float32)


def coarse_classes(ct: Volume, body: Bools, place: Surroundings, bone: Floats) -> Floats:
    """Class probabilities (i, j, k, classes) on the coarse grid; background where no bone can be."""
    prior = _prior(place, bone)
    nearest = place.nearest
    spine = (place.above_disc > -5) & (place.beside_spine < 60)
    active = ((nearest < 8) | ((bone > 0.5) & ((nearest < 45) | spine))) & body
    active = ndimage.binary_dilation(active) & body
    coordinates = active_order(active)
    at = tuple(coordinates.T)
    fixed = np.zeros(body.shape, np.uint8)
    found = random_walk(
        _edges(np.asarray(ct.array)), coordinates, prior[at], _pull(prior[at]), fixed, beta=BETA, sweeps=40
    )
    result = np.zeros_like(prior)
    result[..., BACKGROUND] = 1.0
    result[at] = found
    walked = result.argmax(axis=-1).astype(np.uint8)
    tidied = walked.copy()
    _tidy(tidied, place, bone, ct.grid.spacing_mm[0])
    changed = tidied != walked
    result[changed] = np.eye(CLASSES, dtype=np.float32)[tidied[changed]]
    return result


def _tidy(classes: npt.NDArray[np.uint8], place: Surroundings, bone: Floats, spacing_mm: float) -> None:
    """In place: pieces that do not belong to a fitted bone become other bone; bone joined to a head is femur."""
    loose = np.isin(classes, (BONE_FEMUR, BONE_OTHER)) & (place.above_disc < 0) & (place.femur < 60)
    pieces, count = cc3d.connected_components(loose, connectivity=6, return_N=True)
    heads = np.bincount(pieces.ravel(), (classes == BONE_FEMUR).ravel(), minlength=count + 1) > 800 / spacing_mm**3
    heads[0] = False
    classes[heads[pieces]] = BONE_FEMUR
    for value, distance in (
        (BONE_SACRUM, place.sacrum), (BONE_HIP_LEFT, place.hip_left), (BONE_HIP_RIGHT, place.hip_right),
    ):  # fmt: skip
        pieces, count = cc3d.connected_components(classes == value, connectivity=6, return_N=True)
        size = np.bincount(pieces.ravel(), minlength=count + 1)
        core = np.bincount(pieces.ravel(), (distance < -1).ravel(), minlength=count + 1)
        good = (core > 0.02 * size) & (size * spacing_mm**3 > 150)
        if value == BONE_SACRUM:
            tail = np.bincount(pieces.ravel(), place.below_sacrum.ravel(), minlength=count + 1)
            good |= (tail > 0.8 * size) & (size * spacing_mm**3 > 80)
        good[0] = True
        bad = ~good[pieces]
        classes[bad] = np.where(bone[bad] > 0.5, BONE_OTHER, BACKGROUND)


def fine_classes(
    ct: Volume,
    body: Bools,
    coarse: Floats,
    coarse_grid: Grid,
    bone: BoneProbability,
    discs: Discs,
    band_mm: float = 3.5,
) -> npt.NDArray[np.uint8]:
    """Classes (i, j, k) on a fine grid: the coarse result, its borders walked again within a band at full sharpness."""
    labels = LabelMap(coarse.argmax(axis=-1).astype(np.uint8), coarse_grid)
    whole = np.where(body, labels.resampled(ct.grid).array, BACKGROUND).astype(np.uint8)
    reach = band_mm / ct.grid.spacing_mm[0]
    box = _box_of(whole, int(reach) + 3)
    fixed, part = whole[box], ct.cropped(box)
    # Where background meets bone of no interest the border need not be sharp.
    interest = np.where(fixed == BONE_OTHER, BACKGROUND, fixed)
    active = within(_borders(interest), reach) & body[box]
    coordinates = active_order(active)
    at = tuple(coordinates.T)
    edges = _edges(np.asarray(part.array))
    share = _shares_at(coarse, (coarse_grid.voxel_from_patient @ part.grid.patient_from_voxel).matrix, coordinates)
    sharp = 100.0 * edges[at]
    here = bone(sharp)
    near = _near_discs(discs, part.grid, coordinates)
    points = part.grid.patient_from_voxel.points(coordinates[near])
    here[near] = without_discs(here[near], discs, points, sharp[near])
    bones = share[:, 1:].sum(axis=1)
    prior = np.empty_like(share)
    prior[:, 0] = (1 - here) * (1 - bones) + 0.01
    prior[:, 1:] = (share[:, 1:] + 1e-4) * (0.12 + here)[:, None]
    prior /= prior.sum(axis=1, keepdims=True)
    found = random_walk(edges, coordinates, prior, _pull(prior), fixed, beta=BETA, sweeps=16)
    fixed[at] = found.argmax(axis=1).astype(np.uint8)
    return whole


def _box_of(classes: npt.NDArray[np.uint8], margin: int) -> Box:
    """The index box of everything that is not background, and a margin."""
    ends = [np.flatnonzero(classes.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
    i, j, k = (slice(max(int(a) - margin, 0), int(b) + margin + 1) for a, b in ends)
    return i, j, k


def _borders(classes: npt.NDArray[np.uint8]) -> Bools:
    """Voxels on either side of a change of class."""
    border = np.zeros(classes.shape, bool)
    for axis in range(3):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(0, -1)
        change = classes[tuple(ahead)] != classes[tuple(behind)]
        border[tuple(ahead)] |= change
        border[tuple(behind)] |= change
    return border


def _near_discs(discs: Discs, grid: Grid, coordinates: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Rows of the voxels (n, 3) in the box around the discs."""
    near = np.zeros(len(coordinates), bool)
    for disc in discs:
        if disc is not None:
            box = grid.box_around(disc.centre_mm, DISC_RADIUS_MM + 1.0)
            inside = np.ones(len(coordinates), bool)
            for axis, span in enumerate(box):
                inside &= (coordinates[:, axis] >= span.start) & (coordinates[:, axis] < span.stop)
            near |= inside
    return np.flatnonzero(near)


def _shares_at(shares: Floats, matrix: Points, coordinates: npt.NDArray[np.int32]) -> Floats:
    """Trilinear class shares (n, classes) at voxels (n, 3) of another grid, `matrix` away, clamped to the grid."""
    result = np.empty((len(coordinates), shares.shape[3]), np.float32)
    rows = np.ascontiguousarray(matrix[:3])
    threaded(
        lambda first, last: _share(shares, rows, coordinates, result, first, last), len(coordinates), VOXELS_AT_ONCE
    )
    return result


@njit(cache=True, nogil=True)
def _share(shares: Floats, m: Points, voxels: npt.NDArray[np.int32], result: Floats, first: int, last: int) -> None:
    n0, n1, n2, classes = shares.shape
    for q in range(first, last):
        u, v, w = voxels[q]
        x = min(max(m[0, 0] * u + m[0, 1] * v + m[0, 2] * w + m[0, 3], 0.0), n0 - 1.001)
        y = min(max(m[1, 0] * u + m[1, 1] * v + m[1, 2] * w + m[1, 3], 0.0), n1 - 1.001)
        z = min(max(m[2, 0] * u + m[2, 1] * v + m[2, 2] * w + m[2, 3], 0.0), n2 - 1.001)
        i, j, k = np.uintp(x), np.uintp(y), np.uintp(z)
        x, y, z = x - i, y - j, z - k
        result[q] = 0.0
        for corner in range(8):
            di, dj, dk = np.uintp(corner & 1), np.uintp((corner >> 1) & 1), np.uintp(corner >> 2)
            part = np.float32((x if di else 1 - x) * (y if dj else 1 - y) * (z if dk else 1 - z))
            for c in range(classes):
                result[q, c] += part * shares[i + di, j + dj, k + dk, c]


def trimmed_to_half_maximum(
    ct: Volume, classes: npt.NDArray[np.uint8], muscle_hu: float, resolution_mm: tuple[float, float, float]
) -> npt.NDArray[np.uint8]:
    """Border voxels darker than halfway from muscle to the brightest bone beside them go to the background.

    Partial volume makes bone look thicker than it is; at most `TRIM_DEPTH_MM` is taken. Ridges of brightness stay: a
    plate thinner than a voxel of the scan (`resolution_mm` along x, y, z) never reaches half of a thick cortex.
    """
    spacing = ct.grid.spacing_mm[0]
    result = classes.copy()
    reach = [max(round(1.2 * max(r, 1.0) / spacing), 1) for r in resolution_mm]
    box = _box_of(classes, max(*reach, round(TRIM_DEPTH_MM / spacing)) + 1)
    part = result[box]
    values = np.clip(np.asarray(ct.array)[box], -200, 600)
    brightest = ndimage.maximum_filter(np.where(part > 0, values, -200), 2 * round(2 / spacing) + 1)
    half = np.minimum(muscle_hu + 0.5 * (brightest - muscle_hu), muscle_hu + 300)
    soft = (values < half) & ~_ridges(values, reach)
    for _ in range(max(round(TRIM_DEPTH_MM / spacing), 1)):
        part[(part > 0) & within(part == BACKGROUND, 1.0) & soft] = BACKGROUND
    return result


def _ridges(values: Floats, reach: list[int]) -> Bools:
    """Voxels brighter than both voxels `reach` away along some axis."""
    result = np.zeros(values.shape, bool)
    for axis, n in enumerate(reach):
        middle, low, high = [slice(None)] * 3, [slice(None)] * 3, [slice(None)] * 3
        middle[axis], low[axis], high[axis] = slice(n, -n), slice(0, -2 * n), slice(2 * n, None)
        beside = np.maximum(values[tuple(low)], values[tuple(high)])
        result[tuple(middle)] |= values[tuple(middle)] - beside > RIDGE_HU
    return result
