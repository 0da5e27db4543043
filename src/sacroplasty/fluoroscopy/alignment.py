"""Shots at one resolution against the bone of the CT: the patient's pose as a least-squares problem.

Six numbers place the patient. Where the C-arm's geometry is not trusted, one more scales the source-detector distance
of the machine, common to all its shots, and six per further shot correct its pose against the first; priors hold them.
The distance is well determined by two crossing shots: either one shows how far off the patient is for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import Image, line_integrals
from sacroplasty.fluoroscopy.radiograph import Radiograph
from sacroplasty.fluoroscopy.similarity import Likeness, binned
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import Point
from sacroplasty.space import Frame, Transform

Vector = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

# Steps of the numeric Jacobian: degrees, mm, and a share of the source-detector distance. Small: half a step's bend of
# the features times what the fit leaves over is a pull on the gradient, 0.2 mm of it at steps ten times these.
_STEP = np.array([0.015, 0.015, 0.015, 0.025, 0.025, 0.025])
_SCALE_STEP = 0.0002
# The detector is never sought nearer than this, as a share of the source's distance from the isocentre.
_NEAREST_DETECTOR = 1.05
# A step shorter than this, in degrees, mm or a share of 1/50, ends the descent.
_SHORTEST = 0.01


@dataclass(frozen=True)
class Unknown:
    """What is sought beside the pose: the machine's distance, and each further shot's pose against the first."""

    scale: bool = False
    poses: bool = False

    def count(self, shots: int) -> int:
        """Numbers in all."""
        return 6 + self.scale + 6 * (shots - 1) * self.poses


def rigid(parameters: npt.ArrayLike, centre_mm: npt.ArrayLike) -> Transform:
    """Patient to patient: rotation vector in degrees about the centre, then translation in mm (6,)."""
    p, centre = np.asarray(parameters, dtype=np.float64), np.asarray(centre_mm, dtype=np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(p[:3], degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + p[3:6]
    return Transform(Frame.PATIENT, Frame.PATIENT, matrix)


def posed(p: Vector, view: View, n: int, unknown: Unknown, start: Transform, centre: Point) -> View:
    """The n-th shot's view under parameters."""
    rig = rigid(p[:6], centre) @ start
    if unknown.scale:
        # A step tried too far must still be a machine: its cost then tells that it was too far.
        nearest = _NEAREST_DETECTOR * view.carm.source_isocentre_mm
        distance = max(float(view.carm.source_detector_mm * (1.0 + p[6])), nearest)
        view = view.with_(carm=replace(view.carm, source_detector_mm=distance))
    if unknown.poses and n:
        first = 6 * n + unknown.scale
        rig = rigid(p[first : first + 6], centre) @ rig
    return view.registered(rig)


