"""Approaches as objects and the search for the needle paths that keep their rules.

`plan_trajectories` tries every approach and returns ranked plans with reasons, infeasible ones included;
`evaluate_path` judges a user's own path by the same rules; `reconsidered` ranks plans anew by a cement prediction that
the caller brings. An approach is a legal order of crossings with keep-outs,
not a line between two points.
"""

from sacroplasty.approach.access import SkinAccess, skin_access
from sacroplasty.approach.measures import palpable_marks
from sacroplasty.approach.planner import evaluate_path, plan_trajectories
from sacroplasty.approach.ranking import merit, reconsidered
from sacroplasty.approach.rules import RULES, ApproachRule, Course, Stage
from sacroplasty.approach.tissue import Tissue
from sacroplasty.approach.uncertainty import GUIDANCE, PlacementError, placement_error

__all__ = [
    "GUIDANCE",
    "RULES",
    "ApproachRule",
    "Course",
    "PlacementError",
    "SkinAccess",
    "Stage",
    "Tissue",
    "evaluate_path",
    "merit",
    "palpable_marks",
    "placement_error",
    "plan_trajectories",
    "reconsidered",
    "skin_access",
]
