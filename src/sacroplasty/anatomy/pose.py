"""Where the pelvis lies in a CT: the mean shape's shell correlated with bright thin bone over turns and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy import ndimage

from sacroplasty.anatomy.body import CoarseBody
from sacroplasty.anatomy.shape_model import HIP_LEFT, HIP_RIGHT, SACRUM, PelvisModel
from sacroplasty.anatomy.surface import Floats
from sacroplasty.space import Grid, Points

SEARCH_MM = 6.0
# Bright blobs wider than this (contrast medium, stool, bladder) are not cortex.
BLOB_MM = 15.0
# Turns about the left-right axis and sizes tried first; ascent around the best follows.
TILTS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
SIZES = (0.88, 1.0, 1.12)
# Two hypotheses nearer than this are one.
DISTINCT_MM = 25.0


@dataclass(frozen=True, eq=False)
class Pose:
    """A similarity: `points @ rotation.T * scale + shift_mm`; `score` orders hypotheses of one search."""

    rotation: Points
    shift_mm: Points
    scale: float = 1.0
    score: float = 0.0

    def moved(self, points_mm: Points) -> Points:
        """Model points (n, 3) in the patient."""
        return np.asarray(points_mm * self.scale @ self.rotation.T + self.shift_mm)


def turn(angles_deg: npt.ArrayLike) -> Points:
    """Rotation matrix: about left (x), then posterior (y), then superior (z)."""
    x, y, z = np.radians(np.asarray(angles_deg, dtype=np.float64))
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def muscle_hu(body: CoarseBody) -> float:
    """The scan's own muscle level: the mode of soft tissue above fat, HU."""
    counts, edges = np.histogram(np.asarray(body.ct.array)[body.inside], np.arange(-20, 140, 4.0))
    return float(edges[ndimage.gaussian_filter1d(counts.astype(float), 2).argmax()] + 2)


def _shell_evidence(body: CoarseBody, muscle: float) -> tuple[Floats, Grid]:
    """Cortex-like brightness (zero mean in the body, zero elsewhere) on the search grid."""
    values = np.asarray(body.ct.array)
    bright = np.clip((values - muscle - 60) / 160, 0, 1) * body.inside
    bright[ndimage.binary_dilation(body.metal, iterations=3)] = 0
    spacing = body.ct.grid.spacing_mm[0]
    width = round(BLOB_MM / spacing) | 1
    thin = np.minimum(bright - 0.8 * ndimage.grey_opening(bright, (width,) * 3), 1).astype(np.float32)
    factor = round(SEARCH_MM / spacing)
    block = (factor,) * 3
    grid = body.ct.grid.binned(block)
    used = tuple(slice(0, n * factor) for n in grid.shape)

    def pooled(array: npt.NDArray[np.generic]) -> Floats:
        shape = [n for count in grid.shape for n in (count, factor)]
        return np.asarray(array[used].reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float32)

    inside = pooled((body.inside & body.scanned).astype(np.float32)) > 0.5
    found = pooled(ndimage.gaussian_filter(thin, 0.8))
    found = np.minimum(found / max(float(np.quantile(found[inside], 0.985)), 1e-3), 1.2)
    return np.where(inside, found - found[inside].mean(), 0).astype(np.float32), grid


