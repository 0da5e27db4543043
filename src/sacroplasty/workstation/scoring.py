"""A trainee's exercise in one number: aim, clearance, pictures, time and dose, each from 0 to 1, weighted and summed.

Weights and marks are assumptions under `score_…`; the parts are always shown beside the sum. A path that breaks a rule
of the planner earns nothing at all, however few the pictures. What cannot be judged leaves the exercise unscored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sacroplasty.evidence import value
from sacroplasty.fluoroscopy import View
from sacroplasty.plan import Plan, Point
from sacroplasty.space import Mask

# The beam is followed this far to both sides of the isocentre, mm, in these steps.
_BEAM_MM, _STEP_MM = 500.0, 2.0
_MINUTE_S = 60.0
_FRONT_TO_BACK = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Part:
    """One part of the score: what was measured, in its unit, what it earns (0 to 1) and with which weight."""

    name: str
    measured: float | None
    unit: str
    share: float | None
    weight: float


@dataclass(frozen=True)
class Score:
    """The parts, their weighted sum in percent (None where one of them could not be judged) and a sentence."""

    parts: tuple[Part, ...]
    overall_percent: float | None
    sentence: str


def scored(attempt: Plan, planned: Plan | None, views: tuple[View, ...], seconds: float, body: Mask) -> Score:
    """The score of a path (judged by the planner) that took these views and this time, against the plan."""
    off = None if planned is None else off_target_mm(attempt, planned)
    # The dose's marks are those of the pictures, all taken straight from front to back.
    straight = thickness_mm(views[0].isocentre_mm, _FRONT_TO_BACK, body)
    full, none = value("assumptions.score_shots_full"), value("assumptions.score_shots_zero")
    parts = (
        _part("aim", off, "mm", 0.0, value("assumptions.score_aim_zero")),
        _part("clearance", spare_mm(attempt), "mm", value("assumptions.score_spare_full"), 0.0),
        _part("shots", float(len(views)), "1", full, none),
        _part("time", seconds, "s", value("assumptions.score_time_full"), value("assumptions.score_time_zero")),
        _part("dose", kerma_mgy(views, body), "mGy", full * shot_mgy(straight), none * shot_mgy(straight)),
    )
    return Score(parts, *_overall(attempt, parts))


def _part(name: str, measured: float | None, unit: str, full: float, none: float) -> Part:
    """Everything at `full` or better, nothing at `none` or worse, a straight line between."""
    share = None if measured is None else float(np.clip((measured - none) / (full - none), 0.0, 1.0))
    return Part(name, measured, unit, share, value(f"assumptions.score_{name}_weight"))


def _overall(attempt: Plan, parts: tuple[Part, ...]) -> tuple[float | None, str]:
    unknown = [part.name for part in parts if part.share is None]
    if not attempt.feasible:
        return 0.0, f"0 %: the path breaks a rule. {attempt.reasons[0] if attempt.reasons else ''}".strip()
    if unknown:
        return None, f"Not scored: there is nothing to judge {' and '.join(unknown)} by."
    earned = sum(part.weight * part.share for part in parts if part.share is not None)
    overall = 100.0 * earned / sum(part.weight for part in parts)
    words = ", ".join(f"{part.name} {100 * (part.share or 0):.0f} % x {part.weight:g}" for part in parts)
    return overall, f"{overall:.0f} %: {words}. The weights are a choice of the program."


def off_target_mm(attempt: Plan, planned: Plan) -> float:
    """How far the tip is from the planned one."""
    return float(np.linalg.norm(np.subtract(attempt.first.trajectory.target_mm, planned.first.trajectory.target_mm)))


def spare_mm(attempt: Plan) -> float | None:
    """The least clearance beyond what is required; negative breaks a rule, None where nothing is near."""
    return min((one.distance_mm - one.required_mm for one in attempt.first.clearances), default=None)


def thickness_mm(centre_mm: Point, direction: npt.ArrayLike, body: Mask) -> float:
    """Tissue of the scan along a line through a point, for a unit direction (3,) in LPS."""
    steps = np.arange(-_BEAM_MM, _BEAM_MM, _STEP_MM)
    line = np.asarray(centre_mm) + steps[:, None] * np.asarray(direction, dtype=np.float64)
    return float(np.count_nonzero(body.contains(line)) * _STEP_MM)


def shot_mgy(thickness: float) -> float:
    """Air kerma at the skin of one picture through so much tissue (mm), from the published rate of vertebroplasty.

    An automatic exposure control doubles the rate with every half-value thickness beyond the usual trunk.
    """
    rate = value("fluoroscopy.skin_dose") / value("fluoroscopy.skin_dose_time") / _MINUTE_S
    beyond = (thickness - value("assumptions.score_usual_thickness")) / value("assumptions.score_half_value_tissue")
    return float(rate * value("assumptions.score_seconds_per_shot") * 2.0**beyond)


def kerma_mgy(views: tuple[View, ...], body: Mask) -> float:
    """Air kerma at the skin of all pictures: a proxy for comparing exercises, not dosimetry."""
    total = 0.0
    for view in views:
        beam = np.subtract(view.isocentre_mm, view.source_mm)
        total += shot_mgy(thickness_mm(view.isocentre_mm, beam / np.linalg.norm(beam), body))
    return total
