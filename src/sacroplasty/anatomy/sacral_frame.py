"""The patient's own sacral axes: plane of symmetry, promontory, endplate and the curve of the ventral cortex.

Method: the bone's surface is mirrored at a plane until it falls on itself; in that plane rays from a point in the
pelvis meet the ventral cortex, and the promontory is where they cease to (the cranial horizon).
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from sacroplasty.anatomy.signed_distance import BoolArray, FloatArray
from sacroplasty.anatomy.structures import SacralFrame
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import as_point
from sacroplasty.space import Grid, Points

Flat = npt.NDArray[np.float64]

# Surface points mirrored, and how far a miss may count: a lesion on one side must not pull the plane.
SURFACE_POINTS = 5000
MISS_CAP_MM = 6.0
START_TILTS_DEG = (-16.0, 0.0, 16.0)
# Midline slab in which the ventral cortex is looked for, and its sampling.
SLAB_HALF_MM = 6.0
RAY_STEP_DEG = 0.5
RAY_RANGE_MM = 170.0
# A jump between neighbouring hits larger than this has left the ventral surface.
JUMP_MM = 6.0
CURVE_STEP_MM = 0.5
# The promontory is a rounded corner; its first stretch is replaced by the tangent below it or the frame would bend.
ROUNDED_MM = 5.0
# A hit with no data this far in front of it lies on the face where the scan cuts the bone.
CUT_FACE_MM = 2.5
# Shorter than this the midline section is no sacrum.
SHORTEST_CURVE_MM = 30.0


@dataclass(frozen=True)
class Plane:
    """Mid-sagittal plane: unit normal towards the left, a point on it (LPS mm), mean miss of the mirrored surface."""

    normal: Points
    point_mm: Points
    residual_mm: float


@dataclass(frozen=True)
class Section:
    """The bone's cut by the mid-sagittal plane: occupancy (dorsal, cranial), where the scan has data, and the place of
    the first pixel.
    """

    inside: BoolArray
    seen: BoolArray
    low: Flat
    spacing_mm: float

    def at(self, points: Flat) -> Flat:
        """Occupancy 0..1 at plane positions (..., 2)."""
        return self._sampled(self.inside, points)

    def seen_at(self, points: Flat) -> BoolArray:
        """Whether the scan has data at plane positions (..., 2)."""
        return np.asarray(self._sampled(self.seen, points) > 0.5)

    def _sampled(self, array: BoolArray, points: Flat) -> Flat:
        index = (points - self.low) / self.spacing_mm
        values = ndimage.map_coordinates(array.astype(np.float32), index.reshape(-1, 2).T, order=1)
        return np.asarray(values.reshape(points.shape[:-1]))


def find_frame(signed_mm: FloatArray, hull: BoolArray, seen: BoolArray, grid: Grid) -> SacralFrame:
    """The sacral frame of a sacrum given by its signed distance and its closed hull on an isotropic aligned grid. The
    curve ends where `seen` does: the face at which a scan cuts the bone is not its ventral cortex.

    AnatomyError where the midline section shows no ventral curve.
    """
    plane = symmetry_plane(signed_mm, grid)
    axes = _axes(plane.normal)
    section = _midline_section(hull, seen, grid, plane, axes)
    hits, towards_pelvis = _ventral_hits(section)
    curve, promontory = _smoothed_curve(hits)
    slope = _endplate_slope_deg(section, curve, promontory, towards_pelvis)

    def in_patient(flat: Flat) -> Points:
        return plane.point_mm + flat @ axes[1:]

    confidence = float(np.clip(1.25 - plane.residual_mm / 4.0, 0.1, 1.0))
    return SacralFrame(
        origin_mm=as_point(in_patient(promontory)),
        left=as_point(axes[0]),
        dorsal=as_point(axes[1]),
        cranial=as_point(axes[2]),
        ventral_curve_mm=in_patient(curve[:: round(1.0 / CURVE_STEP_MM)]),
        endplate_slope_deg=slope,
        symmetry_residual_mm=plane.residual_mm,
        confidence=confidence,
    )


def _axes(normal: Points) -> Points:
    """Rows left, dorsal, cranial: cranial is the patient's axis within the plane."""
    up = np.array([0.0, 0.0, 1.0])
    cranial = up - (up @ normal) * normal
    cranial /= np.linalg.norm(cranial)
    return np.stack([normal, np.cross(cranial, normal), cranial])


