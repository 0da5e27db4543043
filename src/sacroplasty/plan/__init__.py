"""The words of a plan: levels, sides, needles, trajectories, crossings, injections, findings.

Frozen values without behaviour beyond their own geometry; every other room speaks in them.
"""

from sacroplasty.plan.finding import Finding, Severity
from sacroplasty.plan.forecast import CementForecast, dosed
from sacroplasty.plan.needle import Needle, catalogue
from sacroplasty.plan.plan import Clearance, Crossing, Injection, NeedlePlan, Plan
from sacroplasty.plan.terms import SACRAL_LEVELS, Approach, DenisZone, Level, Side, State
from sacroplasty.plan.trajectory import Point, Trajectory, as_point

__all__ = [
    "SACRAL_LEVELS",
    "Approach",
    "CementForecast",
    "Clearance",
    "Crossing",
    "DenisZone",
    "Finding",
    "Injection",
    "Level",
    "Needle",
    "NeedlePlan",
    "Plan",
    "Point",
    "Severity",
    "Side",
    "State",
    "Trajectory",
    "as_point",
    "catalogue",
    "dosed",
]
