"""The three patients of the source papers as phantoms: simulated images, facts as printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from sacroplasty.anatomy import Anatomy, Face
from sacroplasty.errors import InputError
from sacroplasty.lesion import LesionKind
from sacroplasty.phantom.lesion import LesionShape, insert_lesion
from sacroplasty.phantom.phantom import Phantom, build_phantom
from sacroplasty.phantom.shape import PhantomShape
from sacroplasty.plan import Approach, Level, Needle, Point, Side
from sacroplasty.space import Mask, Volume

ZHANG = "Zhang et al., Korean J Radiol 2008;9:572-576"
YEO = "Yeo et al., Kosin Med J 2024"


@dataclass(frozen=True, eq=False)
class NamedCase:
    """One patient of a paper: simulated CT, true anatomy, lesion, and what the paper says was done.

    `volume_ml` is None where the paper does not give it. `facts` holds plain values as printed; the images are
    simulated and show the described kind of lesion, not the patient.
    """

    name: str
    source: str
    ct: Volume
    anatomy: Anatomy
    lesion_shape: LesionShape
    lesion_mask: Mask
    approach: Approach
    needle: Needle
    volume_ml: float | None
    facts: Mapping[str, object]
    phantom: Phantom

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))


_COMMON_ZHANG: Mapping[str, object] = {
    "lesion_level": "S1", "needle_gauge": 13, "needle_type": "bevel-edge", "needle_manufacturer": "OptiMED",
    "guidance": "fluoroscopy only", "anaesthesia": "local", "position": "prone", "approach": "trans-sacroiliac",
    "antibiotic": "cefuroxime 2 g IV 30 min before, continued 3 days",
    "cement_brand": "Simplex P", "cement_manufacturer": "Stryker Howmedica Osteonics",
}  # fmt: skip

FACTS: Mapping[str, Mapping[str, object]] = {
    "zhang-1": {
        **_COMMON_ZHANG, "age_years": 62, "sex": "M", "primary_tumour": "lymphoma", "lesion_kind": "mixed",
        "cement_volume_ml": 6.0, "leakage": "none seen on fluoroscopy", "earlier_vertebroplasty": "T12, L1, L2, L3",
        "neurological_deficit": False, "pain_outcome": "significant relief the next day", "discharge_day": 3,
        "ambulation_after": "without assistance", "mallet": True,
    },
    "zhang-2": {
        "lesion_level": "S1", "needle_gauge": 13, "guidance": "fluoroscopy only", "approach": "trans-sacroiliac",
        "technique": "as in case 1", "age_years": 38, "sex": "F", "primary_tumour": "lung cancer",
        "lesion_kind": "lytic", "cement_volume_ml": None, "destroyed_cortex": True, "destroyed_foramen_wall": "S1",
        "judged_suitable": False, "treated_at_insistence_of": "patient and family", "histology": "biopsy",
        "leakage": "needle track", "leakage_into_foramina": "not assessable, no CT after the procedure",
        "pain_outcome": "considerable relief, little pain at 20 weeks", "root_compression": False,
    },
    "yeo": {
        "age_years": 74, "sex": "F", "primary_tumour": "rectal cancer", "spread": "direct invasion",
        "lesion_level": "S3", "approach": "interpedicular", "canal_entry_level": "S4", "needle_gauge": 13,
        "needle_type": "bevel-edge", "needle_manufacturer": "Manan", "guidance": "fluoroscopy only",
        "cement_brand": "Exolent Spine", "cement_manufacturer": "Elmdown", "cement_volume_ml": 2.0,
        "antibiotic": "cefazolin 1 g IV 30 min before", "anaesthesia": "2 mL of 1 % lidocaine at the sacral hiatus",
        "venogram": True, "leakage": "minimal presacral, peritumoural vascular", "position": "prone",
        "nrs_before": 10, "nrs_after_caudal_block": 6, "nrs_after_sacroplasty": 2, "relief_maintained_months": 4,
    },
}  # fmt: skip


# As a CT of the sacrum is reconstructed: cut at the flanks, the skin of the back whole.
_FIELD_OF_VIEW = ((-110.0, -65.0, -140.0), (110.0, 150.0, 60.0))


def named_case(
    name: str, *, spacing_mm: float | tuple[float, float, float] = (0.8, 0.8, 1.0), truth_spacing_mm: float = 1.0
) -> NamedCase:
    """A case of the papers, `zhang-1`, `zhang-2` or `yeo`; anything else raises InputError. Simulated images."""
    if name not in FACTS:
        raise InputError("There is no such named case", got=name, remedy=f"Use one of {', '.join(FACTS)}")
    facts = FACTS[name]
    shape = PhantomShape.norm()
    if name == "yeo":
        shape = shape.osteoporotic(0.7)
    seed = list(FACTS).index(name) + 1
    phantom = build_phantom(
        shape, spacing_mm=spacing_mm, truth_spacing_mm=truth_spacing_mm, field_of_view_mm=_FIELD_OF_VIEW,
        prone=True, seed=seed,
    )  # fmt: skip
    lesion = {"zhang-1": _mixed_s1, "zhang-2": _lytic_s1, "yeo": _rectal_s3}[name](phantom)
    ct, mask = insert_lesion(phantom.ct, phantom.anatomy, lesion)
    volume = facts["cement_volume_ml"]
    return NamedCase(
        name=name, source=YEO if name == "yeo" else ZHANG, ct=ct, anatomy=phantom.anatomy, lesion_shape=lesion,
        lesion_mask=mask, approach=Approach(str(facts["approach"])), needle=Needle.gauge(13),
        volume_ml=volume if isinstance(volume, float) else None, facts=facts, phantom=phantom,
    )  # fmt: skip


def _at(phantom: Phantom, arc: float, x: float, depth: float) -> Point:
    """LPS mm of sacral coordinates."""
    frame = phantom.anatomy.frame
    base = np.array([np.interp(arc, frame.arc_mm, frame.ventral_curve_mm[:, axis]) for axis in range(3)])
    dorsal = np.cross(np.asarray(frame.left), frame.tangent_at(arc))
    dorsal *= np.sign(dorsal @ np.asarray(frame.dorsal))
    a, b, c = (float(v) for v in base + x * np.asarray(frame.left) + depth * dorsal)
    return a, b, c


def _mixed_s1(phantom: Phantom) -> LesionShape:
    """A mixed lesion in the S1 body, its walls intact."""
    level = phantom.anatomy.require_level(Level.S1)
    arc = (level.upper_arc_mm + level.lower_arc_mm) / 2
    return LesionShape(LesionKind.MIXED, _at(phantom, arc, -4.0, 16.0), (14.0, 11.0, 11.0), seed=1)


def _lytic_s1(phantom: Phantom) -> LesionShape:
    """A lytic lesion of the right S1 that took the ventral cortex and the wall of the S1 foramen."""
    foramen = phantom.anatomy.foramen(Level.S1, Side.RIGHT, Face.ANTERIOR)
    assert foramen is not None  # the phantom always has it
    centre = _at(phantom, 23.0, -16.0, 12.0)
    return LesionShape(
        LesionKind.LYTIC, centre, (15.0, 14.0, 13.0), seed=2, irregularity=0.2,
        destroyed_walls=("ventral", foramen.name),
    )  # fmt: skip


def _rectal_s3(phantom: Phantom) -> LesionShape:
    """A rectal tumour that grows from in front through the ventral cortex into the S3 body."""
    level = phantom.anatomy.require_level(Level.S3)
    arc = (level.upper_arc_mm + level.lower_arc_mm) / 2
    return LesionShape(
        LesionKind.LYTIC, _at(phantom, arc, 0.0, 2.0), (12.0, 9.5, 9.0), seed=3,
        destroyed_walls=("ventral",), soft_tissue=True,
    )  # fmt: skip
