"""Where the needle's tip is: triangulated from sightings with its covariance, compared with the plan in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.registration import Registration
from sacroplasty.fluoroscopy.sighting import Sighting, fall_beyond_tip
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import NeedlePlan, Point, Trajectory, as_point
from sacroplasty.space import Mask, readonly

_CONFIDENCE = 0.95
_GAUSS_NEWTON_STEPS = 12


@dataclass(frozen=True, eq=False)
class NeedlePose:
    """Tip and direction of a needle in the CT's patient, LPS mm, with the tip's covariance (3, 3) in mm².

    `direction` points from hub to tip; `direction_sd_deg` is one standard deviation; `misfit_pixels` is the root mean
    square distance between the sightings and the projected needle.
    """

    tip_mm: Point
    direction: Point
    covariance: npt.NDArray[np.float64]
    direction_sd_deg: float
    misfit_pixels: float
    views: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", readonly(self.covariance))

    @property
    def radius_95_mm(self) -> float:
        """Half the longest axis of the 95 % ellipsoid."""
        largest = float(np.linalg.eigvalsh(self.covariance)[-1])
        # A chi-square quantile of 3 degrees of freedom, without scipy.stats, which takes a second to import.
        return math.sqrt(largest * 2.0 * float(gammaincinv(1.5, _CONFIDENCE)))

    def covers(self, point_mm: npt.ArrayLike, confidence: float = _CONFIDENCE) -> bool:
        """Whether a point lies in the ellipsoid of a confidence."""
        offset = np.asarray(point_mm, dtype=np.float64) - np.asarray(self.tip_mm)
        return bool(offset @ np.linalg.solve(self.covariance, offset) <= 2.0 * gammaincinv(1.5, confidence))


def triangulated(
    sightings: Sequence[Sighting], registration: Registration | None = None, *, expected: NeedlePlan | None = None
) -> NeedlePose:
    """The needle that best explains two or more sightings, in the patient of the CT.

    expected: the plan of this needle. Its thickness and bevel tell how far beyond the tip the darkness of an end seen
    obliquely reaches; without it the tip is taken where the darkness falls to half. The covariance of the tip adds that
    of the image (tip and line), of the registration and of the C-arm's geometry. Views less than 15 degrees apart are
    refused: they bound no depth.
    """
    if len(sightings) < 2:
        raise InputError("A tip needs sightings in two views", got=f"{len(sightings)}", remedy="Take a second view")
    axes = np.array([s.view.ahead for s in sightings])
    widest = math.degrees(math.acos(float(np.clip(np.abs(axes @ axes.T).min(), 0, 1))))
    if widest < value("assumptions.triangulation_smallest_angle"):
        raise InputError(
            "The views are too alike to bound the depth",
            got=f"{widest:.0f} degrees apart",
            remedy="Take AP and lateral",
        )
    tip, tip_cov, misfit = _fitted(sightings, [s.tip for s in sightings])
    shaft = _shaft_point(sightings, tip)
    if expected is not None:
        placed = replace(expected, trajectory=Trajectory(as_point(shaft), as_point(tip)))
        sightings = [_drawn_back(s, placed) for s in sightings]
        tip, tip_cov, misfit = _fitted(sightings, [s.tip for s in sightings])
        shaft = _shaft_point(sightings, tip)
    direction = (tip - shaft) / np.linalg.norm(tip - shaft)
    direction_sd = math.degrees(math.sqrt(float(np.trace(tip_cov)) / 3) / float(np.linalg.norm(tip - shaft)))
    covariance = tip_cov + np.eye(3) * value("assumptions.needle_geometry_sd") ** 2
    if registration is not None:
        covariance = covariance + registration.covariance_at(tip)
    names = tuple(s.view.name for s in sightings)
    return NeedlePose(as_point(tip), as_point(direction), covariance, direction_sd, misfit, names)


def _drawn_back(sighting: Sighting, placed: NeedlePlan) -> Sighting:
    """A sighting whose tip is moved along its shaft from where the darkness falls to half to where the needle ends."""
    if not sighting.half_fall:
        return sighting
    along = np.subtract(sighting.shaft, sighting.tip)
    moved = along / np.linalg.norm(along) * fall_beyond_tip(sighting.view, placed)
    tip, shaft = (tuple((np.asarray(end) + moved).tolist()) for end in (sighting.tip, sighting.shaft))
    return replace(sighting, tip=tip, shaft=shaft, tip_sd_pixels=value("assumptions.needle_end_sd"), half_fall=False)


def _fitted(
    sightings: Sequence[Sighting], pixels: Sequence[tuple[float, float]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Weighted least squares of one point: position (3,), covariance (3, 3), root mean square misfit in pixels."""
    directions = np.array([s.view.rays(uv) for s, uv in zip(sightings, pixels, strict=True)])
    sources = np.array([s.view.source_mm for s in sightings])
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    point = np.linalg.solve(across.sum(axis=0), np.einsum("nij,nj->i", across, sources))
    weights = [_weight(s) for s in sightings]
    for _ in range(_GAUSS_NEWTON_STEPS):
        normal, gradient, squares = np.zeros((3, 3)), np.zeros(3), 0.0
        for sighting, uv, weight in zip(sightings, pixels, weights, strict=True):
            project = sighting.view.detector_from_patient
            at = project.points(point)
            jacobian = np.stack([(project.points(point + step) - at) / 0.01 for step in np.eye(3) * 0.01], axis=1)
            miss = np.asarray(uv) - at
            normal += jacobian.T @ weight @ jacobian
            gradient += jacobian.T @ weight @ miss
            squares += float(miss @ miss)
        step = np.linalg.solve(normal, gradient)
        point = point + step
        if float(np.linalg.norm(step)) < 1e-7:
            break
    return np.asarray(point), np.asarray(np.linalg.inv(normal)), math.sqrt(squares / len(sightings))


