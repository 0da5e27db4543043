"""How surely each bone was found, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sacroplasty.anatomy.lumbar import Disc
from sacroplasty.anatomy.neighbour_levels import UNSURE_LEAD
from sacroplasty.anatomy.shape_fit import edge_offsets
from sacroplasty.anatomy.shape_model import CAUDAL, HIP_LEFT, HIP_RIGHT, SACRUM, PelvisModel
from sacroplasty.anatomy.surface import vertex_normals
from sacroplasty.plan import Finding, Severity
from sacroplasty.space import LabelMap, Points, Volume

# Share of a bone's vertices on an edge: below the first nothing is sure, above the second everything.
UNSURE_SHARE, SURE_SHARE = 0.45, 0.7
# Marrow above muscle (HU): at the first only the cortex shows the bone, at the second all of it does.
FATTY_MARROW_HU, DENSE_MARROW_HU = -60.0, 30.0
# Score of the fitted sacrum (0.04 in porous bone at 5 mm, 0.09 in porous bone at 1 mm, 0.1 to 0.5 elsewhere), and its
# lead over the neighbouring level as a share of it.
UNSURE_SCORE, SURE_SCORE = 0.02, 0.08
SURE_LEAD = 0.3
# Share of the column between the discs that the label of L5 fills.
HOLLOW_L5, WHOLE_L5 = 0.6, 0.9
# Miss of the two halves (mm) that a healthy sacrum hardly reaches, and at which the mask is as likely wrong.
UNEVEN_MM, BROKEN_MM = 3.0, 6.0
LOW_CONFIDENCE = 0.6
THICK_SLICES_MM = 3.0


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0, 1))


@dataclass(frozen=True)
class Signs:
    """What tells how far the bones can be believed.

    marrow_contrast_hu: how much brighter than muscle the sacrum's marrow is; fatty marrow looks like soft tissue.
    level_score, level_runner_up: how well the sacrum's edges and its separation from the surroundings agree with the
    fit, and with the best fit at another height. l5_filled: share of the column between the discs that the label of L5
    fills. border: how well the finished label of the sacrum follows the CT, 0..1.
    """

    marrow_contrast_hu: float
    level_score: float
    level_runner_up: float
    l5_filled: float
    border: float = 1.0

    @property
    def level(self) -> float:
        """How sure (0..1) it is that the fitted sacrum is the sacrum and not a neighbour."""
        lead = 1.0 - self.level_runner_up / max(self.level_score, 1e-6)
        return min(_ramp(self.level_score, UNSURE_SCORE, SURE_SCORE), _ramp(lead, UNSURE_LEAD, SURE_LEAD))


def bone_confidences(
    ct: Volume,
    model: PelvisModel,
    vertices_mm: Points,
    muscle_hu: float,
    labels: LabelMap,
    discs: tuple[Disc | None, Disc | None],
    signs: Signs,
) -> tuple[dict[str, float], dict[str, float]]:
    """Confidence 0..1 of each bone that has voxels, and the share of each fitted bone inside the scanned field."""
    normals = vertex_normals(vertices_mm, model.faces)
    _, edge, seen = edge_offsets(ct, vertices_mm, normals, 3.0, model.edge_weight, muscle_hu)
    confidences, shares = {}, {}
    for name, parts in (("sacrum", (SACRUM, CAUDAL)), ("hip_left", (HIP_LEFT,)), ("hip_right", (HIP_RIGHT,))):
        own = np.isin(model.part, parts)
        carrier = own & seen & (model.edge_weight > 0.5)
        agreement = float((edge[carrier] > 0.2).mean()) if np.count_nonzero(carrier) > 50 else 0.0
        shares[name] = float(seen[own].mean())
        porous = 0.5 + 0.5 * _ramp(signs.marrow_contrast_hu, FATTY_MARROW_HU, DENSE_MARROW_HU)
        confidences[name] = porous * _ramp(agreement, UNSURE_SHARE, SURE_SHARE)
    confidences["sacrum"] *= signs.level * signs.border
    sure = [disc.clearness if disc else 0.0 for disc in discs]
    confidences["l5"] = 0.9 * min(*sure, _ramp(signs.l5_filled, HOLLOW_L5, WHOLE_L5)) * confidences["sacrum"]
    confidences["l4"] = 0.9 * sure[1] * confidences["sacrum"]
    confidences["disc_l5_s1"] = 0.9 * sure[0] * confidences["sacrum"]
    for side in ("left", "right"):
        confidences[f"si_joint_{side}"] = min(confidences["sacrum"], confidences[f"hip_{side}"])
        confidences[f"femur_{side}"] = 0.8 * confidences[f"hip_{side}"]
    # The coccyx has no shape prior: it is the bone that continues the sacrum.
    confidences["coccyx"] = 0.7 * confidences["sacrum"]
    confidences["metal"] = 1.0
    return {name: round(c, 3) for name, c in confidences.items() if labels.has(name)}, shares


def with_symmetry(confidences: Mapping[str, float], residual_mm: float) -> dict[str, float]:
    """The confidences, the sacrum's lowered where its halves differ as those of no healthy sacrum do."""
    even = 1.0 - 0.5 * _ramp(residual_mm, UNEVEN_MM, BROKEN_MM)
    return {name: round(c * even, 3) if name == "sacrum" else c for name, c in confidences.items()}


