"""What is known about the patient: facts as they were found, unknown ones as None, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from sacroplasty.errors import InputError
from sacroplasty.plan import Side


class Aetiology(StrEnum):
    """Why the sacrum is weak; `direct invasion` is by a neighbouring tumour, not carried by the blood."""

    METASTASIS = "haematogenous metastasis"
    DIRECT_INVASION = "direct invasion"
    LYMPHOMA = "lymphoma"
    MYELOMA = "myeloma"
    PRIMARY_TUMOUR = "primary bone tumour"
    INSUFFICIENCY_FRACTURE = "insufficiency fracture"
    BENIGN = "benign lesion"

    @property
    def neoplastic(self) -> bool:
        """A tumour, which the Spinal Instability Neoplastic Score is made for."""
        return self not in {Aetiology.INSUFFICIENCY_FRACTURE, Aetiology.BENIGN}


class PainSite(StrEnum):
    """Where it hurts."""

    LOW_BACK = "low back"
    SACRAL = "sacral"
    BUTTOCK = "buttock"
    PERINEUM = "perineum"
    S1_DERMATOME = "S1 dermatome"
    LEG = "leg"
    GROIN = "groin"
    SOLE = "sole"


class Movement(StrEnum):
    """What loading does to the pain, as the Spinal Instability Neoplastic Score asks it."""

    MECHANICAL = "worse on loading, better lying"
    NOT_MECHANICAL = "occasional, not mechanical"
    NONE = "no pain"


class Alignment(StrEnum):
    """Spinal alignment on the images."""

    NORMAL = "normal"
    DEFORMITY = "new deformity"
    SUBLUXATION = "subluxation or translation"


class Collapse(StrEnum):
    """Loss of height of the body that holds the lesion."""

    NONE = "no collapse"
    UNDER_HALF = "collapse of less than 50 %"
    OVER_HALF = "collapse of more than 50 %"


class Therapy(StrEnum):
    """What was tried before."""

    ANALGESICS = "analgesics"
    OPIOIDS = "opioids"
    CHEMOTHERAPY = "chemotherapy"
    RADIOTHERAPY = "radiotherapy"
    SURGERY = "surgery"
    EPIDURAL_STEROID = "caudal epidural steroid"
    VERTEBROPLASTY = "vertebroplasty"
    SACROPLASTY = "sacroplasty"
    ABLATION = "ablation"
    PHYSIOTHERAPY = "physiotherapy or bed rest"


class Option(StrEnum):
    """What can be chosen instead or besides."""

    RADIOTHERAPY = "radiotherapy"
    EN_BLOC_RESECTION = "en-bloc resection"
    ABLATION_AND_CEMENT = "ablation and cement"
    CONSERVATIVE = "conservative treatment"


@dataclass(frozen=True)
class Pain:
    """The pain today: 0-10 numeric rating, sites, words the patient uses, what loading does, and neural signs.

    None is "not asked". `radicular` is pain that runs along a root; `local_tenderness` is on pressing the bone.
    """

    nrs: float | None = None
    sites: tuple[PainSite, ...] = ()
    words: tuple[str, ...] = ()
    movement: Movement | None = None
    radicular: bool | None = None
    local_tenderness: bool | None = None
    side: Side | None = None

    def __post_init__(self) -> None:
        if self.nrs is not None and not 0 <= self.nrs <= 10:
            raise InputError(
                "Pain on the numeric rating scale lies between 0 and 10",
                got=f"{self.nrs}",
                remedy="Divide a 0-100 mm visual analogue scale by ten",
            )


@dataclass(frozen=True)
class Neurology:
    """The examination before the procedure; None is "not examined". `acute` is getting worse over hours or days."""

    motor_deficit: bool | None = None
    sensory_deficit: bool | None = None
    bowel_or_bladder: bool | None = None
    acute: bool | None = None
    neural_involvement_on_imaging: bool | None = None


@dataclass(frozen=True)
class Blood:
    """Laboratory and drugs that decide whether bleeding and infection are safe; None is "not measured"."""

    inr: float | None = None
    platelets_10e9_l: float | None = None
    anticoagulated: bool | None = None
    local_infection: bool | None = None
    systemic_infection: bool | None = None

    def __post_init__(self) -> None:
        if self.inr is not None and not 0.5 <= self.inr <= 20:
            raise InputError(
                "An INR lies between 0.5 and 20", got=f"{self.inr}", remedy="Give the ratio, not the Quick"
            )
        if self.platelets_10e9_l is not None and not 0 <= self.platelets_10e9_l <= 3000:
            raise InputError(
                "Platelets are given in 10^9 per litre",
                got=f"{self.platelets_10e9_l}",
                remedy="Divide a count per microlitre by 1000",
            )


@dataclass(frozen=True)
class PriorTherapy:
    """One earlier treatment, the pain before and after it where numbers exist, and how long relief lasted."""

    therapy: Therapy
    detail: str = ""
    nrs_before: float | None = None
    nrs_after: float | None = None
    relief_lost: bool | None = None


@dataclass(frozen=True)
class Decision:
    """Who was heard: surgeon, family, the patient's wish, options declined, consents (procedure and publication)."""

    discussed_with_surgeon: bool | None = None
    discussed_with_family: bool | None = None
    wishes_procedure: bool | None = None
    declined: tuple[Option, ...] = ()
    consent_procedure: bool | None = None
    consent_publication: bool | None = None
    limited_life_expectancy: bool | None = None


@dataclass(frozen=True)
class PatientFacts:
    """Everything that the decision for or against a sacroplasty needs and that no image tells."""

    aetiology: Aetiology | None = None
    primary_tumour: str = ""
    age_years: float | None = None
    sex: str = ""
    histology_proven: bool | None = None
    pain: Pain = Pain()
    neurology: Neurology = Neurology()
    blood: Blood = Blood()
    prior: tuple[PriorTherapy, ...] = ()
    decision: Decision = Decision()
    alignment: Alignment | None = None
    collapse: Collapse | None = None
    cement_allergy: bool | None = None
    other_pain_source: bool | None = None
    goal: str = ""

    def __post_init__(self) -> None:
        if self.age_years is not None and not 0 <= self.age_years <= 120:
            raise InputError("An age lies between 0 and 120 years", got=f"{self.age_years}")

    def had(self, therapy: Therapy) -> bool:
        """The therapy is among the earlier ones."""
        return any(prior.therapy is therapy for prior in self.prior)


@dataclass(frozen=True)
class Override:
    """Going on against the judgement: why, who decided (a role or a name) and on which day (ISO date)."""

    reason: str
    by: str
    when: str

    def __post_init__(self) -> None:
        if not self.reason.strip() or not self.by.strip():
            raise InputError(
                "An override needs a reason and who decided",
                got=f"reason {self.reason!r}, by {self.by!r}",
                remedy="Write both down",
            )
        try:
            date.fromisoformat(self.when[:10])
        except ValueError:
            raise InputError("An override needs its day", got=self.when, remedy="Write it as YYYY-MM-DD") from None
