"""The three patients of the two source papers as registry records; every number is the paper's.

What a paper does not say stays empty. Calendar dates are not published, so days are counted from the procedure.
"""

from __future__ import annotations

from sacroplasty.registry.tables import (
    ContactRecord,
    Deposit,
    EarlierTreatment,
    Episode,
    LeakRecord,
    PainRecord,
    Patient,
    Procedure,
)

_CONTINUOUS_VIEWS = ["lateral", "anteroposterior"]


def _zhang_procedure(**facts: object) -> Procedure:
    """What Zhang 2008 did alike in both patients."""
    return Procedure(
        approach="trans-sacroiliac", guidance="fluoroscopy", position="prone", antibiotic="cefuroxime sodium",
        antibiotic_dose_g=2.0, antibiotic_minutes_before=30, antibiotic_days_after=3,
        prepared_region="lumbosacral region", anaesthesia="local anaesthesia", mallet_used=True,
        stylet_removed_before_injection=True, views=_CONTINUOUS_VIEWS, operator_vertebroplasties=837,
        technical_success=True, **facts,
    )  # fmt: skip


def zhang_1() -> Patient:
    """Zhang 2008, case 1: man of 62, lymphoma, mixed lesion of S1."""
    procedure = _zhang_procedure(
        filling="optimal, equal distribution", leak_modality="fluoroscopy", leak_verdict="none seen",
        days_in_hospital=3.0,
        deposits=[Deposit(level="S1", needle_gauge=13, needle_tip="bevel", needle_maker="OptiMED", cement="Simplex P",
                          cement_maker="Stryker Howmedica Osteonics", volume_ml=6.0)],
    )  # fmt: skip
    episode = Episode(
        age_years=62, cause="lymphoma", spread="haematogenous metastasis", lesion_kind="mixed", levels=["S1"],
        other_treated_levels=["T12", "L1", "L2", "L3"], pain_site="lower back", motor_deficit="none",
        sensory_deficit="none", goal="both", discussed_with=["orthopaedic surgeon", "family"], consent_procedure=True,
        treatments=[
            EarlierTreatment(order=1, kind="chemotherapy", response="refractory"),
            EarlierTreatment(order=2, kind="radiotherapy", detail="local", response="refractory"),
            EarlierTreatment(order=3, kind="opioids", response="refractory"),
            EarlierTreatment(order=4, kind="vertebroplasty", detail="T12, L1, L2, L3", days_before_procedure=30,
                             response="significant relief", relapse="progressive return over one month"),
        ],
        procedures=[procedure],
        pain_scores=[
            PainRecord(order=1, words="refractory pain", after="baseline"),
            PainRecord(order=2, day=1, words="significant relief", after="sacroplasty"),
        ],
        contacts=[
            ContactRecord(name="next day", day=1, mode="visit", ambulation="without assistance"),
            ContactRecord(name="within 2 weeks", day=14, mode="telephone"),
            ContactRecord(name="within 3 months", day=91, mode="telephone", tenderness="none on palpation"),
        ],
    )  # fmt: skip
    return Patient(pseudonym="zhang-1", sex="male", example=True, episodes=[episode])


