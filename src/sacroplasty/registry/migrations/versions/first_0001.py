"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "patient",
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("sex", sa.String(), nullable=True),
        sa.Column("birth_year", sa.Integer(), nullable=True),
        sa.Column("example", sa.Boolean(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("sex IN ('female', 'male', 'other')", name=op.f("ck_patient_sex")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_patient_pseudonym")),
    )
    op.create_table(
        "episode",
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("age_years", sa.Integer(), nullable=True),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("spread", sa.String(), nullable=True),
        sa.Column("histology_proven", sa.Boolean(), nullable=True),
        sa.Column("lesion_kind", sa.String(), nullable=True),
        sa.Column("levels", sa.JSON(), nullable=False),
        sa.Column("other_treated_levels", sa.JSON(), nullable=False),
        sa.Column("other_pain_source_excluded", sa.Boolean(), nullable=True),
        sa.Column("pain_site", sa.String(), nullable=True),
        sa.Column("pain_character", sa.JSON(), nullable=False),
        sa.Column("pain_mechanical", sa.Boolean(), nullable=True),
        sa.Column("pain_mechanism", sa.String(), nullable=True),
        sa.Column("motor_deficit", sa.String(), nullable=True),
        sa.Column("sensory_deficit", sa.String(), nullable=True),
        sa.Column("bladder_bowel_deficit", sa.String(), nullable=True),
        sa.Column("goal", sa.String(), nullable=True),
        sa.Column("life_expectancy", sa.String(), nullable=True),
        sa.Column("discussed_with", sa.JSON(), nullable=False),
        sa.Column("preference", sa.String(), nullable=True),
        sa.Column("alternatives_refused", sa.JSON(), nullable=False),
        sa.Column("judged_unsuitable_because", sa.String(), nullable=True),
        sa.Column("override_reason", sa.String(), nullable=True),
        sa.Column("consent_procedure", sa.Boolean(), nullable=True),
        sa.Column("consent_publication", sa.Boolean(), nullable=True),
        sa.Column("ethics_statement", sa.String(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "cause IN ('lymphoma', 'lung', 'rectal', 'breast', 'prostate', 'kidney', 'myeloma', 'other metastasis', 'osteoporotic insufficiency fracture', 'other')",
            name=op.f("ck_episode_cause"),
        ),
        sa.CheckConstraint("goal IN ('pain relief', 'stability', 'both')", name=op.f("ck_episode_goal")),
        sa.CheckConstraint(
            "lesion_kind IN ('lytic', 'mixed', 'sclerotic', 'unclear')", name=op.f("ck_episode_lesion_kind")
        ),
        sa.CheckConstraint(
            "pain_mechanism IN ('bony', 'neural', 'both', 'unclear')", name=op.f("ck_episode_pain_mechanism")
        ),
        sa.CheckConstraint(
            "spread IN ('haematogenous metastasis', 'direct invasion', 'none')", name=op.f("ck_episode_spread")
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_episode_patient_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episode")),
    )
    with op.batch_alter_table("episode", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_episode_patient_id"), ["patient_id"], unique=False)

    op.create_table(
        "contact",
        sa.Column("episode_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("day", sa.Double(), nullable=True),
        sa.Column("mode", sa.String(), nullable=True),
        sa.Column("ambulation", sa.String(), nullable=True),
        sa.Column("pain_on_walking", sa.String(), nullable=True),
        sa.Column("tenderness", sa.String(), nullable=True),
        sa.Column("opioid_mg_per_day", sa.Double(), nullable=True),
        sa.Column("odi", sa.Double(), nullable=True),
        sa.Column("kps", sa.Integer(), nullable=True),
        sa.Column("ecog", sa.Integer(), nullable=True),
        sa.Column("satisfaction", sa.String(), nullable=True),
        sa.Column("words", sa.String(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["episode_id"], ["episode.id"], name=op.f("fk_contact_episode_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_contact_episode_id"), ["episode_id"], unique=False)

    op.create_table(
        "earlier_treatment",
        sa.Column("episode_id", sa.String(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("days_before_procedure", sa.Integer(), nullable=True),
        sa.Column("response", sa.String(), nullable=True),
        sa.Column("relapse", sa.String(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["episode.id"], name=op.f("fk_earlier_treatment_episode_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_earlier_treatment")),
    )
    with op.batch_alter_table("earlier_treatment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_earlier_treatment_episode_id"), ["episode_id"], unique=False)

    op.create_table(
        "pain_score",
        sa.Column("episode_id", sa.String(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("day", sa.Double(), nullable=True),
        sa.Column("nrs", sa.Double(), nullable=True),
        sa.Column("words", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("on_walking", sa.Boolean(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("nrs BETWEEN 0 AND 10", name=op.f("ck_pain_score_nrs")),
        sa.CheckConstraint("nrs IS NOT NULL OR words IS NOT NULL", name=op.f("ck_pain_score_scored")),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["episode.id"], name=op.f("fk_pain_score_episode_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pain_score")),
    )
    with op.batch_alter_table("pain_score", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pain_score_episode_id"), ["episode_id"], unique=False)

    op.create_table(
        "procedure",
        sa.Column("episode_id", sa.String(), nullable=False),
        sa.Column("performed_on", sa.Date(), nullable=True),
        sa.Column("approach", sa.String(), nullable=False),
        sa.Column("guidance", sa.String(), nullable=True),
        sa.Column("position", sa.String(), nullable=True),
        sa.Column("antibiotic", sa.String(), nullable=True),
        sa.Column("antibiotic_dose_g", sa.Double(), nullable=True),
        sa.Column("antibiotic_minutes_before", sa.Integer(), nullable=True),
        sa.Column("antibiotic_days_after", sa.Integer(), nullable=True),
        sa.Column("skin_preparation", sa.String(), nullable=True),
        sa.Column("prepared_region", sa.String(), nullable=True),
        sa.Column("anaesthesia", sa.String(), nullable=True),
        sa.Column("incision_site", sa.String(), nullable=True),
        sa.Column("mallet_used", sa.Boolean(), nullable=True),
        sa.Column("stylet_removed_before_injection", sa.Boolean(), nullable=True),
        sa.Column("venogram", sa.String(), nullable=True),
        sa.Column("tip_adjusted_after_venogram", sa.Boolean(), nullable=True),
        sa.Column("views", sa.JSON(), nullable=False),
        sa.Column("fluoroscopy_minutes", sa.Double(), nullable=True),
        sa.Column("air_kerma_mgy", sa.Double(), nullable=True),
        sa.Column("operator_vertebroplasties", sa.Integer(), nullable=True),
        sa.Column("technical_success", sa.Boolean(), nullable=True),
        sa.Column("filling", sa.String(), nullable=True),
        sa.Column("filling_fraction", sa.Double(), nullable=True),
        sa.Column("neurological_check", sa.String(), nullable=True),
        sa.Column("leak_modality", sa.String(), nullable=True),
        sa.Column("leak_verdict", sa.String(), nullable=True),
        sa.Column("days_in_hospital", sa.Double(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "guidance IN ('fluoroscopy', 'CT', 'CT and fluoroscopy', 'CT-fluoroscopy suite', 'cone-beam CT', 'navigation')",
            name=op.f("ck_procedure_guidance"),
        ),
        sa.CheckConstraint("position IN ('prone', 'lateral', 'supine')", name=op.f("ck_procedure_position")),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["episode.id"], name=op.f("fk_procedure_episode_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_procedure")),
    )
    with op.batch_alter_table("procedure", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_procedure_episode_id"), ["episode_id"], unique=False)

    op.create_table(
        "deposit",
        sa.Column("procedure_id", sa.String(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(), nullable=True),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("canal_entry_level", sa.String(), nullable=True),
        sa.Column("bone_entry_level", sa.String(), nullable=True),
        sa.Column("needle_gauge", sa.Integer(), nullable=True),
        sa.Column("needle_tip", sa.String(), nullable=True),
        sa.Column("needle_maker", sa.String(), nullable=True),
        sa.Column("cement", sa.String(), nullable=True),
        sa.Column("cement_maker", sa.String(), nullable=True),
        sa.Column("cement_lot", sa.String(), nullable=True),
        sa.Column("volume_ml", sa.Double(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("volume_ml >= 0", name=op.f("ck_deposit_volume_ml")),
        sa.ForeignKeyConstraint(
            ["procedure_id"], ["procedure.id"], name=op.f("fk_deposit_procedure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit")),
        sa.UniqueConstraint("procedure_id", "order", name=op.f("uq_deposit_procedure_id")),
    )
    with op.batch_alter_table("deposit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deposit_procedure_id"), ["procedure_id"], unique=False)

    op.create_table(
        "event",
        sa.Column("procedure_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("therapy", sa.Integer(), nullable=False),
        sa.Column("extra_hospital_hours", sa.Double(), nullable=False),
        sa.Column("sequelae", sa.Integer(), nullable=False),
        sa.Column("solved_in_session", sa.Boolean(), nullable=False),
        sa.Column("symptomatic", sa.Boolean(), nullable=False),
        sa.Column("days_after", sa.Double(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["procedure_id"], ["procedure.id"], name=op.f("fk_event_procedure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_procedure_id"), ["procedure_id"], unique=False)

    op.create_table(
        "leak",
        sa.Column("procedure_id", sa.String(), nullable=False),
        sa.Column("compartment", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("level", sa.String(), nullable=True),
        sa.Column("modality", sa.String(), nullable=False),
        sa.Column("volume_ml", sa.Double(), nullable=True),
        sa.Column("significant", sa.Boolean(), nullable=True),
        sa.Column("symptomatic", sa.Boolean(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "modality IN ('fluoroscopy', 'radiograph', 'CT', 'MRI', 'surgery', 'not assessable')",
            name=op.f("ck_leak_modality"),
        ),
        sa.ForeignKeyConstraint(
            ["procedure_id"], ["procedure.id"], name=op.f("fk_leak_procedure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leak")),
    )
    with op.batch_alter_table("leak", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_leak_procedure_id"), ["procedure_id"], unique=False)


def downgrade() -> None:
    """Take the change back."""
    with op.batch_alter_table("leak", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_leak_procedure_id"))

    op.drop_table("leak")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_procedure_id"))

    op.drop_table("event")
    with op.batch_alter_table("deposit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deposit_procedure_id"))

    op.drop_table("deposit")
    with op.batch_alter_table("procedure", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_procedure_episode_id"))

    op.drop_table("procedure")
    with op.batch_alter_table("pain_score", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pain_score_episode_id"))

    op.drop_table("pain_score")
    with op.batch_alter_table("earlier_treatment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_earlier_treatment_episode_id"))

    op.drop_table("earlier_treatment")
    with op.batch_alter_table("contact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_contact_episode_id"))

    op.drop_table("contact")
    with op.batch_alter_table("episode", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_episode_patient_id"))

    op.drop_table("episode")
    op.drop_table("patient")
