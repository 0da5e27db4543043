"""Where the needle's tip is: found in shots, triangulated with its covariance, compared with the plan in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import gammaincinv

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.radiograph import Radiograph
from sacroplasty.fluoroscopy.registration import Registration
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import NeedlePlan, Point, as_point
from sacroplasty.space import Mask, readonly

_CONFIDENCE = 0.95
_GAUSS_NEWTON_STEPS = 12
# Half-length of the search for the shaft's end, mm at the isocentre.
_SEARCH_MM = 12.0


@dataclass(frozen=True)
class Sighting:
    """A needle in one shot: (u, v) pixels of its tip and of a point on its shaft nearer the hub, and SD in pixels."""

    view: View
    tip: tuple[float, float]
    shaft: tuple[float, float]
    tip_sd_pixels: float
    line_sd_pixels: float


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


def sighted(shot: Radiograph, tip_click: npt.ArrayLike, hub_click: npt.ArrayLike) -> Sighting:
    """The needle near two clicks (u, v), its axis and tip sharpened on the image's own gradients.

    The tip is where the darkness along the axis falls to half. A needle that cannot be told from bone there keeps the
    click, with the click's larger standard deviation.
    """
    tip, hub = (np.asarray(click, dtype=np.float64) for click in (tip_click, hub_click))
    length = float(np.linalg.norm(hub - tip))
    if length < 8:
        raise InputError("The two clicks on the needle are too near", got=f"{length:.1f} pixels")
    image = shot.attenuation.astype(np.float64)
    pixel = shot.view.carm.isocentre_pixel_mm
    half = value("assumptions.needle_profile_half_width") / 2 / pixel
    back = (hub - tip) / length
    stretch = np.linspace(0.15 * length, 0.9 * length, max(8, int(length / 2)))
    centres = [_centre_across(image, tip + s * back, back, half) for s in stretch]
    kept = np.array([c for c in centres if c is not None])
    click_sd = value("assumptions.needle_click_sd")
    if len(kept) < 6:
        return Sighting(shot.view, _pair(tip), _pair(hub), click_sd, click_sd)
    middle = kept.mean(axis=0)
    _u, _s, axes = np.linalg.svd(kept - middle)
    back = axes[0] * np.sign(axes[0] @ back)
    across = np.array([-back[1], back[0]])
    scatter = float(np.std((kept - middle) @ across))
    foot = middle + ((tip - middle) @ back) * back
    along = np.arange(-_SEARCH_MM / pixel, _SEARCH_MM / pixel, 0.25)
    raised = _ridge(image, foot + along[:, None] * back, across, half)
    step = _end_along(raised, along, _SEARCH_MM / 3 / pixel, 2 * click_sd)
    line_sd = max(scatter / math.sqrt(len(kept) / 4), value("assumptions.needle_line_sd"))
    if step is None:
        return Sighting(shot.view, _pair(foot), _pair(foot + length * back), click_sd, line_sd)
    end = foot + step * back
    return Sighting(shot.view, _pair(end), _pair(end + length * back), value("assumptions.needle_tip_sd"), line_sd)


def _pair(uv: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(uv[0]), float(uv[1])


def _sampled(image: npt.NDArray[np.float64], uv: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(ndimage.map_coordinates(image, uv[..., ::-1].reshape(-1, 2).T, order=1, mode="nearest")).reshape(
        uv.shape[:-1]
    )


def _centre_across(
    image: npt.NDArray[np.float64], place: npt.NDArray[np.float64], back: npt.NDArray[np.float64], half: float
) -> npt.NDArray[np.float64] | None:
    """Centre of the needle's profile across its axis, or None where nothing stands out."""
    across = np.array([-back[1], back[0]])
    offsets = np.linspace(-2 * half, 2 * half, 41)
    profile = _sampled(image, place + offsets[:, None] * across)
    base = np.interp(offsets, offsets[[0, -1]], [profile[:6].mean(), profile[-6:].mean()])
    raised = profile - base
    peak = float(raised.max())
    noise = float(np.std(np.concatenate([raised[:8], raised[-8:]]))) + 1e-9
    if peak < 4 * noise:
        return None
    weight = np.where(raised > 0.5 * peak, raised, 0.0)
    return np.asarray(place + float((offsets * weight).sum() / weight.sum()) * across)


