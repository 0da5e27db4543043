"""Radiographs as a person looks at them: tone, orientation with side letters, angles, scale bar, overlays.

The only place where an image is mirrored, and whoever mirrors, labels. A simulated image says so in its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from sacroplasty.fluoroscopy.radiograph import DARKEST, Radiograph
from sacroplasty.fluoroscopy.view import View
from sacroplasty.space import Points

NOTICE = "SIMULATED - NOT FOR CLINICAL USE"
NOTICE_REAL = "RESEARCH DISPLAY - NOT FOR CLINICAL USE"
SCALE_BAR_MM = 50.0
# Windows are set on what attenuates at least this share of the densest part: the patient, not the air beside.
_PATIENT_SHARE = 0.4
# A direction whose second component is below this gets one letter.
_SECOND_LETTER = 0.38


@dataclass(frozen=True, eq=False)
class Contour:
    """A polyline (n, 2) in detector pixels (u, v) with colour, a label at its first point, and how it is drawn."""

    points: Points
    colour: tuple[int, int, int]
    label: str = ""
    dashed: bool = False
    width: int = 1


@dataclass(frozen=True, eq=False)
class Display:
    """An RGB image (rows, columns, 3) of a radiograph; `mirrored` tells that columns run against detector columns."""

    rgb: npt.NDArray[np.uint8]
    view: View
    mirrored: bool
    scale: int

    def points(self, pixels: npt.ArrayLike) -> Points:
        """Positions (..., 2) as (column, row) of this image of detector pixels (..., 2) as (u, v)."""
        return _shown(np.asarray(pixels, dtype=np.float64), self.view, self.mirrored, self.scale)

    def detector_pixels(self, points: npt.ArrayLike) -> Points:
        """Detector pixels (..., 2) as (u, v) of positions (..., 2) in this image: a user's click."""
        uv = (np.asarray(points, dtype=np.float64) + 0.5) / self.scale - 0.5
        if self.mirrored:
            uv = np.stack([self.view.carm.columns - 1 - uv[..., 0], uv[..., 1]], axis=-1)
        return uv


def _shown(uv: Points, view: View, mirrored: bool, scale: int) -> Points:
    if mirrored:
        uv = np.stack([view.carm.columns - 1 - uv[..., 0], uv[..., 1]], axis=-1)
    return np.asarray((uv + 0.5) * scale - 0.5)


def is_mirrored(view: View) -> bool:
    """Whether the display turns the source's image over: right side of the patient, or else the front, on the left."""
    right_of_image = view.camera_from_patient.inverse.vectors((1.0, 0.0, 0.0))
    main = 0 if abs(right_of_image[0]) >= abs(right_of_image[1]) else 1
    return bool(right_of_image[main] < 0)


def letters(direction: npt.ArrayLike) -> str:
    """Patient orientation letters (R L A P F H), strongest first, of a direction (3,) in LPS."""
    unit = np.asarray(direction, dtype=np.float64)
    unit = unit / np.linalg.norm(unit)
    order = np.argsort(-np.abs(unit))
    names = (("L", "R"), ("P", "A"), ("H", "F"))
    return "".join(
        names[a][0 if unit[a] > 0 else 1] for n, a in enumerate(order[:2]) if not n or abs(unit[a]) > _SECOND_LETTER
    )


def toned(radiograph: Radiograph, *, bone_white: bool = False, harmonised: float = 0.75) -> npt.NDArray[np.uint8]:
    """Grey values (rows, columns): windowed attenuation, dark where dense as in fluoroscopy unless `bone_white`.

    `harmonised` (0 to 1) takes away that share of the slow brightness changes, as fluoroscopy units do. What a
    collimator covers is black.
    """
    covered = radiograph.signal <= DARKEST
    density = radiograph.attenuation
    if covered.any() and not covered.all():
        density = np.where(covered, np.median(density[~covered]), density)
    slow = ndimage.gaussian_filter(density, min(density.shape) / 12, mode="nearest")
    even = density - np.float32(harmonised) * slow
    inside = (density > _PATIENT_SHARE * np.percentile(density, 99)) & (~covered | covered.all())
    low, high = np.percentile(even[inside], (0.5, 99.8))
    grey = np.clip((even - low) / max(float(high - low), 1e-6), 0, 1)
    if not bone_white:
        grey = 1 - grey
    grey = np.where(covered, 0, grey)
    return np.rint(grey * 255).astype(np.uint8)


def displayed(
    radiograph: Radiograph,
    contours: Sequence[Contour] = (),
    *,
    bone_white: bool = False,
    harmonised: float = 0.75,
    scale: int | None = None,
    caption: str = "",
) -> Display:
    """The radiograph for the eye: head up, R (or A) on the left, with letters, angles, scale bar and notice."""
    view = radiograph.view
    scale = scale or max(1, round(640 / view.carm.columns))
    grey = toned(radiograph, bone_white=bone_white, harmonised=harmonised)
    mirrored = is_mirrored(view)
    if mirrored:
        grey = grey[:, ::-1]
    large = np.kron(grey, np.ones((scale, scale), dtype=np.uint8))
    picture = Picture.fromarray(large).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for contour in contours:
        _draw_contour(draw, contour, _shown(contour.points, view, mirrored, scale))
    _annotate(draw, picture.size, radiograph, mirrored, scale, caption)
    rgb = np.asarray(picture, dtype=np.uint8)
    return Display(rgb, view, mirrored, scale)


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _draw_contour(draw: ImageDraw.ImageDraw, contour: Contour, points: Points) -> None:
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return
    for n in range(len(points) - 1):
        if not (contour.dashed and n % 4 >= 2):
            draw.line([tuple(points[n]), tuple(points[n + 1])], fill=contour.colour, width=contour.width)
    if contour.label:
        draw.text(tuple(points[0] + (3, -6)), contour.label, fill=contour.colour, font=_font(11))


def _annotate(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], shot: Radiograph, mirrored: bool, scale: int, caption: str
) -> None:
    view, (width, height) = shot.view, size
    patient = view.camera_from_patient.inverse
    right = patient.vectors((-1.0 if mirrored else 1.0, 0.0, 0.0))
    up = patient.vectors((0.0, -1.0, 0.0))
    body, big = _font(12), _font(20)

    def text(place: tuple[float, float], words: str, anchor: str, font: _Font = body) -> None:
        draw.text(place, words, fill=(255, 255, 120), font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))

    text((8, height / 2), letters(-right), "lm", big)
    text((width - 8, height / 2), letters(right), "rm", big)
    text((width / 2, 6), letters(up), "mt", big)
    title = f"{view.name}: {view.angles_label}" if view.name else view.angles_label
    text((8, 30), title, "lt")
    if caption:
        text((8, 48), caption, "lt")
    text((8, height - 8), NOTICE if shot.simulated else NOTICE_REAL, "lb")
    bar = SCALE_BAR_MM / view.carm.isocentre_pixel_mm * scale
    draw.line([(width - 12 - bar, height - 12), (width - 12, height - 12)], fill=(255, 255, 120), width=3)
    text((width - 12 - bar / 2, height - 18), f"{SCALE_BAR_MM:.0f} mm at isocentre", "mb")
