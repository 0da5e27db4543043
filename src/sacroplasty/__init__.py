"""Percutaneous sacroplasty: plan, rehearse, guide, check and follow up. Research software, not for clinical use."""

__version__ = "0.1.0"

NOT_FOR_CLINICAL_USE = "Research software. Not for clinical use. Verify every number."