def _template(model: PelvisModel, rotation: Points, scale: float) -> tuple[Floats, Points]:
    """Shell of the mean bones (positive) and the soft tissue around them (negative), zero mean; and its low corner."""
    vertices = model.mean_mm * scale @ rotation.T
    h = SEARCH_MM
    low = np.floor(vertices.min(axis=0) / h) * h - 2 * h
    grid = Grid.aligned(low, vertices.max(axis=0) + 2 * h, h)
    bone = np.zeros(grid.shape, bool)
    for part in (SACRUM, HIP_LEFT, HIP_RIGHT):
        bone |= model.part_mask(vertices, part, grid)
    inside_mm, outside_mm = edt.edt(bone) * h, edt.edt(~bone) * h
    around = (outside_mm > 0.9 * h) & (outside_mm < 18)
    # L5 above and the femoral heads beside are bone too: no penalty for brightness there.
    centres = grid.centres_mm()
    plate = vertices[model.endplate].mean(axis=0)
    around &= ~((np.abs(centres[..., 0] - plate[0]) < 45) & (centres[..., 2] > plate[2] - 12))
    for socket in model.acetabula:
        around &= np.linalg.norm(centres - vertices[socket].mean(axis=0), axis=-1) > 34
    template = np.where(bone, np.where(inside_mm < 1.5 * h, 1.0, 0.2), 0.0)
    template[around] = -0.9 * template[bone].sum() / max(np.count_nonzero(around), 1)
    return template.astype(np.float32), low


class _Search:
    """Correlation of templates with one scan's evidence; keeps the scan's spectrum."""

    def __init__(self, body: CoarseBody, muscle: float, model: PelvisModel) -> None:
        evidence, self.grid = _shell_evidence(body, muscle)
        self.model = model
        self.pad = 30
        self.size = [scipy.fft.next_fast_len(n + 2 * self.pad, real=True) for n in evidence.shape]
        self.spectrum = scipy.fft.rfftn(evidence, self.size, workers=2)

    def best_shift(self, angles_deg: tuple[float, float, float], scale: float) -> tuple[float, Points]:
        """Highest score and its shift for one turn and size."""
        template, low = _template(self.model, turn(angles_deg), scale)
        window = tuple(slice(0, s) for s in self.size)
        padded = scipy.fft.rfftn(template[window], self.size, workers=2)
        score = scipy.fft.irfftn(self.spectrum * np.conj(padded), self.size, workers=2)
        place = np.unravel_index(int(np.argmax(score)), score.shape)
        # Beyond the evidence plus padding an index is a negative shift.
        steps = [p if p < n + self.pad - t // 2 else p - s
                 for p, n, t, s in zip(place, self.grid.shape, template.shape, self.size, strict=True)]  # fmt: skip
        corner = self.grid.patient_from_voxel.points(steps)
        return float(score[place]) / float(np.sqrt((template**2).sum())), corner - low


def pose_hypotheses(body: CoarseBody, muscle: float, model: PelvisModel, keep: int = 4) -> list[Pose]:
    """The most likely poses of the mean pelvis, best first."""
    search = _Search(body, muscle, model)
    tried = []
    for tilt in TILTS_DEG:
        for size in SIZES:
            score, shift = search.best_shift((tilt, 0.0, 0.0), size)
            tried.append((score, (tilt, 0.0, 0.0), size, shift))
    tried.sort(key=lambda t: -t[0])
    distinct: list[tuple[float, tuple[float, float, float], float, Points]] = []
    for trial in tried:
        if all(np.linalg.norm(trial[3] - other[3]) > DISTINCT_MM for other in distinct) and len(distinct) < keep:
            distinct.append(trial)
    climbed = [_climbed(search, trial) for trial in distinct]
    climbed.sort(key=lambda t: -t[0])
    return [Pose(turn(angles), shift, size, score) for score, angles, size, shift in climbed]


def _climbed(
    search: _Search, start: tuple[float, tuple[float, float, float], float, Points]
) -> tuple[float, tuple[float, float, float], float, Points]:
    """Coordinate ascent over turns and size around one hypothesis."""
    best = start
    for axis in (0, 1, 2):
        for step in (-10.0, 10.0):
            angles = list(best[1])
            angles[axis] += step
            trial = (angles[0], angles[1], angles[2])
            score, shift = search.best_shift(trial, best[2])
            if score > best[0]:
                best = (score, trial, best[2], shift)
    for change in (-0.06, 0.06):
        score, shift = search.best_shift(best[1], best[2] + change)
        if score > best[0]:
            best = (score, best[1], best[2] + change, shift)
    return best
