"""Signs of a dysmorphic upper sacrum, which narrows the corridor of S1 or bends it: measured, not judged by eye.

The signs are those of the radiological literature (residual disc S1/S2, S1 foramina that are not round, S1 corridor
narrower than that of S2); their limits are assumptions. One sign is common; two are said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.structures import Face, Foramen, PedicleCorridor, SacralLevel
from sacroplasty.evidence import value
from sacroplasty.plan import Finding, Level, Severity, State

# The residual disc is looked for this far around the border S1/S2, in the middle of the body.
NEAR_BORDER_MM, BESIDE_MM, DEPTH_MM = 5.0, 8.0, (4.0, 16.0)
# Bodies are measured from here to there on either side of the border.
BODY_MM = (6.0, 12.0)
SIGNS_THAT_COUNT = 2


def signs(
    field: SacrumField,
    levels: Sequence[SacralLevel],
    foramina: Sequence[Foramen],
    corridors: Sequence[PedicleCorridor],
) -> dict[str, float]:
    """What can be measured of: contrast of the residual disc (HU), roundness of the S1 foramina (height by width,
    the larger by the smaller), corridor diameters of S1 and S2 (mm, the narrower side).
    """
    found = {}
    disc = _residual_disc_hu(field, levels)
    if disc is not None:
        found["s1_s2_residual_disc_hu"] = disc
    seen = [f for f in foramina if f.level is Level.S1 and f.face is Face.ANTERIOR and f.state is State.MEASURED]
    if seen:
        longest = max(max(f.width_mm, f.height_mm) / max(min(f.width_mm, f.height_mm), 1.0) for f in seen)
        found["s1_anterior_foramen_elongation_ratio"] = float(longest)
    for level in (Level.S1, Level.S2):
        widths = [c.diameter_mm for c in corridors if c.level is level]
        if len(widths) == 2:
            found[f"{level.lower()}_corridor_mm"] = float(min(widths))
    return found


def findings(found: Mapping[str, float]) -> list[Finding]:
    """A caution that names the signs, where there are two or more."""
    said = []
    if found.get("s1_s2_residual_disc_hu", 0.0) > value("assumptions.residual_disc_contrast"):
        said.append("a residual disc S1/S2")
    if found.get("s1_anterior_foramen_elongation_ratio", 1.0) > value("assumptions.foramen_elongation_high"):
        said.append("S1 foramina that are not round")
    upper, lower = found.get("s1_corridor_mm"), found.get("s2_corridor_mm")
    if upper is not None and lower is not None and upper < lower:
        said.append(f"an S1 corridor of {upper:.0f} mm, narrower than that of S2 ({lower:.0f} mm)")
    if len(said) < SIGNS_THAT_COUNT:
        return []
    message = f"Signs of a dysmorphic upper sacrum: {', '.join(said)}. The S1 corridor is oblique or narrow"
    keys = ("assumptions.residual_disc_contrast", "assumptions.foramen_elongation_high")
    return [Finding(Severity.CAUTION, "SAC-A340", message, "S1", evidence=keys)]


def _residual_disc_hu(field: SacrumField, levels: Sequence[SacralLevel]) -> float | None:
    """How much darker the darkest plane at the border S1/S2 is than the bodies above and below; None where unseen."""
    first = next((lv for lv in levels if lv.level is Level.S1 and lv.state is State.MEASURED), None)
    if first is None:
        return None
    arcs = np.arange(-BODY_MM[1], BODY_MM[1] + 0.1, 1.0)
    lateral = np.arange(-BESIDE_MM, BESIDE_MM + 0.1, 2.0)
    depth = np.arange(*DEPTH_MM, 2.0)
    places = np.stack(np.meshgrid(first.lower_arc_mm + arcs, lateral, depth, indexing="ij"), axis=-1)
    profile = field.sampled(field.hu, field.frame.points(places), np.nan).reshape(len(arcs), -1).mean(axis=1)
    if not np.isfinite(profile).all():
        return None
    bodies = profile[np.abs(arcs) >= BODY_MM[0]]
    return float(np.median(bodies) - profile[np.abs(arcs) <= NEAR_BORDER_MM].min())
