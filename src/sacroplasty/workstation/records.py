"""A case's facts, procedure and follow-up as the registry keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from sacroplasty.lesion import Aetiology, PatientFacts
from sacroplasty.registry import (
    ContactRecord,
    Deposit,
    EarlierTreatment,
    Episode,
    EventRecord,
    LeakRecord,
    PainRecord,
    Patient,
    Procedure,
    edited,
    open_registry,
)
from sacroplasty.workstation import checklist

REGISTRY = "registry.sqlite"
_TUMOURS = ("lymphoma", "lung", "rectal", "breast", "prostate", "kidney", "myeloma")
Record = Mapping[str, Any]


def cause_of(facts: PatientFacts) -> str:
    """The registry's word for why the sacrum is weak."""
    if facts.aetiology is Aetiology.INSUFFICIENCY_FRACTURE:
        return "osteoporotic insufficiency fracture"
    said = f"{facts.aetiology or ''} {facts.primary_tumour}".casefold()
    named = next((tumour for tumour in _TUMOURS if tumour in said), None)
    if named:
        return named
    return "other metastasis" if facts.aetiology is Aetiology.METASTASIS else "other"


def _spread(facts: PatientFacts) -> str | None:
    spreads = (Aetiology.METASTASIS, Aetiology.DIRECT_INVASION)
    return str(facts.aetiology) if facts.aetiology in spreads else None


def patient_record(case: str, facts: PatientFacts, procedure: Record | None, follow_up: Record) -> Patient:
    """The patient of a case under the case's identifier as pseudonym."""
    prior = [
        EarlierTreatment(order=n, kind=str(one.therapy), detail=one.detail or None, relapse=_relapse(one.relief_lost))
        for n, one in enumerate(facts.prior, start=1)
    ]
    episode = Episode(
        age_years=None if facts.age_years is None else int(facts.age_years), cause=cause_of(facts),
        spread=_spread(facts), histology_proven=facts.histology_proven,
        levels=sorted({d["level"] for d in procedure["details"]["deposits"] if d["level"]}) if procedure else [],
        pain_site=", ".join(facts.pain.sites) or None, pain_character=list(facts.pain.words),
        consent_procedure=facts.decision.consent_procedure, consent_publication=facts.decision.consent_publication,
        treatments=prior, procedures=[procedure_record(procedure, follow_up)] if procedure else [],
        pain_scores=[PainRecord(order=n, **_without(one, "order")) for n, one in enumerate(follow_up["pain"], start=1)],
        contacts=[ContactRecord(**one) for one in follow_up["contacts"]],
    )  # fmt: skip
    sex = facts.sex.casefold() if facts.sex.casefold() in {"female", "male", "other"} else None
    return Patient(pseudonym=case, sex=sex, episodes=[episode])


def _relapse(lost: bool | None) -> str | None:
    return {True: "relief lost", False: "relief kept", None: None}[lost]


def _without(one: Record, *names: str) -> dict[str, Any]:
    return {name: content for name, content in one.items() if name not in names}


def procedure_record(record: Record, follow_up: Record) -> Procedure:
    """The procedure with what its times say."""
    done, details = record["steps"], record["details"]
    lead = checklist.minutes_between(done, "antibiotic", "incision")
    start, stylet = checklist.time_of(done, "injection_start"), checklist.time_of(done, "stylet_removed")
    begun: datetime | None = checklist.time_of(done, "incision") or start
    return Procedure(
        **_without(details, "deposits", "leaks"),
        performed_on=begun.date() if begun else None,
        antibiotic_minutes_before=None if lead is None else round(lead),
        stylet_removed_before_injection=None if start is None else stylet is not None and stylet <= start,
        deposits=[Deposit(order=n, **one) for n, one in enumerate(details["deposits"], start=1)],
        leaks=[LeakRecord(**one) for one in details["leaks"]],
        events=[EventRecord(**one) for one in follow_up["events"]],
    )


def keep_in_registry(root: Path, case: str, facts: PatientFacts, procedure: Record, follow_up: Record) -> None:
    """Write a case into the registry beside the cases; an earlier record of the same case is replaced."""
    engine = open_registry(root / REGISTRY)
    try:
        with edited(engine) as session:
            for old in session.scalars(select(Patient).where(Patient.pseudonym == case)):
                session.delete(old)
            session.flush()
            session.add(patient_record(case, facts, procedure, follow_up))
    finally:
        engine.dispose()
