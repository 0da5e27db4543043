"""The way through the sacral hiatus: whether it exists, whether the needle fits, whether a path goes through it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sacroplasty.approach.scene import Scene
from sacroplasty.evidence import value
from sacroplasty.plan import Needle, State, catalogue


def hiatus_refusal(scene: Scene, needle: Needle) -> str | None:
    """Why the hiatus cannot be used at all, with the smallest change that would help; None where it can."""
    hiatus = scene.anatomy.hiatus
    if hiatus is None or hiatus.state is State.NOT_FOUND:
        return "The sacral hiatus was not found in this scan; give its apex by hand or choose another approach."
    if hiatus.state is State.OUTSIDE:
        return (
            "The sacral hiatus lies outside the field of view: the scan ends above it. "
            "A scan that reaches the coccyx would be needed."
        )
    if hiatus.state is State.ABSENT:
        return "The sacral hiatus is absent: the roof of the canal is closed to its end, so nothing can pass."
    if not math.isnan(hiatus.depth_mm) and hiatus.depth_mm < needle.outer_diameter_mm:
        fitting = [n for n in catalogue() if n.outer_diameter_mm < hiatus.depth_mm]
        change = (
            f"A {fitting[0].gauge_number} G needle ({fitting[0].outer_diameter_mm:.1f} mm) would pass."
            if fitting
            else "No needle of the catalogue would pass."
        )
        short = needle.outer_diameter_mm - hiatus.depth_mm
        return (
            f"The sacral hiatus is {hiatus.depth_mm:.1f} mm deep at {hiatus.apex_level}, {short:.1f} mm less than the "
            f"{needle.gauge_number} G needle's {needle.outer_diameter_mm:.1f} mm. {change}"
        )
    return None


def through_hiatus(scene: Scene, canal_entries_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether places (n, 3) where needles meet the canal lie in the hiatus, its uncertainty included."""
    return off_hiatus_mm(scene, canal_entries_mm) <= 0.0


def off_hiatus_mm(scene: Scene, canal_entries_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far (n,) places lie beyond the hiatus: along the sacrum from apex to lower end, and sideways of its width.

    Zero or less inside. The reach of `approach_hiatus_reach` around the opening counts as the hiatus.
    """
    hiatus = scene.anatomy.hiatus
    if hiatus is None or not hiatus.state.known:
        return np.full(len(canal_entries_mm), np.inf)
    frame = scene.anatomy.frame
    arc, x, _ = frame.coordinates(np.asarray(hiatus.apex_mm))
    places = frame.coordinates(canal_entries_mm)
    reach = value("assumptions.approach_hiatus_reach")
    above = (arc - reach) - places[:, 0]
    below = places[:, 0] - (arc + hiatus.length_mm + reach)
    aside = np.abs(places[:, 1] - x) - max(hiatus.width_mm / 2, hiatus.uncertainty_mm)
    return np.asarray(np.maximum.reduce([above, below, aside]))
