"""The registry's tables: patients by pseudonym, episodes, treatments, procedures, deposits, leaks, scores, contacts.

Facts are stored; grades and responses are computed from them. A row that people edit carries a version, so that two
writers cannot overwrite each other unseen. Who a pseudonym is stands in another file (see pseudonyms.py).
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime

from sqlalchemy import JSON, CheckConstraint, DateTime, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

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


def _one_of(column: str, *words: str) -> CheckConstraint:
    """A column holds one of these words or nothing."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


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
    __table_args__ = (_one_of("sex", "female", "male", "other"),)
    pseudonym: Mapped[str] = mapped_column(unique=True)
    sex: Mapped[str | None]
    birth_year: Mapped[int | None]
    example: Mapped[bool] = mapped_column(default=False)
    episodes: Mapped[list[Episode]] = relationship(back_populates="patient", cascade="all, delete-orphan")


class Episode(Edited, Table):
    """One painful sacrum and what led to its treatment."""

    __tablename__ = "episode"
    __table_args__ = (
        _one_of("cause", "lymphoma", "lung", "rectal", "breast", "prostate", "kidney", "myeloma", "other metastasis",
                "osteoporotic insufficiency fracture", "other"),
        _one_of("spread", "haematogenous metastasis", "direct invasion", "none"),
        _one_of("lesion_kind", "lytic", "mixed", "sclerotic", "unclear"),
        _one_of("goal", "pain relief", "stability", "both"),
        _one_of("pain_mechanism", "bony", "neural", "both", "unclear"),
    )  # fmt: skip
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id", ondelete="CASCADE"), index=True)
    age_years: Mapped[int | None]
    cause: Mapped[str]
    spread: Mapped[str | None]
    histology_proven: Mapped[bool | None]
    lesion_kind: Mapped[str | None]
    levels: Mapped[list[str]] = mapped_column(JSON, default=list)
    other_treated_levels: Mapped[list[str]] = mapped_column(JSON, default=list)
    other_pain_source_excluded: Mapped[bool | None]
    pain_site: Mapped[str | None]
    pain_character: Mapped[list[str]] = mapped_column(JSON, default=list)
    pain_mechanical: Mapped[bool | None]
    pain_mechanism: Mapped[str | None]
    motor_deficit: Mapped[str | None]
    sensory_deficit: Mapped[str | None]
    bladder_bowel_deficit: Mapped[str | None]
    goal: Mapped[str | None]
    life_expectancy: Mapped[str | None]
    discussed_with: Mapped[list[str]] = mapped_column(JSON, default=list)
    preference: Mapped[str | None]
    alternatives_refused: Mapped[list[str]] = mapped_column(JSON, default=list)
    judged_unsuitable_because: Mapped[str | None]
    override_reason: Mapped[str | None]
    consent_procedure: Mapped[bool | None]
    consent_publication: Mapped[bool | None]
    ethics_statement: Mapped[str | None]
    patient: Mapped[Patient] = relationship(back_populates="episodes")
    treatments: Mapped[list[EarlierTreatment]] = relationship(cascade="all, delete-orphan")
    procedures: Mapped[list[Procedure]] = relationship(cascade="all, delete-orphan")
    contacts: Mapped[list[ContactRecord]] = relationship(cascade="all, delete-orphan")
    pain_scores: Mapped[list[PainRecord]] = relationship(cascade="all, delete-orphan")


class EarlierTreatment(Edited, Table):
    """What was done before, how it worked, and whether the relief lasted."""

    __tablename__ = "earlier_treatment"
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    order: Mapped[int]
    kind: Mapped[str]
    detail: Mapped[str | None]
    days_before_procedure: Mapped[int | None]
    response: Mapped[str | None]
    relapse: Mapped[str | None]


