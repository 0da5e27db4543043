"""Whether the C-arm can take a view: mechanical limits, and its two ends against patient and table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.view import View, console_angles, room_axes
from sacroplasty.space import Mask, Points

# Spacing of the points that stand for skin and table.
_STEP_MM = 12.0


@dataclass(frozen=True)
class Reach:
    """Whether a view can be taken, what stops it, and the smallest gap in mm between machine and patient or table."""

    possible: bool
    reason: str
    gap_mm: float


def body_surface(body: Mask) -> Points:
    """Points (n, 3) in LPS mm on the skin, drawn out beyond a scan's cut ends by the assumed length of trunk and legs.

    A scan shows a slab of the patient; its first and last slices stand for what lies beyond.
    """
    step = max(1, round(_STEP_MM / max(body.grid.spacing_mm)))
    coarse = body.array[::step, ::step, ::step]
    shell = coarse & ~ndimage.binary_erosion(coarse, border_value=1)
    points = body.grid.patient_from_voxel.points(np.argwhere(shell) * step)
    beyond = []
    for index, sign in ((0, -1.0), (coarse.shape[2] - 1, 1.0)):
        rim = np.argwhere(coarse[:, :, index])
        if len(rim):
            slab = body.grid.patient_from_voxel.points(np.column_stack([rim, np.full(len(rim), index)]) * step)
            lengths = np.arange(_STEP_MM, value("assumptions.body_beyond_scan"), 2 * _STEP_MM)
            beyond.append((slab[:, None] + lengths[None, :, None] * np.array([0, 0, sign])).reshape(-1, 3))
    return np.concatenate([points, *beyond])


def table_surface(view: View, skin_mm: Points) -> Points:
    """Points (n, 3) in LPS mm of the table top under a patient in the view's position."""
    left, down, head = room_axes(view.patient_position)
    middle = np.asarray(view.isocentre_mm)
    top = float(((skin_mm - middle) @ down).max())
    half = value("assumptions.table_width") / 2
    across = np.arange(-half, half + 1, 2 * _STEP_MM)
    along = np.arange(-600.0, 601.0, 2 * _STEP_MM)
    depth = np.array([top, top + value("assumptions.table_thickness")])
    a, d, h = np.meshgrid(across, depth, along, indexing="ij")
    return np.asarray(middle + a.reshape(-1, 1) * left + d.reshape(-1, 1) * down + h.reshape(-1, 1) * head)


def reach(view: View, skin_mm: Points | None = None) -> Reach:
    """Whether the machine can stand in a view without touching a patient (points of `body_surface`) or the table."""
    carm = view.carm
    primary, secondary = console_angles(view)
    for angle, limits, name in (
        (primary, carm.primary_limits_deg, "orbit"),
        (secondary, carm.secondary_limits_deg, "tilt"),
    ):
        if not limits[0] <= angle <= limits[1]:
            return Reach(
                False, f"{name} of {angle:.0f}° is beyond the machine's {limits[0]:.0f}° to {limits[1]:.0f}°", 0.0
            )
    if skin_mm is None:
        return Reach(True, "", float("inf"))
    gaps = []
    for points, what in ((skin_mm, "the patient"), (table_surface(view, skin_mm), "the table")):
        camera = view.camera_from_patient.points(points)
        for name, front, outward, radius in (
            ("detector", carm.source_detector_mm, 1.0, carm.detector_housing_mm),
            ("tube", carm.tube_front_mm, -1.0, carm.tube_housing_mm),
        ):
            gaps.append((_gap(camera, front, outward, radius), f"the {name} would touch {what}"))
    smallest, reason = min(gaps)
    return Reach(smallest > 0, "" if smallest > 0 else reason, max(smallest, 0.0))


def _gap(camera: npt.NDArray[np.float64], front: float, outward: float, radius: float) -> float:
    """Distance of points in CAMERA mm to a half-infinite cylinder about the central ray; negative inside."""
    along = (front - camera[:, 2]) * outward
    across = np.hypot(camera[:, 0], camera[:, 1]) - radius
    outside = np.hypot(np.maximum(along, 0), np.maximum(across, 0))
    return float(np.where((along < 0) & (across < 0), np.maximum(along, across), outside).min())
