"""Everything that the two papers tell about a procedure: checklist, measurements, needle course, dose, decision."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "checklist_item",
        sa.Column("procedure_id", sa.String(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=True),
        sa.Column("minutes", sa.Double(), nullable=True),
        sa.Column("by", sa.String(), nullable=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["procedure_id"], ["procedure.id"], name=op.f("fk_checklist_item_procedure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checklist_item")),
        sa.UniqueConstraint("procedure_id", "order", name=op.f("uq_checklist_item_procedure_id")),
    )
    op.create_index(op.f("ix_checklist_item_procedure_id"), "checklist_item", ["procedure_id"], unique=False)
    op.add_column("deposit", sa.Column("crossings", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("deposit", sa.Column("needle_length_mm", sa.Double(), nullable=True))
    op.add_column("deposit", sa.Column("cephalad_deg", sa.Double(), nullable=True))
    op.add_column("deposit", sa.Column("leftward_deg", sa.Double(), nullable=True))
    op.add_column("deposit", sa.Column("bevel_towards", sa.String(), nullable=True))
    op.add_column("deposit", sa.Column("parallel_to_ventral_deg", sa.Double(), nullable=True))
    op.add_column("deposit", sa.Column("tip_uncertainty_mm", sa.Double(), nullable=True))
    op.add_column("deposit", sa.Column("tip_in_lesion", sa.Boolean(), nullable=True))
    op.add_column("deposit", sa.Column("injected_minutes_after_mixing", sa.Double(), nullable=True))
    op.add_column("earlier_treatment", sa.Column("nrs_before", sa.Double(), nullable=True))
    op.add_column("earlier_treatment", sa.Column("nrs_after", sa.Double(), nullable=True))
    op.add_column("episode", sa.Column("lesion_extent", sa.String(), nullable=True))
    op.add_column("episode", sa.Column("fracture_planes", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("episode", sa.Column("imaging_reviewed", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("episode", sa.Column("imaging_findings", sa.String(), nullable=True))
    op.add_column("episode", sa.Column("cortical_integrity", sa.String(), nullable=True))
    op.add_column("episode", sa.Column("neural_involvement", sa.Boolean(), nullable=True))
    op.add_column("episode", sa.Column("sins_score", sa.Integer(), nullable=True))
    op.add_column("episode", sa.Column("pain_radicular", sa.Boolean(), nullable=True))
    op.add_column("episode", sa.Column("acute_deterioration", sa.Boolean(), nullable=True))
    op.add_column("episode", sa.Column("limited_life_expectancy", sa.Boolean(), nullable=True))
    op.add_column("episode", sa.Column("alternatives_considered", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("episode", sa.Column("risks_explained", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("episode", sa.Column("override_by", sa.String(), nullable=True))
    op.add_column("episode", sa.Column("override_on", sa.Date(), nullable=True))
    op.add_column("episode", sa.Column("patient_perspective", sa.String(), nullable=True))
    op.add_column("leak", sa.Column("order", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("leak", sa.Column("seconds_to_stop", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("case_name", sa.String(), nullable=True))
    op.add_column("procedure", sa.Column("schedule", sa.String(), nullable=True))
    op.add_column("procedure", sa.Column("skin_to_lesion_mm", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("marrow_space_mm", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("antibiotic_maker", sa.String(), nullable=True))
    op.add_column("procedure", sa.Column("antibiotic_route", sa.String(), nullable=True))
    op.add_column("procedure", sa.Column("fluoroscope_draped", sa.Boolean(), nullable=True))
    op.add_column("procedure", sa.Column("start_view", sa.String(), nullable=True))
    op.add_column("procedure", sa.Column("foramina_seen", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("procedure", sa.Column("tip_confirmed_views", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("procedure", sa.Column("duration_minutes", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("dose_area_product_gy_cm2", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("ct_dose_length_mgy_cm", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("operator_years", sa.Double(), nullable=True))
    op.add_column("procedure", sa.Column("operator_sacroplasties", sa.Integer(), nullable=True))
    op.add_column("procedure", sa.Column("stop_reason", sa.String(), nullable=True))
    op.add_column("procedure", sa.Column("clinical_success", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("procedure", "clinical_success")
    op.drop_column("procedure", "stop_reason")
    op.drop_column("procedure", "operator_sacroplasties")
    op.drop_column("procedure", "operator_years")
    op.drop_column("procedure", "ct_dose_length_mgy_cm")
    op.drop_column("procedure", "dose_area_product_gy_cm2")
    op.drop_column("procedure", "duration_minutes")
    op.drop_column("procedure", "tip_confirmed_views")
    op.drop_column("procedure", "foramina_seen")
    op.drop_column("procedure", "start_view")
    op.drop_column("procedure", "fluoroscope_draped")
    op.drop_column("procedure", "antibiotic_route")
    op.drop_column("procedure", "antibiotic_maker")
    op.drop_column("procedure", "marrow_space_mm")
    op.drop_column("procedure", "skin_to_lesion_mm")
    op.drop_column("procedure", "schedule")
    op.drop_column("procedure", "case_name")
    op.drop_column("leak", "seconds_to_stop")
    op.drop_column("leak", "order")
    op.drop_column("episode", "patient_perspective")
    op.drop_column("episode", "override_on")
    op.drop_column("episode", "override_by")
    op.drop_column("episode", "risks_explained")
    op.drop_column("episode", "alternatives_considered")
    op.drop_column("episode", "limited_life_expectancy")
    op.drop_column("episode", "acute_deterioration")
    op.drop_column("episode", "pain_radicular")
    op.drop_column("episode", "sins_score")
    op.drop_column("episode", "neural_involvement")
    op.drop_column("episode", "cortical_integrity")
    op.drop_column("episode", "imaging_findings")
    op.drop_column("episode", "imaging_reviewed")
    op.drop_column("episode", "fracture_planes")
    op.drop_column("episode", "lesion_extent")
    op.drop_column("earlier_treatment", "nrs_after")
    op.drop_column("earlier_treatment", "nrs_before")
    op.drop_column("deposit", "injected_minutes_after_mixing")
    op.drop_column("deposit", "tip_in_lesion")
    op.drop_column("deposit", "tip_uncertainty_mm")
    op.drop_column("deposit", "parallel_to_ventral_deg")
    op.drop_column("deposit", "bevel_towards")
    op.drop_column("deposit", "leftward_deg")
    op.drop_column("deposit", "cephalad_deg")
    op.drop_column("deposit", "needle_length_mm")
    op.drop_column("deposit", "crossings")
    op.drop_index(op.f("ix_checklist_item_procedure_id"), table_name="checklist_item")
    op.drop_table("checklist_item")
