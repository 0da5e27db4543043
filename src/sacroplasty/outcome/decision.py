"""What drove the decision: radiotherapy's own rule, life expectancy, the patient's wish. Documents, never forbids."""

from __future__ import annotations

from dataclasses import dataclass

from sacroplasty.evidence import evidence


@dataclass(frozen=True)
class Indication:
    """Whether a treatment is indicated by a rule (None: facts are missing), why, and what limits it."""

    treatment: str
    indicated: bool | None
    reasons: tuple[str, ...]
    limits: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class DecisionFacts:
    """What the decision rests on; None is "not asked"."""

    unstable: bool | None = None
    acute_deterioration: bool | None = None
    irradiated_before: bool | None = None
    limited_life_expectancy: bool | None = None
    preference: str = ""
    refused: tuple[str, ...] = ()
    override_reason: str = ""


def radiotherapy_indicated(facts: DecisionFacts) -> Indication:
    """Radiotherapy by the rule that Yeo 2024 cites: without instability and without acute neurological deterioration.

    One of them present decides against it; one unknown leaves it open. Its limits hold either way: relief comes late,
    and depends on the tumour.
    """
    keys = ("suitability.radiotherapy_rule", "literature.relief_radiotherapy")
    against = []
    if facts.unstable:
        against.append("the sacrum is unstable, which radiotherapy does not mend")
    if facts.acute_deterioration:
        against.append("the neurology is getting worse")
    known = {"stability": facts.unstable, "course of the neurology": facts.acute_deterioration}
    unknown = [name for name, answer in known.items() if answer is None]
    relief = evidence(keys[1])
    limits = [
        "relief is delayed and depends on the tumour's radiosensitivity",
        f"pain reduction typically {relief.low:g} to {relief.high:g} {relief.unit}",
    ]
    if facts.irradiated_before:
        limits.append("the sacrum was irradiated before")
    if against:
        return Indication("radiotherapy", False, tuple(against), tuple(limits), keys)
    if unknown:
        return Indication("radiotherapy", None, (f"not known: {', '.join(unknown)}",), tuple(limits), keys)
    return Indication("radiotherapy", True, ("no instability and no acute deterioration",), tuple(limits), keys)


def surgery_indicated(facts: DecisionFacts) -> Indication:
    """Surgery: a limited life expectancy speaks against it (Zhang 2008); otherwise it stays a surgeon's question."""
    keys = ("literature.life_expectancy_surgery", "suitability.surgery_mortality")
    mortality = evidence(keys[1])
    limits = (f"mortality of sacral surgery {mortality.low:g} to {mortality.high:g} {mortality.unit}",)
    evidence(keys[0])
    if facts.limited_life_expectancy:
        return Indication("surgery", False, ("life expectancy is limited",), limits, keys)
    reason = "life expectancy was not asked" if facts.limited_life_expectancy is None else "to be asked of a surgeon"
    return Indication("surgery", None, (reason,), limits, keys)


def decision_sentences(facts: DecisionFacts) -> tuple[str, ...]:
    """The decision in sentences: each alternative with its answer, then what the patient wants and refused."""
    lines = []
    for one in (radiotherapy_indicated(facts), surgery_indicated(facts)):
        answer = {True: "indicated", False: "not indicated", None: "open"}[one.indicated]
        lines.append(f"{one.treatment.capitalize()}: {answer} ({'; '.join(one.reasons)}). {'; '.join(one.limits)}.")
    if facts.preference:
        lines.append(f"The patient's wish: {facts.preference}.")
    if facts.refused:
        lines.append(f"Refused: {', '.join(facts.refused)}.")
    if facts.override_reason:
        lines.append(f"Gone on against the judgement: {facts.override_reason}.")
    return tuple(lines)