def symmetry_plane(signed_mm: FloatArray, grid: Grid) -> Plane:
    """The plane at which the bone's surface, mirrored, misses itself least; started from the patient's own axes."""
    spacing = grid.spacing_mm[0]
    surface = np.argwhere((signed_mm > 0) & (signed_mm < 1.2 * spacing))
    picked = np.random.default_rng(0).permutation(len(surface))[:SURFACE_POINTS]
    centre = np.argwhere(signed_mm > 0).mean(axis=0)
    points = (surface[picked] - centre) * spacing
    misses = np.minimum(np.abs(signed_mm), MISS_CAP_MM)

    def normal_of(tilts: Flat) -> Points:
        normal = np.array([1.0, np.tan(tilts[0]), np.tan(tilts[1])])
        return np.asarray(normal / np.linalg.norm(normal))

    def miss(parameters: Flat) -> float:
        normal = normal_of(parameters)
        mirrored = points - 2 * (points @ normal - parameters[2])[:, None] * normal
        return float(ndimage.map_coordinates(misses, (mirrored / spacing + centre).T, order=1, mode="nearest").mean())

    def descend(start: Flat, step: float, rounds: int) -> optimize.OptimizeResult:
        simplex = start + np.array([[0, 0, 0], [step, 0, 0], [0, step, 0], [0, 0, 40 * step]])
        options = {"initial_simplex": simplex, "maxiter": rounds, "xatol": 1e-4, "fatol": 1e-4}
        return optimize.minimize(miss, start, method="Nelder-Mead", options=options)

    starts = [np.array([*np.deg2rad([a, b]), 0.0]) for a in START_TILTS_DEG for b in START_TILTS_DEG]
    best = min((descend(start, 0.1, 50) for start in starts), key=lambda found: found.fun)
    best = descend(best.x, 0.03, 200)
    normal = normal_of(best.x)
    point = grid.patient_from_voxel.points(centre) + best.x[2] * normal
    return Plane(normal, point, float(best.fun))


def _midline_section(hull: BoolArray, seen: BoolArray, grid: Grid, plane: Plane, axes: Points) -> Section:
    """Majority of the closed bone over the midline slab, the largest piece of it."""
    spacing = grid.spacing_mm[0]
    flat = (grid.patient_from_voxel.points(np.argwhere(hull)) - plane.point_mm) @ axes[1:].T
    low, high = flat.min(axis=0) - 5, flat.max(axis=0) + 5
    steps = [np.arange(a, b, spacing) for a, b in zip(low, high, strict=True)]
    inside = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    occupancy = np.zeros(inside.shape[:2])
    offsets = np.arange(-SLAB_HALF_MM, SLAB_HALF_MM + 0.1, 2.0)
    for offset in offsets:
        points = plane.point_mm + inside @ axes[1:] + offset * axes[0]
        index = grid.voxel_from_patient.points(points.reshape(-1, 3)).T
        occupancy += ndimage.map_coordinates(hull.astype(np.float32), index, order=1).reshape(occupancy.shape)
    index = grid.voxel_from_patient.points((plane.point_mm + inside @ axes[1:]).reshape(-1, 3)).T
    data = ndimage.map_coordinates(seen.astype(np.float32), index, order=0).reshape(occupancy.shape) > 0.5
    pieces = cc3d.connected_components((occupancy > 0.5 * len(offsets)).astype(np.uint8)[..., None], connectivity=6)
    sizes = np.bincount(pieces.ravel())
    if len(sizes) < 2:
        raise AnatomyError(
            "The sacrum has no bone in its plane of symmetry",
            remedy="Check the sacrum's mask: both halves and the bodies between them are needed",
        )
    return Section(pieces[..., 0] == 1 + int(np.argmax(sizes[1:])), np.asarray(data), low, spacing)


def _ventral_hits(section: Section) -> tuple[Flat, Flat]:
    """First hits (n, 2), cranial first, of rays from the pelvis on the ventral cortex, and the direction to the pelvis.

    The rays' source is moved to the centre of the curve they find, three rounds.
    """
    pixels = np.argwhere(section.inside) * section.spacing_mm + section.low
    centre = pixels.mean(axis=0)
    long_axis = np.linalg.eigh(np.cov((pixels - centre).T))[1][:, 1]
    to_pelvis = np.array([long_axis[1], -long_axis[0]])
    to_pelvis *= -np.sign(to_pelvis[0])
    source, hits = centre + 65 * to_pelvis, pixels[:0]
    for _ in range(3):
        hits = _first_hits(section, source, centre)
        source = _curve_centre(hits, to_pelvis)
    return hits, to_pelvis


