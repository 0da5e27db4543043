"""Is the fitted sacrum the sacrum? Fits from other poses and on the neighbouring vertebrae are tried as well.

Hip bones hardly tell how high the sacrum sits between them (15 to 20 mm in the model's own subjects), the shape's modes
reach a whole vertebra, and edges look alike: S1 laid on L5, or a whole sacrum folded into its own roof, is a minimum of
the fit like any other. What tells them apart is brightness beside edges: the right fit has bone inside and none around.
S1 laid on S2 has that as well; but above it lies more sacrum, and above the right one a disc.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.lumbar import lumbosacral_disc
from sacroplasty.anatomy.morphology import within
from sacroplasty.anatomy.shape_fit import FULL, Fit, Images, edge_offsets, fitted_shape
from sacroplasty.anatomy.shape_model import CAUDAL, HIP_LEFT, HIP_RIGHT, SACRUM, PelvisModel
from sacroplasty.anatomy.surface import vertex_normals
from sacroplasty.anatomy.surroundings import endplate_plane
from sacroplasty.space import Points

# From endplate to endplate of L5 and S1; a fit within `SAME_MM` of the best is no other hypothesis.
VERTEBRA_MM, SAME_MM = 30.0, 12.0
# Fits whose sacra are on average this near to each other end in one place.
MET_MM = 4.0
# Every how many vertices tell the displaced shape, and the noise that lets it follow the displacement (mm²).
EVERY, NOISE_MM2, ROUNDS = 8, 45.0, 6
COEFFICIENT_LIMIT = 3.0
# Share of the coefficients kept where the whole pelvis is moved.
EASED = 0.3
# A moved fit that leads by less than this share tells nothing: the pelvis stays where it was found as a whole.
UNSURE_LEAD = 0.05
# How often the neighbours of a better neighbour are tried in turn.
STEPS = 2
OWN = (SACRUM, CAUDAL)
# What surrounds the sacrum: this far from it (partial volume left out), off the hip bones, and below L5.
AROUND_MM, OFF_HIPS_MM, DISC_MM, COLUMN_MM = (2.5, 14.0), 3.0, 8.0, 45.0
BLUR_MM = 0.8
# An edge this far (mm, one standard deviation) from the fitted vertex counts little for the sacrum's own score.
NEAR_MM, REACH_MM = 2.0, 4.0
# A fit without a disc above it may still be right, for discs degenerate and fuse: what is left of its score then.
DISCLESS = 0.6
# The part of the CT in which a disc is looked for reaches this far from the endplate's middle.
DISC_FIELD_MM = 45.0
# HU classes of the two histograms, and fewer voxels than this tell nothing.
HU_EDGES, LEAST_VOXELS = np.arange(-200.0, 601.0, 20.0), 500


@dataclass(frozen=True, eq=False)
class LevelChoice:
    """The best of the fits, its score 0..1 (`level_score`), and how near another height comes to it, as a score.

    What the disc tells settles which fit is taken, but a doubt that edges and brightness leave remains one: the rival
    is the nearest by either score, with the disc or without.
    """

    fit: Fit
    score: float
    runner_up: float


def best_level(images: Images, model: PelvisModel, *fits: Fit) -> LevelChoice:
    """The best of the fits, or of those with the sacrum a vertebra higher or lower, by `level_score` and a disc above.

    Every fit is continued by the sacrum alone: hip bones that are cut off, or unlike any in the model, do not hold it.
    A sacrum moved to another height must lead by UNSURE_LEAD.
    """
    tried = [_continued(images, model, fit) for fit in fits]
    scores = [_scores(images, model, fit) for fit in tried]
    best = -1
    for _ in range(STEPS):
        if best == _first(scores):
            break
        best = _first(scores)
        for step in (-VERTEBRA_MM, VERTEBRA_MM):
            for start, rounds in ((displaced(model, tried[best], step), FULL[2:]),
                                  (_moved(model, tried[best], step), FULL[1:])):  # fmt: skip
                fit = fitted_shape(images, model, start, rounds)
                # Most come back to where they were moved from.
                if len(distinct([*tried, fit], model)) > len(distinct(tried, model)):
                    tried.append(_continued(images, model, fit))
                    scores.append(_scores(images, model, tried[-1]))
    best, unmoved = _first(scores), _first(scores[: len(fits)])
    if scores[best][1] * (1.0 - UNSURE_LEAD) < scores[unmoved][1]:
        near = [_apart_mm(model, one, tried[unmoved]) <= SAME_MM for one in tried]
        best = _first([s if here else (0.0, -1.0) for s, here in zip(scores, near, strict=True)])
    away = [_apart_mm(model, one, tried[best]) > SAME_MM for one in tried]
    nearness = (np.array(scores) / np.maximum(scores[best], 1e-9)).max(axis=1)
    return LevelChoice(tried[best], scores[best][0], scores[best][0] * float(nearness[away].max(initial=0.0)))


def _scores(images: Images, model: PelvisModel, fit: Fit) -> tuple[float, float]:
    """The fit's `level_score`, and the same with what the disc above tells."""
    score = level_score(images, model, fit.vertices_mm)
    return score, score * (DISCLESS + (1.0 - DISCLESS) * disc_above(images, model, fit.vertices_mm))


