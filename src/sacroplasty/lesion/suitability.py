"""Is this patient, with this lesion, suitable for sacroplasty? A judgement in statements; it documents, never forbids.

Zhang et al. 2008 judged a patient unsuitable and treated her all the same, at her and her family's wish: the judgement
and the override are two records, and both stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import InputError
from sacroplasty.lesion.alternatives import Alternative, alternatives
from sacroplasty.lesion.facts import Override, PatientFacts
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.lesion.pain import PainMechanism, pain_mechanism
from sacroplasty.lesion.sins import SinsScore, sins
from sacroplasty.lesion.statements import Bearing, Statement, statements_on
from sacroplasty.plan import Finding, Plan, Severity

_SEVERITY = {
    Bearing.FOR: Severity.INFO,
    Bearing.NEUTRAL: Severity.INFO,
    Bearing.ASK: Severity.CAUTION,
    Bearing.CAUTION: Severity.CAUTION,
    Bearing.CORRECT_FIRST: Severity.WARNING,
    Bearing.AGAINST: Severity.WARNING,
}


class Verdict(StrEnum):
    """What the statements come to."""

    SUITABLE = "judged suitable"
    CORRECT_FIRST = "judged suitable once corrected"
    UNSUITABLE = "judged unsuitable"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Suitability:
    """Verdict, every statement behind it, scores, pain mechanism, alternatives, and an override where one was made."""

    verdict: Verdict
    statements: tuple[Statement, ...]
    pain: PainMechanism
    sins: SinsScore | None
    alternatives: tuple[Alternative, ...]
    override: Override | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences that led to the verdict: those against, to be corrected or missing; else those in favour."""
        decisive = {
            Verdict.SUITABLE: Bearing.FOR,
            Verdict.UNSUITABLE: Bearing.AGAINST,
            Verdict.CORRECT_FIRST: Bearing.CORRECT_FIRST,
            Verdict.UNDECIDED: Bearing.ASK,
        }[self.verdict]
        return tuple(s.text for s in self.statements if s.bearing is decisive)

    @property
    def questions(self) -> tuple[str, ...]:
        """What has to be asked or measured before the needle."""
        return tuple(s.text for s in self.statements if s.bearing is Bearing.ASK)

    @property
    def proceeds(self) -> bool:
        """The procedure goes on: judged suitable, or an override is recorded."""
        return self.verdict is Verdict.SUITABLE or self.override is not None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The statements as findings, gravest first; AGAINST is a warning, never a blocker."""
        order = list(Severity)
        found = [
            Finding(_SEVERITY[s.bearing], s.code, s.text, s.topic, s.where_mm, s.evidence) for s in self.statements
        ]
        return tuple(sorted(found, key=lambda f: -order.index(f.severity)))

    def overridden(self, override: Override) -> Suitability:
        """A copy that goes on against the judgement; the judgement stays. A favourable one needs none: InputError."""
        if self.verdict is Verdict.SUITABLE:
            raise InputError(
                "There is nothing to override", got=str(self.verdict), remedy="Record the decision in the facts instead"
            )
        return replace(self, override=override)


def assess_suitability(
    facts: PatientFacts,
    anatomy: Anatomy,
    lesions: Lesion | Sequence[Lesion],
    plan: Plan | None = None,
    *,
    override: Override | None = None,
) -> Suitability:
    """The judgement for a patient and one or several lesions, whose walls must have been assessed.

    Rules (keys in `evidence/suitability.toml`): a destroyed margin or foramen wall is unsuitable (Zhang 2008), save the
    ventral hole of a direct invasion that the tumour itself fills (Yeo 2024); infection, cement allergy, neural pain,
    compression, and pain that is absent or has another source speak against; bleeding is corrected first. Unknown facts
    become questions. Where pain or lesion are not known at all, nothing is decided.
    """
    found = (lesions,) if isinstance(lesions, Lesion) else tuple(lesions)
    if not found:
        raise InputError("Suitability needs a lesion", got="none", remedy="Give a mask, a sphere or a click first")
    score = sins(facts, found) if facts.aetiology is None or facts.aetiology.neoplastic else None
    pain = pain_mechanism(facts, found)
    statements = statements_on(facts, anatomy, found, plan, pain, score)
    judged = Suitability(_verdict(facts, statements), statements, pain, score, alternatives(facts, score))
    return judged.overridden(override) if override else judged


def _verdict(facts: PatientFacts, statements: Sequence[Statement]) -> Verdict:
    bearings = {s.bearing for s in statements}
    if Bearing.AGAINST in bearings:
        return Verdict.UNSUITABLE
    if facts.aetiology is None or (facts.pain.nrs is None and not facts.pain.sites):
        return Verdict.UNDECIDED
    if Bearing.CORRECT_FIRST in bearings:
        return Verdict.CORRECT_FIRST
    return Verdict.SUITABLE
