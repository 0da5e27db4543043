"""A ledger of the cement from radiographs: mL inside the lesion, in bone and outside, frame by frame, with error bars.

Each frame holds one or more registered projections of cement path length (mm). The cement is spread over the voxels
so that all projections of the frame are met (expectation maximisation); what two views cannot tell apart is the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, sparse

from sacroplasty.cement.result import DISCLAIMER
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.space import Grid, Mask, Points, Projection, readonly

Array = npt.NDArray[Any]

ITERATIONS = 40
# Draws of noise per frame and per starting guess.
REPLICATES = 4
# Of the projected path lengths, this quantile of the empty image is its noise.
NOISE_QUANTILE = 0.6827
# A binned pixel this many times its noise shows cement; so do its neighbours.
SEEN_SIGMA = 3.0
TINY = 1e-9
LOW_PERCENT = 2.5
# Blur that shows cement above noise, width of the slow change by scatter, and the share of the darkest that is cement.
SMOOTH_PIXELS, DRIFT_PIXELS, FIRST_GUESS = 2, 20, 0.15
# Reach over which what a needle hides is filled in.
FILL_PIXELS = 3.0
# Cement outside within this many voxels of the bone raises no alarm.
CLEAR_VOXELS = 1.5


@dataclass(frozen=True, eq=False)
class CementProjection:
    """Cement path length (v, u) in mm along each ray, where it falls, and the x-ray source's place in LPS mm.

    `detector_from_patient` maps LPS mm to (u, v) pixels of `pixel_mm`; `source_to_detector_mm` is the focal length.
    `hidden` (v, u) is True where nothing can be said, such as behind a needle; it is filled in from beside.
    """

    path_mm: Array
    detector_from_patient: Projection
    source_mm: Points
    pixel_mm: float
    source_to_detector_mm: float
    hidden: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path_mm", readonly(self.path_mm))
        if self.hidden is not None and self.hidden.shape != self.path_mm.shape:
            raise InputError("What is hidden must fit the image", got=f"{self.hidden.shape}, {self.path_mm.shape}")
        if self.path_mm.ndim != 2 or not np.isfinite(self.path_mm).all():
            raise InputError("A projection must be a finite image (v, u)", got=f"shape {self.path_mm.shape}")
        if not (self.pixel_mm > 0 and self.source_to_detector_mm > 0):
            raise InputError("Pixel size and focal length must be positive", got=f"{self.pixel_mm} mm")


@dataclass(frozen=True)
class AttenuationCurve:
    """Cement path in mm from the excess attenuation L: `linear_mm · L + quadratic_mm · L²`.

    The second term is beam hardening and scatter: thick cement hides part of itself.
    """

    linear_mm: float
    quadratic_mm: float = 0.0

    def __post_init__(self) -> None:
        if not (self.linear_mm >= 0 and self.quadratic_mm >= 0 and self.linear_mm + self.quadratic_mm > 0):
            raise InputError(
                "Cement must darken the image", got=f"{self.linear_mm:.3g} mm, {self.quadratic_mm:.3g} mm per L, L²"
            )

    @staticmethod
    def calibrated(excess: Sequence[Array], paths_mm: Sequence[Array]) -> AttenuationCurve:
        """The curve from images of L of bodies of cement whose path in every pixel is known, such as a step wedge.

        Take bodies of the size and thickness to be measured: scatter depends on both. InputError for none.
        """
        if not len(excess) or [e.shape for e in excess] != [p.shape for p in paths_mm]:
            raise InputError("A calibration needs images with known paths", got=f"{len(excess)}, {len(paths_mm)}")
        seen = np.concatenate([e[p > TINY] for e, p in zip(excess, paths_mm, strict=True)])
        path = np.concatenate([p[p > TINY] for p in paths_mm])
        linear, quadratic = optimize.nnls(np.stack([seen, seen * np.abs(seen)], axis=1), path)[0]
        return AttenuationCurve(float(linear), float(quadratic))

    def path_mm(self, before: Array, after: Array) -> Array:
        """Cement path (mm) from two radiographs of one pose in linear intensity."""
        excess = excess_attenuation(before, after)
        return np.asarray(self.linear_mm * excess + self.quadratic_mm * excess * np.abs(excess))


def excess_attenuation(before: Array, after: Array) -> Array:
    """What cement adds to the logarithm of attenuation, from two radiographs of one pose in linear intensity.

    Cement also takes scatter away from its wide surroundings; that slow change is found beside the cement and removed.
    """
    ratio = np.maximum(np.asarray(before, dtype=np.float64), TINY) / np.maximum(np.asarray(after, np.float64), TINY)
    excess = np.log(ratio)
    smooth = ndimage.gaussian_filter(excess, SMOOTH_PIXELS)
    drift, level = np.zeros_like(excess), FIRST_GUESS * float(smooth.max())
    for _ in range(2):
        beside = ~ndimage.binary_dilation(smooth - drift > level, iterations=2 * SMOOTH_PIXELS)
        weight = ndimage.gaussian_filter(beside.astype(np.float64), DRIFT_PIXELS)
        drift = ndimage.gaussian_filter(np.where(beside, excess, 0.0), DRIFT_PIXELS) / np.maximum(weight, TINY)
        level = SEEN_SIGMA * _noise((smooth - drift)[beside])
    return np.asarray(excess - drift)


@dataclass(frozen=True)
class Amount:
    """mL with its 95 % range: noise, what the views cannot tell apart, and the error of the scale."""

    ml: float
    low_ml: float
    high_ml: float


@dataclass(frozen=True)
class Entry:
    """One frame of the ledger; `alarm` where cement farther from bone than a picture's blur is surely a leak."""

    time_s: float
    total: Amount
    lesion: Amount
    bone: Amount
    outside: Amount
    alarm: bool


