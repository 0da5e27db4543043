"""The one geometry gate: what raw slices must satisfy before any room may compute with them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from sacroplasty.evidence import value
from sacroplasty.io.raw import RawImage
from sacroplasty.io.verdict import Remark, rejected
from sacroplasty.space import Grid

# Largest distance of a slice from its place on an even ladder, mm.
EVENNESS_MM = 0.1
# A gap larger than this many pitches means that a slice is missing.
GAP_PITCHES = 1.5
# Angle between the line of slice origins and the slice normal, deg, and the side shift over the stack, mm, from
# which the world counts as sheared; rounding in headers stays far below both.
TILT_DEG = 0.1
TILT_MM = 0.5
# Lengths a patient's scan can have, mm.
PIXEL_MM = (0.1, 5.0)
SLICE_MM = (0.1, 10.0)
EXTENT_MM = (10.0, 2200.0)
SMALL_EXTENT_MM = 60.0
# Corners of two readers further apart than this disagree, mm.
READERS_MM = 0.1
UNIT_TOLERANCE = 1e-3


def checked_geometry(raw: RawImage) -> tuple[Remark, ...]:
    """Remarks about the geometry; GeometryError with the gate's code where it cannot be trusted."""
    _require_axes(raw)
    _require_spacing(raw)
    _require_straight(raw)
    _require_even(raw)
    require_agreement(raw)
    return _extent(raw)


def _require_axes(raw: RawImage) -> None:
    steps = np.array([raw.first_step_mm, raw.second_step_mm])
    lengths = np.linalg.norm(steps, axis=1)
    if not np.isfinite(steps).all() or not np.isfinite(raw.origins_mm).all() or lengths.min() <= 0:
        raise rejected(
            "SAC-G021",
            "Position, orientation or spacing is not finite or zero",
            got=np.array2string(steps.ravel(), precision=4),
            remedy="Export the series again",
        )
    cosine = abs(float(steps[0] @ steps[1])) / float(lengths.prod())
    if cosine > UNIT_TOLERANCE:
        got = f"{np.degrees(np.arccos(min(cosine, 1.0))):.2f} degrees"
        raise rejected("SAC-G021", "Rows and columns are not perpendicular", got=got, remedy="Export the series again")


def _require_spacing(raw: RawImage) -> None:
    if raw.array.shape[2] < 2:
        raise rejected("SAC-G016", "One slice is not a volume", remedy="Point at the whole series")
    pixel = np.linalg.norm([raw.first_step_mm, raw.second_step_mm], axis=1)
    if pixel.min() < PIXEL_MM[0] or pixel.max() > PIXEL_MM[1]:
        raise rejected(
            "SAC-G022",
            "The pixel spacing is not plausible for a patient",
            got=f"{pixel[0]:.4g} x {pixel[1]:.4g} mm",
            remedy="Check the unit of length; spacing must be in mm",
        )
    pitch = _pitch(raw)
    if not SLICE_MM[0] <= pitch <= SLICE_MM[1]:
        raise rejected(
            "SAC-G022",
            "The slice spacing is not plausible for a patient",
            got=f"{pitch:.4g} mm",
            remedy=f"Use a series with slices {SLICE_MM[0]} to {SLICE_MM[1]:.0f} mm apart",
        )


def _pitch(raw: RawImage) -> float:
    return float(np.median(np.abs(np.diff(raw.heights_mm))))


def _require_straight(raw: RawImage) -> None:
    """No gantry tilt: the origins must climb along the normal of the slices."""
    side_mm, angle_deg = tilt_of(raw)
    if angle_deg > TILT_DEG and side_mm > TILT_MM:
        raise rejected(
            "SAC-G023",
            "The slices are sheared against each other (gantry tilt)",
            got=f"{angle_deg:.1f} degrees, {side_mm:.1f} mm over the stack",
            remedy="Use an untilted series, or ask for --resample-tilted",
        )


def tilt_of(raw: RawImage) -> tuple[float, float]:
    """Largest side shift of a slice against the first, mm, and the angle of the line of origins to the normal, deg."""
    offsets = raw.origins_mm - raw.origins_mm[0]
    along = offsets @ raw.normal
    side = np.linalg.norm(offsets - along[:, None] * raw.normal, axis=1)
    return float(side.max()), float(np.degrees(np.arctan2(side.max(), abs(along[int(side.argmax())]) + 1e-12)))


def _require_even(raw: RawImage) -> None:
    heights = raw.heights_mm
    pitch = _pitch(raw)
    gaps = np.abs(np.diff(heights))
    wide = np.flatnonzero(gaps > GAP_PITCHES * pitch)
    if len(wide):
        first = int(wide[0])
        raise rejected(
            "SAC-G025",
            "Slices are missing",
            got=f"{len(wide)} gaps, the first {gaps[first]:.2f} mm after slice {first + 1}; pitch {pitch:.2f} mm",
            remedy="Send the whole series again",
        )
    ladder = heights[0] + np.arange(len(heights)) * (heights[-1] - heights[0]) / (len(heights) - 1)
    off = float(np.abs(heights - ladder).max())
    if off > EVENNESS_MM:
        raise rejected(
            "SAC-G024",
            "The slices are unevenly spaced",
            got=f"gaps from {gaps.min():.2f} to {gaps.max():.2f} mm, up to {off:.2f} mm off an even ladder",
            remedy="Use another reconstruction, or ask for --resample-irregular",
        )


