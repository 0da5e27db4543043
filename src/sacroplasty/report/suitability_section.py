"""Whether sacroplasty suits this patient, in words for a sheet and as a section of the report."""

from __future__ import annotations

from sacroplasty.case import Case
from sacroplasty.lesion import Bearing, PatientFacts, Suitability, Verdict
from sacroplasty.plan import Severity
from sacroplasty.report.document import Block, Paragraph, Remark, Section, Table

_SEVERITY = {Verdict.SUITABLE: Severity.INFO, Verdict.UNDECIDED: Severity.CAUTION,
             Verdict.CORRECT_FIRST: Severity.CAUTION, Verdict.UNSUITABLE: Severity.WARNING}  # fmt: skip
# What decides comes first.
_ORDER = (Bearing.AGAINST, Bearing.CORRECT_FIRST, Bearing.CAUTION, Bearing.FOR, Bearing.NEUTRAL, Bearing.ASK)


def describe_suitability(suitability: Suitability) -> list[str]:
    """Verdict, reasons, override, and what is still to be asked, in lines."""
    lines = [f"Suitability: {suitability.verdict}", *(f"  {reason}" for reason in suitability.reasons)]
    if suitability.override is not None:
        lines.append(_override(suitability))
    if suitability.sins is not None:
        lines.append(f"SINS: {suitability.sins.describe()}")
    lines.append(f"Pain mechanism: {suitability.pain.mechanism}")
    return [*lines, "To be asked:", *(f"  {question}" for question in suitability.questions)]


def _override(suitability: Suitability) -> str:
    decision = suitability.override
    assert decision is not None
    return f"Override by {decision.by}, {decision.when}: {decision.reason}"


def suitability_section(case: Case, suitability: Suitability) -> Section:
    """Verdict, override, scores, every statement with its bearing, alternatives with what is known of them."""
    blocks: list[Block] = [Remark(_SEVERITY[suitability.verdict], f"{str(suitability.verdict).capitalize()}.")]
    if case.facts == PatientFacts():
        blocks.append(Paragraph("Judged from the images alone: no facts about the patient were given."))
    if suitability.override is not None:
        blocks.append(Remark(Severity.WARNING, _override(suitability) + "."))
    scores = [f"Pain mechanism: {suitability.pain.mechanism}"]
    if suitability.sins is not None:
        scores.insert(0, f"Spinal Instability Neoplastic Score: {suitability.sins.describe()}")
    blocks.append(Paragraph("; ".join(scores) + ". This documents and warns; the decision is the clinician's."))
    statements = sorted(suitability.statements, key=lambda s: _ORDER.index(s.bearing))
    rows = tuple((str(s.bearing), s.topic, s.text) for s in statements)
    blocks.append(
        Table(("Bearing", "Topic", "Statement"), rows, "What speaks for and against, and what is to be asked")
    )
    options = tuple(
        (str(a.option), a.known, "; ".join((*a.for_this_patient, *(["declined by the patient"] if a.declined else []))))
        for a in suitability.alternatives
    )
    if options:
        blocks.append(Table(("Alternative", "What is known", "For this patient"), options, "Alternatives"))
    return Section("Suitability", tuple(blocks))
