"""A plan's needles drawn on the CT's own slices, as a Grayscale Softcopy Presentation State for any PACS viewer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from sacroplasty import __version__
from sacroplasty.errors import GeometryError
from sacroplasty.plan import Plan, Trajectory
from sacroplasty.report.dicom_source import BODY_PART, MANUFACTURER, MODEL, SERIES_PREFIX, stamped, uid_of

_LAYER = "NEEDLES"
# A bone window, HU.
_WINDOW = (400.0, 1800.0)
# A piece of needle shorter than this on a slice is drawn as a circle of this radius, pixels.
_DOT_PIXELS = 2.0
_RED = hd.color.CIELabColor(55.0, 80.0, 67.0)


def presentation_state(
    plan: Plan, source: Sequence[Dataset], when: datetime
) -> hd.pr.GrayscaleSoftcopyPresentationState:
    """Each needle on every image it passes: the piece of it within half a slice of the image, in the image's pixels.

    `source` are the images of `dicom_source`. Raises GeometryError where no needle meets an image.
    """
    layer = hd.pr.GraphicLayer(_LAYER, 1, f"{SERIES_PREFIX}planned needles"[:64], _RED)
    half_mm = _half_pitch_mm(source)
    notes, shown = [], []
    for ds in source:
        pieces = [p for needle in plan.needles if (p := piece_on(needle.trajectory, ds, half_mm)) is not None]
        if pieces:
            objects = [_drawn(piece, ds) for piece in pieces]
            notes.append(hd.pr.GraphicAnnotation([ds], layer, graphic_objects=objects))
            shown.append(ds)
    if not notes:
        raise GeometryError("No needle passes an image of the series", remedy="Export with the series of the plan's CT")
    key = uid_of("presentation", source[0].SeriesInstanceUID, repr(plan.needles))
    made = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=shown,
        series_instance_uid=uid_of("series", key),
        series_number=106,
        sop_instance_uid=key,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=__version__,
        device_serial_number="0",
        content_label="NEEDLES",
        content_description=f"{SERIES_PREFIX}plan"[:64],
        graphic_annotations=notes,
        graphic_layers=[layer],
        voi_lut_transformations=[hd.pr.SoftcopyVOILUTTransformation(*_WINDOW)],
        presentation_lut_transformation=hd.PresentationLUTTransformation(presentation_lut_shape="IDENTITY"),
        series_description=(SERIES_PREFIX + "needles on the CT")[:64],
    )
    made.BodyPartExamined = BODY_PART
    stamped(made, when)
    return made


def _half_pitch_mm(source: Sequence[Dataset]) -> float:
    """Half the distance between neighbouring images."""
    normal = np.cross(*np.reshape([float(v) for v in source[0].ImageOrientationPatient], (2, 3)))
    heights = [float(np.dot(normal, [float(v) for v in ds.ImagePositionPatient])) for ds in source]
    return float(np.median(np.diff(sorted(heights)))) / 2


def piece_on(path: Trajectory, ds: Dataset, half_mm: float) -> npt.NDArray[np.float64] | None:
    """The ends (2, 2), column and row in pixels from the image's corner, of the piece of a path near an image's plane.

    None where the path does not come within `half_mm` of the plane inside the image.
    """
    entry, target = np.asarray(path.entry_mm, dtype=np.float64), np.asarray(path.target_mm, dtype=np.float64)
    across, along = np.reshape([float(v) for v in ds.ImageOrientationPatient], (2, 3))
    down, right = (float(v) for v in ds.PixelSpacing)
    corner = np.array([float(v) for v in ds.ImagePositionPatient])
    axes = np.array([across / right, along / down, np.cross(across, along)])
    first, last = (axes @ (end - corner) for end in (entry, target))
    # A pixel's centre is half a pixel from its corner, from which presentation states count.
    low = np.array([-0.5, -0.5, -half_mm])
    high = np.array([int(ds.Columns) - 0.5, int(ds.Rows) - 0.5, half_mm])
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = np.sort([(low - first) / (last - first), (high - first) / (last - first)], axis=0)
    still = last == first
    if (still & ((first < low) | (first > high))).any():
        return None
    begin, end = max(0.0, *bounds[0][~still]), min(1.0, *bounds[1][~still])
    if begin >= end:
        return None
    return np.array([first + share * (last - first) for share in (begin, end)])[:, :2] + 0.5


def _drawn(piece: npt.NDArray[np.float64], ds: Dataset) -> hd.pr.GraphicObject:
    """A line; a circle, or a point at the rim, where the needle stands so steep that a line would be a speck."""
    size = np.array([float(ds.Columns), float(ds.Rows)])
    if float(np.linalg.norm(piece[1] - piece[0])) >= _DOT_PIXELS:
        return hd.pr.GraphicObject("POLYLINE", np.clip(piece, 0, size), units="PIXEL")
    centre = piece.mean(axis=0)
    if ((centre < _DOT_PIXELS) | (centre > size - _DOT_PIXELS)).any():
        return hd.pr.GraphicObject("POINT", np.clip(centre, 0, size)[None], units="PIXEL")
    return hd.pr.GraphicObject("CIRCLE", np.array([centre, centre + np.array([_DOT_PIXELS, 0.0])]), units="PIXEL")