@dataclass(frozen=True)
class Ledger:
    """All frames in order."""

    entries: tuple[Entry, ...]
    statement: str = DISCLAIMER

    @property
    def first_alarm_s(self) -> float | None:
        """Time of the first alarm."""
        return next((e.time_s for e in self.entries if e.alarm), None)

    def latency_s(self, leak_s: float) -> float | None:
        """Seconds from a leak to the first alarm at or after it; None where there was none."""
        return next((e.time_s - leak_s for e in self.entries if e.alarm and e.time_s >= leak_s), None)


def keep_ledger(
    frames: Sequence[tuple[float, Sequence[CementProjection]]],
    lesion: Mask,
    bone: Mask,
    tip_mm: npt.ArrayLike,
    *,
    outside: Mask | None = None,
    seed: int = 0,
) -> Ledger:
    """The ledger of frames (seconds, projections), on the grid of `lesion` and `bone`.

    `outside` limits where leaked cement may be (default: everywhere on the grid). InputError for no frames or views.
    """
    lesion.grid.require_same(bone.grid, "Lesion and bone")
    if not frames or not all(views for _, views in frames):
        raise InputError("A ledger needs at least one frame with one projection", got=f"{len(frames)} frames")
    grid = lesion.grid
    allowed = np.asarray(bone.array | lesion.array)
    allowed = allowed | (np.ones_like(allowed) if outside is None else np.asarray(outside.array))
    voxels = np.flatnonzero(allowed)
    places = grid.patient_from_voxel.points(np.stack(np.unravel_index(voxels, grid.shape), axis=1))
    inside = lesion.array.ravel()[voxels]
    bony = bone.array.ravel()[voxels] & ~inside
    distance = np.linalg.norm(places - np.asarray(tip_mm), axis=1)
    rng = np.random.default_rng(seed)
    # Cement that close to the bone may be blur of cement inside it.
    clear = ndimage.distance_transform_edt(~np.asarray(bone.array | lesion.array)).ravel()[voxels] > CLEAR_VOXELS
    systems: dict[int, Any] = {}
    entries = []
    for seconds, views in frames:
        estimates = _estimates(views, places, grid, distance, inside | bony, rng, systems)
        parts = np.array(
            [[x[where].sum() for where in (..., inside, bony, ~(inside | bony), clear)] for x in estimates]
        )
        total, within, bone_ml, leaked = (_amount(column) for column in (parts / 1000.0).T[:4])
        # A wrong scale makes no cement where there is none: the alarm asks the draws alone.
        alarm = float(np.percentile(parts[:, 4], LOW_PERCENT)) / 1000.0 > value("assumptions.cement_leak_threshold")
        entries.append(Entry(float(seconds), total, within, bone_ml, leaked, alarm))
    return Ledger(tuple(entries))


def _amount(samples: Array) -> Amount:
    low, middle, high = (float(v) for v in np.percentile(samples, [LOW_PERCENT, 50.0, 100.0 - LOW_PERCENT]))
    scale = value("assumptions.cement_ledger_scale_error")
    return Amount(middle, low * (1.0 - scale), high * (1.0 + scale))