def zhang_2() -> Patient:
    """Zhang 2008, case 2: woman of 38, lung cancer, lytic S1, judged unsuitable and treated at the family's urging."""
    procedure = _zhang_procedure(
        leak_modality="fluoroscopy", leak_verdict="no significant complication",
        neurological_check="no complaint of nerve root compression",
        deposits=[Deposit(level="S1", needle_gauge=13, needle_tip="bevel", needle_maker="OptiMED", cement="Simplex P",
                          cement_maker="Stryker Howmedica Osteonics")],
        leaks=[
            LeakRecord(compartment="needle track", modality="fluoroscopy", significant=False, symptomatic=False),
            LeakRecord(compartment="sacral foramen", level="S1", modality="not assessable"),
        ],
    )  # fmt: skip
    episode = Episode(
        age_years=38, cause="lung", spread="haematogenous metastasis", histology_proven=True, lesion_kind="lytic",
        levels=["S1"], pain_site="lower back", preference="patient and family strongly urged the operation",
        judged_unsuitable_because="destroyed cortex margin",
        override_reason="urged by patient and family, whatever the outcome", discussed_with=["family"],
        consent_procedure=True,
        procedures=[procedure],
        pain_scores=[
            PainRecord(order=1, words="severe low back pain", after="baseline"),
            PainRecord(order=2, words="considerable relief", after="sacroplasty"),
            PainRecord(order=3, day=140, words="little pain", after="sacroplasty"),
        ],
        contacts=[ContactRecord(name="20 weeks", day=140, mode="telephone", ambulation="walks independently")],
    )  # fmt: skip
    return Patient(pseudonym="zhang-2", sex="female", example=True, episodes=[episode])


def yeo() -> Patient:
    """Yeo 2024: woman of 74, rectal cancer grown directly into the S3 body, by the hiatus."""
    procedure = Procedure(
        approach="interpedicular", guidance="fluoroscopy", position="prone", antibiotic="cefazolin sodium",
        antibiotic_dose_g=1.0, antibiotic_minutes_before=30, skin_preparation="10 % povidone-iodine",
        prepared_region="sacrococcygeal region", anaesthesia="2 mL of 1 % lidocaine at the sacral hiatus",
        incision_site="sacral hiatus", stylet_removed_before_injection=True, venogram="tumour venogram",
        tip_adjusted_after_venogram=True, views=["lateral", "anteroposterior", "multiple projections"],
        technical_success=True, filling="optimal", leak_modality="radiograph",
        leak_verdict="no significant leak to foramen or canal",
        deposits=[Deposit(level="S3", side="midline", bone_entry_level="S4", needle_gauge=13,
                          needle_tip="bevel", needle_maker="Manan Medical Products", cement="Exolent Spine",
                          cement_maker="Elmdown", volume_ml=2.0)],
        leaks=[
            LeakRecord(compartment="presacral", modality="radiograph", significant=False, symptomatic=False),
            LeakRecord(compartment="peritumoural vein", modality="radiograph", significant=False, symptomatic=False),
        ],
    )  # fmt: skip
    episode = Episode(
        age_years=74, cause="rectal", spread="direct invasion", levels=["S3"], other_pain_source_excluded=True,
        pain_site="perineum", pain_character=["dull", "lancinating", "electric shock"], pain_mechanical=True,
        pain_mechanism="bony", sensory_deficit="none", goal="pain relief", discussed_with=["surgeon", "family"],
        preference="immediate relief; no further radiotherapy",
        alternatives_refused=["surgical resection", "further radiotherapy"], consent_procedure=True,
        consent_publication=True, ethics_statement="exempted from review, IRB No. 2023-09-013",
        treatments=[
            EarlierTreatment(order=1, kind="chemoradiotherapy", detail="neoadjuvant", response="escalating pain"),
            EarlierTreatment(order=2, kind="surgery", detail="transanal excision"),
            EarlierTreatment(order=3, kind="caudal epidural steroid injection", response="NRS 10 to 6"),
        ],
        procedures=[procedure],
        pain_scores=[
            PainRecord(order=1, nrs=10, after="baseline"),
            PainRecord(order=2, nrs=6, after="caudal epidural steroid injection"),
            PainRecord(order=3, day=0, nrs=2, after="sacroplasty"),
            PainRecord(order=4, day=122, nrs=2, words="effect maintained", after="sacroplasty"),
        ],
        contacts=[
            ContactRecord(name="next day", day=1, mode="visit", pain_on_walking="not worse"),
            ContactRecord(name="4 months", day=122),
        ],
    )  # fmt: skip
    return Patient(pseudonym="yeo", sex="female", example=True, episodes=[episode])


def example_patients() -> tuple[Patient, ...]:
    """Fresh records of all three."""
    return zhang_1(), zhang_2(), yeo()
