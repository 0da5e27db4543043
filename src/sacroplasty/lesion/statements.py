"""What speaks for, against or has to be asked, topic by topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import evidence, value
from sacroplasty.lesion.facts import Aetiology, Movement, PatientFacts, Therapy
from sacroplasty.lesion.lesion import Integrity, Lesion, LesionKind, Wall
from sacroplasty.lesion.pain import Mechanism, PainMechanism
from sacroplasty.lesion.sins import SinsScore
from sacroplasty.plan import Level, Plan, Point, Severity


class Bearing(StrEnum):
    """What a statement means for the decision."""

    FOR = "for"
    NEUTRAL = "to know"
    ASK = "to be asked"
    CAUTION = "caution"
    CORRECT_FIRST = "to be corrected first"
    AGAINST = "against"


@dataclass(frozen=True)
class Statement:
    """One sentence of the judgement: topic, bearing, stable code, place where there is one (LPS mm), evidence keys."""

    topic: str
    bearing: Bearing
    code: str
    text: str
    evidence: tuple[str, ...] = ()
    where_mm: Point | None = None


def statements_on(
    facts: PatientFacts,
    anatomy: Anatomy,
    lesions: Sequence[Lesion],
    plan: Plan | None,
    pain: PainMechanism,
    sins: SinsScore | None,
) -> tuple[Statement, ...]:
    """Every statement, in the order in which a clinician would go through them; evidence keys are full."""
    drafts: Iterable[Statement] = (
        *_indication(facts),
        *_mechanism(facts, pain),
        *(s for lesion in lesions for s in _cortex(facts, lesion)),
        *_lesions(facts, anatomy, lesions),
        *_stability(sins),
        *_bleeding(facts),
        *_infection_and_allergy(facts),
        *_neurology(facts),
        *_history(facts),
        *_decision(facts),
        *_plan(plan),
    )
    statements = tuple(drafts)
    for key in {key for s in statements for key in s.evidence}:
        evidence(key)
    return statements


def _indication(facts: PatientFacts) -> Iterator[Statement]:
    nrs, limit = facts.pain.nrs, value("suitability.pain_for_intervention")
    key = ("suitability.pain_for_intervention",)
    if nrs is None and not facts.pain.sites:
        yield Statement("indication", Bearing.ASK, "pain-unknown", "Is there pain, where, and how strong (0-10)?")
    elif nrs is not None and (nrs == 0 or facts.pain.movement is Movement.NONE):
        text = "The lesion does not hurt: sacroplasty treats pain"
        yield Statement("indication", Bearing.AGAINST, "no-pain", text, ("suitability.contraindications",))
    elif nrs is not None and nrs <= limit and facts.aetiology is Aetiology.INSUFFICIENCY_FRACTURE:
        text = f"Pain {nrs:g} of 10: fragility fractures up to {limit:g} do well without a procedure"
        yield Statement("indication", Bearing.CAUTION, "mild-pain", text, key)
    else:
        strength = "Pain" if nrs is None else f"Pain {nrs:g} of 10"
        where = f" ({', '.join(facts.pain.sites)})" if facts.pain.sites else ""
        yield Statement("indication", Bearing.FOR, "painful", f"{strength}{where} from a sacral lesion", key)
    if facts.other_pain_source:
        text = "Another source of the pain was found: cement in the sacrum will not reach it"
        yield Statement("indication", Bearing.AGAINST, "other-source", text)
    elif facts.other_pain_source is None:
        yield Statement("indication", Bearing.ASK, "other-source-unknown", "Was another source of the pain excluded?")
    if facts.aetiology is None:
        yield Statement("indication", Bearing.ASK, "aetiology-unknown", "What weakened the sacrum?")


def _mechanism(facts: PatientFacts, pain: PainMechanism) -> Iterator[Statement]:
    why = "; ".join(pain.for_bone) or "nothing"
    nerve = "; ".join(pain.for_nerve) or "nothing"
    text = f"Pain mechanism: {pain.mechanism} (for bone: {why}; for nerve: {nerve})"
    bearing = {
        Mechanism.BONY: Bearing.FOR,
        Mechanism.NEURAL: Bearing.AGAINST,
        Mechanism.BOTH: Bearing.CAUTION,
        Mechanism.UNKNOWN: Bearing.ASK,
    }[pain.mechanism]
    yield Statement("pain mechanism", bearing, f"mechanism-{pain.mechanism.name.lower()}", text, pain.evidence)
    if pain.not_known:
        yield Statement(
            "pain mechanism", Bearing.ASK, "mechanism-questions", f"Not recorded: {', '.join(pain.not_known)}"
        )


def plugged_by_tumour(facts: PatientFacts, lesion: Lesion, wall: Wall) -> bool:
    """A ventral hole through which a neighbouring tumour grew in, and which it fills (Yeo et al. 2024)."""
    direct = facts.aetiology is Aetiology.DIRECT_INVASION
    return direct and wall.name == "ventral" and lesion.soft_tissue_ml > 0


def _cortex(facts: PatientFacts, lesion: Lesion) -> Iterator[Statement]:
    for wall in lesion.breached:
        size = f"{wall.breach_area_mm2:.0f} mm² of the {wall.name} wall"
        if plugged_by_tumour(facts, lesion, wall):
            text = (
                f"{size} is gone where the tumour grew in and fills the hole: expect presacral cement, fill sparingly"
            )
            key = ("suitability.direct_invasion_treated",)
            yield Statement("cortex", Bearing.CAUTION, "margin-invaded", text, key, wall.where_mm)
        else:
            text = f"Destroyed cortex: {size} is gone; nothing there would hold cement"
            keys = ["suitability.destroyed_margin"]
            if wall.name in {"canal", "dorsal"}:
                keys.append("suitability.posterior_defect")
            yield Statement("cortex", Bearing.AGAINST, "destroyed-cortex", text, tuple(keys), wall.where_mm)
    if not lesion.breached and lesion.walls:
        # Walls that cannot be judged speak through the lesion's own findings.
        if all(wall.integrity is not Integrity.UNCLEAR for wall in lesion.walls):
            yield Statement("cortex", Bearing.FOR, "cortex-holds", "The walls around the lesion hold on CT")
        else:
            yield Statement("cortex", Bearing.NEUTRAL, "cortex-partly-judged", "No judged wall around it is destroyed")
    if not lesion.walls:
        yield Statement("cortex", Bearing.ASK, "cortex-not-assessed", "The walls around the lesion were not assessed")


def _lesions(facts: PatientFacts, anatomy: Anatomy, lesions: Sequence[Lesion]) -> Iterator[Statement]:
    for lesion in lesions:
        where = ", ".join(f"{level} {share:.0%}" for level, share in lesion.levels.items() if share >= 0.01)
        text = f"{str(lesion.kind).capitalize()} lesion of {lesion.volume_ml:.1f} mL ({where or 'level not known'})"
        yield Statement("lesion", Bearing.NEUTRAL, "lesion", text, (), lesion.centre_mm)
        if lesion.kind is LesionKind.SCLEROTIC:
            text = "Sclerotic bone takes little cement and needs more pressure"
            yield Statement("lesion", Bearing.CAUTION, "sclerotic", text, ("assumptions.sclerotic_takes_little",))
        if {Level.S2, Level.S3} & {lv for lv, share in lesion.levels.items() if share >= 0.01}:
            text = "Roots S2 and S3 are near: injury costs bowel and bladder"
            yield Statement("lesion", Bearing.NEUTRAL, "roots-s2-s3", text, ("suitability.bladder_loss_s2_s3",))
        yield from (
            Statement("lesion", Bearing.CAUTION, f.code, f.message, f.evidence, f.where_mm)
            for f in lesion.findings
            if f.severity is not Severity.INFO
        )
    if len(lesions) > 1:
        yield Statement("lesion", Bearing.NEUTRAL, "several-lesions", f"{len(lesions)} lesions: name the painful one")
    unsure = [name for name, confidence in anatomy.confidences.items() if confidence < 0.5]
    if unsure:
        text = f"The anatomy is uncertain: {', '.join(sorted(unsure))}"
        yield Statement("lesion", Bearing.CAUTION, "anatomy-uncertain", text)
    if facts.histology_proven is None and (facts.aetiology is None or facts.aetiology.neoplastic):
        yield Statement("lesion", Bearing.ASK, "histology-unknown", "Is the histology proven?")


def _stability(sins: SinsScore | None) -> Iterator[Statement]:
    if sins is None:
        return
    threshold = value("suitability.sins_potentially_unstable")
    caution = sins.high >= threshold
    text = f"Spinal Instability Neoplastic Score {sins.describe()}" + ("; ask a spinal surgeon" if caution else "")
    keys = (*sins.keys, "suitability.sins_potentially_unstable")
    yield Statement("stability", Bearing.CAUTION if caution else Bearing.NEUTRAL, "sins", text, keys)
    if sins.items["location"][0] == value("suitability.sins_location_junctional"):
        text = "S1 was scored as junctional (L5-S1): confirm"
        yield Statement("stability", Bearing.NEUTRAL, "sins-s1", text, ("assumptions.sins_s1_junctional",))


def _bleeding(facts: PatientFacts) -> Iterator[Statement]:
    blood, limit = facts.blood, evidence("suitability.inr_high_risk")
    lower = limit.low if limit.low is not None else limit.value
    platelets = value("suitability.platelets_high_risk")
    keys = ("suitability.inr_high_risk", "suitability.platelets_high_risk", "suitability.bleeding_risk_high")
    if blood.inr is None or blood.platelets_10e9_l is None:
        text = f"INR and platelets: at most {limit.value:g} and at least {platelets:g} x 10^9/L are wanted"
        yield Statement("bleeding", Bearing.ASK, "coagulation-unknown", text, keys)
    if blood.inr is not None and blood.inr > lower:
        over = blood.inr > limit.value
        text = f"INR {blood.inr:g} is above {limit.value if over else lower:g}"
        yield Statement("bleeding", Bearing.CORRECT_FIRST if over else Bearing.CAUTION, "inr", text, keys)
    if blood.platelets_10e9_l is not None and blood.platelets_10e9_l < platelets:
        text = f"Platelets {blood.platelets_10e9_l:g} x 10^9/L are below {platelets:g}"
        yield Statement("bleeding", Bearing.CORRECT_FIRST, "platelets", text, keys)
    if blood.anticoagulated:
        text = "Anticoagulated: stop or bridge by the drug's own rule"
        yield Statement("bleeding", Bearing.CORRECT_FIRST, "anticoagulated", text, keys)


def _infection_and_allergy(facts: PatientFacts) -> Iterator[Statement]:
    key = ("suitability.contraindications",)
    against = (
        (facts.blood.local_infection, "infection-local", "Infection at the site"),
        (facts.blood.systemic_infection, "infection-systemic", "Systemic infection"),
        (facts.cement_allergy, "cement-allergy", "Allergy to bone cement"),
    )
    for answer, code, text in against:
        if answer:
            yield Statement("infection and allergy", Bearing.AGAINST, code, text, key)
    unknown = [text.lower() for answer, _, text in against if answer is None]
    if unknown:
        text = f"Not recorded: {', '.join(unknown)}"
        yield Statement("infection and allergy", Bearing.ASK, "infection-unknown", text, key)


def _neurology(facts: PatientFacts) -> Iterator[Statement]:
    n = facts.neurology
    deficit = [name for name, found in (
        ("weakness", n.motor_deficit), ("numbness", n.sensory_deficit), ("bowel or bladder", n.bowel_or_bladder),
    ) if found]  # fmt: skip
    key = ("suitability.contraindications",)
    if n.acute or (deficit and n.neural_involvement_on_imaging):
        text = f"Nerve compression that needs decompression first ({', '.join(deficit) or 'getting worse'})"
        yield Statement("neurology", Bearing.AGAINST, "compression", text, key)
    elif deficit:
        text = f"Deficit before the procedure: {', '.join(deficit)}; record it, it will be compared"
        yield Statement("neurology", Bearing.CAUTION, "deficit", text, key)
    elif None in (n.motor_deficit, n.sensory_deficit, n.bowel_or_bladder):
        text = "Neurological examination is incomplete: motor, sensory, bowel and bladder"
        yield Statement("neurology", Bearing.ASK, "neurology-unknown", text)
    else:
        yield Statement("neurology", Bearing.FOR, "no-deficit", "No neurological deficit")


def _history(facts: PatientFacts) -> Iterator[Statement]:
    for prior in facts.prior:
        points = ""
        if prior.nrs_before is not None and prior.nrs_after is not None:
            points = f", pain {prior.nrs_before:g} to {prior.nrs_after:g}: that drop is its own, not the cement's"
        lost = ", relief was lost" if prior.relief_lost else ""
        detail = f" ({prior.detail})" if prior.detail else ""
        yield Statement("history", Bearing.NEUTRAL, "prior", f"Earlier {prior.therapy}{detail}{points}{lost}")
    refractory = {Therapy.ANALGESICS, Therapy.OPIOIDS, Therapy.RADIOTHERAPY, Therapy.EPIDURAL_STEROID}
    if any(facts.had(therapy) for therapy in refractory):
        text = "The pain outlasted other treatment"
        yield Statement("history", Bearing.FOR, "refractory", text, ("suitability.multidisciplinary",))
    else:
        text = "Was other treatment tried, and did it fail?"
        yield Statement("history", Bearing.ASK, "refractory-unknown", text, ("suitability.multidisciplinary",))


def _decision(facts: PatientFacts) -> Iterator[Statement]:
    decision = facts.decision
    if decision.wishes_procedure is False:
        yield Statement("decision", Bearing.AGAINST, "refused", "The patient does not want the procedure")
    if decision.consent_procedure is False:
        yield Statement("decision", Bearing.CORRECT_FIRST, "no-consent", "Consent to the procedure is missing")
    if decision.declined:
        text = f"The patient declined {', '.join(decision.declined)}"
        yield Statement("decision", Bearing.FOR, "declined", text)
    open_points = [
        name
        for name, answer in (
            ("consent to the procedure", decision.consent_procedure),
            ("talk with a spinal surgeon", decision.discussed_with_surgeon),
            ("the patient's own wish", decision.wishes_procedure),
        )
        if answer is None
    ]
    if open_points:
        keys = ("suitability.multidisciplinary", "suitability.both_consents")
        yield Statement("decision", Bearing.ASK, "decision-unknown", f"Not recorded: {', '.join(open_points)}", keys)
    text = "Bone cement in the sacrum is off-label in places: say so in the consent"
    yield Statement("decision", Bearing.NEUTRAL, "off-label", text, ("suitability.off_label",))


def _plan(plan: Plan | None) -> Iterator[Statement]:
    if plan is not None and not plan.feasible:
        why = "; ".join(plan.reasons) or "no reason given"
        yield Statement("plan", Bearing.CAUTION, "plan-infeasible", f"The {plan.approach} plan is not feasible: {why}")