def _estimates(
    views: Sequence[CementProjection],
    places: Points,
    grid: Grid,
    distance: Array,
    likely: Array,
    rng: np.random.Generator,
    systems: dict[int, Any],
) -> list[Array]:
    """Cement per voxel (mm³) for several starting guesses and draws of noise."""
    matrices, images, noises, seen = [], [], [], []
    for view in views:
        key = id(view.detector_from_patient)
        if key not in systems:
            systems[key] = (view.detector_from_patient, _system(view, places, grid))
        matrix, factor = systems[key][1]
        image = _binned(_filled(view), factor)
        matrices.append(matrix)
        images.append(image.ravel())
        noises.append(_noise(image))
        # Elsewhere the picture is noise: counting it would pour a film of cement over everything.
        seen.append(ndimage.binary_dilation(image > SEEN_SIGMA * noises[-1]).ravel())
    matrix = sparse.vstack(matrices).tocsr()
    data, cement = np.concatenate(images), np.concatenate(seen)
    sigma = np.concatenate([np.full(i.size, n) for i, n in zip(images, noises, strict=True)])
    full = grid.voxel_volume_ml * 1000.0
    guesses = (np.full(len(places), 0.1 * full), full * np.exp(-distance / 15.0), full * np.where(likely, 0.3, 0.01))
    found = []
    for guess in guesses:
        for n in range(REPLICATES):
            noisy = data + (sigma * rng.standard_normal(data.size) if n else 0.0)
            found.append(_spread(matrix, np.where(cement, np.maximum(noisy, 0.0), 0.0), guess, full))
    return found


def _spread(matrix: Any, data: Array, guess: Array, full: float) -> Array:
    """Expectation maximisation of voxel amounts that project to the data, none fuller than a voxel."""
    weight = np.asarray(matrix.sum(axis=0)).ravel()
    x = np.where(weight > 0, guess, 0.0)
    turned = matrix.T.tocsr()
    for _ in range(ITERATIONS):
        ratio = data / np.maximum(matrix @ x, TINY)
        x = np.minimum(x * (turned @ ratio) / np.maximum(weight, TINY), full)
    # The cap and the voxels' blur lose a few percent at sharp edges; the picture's integral does not.
    kept = float((matrix @ x).sum())
    return x * (float(data.sum()) / kept) if kept > 0 else x


def _noise(image: Array) -> float:
    """Spread of the pixels that are empty, from the negative side of the picture."""
    negative = -image[image < 0]
    return float(np.quantile(negative, NOISE_QUANTILE)) if negative.size > 10 else 1e-3


def _filled(view: CementProjection) -> Array:
    """The image with what is hidden filled in from beside it."""
    path = np.asarray(view.path_mm, dtype=np.float64)
    if view.hidden is None or not view.hidden.any():
        return path
    shown = (~view.hidden).astype(np.float64)
    weight = ndimage.gaussian_filter(shown, FILL_PIXELS)
    return np.where(view.hidden, ndimage.gaussian_filter(path * shown, FILL_PIXELS) / np.maximum(weight, TINY), path)


def _binned(image: Array, factor: int) -> Array:
    """Mean over blocks of `factor` pixels; what does not fill a block is cut off."""
    v, u = (n // factor for n in image.shape)
    return image[: v * factor, : u * factor].reshape(v, factor, u, factor).mean(axis=(1, 3))


def _system(view: CementProjection, places: Points, grid: Grid) -> tuple[Any, int]:
    """Sparse matrix from mm³ per voxel to mm of path per binned pixel, and the binning."""
    depth = np.linalg.norm(places - np.asarray(view.source_mm), axis=1)
    magnification = view.source_to_detector_mm / depth
    # Pixels at least as wide as a voxel's shadow, so that a voxel does not fall between them.
    factor = max(1, int(np.ceil(grid.spacing_mm[0] * float(magnification.max()) / view.pixel_mm)))
    v_count, u_count = (n // factor for n in view.path_mm.shape)
    pixels = (view.detector_from_patient.points(places) - (factor - 1) / 2.0) / factor
    low = np.floor(pixels).astype(np.int64)
    part = pixels - low
    rows, columns, values = [], [], []
    per_pixel = magnification**2 / (view.pixel_mm * factor) ** 2
    for du in (0, 1):
        for dv in (0, 1):
            u, v = low[:, 0] + du, low[:, 1] + dv
            share = np.abs(1 - du - part[:, 0]) * np.abs(1 - dv - part[:, 1])
            ok = (u >= 0) & (u < u_count) & (v >= 0) & (v < v_count)
            rows.append((v * u_count + u)[ok])
            columns.append(np.flatnonzero(ok))
            values.append((share * per_pixel)[ok])
    matrix = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(v_count * u_count, len(places)),
    )
    return matrix, factor


__all__ = [
    "Amount",
    "AttenuationCurve",
    "CementProjection",
    "Entry",
    "Ledger",
    "excess_attenuation",
    "keep_ledger",
]
