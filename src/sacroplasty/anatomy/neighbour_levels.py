"""Is the fitted sacrum the sacrum? The neighbouring vertebrae look alike to edges, so they are tried as well.

Hip bones hardly tell how high the sacrum sits between them (15 to 20 mm in the model's own subjects), and the shape's
modes reach a whole vertebra: S1 laid on L5, or S2 on S1, is a minimum of the fit like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sacroplasty.anatomy.shape_fit import FULL, Fit, Images, edge_offsets, fitted_shape
from sacroplasty.anatomy.shape_model import CAUDAL, SACRUM, PelvisModel
from sacroplasty.anatomy.surface import vertex_normals
from sacroplasty.anatomy.surroundings import endplate_plane
from sacroplasty.space import Points

# From endplate to endplate of L5 and S1; a fit within `SAME_MM` of the best is no other hypothesis.
VERTEBRA_MM, SAME_MM = 30.0, 12.0
# An edge this far (mm, one standard deviation) from the fitted vertex counts little for the sacrum's own score.
NEAR_MM, REACH_MM, BLUR_MM = 2.0, 4.0, 0.8
# Every how many vertices tell the displaced shape, and the noise that lets it follow the displacement (mm²).
EVERY, NOISE_MM2, ROUNDS = 8, 45.0, 6
COEFFICIENT_LIMIT = 3.0
# Share of the coefficients kept where the whole pelvis is moved.
EASED = 0.3


@dataclass(frozen=True, eq=False)
class LevelChoice:
    """The best of the fits one vertebra apart, its score 0..1 on the sacrum's own edges, and the next best score."""

    fit: Fit
    score: float
    runner_up: float


def best_level(images: Images, model: PelvisModel, fit: Fit) -> LevelChoice:
    """The fit, or one with the sacrum a vertebra higher or lower where the sacrum's own edges agree better with it."""
    fits = [fit]
    for step in (-VERTEBRA_MM, VERTEBRA_MM):
        fits.append(fitted_shape(images, model, displaced(model, fit, step), FULL[2:]))
        fits.append(fitted_shape(images, model, _moved(model, fit, step), FULL[1:]))
    scores = [sacral_score(images, model, one.vertices_mm) for one in fits]
    best = int(np.argmax(scores))
    others = [s for one, s in zip(fits, scores, strict=True) if _apart_mm(model, one, fits[best]) > SAME_MM]
    return LevelChoice(fits[best], scores[best], max(others, default=0.0))


def sacral_score(images: Images, model: PelvisModel, vertices_mm: Points) -> float:
    """How well the seen vertices of S1 to S3 lie on edges of their own, 0..1."""
    normals = vertex_normals(vertices_mm, model.faces)
    weight = model.edge_weight
    offset, confidence, seen = edge_offsets(
        images.blurred(BLUR_MM), vertices_mm, normals, REACH_MM, weight, images.muscle_hu
    )
    own = (model.part == SACRUM) & seen & (weight > 0.3)
    if not own.any():
        return 0.0
    return float((confidence * np.exp(-((offset / NEAR_MM) ** 2)))[own].mean() / weight[own].mean())


def _apart_mm(model: PelvisModel, one: Fit, other: Fit) -> float:
    centre, up = endplate_plane(model, other.vertices_mm)
    return abs(float((endplate_plane(model, one.vertices_mm)[0] - centre) @ up))


def _moved(model: PelvisModel, fit: Fit, step_mm: float) -> Fit:
    """The whole pelvis moved along its endplate's normal, its shape eased towards the mean: where the hip bones are cut
    off they do not hold the sacrum.
    """
    shift = fit.shift_mm + step_mm * endplate_plane(model, fit.vertices_mm)[1]
    b = EASED * fit.coefficients
    return Fit(model.shape_mm(b) @ fit.rotation.T + shift, 0.0, 0.0, b, fit.rotation, shift)


def displaced(model: PelvisModel, fit: Fit, step_mm: float) -> Fit:
    """The model's shape that comes nearest to the fitted hips with the sacrum moved along its endplate's normal."""
    target = fit.vertices_mm.copy()
    target[np.isin(model.part, (SACRUM, CAUDAL))] += step_mm * endplate_plane(model, fit.vertices_mm)[1]
    rows = np.arange(0, len(target), EVERY)
    modes, wanted = model.modes_mm[rows], target[rows]
    matrix = np.einsum("nij,nik->jk", modes, modes) + NOISE_MM2 * np.eye(model.mode_count)
    b, rotation, shift = fit.coefficients, fit.rotation, fit.shift_mm
    for _ in range(ROUNDS):
        rotation, shift = _rigid(model.shape_mm(b)[rows], wanted)
        off = (wanted - shift) @ rotation - model.mean_mm[rows]
        b = np.linalg.solve(matrix, np.einsum("nij,ni->j", modes, off)).clip(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)
    return Fit(model.shape_mm(b) @ rotation.T + shift, 0.0, 0.0, b, rotation, shift)


def _rigid(source: Points, target: Points) -> tuple[Points, Points]:
    """Rotation and shift that bring points (n, 3) nearest to others (Kabsch)."""
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((source - middle).T @ (target - aim))
    rotation = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return np.asarray(rotation), np.asarray(aim - rotation @ middle)
