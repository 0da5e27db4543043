"""The lesion: extent, kind, cortical integrity, zones, and what that means for suitability.

A lesion comes from a mask, a sphere, a click or the search for candidates; its walls are measured against the
patient's own cortex. `assess_suitability` turns patient facts and lesion into statements and a judgement that documents
and warns.
"""

from sacroplasty.lesion.alternatives import Alternative
from sacroplasty.lesion.candidates import find_lesions
from sacroplasty.lesion.extent import lesion_from_mask, lesion_from_sphere
from sacroplasty.lesion.facts import (
    Aetiology,
    Alignment,
    Blood,
    Collapse,
    Decision,
    Movement,
    Neurology,
    Option,
    Override,
    Pain,
    PainSite,
    PatientFacts,
    PriorTherapy,
    Therapy,
)
from sacroplasty.lesion.facts_sheet import empty_sheet, facts_from_sheet
from sacroplasty.lesion.fracture import find_fractures
from sacroplasty.lesion.growth import lesion_from_click
from sacroplasty.lesion.lesion import Fracture, FractureKind, Integrity, Lesion, LesionKind, Wall
from sacroplasty.lesion.measurements import (
    Measurement,
    centre_offset,
    distances_to_nerves,
    hiatus_margin_mm,
    marrow_along,
    marrow_space,
    marrow_space_at_level,
    skin_to_lesion,
)
from sacroplasty.lesion.pain import Mechanism, PainMechanism, dermatomes_of, pain_mechanism
from sacroplasty.lesion.published import PUBLISHED, ZHANG_2_OVERRIDE_REASON
from sacroplasty.lesion.several import treated_first
from sacroplasty.lesion.sins import SinsScore, sins
from sacroplasty.lesion.statements import Bearing, Statement
from sacroplasty.lesion.suitability import Suitability, Verdict, assess_suitability
from sacroplasty.lesion.walls import assess_walls

__all__ = [
    "PUBLISHED",
    "ZHANG_2_OVERRIDE_REASON",
    "Aetiology",
    "Alignment",
    "Alternative",
    "Bearing",
    "Blood",
    "Collapse",
    "Decision",
    "Fracture",
    "FractureKind",
    "Integrity",
    "Lesion",
    "LesionKind",
    "Measurement",
    "Mechanism",
    "Movement",
    "Neurology",
    "Option",
    "Override",
    "Pain",
    "PainMechanism",
    "PainSite",
    "PatientFacts",
    "PriorTherapy",
    "SinsScore",
    "Statement",
    "Suitability",
    "Therapy",
    "Verdict",
    "Wall",
    "assess_suitability",
    "assess_walls",
    "centre_offset",
    "dermatomes_of",
    "distances_to_nerves",
    "empty_sheet",
    "facts_from_sheet",
    "find_fractures",
    "find_lesions",
    "hiatus_margin_mm",
    "lesion_from_click",
    "lesion_from_mask",
    "lesion_from_sphere",
    "marrow_along",
    "marrow_space",
    "marrow_space_at_level",
    "pain_mechanism",
    "sins",
    "skin_to_lesion",
    "treated_first",
]
