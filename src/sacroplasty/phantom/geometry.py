"""A shape turned into the tables, tubes and frames that the implicit functions read.

Everything here is in the phantom's own frame: LPS axes, mm, origin at the promontory, mid-sagittal plane x = 0.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from sacroplasty.evidence import value
from sacroplasty.phantom.shape import PhantomShape, Variant
from sacroplasty.plan import SACRAL_LEVELS, Side

Array = npt.NDArray[np.float64]

# Tables are sampled along the arc in steps of STEP_MM, from MARGIN_MM before the promontory to as much past the tip.
STEP_MM = 0.5
MARGIN_MM = 60.0
# Columns of `table`: point and angle of the ventral curve, then one dimension each.
Y, Z, ANGLE, DEPTH, CANAL_DEPTH, CANAL_WIDTH, ROOF, WIDTH, RECESS, FALL = range(10)
# The look-up of the nearest arc: a coarse (y, z) raster that Newton steps refine to the exact foot point.
RASTER_LOW, RASTER_STEP, RASTER_COUNT = (-110.0, -190.0), 4.0, (70, 72)

OVERSHOOT_MM = 11.0  # how far a root tunnel's tube goes on past the bone's surface

# Lateral outline (y, z) of the hip bone's blade and its inner surface |x| over y: form by eye on real CTs.
BLADE = (
    (-62, -18), (-52, 15), (-27, 40), (5, 53), (35, 48), (58, 28), (74, 4), (80, -22), (66, -48), (48, -53),
    (30, -57), (18, -75), (12, -100), (0, -125), (-40, -110), (-50, -70), (-50, -50), (-60, -35),
)  # fmt: skip
INNER_Y = (-70.0, -60.0, -35.0, -15.0, 5.0, 25.0, 45.0, 65.0, 85.0)
INNER_X = (112.0, 106.0, 86.0, 68.5, 54.5, 46.0, 39.0, 37.0, 37.0)
BLADE_THICKNESS = (13.0, 12.0, 10.0, 10.0, 15.0, 20.0, 24.0, 22.0, 14.0)


class Geometry(NamedTuple):
    """Plain arrays and numbers for the compiled functions."""

    table: Array  # (n, 10) by arc length
    raster: Array  # (ny, nz) arc of the nearest curve point
    numbers: Array  # see NUMBERS
    tunnels: Array  # (n, 14): a, b, radius a, radius b, long axis, elongation, arc, kind
    roots: Array  # (n, 8): a, b, radius a, radius b
    vertebrae: Array  # (2, 8): origin y, z, dorsal y, z, up y, z, height, label
    vessels: Array  # (n, 9): a, b, radius a, radius b, label
    blade: Array  # (n, 2) outline y, z
    inner: Array  # (n, 3): y, inner |x|, thickness
    hu: Array  # see HU


NUMBERS = (
    "arc_end", "apex", "hiatus_half", "hiatus_open", "gap", "alar_slope", "width_asymmetry", "bone_scale", "fat",
    "sac_end", "transitional", "prone", "disc_residual", "metal", "table_on", "contrast",
    "b1", "b2", "b3", "b4", "disc_y", "disc_z", "dysmorphic",
)  # fmt: skip
HU = ("s1_body", "s2_body", "s1_ala", "s2_ala", "s1_ilium", "s2_ilium")


class Curve:
    """The ventral midline curve and the maps between sacral coordinates (s, x, d) and the phantom's frame."""

    def __init__(self, shape: PhantomShape) -> None:
        end = shape.boundaries_arc_mm[5]
        self.arc = np.arange(-MARGIN_MM, end + MARGIN_MM + STEP_MM / 2, STEP_MM)
        angle = np.deg2rad(np.interp(self.arc, shape.boundaries_arc_mm, shape.tangent_deg))
        self.angle = gaussian_filter1d(angle, 6.0 / STEP_MM, mode="nearest")
        middle = np.sin((self.angle[1:] + self.angle[:-1]) / 2), -np.cos((self.angle[1:] + self.angle[:-1]) / 2)
        y, z = (np.concatenate([[0.0], np.cumsum(part) * STEP_MM]) for part in middle)
        self.y = y - np.interp(0.0, self.arc, y)
        self.z = z - np.interp(0.0, self.arc, z)

    def point(self, arc: npt.ArrayLike, x: npt.ArrayLike, depth: npt.ArrayLike) -> Array:
        """Positions (..., 3) of arc length, x towards the left, and depth behind the ventral curve."""
        arc, x, depth = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (arc, x, depth)))
        angle = np.interp(arc, self.arc, self.angle)
        y = np.interp(arc, self.arc, self.y) + np.cos(angle) * depth
        z = np.interp(arc, self.arc, self.z) + np.sin(angle) * depth
        return np.stack([x, y, z], axis=-1)

    def raster(self) -> Array:
        """Arc length of the nearest curve point at every corner of the coarse raster."""
        axes = [low + RASTER_STEP * np.arange(n) for low, n in zip(RASTER_LOW, RASTER_COUNT, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        nearest = cKDTree(np.stack([self.y, self.z], axis=1)).query(points.reshape(-1, 2))[1]
        return self.arc[nearest].reshape(RASTER_COUNT)


def geometry(shape: PhantomShape, *, prone: bool, contrast: bool, metal: str, table: bool) -> Geometry:
    """The compiled form of a shape in its setting."""
    curve = Curve(shape)
    columns = profile_table(shape, curve)
    disc = curve.point(0.0, 0.0, shape.body_depth_mm[0] / 2)
    numbers = dict.fromkeys(NUMBERS, 0.0)
    numbers |= dict(zip(("b1", "b2", "b3", "b4"), shape.boundaries_arc_mm[1:5], strict=True))
    numbers |= {
        "arc_end": shape.boundaries_arc_mm[5], "apex": shape.hiatus_apex_arc_mm,
        "hiatus_half": shape.hiatus_width_mm / 2, "hiatus_open": float(shape.hiatus_open), "gap": shape.si_gap_mm,
        "alar_slope": shape.alar_slope, "width_asymmetry": shape.width_asymmetry, "bone_scale": shape.bone_scale,
        "fat": shape.fat_mm, "sac_end": shape.sac_end_arc_mm,
        "transitional": float(shape.variant is Variant.TRANSITIONAL), "prone": float(prone),
        "disc_residual": 1.0 if shape.variant is Variant.DYSMORPHIC else 0.45,
        "metal": {"none": 0.0, "hip prosthesis left": 1.0, "L5-S1 rods": 2.0}[metal], "table_on": float(table),
        "contrast": float(contrast), "disc_y": float(disc[1]), "disc_z": float(disc[2]),
        "dysmorphic": float(shape.variant is Variant.DYSMORPHIC),
    }  # fmt: skip
    return Geometry(
        table=columns,
        raster=curve.raster(),
        numbers=np.array([numbers[name] for name in NUMBERS]),
        tunnels=np.array([row for side in (1, -1) for k in range(4) for row in _tunnel(shape, curve, k, side)]),
        roots=np.array([row for side in (1, -1) for row in _root_segments(shape, curve, side)]),
        vertebrae=_vertebrae(shape, curve),
        vessels=_vessels(curve),
        blade=np.array(BLADE, dtype=np.float64),
        inner=np.column_stack([INNER_Y, INNER_X, BLADE_THICKNESS]),
        hu=np.array([value(f"phantom.{name}_hu") for name in HU]),
    )


def profile_table(shape: PhantomShape, curve: Curve) -> Array:
    """All dimensions along the arc (n, 10), monotone between the boundaries and constant beyond them."""
    bounds, apex = np.asarray(shape.boundaries_arc_mm), shape.hiatus_apex_arc_mm
    held = np.clip(curve.arc, bounds[0], bounds[5])
    kept = bounds[:5] < apex - 6.0
    knots = np.concatenate([bounds[:5][kept], [apex, bounds[5] + 1.0]])
    depths = np.concatenate([np.asarray(shape.canal_depth_mm)[:5][kept], [shape.hiatus_depth_mm] * 2])
    columns = [curve.y, curve.z, curve.angle]
    for name in ("body_depth", "canal_depth", "canal_half_width", "roof", "half_width", "alar_recess", "dorsal_fall"):
        if name == "canal_depth":
            columns.append(PchipInterpolator(knots, depths)(held))
        else:
            columns.append(PchipInterpolator(bounds, getattr(shape, f"{name}_mm"))(held))
    return np.ascontiguousarray(np.stack(columns, axis=1))


def at(table: Array, arc: float, column: int) -> float:
    """One dimension at an arc length."""
    return float(np.interp((arc + MARGIN_MM) / STEP_MM, np.arange(len(table)), table[:, column]))


class Course(NamedTuple):
    """Axis points of one foramen pair: canal, junction, far ends of the anterior and the posterior tunnel."""

    canal: Array
    junction: Array
    anterior: Array
    posterior: Array
    arc: float


def course(shape: PhantomShape, curve: Curve, k: int, side: int) -> Course:
    """The tunnels of foramen level k (0 is S1) on a side (+1 left): the root leaves the canal below the pedicle."""
    table = profile_table(shape, curve)
    lateral, caudal = (side * v / 2 for v in shape.asymmetry_mm[k])
    s = shape.anterior_arc_mm[k] + caudal
    xa, xp = shape.anterior_lateral_mm[k] + lateral, shape.posterior_lateral_mm[k] + lateral
    body, canal, half = (at(table, s, column) for column in (DEPTH, CANAL_DEPTH, CANAL_WIDTH))
    floor = body + canal / 2
    ventral = at(table, s, RECESS) * _recess_share(xa, at(table, s, WIDTH))
    sp = shape.posterior_arc_mm[k] + caudal
    dorsal = at(table, sp, DEPTH) + at(table, sp, CANAL_DEPTH) + at(table, sp, ROOF)
    groove = 2.5 * np.exp(-(((xp - 11.0) / 4.5) ** 2))
    dorsal -= at(table, sp, FALL) * (xp / at(table, sp, WIDTH)) ** 2 + groove
    junction = curve.point(s - 2.0, side * (half * 0.3 + xa * 0.62), floor - canal * 0.15)
    ventral_exit, dorsal_exit = curve.point(s, side * xa, ventral), curve.point(sp, side * xp, dorsal)

    def beyond(point: Array) -> Array:
        # The tubes go on past the surface, so that the rim is cut open whatever its slope.
        return np.asarray(point + OVERSHOOT_MM * (point - junction) / np.linalg.norm(point - junction))

    return Course(
        canal=curve.point(s - 5.0, side * half * 0.65, floor),
        junction=junction,
        anterior=beyond(ventral_exit),
        posterior=beyond(dorsal_exit),
        arc=s,
    )


def _recess_share(x: float, half_width: float) -> float:
    u = min(max((x - 12.0) / max(half_width - 12.0, 1.0), 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


def _tunnel(shape: PhantomShape, curve: Curve, k: int, side: int) -> list[list[float]]:
    """The tubes of one foramen pair: into the bone, out ventrally with a funnel rim, and out dorsally."""
    way = course(shape, curve, k, side)
    ra, ea = shape.anterior_width_mm[k] / 2, shape.anterior_height_mm[k] / shape.anterior_width_mm[k]
    rp, ep = shape.posterior_width_mm[k] / 2, shape.posterior_height_mm[k] / shape.posterior_width_mm[k]
    inner = min(0.8 * ra, 0.5 * shape.canal_depth_mm[k + 1])
    tangent = curve.point(way.arc + 1.0, 0.0, 0.0) - curve.point(way.arc, 0.0, 0.0)
    tangent = tangent / np.linalg.norm(tangent)
    exit_at = way.junction + 0.55 * (way.anterior - way.junction)

    def row(a: Array, b: Array, r0: float, r1: float, elongation: float, kind: float) -> list[float]:
        axis = (b - a) / np.linalg.norm(b - a)
        long_axis = tangent - (tangent @ axis) * axis
        long_axis = long_axis / np.linalg.norm(long_axis)
        return [*a, *b, r0, r1, *long_axis, elongation, way.arc, kind]

    return [
        row(way.canal, way.junction, inner, inner, 1.0, 0.0),
        row(way.junction, exit_at, inner, ra, ea, 1.0),
        row(exit_at, way.anterior, ra, ra * 1.25, ea, 1.0),
        row(way.junction, way.posterior, rp, rp, ep, 2.0),
    ]


def root_polyline(shape: PhantomShape, curve: Curve, k: int, side: int) -> tuple[Array, float]:
    """Course (n, 3) and radius of a root: k = -1 is L5 over the ala, 0 to 3 are S1 to S4 through their foramina."""
    if k < 0:
        points = curve.point(
            [-20.0, -12.0, 4.0, 22.0, 45.0], side * np.array([12.0, 22.0, 32.0, 36.0, 38.0]),
            [36.0, 22.0, 3.0, -1.0, -6.0],
        )  # fmt: skip
        return points, value("phantom.l5_root_radius")
    way = course(shape, curve, k, side)
    table = profile_table(shape, curve)
    start = way.arc - 22.0
    floor = at(table, start, DEPTH) + 0.45 * at(table, start, CANAL_DEPTH)
    inside = curve.point(start, side * 0.35 * at(table, start, CANAL_WIDTH), floor)
    beyond = way.anterior + curve.point(way.arc + 14.0, 0, 0) - curve.point(way.arc, 0, 0) + [4.0 * side, 0, 0]
    names = ("phantom.s1_root_radius", "phantom.root_radius_s2", "phantom.root_radius_s3", "phantom.root_radius_s4")
    return np.stack([inside, way.canal, way.junction, way.anterior, beyond]), value(names[k])


def _root_segments(shape: PhantomShape, curve: Curve, side: int) -> list[list[float]]:
    rows = []
    for k in range(-1, 4):
        points, radius = root_polyline(shape, curve, k, side)
        rows += [[*a, *b, radius, radius] for a, b in itertools.pairwise(points)]
    return rows


def _vertebrae(shape: PhantomShape, curve: Curve) -> Array:
    """Frames of L5 and L4: centre of the lower endplate, dorsal and upward unit vectors in (y, z), height, label."""
    angle = float(np.interp(0.0, curve.arc, curve.angle))
    at_disc = curve.point(0.0, 0.0, shape.body_depth_mm[0] / 2 + 1.0)[1:]
    rows = []
    for wedge_deg, label in ((7.0, 3.0), (6.0, 8.0)):
        half = angle - np.deg2rad(wedge_deg)
        at_disc = at_disc + shape.disc_height_mm * np.array([-np.sin(half), np.cos(half)])
        angle = half - np.deg2rad(wedge_deg)
        dorsal, up = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        height = 27.0
        rows.append([*at_disc, *dorsal, *up, height, label])
        at_disc = at_disc + height * up
    return np.array(rows)


def _vessels(curve: Curve) -> Array:
    """Iliac arteries and veins, aorta and cava as tubes: a, b, radii, label."""
    fork = curve.point(-28.0, 0.0, -10.0)
    cava = fork + np.array([-12.0, 8.0, -8.0])
    rows = [
        _tube_row(fork + np.array([6.0, -2.0, 40.0]), fork + np.array([4.0, 0.0, 0.0]), 8.0, 7.0, 26),
        _tube_row(fork + np.array([-16.0, 2.0, 40.0]), cava, 10.0, 9.0, 27),
    ]
    for sign, artery, vein in ((1.0, 20, 22), (-1.0, 21, 23)):
        mirror = np.array([sign, 1.0, 1.0])
        ala = curve.point(18.0, sign * 40.0, -8.0)
        lower, deeper = ala + np.array([0.0, 2.7, -1.8]), ala + np.array([0.0, -8.0, 0.0])
        brim, thigh = np.array([66.0, -30.0, -45.0]) * mirror, np.array([82.0, -62.0, -95.0]) * mirror
        pelvis = np.array([52.0, 42.0, -72.0]) * mirror
        back = np.array([0.0, 9.0, -6.0])
        rows += [
            _tube_row(fork + np.array([4.0, 0.0, 0.0]), deeper, 5.0, 4.5, artery),
            _tube_row(deeper, brim, 4.5, 4.0, artery),
            _tube_row(brim, thigh, 4.0, 4.0, artery),
            _tube_row(deeper, pelvis, 3.0, 2.5, artery),
            _tube_row(cava, lower, 6.5, 6.0, vein),
            _tube_row(lower, brim + back, 6.0, 5.0, vein),
            _tube_row(brim + back, thigh - np.array([10.0, 0.0, 0.0]) * mirror, 5.0, 5.0, vein),
            _tube_row(lower, pelvis + np.array([0.0, 3.0, 5.0]), 3.5, 3.0, vein),
        ]
    return np.array(rows)


def _tube_row(a: Array, b: Array, radius_a: float, radius_b: float, label: int) -> list[float]:
    return [*a, *b, radius_a, radius_b, float(label)]


def side_of(sign: int) -> Side:
    """The patient's side of a sign of x."""
    return Side.LEFT if sign > 0 else Side.RIGHT


FORAMEN_LEVELS = SACRAL_LEVELS[:4]