def level_findings(signs: Signs) -> tuple[Finding, ...]:
    """That the sacrum may be a neighbouring vertebra's, its border off the bone, or L5 a shell, said where it is so."""
    findings = []
    if signs.level < LOW_CONFIDENCE:
        message = (
            f"The sacrum may be taken for a neighbouring level: where it is laid at another height it scores "
            f"{signs.level_runner_up / max(signs.level_score, 1e-6):.0%} of what it does here. "
            "Confirm the promontory in the mid-sagittal slice"
        )
        findings.append(Finding(Severity.WARNING, "SAC-A107", message, "sacrum"))
    if signs.border < LOW_CONFIDENCE:
        message = (
            "The sacrum's border lies off the edges of the CT in places, or outside of them: look at it in all three "
            "planes before a clearance or a volume is believed"
        )
        findings.append(Finding(Severity.CAUTION, "SAC-A109", message, "sacrum"))
    if signs.l5_filled < HOLLOW_L5:
        message = f"The label of L5 fills {signs.l5_filled:.0%} of the space between the discs: it is not the vertebra"
        findings.append(Finding(Severity.WARNING, "SAC-A108", message, "l5"))
    return tuple(findings)


def confidence_findings(
    confidences: Mapping[str, float], shares: Mapping[str, float], ct: Volume, labels: LabelMap
) -> tuple[Finding, ...]:
    """What the operator must know about the bones: cut by the field, not sure, thick slices, metal."""
    findings = []
    if shares.get("sacrum", 1.0) < 0.97:
        message = f"The scan shows {shares['sacrum']:.0%} of the sacrum; nothing is known of the rest"
        findings.append(Finding(Severity.CAUTION, "SAC-A102", message, "sacrum"))
    for side in ("left", "right"):
        share = shares.get(f"hip_{side}", 1.0)
        if share < 0.9:
            message = f"The scan shows {share:.0%} of the {side} hip bone"
            findings.append(Finding(Severity.INFO, "SAC-A103", message, f"hip_{side}"))
    for name, confidence in confidences.items():
        if confidence < LOW_CONFIDENCE:
            severity = Severity.WARNING if name == "sacrum" else Severity.CAUTION
            message = f"{name} was found with low confidence ({confidence:.2f}): check it against the CT"
            findings.append(Finding(severity, "SAC-A104", message, name))
    thickest = max(ct.grid.spacing_mm)
    if thickest > THICK_SLICES_MM:
        message = f"Slices of {thickest:.1f} mm: small foramina and thin cortex are not resolved"
        findings.append(Finding(Severity.CAUTION, "SAC-A105", message))
    if labels.has("metal"):
        message = f"Metal of {labels.mask('metal').volume_ml:.1f} mL: bone near it is uncertain"
        findings.append(Finding(Severity.INFO, "SAC-A106", message, "metal"))
    return tuple(findings)
