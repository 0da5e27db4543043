"""The sixteen foramina as statements: measured in the lumen, re-opened from the CT, inferred, or outside the scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sacroplasty.anatomy.expectation import FORAMINAL_LEVELS, KEYS, Expected, Key, expected_foramina
from sacroplasty.anatomy.foramina import Opening, on_surface
from sacroplasty.anatomy.levels import Assignment
from sacroplasty.anatomy.plausibility import at_mouth, believable, gap_at_mouth, parted, parted_at_gap, place_of
from sacroplasty.anatomy.reopening import Reopened, reopened
from sacroplasty.anatomy.roots import LumenWays
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.structures import Face, Foramen, SacralLevel
from sacroplasty.anatomy.unrolled import UnrolledSurface, surface_depth_mm, unrolled_surface
from sacroplasty.evidence import value
from sacroplasty.plan import SACRAL_LEVELS, Level, Side, State, as_point
from sacroplasty.space import Points

# What a slice distance adds to the standard deviation of a place.
SLICE_SHARE = 0.2
# An opening this near to the end of the data may be the cut itself.
BORDER_CONFIDENCE = 0.5


@dataclass(frozen=True, eq=False)
class Statements:
    """Foramina with state, the openings behind the measured ones, and the arc length of each level with its state."""

    foramina: tuple[Foramen, ...]
    measured: dict[Key, Opening]
    arcs_mm: dict[Level, float]
    arc_states: dict[Level, State]
    arc_sd_mm: dict[Level, float]


def state_foramina(
    field: SacrumField, assignment: Assignment, ways: LumenWays, slice_mm: float, end_arc_mm: float
) -> Statements:
    """One statement for each of the sixteen foramina. `end_arc_mm` is where the data end caudally."""
    surfaces = {face: unrolled_surface(field, face) for face in Face}
    moved = {
        key: _at_surface(field, surfaces[key[2]], ways, opening)
        for key, opening in believable(assignment.openings, assignment.unassigned).items()
    }
    # Where the scan cuts a tunnel, the middle of its opening lies where nothing was seen.
    sure = {key: opening for key, opening in moved.items() if _seen(field, opening.centre_mm)}
    places = {key: place_of(opening) for key, opening in sure.items()}
    gaps: dict[Key, Reopened] = {}
    placed_by_gap: set[Key] = set()
    for key in sorted(KEYS, key=lambda k: (k[2] is Face.POSTERIOR, FORAMINAL_LEVELS.index(k[0]), k[1] is Side.LEFT)):
        if key in places:
            continue
        expected = expected_foramina(places)[key]
        has_merged = key in assignment.openings and key not in moved
        part = parted(field, surfaces[key[2]], ways, key, expected) if has_merged else None
        gap = reopened(surfaces[key[2]], key, expected) if part is None else None
        if gap is not None:
            gap = gap_at_mouth(field, surfaces[key[2]], key, expected, gap)
        if gap is not None and has_merged:
            part = parted_at_gap(field, ways, key, gap)
            if part is not None:
                placed_by_gap.add(key)
        if part is not None:
            sure[key] = part
            places[key] = place_of(part)
        elif gap is not None:
            gaps[key] = gap
            places[key] = (float(gap.coordinates[0]), abs(float(gap.coordinates[1])))
    expected_all = expected_foramina(places)
    foramina = []
    for key in KEYS:
        if key in gaps:
            foramina.append(_reopened(field, key, gaps[key], slice_mm))
        elif key in sure:
            foramina.append(_measured(key, sure[key], slice_mm, by_gap=key in placed_by_gap))
        else:
            foramina.append(_inferred(field, key, expected_all[key], surfaces[key[2]], end_arc_mm))
    arcs, states, spreads = _level_arcs(sure, gaps, expected_all, end_arc_mm)
    return Statements(tuple(foramina), sure, arcs, states, spreads)


def _at_surface(field: SacrumField, surface: UnrolledSurface, ways: LumenWays, opening: Opening) -> Opening:
    """The opening at the bone's surface."""
    if opening.face is Face.ANTERIOR:
        return on_surface(opening, field.frame, surface)
    return at_mouth(field, surface, ways, opening)


def _spread_mm(key: Key, state: State, slice_mm: float) -> float:
    """Standard deviation per axis of a foramen that was seen."""
    level, _, face = key
    name = f"foramen_reopened_{face}_sd" if state is State.REOPENED else f"foramen_{face}_sd"
    if level is Level.S4 and face is Face.POSTERIOR:
        name = "foramen_s4_posterior_sd"
    return float(np.hypot(value(f"anatomy.{name}"), SLICE_SHARE * slice_mm))


def _measured(key: Key, opening: Opening, slice_mm: float, *, by_gap: bool) -> Foramen:
    level, side, face = key
    spread = _spread_mm(key, State.REOPENED if by_gap else State.MEASURED, slice_mm)
    return Foramen(
        level, side, face, as_point(opening.centre_mm), as_point(opening.axis), opening.width_mm, opening.height_mm,
        State.MEASURED, spread, BORDER_CONFIDENCE if opening.border else 0.95,
    )  # fmt: skip


def _reopened(field: SacrumField, key: Key, gap: Reopened, slice_mm: float) -> Foramen:
    level, side, face = key
    confidence = float(np.clip(gap.contrast_hu / (3 * value("anatomy.reopening_contrast")), 0.3, 0.85))
    return Foramen(
        level, side, face, as_point(field.frame.points(gap.coordinates)), as_point(_axis(field, key, gap.coordinates)),
        gap.diameter_mm, gap.diameter_mm, State.REOPENED,
        _spread_mm(key, State.REOPENED, slice_mm), confidence,
    )  # fmt: skip


