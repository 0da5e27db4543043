"""The pelvis model fitted to one CT: pose and modes on bone edges, then each bone alone, then free but smooth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy import ndimage

from sacroplasty.anatomy.body import METAL_HU
from sacroplasty.anatomy.pose import Pose
from sacroplasty.anatomy.shape_model import CAUDAL, HIP_LEFT, HIP_RIGHT, SACRUM, PelvisModel
from sacroplasty.anatomy.surface import Indices, profiles, vertex_normals
from sacroplasty.space import Points, Volume

# Step of the profiles along surface normals.
STEP_MM = 0.75
# Points on a surface are not independent: neighbours tell the same, and each errs by about 1.5 mm.
CORRELATED_POINTS = 45.0
MODE_LIMIT_SD = 3.0
ALL_PARTS = (SACRUM, HIP_LEFT, HIP_RIGHT, CAUDAL)


@dataclass(frozen=True)
class Round:
    """One round of the fit: search reach along normals, blur of the CT, iterations, modes, weight of the prior."""

    reach_mm: float
    blur_mm: float
    iterations: int
    modes: int
    prior: float
    every: int


FULL = (
    Round(14, 1.6, 6, 4, 3.0, 4),
    Round(14, 1.6, 6, 8, 3.0, 4),
    Round(9, 1.2, 8, 16, 2.0, 4),
    Round(6, 0.8, 8, 99, 1.5, 2),
    Round(4, 0.6, 8, 99, 1.0, 2),
)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted surface: vertices (n, 3) LPS mm; `seen`: share of them in the field; `agreement`: share on an edge.

    The vertices are the shape of `coefficients`, turned by `rotation` and moved by `shift_mm`.
    """

    vertices_mm: Points
    agreement: float
    seen: float
    coefficients: Points
    rotation: Points
    shift_mm: Points


class Images:
    """Blurred copies of one CT, metal filled with muscle, made once per blur."""

    def __init__(self, ct: Volume, muscle: float) -> None:
        values = np.asarray(ct.array, dtype=np.float32)
        metal = ndimage.binary_dilation(values > METAL_HU, iterations=2)
        self.values = np.where(metal, muscle, np.clip(values, -1024, 600)).astype(np.float32)
        self.ct, self.muscle_hu, self.made = ct, muscle, dict[float, Volume]()

    def blurred(self, blur_mm: float) -> Volume:
        """The CT (HU, up to 600, metal as muscle) under a Gaussian of this standard deviation."""
        if blur_mm not in self.made:
            sigma = blur_mm / self.ct.grid.spacing_mm[0]
            self.made[blur_mm] = Volume(ndimage.gaussian_filter(self.values, sigma, truncate=3), self.ct.grid)
        return self.made[blur_mm]


def edge_offsets(
    ct: Volume,
    points_mm: Points,
    normals: Points,
    reach_mm: float,
    edge_weight: Points,
    muscle: float,
    nearness: float = 0.5,
) -> tuple[Points, Points, npt.NDArray[np.bool_]]:
    """Per point: offset (mm) along the normal to the best drop from bone to soft tissue, its confidence, seen or not.

    The image scales itself: contrast is the 80th percentile of the drops found on the profiles.
    """
    found = profiles(ct, points_mm, normals, reach_mm + 3, STEP_MM, muscle - 100, muscle + 400)
    s, drop, seen = found.s_mm, found.drop, found.seen
    if np.count_nonzero(seen) < 50:
        return np.zeros(len(points_mm)), np.zeros(len(points_mm)), seen
    typical = float(np.clip(np.quantile(found.steepest[seen], 0.8), 12, 60))
    bone = float(np.clip(np.quantile(found.peak_hu[seen], 0.7) - muscle, 60, 350))
    threshold = muscle + float(np.clip(0.35 * bone, 30, 110))
    usable = (np.abs(s) <= reach_mm) & (drop > 0.15 * typical) & (found.brightest > threshold)
    worth = np.clip(drop / typical, 0, 1.2) - (0.6 * nearness * (s / (reach_mm + 1e-6)) ** 2).astype(np.float32)
    worth = np.where(usable, worth, np.float32(-9.0))
    rows, best = np.arange(len(drop)), worth.argmax(axis=1)
    before = drop[rows, np.clip(best - 1, 0, len(s) - 1)]
    peak, after = drop[rows, best], drop[rows, np.clip(best + 1, 0, len(s) - 1)]
    curve = before - 2 * peak + after
    flat = np.abs(curve) < 1e-6
    shift = np.where(flat, 0.0, np.clip(0.5 * (before - after) / np.where(flat, 1.0, curve), -0.5, 0.5))
    confidence = np.clip(peak / typical, 0, 1) * (worth[rows, best] > -5) * edge_weight * seen
    return (s[best] + shift * STEP_MM) * (confidence > 0), confidence, seen