def _weight(sighting: Sighting) -> npt.NDArray[np.float64]:
    """Inverse covariance (2, 2) of a tip's pixels: looser along the shaft than across it."""
    along = np.subtract(sighting.shaft, sighting.tip)
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    across = np.array([-along[1], along[0]])
    return np.asarray(
        np.outer(along, along) / sighting.tip_sd_pixels**2 + np.outer(across, across) / sighting.line_sd_pixels**2
    )


def _shaft_point(sightings: Sequence[Sighting], tip: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A point on the shaft some 50 mm from the tip: the line in which the planes of source and shadow meet."""
    normals = []
    for sighting in sightings:
        rays = sighting.view.rays(np.array([sighting.tip, sighting.shaft]))
        normal = np.cross(rays[0], rays[1])
        normals.append(normal / np.linalg.norm(normal))
    _u, _s, axes = np.linalg.svd(np.array(normals))
    direction = axes[-1]
    first = sightings[0]
    ahead = first.view.detector_from_patient.points(tip + direction) - np.asarray(first.tip)
    if ahead @ np.subtract(first.shaft, first.tip) < 0:
        direction = -direction
    return np.asarray(tip + 50.0 * direction)


class Advice(StrEnum):
    """What the position allows."""

    CONTINUE = "continue"
    CORRECT = "correct"
    STOP = "stop"


@dataclass(frozen=True)
class Deviation:
    """A needle against its plan: mm across the planned path, mm still to go (negative: beyond), degrees between the
    axes, the clearance that remains with its lower 95 % bound (None without a distance), advice and the sentence.
    """

    lateral_mm: float
    remaining_mm: float
    angle_deg: float
    inside_lesion: bool | None
    clearance_mm: float | None
    clearance_bound_mm: float | None
    advice: Advice
    sentence: str


def deviation(
    pose: NeedlePose,
    planned: NeedlePlan,
    *,
    lesion: Mask | None = None,
    clearance: Callable[[npt.NDArray[np.float64]], tuple[float, str]] | None = None,
    views: Sequence[View] = (),
) -> Deviation:
    """How a needle lies against its plan, with one sentence that says continue, correct or stop and why.

    clearance: distance in mm from a needle whose axis runs through points (n, 3) to the nearest structure at risk, and
    that structure's name. lesion with views: the tip counts as inside only if it projects inside in every view.
    """
    path = planned.trajectory
    offset = np.asarray(pose.tip_mm) - np.asarray(path.target_mm)
    remaining = -float(offset @ path.direction)
    lateral = float(np.linalg.norm(offset + remaining * path.direction))
    angle = math.degrees(math.acos(float(np.clip(np.dot(pose.direction, path.direction), -1, 1))))
    inside = None if lesion is None else _inside_every_view(pose, lesion, views)
    free: float | None = None
    bound: float | None = None
    nearest = ""
    if clearance is not None:
        steps = np.linspace(0, min(path.length_mm, planned.needle.length_mm), 40)
        shaft = np.asarray(pose.tip_mm) - steps[:, None] * np.asarray(pose.direction)
        free, nearest = clearance(shaft)
        bound = free - pose.radius_95_mm
    advice, sentence = _advised(lateral, remaining, angle, bound, nearest, pose.radius_95_mm, inside)
    return Deviation(lateral, remaining, angle, inside, free, bound, advice, sentence)


def _advised(
    lateral: float,
    remaining: float,
    angle: float,
    bound: float | None,
    nearest: str,
    radius: float,
    inside: bool | None,
) -> tuple[Advice, str]:
    where = f"{lateral:.1f} mm beside the path, {abs(remaining):.1f} mm {'to go' if remaining >= 0 else 'too deep'}, "
    where += f"{angle:.0f}° off, tip known to {radius:.1f} mm"
    red = value("assumptions.clearance_red")
    if bound is not None and bound < red:
        return Advice.STOP, f"Stop: {nearest} may be {max(bound, 0):.1f} mm from the needle; {where}."
    if remaining < -value("assumptions.deviation_too_deep"):
        return Advice.STOP, f"Stop: the tip is beyond the target; {where}."
    if lateral > value("assumptions.deviation_lateral") + radius or angle > value("assumptions.deviation_angle"):
        return Advice.CORRECT, f"Correct: {where}."
    if inside and remaining <= value("assumptions.deviation_too_deep"):
        return Advice.STOP, f"Stop here: the tip is inside the lesion in every view; {where}."
    return Advice.CONTINUE, f"Continue: {where}."


def _inside_every_view(pose: NeedlePose, lesion: Mask, views: Sequence[View]) -> bool:
    """The tip lies in the lesion, and projects inside the lesion's shadow in every view."""
    if not bool(lesion.contains(pose.tip_mm)):
        return False
    points = lesion.require_any("lesion").points_mm()
    voxel = max(lesion.grid.spacing_mm)
    for view in views:
        shadow = view.detector_from_patient.points(points)
        tip = view.detector_from_patient.points(pose.tip_mm)
        reach = voxel / float(view.pixel_mm_at(np.asarray(pose.tip_mm)))
        if float(np.linalg.norm(shadow - tip, axis=1).min()) > reach:
            return False
    return True