def _inferred(field: SacrumField, key: Key, expected: Expected, surface: UnrolledSurface, end_arc_mm: float) -> Foramen:
    level, side, face = key
    lateral = expected.lateral_mm * (1.0 if side is Side.LEFT else -1.0)
    arc = expected.arc_mm
    coordinates = np.array([arc, lateral, surface_depth_mm(surface, arc, lateral)])
    centre = field.frame.points(coordinates)
    diameter = value(f"anatomy.{level.lower()}_{face}_foramen_diameter")
    outside = arc > end_arc_mm or not _seen(field, centre)
    return Foramen(
        level, side, face, as_point(centre), as_point(_axis(field, key, coordinates)), diameter, diameter,
        State.OUTSIDE if outside else State.INFERRED, expected.sd_mm, 0.0 if outside else 0.3,
    )  # fmt: skip


def _seen(field: SacrumField, point_mm: Points) -> bool:
    """There are data at a position."""
    return bool(field.sampled(field.seen.astype(np.float32), point_mm[None], 0.0)[0] > 0.5)


def _axis(field: SacrumField, key: Key, coordinates: Points) -> Points:
    """Outward direction of a foramen whose tunnel was not seen: ventral or dorsal, leaning laterally as they do."""
    _, side, face = key
    tangent = field.frame.tangent_at(float(coordinates[0]))
    left = np.asarray(field.frame.left)
    dorsal = np.cross(left, tangent)
    lateral = left if side is Side.LEFT else -left
    lean = np.deg2rad(value(f"anatomy.foramen_{face}_lean"))
    outward = -dorsal if face is Face.ANTERIOR else dorsal
    return np.asarray(np.cos(lean) * outward + np.sin(lean) * lateral)


def _level_arcs(
    sure: dict[Key, Opening], gaps: dict[Key, Reopened], expected: dict[Key, Expected], end_arc_mm: float
) -> tuple[dict[Level, float], dict[Level, State], dict[Level, float]]:
    """Arc length of each level's anterior pair, how it is known, and one standard deviation."""
    arcs, states, spreads = {}, {}, {}
    for level in FORAMINAL_LEVELS:
        keys = [(level, side, Face.ANTERIOR) for side in (Side.RIGHT, Side.LEFT)]
        seen = [float(sure[k].coordinates[0]) for k in keys if k in sure]
        again = [float(gaps[k].coordinates[0]) for k in keys if k in gaps]
        if seen or again:
            arcs[level] = float(np.mean(seen or again))
            states[level] = State.MEASURED if seen else State.REOPENED
            spreads[level] = value("anatomy.level_border_sd")
        else:
            pair = [expected[k] for k in keys]
            arcs[level] = float(np.mean([e.arc_mm for e in pair]))
            states[level] = State.OUTSIDE if arcs[level] > end_arc_mm else State.INFERRED
            spreads[level] = float(np.mean([e.arc_sd_mm for e in pair]))
    return arcs, states, spreads


def sacral_levels(field: SacrumField, statements: Statements, end_arc_mm: float, cut: bool) -> tuple[SacralLevel, ...]:
    """S1 to S5 between the endplate, the level lines of the foramina and the end of the bone."""
    shift = value("anatomy.level_line_shift")
    lower = {level: statements.arcs_mm[level] - shift for level in FORAMINAL_LEVELS}
    last = lower[Level.S4] + value("anatomy.s5_height")
    lower[Level.S5] = min(last, field.length_mm) if not cut and field.length_mm > lower[Level.S4] + 5 else last
    levels = []
    for level in SACRAL_LEVELS:
        above = level.above
        upper = 0.0 if above is None else lower.get(above, 0.0)
        own = statements.arc_states.get(level, statements.arc_states[Level.S4])
        before = statements.arc_states.get(above, State.MEASURED) if above is not None else State.MEASURED
        state = State.OUTSIDE if upper > end_arc_mm - 3 else _weaker(own, before)
        if state is State.MEASURED and lower[level] > end_arc_mm:
            state = State.INFERRED
        middle = 0.5 * (upper + lower[level])
        depth = 0.5 * _body_depth_mm(field, middle)
        spread = max(
            statements.arc_sd_mm.get(level, value("anatomy.segment_height_sd") * 2),
            statements.arc_sd_mm.get(above, 1.0) if above is not None else 1.0,
        )
        levels.append(
            SacralLevel(level, upper, lower[level], as_point(field.frame.points([middle, 0.0, depth])), state, spread)
        )
    return tuple(levels)


def _weaker(a: State, b: State) -> State:
    """The less certain of two states; the scan's end makes a body that begins inside it inferred."""
    order = [State.MEASURED, State.REOPENED, State.INFERRED]
    places = [order.index(s) if s in order else 2 for s in (a, b)]
    return order[max(places)]


def _body_depth_mm(field: SacrumField, arc_mm: float) -> float:
    """Depth of the vertebral body in the midline: from the ventral cortex to the canal's floor."""
    depths = np.arange(2.0, 45.0, 0.8)
    points = field.frame.points(np.stack([np.full_like(depths, arc_mm), np.zeros_like(depths), depths], axis=-1))
    solid = field.sampled(field.signed_mm, points, -12.0) > 0
    if not solid.any():
        return 12.0
    first = int(solid.argmax())
    gone = np.flatnonzero(~solid[first:])
    return float(depths[first + gone[0]] if len(gone) else depths[-1])