def require_agreement(raw: RawImage) -> None:
    """GeometryError SAC-G029 unless the second reader, where the format has one, finds the same eight corners."""
    if raw.second_corners_mm is None:
        return
    i, j, k = raw.array.shape
    own = Grid.from_affine((i, j, k), raw.affine_lps).corners_mm
    apart = float(np.abs(own - raw.second_corners_mm).max())
    if not apart <= READERS_MM:
        raise rejected(
            "SAC-G029",
            "Two independent readers place the image differently",
            got=f"{apart:.2f} mm apart at a corner",
            remedy="Export the series again in another way",
        )


def _extent(raw: RawImage) -> tuple[Remark, ...]:
    i, j, k = raw.array.shape
    extent = np.array(Grid.from_affine((i, j, k), raw.affine_lps).spacing_mm) * raw.array.shape
    if extent.min() < EXTENT_MM[0] or extent.max() > EXTENT_MM[1]:
        words = " x ".join(f"{e:.0f}" for e in extent)
        raise rejected(
            "SAC-G027", "The field of view is not plausible for a patient", got=f"{words} mm", remedy="Check units"
        )
    remarks = []
    if extent.min() < SMALL_EXTENT_MM:
        words = " x ".join(f"{e:.0f}" for e in extent)
        remarks.append(Remark("SAC-G028", f"The field of view is only {words} mm."))
    thickest = max(_pitch(raw), *np.linalg.norm([raw.first_step_mm, raw.second_step_mm], axis=1))
    wanted = value("assumptions.planning_slice_spacing")
    if thickest > wanted + 0.01:
        text = f"Slices {thickest:.2f} mm apart: planning should use at most {wanted} mm."
        remarks.append(Remark("SAC-G026", text))
    return tuple(remarks)


def checked_values(raw: RawImage) -> tuple[Remark, ...]:
    """Remarks about the values; GeometryError where they are not finite or, for CT, not Hounsfield units."""
    values = raw.array
    if not np.issubdtype(values.dtype, np.integer) and not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise rejected(
            "SAC-G033", "The image holds values that are not finite", got=f"{count} voxels", remedy="Export again"
        )
    return _hounsfield(raw) if raw.modality == "CT" else ()


# Lowest value of the Hounsfield scale as scanners store it; what lies below stands for "nothing measured here".
AIR_HU = -1024


def without_padding(raw: RawImage) -> RawImage:
    """The image with values below the Hounsfield scale set to air, and a remark that says how many; CT only."""
    below = np.less(raw.array, AIR_HU) if raw.modality == "CT" else np.zeros(0, dtype=bool)
    count = int(np.count_nonzero(below))
    if not count:
        return raw
    array = np.array(raw.array)
    array[below] = AIR_HU
    remark = Remark("SAC-G035", f"{count} voxels below {AIR_HU} HU, outside the scan, set to {AIR_HU} HU.")
    return replace(raw, array=array, remarks=(*raw.remarks, remark))


# Hounsfield limits of what every CT of a body holds, and shares of voxels that decide.
_AIR_HU = -300
_SOFT_HU = (-200, 250)
_FAT_HU = -30
_DENSE_HU = 700
_LEAST_SOFT = 0.02
_MOST_DENSE = 0.25


def _hounsfield(raw: RawImage) -> tuple[Remark, ...]:
    """Air, soft tissue and bone must lie where the Hounsfield scale puts them."""
    edges = np.array([-np.inf, _AIR_HU, _SOFT_HU[0], _SOFT_HU[1], _DENSE_HU, np.inf])
    air, fat_gap, soft, bone, dense = (
        float(np.count_nonzero((raw.array >= low) & (raw.array < high))) for low, high in pairwise(edges)
    )
    body = fat_gap + soft + bone + dense
    got = f"air {air / raw.array.size:.0%}, soft tissue {soft / raw.array.size:.0%}, dense {dense / raw.array.size:.0%}"
    if body == 0 or soft / raw.array.size < _LEAST_SOFT or dense / body > _MOST_DENSE:
        raise rejected(
            "SAC-G031",
            "The values are not plausible Hounsfield units",
            got=got,
            remedy="Check rescale slope and intercept, or convert the image from DICOM again",
        )
    if air == 0:
        # Inside a body there is fat and bone even where no air is in view; rescaled greys have neither.
        if raw.array.min() > _FAT_HU or raw.array.max() < _SOFT_HU[1]:
            remedy = "Convert the image from DICOM again"
            got = f"values from {raw.array.min()} to {raw.array.max()}"
            raise rejected("SAC-G031", "The values are not plausible Hounsfield units", got=got, remedy=remedy)
        return (Remark("SAC-G032", "There is no air in view, so the Hounsfield scale could not be checked."),)
    return ()
