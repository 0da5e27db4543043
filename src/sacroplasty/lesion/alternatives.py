"""What could be done instead, with the numbers that were read and their sources."""

from __future__ import annotations

from dataclasses import dataclass

from sacroplasty.evidence import evidence
from sacroplasty.lesion.facts import Aetiology, Option, PatientFacts, Therapy
from sacroplasty.lesion.sins import SinsScore


@dataclass(frozen=True)
class Alternative:
    """One option: what is known about it, what the patient's facts say about it, and whether it was declined."""

    option: Option
    known: str
    for_this_patient: tuple[str, ...]
    declined: bool
    evidence: tuple[str, ...]


def alternatives(facts: PatientFacts, sins: SinsScore | None) -> tuple[Alternative, ...]:
    """The options besides sacroplasty for this patient; surgery, radiotherapy and ablation only for tumours."""
    options = [_conservative(facts)]
    if facts.aetiology is None or facts.aetiology.neoplastic:
        options = [_radiotherapy(facts, sins), _en_bloc(facts), _ablation(), *options]
    return tuple(
        Alternative(option, known, tuple(notes), option in facts.decision.declined, keys)
        for option, known, notes, keys in options
    )


_Draft = tuple[Option, str, list[str], tuple[str, ...]]


def _numbers(key: str) -> str:
    entry = evidence(key)
    spread = entry.low is not None and entry.high is not None
    return f"{entry.low:g} to {entry.high:g} {entry.unit}" if spread else f"{entry.value:g} {entry.unit}"


def _radiotherapy(facts: PatientFacts, sins: SinsScore | None) -> _Draft:
    keys = ("suitability.radiotherapy_pain_reduction", "suitability.radiotherapy_rule")
    notes = []
    if facts.had(Therapy.RADIOTHERAPY):
        failed = any(p.therapy is Therapy.RADIOTHERAPY and p.relief_lost for p in facts.prior)
        notes.append("had it before, without lasting relief" if failed else "had it before")
    if sins is not None and sins.low >= evidence("suitability.sins_potentially_unstable").value:
        notes.append("instability is possible, which radiotherapy does not mend")
    if facts.neurology.acute:
        notes.append("neurology is getting worse, which radiotherapy is not meant for")
    known = f"pain reduction {_numbers(keys[0])}, relief is delayed and depends on the tumour's radiosensitivity"
    return Option.RADIOTHERAPY, known, notes, keys


def _en_bloc(facts: PatientFacts) -> _Draft:
    keys = (
        "suitability.en_bloc_blood_loss",
        "suitability.en_bloc_major_complications",
        "suitability.en_bloc_disease_free_survival",
        "suitability.surgery_mortality",
    )
    known = (
        f"blood loss {_numbers(keys[0])}, over {_numbers(keys[1])} with a major complication, disease-free survival up "
        f"to {_numbers(keys[2])} longer, mortality of sacral surgery {_numbers(keys[3])}"
    )
    notes = ["a limited life expectancy speaks against it"] if facts.decision.limited_life_expectancy else []
    return Option.EN_BLOC_RESECTION, known, notes, keys


def _ablation() -> _Draft:
    keys = ("suitability.ablation_response", "suitability.sacroplasty_response_alone")
    known = f"response {_numbers(keys[0])} after ablation and cement against {_numbers(keys[1])} after cement alone"
    return Option.ABLATION_AND_CEMENT, known, [], keys


def _conservative(facts: PatientFacts) -> _Draft:
    key = "suitability.pain_for_intervention"
    limit = evidence(key).value
    notes = []
    tried = [
        p.therapy for p in facts.prior if p.therapy in {Therapy.ANALGESICS, Therapy.OPIOIDS, Therapy.PHYSIOTHERAPY}
    ]
    if tried:
        notes.append("tried: " + ", ".join(dict.fromkeys(str(t) for t in tried)))
    if facts.aetiology is Aetiology.INSUFFICIENCY_FRACTURE and facts.pain.nrs is not None and facts.pain.nrs <= limit:
        notes.append(f"pain {facts.pain.nrs:g} of 10 usually settles without a procedure")
    known = f"fragility fractures with pain up to {limit:g} of 10 do well; above, mobilisation is delayed"
    return Option.CONSERVATIVE, known, notes, (key,)