def _first_hits(section: Section, source: Flat, centre: Flat) -> Flat:
    """The unbroken fan of first hits around the ray towards the section's centre, cranial end first."""
    towards = np.arctan2(*(centre - source)[::-1])
    angles = towards + np.deg2rad(np.arange(-180, 180, RAY_STEP_DEG))
    ranges = np.arange(5, RAY_RANGE_MM, 0.4)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    met = np.asarray(section.at(source + ranges[None, :, None] * rays[:, None, :]) > 0.5)
    first, any_met = ranges[met.argmax(axis=1)], np.asarray(met.any(axis=1))
    any_met &= section.seen_at(source + (first - CUT_FACE_MM)[:, None] * rays)
    middle = len(angles) // 2
    if not any_met[middle]:
        raise AnatomyError("No ventral cortex is met in the midline", remedy="Check the sacrum's mask")
    gaps = np.flatnonzero(~any_met)
    low = max((int(g) + 1 for g in gaps if g < middle), default=0)
    high = min((int(g) for g in gaps if g > middle), default=len(angles))
    hits = source + first[low:high, None] * rays[low:high]
    if hits[0, 1] < hits[-1, 1]:
        hits = hits[::-1]
    jumps = np.flatnonzero(np.linalg.norm(np.diff(hits, axis=0), axis=1) > JUMP_MM)
    middle = len(hits) // 2
    low = max((int(j) + 1 for j in jumps if j < middle), default=0)
    high = min((int(j) + 1 for j in jumps if j >= middle), default=len(hits))
    return np.asarray(hits[low:high])


def _curve_centre(hits: Flat, to_pelvis: Flat) -> Flat:
    """Centre of the circle through the hits, kept 50 to 90 mm in front of them."""
    system = np.column_stack([2 * hits, np.ones(len(hits))])
    solution = np.linalg.lstsq(system, (hits**2).sum(axis=1), rcond=None)[0]
    radius = np.sqrt(max(solution[2] + solution[:2] @ solution[:2], 0.0))
    middle = hits.mean(axis=0)
    offset = solution[:2] - middle
    direction = offset if offset @ to_pelvis > 0 else to_pelvis
    return np.asarray(middle + direction / np.linalg.norm(direction) * np.clip(radius, 50, 90))


def _smoothed_curve(hits: Flat) -> tuple[Flat, Flat]:
    """Ventral curve (n, 2) in steps of 0.5 mm and the promontory (2,); hits are smoothed before length is measured,
    because their jitter would lengthen the arc.
    """
    pad = 9
    if len(hits) <= 2 * pad:
        raise AnatomyError("The ventral curve of the sacrum is too short", got=f"{len(hits)} ray hits")
    padded = np.concatenate([2 * hits[0] - hits[pad:0:-1], hits, 2 * hits[-1] - hits[-2 : -pad - 2 : -1]])
    even = _evenly_spaced(ndimage.gaussian_filter1d(padded, 2.5, axis=0)[pad:-pad])
    if len(even) * CURVE_STEP_MM < SHORTEST_CURVE_MM:
        raise AnatomyError(
            "The ventral curve of the sacrum is too short",
            got=f"{len(even) * CURVE_STEP_MM:.0f} mm",
            remedy="The scan or the mask must hold at least S1",
        )
    promontory = even[0].copy()
    smooth = ndimage.gaussian_filter1d(even, 4.0 / CURVE_STEP_MM, axis=0, mode="nearest")
    ends = round(4.0 / CURVE_STEP_MM)
    smooth[-ends:] = even[-ends:]
    rounded = round(ROUNDED_MM / CURVE_STEP_MM)
    tangent = smooth[rounded] - smooth[3 * rounded]
    tangent /= np.linalg.norm(tangent)
    smooth[:rounded] = smooth[rounded] + tangent * CURVE_STEP_MM * np.arange(rounded, 0, -1)[:, None]
    return _evenly_spaced(smooth), promontory


def _evenly_spaced(line: Flat) -> Flat:
    """A polyline (n, 2) resampled in steps of 0.5 mm."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    steps = np.arange(0, length[-1], CURVE_STEP_MM)
    return np.stack([np.interp(steps, length, line[:, axis]) for axis in range(2)], axis=1)


def _endplate_slope_deg(section: Section, curve: Flat, promontory: Flat, to_pelvis: Flat) -> float:
    """Angle of the S1 endplate against the patient's horizontal, degrees, positive where it falls ventrally: a line
    through the section's upper border 4 to 22 mm behind the promontory. NaN where that border is not seen.
    """
    caudal = curve[40] - curve[20]
    caudal /= np.linalg.norm(caudal)
    back = np.array([-caudal[1], caudal[0]])
    back *= -np.sign(back @ to_pelvis)
    border = section.inside & ~ndimage.binary_erosion(section.inside)
    relative = np.argwhere(border) * section.spacing_mm + section.low - promontory
    behind, below = relative @ back, relative @ caudal
    near = (behind > 4) & (behind < 22) & (below > -16) & (below < 14)
    bins = np.arange(4, 22, 1.5)
    tops = [
        (low + 0.75, below[near & (behind > low) & (behind <= low + 1.5)].min())
        for low in bins
        if (near & (behind > low) & (behind <= low + 1.5)).any()
    ]
    if len(tops) < 5:
        return float("nan")
    places, heights = np.transpose(tops)
    gradient = np.polyfit(places, heights, 1)[0]
    along = back + gradient * caudal
    return float(np.degrees(np.arctan2(along[1], along[0])))