def _end_along(
    raised: npt.NDArray[np.float64], along: npt.NDArray[np.float64], window: float, near: float
) -> float | None:
    """Place on `along` where the shaft's extra darkness steps down towards the tip, or None where no step stands out.

    window: pixels averaged on either side of the step; near: standard deviation in pixels of the guess at 0.
    """
    spacing = along[1] - along[0]
    n = max(4, round(window / spacing))
    total = np.concatenate([[0.0], np.cumsum(raised)])
    places = np.arange(n, len(raised) - n)
    step = (total[places + n] - 2 * total[places] + total[places - n]) / n
    score = step * np.exp(-((along[places] / near) ** 2) / 2)
    best = int(np.argmax(score))
    if step[best] < 4 * float(np.median(np.abs(np.diff(raised)))) + 1e-3:
        return None
    return float(along[places[best]] - spacing / 2)


def _ridge(
    image: npt.NDArray[np.float64], line: npt.NDArray[np.float64], across: npt.NDArray[np.float64], half: float
) -> npt.NDArray[np.float64]:
    """How much denser a line (..., 2) is than its two flanks."""
    inside = np.mean([_sampled(image, line + o * across) for o in np.array([-0.15, 0.0, 0.15]) * half], axis=0)
    beside = np.mean([_sampled(image, line + o * across) for o in (-1.2 * half, 1.2 * half)], axis=0)
    return np.asarray(inside - beside)


def detected(shot: Radiograph, expected: NeedlePlan) -> Sighting | None:
    """The needle of a plan found in a shot without a click, or None: the strongest thin line near where it projects.

    Lines within the assumed angle and distance of the plan's projection are tried; the shaft must stand out over most
    of the tried length.
    """
    view, image = shot.view, shot.attenuation.astype(np.float64)
    pixel = view.carm.isocentre_pixel_mm
    half = value("assumptions.needle_profile_half_width") / 2 / pixel
    tip, entry = view.detector_from_patient.points([expected.tip_mm, expected.trajectory.entry_mm])
    length = float(np.linalg.norm(entry - tip))
    if not math.isfinite(length) or length < _SEARCH_MM / pixel:
        return None
    reach = value("assumptions.needle_search_offset") / pixel
    stretch = np.linspace(0.25 * length, length, 48)
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    for turn in np.radians(np.linspace(-1, 1, 25) * value("assumptions.needle_search_angle")):
        heading = (entry - tip) / length
        c, s = math.cos(turn), math.sin(turn)
        heading = np.array([c * heading[0] - s * heading[1], s * heading[0] + c * heading[1]])
        across = np.array([-heading[1], heading[0]])
        shifts = np.arange(-reach, reach + 1, 1.0)
        lines = tip + shifts[:, None, None] * across + stretch[None, :, None] * heading
        strength = np.percentile(_ridge(image, lines, across, half), 30, axis=1)
        n = int(np.argmax(strength))
        if best is None or strength[n] > best[0]:
            best = (float(strength[n]), tip + shifts[n] * across, heading)
    if best is None or best[0] < value("assumptions.needle_smallest_contrast"):
        return None
    along = np.arange(-2 * reach, 2 * reach, 0.5)
    foot, heading = best[1], best[2]
    raised = _ridge(image, foot + along[:, None] * heading, np.array([-heading[1], heading[0]]), half)
    end = _end_along(raised, along, _SEARCH_MM / 2 / pixel, reach)
    start = foot + (0.0 if end is None else end) * heading
    return sighted(shot, start, start + 0.75 * length * heading)


def triangulated(sightings: Sequence[Sighting], registration: Registration | None = None) -> NeedlePose:
    """The needle that best explains two or more sightings, in the patient of the CT.

    The tip's covariance adds that of the image (tip and line), of the registration and of the C-arm's geometry. Views
    less than 15 degrees apart are refused: they bound no depth.
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
    direction = (tip - shaft) / np.linalg.norm(tip - shaft)
    direction_sd = math.degrees(math.sqrt(float(np.trace(tip_cov)) / 3) / float(np.linalg.norm(tip - shaft)))
    covariance = tip_cov + np.eye(3) * value("assumptions.needle_geometry_sd") ** 2
    if registration is not None:
        covariance = covariance + registration.covariance_at(tip)
    names = tuple(s.view.name for s in sightings)
    return NeedlePose(as_point(tip), as_point(direction), covariance, direction_sd, misfit, names)


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
