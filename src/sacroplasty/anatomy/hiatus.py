"""The sacral hiatus, where the canal's roof ends, and the end of the thecal sac above it."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy.canal import CanalPath
from sacroplasty.anatomy.foramina import Opening
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.structures import Anatomy, Face, Hiatus, SacralLevel, ThecalSac
from sacroplasty.errors import AnatomyError
from sacroplasty.evidence import evidence, value
from sacroplasty.plan import Finding, Level, Point, Severity, State, as_point

# A roof that reaches to within this of the bone's end leaves no hiatus.
CLOSED_TO_END_MM = 6.0
# The patch of the hiatus lies in the midline, not far from the apex.
MIDLINE_MM = 8.0
NEAR_APEX_MM = 28.0
# An apex further than this (standard deviations) from the norm is a defect of the roof or a canal that was lost.
FAR_SD = 2.5
# The bone is said to end early where S5 would go on for longer than this.
SHORT_MM = 5.0
# Slices of half the shortest hiatus (6 mm) or more do not show that there is none.
THICK_MM = 0.5 * CLOSED_TO_END_MM
# A point further from the canal's middle than this is in no canal.
FAR_FROM_CANAL_MM = 12.0


def level_at(levels: tuple[SacralLevel, ...], arc_mm: float) -> Level:
    """The level of an arc length; beyond the ends the first or last one."""
    inside = [level.level for level in levels if level.upper_arc_mm <= arc_mm < level.lower_arc_mm]
    if inside:
        return inside[0]
    return levels[0].level if arc_mm < levels[0].upper_arc_mm else levels[-1].level


def find_hiatus(
    field: SacrumField,
    path: CanalPath,
    openings: list[Opening],
    levels: tuple[SacralLevel, ...],
    slice_mm: float,
    cut: bool,
) -> Hiatus:
    """Apex, depth, width and length of the hiatus; OUTSIDE where the data end under a closed roof, ABSENT where the
    roof reaches the end of the bone, INFERRED where the mask ends early or the roof seems to end where no hiatus has
    its apex. A depth smaller than the slice distance is not measurable (NaN).
    """
    last = path.last_closed
    apex_arc = float(path.arc_mm[last])
    columns = np.flatnonzero(~np.isnan(path.ceiling_mm[: last + 1]))
    ceiling = float(path.ceiling_mm[columns[-1]]) if len(columns) else float(path.depth_mm[last])
    apex = field.frame.points([apex_arc, float(path.lateral_mm[last]), ceiling])
    depth = float(path.ceiling_mm[columns[-1]] - path.floor_mm[columns[-1]]) if len(columns) else float("nan")
    if depth < slice_mm:
        depth = float("nan")
    patch = max(
        (
            o
            for o in openings
            if o.face is Face.POSTERIOR
            and abs(o.coordinates[1]) < MIDLINE_MM
            and abs(o.coordinates[0] - apex_arc) < NEAR_APEX_MM
        ),
        key=lambda o: o.area_mm2,
        default=None,
    )
    closed_to_end = field.length_mm - apex_arc < CLOSED_TO_END_MM
    state = State.MEASURED
    if closed_to_end:
        state = State.OUTSIDE if cut else State.ABSENT
    expected = expected_apex(levels)
    if expected is not None and state in {State.MEASURED, State.ABSENT}:
        # A mask that ends above the end of S5 says nothing of the roof there, and a short hiatus is not told from none
        # where slices are thick: the apex is where the roof was last seen.
        end = levels[-2].lower_arc_mm + value("anatomy.s5_height")
        unsure = field.length_mm < end - SHORT_MM or slice_mm >= THICK_MM
        if state is State.ABSENT and unsure:
            return _inferred(field, path, levels, apex_arc, expected[1])
        if state is State.MEASURED and abs(apex_arc - expected[0]) > FAR_SD * expected[1]:
            return _inferred(field, path, levels, *expected)
    return Hiatus(
        apex_mm=as_point(apex),
        apex_level=level_at(levels, apex_arc),
        depth_mm=depth,
        width_mm=patch.width_mm if patch is not None else float("nan"),
        length_mm=float(field.length_mm - apex_arc) if not cut else float("nan"),
        state=state,
        uncertainty_mm=float(np.hypot(value("anatomy.hiatus_apex_sd"), 0.5 * slice_mm)),
    )


def expected_apex(levels: tuple[SacralLevel, ...]) -> tuple[float, float] | None:
    """Arc length of the apex by the norm, above the end of S5, and one standard deviation (mm); None where S5 is not
    in view.
    """
    norm = evidence("anatomy.hiatus_height")
    if not levels[-1].state.known or norm.low is None or norm.high is None:
        return None
    spread = float(np.hypot(0.5 * (norm.high - norm.low), levels[-1].uncertainty_mm))
    return levels[-1].lower_arc_mm - norm.value, spread


def _inferred(
    field: SacrumField, path: CanalPath, levels: tuple[SacralLevel, ...], arc: float, spread: float
) -> Hiatus:
    """The hiatus at an arc length that is not sure: on the dorsal side of the canal's path, as wide as the norm."""
    lateral = float(np.interp(arc, path.arc_mm, path.lateral_mm))
    ceilings = ~np.isnan(path.ceiling_mm)
    depth = float(np.interp(arc, path.arc_mm[ceilings], path.ceiling_mm[ceilings])) if ceilings.any() else 0.0
    apex = as_point(field.frame.points([arc, lateral, depth]))
    length = max(field.length_mm - arc, 0.0)
    return Hiatus(apex, level_at(levels, arc), np.nan, value("anatomy.hiatus_width"), length, State.INFERRED, spread)


