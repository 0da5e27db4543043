"""The nerve roots as tubes: S1 to S4 through their tunnels, L5 over the ala."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy.canal import CanalPath
from sacroplasty.anatomy.expectation import FORAMINAL_LEVELS, KEYS
from sacroplasty.anatomy.roots import BEYOND_MM, LumenWays, smooth_course
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.statements import Statements
from sacroplasty.anatomy.structures import Face, Foramen, RootCourse
from sacroplasty.evidence import value
from sacroplasty.plan import Level, Side, State
from sacroplasty.space import Points

# A root leaves the canal's middle this far cranial of its foramen and turns at this share of the way to it.
LEAVES_ABOVE_MM, TURNS_ABOVE_MM, TURN_SHARE = 9.0, 3.0, 0.62
# Rim of the ala along which the L5 root is drawn, and how far caudal along the ventral surface.
ALA_LATERAL_MM = (22.0, 27.0, 32.0, 36.0)
L5_FORAMEN_LATERAL_MM = 17.0
VENTRAL_ARCS_MM = (14.0, 22.0, 30.0)


def root_courses(
    field: SacrumField, path: CanalPath, statements: Statements, ways: LumenWays
) -> tuple[RootCourse, ...]:
    """Courses of S1 to S4 on both sides and, where the ala is in view, of L5.

    A measured foramen's root follows the lumen's middle; a re-opened or inferred one is drawn from the canal to the
    foramen's centre with that foramen's uncertainty.
    """
    keys = [key for key in KEYS if key[2] is Face.ANTERIOR]
    measured = [key for key in keys if key in statements.measured]
    lines = {key: ways.course(statements.measured[key]) for key in measured}
    courses = []
    for foramen in statements.foramina:
        if foramen.face is not Face.ANTERIOR or not foramen.state.known:
            continue
        key = (foramen.level, foramen.side, foramen.face)
        line = lines[key] if key in lines else _drawn(field, path, foramen)
        courses.append(
            RootCourse(foramen.level, foramen.side, line, _radius_mm(foramen), foramen.state, foramen.uncertainty_mm)
        )
    for side in (Side.RIGHT, Side.LEFT):
        over_ala = _over_ala(field, path, side)
        if over_ala is not None:
            spread = value("assumptions.l5_root_course_sd")
            radius = value("assumptions.root_radius_l5")
            courses.append(RootCourse(Level.L5, side, over_ala, radius, State.INFERRED, spread))
    order = [Level.L5, *FORAMINAL_LEVELS]
    return tuple(sorted(courses, key=lambda c: (order.index(c.level), c.side)))


def _radius_mm(foramen: Foramen) -> float:
    """The root's norm, but never wider than the foramen."""
    return min(value(f"assumptions.root_radius_{foramen.level.lower()}"), max(foramen.radius_mm, 1.5))


def canal_place(path: CanalPath, arc_mm: float) -> Points:
    """Sacral coordinates (3,) of the canal's middle at an arc length."""
    lateral, depth = (np.interp(arc_mm, path.arc_mm, values) for values in (path.lateral_mm, path.depth_mm))
    return np.array([arc_mm, lateral, depth])


def _drawn(field: SacrumField, path: CanalPath, foramen: Foramen) -> Points:
    """From the canal's middle over the turn below the pedicle to the foramen's centre and 8 mm beyond."""
    exit_place = field.frame.coordinates(np.asarray(foramen.centre_mm))
    start = canal_place(path, float(exit_place[0]) - LEAVES_ABOVE_MM)
    turn = canal_place(path, float(exit_place[0]) - TURNS_ABOVE_MM)
    turn[1] += TURN_SHARE * (exit_place[1] - turn[1])
    inner = field.frame.points(np.stack([start, turn, exit_place]))
    direction = inner[2] - inner[1]
    direction /= np.linalg.norm(direction)
    return smooth_course(np.concatenate([inner, [inner[2] + BEYOND_MM * direction]]))


def tunnel_between(field: SacrumField, path: CanalPath, foramen: Foramen) -> Points:
    """The tunnel (n, 3), LPS mm, of a foramen that the mask had closed: from the canal's edge to its centre."""
    exit_place = field.frame.coordinates(np.asarray(foramen.centre_mm))
    turn = canal_place(path, float(exit_place[0]) - TURNS_ABOVE_MM)
    start = turn.copy()
    turn[1] += TURN_SHARE * (exit_place[1] - turn[1])
    return smooth_course(field.frame.points(np.stack([start, turn, exit_place])))


def _over_ala(field: SacrumField, path: CanalPath, side: Side) -> Points | None:
    """L5 from its foramen along the ventral upper rim of the ala and down its front; None where the ala is cut off."""
    sign = 1.0 if side is Side.LEFT else -1.0
    start = canal_place(path, float(path.arc_mm[0]) - 4.0)
    start[1] = sign * L5_FORAMEN_LATERAL_MM
    line = [field.frame.points(start)]
    left, dorsal, cranial = field.frame.axes
    forward_up = (cranial - dorsal) / np.sqrt(2)
    offset = value("assumptions.root_radius_l5")
    for lateral in ALA_LATERAL_MM:
        near = field.bone & (np.abs(field.x_mm - sign * lateral) < 1.0) & (field.s_mm < 40.0)
        if np.count_nonzero(near) < 20:
            break
        voxels = np.argwhere(near)
        places = field.grid.patient_from_voxel.points(voxels)
        line.append(places[int(np.argmax(places @ forward_up))] + offset * forward_up)
    if len(line) < 3:
        return None
    lateral = float((line[-1] - np.asarray(field.frame.origin_mm)) @ left)
    for arc in VENTRAL_ARCS_MM:
        column = field.hull & (np.abs(field.s_mm - arc) < 1.0) & (np.abs(field.x_mm - lateral) < 1.5)
        if column.any():
            depth = float(field.d_mm[column].min())
            line.append(field.frame.points([arc, lateral, depth - offset]))
    if not all(field.grid.contains(np.array(line[:3]))):
        return None
    return smooth_course(np.array(line))