def started(model: PelvisModel, pose: Pose) -> Fit:
    """The mean pelvis in a pose, its size given by the modes: where a fit begins."""
    size = model.mean_mm * (pose.scale - 1.0)
    power = np.einsum("nij,nij->j", model.modes_mm, model.modes_mm)
    b = np.clip(np.einsum("nij,ni->j", model.modes_mm, size) / power, -1.5, 1.5)
    return Fit(model.shape_mm(b) @ pose.rotation.T + pose.shift_mm, 0.0, 0.0, b, pose.rotation, pose.shift_mm)


def fitted_shape(
    images: Images, model: PelvisModel, start: Fit, rounds: tuple[Round, ...] = FULL, parts: tuple[int, ...] = ALL_PARTS
) -> Fit:
    """Pose and modes by iterated point-to-plane least squares under the Gaussian prior of the modes, coarse to fine.

    Only the vertices of `parts` look for edges; the modes carry the others along.
    """
    rotation, shift, b = start.rotation, start.shift_mm, start.coefficients.copy()
    muscle = images.muscle_hu
    agreement, share = 0.0, 0.0
    for stage in rounds:
        image = images.blurred(stage.blur_mm)
        rows = np.arange(0, len(model.mean_mm), stage.every)
        rows = rows[np.isin(model.part[rows], parts)]
        modes = min(stage.modes, model.mode_count)
        carried = np.ascontiguousarray(model.modes_mm[rows, :, :modes].transpose(1, 0, 2), dtype=np.float32)
        for _ in range(stage.iterations):
            points = model.shape_mm(b) @ rotation.T + shift
            normals = vertex_normals(points, model.faces)[rows]
            offset, confidence, seen = edge_offsets(
                image, points[rows], normals, stage.reach_mm, model.edge_weight[rows], muscle
            )
            centre = points.mean(axis=0)
            arm = np.cross(points[rows] - centre, normals)
            step = _least_squares(carried, arm, normals, rotation, offset, confidence, stage, b[:modes])
            turn = _rotation(step[:3])
            shift = turn @ (shift - centre) + centre + step[3:6]
            rotation = turn @ rotation
            b[:modes] = np.clip(b[:modes] + step[6:], -MODE_LIMIT_SD, MODE_LIMIT_SD)
        expected = seen & (model.edge_weight[rows] > 0.2)
        agreement = float((confidence[expected] > 0.3).mean()) if expected.any() else 0.0
        share = float(seen.mean())
    return Fit(model.shape_mm(b) @ rotation.T + shift, agreement, share, b, rotation, shift)


