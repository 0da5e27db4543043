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
    """What Zhang 2008 did alike in both patients: the second was treated "according to the technique" of the first."""
    return Procedure(
        approach="trans-sacroiliac", guidance="fluoroscopy", position="prone", schedule="zhang-2008",
        prepared_region="lumbosacral region", fluoroscope_draped=True, anaesthesia="local anaesthesia",
        incision_site="small dermatotomy", mallet_used=True,
        start_view="anteroposterior, lumbosacral junction centred, tilted until the S1 foramen was seen",
        foramina_seen=["anteroposterior: S1"], tip_confirmed_views=["all projections"],
        stylet_removed_before_injection=True, views=_CONTINUOUS_VIEWS, operator_vertebroplasties=837,
        operator_years=6.0, technical_success=True, clinical_success=True, **facts,
    )  # fmt: skip


def _zhang_needle(**facts: object) -> Deposit:
    return Deposit(
        level="S1", crossings=["skin", "subcutaneous tissue", "ilium", "sacroiliac joint", "sacral pedicle"],
        needle_gauge=13, needle_tip="bevel", needle_maker="OptiMED", tip_in_lesion=True, cement="Simplex P",
        cement_maker="Stryker Howmedica Osteonics", **facts,
    )  # fmt: skip


def zhang_1() -> Patient:
    """Zhang 2008, case 1: man of 62, lymphoma, mixed lesion of S1."""
    procedure = _zhang_procedure(
        antibiotic="cefuroxime sodium", antibiotic_maker="Livzon Medical Ltd", antibiotic_route="intravenous",
        antibiotic_dose_g=2.0, antibiotic_minutes_before=30, antibiotic_days_after=3,
        filling="optimal, equal distribution", leak_modality="fluoroscopy", leak_verdict="none seen",
        days_in_hospital=3.0, deposits=[_zhang_needle(volume_ml=6.0)],
    )  # fmt: skip
    episode = Episode(
        age_years=62, cause="lymphoma", spread="haematogenous metastasis", lesion_kind="mixed", levels=["S1"],
        imaging_reviewed=["CT", "MRI"],
        imaging_findings="sagittal CT with a mixed, sclerotic and poorly marginated low-attenuation lesion in S1; "
                         "T2-weighted fat-saturated MR image with a high band-like signal at its periphery and an "
                         "iso-to-low signal in its central portion",
        other_treated_levels=["T12", "L1", "L2", "L3"], pain_site="lower back", motor_deficit="none",
        sensory_deficit="none", goal="both", discussed_with=["orthopaedic surgeon", "family"], consent_procedure=True,
        treatments=[
            EarlierTreatment(order=1, kind="chemotherapy", response="refractory"),
            EarlierTreatment(order=2, kind="radiotherapy", detail="local", response="refractory"),
            EarlierTreatment(order=3, kind="opioids", response="refractory"),
            EarlierTreatment(order=4, kind="vertebroplasty", detail="T12, L1, L2 and L3, a month before referral",
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
            ContactRecord(name="within 3 months", day=91, mode="telephone"),
            ContactRecord(name="physical examination", mode="visit", tenderness="none on palpation"),
        ],
    )  # fmt: skip
    return Patient(pseudonym="zhang-1", sex="male", example=True, episodes=[episode])


def zhang_2() -> Patient:
    """Zhang 2008, case 2: woman of 38, lung cancer, lytic S1, judged unsuitable and treated at the family's urging."""
    procedure = _zhang_procedure(
        leak_modality="fluoroscopy", leak_verdict="no significant complication",
        neurological_check="no complaint of nerve root compression", deposits=[_zhang_needle()],
        leaks=[
            LeakRecord(order=1, compartment="needle track", modality="fluoroscopy", significant=False,
                       symptomatic=False),
            LeakRecord(order=2, compartment="sacral foramen", level="S1", modality="not assessable"),
        ],
    )  # fmt: skip
    episode = Episode(
        age_years=38, cause="lung", spread="haematogenous metastasis", histology_proven=True, lesion_kind="lytic",
        levels=["S1"], imaging_reviewed=["CT", "MRI"],
        imaging_findings="sagittal T2-weighted fat-saturated MR image with an abnormal signal at S1; axial CT with an "
                         "osteolytic change of S1",
        cortical_integrity="breakdown of the peri-cortex of S1 and of the S1 foramen",
        pain_site="lower back", preference="patient and family strongly urged the operation",
        judged_unsuitable_because="destroyed cortex margin", override_by="patient and family",
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


def _yeo_procedure() -> Procedure:
    return Procedure(
        approach="interpedicular", guidance="fluoroscopy", position="prone", schedule="yeo-2024",
        antibiotic="cefazolin sodium", antibiotic_maker="Yuhan Corp.", antibiotic_route="intravenous",
        antibiotic_dose_g=1.0, antibiotic_minutes_before=30, skin_preparation="10 % povidone-iodine",
        prepared_region="sacrococcygeal region", anaesthesia="2 mL of 1 % lidocaine at the sacral hiatus",
        incision_site="sacral hiatus", tip_confirmed_views=["multiple projections"],
        stylet_removed_before_injection=True, venogram="tumour venogram", tip_adjusted_after_venogram=True,
        views=_CONTINUOUS_VIEWS, technical_success=True, clinical_success=True, filling="optimal",
        leak_modality="radiograph", leak_verdict="no significant leak to foramen or canal",
        deposits=[Deposit(level="S3", side="midline", bone_entry_level="S4",
                          crossings=["skin", "subcutaneous tissue", "posterior wall of the sacral canal",
                                     "sacral canal", "anterior wall of the sacral canal"],
                          needle_gauge=13, needle_tip="bevel", needle_maker="Manan Medical Products",
                          tip_in_lesion=True, cement="Exolent Spine", cement_maker="Elmdown", volume_ml=2.0)],
        leaks=[
            LeakRecord(order=1, compartment="presacral", modality="radiograph", significant=False, symptomatic=False),
            LeakRecord(order=2, compartment="peritumoural vein", modality="radiograph", significant=False,
                       symptomatic=False),
        ],
    )  # fmt: skip


def yeo() -> Patient:
    """Yeo 2024: woman of 74, rectal cancer grown directly into the S3 body, by the hiatus."""
    episode = Episode(
        age_years=74, cause="rectal", spread="direct invasion", levels=["S3"], imaging_reviewed=["CT", "MRI"],
        imaging_findings="rectal cancer invading the S3 body", neural_involvement=False,
        other_pain_source_excluded=True, pain_site="perineum", pain_character=["dull", "lancinating", "electric shock"],
        pain_mechanical=True, pain_radicular=False, pain_mechanism="bony", sensory_deficit="none", goal="pain relief",
        discussed_with=["surgeon", "family"], preference="immediate relief; no further radiotherapy",
        alternatives_considered=["surgical resection", "further radiotherapy"],
        alternatives_refused=["surgical resection", "further radiotherapy"], consent_procedure=True,
        consent_publication=True, ethics_statement="exempted from review, IRB No. 2023-09-013",
        treatments=[
            EarlierTreatment(order=1, kind="surgery", detail="transanal excision"),
            EarlierTreatment(order=2, kind="chemoradiotherapy", detail="neoadjuvant", response="escalating pain"),
            EarlierTreatment(order=3, kind="caudal epidural steroid injection", nrs_before=10, nrs_after=6,
                             response="NRS 10 to 6"),
        ],
        procedures=[_yeo_procedure()],
        pain_scores=[
            PainRecord(order=1, nrs=10, after="baseline"),
            PainRecord(order=2, nrs=6, after="caudal epidural steroid injection"),
            PainRecord(order=3, day=0, nrs=2, after="sacroplasty"),
            PainRecord(order=4, day=122, nrs=2, words="effect maintained", after="sacroplasty"),
        ],
        contacts=[
            ContactRecord(name="next day", day=1, mode="visit", pain_on_walking="not worse", words="discharged"),
            ContactRecord(name="4 months", day=122, words="effect maintained"),
        ],
    )  # fmt: skip
    return Patient(pseudonym="yeo", sex="female", example=True, episodes=[episode])


def example_patients() -> tuple[Patient, ...]:
    """Fresh records of all three."""
    return zhang_1(), zhang_2(), yeo()
