"""How well each place on the skin leads to the lesion: the map to be drawn on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.approach.planner import task_of
from sacroplasty.approach.rules import RULES
from sacroplasty.approach.search import Reason, search_sides
from sacroplasty.approach.target import tip_candidates
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Approach, Needle
from sacroplasty.space import Points, Volume, readonly


@dataclass(frozen=True, eq=False)
class SkinAccess:
    """One approach's skin: positions (n, 3) LPS mm, the best margin (n,) in mm beyond what is required of any legal
    path from there (NaN where there is none), and the share (n,) of the tips that can be reached legally.
    """

    approach: Approach
    points_mm: Points
    margin_mm: npt.NDArray[np.float64]
    reachable_share: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("points_mm", "margin_mm", "reachable_share"):
            object.__setattr__(self, name, readonly(getattr(self, name)))


def skin_access(
    ct: Volume, anatomy: Anatomy, lesion: Lesion, approach: Approach, needle: Needle | None = None
) -> SkinAccess:
    """The accessibility map of an approach. Points without skin in the approach's region are left out."""
    task = task_of(ct, anatomy, lesion, needle, "fluoroscopy")
    rule = RULES[approach]
    tips = tip_candidates(task.scene, task.samples, rule, task.needle.radius_mm)
    points, margins, shares = [np.empty((0, 3))], [np.empty(0)], [np.empty(0)]
    for found in search_sides(task.scene, rule, task.needle, tips) if len(tips) else ():
        shape = (len(found.entries_mm), len(tips))
        legal = (found.reason == Reason.LEGAL).reshape(shape)
        best = np.where(legal, found.margin_mm.reshape(shape), -np.inf).max(axis=1, initial=-np.inf)
        points.append(found.entries_mm)
        margins.append(np.where(np.isfinite(best), best, np.nan))
        shares.append(legal.mean(axis=1))
    return SkinAccess(approach, np.concatenate(points), np.concatenate(margins), np.concatenate(shares))
