"""Is the pain from the bone or from a nerve? What speaks for either, and which skin belongs to the lesion's roots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sacroplasty.lesion.facts import Movement, PainSite, PatientFacts
from sacroplasty.lesion.lesion import Lesion
from sacroplasty.plan import Level

# Words that patients use for nerve pain; by themselves they decide nothing (Yeo's patient used two of them).
_NEUROPATHIC_WORDS = ("lancinating", "electric", "shooting", "burning", "tingling")


class Mechanism(StrEnum):
    """What the pain comes from, as far as the facts tell."""

    BONY = "bony destruction"
    NEURAL = "neural involvement"
    BOTH = "bony destruction and neural involvement"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class PainMechanism:
    """The mechanism, what speaks for bone and for nerve, and what was not asked."""

    mechanism: Mechanism
    for_bone: tuple[str, ...]
    for_nerve: tuple[str, ...]
    not_known: tuple[str, ...] = ()
    dermatomes: tuple[PainSite, ...] = ()
    evidence: tuple[str, ...] = ("suitability.bony_pain", "suitability.neural_pain")


def dermatomes_of(level: Level) -> tuple[PainSite, ...]:
    """Where pain of the roots at a level is felt: S1 dermatome and sole above, perineum below (Yeo et al. 2024)."""
    if level in {Level.L5, Level.S1}:
        return (PainSite.S1_DERMATOME, PainSite.LEG, PainSite.SOLE)
    return (PainSite.PERINEUM, PainSite.SACRAL)


def pain_mechanism(facts: PatientFacts, lesions: Sequence[Lesion]) -> PainMechanism:
    """Bone against nerve from examination and images.

    A nerve is taken as involved where imaging shows it, or where radicular pain comes with a deficit. Words such as
    "electric" are listed and do not decide; pain in a root's own skin without deficit is listed too.
    """
    for_bone = _for_bone(facts, lesions)
    signs, hints = _neural_signs(facts)
    levels = {level for lesion in lesions for level, share in lesion.levels.items() if share > 0}
    dermatomes = tuple(dict.fromkeys(site for level in sorted(levels) for site in dermatomes_of(level)))
    felt = [str(site) for site in facts.pain.sites if site in dermatomes]
    if felt:
        hints.append(f"felt where the lesion's roots end ({', '.join(felt)})")
    neural = facts.neurology.neural_involvement_on_imaging is True or (facts.pain.radicular is True and bool(signs))
    mechanism = _decide(bool(for_bone), neural, facts)
    return PainMechanism(mechanism, tuple(for_bone), tuple(signs + hints), _not_known(facts), dermatomes)


def _decide(bone: bool, neural: bool, facts: PatientFacts) -> Mechanism:
    if neural:
        return Mechanism.BOTH if bone else Mechanism.NEURAL
    # Radicular pain without imaging proof stays open: either could be missing.
    if facts.pain.radicular is True and facts.neurology.neural_involvement_on_imaging is not False:
        return Mechanism.UNKNOWN
    return Mechanism.BONY if bone else Mechanism.UNKNOWN


def _for_bone(facts: PatientFacts, lesions: Sequence[Lesion]) -> list[str]:
    reasons = []
    if facts.pain.movement is Movement.MECHANICAL:
        reasons.append("worse on loading")
    if facts.pain.local_tenderness:
        reasons.append("tender on palpation of the bone")
    levels = sorted({str(lesion.main_level) for lesion in lesions if lesion.main_level})
    if levels:
        reasons.append(f"bone destroyed at {', '.join(levels)}")
    return reasons


def _neural_signs(facts: PatientFacts) -> tuple[list[str], list[str]]:
    """Signs that a nerve is hurt, and hints that alone prove nothing."""
    neurology = facts.neurology
    signs = [
        text
        for found, text in (
            (neurology.neural_involvement_on_imaging, "nerve or canal involved on imaging"),
            (neurology.motor_deficit, "weakness"),
            (neurology.sensory_deficit, "numbness or paraesthesia"),
            (neurology.bowel_or_bladder, "bowel or bladder disturbed"),
        )
        if found
    ]
    hints = [f'described as "{word}"' for word in facts.pain.words if any(w in word for w in _NEUROPATHIC_WORDS)]
    if facts.pain.radicular:
        hints.append("radicular")
    return signs, hints


def _not_known(facts: PatientFacts) -> tuple[str, ...]:
    asked = {
        "pain on loading": facts.pain.movement,
        "radicular pain": facts.pain.radicular,
        "sensory deficit": facts.neurology.sensory_deficit,
        "motor deficit": facts.neurology.motor_deficit,
        "neural involvement on imaging": facts.neurology.neural_involvement_on_imaging,
    }
    return tuple(name for name, answer in asked.items() if answer is None)
