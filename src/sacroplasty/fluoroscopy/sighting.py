"""A needle found in one shot, from two clicks or none: its axis, and where its darkness ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.material import DENSITIES
from sacroplasty.fluoroscopy.projector import Image
from sacroplasty.fluoroscopy.radiograph import PELVIS_ATTENUATION, Exposure, Radiograph
from sacroplasty.fluoroscopy.shadow import needle_path_mm
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import NeedlePlan

# Half-length of the search for the shaft's end, mm at the isocentre.
_SEARCH_MM = 12.0
# Tip and hub nearer than this give no direction.
_SHORTEST_PIXELS = 8.0
# What hardens the beam before it meets the needle, g/cm²: the soft tissue of a pelvis.
_PATIENT_G_CM2 = 25.0


@dataclass(frozen=True)
class Sighting:
    """A needle in one shot: (u, v) pixels of its tip and of a point on its shaft nearer the hub, and SD in pixels.

    `half_fall` tells that the tip is where the shaft's darkness falls to half, which `fall_beyond_tip` can correct.
    """

    view: View
    tip: tuple[float, float]
    shaft: tuple[float, float]
    tip_sd_pixels: float
    line_sd_pixels: float
    half_fall: bool = False


def sighted(shot: Radiograph, tip_click: npt.ArrayLike, hub_click: npt.ArrayLike) -> Sighting:
    """The needle near two clicks (u, v), its axis and tip sharpened on the image's own gradients.

    The tip is where the darkness along the axis falls to half. A needle that cannot be told from bone there keeps the
    click, with the click's larger standard deviation.
    """
    tip, hub = (np.asarray(click, dtype=np.float64) for click in (tip_click, hub_click))
    length = float(np.linalg.norm(hub - tip))
    if length < _SHORTEST_PIXELS:
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
    tip_sd = value("assumptions.needle_tip_sd")
    return Sighting(shot.view, _pair(end), _pair(end + length * back), tip_sd, line_sd, half_fall=True)


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


def fall_beyond_tip(view: View, placed: NeedlePlan) -> float:
    """How many pixels beyond a needle's tip its darkness falls to half, by its own shadow in a typical beam.

    An end seen obliquely fades over the width of its face, and steel absorbs so much that the shadow saturates: half
    the darkness is left where only a quarter of the steel is. Straight across the beam the two places are the same.
    """
    tip, hub = view.detector_from_patient.points([placed.tip_mm, placed.trajectory.entry_mm])
    length = float(np.linalg.norm(hub - tip))
    pixel = view.carm.isocentre_pixel_mm
    if not length > _SHORTEST_PIXELS:
        return 0.0
    back = (hub - tip) / length
    along = np.arange(-_SEARCH_MM / pixel, _SEARCH_MM / pixel, 0.25)
    half = value("assumptions.needle_profile_half_width") / 2 / pixel
    image = _steel_darkness(needle_path_mm(view, placed)).astype(np.float64)
    raised = _ridge(image, tip + along[:, None] * back, np.array([-back[1], back[0]]), half)
    step = _end_along(raised, along, _SEARCH_MM / 3 / pixel, 2 * value("assumptions.needle_click_sd"))
    return 0.0 if step is None else -step


def _steel_darkness(path_mm: Image) -> Image:
    """What a path through steel (rows, columns) adds to the attenuation of a pelvis, beam and scatter being typical."""
    how = Exposure.typical()
    steel = path_mm / np.float32(10) * np.float32(DENSITIES["steel"])
    primary = how.beam.signal({"water": np.full_like(steel, _PATIENT_G_CM2), "steel": steel})
    bare = float(how.beam.signal({"water": np.full((1, 1), _PATIENT_G_CM2, dtype=np.float32)})[0, 0])
    scatter = how.scatter_to_primary * bare * -math.log(bare) / PELVIS_ATTENUATION
    return np.asarray(-np.log((primary + np.float32(scatter)) / np.float32(bare + scatter)))
