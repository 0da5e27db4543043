"""Plans in sentences: why an approach, how near, how sure, how far one may be off."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sacroplasty.approach.measures import clock_position
from sacroplasty.approach.rules import ApproachRule
from sacroplasty.plan import Clearance, DenisZone, Finding, Level, NeedlePlan, Severity, Side, Trajectory

ZONE_WORDS = {
    DenisZone.ALA: "ala (Denis zone I)",
    DenisZone.FORAMINA: "foraminal zone (Denis zone II)",
    DenisZone.CENTRAL: "vertebral body (Denis zone III)",
}
_GRADE_WORDS = {1: "First choice", 2: "Second choice", 3: "A last choice"}


def suitability(rule: ApproachRule, level: Level, zone: DenisZone, share: float) -> str:
    """How well the approach suits the place where most of the lesion lies."""
    grade = rule.grade(level, zone)
    if grade is None:
        return (
            f"The {rule.title} approach is not meant for the {level} {ZONE_WORDS[zone]}, where {100 * share:.0f} % of "
            "the lesion lies."
        )
    return f"{_GRADE_WORDS[grade]} for the {level} {ZONE_WORDS[zone]}, where {100 * share:.0f} % of the lesion lies."


def course(needle: NeedlePlan, measures: Mapping[str, float]) -> str:
    """Entry, angles and what is crossed in order."""
    path = needle.trajectory
    x = measures["entry_left_of_midline_mm"]
    where = "in the midline" if abs(x) < 5 else f"{abs(x):.0f} mm to the {'left' if x > 0 else 'right'} of the midline"
    order = ", ".join(c.structure for c in needle.crossings)
    return (
        f"Enters the skin {where}, {angles(path)}; crosses {order}; {path.length_mm:.0f} mm from skin to target, "
        f"{measures.get('bone_path_mm', 0.0):.0f} mm of it in bone."
    )


# Palpable marks by what their measures are called, in words.
_MARKS = {
    "psis_left": "left PSIS", "psis_right": "right PSIS", "hiatus": "sacral hiatus", "l5_spinous_process": "L5 spine",
}  # fmt: skip


def skin_marks(measures: Mapping[str, float]) -> str:
    """Where to mark the skin, from what can be felt."""
    parts = []
    for name, mark in _MARKS.items():
        left, up = measures.get(f"entry_left_of_{name}_mm"), measures.get(f"entry_cranial_of_{name}_mm")
        if left is not None and up is not None:
            aside = f"{abs(left):.0f} mm {'left' if left >= 0 else 'right'}"
            parts.append(f"{aside} and {abs(up):.0f} mm {'cranial' if up >= 0 else 'caudal'} of the {mark}")
    if not parts:
        return "No palpable mark is known in this scan; measure the skin entry from the midline."
    return f"Mark the skin {'; '.join(parts)}."


def angles(path: Trajectory) -> str:
    """The two angles in the source papers' words."""
    up, left = path.cephalad_deg, path.leftward_deg
    first, second = "cephalad" if up >= 0 else "caudad", "left" if left >= 0 else "right"
    return f"{first} {abs(up):.0f} deg, {second} {abs(left):.0f} deg"


def nearness(clearance: Clearance, guidance: str) -> str:
    """The tightest place of a path, with its probability where there is one."""
    line = (
        f"Nearest is the {clearance.structure}: at least {clearance.distance_mm:.1f} mm from the needle's surface, "
        f"{clearance.depth_mm:.0f} mm below the skin ({clearance.required_mm:.1f} mm required)"
    )
    if clearance.breach_probability is None or clearance.breach_probability_upper is None:
        return line + "."
    return (
        f"{line}; under {guidance} guidance it is touched with a probability of "
        f"{100 * clearance.breach_probability:.1f} % (at most {100 * clearance.breach_probability_upper:.1f} %)."
    )


def tolerance(angle_deg: float, entry_mm: float, tip_mm: float) -> str:
    """The tolerance cone."""
    if angle_deg <= 0 and entry_mm <= 0:
        return "There is no room for error: any deviation brings the probability of a breach above 1 %."
    return (
        f"May be off by up to {angle_deg:.1f} deg ({tip_mm:.1f} mm at the tip) or {entry_mm:.1f} mm at the skin before "
        "the probability of a breach exceeds 1 %."
    )


def deposits(coverage: float, volume_ml: float, count: int) -> str:
    """What the cement reaches."""
    places = "one deposit" if count == 1 else f"{count} deposits, withdrawing step by step"
    return f"Reaches {100 * coverage:.0f} % of the lesion: {volume_ml:.1f} mL planned in {places}."


def bevel(azimuth: float, nerve: str, drift_mm: float) -> str:
    """Bevel and the drift to expect."""
    return (
        f"Bevel at {clock_position(azimuth)} seen from the hub (12 is the head), facing the {nerve}; expect about "
        f"{drift_mm:.1f} mm of drift away from it."
    )


def hiatus_course(measures: Mapping[str, float], level: Level) -> str:
    """Where the interpedicular needle enters the canal and leaves it."""
    entry, bone = measures.get("canal_entry_level", math.nan), measures.get("bone_entry_level", math.nan)
    if math.isnan(entry) or math.isnan(bone):
        return "The levels of canal entry and bone entry are not known."
    return (
        f"Passes the hiatus into the canal at S{entry:.0f}, punctures its ventral wall at S{bone:.0f} for the target "
        f"in {level} and lies {measures['ventral_parallelism_deg']:.0f} deg off the ventral edge."
    )


def side_words(side: Side) -> str:
    """The side in words for a sentence."""
    return "in the midline" if side is Side.MIDLINE else f"from the {side}"


def breach_finding(clearance: Clearance, guidance: str, limit: float) -> Finding | None:
    """A warning where a structure may be touched more often than the limit."""
    probability = clearance.breach_probability
    if probability is None or probability <= limit:
        return None
    return Finding(
        Severity.WARNING if probability > 10 * limit else Severity.CAUTION,
        "APPROACH-BREACH",
        f"Placed under {guidance} guidance the needle touches the {clearance.structure} with a probability of "
        f"{100 * probability:.1f} %; the limit is {100 * limit:.0f} %.",
        clearance.structure,
        clearance.where_mm,
        ("assumptions.approach_breach_limit",),
    )