class Procedure(Edited, Table):
    """One sacroplasty: how it was prepared, guided and done. Unknown stays empty."""

    __tablename__ = "procedure"
    __table_args__ = (
        _one_of("guidance", "fluoroscopy", "CT", "CT and fluoroscopy", "CT-fluoroscopy suite", "cone-beam CT",
                "navigation"),
        _one_of("position", "prone", "lateral", "supine"),
    )  # fmt: skip
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    performed_on: Mapped[date | None]
    approach: Mapped[str]
    guidance: Mapped[str | None]
    position: Mapped[str | None]
    antibiotic: Mapped[str | None]
    antibiotic_dose_g: Mapped[float | None]
    antibiotic_minutes_before: Mapped[int | None]
    antibiotic_days_after: Mapped[int | None]
    skin_preparation: Mapped[str | None]
    prepared_region: Mapped[str | None]
    anaesthesia: Mapped[str | None]
    incision_site: Mapped[str | None]
    mallet_used: Mapped[bool | None]
    stylet_removed_before_injection: Mapped[bool | None]
    venogram: Mapped[str | None]
    tip_adjusted_after_venogram: Mapped[bool | None]
    views: Mapped[list[str]] = mapped_column(JSON, default=list)
    fluoroscopy_minutes: Mapped[float | None]
    air_kerma_mgy: Mapped[float | None]
    operator_vertebroplasties: Mapped[int | None]
    technical_success: Mapped[bool | None]
    filling: Mapped[str | None]
    filling_fraction: Mapped[float | None]
    neurological_check: Mapped[str | None]
    leak_modality: Mapped[str | None]
    leak_verdict: Mapped[str | None]
    days_in_hospital: Mapped[float | None]
    deposits: Mapped[list[Deposit]] = relationship(cascade="all, delete-orphan")
    leaks: Mapped[list[LeakRecord]] = relationship(cascade="all, delete-orphan")
    events: Mapped[list[EventRecord]] = relationship(cascade="all, delete-orphan")


class Deposit(Edited, Table):
    """One needle with its cement; a volume nobody wrote down stays empty."""

    __tablename__ = "deposit"
    __table_args__ = (UniqueConstraint("procedure_id", "order"), CheckConstraint("volume_ml >= 0", name="volume_ml"))
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    order: Mapped[int] = mapped_column(default=1)
    level: Mapped[str | None]
    side: Mapped[str | None]
    canal_entry_level: Mapped[str | None]
    bone_entry_level: Mapped[str | None]
    needle_gauge: Mapped[int | None]
    needle_tip: Mapped[str | None]
    needle_maker: Mapped[str | None]
    cement: Mapped[str | None]
    cement_maker: Mapped[str | None]
    cement_lot: Mapped[str | None]
    volume_ml: Mapped[float | None]


class LeakRecord(Edited, Table):
    """Cement in one compartment, with the modality that saw it."""

    __tablename__ = "leak"
    __table_args__ = (_one_of("modality", "fluoroscopy", "radiograph", "CT", "MRI", "surgery", "not assessable"),)
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    compartment: Mapped[str]
    side: Mapped[str | None]
    level: Mapped[str | None]
    modality: Mapped[str]
    volume_ml: Mapped[float | None]
    significant: Mapped[bool | None]
    symptomatic: Mapped[bool | None]


class EventRecord(Edited, Table):
    """An adverse event as facts; see outcome.adverse_events for its grades."""

    __tablename__ = "event"
    procedure_id: Mapped[str] = mapped_column(ForeignKey("procedure.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
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
    after: Mapped[str]
    on_walking: Mapped[bool | None]


class ContactRecord(Edited, Table):
    """One follow-up contact, by visit or telephone."""

    __tablename__ = "contact"
    episode_id: Mapped[str] = mapped_column(ForeignKey("episode.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    day: Mapped[float | None]
    mode: Mapped[str | None]
    ambulation: Mapped[str | None]
    pain_on_walking: Mapped[str | None]
    tenderness: Mapped[str | None]
    opioid_mg_per_day: Mapped[float | None]
    odi: Mapped[float | None]
    kps: Mapped[int | None]
    ecog: Mapped[int | None]
    satisfaction: Mapped[str | None]
    words: Mapped[str | None]