class Alignment:
    """Shots binned to about `pixels` across, against the bone coarsened to match."""

    def __init__(
        self,
        bone: PackedVolume,
        shots: Sequence[Radiograph],
        start: Transform,
        centre: Point,
        *,
        pixels: int,
        unknown: Unknown,
    ) -> None:
        self.start, self.centre, self.unknown = start, centre, unknown
        self.views: list[View] = []
        self.likenesses: list[Likeness] = []
        for shot in shots:
            factor = _factor(shot.view, pixels)
            self.views.append(shot.view.with_(carm=shot.view.carm.binned(factor), rig_from_patient=None))
            self.likenesses.append(Likeness(binned(shot.attenuation, factor)))
        pixel = max(v.carm.isocentre_pixel_mm for v in self.views)
        # Voxels up to the pixel's size, and no finer than it takes: edges keep their place in a block mean.
        self.volume = bone.coarser(max(1, int(1.7 * pixel / min(bone.grid.spacing_mm))))
        self.step_mm = max(0.5, 0.8 * pixel)
        self.count = unknown.count(len(shots))

    def image(self, p: Vector, n: int) -> Image:
        """The bone as the n-th shot would show it."""
        view = posed(p, self.views[n], n, self.unknown, self.start, self.centre)
        return line_integrals(self.volume, view, self.step_mm)

    def mismatch(self, p: Vector) -> float:
        """One minus the correlation of the gradients, mean over the shots."""
        return float(np.mean([like.mismatch(self.image(p, n)) for n, like in enumerate(self.likenesses)]))

    def agreement(self, p: Vector) -> float:
        """Least share over the shots of patches whose edges lie where the shot has them."""
        return min(like.agreement(self.image(p, n)) for n, like in enumerate(self.likenesses))

    def differences(self, p: Vector) -> list[Features]:
        """Feature differences of every shot."""
        return [like.difference(self.image(p, n)) for n, like in enumerate(self.likenesses)]

    @property
    def prior(self) -> Vector:
        """Standard deviation of every number: none for the pose."""
        sd = np.full(self.count, np.inf)
        if self.unknown.scale:
            sd[6] = value("assumptions.registration_scale_sd")
        if self.unknown.poses:
            angle, shift = value("assumptions.registration_angle_sd"), value("assumptions.registration_shift_sd")
            sd[6 + self.unknown.scale :] = np.tile([angle] * 3 + [shift] * 3, len(self.views) - 1)
        return sd

    @property
    def steps(self) -> Vector:
        """Steps of the numeric Jacobian."""
        scale = [_SCALE_STEP] * self.unknown.scale
        return np.concatenate([_STEP, scale, np.tile(_STEP, (len(self.views) - 1) * self.unknown.poses)])

    def _moves(self, index: int, n: int) -> bool:
        """Whether a number changes the n-th shot's image."""
        shared = 6 + self.unknown.scale
        return index < shared or 1 + (index - shared) // 6 == n

    def jacobians(self, p: Vector, differences: list[Features]) -> list[Features]:
        """Derivatives (features, numbers) of every shot's differences."""
        found = []
        for n, like in enumerate(self.likenesses):
            columns = np.zeros((self.count, len(differences[n])), dtype=np.float32)
            for index, step in enumerate(self.steps):
                if self._moves(index, n):
                    moved = p.copy()
                    moved[index] += step
                    columns[index] = (like.difference(self.image(moved, n)) - differences[n]) / np.float32(step)
            found.append(columns.T)
        return found


