"""The exact anatomy of a phantom, from its formulas; only the label map is sampled."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy import (
    STRUCTURES,
    Anatomy,
    Canal,
    Face,
    Foramen,
    Hiatus,
    Landmark,
    RootCourse,
    SacralFrame,
    SacralLevel,
    ThecalSac,
)  # fmt: skip
from sacroplasty.phantom.geometry import (
    CANAL_DEPTH,
    DEPTH,
    FORAMEN_LEVELS,
    Array,
    Course,
    Curve,
    Geometry,
    at,
    course,
    root_polyline,
    side_of,
)  # fmt: skip
from sacroplasty.phantom.sampling import sampled_codes
from sacroplasty.phantom.shape import PhantomShape
from sacroplasty.phantom.solids import solids_at
from sacroplasty.phantom.tissue import AIR, TABLE
from sacroplasty.plan import SACRAL_LEVELS, Level, Point, State
from sacroplasty.space import Grid, LabelMap, Mask, Transform


def _point(values: Array) -> Point:
    x, y, z = (float(v) for v in values)
    return x, y, z


def true_anatomy(shape: PhantomShape, g: Geometry, patient_from_phantom: Transform, grid: Grid) -> Anatomy:
    """The truth on a patient-aligned grid; landmarks, axes and courses are exact and do not depend on it."""
    curve, move = Curve(shape), patient_from_phantom
    codes = sampled_codes(grid, move.inverse.matrix, g)
    labels = np.where(codes < AIR, codes, 0).astype(np.uint8)
    body = (codes != AIR) & (codes != TABLE)
    return Anatomy(
        labels=LabelMap(labels, grid, STRUCTURES),
        body=Mask(body, grid),
        frame=_frame(shape, curve, move),
        levels=tuple(_levels(shape, curve, move)),
        foramina=tuple(_foramina(shape, curve, g, move)),
        roots=tuple(_roots(shape, curve, move)),
        canal=Canal(move.points(_canal_line(shape, g, curve)), uncertainty_mm=0.0),
        hiatus=_hiatus(shape, curve, g, move),
        thecal_sac=_sac(shape, curve, g, move),
        landmarks={"promontory": Landmark("promontory", _point(move.points(np.zeros(3))), uncertainty_mm=0.0)},
        source="phantom truth",
    )


def _frame(shape: PhantomShape, curve: Curve, move: Transform) -> SacralFrame:
    arcs = np.linspace(0.0, shape.boundaries_arc_mm[5], int(np.ceil(shape.boundaries_arc_mm[5])) + 1)
    # Straight axes of the whole sacrum: cranial from the tip's level back to the promontory in the mid-sagittal plane.
    line = curve.point(arcs, 0.0, 0.0)
    cranial = (line[0] - line[-1]) / np.linalg.norm(line[0] - line[-1])
    dorsal = np.array([0.0, cranial[2], -cranial[1]])
    slope = float(np.rad2deg(np.interp(0.0, curve.arc, curve.angle)))
    return SacralFrame(
        _point(move.points(np.zeros(3))), _point(move.vectors([1.0, 0.0, 0.0])), _point(move.vectors(dorsal)),
        _point(move.vectors(cranial)), move.points(line), slope,
    )  # fmt: skip


def _levels(shape: PhantomShape, curve: Curve, move: Transform) -> list[SacralLevel]:
    bounds = shape.boundaries_arc_mm
    found = []
    for n, level in enumerate(SACRAL_LEVELS):
        middle = (bounds[n] + bounds[n + 1]) / 2
        depth = float(np.interp(middle, bounds, shape.body_depth_mm)) / 2
        centre = _point(move.points(curve.point(middle, 0.0, depth)))
        found.append(SacralLevel(level, bounds[n], bounds[n + 1], centre, uncertainty_mm=0.0))
    return found


def _exit(start: Array, end: Array, curve_solid: int, g: Geometry) -> Array:
    """Where the axis from `start` inside to `end` outside crosses the closed surface, by bisection."""
    share = np.linspace(0.0, 1.0, 200)
    inside = solids_at(start + share[:, None] * (end - start), g)[:, curve_solid] < 0
    last = int(np.flatnonzero(inside)[-1]) if inside.any() else 0
    low, high = share[last], share[min(last + 1, 199)]
    for _ in range(30):
        middle = (low + high) / 2
        if solids_at((start + middle * (end - start))[None], g)[0, curve_solid] < 0:
            low = middle
        else:
            high = middle
    return np.asarray(start + low * (end - start))


def _foramina(shape: PhantomShape, curve: Curve, g: Geometry, move: Transform) -> list[Foramen]:
    found = []
    for sign in (1, -1):
        for k, level in enumerate(FORAMEN_LEVELS):
            way: Course = course(shape, curve, k, sign)
            for face, end, width, height in (
                (Face.ANTERIOR, way.anterior, shape.anterior_width_mm[k], shape.anterior_height_mm[k]),
                (Face.POSTERIOR, way.posterior, shape.posterior_width_mm[k], shape.posterior_height_mm[k]),
            ):
                axis = (end - way.junction) / np.linalg.norm(end - way.junction)
                centre = move.points(_exit(way.junction, end, 2, g))
                found.append(
                    Foramen(level, side_of(sign), face, _point(centre), _point(move.vectors(axis)), width, height,
                            uncertainty_mm=0.0)
                )  # fmt: skip
    return found


def _roots(shape: PhantomShape, curve: Curve, move: Transform) -> list[RootCourse]:
    found = []
    for sign in (1, -1):
        for k, level in enumerate((Level.L5, *FORAMEN_LEVELS), start=-1):
            points, radius = root_polyline(shape, curve, k, sign)
            found.append(RootCourse(level, side_of(sign), move.points(points), radius, uncertainty_mm=0.0))
    return found


def _floor(g: Geometry, arcs: Array) -> tuple[Array, Array]:
    body = np.array([at(g.table, float(s), DEPTH) for s in arcs])
    canal = np.array([at(g.table, float(s), CANAL_DEPTH) for s in arcs])
    return body, canal


def _canal_line(shape: PhantomShape, g: Geometry, curve: Curve) -> Array:
    end = shape.hiatus_apex_arc_mm if shape.hiatus_open else shape.boundaries_arc_mm[5] - 6.0
    arcs = np.linspace(0.0, end, int(np.ceil(end)) + 1)
    body, canal = _floor(g, arcs)
    return curve.point(arcs, 0.0, body + canal / 2)


def _level_of(shape: PhantomShape, arc: float) -> Level:
    return SACRAL_LEVELS[int(np.clip(np.searchsorted(shape.boundaries_arc_mm, arc) - 1, 0, 4))]


def _hiatus(shape: PhantomShape, curve: Curve, g: Geometry, move: Transform) -> Hiatus:
    apex = shape.hiatus_apex_arc_mm
    body, canal = _floor(g, np.array([apex]))
    place = _point(move.points(curve.point(apex, 0.0, body[0] + canal[0])))
    if not shape.hiatus_open:
        return Hiatus(place, _level_of(shape, apex), float("nan"), 0.0, 0.0, State.ABSENT, 0.0)
    length = shape.boundaries_arc_mm[5] - apex
    return Hiatus(
        place, _level_of(shape, apex), float(canal[0]), shape.hiatus_width_mm, length, uncertainty_mm=0.0
    )  # fmt: skip


def _sac(shape: PhantomShape, curve: Curve, g: Geometry, move: Transform) -> ThecalSac:
    end = shape.sac_end_arc_mm
    body, canal = _floor(g, np.array([end]))
    place = _point(move.points(curve.point(end, 0.0, body[0] + canal[0] / 2)))
    return ThecalSac(place, _level_of(shape, end), State.MEASURED, 0.0)
