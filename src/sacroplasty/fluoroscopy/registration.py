"""Where the patient of the CT lies in the C-arm's world, from two (one, or more) shots.

Coarse global search on binned shots, then damped least squares on finer ones; the bone of the CT is the moving image.
With calibrated geometry six numbers are sought. Without, each further shot's pose against the first and every shot's
source-detector distance are sought too, held by priors. A quality gate judges every result; where it fails the search
starts again elsewhere, and what never passes says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import line_integrals
from sacroplasty.fluoroscopy.radiograph import Radiograph
from sacroplasty.fluoroscopy.search import Search, Vector, minimised
from sacroplasty.fluoroscopy.similarity import Likeness, binned
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Frame, Transform, Volume, readonly

# Steps of the numeric Jacobian: degrees, mm, and a share of the source-detector distance.
_STEP = np.array([0.15, 0.15, 0.15, 0.25, 0.25, 0.25])
_SCALE_STEP = 0.002
_COARSE_PIXELS, _FINE_PIXELS = 64, 128
_ITERATIONS = 14
# Feature differences beyond this, in units of a feature's mean size, are trusted less and less (Cauchy).
_DOUBT = 1.0


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the patient lies.

    `views` are the shots' views with what was found in them: use them to project and to triangulate. `rig_from_patient`
    carries CT coordinates (LPS mm) to those the nominal angles belong to. `covariance` (6, 6) is of the rotation vector
    in degrees and the translation in mm about `centre_mm`. `mismatch` is one minus the correlation of the gradients;
    `accepted` tells whether the gate passed, `restarts` how often it had to start again.
    """

    views: tuple[View, ...]
    rig_from_patient: Transform
    centre_mm: Point
    covariance: npt.NDArray[np.float64]
    mismatch: float
    accepted: bool
    restarts: int
    calibrated: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", readonly(self.covariance))

    def covariance_at(self, point_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Covariance (3, 3) in mm² of where a patient point (3,) is placed by the registration."""
        arm = np.asarray(point_mm, dtype=np.float64) - np.asarray(self.centre_mm)
        x, y, z = np.radians(arm)
        lever = np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
        jacobian = np.hstack([lever, np.eye(3)])
        return np.asarray(jacobian @ self.covariance @ jacobian.T)

    @property
    def sentence(self) -> str:
        """The result in words."""
        error = float(np.sqrt(np.trace(self.covariance_at(self.centre_mm))))
        verdict = "accepted" if self.accepted else "NOT accepted: do not use, take new shots or give landmarks"
        return f"Registration {verdict}; expected error {error:.2f} mm, gradient correlation {1 - self.mismatch:.2f}."


def rigid(parameters: npt.ArrayLike, centre_mm: npt.ArrayLike) -> Transform:
    """Patient to patient: rotation vector in degrees about the centre, then translation in mm (6,)."""
    p, centre = np.asarray(parameters, dtype=np.float64), np.asarray(centre_mm, dtype=np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(p[:3], degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + p[3:6]
    return Transform(Frame.PATIENT, Frame.PATIENT, matrix)


def bone_volume(ct: Volume, centre_mm: npt.ArrayLike, reach_mm: float | None = None) -> PackedVolume:
    """HU above water within `reach_mm` of a point along each axis, packed: what a registration compares.

    Fat, gas and air count as water, so that a cut through the body leaves no edge. Soft tissue, bowel gas and limbs lie
    otherwise in a prone patient; pelvis and sacrum keep their shape.
    """
    reach = value("assumptions.registration_reach") if reach_mm is None else reach_mm
    centre = np.asarray(centre_mm, dtype=np.float64)
    ends = centre + reach * np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
    part = ct.cropped(ct.grid.box_around(ends))
    excess = np.maximum(np.asarray(part.array, dtype=np.float32), 0)
    return PackedVolume.of(Volume(excess, part.grid, "HU"))


class _Problem:
    """Shots at one resolution against the bone; six parameters, then six per further shot, then a scale per shot."""

    def __init__(
        self, bone: PackedVolume, shots: Sequence[Radiograph], start: Transform, centre: Point, pixels: int, free: bool
    ) -> None:
        self.start, self.centre, self.free = start, centre, free
        self.views, self.likenesses = [], []
        for shot in shots:
            factor = _factor(shot.view, pixels)
            self.views.append(shot.view.with_(carm=shot.view.carm.binned(factor), rig_from_patient=None))
            self.likenesses.append(Likeness(binned(shot.attenuation, factor)))
        pixel = max(v.carm.isocentre_pixel_mm for v in self.views)
        self.volume = bone.coarser(max(1, round(pixel / min(bone.grid.spacing_mm))))
        self.step_mm = max(0.5, 0.8 * pixel)
        self.count = 6 + (6 * (len(shots) - 1) + len(shots) if free else 0)
        self.prior = np.full(self.count, np.inf)
        if free:
            angle, shift = value("assumptions.registration_angle_sd"), value("assumptions.registration_shift_sd")
            self.prior[6 : 6 * len(shots)] = np.tile([angle] * 3 + [shift] * 3, len(shots) - 1)
            self.prior[6 * len(shots) :] = value("assumptions.registration_scale_sd")

    def posed(self, p: Vector, n: int, views: Sequence[View] | None = None) -> View:
        """The n-th view under parameters."""
        view = (views or self.views)[n]
        rig = rigid(p[:6], self.centre) @ self.start
        if self.free:
            if n:
                rig = rigid(p[6 * n : 6 * n + 6], self.centre) @ rig
            scale = 1.0 + p[6 * len(self.views) + n]
            carm = type(view.carm)(**{**view.carm.__dict__, "source_detector_mm": view.carm.source_detector_mm * scale})
            view = view.with_(carm=carm)
        return view.registered(rig)

    def _image(self, p: Vector, n: int) -> npt.NDArray[np.float32]:
        return line_integrals(self.volume, self.posed(p, n), self.step_mm)

    def mismatch(self, p: Vector) -> float:
        """Mean over the shots."""
        return float(np.mean([like.mismatch(self._image(p, n)) for n, like in enumerate(self.likenesses)]))

    def differences(self, p: Vector) -> list[npt.NDArray[np.float32]]:
        """Feature differences of every shot."""
        return [like.difference(self._image(p, n)) for n, like in enumerate(self.likenesses)]

    def steps(self) -> Vector:
        """Steps of the numeric Jacobian."""
        if not self.free:
            return _STEP
        return np.concatenate([np.tile(_STEP, len(self.views)), np.full(len(self.views), _SCALE_STEP)])

    def touches(self, index: int, n: int) -> bool:
        """Whether a parameter changes the n-th shot's image."""
        if index < 6:
            return True
        last = 6 * len(self.views)
        return index // 6 == n if index < last else index - last == n

    def linearised(self, p: Vector, differences: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """Jacobian (features, parameters) of every shot."""
        steps, jacobians = self.steps(), []
        for n, like in enumerate(self.likenesses):
            columns = np.zeros((len(differences[n]), self.count), dtype=np.float32)
            for index in range(self.count):
                if self.touches(index, n):
                    moved = p.copy()
                    moved[index] += steps[index]
                    columns[:, index] = (like.difference(self._image(moved, n)) - differences[n]) / steps[index]
            jacobians.append(columns)
        return jacobians


def _factor(view: View, pixels: int) -> int:
    """The coarsest binning that leaves at least `pixels` columns and divides the detector."""
    carm = view.carm
    fitting = [f for f in range(1, max(carm.columns // pixels, 1) + 1) if carm.rows % f == 0 and carm.columns % f == 0]
    return max(fitting)


def _normal_equations(
    problem: _Problem, p: Vector, sigma: float
) -> tuple[Vector, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Gradient, Hessian, and covariance of the gradient by blocks of image, of half the squared error over sigma²."""
    differences = problem.differences(p)
    jacobians = problem.linearised(p, differences)
    gradient, hessian = np.zeros(problem.count), np.zeros((problem.count, problem.count))
    scatter = np.zeros_like(hessian)
    for difference, jacobian, like in zip(differences, jacobians, problem.likenesses, strict=True):
        weight = _trust(difference)
        jacobian, difference = jacobian * weight[:, None], difference * weight
        hessian += (jacobian.T @ jacobian) / sigma**2
        gradient += (jacobian.T @ difference) / sigma**2
        parts = np.zeros((int(like.blocks.max()) + 1, problem.count))
        np.add.at(parts, like.blocks, jacobian * difference[:, None] / sigma**2)
        parts -= parts.mean(axis=0)
        scatter += parts.T @ parts
    inverse = 1.0 / problem.prior**2
    hessian += np.diag(inverse)
    scatter += np.diag(inverse)
    return gradient + inverse * p, hessian, scatter


def _error(problem: _Problem, p: Vector, sigma: float) -> float:
    total = 0.0
    for difference in problem.differences(p):
        doubt = _DOUBT**2 / difference.size
        total += doubt * float(np.log1p(difference**2 / doubt).sum())
    return total / sigma**2 + float(((p / problem.prior) ** 2).sum())


def _trust(difference: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Square roots of the Cauchy weights: what the CT does not have (gas, skin, cement) must not pull."""
    return np.asarray(1 / np.sqrt(1 + difference**2 * (difference.size / _DOUBT**2)), dtype=np.float32)


def _refined(problem: _Problem, p: Vector, sigma: float) -> Vector:
    """Levenberg-Marquardt from parameters."""
    error, damping = _error(problem, p, sigma), 1e-3
    for _ in range(_ITERATIONS):
        gradient, hessian, _scatter = _normal_equations(problem, p, sigma)
        for _ in range(4):
            step = -np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            tried = _error(problem, p + step, sigma)
            if tried < error:
                break
            damping *= 8
        else:
            break
        gain, error, p, damping = error - tried, tried, p + step, max(damping / 5, 1e-6)
        if np.abs(step[:6]).max() < 0.01 or gain < 1e-5 * error:
            break
    return p


def register(
    bone: Volume | PackedVolume,
    shots: Sequence[Radiograph],
    *,
    centre_mm: npt.ArrayLike | None = None,
    start: Transform | None = None,
    calibrated: bool = True,
    capture_deg: float = 10.0,
    capture_mm: float = 20.0,
    restarts: int | None = None,
    seed: int = 0,
) -> Registration:
    """Find the patient of a CT (HU, or `bone_volume` of it) in shots whose views carry the nominal geometry.

    start: a first guess, rig from patient (see `pose_from_landmarks`); None trusts the nominal isocentres.
    calibrated: False also corrects each shot's pose and source-detector distance, within priors.
    capture_deg, capture_mm: how far off the start may be. restarts: searches after a failed one, None for the default.
    A result that fails the gate has `accepted` False.
    """
    if not shots:
        raise InputError("Registration needs at least one shot", got="none")
    centre = as_point(shots[0].view.isocentre_mm if centre_mm is None else centre_mm)
    packed = bone if isinstance(bone, PackedVolume) else bone_volume(bone, centre)
    begin = start or Transform.identity(Frame.PATIENT)
    coarse = _Problem(packed, shots, begin, centre, _COARSE_PIXELS, False)
    fine = _Problem(packed, shots, begin, centre, _FINE_PIXELS, False)
    spread = np.array([capture_deg] * 3 + [capture_mm] * 3) / 3.0
    runs: list[tuple[float, Vector]] = []
    accepted = False
    again = int(value("assumptions.registration_restarts")) if restarts is None else restarts
    for restart in range(again + 1):
        found = _one_run(coarse, fine, spread * (1 + 0.5 * restart), seed + restart)
        runs.append(found)
        best = min(runs, key=lambda run: run[0])
        accepted = _gate(best, runs)
        if accepted:
            break
    mismatch, p = best
    problem = fine
    if not calibrated:
        problem = _Problem(packed, shots, begin, centre, _FINE_PIXELS, True)
        p = np.concatenate([p, np.zeros(problem.count - 6)])
        p = _refined(problem, p, _noise(problem, p))
        mismatch = problem.mismatch(p)
    views = tuple(
        problem.posed(p, n, [shot.view.with_(rig_from_patient=None) for shot in shots]) for n in range(len(shots))
    )
    covariance = _covariance(problem, p)
    return Registration(
        views, rigid(p[:6], centre) @ begin, centre, covariance[:6, :6], mismatch, accepted, len(runs) - 1, calibrated
    )


def _one_run(coarse: _Problem, fine: _Problem, spread: Vector, seed: int) -> tuple[float, Vector]:
    _cost, p = minimised(coarse.mismatch, np.zeros(6), Search(spread), seed)
    p = _refined(coarse, p, 1.0)
    p = _refined(fine, p, 1.0)
    return fine.mismatch(p), p


def _gate(best: tuple[float, Vector], runs: Sequence[tuple[float, Vector]]) -> bool:
    """A convincing likeness, or a fair one that independent searches agree on."""
    if best[0] <= value("assumptions.registration_good_mismatch"):
        return True
    if best[0] > value("assumptions.registration_worst_mismatch"):
        return False
    same = [run for run in runs if np.abs(run[1] - best[1]).max() < value("assumptions.registration_agreement")]
    return len(same) >= 2


def _noise(problem: _Problem, p: Vector) -> float:
    """Standard deviation per feature such that a block of image counts as one independent measurement."""
    squares = sum(float(d @ d) for d in problem.differences(p))
    blocks = sum(int(like.blocks.max()) + 1 for like in problem.likenesses)
    return float(np.sqrt(squares / blocks))


def _covariance(problem: _Problem, p: Vector) -> npt.NDArray[np.float64]:
    """Sandwich estimate (curvature, and scatter of blocks of image that may correlate inside) plus what shots contain
    and no CT explains: soft tissue, gas, metal; without calibration also what a wrong distance does to depth.
    """
    _gradient, hessian, scatter = _normal_equations(problem, p, _noise(problem, p))
    inverse = np.linalg.inv(hessian)
    systematic = np.zeros((problem.count, problem.count))
    angle, shift = (value(f"assumptions.registration_systematic_{part}") for part in ("angle", "shift"))
    if problem.free:
        shift = float(np.hypot(shift, value("assumptions.registration_uncalibrated_shift")))
    systematic[:6, :6] = np.diag([angle**2] * 3 + [shift**2] * 3)
    return np.asarray(inverse @ scatter @ inverse + systematic)