def _factor(view: View, pixels: int) -> int:
    """The coarsest binning that leaves at least `pixels` columns and divides the detector."""
    carm = view.carm
    fitting = [f for f in range(1, max(carm.columns // pixels, 1) + 1) if carm.rows % f == 0 and carm.columns % f == 0]
    return max(fitting)


@dataclass(frozen=True)
class Fit:
    """Where a descent ended: numbers, feature differences and derivatives there, and the scale of a difference."""

    p: Vector
    differences: list[Features]
    jacobians: list[Features]
    doubt: float


def _trust(difference: Features, doubt: float) -> Features:
    """Square roots of Cauchy weights: what the CT does not have (gas, skin, needle, cement) must not pull."""
    return np.asarray(1.0 / np.sqrt(1.0 + (difference / np.float32(doubt)) ** 2), dtype=np.float32)


def _noise(differences: list[Features], doubt: float, alignment: Alignment) -> float:
    """Standard deviation of a feature if every block of image counts as one measurement."""
    squares = sum(float(((d * _trust(d, doubt)) ** 2).sum()) for d in differences)
    return float(np.sqrt(squares / sum(like.block_count for like in alignment.likenesses)))


def refined(alignment: Alignment, p: Vector, *, steps: int, tolerance: float = _SHORTEST) -> Fit:
    """Robust least squares from numbers `p` (count,): at most so many steps, never one that makes the fit worse.

    Gauss-Newton sees too much curvature where much is left over (clutter, noise), and creeps. So it only gives the
    first step; after each one the curvature learns from how the gradient has changed (Broyden, Fletcher, Goldfarb,
    Shanno), and a step's length comes from the parabola through the cost and its slope here and the cost one step on.
    tolerance: the shortest step worth taking.
    """
    differences = alignment.differences(p)
    doubt = max(float(np.sqrt(np.mean([np.mean(d**2) for d in differences]))), 1e-9)
    noise = _noise(differences, doubt, alignment)
    cost = _cost(alignment, p, differences, doubt, noise)
    inverse, size = 1.0 / alignment.prior**2, np.where(alignment.steps == _SCALE_STEP, 0.02, 1.0)
    curvature, gone, before = np.zeros((0, 0)), np.zeros(alignment.count), np.zeros(alignment.count)
    for _ in range(steps):
        found = alignment.jacobians(p, differences)
        hessian, gradient = _normal(found, differences, doubt, noise)
        gradient += inverse * p
        if curvature.size:
            curvature = _learned(curvature, gone, gradient - before)
        else:
            curvature = hessian + np.diag(inverse + 1e-4 * np.diag(hessian))
        before = gradient
        step = -np.linalg.solve(curvature, gradient)
        slope, share = 2.0 * float(gradient @ step), 1.0
        best = (cost, p, differences)
        for _ in range(3):
            tried = alignment.differences(p + share * step)
            there = _cost(alignment, p + share * step, tried, doubt, noise)
            if there < best[0]:
                best = (there, p + share * step, tried)
            bend = (there - cost - share * slope) / share**2
            longest = share / 4 if there >= cost else 3.0
            wanted = min(-slope / (2 * bend), longest) if bend > 0 else longest
            if there < cost and abs(wanted - share) < 0.3 * share:
                break
            share = wanted
        gone = best[1] - p
        cost, p, differences = best
        if np.abs(gone / size).max() < tolerance:
            break
    return Fit(p, differences, found, doubt)


def _learned(curvature: npt.NDArray[np.float64], gone: Vector, change: Vector) -> npt.NDArray[np.float64]:
    """The curvature (n, n) that explains the gradient's change (n,) over a step (n,); as it was where it bends down."""
    along, bent = float(gone @ change), curvature @ gone
    if along <= 1e-3 * float(gone @ bent):
        return curvature
    return np.asarray(
        curvature + np.outer(change, change) / along - np.outer(bent, bent) / float(gone @ bent), dtype=np.float64
    )


def _cost(alignment: Alignment, p: Vector, differences: list[Features], doubt: float, noise: float) -> float:
    part = np.float32(1.0 / doubt)
    total = sum(float(np.log1p((d * part) ** 2).sum()) for d in differences)
    return doubt**2 * total / noise**2 + float(((p / alignment.prior) ** 2).sum())


def _normal(
    jacobians: list[Features], differences: list[Features], doubt: float, noise: float
) -> tuple[npt.NDArray[np.float64], Vector]:
    """Hessian and gradient of half the squared error over the noise."""
    count = jacobians[0].shape[1]
    hessian, gradient = np.zeros((count, count)), np.zeros(count)
    for jacobian, difference in zip(jacobians, differences, strict=True):
        weight = _trust(difference, doubt) / np.float32(noise)
        weighted = jacobian * weight[:, None]
        hessian += weighted.T @ weighted
        gradient += weighted.T @ (difference * weight)
    return hessian, gradient


def covariance(alignment: Alignment, fit: Fit) -> npt.NDArray[np.float64]:
    """Sandwich estimate (count, count): curvature, and the scatter of blocks of image that may correlate inside."""
    noise = _noise(fit.differences, fit.doubt, alignment)
    hessian, _gradient = _normal(fit.jacobians, fit.differences, fit.doubt, noise)
    inverse = np.diag(1.0 / alignment.prior**2)
    scatter = inverse.copy()
    for jacobian, difference, like in zip(fit.jacobians, fit.differences, alignment.likenesses, strict=True):
        weight = _trust(difference, fit.doubt) / np.float32(noise)
        pull = jacobian * (weight**2 * difference)[:, None]
        parts = np.stack([np.bincount(like.blocks, column, like.block_count) for column in pull.T], axis=1)
        parts -= parts.mean(axis=0)
        scatter += parts.T @ parts
    curvature = np.linalg.inv(hessian + inverse)
    return np.asarray(curvature @ scatter @ curvature)