def with_thecal_sac_end(anatomy: Anatomy, end_mm: Point, uncertainty_mm: float = 2.0) -> Anatomy:
    """The anatomy with the end of the dural sac as seen on MRI (LPS mm of the CT) in place of the prior.

    AnatomyError where that place is not in or near the sacral canal.
    """
    line = anatomy.canal.centreline_mm if anatomy.canal is not None else np.zeros((0, 3))
    away = np.linalg.norm(line - np.asarray(end_mm), axis=1)
    if not len(away) or away.min() > FAR_FROM_CANAL_MM:
        raise AnatomyError(
            "The given end of the dural sac does not lie in the sacral canal",
            got=f"{away.min():.0f} mm from its middle" if len(away) else "no canal",
            remedy="Register the MRI to the CT first, then mark the end of the sac in the CT's frame",
        )
    arc = float(anatomy.frame.coordinates(np.asarray(end_mm))[0])
    level = Level.L5 if arc < 0 else level_at(anatomy.levels, arc)
    sac = ThecalSac(as_point(np.asarray(end_mm)), level, State.GIVEN, uncertainty_mm)
    code, message = "SAC-A341", f"The dural sac ends at {level} as given from MRI."
    findings = tuple(f for f in anatomy.findings if f.code != code)
    return anatomy.with_(
        thecal_sac=sac, findings=(*findings, Finding(Severity.INFO, code, message, "thecal sac", sac.end_mm))
    )


def thecal_sac(field: SacrumField, path: CanalPath, levels: tuple[SacralLevel, ...]) -> ThecalSac | None:
    """The prior for the end of the dural sac: the middle of S2 in the canal; None where S2 is not in view."""
    s2 = next((level for level in levels if level.level is Level.S2 and level.state.known), None)
    if s2 is None:
        return None
    arc = 0.5 * (s2.upper_arc_mm + s2.lower_arc_mm)
    place = [np.interp(arc, path.arc_mm, values) for values in (path.lateral_mm, path.depth_mm)]
    end = field.frame.points([arc, *place])
    return ThecalSac(as_point(end), Level.S2, State.INFERRED, value("assumptions.thecal_sac_end_sd"))
