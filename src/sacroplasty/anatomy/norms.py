"""Measures of one sacrum beside the norm, and what stands out as findings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from sacroplasty.anatomy.levels import Assignment
from sacroplasty.anatomy.structures import Face, Foramen, Hiatus, SacralFrame, SacralLevel
from sacroplasty.evidence import evidence, value
from sacroplasty.plan import Finding, Level, Severity, Side, State

# A measure further than this many standard deviations from its norm is said.
FAR_SD = 2.0
# Log-likelihood by which a numbering of levels must beat the next best one.
SURE_MARGIN = 2.0

# Measure and the norm it is held against.
NORMED = {
    "s1_posterior_foramen_lateral_mm": "anatomy.s1_posterior_foramen_lateral",
    "s1_posterior_foramen_width_mm": "anatomy.s1_posterior_foramen_width",
    "hiatus_depth_mm": "anatomy.hiatus_depth",
    "hiatus_width_mm": "anatomy.hiatus_width",
    "endplate_slope_deg": "anatomy.sacral_slope",
    "sacral_width_mm": "anatomy.sacral_width",
}


def sacral_measures(
    frame: SacralFrame, levels: Sequence[SacralLevel], foramina: Sequence[Foramen], hiatus: Hiatus | None
) -> dict[str, float]:
    """Named measures of the sacrum with the unit in the name; only what was measured, never what was inferred."""
    measures = {
        "endplate_slope_deg": frame.endplate_slope_deg,
        "symmetry_residual_mm": frame.symmetry_residual_mm,
        "ventral_curve_length_mm": float(frame.arc_mm[-1]),
    }
    for segment in levels:
        if segment.state in {State.MEASURED, State.REOPENED}:
            measures[f"{segment.level.lower()}_height_mm"] = segment.lower_arc_mm - segment.upper_arc_mm
    seen = [f for f in foramina if f.state in {State.MEASURED, State.REOPENED}]
    for level in {f.level for f in seen}:
        for face in Face:
            both = [f for f in seen if f.level is level and f.face is face]
            if not both:
                continue
            places = np.array([frame.coordinates(np.asarray(f.centre_mm)) for f in both])
            name = f"{level.lower()}_{face}_foramen"
            measures[f"{name}_lateral_mm"] = float(np.abs(places[:, 1]).mean())
            measures[f"{name}_width_mm"] = float(np.mean([f.width_mm for f in both]))
            measures[f"{name}_height_mm"] = float(np.mean([f.height_mm for f in both]))
            if len(both) == 2:
                measures[f"{level.lower()}_{face}_interforaminal_mm"] = float(np.ptp(places[:, 1]))
    if hiatus is not None and hiatus.state.known and hiatus.state is not State.INFERRED:
        measures["hiatus_depth_mm"] = hiatus.depth_mm
        measures["hiatus_width_mm"] = hiatus.width_mm
    return {name: measures[name] for name in sorted(measures) if np.isfinite(measures[name])}


def beside_norms(measures: Mapping[str, float]) -> list[Finding]:
    """Measures further than two standard deviations from the norm."""
    findings = []
    for name, key in NORMED.items():
        norm = evidence(key)
        if name not in measures or norm.low is None or norm.high is None:
            continue
        spread = 0.5 * (norm.high - norm.low)
        off = (measures[name] - norm.value) / spread
        if abs(off) > FAR_SD:
            words, unit = name.rsplit("_", 1)
            findings.append(
                Finding(
                    Severity.INFO,
                    "SAC-A310",
                    f"{words.replace('_', ' ').capitalize()} {measures[name]:.1f} {unit}, "
                    f"norm {norm.value:g} ± {spread:.1f} {unit}.",
                    words,
                    evidence=(key,),
                )
            )
    return findings


def frame_findings(frame: SacralFrame) -> list[Finding]:
    """What makes the sacral axes doubtful."""
    if frame.symmetry_residual_mm <= value("assumptions.symmetry_residual_high"):
        return []
    return [
        Finding(
            Severity.CAUTION,
            "SAC-A301",
            f"The two halves of the sacrum differ by {frame.symmetry_residual_mm:.1f} mm (tumour, fracture, scoliosis "
            "or a poor mask): confirm the midline.",
            "sacral frame",
            frame.origin_mm,
            ("assumptions.symmetry_residual_high",),
        )
    ]


def level_findings(assignment: Assignment, levels: Sequence[SacralLevel]) -> list[Finding]:
    """Numbering that is not sure: another count than expected, odd spacing, or a close second-best numbering."""
    findings = []
    arcs = list(assignment.arcs_mm.values())
    if assignment.surplus:
        findings.append(
            Finding(
                Severity.WARNING,
                "SAC-A302",
                f"{4 + assignment.surplus} pairs of anterior foramina: a transitional L5 or coccygeal segment. Levels "
                "are counted from the promontory; confirm them on a longer image.",
                "levels",
            )
        )
    if arcs and assignment.margin < SURE_MARGIN:
        names = ", ".join(assignment.arcs_mm)
        findings.append(
            Finding(
                Severity.CAUTION,
                "SAC-A303",
                f"The foramina found ({names}) could also be of other levels: confirm the numbering.",
                "levels",
            )
        )
    limit = value("assumptions.level_spacing_high")
    for upper, lower in itertools.pairwise(levels):
        if lower.level is Level.S5 or upper.state is not State.MEASURED or lower.state is not State.MEASURED:
            continue
        expected = value(f"anatomy.{lower.level.lower()}_anterior_foramen_arc") - value(
            f"anatomy.{upper.level.lower()}_anterior_foramen_arc"
        )
        height = lower.lower_arc_mm - lower.upper_arc_mm
        if height > limit * expected:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "SAC-A304",
                    f"{lower.level} measures {height:.0f} mm against {expected:.0f} mm: a missed or transitional "
                    "level.",
                    str(lower.level),
                    lower.body_centre_mm,
                    ("assumptions.level_spacing_high",),
                )
            )
    return findings


def foramen_findings(foramina: Sequence[Foramen]) -> list[Finding]:
    """One finding per state other than measured, naming the foramina it holds for."""
    texts = {
        State.REOPENED: (Severity.INFO, "SAC-A320", "closed in the mask and re-opened from the CT"),
        State.INFERRED: (Severity.CAUTION, "SAC-A321", "not seen; placed by the norm and keep their distance wider"),
        State.OUTSIDE: (Severity.CAUTION, "SAC-A322", "outside the field of view"),
    }
    findings = []
    for state, (severity, code, text) in texts.items():
        names = [foramen.name for foramen in foramina if foramen.state is state]
        if names:
            findings.append(Finding(severity, code, f"{', '.join(names)}: {text}.", "foramina"))
    findings += _asymmetry(foramina)
    return findings


def _asymmetry(foramina: Sequence[Foramen]) -> list[Finding]:
    """Anterior S1 foramina of clearly different size: dysmorphism or a lesion in a wall."""
    pair = [f for f in foramina if f.level is Level.S1 and f.face is Face.ANTERIOR and f.state is State.MEASURED]
    if len(pair) < 2 or max(f.radius_mm for f in pair) < 1.4 * min(f.radius_mm for f in pair):
        return []
    wide = max(pair, key=lambda f: f.radius_mm)
    other = min(pair, key=lambda f: f.radius_mm)
    side = "left" if wide.side is Side.LEFT else "right"
    return [
        Finding(
            Severity.CAUTION,
            "SAC-A323",
            f"The {side} S1 anterior foramen is {2 * wide.radius_mm:.0f} mm wide against {2 * other.radius_mm:.0f} mm: "
            "dysmorphic, or a wall is destroyed.",
            wide.name,
            wide.centre_mm,
        )
    ]


def hiatus_findings(hiatus: Hiatus | None) -> list[Finding]:
    """What the hiatus means for a way through it."""
    if hiatus is None:
        return [Finding(Severity.CAUTION, "SAC-A330", "The sacral hiatus is not found.", "hiatus")]
    if hiatus.state is State.OUTSIDE:
        return [
            Finding(
                Severity.CAUTION,
                "SAC-A331",
                "The sacral hiatus lies outside the field of view: the roof is closed to the end of the data.",
                "hiatus",
                hiatus.apex_mm,
            )
        ]
    if hiatus.state is State.ABSENT:
        return [
            Finding(Severity.WARNING, "SAC-A332", "There is no sacral hiatus: the roof is closed to the end.", "hiatus")
        ]
    if hiatus.state is State.INFERRED:
        return [
            Finding(
                Severity.CAUTION,
                "SAC-A336",
                "Where the canal's roof ends is not sure (a defect of the roof, a canal lost in the image, or bone "
                f"missing at S5): the hiatus is placed ± {hiatus.uncertainty_mm:.0f} mm. Confirm it by eye.",
                "hiatus",
                hiatus.apex_mm,
                ("anatomy.hiatus_height",),
            )
        ]
    return _seen_hiatus_findings(hiatus)


def _seen_hiatus_findings(hiatus: Hiatus) -> list[Finding]:
    """What depth and level of a hiatus that was seen mean."""
    findings = []
    if np.isnan(hiatus.depth_mm):
        findings.append(
            Finding(
                Severity.CAUTION,
                "SAC-A333",
                "The depth of the hiatus is not measurable at this slice distance.",
                "hiatus",
                hiatus.apex_mm,
            )
        )
    elif hiatus.depth_mm < value("anatomy.hiatus_shallow"):
        findings.append(
            Finding(
                Severity.WARNING,
                "SAC-A334",
                f"The hiatus is {hiatus.depth_mm:.1f} mm deep at its apex: a 13 G needle may not pass.",
                "hiatus",
                hiatus.apex_mm,
                ("anatomy.hiatus_shallow",),
            )
        )
    if hiatus.apex_level in {Level.S1, Level.S2}:
        findings.append(
            Finding(
                Severity.WARNING,
                "SAC-A335",
                f"The canal's roof ends at {hiatus.apex_level} already (dorsal defect): the dural sac may be bare.",
                "hiatus",
                hiatus.apex_mm,
            )
        )
    return findings