def _first(scores: list[tuple[float, float]]) -> int:
    """The place of the best score with the disc."""
    return int(np.argmax([with_disc for _, with_disc in scores]))


def distinct(fits: list[Fit], model: PelvisModel) -> list[Fit]:
    """The fits without those whose sacrum lies where that of an earlier one does."""
    own = np.isin(model.part, OWN)
    kept: list[Fit] = []
    for fit in fits:
        off = (np.linalg.norm((fit.vertices_mm - other.vertices_mm)[own], axis=1).mean() for other in kept)
        if all(away > MET_MM for away in off):
            kept.append(fit)
    return kept


def _continued(images: Images, model: PelvisModel, fit: Fit) -> Fit:
    """The fit with its sacrum, and only that, led on by its own edges; the hip bones stay where they were found."""
    own = fitted_shape(images, model, fit, FULL[2:], OWN)
    vertices = np.where(np.isin(model.part, OWN)[:, None], own.vertices_mm, fit.vertices_mm)
    return replace(own, vertices_mm=vertices, agreement=fit.agreement, seen=fit.seen)


def level_score(images: Images, model: PelvisModel, vertices_mm: Points) -> float:
    """How surely the fitted sacrum is one, 0..1: its edges' agreement times its separation from what is around."""
    return sacral_score(images, model, vertices_mm) * separation(images, model, vertices_mm)


def disc_above(images: Images, model: PelvisModel, vertices_mm: Points) -> float:
    """How clearly (0..1) a disc lies above the fitted S1; 1 where the scan ends before it, which tells nothing."""
    centre, up = endplate_plane(model, vertices_mm)
    ct = images.ct.cropped(images.ct.grid.box_around(centre[None], DISC_FIELD_MM))
    disc = lumbosacral_disc(ct, centre, up)
    return 1.0 if disc is None else disc.clearness


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


def separation(images: Images, model: PelvisModel, vertices_mm: Points) -> float:
    """How well HU tell the inside of the fitted sacrum from what lies around it, 0..1.

    Jensen-Shannon divergence (bit) of the two histograms (Lin 1991, IEEE TIT 37:145); whether bone is brighter or
    darker than its surroundings does not matter. The lumbar column and the hip bones are no surroundings.
    """
    ct = images.blurred(BLUR_MM)
    own = vertices_mm[np.isin(model.part, OWN)]
    corners = np.array([own.min(axis=0) - AROUND_MM[1], own.max(axis=0) + AROUND_MM[1]])
    ct = ct.cropped(ct.grid.box_around(corners))
    grid, spacing = ct.grid, ct.grid.spacing_mm[0]
    masks = [model.part_mask(vertices_mm, part, grid) for part in (SACRUM, CAUDAL, HIP_LEFT, HIP_RIGHT)]
    sacrum, hips = masks[0] | masks[1], masks[2] | masks[3]
    seen = np.asarray(ct.array) > -400
    inside = sacrum & seen
    if np.count_nonzero(inside) < LEAST_VOXELS:
        return 0.0
    around = within(sacrum, AROUND_MM[1] / spacing) & ~within(sacrum, AROUND_MM[0] / spacing) & seen
    around &= ~within(hips, OFF_HIPS_MM / spacing)
    centre, up = endplate_plane(model, vertices_mm)
    place = grid.centres_mm() - centre
    height = place @ up
    beside = np.sqrt(np.maximum((place**2).sum(axis=-1) - height**2, 0))
    around &= ~((height > DISC_MM) & (beside < COLUMN_MM))
    return _divergence(np.asarray(ct.array)[inside], np.asarray(ct.array)[around])


def _divergence(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    low, high = HU_EDGES[0], HU_EDGES[-1]
    counts = [np.histogram(np.clip(values, low, high - 1), HU_EDGES)[0] + 1.0 for values in (one, other)]
    p, q = (c / c.sum() for c in counts)
    middle = (p + q) / 2
    return float(((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2)


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
