"""The shadow of a straight needle: exact path length of every ray through its steel, bevel and bore included."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sacroplasty.fluoroscopy.projector import Image
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import NeedlePlan
from sacroplasty.space import Points

_MARGIN_PIXELS = 4


def bevel_direction(direction: npt.ArrayLike, azimuth_deg: float) -> Points:
    """Unit vector (3,) across the needle that its bevel faces: 0 towards the head, then clockwise seen from the hub."""
    along = np.asarray(direction, dtype=np.float64)
    head = np.array([0.0, 0.0, 1.0]) - along[2] * along
    if np.linalg.norm(head) < 1e-6:  # a needle along the body: head has no direction across it, take the back
        head = np.array([0.0, 1.0, 0.0]) - along[1] * along
    head /= np.linalg.norm(head)
    azimuth = math.radians(azimuth_deg)
    return np.asarray(head * math.cos(azimuth) + np.cross(along, head) * math.sin(azimuth))


def needle_path_mm(view: View, placed: NeedlePlan, stylet: bool = True) -> Image:
    """Path in mm (rows, columns) through the steel of a placed needle; without the stylet its bore is empty."""
    path = _cylinder_path(view, placed, placed.needle.outer_diameter_mm / 2)
    if not stylet:
        path -= _cylinder_path(view, placed, placed.needle.inner_diameter_mm / 2)
    return path


def _cylinder_path(view: View, placed: NeedlePlan, radius_mm: float) -> Image:
    out = np.zeros((view.carm.rows, view.carm.columns), dtype=np.float32)
    along = placed.trajectory.direction
    tip = np.asarray(placed.tip_mm)
    hub = tip - placed.needle.length_mm * along
    window = _window(view, np.stack([tip, hub]), radius_mm)
    if window is None:
        return out
    rows, columns = window
    v, u = np.mgrid[rows, columns]
    rays = view.rays(np.stack([u, v], axis=-1))
    start = view.source_mm
    enter, leave = _through_infinite_cylinder(start, rays, tip, along, radius_mm)
    planes = [(hub, -along)]
    bevel = math.radians(placed.needle.bevel_angle_deg)
    if placed.needle.has_bevel and placed.bevel_azimuth_deg is not None:
        facing = bevel_direction(along, placed.bevel_azimuth_deg)
        sharp = tip - placed.needle.radius_mm * facing
        planes.append((sharp, facing * math.cos(bevel) + along * math.sin(bevel)))
    else:
        planes.append((tip, along))
    for point, outward in planes:
        speed = rays @ outward
        distance = float(outward @ (point - start))
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = distance / speed
        leave = np.where(speed > 0, np.minimum(leave, crossing), leave)
        enter = np.where(speed < 0, np.maximum(enter, crossing), enter)
        leave = np.where((speed == 0) & (distance < 0), enter, leave)
    out[rows, columns] = np.maximum(leave - enter, 0.0)
    return out


def _through_infinite_cylinder(
    start: Points, rays: Points, point: Points, along: Points, radius_mm: float
) -> tuple[Points, Points]:
    """Distances from the start (rows, columns) at which rays enter and leave; equal where they miss."""
    offset = start - point
    offset = offset - (offset @ along) * along
    across = rays - (rays @ along)[..., None] * along
    a = np.maximum((across**2).sum(axis=-1), 1e-12)
    b = across @ offset
    c = float(offset @ offset) - radius_mm**2
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    return (-b - root) / a, (-b + root) / a


def _window(view: View, ends_mm: Points, radius_mm: float) -> tuple[slice, slice] | None:
    """Detector rows and columns that the needle can shade; None where it is off the detector or behind the source."""
    depth = view.camera_from_patient.points(ends_mm)[:, 2]
    near = 0.05 * view.carm.source_detector_mm
    if (depth < near).all():
        return None
    if (depth < near).any():  # keep the part in front of the source
        back = int(np.argmin(depth))
        share = (near - depth[back]) / (depth[1 - back] - depth[back])
        ends_mm = ends_mm.copy()
        ends_mm[back] += share * (ends_mm[1 - back] - ends_mm[back])
    uv = view.detector_from_patient.points(ends_mm)
    smallest = float(view.pixel_mm_at(ends_mm).min())
    margin = _MARGIN_PIXELS + 2 * radius_mm / smallest
    low = np.floor(uv.min(axis=0) - margin)
    high = np.ceil(uv.max(axis=0) + margin)
    last = np.array([view.carm.columns, view.carm.rows]) - 1
    low, high = np.clip(low, 0, last).astype(int), np.clip(high, 0, last).astype(int)
    if (high <= low).any():
        return None
    return slice(int(low[1]), int(high[1]) + 1), slice(int(low[0]), int(high[0]) + 1)
