"""The registry's tables: patients by pseudonym, episodes, treatments, procedures, deposits, leaks, scores, contacts.

Facts are stored; grades and responses are computed from them. A row that people edit carries a version, so that two
writers cannot overwrite each other unseen. Who a pseudonym is stands in another file (see pseudonyms.py).
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, DateTime, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

from sacroplasty.outcome.follow_up import SCHEDULES
from sacroplasty.registry import vocabulary

_NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """Base of every table; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(naming_convention=_NAMES)


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    """A column holds one of these words or nothing."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column, info={"words": words})


def _words(words: tuple[str, ...]) -> Any:
    """A text column whose usual words are listed; another text is kept, and is not shared without review."""
    return mapped_column(info={"words": words})


def _list(words: tuple[str, ...] = ()) -> Any:
    """A column that holds a list of texts."""
    return mapped_column(JSON, default=list, info={"words": words} if words else {})


class Edited:
    """Columns of a row that people edit: identifier, version, time of the last change."""

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: str(uuid.uuid4()))
    version: Mapped[int] = mapped_column(default=1)
    changed_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC), onupdate=lambda: datetime.now(UTC)
    )

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, object]:
        """The version is checked and counted up by every update."""
        return {"version_id_col": cls.version}


class Patient(Edited, Table):
    """A person under a pseudonym."""

    __tablename__ = "patient"
    __table_args__ = (_one_of("sex", vocabulary.SEX),)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    sex: Mapped[str | None]
    birth_year: Mapped[int | None]
    example: Mapped[bool] = mapped_column(default=False)
    episodes: Mapped[list[Episode]] = relationship(
        back_populates="patient", cascade="all, delete-orphan", order_by="(Episode.age_years.nulls_last(), Episode.id)"
    )


class Episode(Edited, Table):
    """One painful sacrum and what led to its treatment."""

    __tablename__ = "episode"
    __table_args__ = (
        _one_of("cause", vocabulary.CAUSE),
        _one_of("spread", vocabulary.SPREAD),
        _one_of("lesion_kind", vocabulary.LESION_KIND),
        _one_of("goal", vocabulary.GOAL),
        _one_of("pain_mechanism", vocabulary.PAIN_MECHANISM),
    )
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id", ondelete="CASCADE"), index=True)
    age_years: Mapped[int | None]
    cause: Mapped[str]
    spread: Mapped[str | None]
    histology_proven: Mapped[bool | None]
    lesion_kind: Mapped[str | None]
    levels: Mapped[list[str]] = _list(vocabulary.LEVELS)
    lesion_extent: Mapped[str | None]
    fracture_planes: Mapped[list[str]] = _list(vocabulary.FRACTURE_PLANES)
    imaging_reviewed: Mapped[list[str]] = _list(vocabulary.IMAGING)
    imaging_findings: Mapped[str | None]
    cortical_integrity: Mapped[str | None]
    neural_involvement: Mapped[bool | None]
    sins_score: Mapped[int | None]
    other_treated_levels: Mapped[list[str]] = _list(vocabulary.LEVELS)
    other_pain_source_excluded: Mapped[bool | None]
    pain_site: Mapped[str | None] = _words(vocabulary.PAIN_SITE)
    pain_character: Mapped[list[str]] = _list(vocabulary.PAIN_CHARACTER)
    pain_mechanical: Mapped[bool | None]
    pain_radicular: Mapped[bool | None]
    pain_mechanism: Mapped[str | None]
    motor_deficit: Mapped[str | None]
    sensory_deficit: Mapped[str | None]
    bladder_bowel_deficit: Mapped[str | None]
    acute_deterioration: Mapped[bool | None]
    goal: Mapped[str | None]
    life_expectancy: Mapped[str | None]
    limited_life_expectancy: Mapped[bool | None]
    discussed_with: Mapped[list[str]] = _list()
    preference: Mapped[str | None]
    alternatives_considered: Mapped[list[str]] = _list(vocabulary.ALTERNATIVES)
    alternatives_refused: Mapped[list[str]] = _list(vocabulary.ALTERNATIVES)
    risks_explained: Mapped[list[str]] = _list(vocabulary.RISKS)
    judged_unsuitable_because: Mapped[str | None]
    override_reason: Mapped[str | None]
    override_by: Mapped[str | None]
    override_on: Mapped[date | None]
    consent_procedure: Mapped[bool | None]
    consent_publication: Mapped[bool | None]
    ethics_statement: Mapped[str | None]
    patient_perspective: Mapped[str | None]
    patient: Mapped[Patient] = relationship(back_populates="episodes")
    treatments: Mapped[list[EarlierTreatment]] = relationship(
        cascade="all, delete-orphan", order_by="EarlierTreatment.order"
    )
    procedures: Mapped[list[Procedure]] = relationship(
        cascade="all, delete-orphan", order_by="(Procedure.performed_on.nulls_last(), Procedure.id)"
    )
    contacts: Mapped[list[ContactRecord]] = relationship(
        cascade="all, delete-orphan", order_by="(ContactRecord.day.nulls_last(), ContactRecord.id)"
    )
    pain_scores: Mapped[list[PainRecord]] = relationship(cascade="all, delete-orphan", order_by="PainRecord.order")


class EarlierTreatment(Edited, Table):
    """What was done before, how it worked, and whether the relief lasted."""

    __tablename__ = "earlier_treatment"
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    order: Mapped[int]
    kind: Mapped[str] = _words(vocabulary.TREATMENT)
    detail: Mapped[str | None]
    days_before_procedure: Mapped[int | None]
    nrs_before: Mapped[float | None]
    nrs_after: Mapped[float | None]
    response: Mapped[str | None]
    relapse: Mapped[str | None]


class Procedure(Edited, Table):
    """One sacroplasty: how it was prepared, guided and done. Unknown stays empty."""

    __tablename__ = "procedure"
    __table_args__ = (
        _one_of("guidance", vocabulary.GUIDANCE),
        _one_of("position", vocabulary.POSITION),
    )
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    performed_on: Mapped[date | None]
    case_name: Mapped[str | None]
    schedule: Mapped[str | None] = _words(tuple(SCHEDULES))
    approach: Mapped[str] = _words(vocabulary.APPROACH)
    guidance: Mapped[str | None]
    skin_to_lesion_mm: Mapped[float | None]
    marrow_space_mm: Mapped[float | None]
    position: Mapped[str | None]
    antibiotic: Mapped[str | None] = _words(vocabulary.ANTIBIOTIC)
    antibiotic_maker: Mapped[str | None]
    antibiotic_route: Mapped[str | None] = _words(("intravenous", "oral"))
    antibiotic_dose_g: Mapped[float | None]
    antibiotic_minutes_before: Mapped[int | None]
    antibiotic_days_after: Mapped[int | None]
    skin_preparation: Mapped[str | None]
    prepared_region: Mapped[str | None]
    fluoroscope_draped: Mapped[bool | None]
    anaesthesia: Mapped[str | None]
    incision_site: Mapped[str | None]
    mallet_used: Mapped[bool | None]
    start_view: Mapped[str | None]
    foramina_seen: Mapped[list[str]] = _list()
    tip_confirmed_views: Mapped[list[str]] = _list(vocabulary.VIEWS)
    stylet_removed_before_injection: Mapped[bool | None]
    venogram: Mapped[str | None]
    tip_adjusted_after_venogram: Mapped[bool | None]
    views: Mapped[list[str]] = _list(vocabulary.VIEWS)
    duration_minutes: Mapped[float | None]
    fluoroscopy_minutes: Mapped[float | None]
    air_kerma_mgy: Mapped[float | None]
    dose_area_product_gy_cm2: Mapped[float | None]
    ct_dose_length_mgy_cm: Mapped[float | None]
    operator_vertebroplasties: Mapped[int | None]
    operator_years: Mapped[float | None]
    operator_sacroplasties: Mapped[int | None]
    stop_reason: Mapped[str | None] = _words(vocabulary.STOP_REASON)
    technical_success: Mapped[bool | None]
    clinical_success: Mapped[bool | None]
    filling: Mapped[str | None]
    filling_fraction: Mapped[float | None]
    neurological_check: Mapped[str | None]
    leak_modality: Mapped[str | None] = _words(vocabulary.MODALITY)
    leak_verdict: Mapped[str | None]
    days_in_hospital: Mapped[float | None]
    checklist: Mapped[list[ChecklistItem]] = relationship(cascade="all, delete-orphan", order_by="ChecklistItem.order")
    deposits: Mapped[list[Deposit]] = relationship(cascade="all, delete-orphan", order_by="Deposit.order")
    leaks: Mapped[list[LeakRecord]] = relationship(
        cascade="all, delete-orphan", order_by="(LeakRecord.order, LeakRecord.id)"
    )
    events: Mapped[list[EventRecord]] = relationship(
        cascade="all, delete-orphan", order_by="(EventRecord.days_after.nulls_last(), EventRecord.id)"
    )


class ChecklistItem(Edited, Table):
    """One step of the procedure: done or not, minutes after its start (before it: negative), by which role."""

    __tablename__ = "checklist_item"
    __table_args__ = (UniqueConstraint("procedure_id", "order"),)
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    order: Mapped[int]
    step: Mapped[str] = _words(vocabulary.CHECKLIST)
    done: Mapped[bool | None]
    minutes: Mapped[float | None]
    by: Mapped[str | None]


class Deposit(Edited, Table):
    """One needle with its cement; a volume nobody wrote down stays empty."""

    __tablename__ = "deposit"
    __table_args__ = (UniqueConstraint("procedure_id", "order"), CheckConstraint("volume_ml >= 0", name="volume_ml"))
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    order: Mapped[int] = mapped_column(default=1)
    level: Mapped[str | None] = _words(vocabulary.LEVELS)
    side: Mapped[str | None] = _words(vocabulary.SIDE)
    canal_entry_level: Mapped[str | None] = _words(vocabulary.LEVELS)
    bone_entry_level: Mapped[str | None] = _words(vocabulary.LEVELS)
    crossings: Mapped[list[str]] = _list()
    needle_gauge: Mapped[int | None]
    needle_tip: Mapped[str | None] = _words(vocabulary.NEEDLE_TIP)
    needle_length_mm: Mapped[float | None]
    needle_maker: Mapped[str | None]
    cephalad_deg: Mapped[float | None]
    leftward_deg: Mapped[float | None]
    bevel_towards: Mapped[str | None]
    parallel_to_ventral_deg: Mapped[float | None]
    tip_uncertainty_mm: Mapped[float | None]
    tip_in_lesion: Mapped[bool | None]
    cement: Mapped[str | None]
    cement_maker: Mapped[str | None]
    cement_lot: Mapped[str | None]
    injected_minutes_after_mixing: Mapped[float | None]
    volume_ml: Mapped[float | None]


class LeakRecord(Edited, Table):
    """Cement in one compartment, with the modality that saw it."""

    __tablename__ = "leak"
    __table_args__ = (_one_of("modality", vocabulary.MODALITY),)
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    order: Mapped[int] = mapped_column(default=1)
    compartment: Mapped[str] = _words(vocabulary.COMPARTMENT)
    side: Mapped[str | None] = _words(vocabulary.SIDE)
    level: Mapped[str | None] = _words(vocabulary.LEVELS)
    modality: Mapped[str]
    volume_ml: Mapped[float | None]
    seconds_to_stop: Mapped[float | None]
    significant: Mapped[bool | None]
    symptomatic: Mapped[bool | None]


class EventRecord(Edited, Table):
    """An adverse event as facts; see outcome.adverse_events for its grades."""

    __tablename__ = "event"
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = _words(vocabulary.EVENT)
    therapy: Mapped[int] = mapped_column(default=0)
    extra_hospital_hours: Mapped[float] = mapped_column(default=0.0)
    sequelae: Mapped[int] = mapped_column(default=0)
    solved_in_session: Mapped[bool] = mapped_column(default=False)
    symptomatic: Mapped[bool] = mapped_column(default=True)
    days_after: Mapped[float | None]


class PainRecord(Edited, Table):
    """Pain on one day, as number or words, after one intervention."""

    __tablename__ = "pain_score"
    __table_args__ = (
        CheckConstraint("nrs IS NOT NULL OR words IS NOT NULL", name="scored"),
        CheckConstraint("nrs BETWEEN 0 AND 10", name="nrs"),
    )
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    order: Mapped[int]
    day: Mapped[float | None]
    nrs: Mapped[float | None]
    words: Mapped[str | None]
    after: Mapped[str] = _words(vocabulary.INTERVENTION)
    on_walking: Mapped[bool | None]


class ContactRecord(Edited, Table):
    """One follow-up contact, by visit or telephone."""

    __tablename__ = "contact"
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    day: Mapped[float | None]
    mode: Mapped[str | None] = _words(vocabulary.CONTACT_MODE)
    ambulation: Mapped[str | None]
    pain_on_walking: Mapped[str | None]
    tenderness: Mapped[str | None]
    opioid_mg_per_day: Mapped[float | None]
    odi: Mapped[float | None]
    kps: Mapped[int | None]
    ecog: Mapped[int | None]
    satisfaction: Mapped[str | None] = _words(vocabulary.SATISFACTION)
    words: Mapped[str | None]
