"""The three patients of the source papers as facts; what the papers do not tell stays unknown."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sacroplasty.lesion.facts import (
    Aetiology,
    Decision,
    Movement,
    Neurology,
    Option,
    Pain,
    PainSite,
    PatientFacts,
    PriorTherapy,
    Therapy,
)

ZHANG_1 = PatientFacts(
    aetiology=Aetiology.LYMPHOMA,
    primary_tumour="lymphoma",
    age_years=62,
    sex="male",
    pain=Pain(sites=(PainSite.LOW_BACK,)),
    neurology=Neurology(motor_deficit=False, sensory_deficit=False),
    prior=(
        PriorTherapy(Therapy.CHEMOTHERAPY),
        PriorTherapy(Therapy.RADIOTHERAPY, relief_lost=True),
        PriorTherapy(Therapy.OPIOIDS),
        PriorTherapy(Therapy.VERTEBROPLASTY, "T12, L1, L2, L3, a month before", relief_lost=True),
    ),
    decision=Decision(discussed_with_surgeon=True, discussed_with_family=True, consent_procedure=True),
    goal="restore stability and relieve pain",
)
ZHANG_2 = PatientFacts(
    aetiology=Aetiology.METASTASIS,
    primary_tumour="lung cancer",
    age_years=38,
    sex="female",
    histology_proven=True,
    pain=Pain(sites=(PainSite.LOW_BACK,)),
    decision=Decision(discussed_with_family=True, wishes_procedure=True, consent_procedure=True),
)
# Why the second patient was treated all the same; who decided and when is not printed, so an Override adds both.
ZHANG_2_OVERRIDE_REASON = "patient and family strongly urged in favour of the operation, whatever the outcome"
YEO = PatientFacts(
    aetiology=Aetiology.DIRECT_INVASION,
    primary_tumour="rectal cancer",
    age_years=74,
    sex="female",
    pain=Pain(
        nrs=6,
        sites=(PainSite.PERINEUM,),
        words=("dull", "lancinating", "electric shock"),
        movement=Movement.MECHANICAL,
        radicular=False,
    ),
    neurology=Neurology(sensory_deficit=False, neural_involvement_on_imaging=False),
    prior=(
        PriorTherapy(Therapy.SURGERY, "transanal excision"),
        PriorTherapy(Therapy.RADIOTHERAPY, "neoadjuvant chemoradiotherapy", relief_lost=True),
        PriorTherapy(Therapy.EPIDURAL_STEROID, nrs_before=10, nrs_after=6),
    ),
    decision=Decision(
        discussed_with_surgeon=True,
        discussed_with_family=True,
        wishes_procedure=True,
        declined=(Option.EN_BLOC_RESECTION, Option.RADIOTHERAPY),
        consent_procedure=True,
        consent_publication=True,
    ),
    other_pain_source=False,
)

# By the names of `phantom.named_case`.
PUBLISHED: Mapping[str, PatientFacts] = MappingProxyType({"zhang-1": ZHANG_1, "zhang-2": ZHANG_2, "yeo": YEO})
