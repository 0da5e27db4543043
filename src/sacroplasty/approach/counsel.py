"""What the literature says for and against an approach and a guidance mode, and what losing a root costs.

Each statement is a Finding whose sentence and source come from one evidence entry, so that a report can print it and
`cite` can name where it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sacroplasty.approach.rules import ApproachRule
from sacroplasty.approach.scene import FORAMINA, ROOTS, TUNNELS, Scene
from sacroplasty.evidence import evidence
from sacroplasty.plan import Clearance, Finding, Level, NeedlePlan, Severity

# Roots are named as being at risk from this probability of being touched on.
_WORTH_NAMING = 0.001
_ROOT_LOSS: Mapping[Level, str] = {
    Level.L5: "root_l5", Level.S1: "root_s1", Level.S2: "root_s2", Level.S3: "root_s3", Level.S4: "root_s4",
    Level.S5: "root_s4",
}  # fmt: skip
_GUIDANCE_FOR: Mapping[str, tuple[str, ...]] = {
    "fluoroscopy": ("fluoroscopy_live",),
    "ct": ("ct_precise",),
    "ct-laser": ("ct_precise", "ct_laser_precise"),
    "ct-and-fluoroscopy": ("combined_best",),
    "cone-beam-ct": ("cone_beam_overlay",),
    "navigation": ("navigation_error_read",),
}
_GUIDANCE_AGAINST: Mapping[str, tuple[str, ...]] = {
    "fluoroscopy": ("fluoroscopy_hidden_foramina",),
    "ct": ("ct_not_live",),
    "ct-laser": ("ct_not_live",),
    "ct-and-fluoroscopy": ("combined_time_and_dose",),
    "cone-beam-ct": (),
    "navigation": (),
}


def statement(code: str, name: str, structure: str = "") -> Finding:
    """The finding of one evidence entry: its sentence, and behind it the source."""
    key = f"approach_counsel.{name}"
    entry = evidence(key)
    return Finding(Severity.INFO, code, f"{entry.note} ({entry.source})", structure, evidence=(key,))


def approach_statements(rule: ApproachRule) -> tuple[Finding, ...]:
    """Merits, then drawbacks of an approach."""
    return (
        *(statement("APPROACH-MERIT", name) for name in rule.merits),
        *(statement("APPROACH-DRAWBACK", name) for name in rule.drawbacks),
    )


def guidance_statements(guidance: str) -> tuple[Finding, ...]:
    """What speaks for and against placing the needle under this guidance."""
    return (
        *(statement("GUIDANCE-MERIT", name) for name in _GUIDANCE_FOR[guidance]),
        *(statement("GUIDANCE-DRAWBACK", name) for name in _GUIDANCE_AGAINST[guidance]),
    )


def root_statements(scene: Scene, needles: Iterable[NeedlePlan]) -> tuple[Finding, ...]:
    """What the loss of each root that these needles come nearest to, or may touch, would cost."""
    at_risk: list[str] = []
    for needle in needles:
        near = [c for c in needle.clearances if _root_of(scene, c) is not None]
        for n, clearance in enumerate(near):
            if n == 0 or (clearance.breach_probability or 0.0) >= _WORTH_NAMING:
                at_risk.append(str(_root_of(scene, clearance)))
    findings = []
    for name in dict.fromkeys(at_risk):
        level = Level(name.split()[0])
        findings.append(statement("APPROACH-ROOT", _ROOT_LOSS[level], name))
    if findings:
        findings.append(statement("APPROACH-ROOT", "root_one_side"))
    return tuple(findings)


def _root_of(scene: Scene, clearance: Clearance) -> str | None:
    """Level and side of the root that a clearance is about; None where it is about none."""
    words = clearance.structure.split()
    known = {f"{tube.level} {tube.side}" for tube in scene.tubes if tube.group in (ROOTS, FORAMINA)}
    named = f"{words[0]} {words[-1]}"
    tunnel = clearance.structure.endswith(("left", "right")) and clearance.structure != TUNNELS
    return named if tunnel and named in known else None
