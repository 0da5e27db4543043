"""The mouth of a foramen: the gap that it leaves in the plane of the bone's surface around it.

A tunnel that leaves the bone aslant ceases to be enclosed before its mouth is reached, on the side to which it leans
the bone is a ramp. The plane of the bone around the opening is laid through the mask at several depths; in each the gap
has a centre, and the line through the centres, followed up to the surface, is the axis' way out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.structures import Face
from sacroplasty.anatomy.unrolled import UnrolledSurface
from sacroplasty.space import Points

Array = npt.NDArray[np.float64]

# Depths below the surface at which the gap is cut, and the pixel of the cuts.
DEPTHS_MM = (0.8, 1.2, 1.6, 2.0, 2.4)
PIXEL_MM = 0.4
# The gap lies within this many radii and millimetres of the opening, or it is none of its own.
REACH_RADII, REACH_MM = 2.0, 3.0
# The line through the centres is followed over this distance at most.
LONGEST_WAY_MM = 2.5
ROUNDS = 2
# Ring of bone around an opening whose plane is the surface.
RING_MM = 5.0
LEAST_RING = 20


@dataclass(frozen=True, eq=False)
class Mouth:
    """Sacral coordinates (s, x, d) of the mouth's middle and the diameter of the circle of its area, mm."""

    coordinates: Points
    diameter_mm: float


def find_mouth(
    field: SacrumField,
    surface: UnrolledSurface,
    face: Face,
    place: Points,
    radius_mm: float,
    dark_hu: float = -np.inf,
) -> Mouth | None:
    """The mouth near a place (s, x, d) of a foramen of about this radius; None where the bone around it has no plane
    or the gap runs on beyond what can be its own. What is darker than `dark_hu` is gap as well, where the mask has
    closed it.
    """
    middle = np.asarray(place, dtype=np.float64)
    reach = REACH_RADII * radius_mm + REACH_MM
    steps = np.arange(-reach, reach + PIXEL_MM / 2, PIXEL_MM)
    along, across = np.meshgrid(steps, steps, indexing="ij")
    distance = np.hypot(along, across)
    diameter = 0.0
    for _ in range(ROUNDS):
        plane = rim_plane(surface, middle, radius_mm)
        if plane is None:
            return None
        inwards = (1.0 if face is Face.ANTERIOR else -1.0) * np.sqrt(1 + plane[1] ** 2 + plane[2] ** 2)
        centres, areas = [], []
        for depth in DEPTHS_MM:
            depths = plane[0] + plane[1] * along + plane[2] * across + inwards * depth
            places = np.stack([middle[0] + along, middle[1] + across, depths], axis=-1)
            at = field.frame.points(places)
            free = (field.sampled(field.signed_mm, at, -12.0) < 0) | (field.sampled(field.hu, at, 0.0) < dark_hu)
            gap = _own_gap(free & (distance < reach), distance < radius_mm)
            if gap is None or (gap & (distance > reach - 2 * PIXEL_MM)).any():
                return None
            centres.append([along[gap].mean(), across[gap].mean()])
            areas.append(float(gap.sum()) * PIXEL_MM**2)
        slope, at_surface = np.polyfit(DEPTHS_MM, np.array(centres), 1)
        way = DEPTHS_MM[0] * slope
        shortened = min(1.0, LONGEST_WAY_MM / max(float(np.linalg.norm(way)), 1e-6))
        off = at_surface + (1.0 - shortened) * way
        middle = np.array([middle[0] + off[0], middle[1] + off[1], plane[0] + plane[1:] @ off])
        diameter = float(2 * np.sqrt(areas[0] / np.pi))
    return Mouth(middle, diameter)


def _own_gap(free: npt.NDArray[np.bool_], near: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """The connected free region that fills most of the middle; None where the middle is bone."""
    pieces = ndimage.label(free)[0]
    shares = np.bincount(pieces[near], minlength=1)[1:]
    if not shares.any():
        return None
    return np.asarray(pieces == 1 + int(shares.argmax()))


def rim_plane(surface: UnrolledSurface, place: Points, radius_mm: float) -> Array | None:
    """Depth and slopes (along arc, along lateral) of the bone's surface in a ring around a place, if any."""
    arc, lateral = np.meshgrid(surface.arc_mm - place[0], surface.lateral_mm - place[1], indexing="ij")
    distance = np.hypot(arc, lateral)
    ring = (distance > radius_mm + 1) & (distance < radius_mm + RING_MM) & np.isfinite(surface.bone_depth_mm)
    system = np.column_stack([np.ones(int(ring.sum())), arc[ring], lateral[ring]])
    depth = surface.bone_depth_mm[ring].astype(np.float64)
    for _ in range(3):
        if len(depth) < LEAST_RING:
            return None
        plane = np.linalg.lstsq(system, depth, rcond=None)[0]
        residual = np.abs(system @ plane - depth)
        keep = residual <= max(1.0, 2.0 * float(np.median(residual)))
        system, depth = system[keep], depth[keep]
    return np.asarray(plane)
