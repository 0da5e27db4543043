"""A posed C-arm: where the source and the detector stand about the patient, and where a point of the patient projects.

Angles are DICOM positioner angles (PS3.3 C.8.7.5): they say where the detector is, seen from the isocentre, in the
patient's own axes. Primary 0 is in front of the chest, +90 the patient's left (LAO), ±180 the back; secondary + is
towards the head (CRA). A prone patient over an undertable tube has the detector behind the back: primary 180. What the
console of such a machine shows is another number, and `console_angles` is the only place that turns one into the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy.carm import CArm
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Frame, Points, Projection, Transform

# Beyond this tilt the detector's columns have no caudal direction to follow.
STEEPEST_SECONDARY_DEG = 85.0


class PatientPosition(StrEnum):
    """DICOM Patient Position (0018,5100)."""

    HFS = "HFS"
    HFP = "HFP"
    FFS = "FFS"
    FFP = "FFP"
    HFDR = "HFDR"
    HFDL = "HFDL"

    @property
    def words(self) -> str:
        """For example `prone, head first`."""
        lying = {"S": "supine", "P": "prone", "DR": "right side down", "DL": "left side down"}[self.value[2:]]
        return f"{lying}, {'head' if self.value[0] == 'H' else 'feet'} first"


# Rows: the room's left, floor and head end (as a supine, head-first patient has them) in the patient's own LPS axes.
_ROOM_AXES = {
    PatientPosition.HFS: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    PatientPosition.HFP: ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    PatientPosition.FFS: ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    PatientPosition.FFP: ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    PatientPosition.HFDR: ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    PatientPosition.HFDL: ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
}


def room_axes(position: PatientPosition) -> npt.NDArray[np.float64]:
    """Rows (3, 3): the room's left, down and head-end directions, as unit vectors in the patient's LPS axes."""
    return np.array(_ROOM_AXES[position], dtype=np.float64)


def direction_of(primary_deg: float, secondary_deg: float) -> npt.NDArray[np.float64]:
    """Unit vector (3,) from the isocentre to the detector, LPS, of DICOM positioner angles."""
    p, s = math.radians(primary_deg), math.radians(secondary_deg)
    return np.array([math.sin(p) * math.cos(s), -math.cos(p) * math.cos(s), math.sin(s)])


def angles_of(direction: npt.ArrayLike) -> tuple[float, float]:
    """DICOM positioner angles (primary, secondary) in degrees of a direction (3,) from isocentre to detector, LPS."""
    x, y, z = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    return math.degrees(math.atan2(x, -y)), math.degrees(math.asin(float(np.clip(z, -1, 1))))


@dataclass(frozen=True)
class View:
    """A C-arm posed about a patient.

    `isocentre_mm` (LPS) is the patient point on the central ray at the machine's isocentre. `rig_from_patient` is
    None for a nominal pose; after registration it carries CT coordinates into the coordinates the angles belong to.
    CAMERA: source at 0, +x along detector columns u, +y along rows v (down), +z to the detector.
    """

    carm: CArm
    primary_deg: float
    secondary_deg: float
    isocentre_mm: Point
    patient_position: PatientPosition = PatientPosition.HFP
    name: str = ""
    rig_from_patient: Transform | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "isocentre_mm", as_point(self.isocentre_mm))
        object.__setattr__(self, "patient_position", PatientPosition(self.patient_position))
        if not (math.isfinite(self.primary_deg) and abs(self.secondary_deg) <= STEEPEST_SECONDARY_DEG):
            raise InputError(
                "A view's angles must be finite, its secondary angle not along the body",
                got=f"primary {self.primary_deg}, secondary {self.secondary_deg} deg",
                remedy=f"Keep the secondary angle within ± {STEEPEST_SECONDARY_DEG:.0f} deg",
            )
        primary = (self.primary_deg + 180.0) % 360.0 - 180.0
        object.__setattr__(self, "primary_deg", 180.0 if primary == -180.0 else primary)
        rig = self.rig_from_patient
        if rig is not None and (rig.target is not Frame.PATIENT or rig.source is not Frame.PATIENT):
            raise InputError("A view's registration must carry patient to patient", got=f"{rig.target}, {rig.source}")

    @cached_property
    def camera_from_patient(self) -> Transform:
        """Rigid; CAMERA mm of LPS mm."""
        ahead = direction_of(self.primary_deg, self.secondary_deg)
        p = math.radians(self.primary_deg)
        across = np.array([-math.cos(p), -math.sin(p), 0.0])
        matrix = np.eye(4)
        matrix[:3, :3] = across, np.cross(ahead, across), ahead
        source = np.asarray(self.isocentre_mm) - self.carm.source_isocentre_mm * ahead
        matrix[:3, 3] = -matrix[:3, :3] @ source
        nominal = Transform(Frame.CAMERA, Frame.PATIENT, matrix)
        return nominal if self.rig_from_patient is None else nominal @ self.rig_from_patient

    @cached_property
    def detector_from_camera(self) -> Projection:
        """DETECTOR pixels of CAMERA mm."""
        carm = self.carm
        focal = carm.source_detector_mm / carm.pixel_mm
        matrix = np.zeros((3, 4))
        matrix[0, :3] = focal, 0.0, (carm.columns - 1) / 2
        matrix[1, :3] = 0.0, focal, (carm.rows - 1) / 2
        matrix[2, 2] = 1.0
        return Projection(Frame.CAMERA, matrix)

    @cached_property
    def detector_from_patient(self) -> Projection:
        """DETECTOR pixels of LPS mm."""
        return self.detector_from_camera @ self.camera_from_patient

    @cached_property
    def source_mm(self) -> Points:
        """The focal spot (3,), LPS mm."""
        return self.camera_from_patient.inverse.points((0.0, 0.0, 0.0))

    @cached_property
    def ahead(self) -> Points:
        """Unit vector (3,) from source to detector along the central ray, LPS."""
        return self.camera_from_patient.inverse.vectors((0.0, 0.0, 1.0))

    def detector_points_mm(self, pixels: npt.ArrayLike) -> Points:
        """Positions (..., 3) in LPS mm, on the detector's face, of pixels (..., 2) as (u, v)."""
        uv = np.asarray(pixels, dtype=np.float64)
        centre = np.array([(self.carm.columns - 1) / 2, (self.carm.rows - 1) / 2])
        flat = (uv - centre) * self.carm.pixel_mm
        depth = np.full((*uv.shape[:-1], 1), self.carm.source_detector_mm)
        return self.camera_from_patient.inverse.points(np.concatenate([flat, depth], axis=-1))

    def rays(self, pixels: npt.ArrayLike) -> Points:
        """Unit vectors (..., 3) in LPS from the source through pixels (..., 2) as (u, v)."""
        offset = self.detector_points_mm(pixels) - self.source_mm
        return np.asarray(offset / np.linalg.norm(offset, axis=-1, keepdims=True))

    def sees(self, points_mm: npt.ArrayLike, margin_pixels: float = 0.0) -> npt.NDArray[np.bool_]:
        """Whether positions (..., 3) project onto the detector, at least `margin_pixels` from its edge."""
        uv = self.detector_from_patient.points(points_mm)
        last = np.array([self.carm.columns, self.carm.rows]) - 1 - margin_pixels
        with np.errstate(invalid="ignore"):
            return np.asarray(((uv >= margin_pixels) & (uv <= last)).all(axis=-1))

    def pixel_mm_at(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Width in mm (...) that one pixel covers at the depth of positions (..., 3)."""
        depth = self.camera_from_patient.points(points_mm)[..., 2]
        return np.asarray(depth * self.carm.pixel_mm / self.carm.source_detector_mm)

    def turned(self, primary_deg: float = 0.0, secondary_deg: float = 0.0) -> Self:
        """A copy turned by these angles."""
        return self.with_(primary_deg=self.primary_deg + primary_deg, secondary_deg=self.secondary_deg + secondary_deg)

    def registered(self, rig_from_patient: Transform) -> Self:
        """A copy that knows where the patient of the CT really lies; replaces an earlier registration."""
        return self.with_(rig_from_patient=rig_from_patient)

    def with_(self, **changes: object) -> Self:
        """A copy with fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def angles_label(self) -> str:
        """Console angles and the patient's position, for example `LAO 12 / CRA 28 (patient prone, head first)`."""
        primary, secondary = console_angles(self)
        return f"{_angle_words(primary, secondary)} (patient {self.patient_position.words})"

    @property
    def tilt_words(self) -> str:
        """Where the detector stands, in the patient's directions: a sentence that no console convention can turn.

        The direction it is nearest to, then how far it leans towards the others: the beam's angle in degrees to the
        plane across each of them.
        """
        toward = direction_of(self.primary_deg, self.secondary_deg)
        names = (("left", "right"), ("back", "front"), ("head", "feet"))
        (_, main), *others = sorted(
            ((float(c), pair[0] if c > 0 else pair[1]) for c, pair in zip(toward, names, strict=True)),
            key=lambda part: -abs(part[0]),
        )
        leans = [(np.degrees(np.arcsin(abs(c))), name) for c, name in others]
        said = " and ".join(f"{degrees:.0f}° towards the {name}" for degrees, name in leans if degrees >= 0.5)
        return f"detector at the patient's {main}{f', leaning {said}' if said else ''}"


def _angle_words(primary_deg: float, secondary_deg: float) -> str:
    p, s = round(primary_deg), round(secondary_deg)
    return f"{'RAO' if p < 0 else 'LAO'} {abs(p)} / {'CAU' if s < 0 else 'CRA'} {abs(s)}"


def console_angles(view: View) -> tuple[float, float]:
    """Primary and secondary angle in degrees that the C-arm's console shows for a view.

    A console counts from the detector straight above the table, LAO towards the side where a supine, head-first
    patient has the left, CRA towards the end where that patient has the head; it does not know how the patient lies.
    """
    room = room_axes(view.patient_position) @ direction_of(view.primary_deg, view.secondary_deg)
    return angles_of(room)


def view_from_console(
    carm: CArm,
    console_primary_deg: float,
    console_secondary_deg: float,
    isocentre_mm: npt.ArrayLike,
    patient_position: PatientPosition = PatientPosition.HFP,
    name: str = "",
) -> View:
    """The view of console angles: the inverse of `console_angles`."""
    room = direction_of(console_primary_deg, console_secondary_deg)
    primary, secondary = angles_of(room_axes(patient_position).T @ room)
    return View(carm, primary, secondary, as_point(isocentre_mm), patient_position, name)