def _least_squares(
    carried: npt.NDArray[np.float32],
    arm: Points,
    normals: Points,
    rotation: Points,
    offset: Points,
    confidence: Points,
    stage: Round,
    coefficients: Points,
) -> Points:
    """Turn (3, rad), shift (3, mm) and change of coefficients that bring the points onto their edges.

    carried (3, n, modes): the modes at these points in the model's place.
    """
    modes = len(coefficients)
    weight = confidence / (1 + (offset / (0.5 * stage.reach_mm)) ** 2)
    own = (normals @ rotation).astype(np.float32)
    along = carried[0] * own[:, :1] + carried[1] * own[:, 1:2] + carried[2] * own[:, 2:]
    # The turn is scaled to 100 mm so that all unknowns have like size.
    jacobian = np.concatenate([arm / 100.0, normals, along], axis=1).astype(np.float32)
    weighted = jacobian * weight[:, None].astype(np.float32)
    matrix = (weighted.T @ jacobian).astype(np.float64)
    right = weighted.T.astype(np.float64) @ offset
    prior = np.r_[np.full(6, 1e-6 * weight.sum() + 1e-9), np.full(modes, stage.prior * CORRELATED_POINTS / stage.every)]
    matrix[np.diag_indices_from(matrix)] += prior
    right[6:] -= prior[6:] * coefficients
    step = np.linalg.solve(matrix, right)
    step[:3] /= 100.0
    return np.asarray(step)


def _rotation(vector: Points) -> Points:
    """Rotation matrix of a rotation vector (rad)."""
    angle = float(np.linalg.norm(vector))
    k = np.array([[0, -vector[2], vector[1]], [vector[2], 0, -vector[0]], [-vector[1], vector[0], 0]])
    if angle < 1e-9:
        return np.eye(3) + k
    return np.asarray(np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * k @ k)


def _averaging(faces: Indices, count: int) -> scipy.sparse.csr_matrix:
    """Matrix that replaces a vertex value by the mean of its neighbours'."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    adjacency = scipy.sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    degree = np.maximum(np.asarray(adjacency.sum(axis=1)).ravel(), 1)
    return scipy.sparse.csr_matrix(scipy.sparse.diags(1 / degree) @ adjacency)


def refined(images: Images, model: PelvisModel, fit: Fit) -> Points:
    """Vertices (n, 3) after an affine step per bone and free displacements along normals, ever less smooth."""
    image, muscle = images.blurred(0.6), images.muscle_hu
    points = _each_bone_affine(image, model, fit.vertices_mm.copy(), muscle)
    average = _averaging(model.faces, len(points))
    for reach_mm, smoothings, iterations in ((5, 60, 6), (4, 25, 6), (3, 8, 6)):
        for _ in range(iterations):
            normals = vertex_normals(points, model.faces)
            offset, confidence, _ = edge_offsets(image, points, normals, reach_mm, model.edge_weight, muscle, 0.8)
            wanted = np.clip(offset, -reach_mm, reach_mm)[:, None] * normals * confidence[:, None]
            # The constant keeps vertices without an edge from being carried away by far neighbours.
            field = np.concatenate([wanted, (confidence + 0.2)[:, None]], axis=1)
            for _ in range(smoothings):
                field = 0.5 * field + 0.5 * (average @ field)
            points = points + 0.6 * field[:, :3] / field[:, 3:]
    return points


def _each_bone_affine(image: Volume, model: PelvisModel, points: Points, muscle: float) -> Points:
    for reach_mm in (6, 5, 4):
        normals = vertex_normals(points, model.faces)
        offset, confidence, _ = edge_offsets(image, points, normals, reach_mm, model.edge_weight, muscle)
        for bone in ((SACRUM, CAUDAL), (HIP_LEFT,), (HIP_RIGHT,)):
            rows = np.flatnonzero(np.isin(model.part, bone))
            n, centre = normals[rows], points[rows].mean(axis=0)
            # 60 mm makes strain and shift unknowns of like size.
            arm = (points[rows] - centre) / 60.0
            weight = confidence[rows] / (1 + (offset[rows] / 3) ** 2)
            jacobian = np.concatenate([n, (n[:, :, None] * arm[:, None, :]).reshape(-1, 9)], axis=1)
            matrix = (jacobian * weight[:, None]).T @ jacobian + np.diag(np.r_[np.full(3, 10.0), np.full(9, 150.0)])
            step = np.linalg.solve(matrix, (jacobian * weight[:, None]).T @ offset[rows])
            points[rows] += step[:3] + arm @ step[3:].reshape(3, 3).T
    return points
