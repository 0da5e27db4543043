"""The six approaches as objects: entry, order of crossings, keep-outs, whom they suit.

Angles are those of the insertion direction in the sacral frame: `medial` towards the midline from the sagittal plane,
`cephalad` towards the head from the sacral axial plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sacroplasty.approach import scene as names
from sacroplasty.approach.tissue import Tissue
from sacroplasty.plan import Approach, DenisZone, Level

Range = tuple[float, float]


@dataclass(frozen=True)
class Stage:
    """One member of the ordered crossing: tissues it may consist of, least and most way through it, mm.

    A stage whose least way is 0 may be missing.
    """

    name: str
    tissues: tuple[Tissue, ...]
    least_mm: float = 0.0
    most_mm: float = math.inf
    most_key: str = ""


@dataclass(frozen=True)
class Course:
    """Limits of the insertion direction, degrees, and the direction experts aim at."""

    medial_deg: Range
    cephalad_deg: Range
    ideal_medial_deg: float
    ideal_cephalad_deg: float


@dataclass(frozen=True)
class ApproachRule:
    """An approach: words for people, course, legal order of crossings, keep-outs with the evidence key of their margin.

    `lateral_mm` is how far from the midline the skin may be entered. `suits` maps a level and Denis zone to how well it
    suits (1 first choice, 2 second, 3 last); a pair that is missing is not reached by it. `views` are the radiographs
    the operator works with; `position` and `preparation` set the patient up. `merits` and `drawbacks` name what the
    literature says for and against it (`evidence/approach_counsel.toml`).
    """

    approach: Approach
    title: str
    skin_entry: str
    bone_entry: str
    lateral_mm: Range
    course: Course
    stages: tuple[Stage, ...]
    margins: Mapping[str, str]
    suits: Mapping[tuple[Level, DenisZone], int]
    views: tuple[str, ...]
    preparation: str
    position: str = "prone"
    midline: bool = False
    exclusions: tuple[str, ...] = field(default=())
    merits: tuple[str, ...] = field(default=())
    drawbacks: tuple[str, ...] = field(default=())

    @property
    def zones(self) -> frozenset[DenisZone]:
        """Zones in which the tip may come to rest."""
        return frozenset(zone for _, zone in self.suits)

    def grade(self, level: Level, zone: DenisZone) -> int | None:
        """How well the approach suits a lesion: 1 first choice to 3 last; None where it does not reach it."""
        return self.suits.get((level, zone))


_NEURAL, _VENTRAL = "assumptions.approach_neural_margin", "assumptions.approach_ventral_margin"
_BASE = {
    names.VENTRAL: _VENTRAL,
    names.TUNNELS: _NEURAL,
    names.ROOTS: _NEURAL,
    names.FORAMINA: _NEURAL,
    names.DISC: "assumptions.approach_disc_margin",
    names.VESSELS: "assumptions.approach_vessel_margin",
    names.BOWEL: "assumptions.approach_vessel_margin",
    names.METAL: "assumptions.approach_disc_margin",
}
_OFF_CANAL = {**_BASE, names.CANAL: _NEURAL, names.SAC: _NEURAL}
_DORSAL = {**_OFF_CANAL, names.JOINT: "assumptions.approach_joint_margin"}
_THROUGH_CANAL = {**_BASE, names.SAC: _NEURAL}

_SKIN = Stage("skin and soft tissue", (Tissue.SOFT,), 3.0)
_DORSAL_BONE = (_SKIN, Stage("sacrum", (Tissue.SACRUM,), 5.0))
_ACROSS_JOINT = (
    _SKIN,
    Stage("ilium", (Tissue.ILIUM,), 3.0),
    # Dorsal of the joint the interosseous ligament fills the gap; a needle that misses the joint there is legal, but
    # ranks lower. A fused joint may be missing.
    Stage("interosseous ligament", (Tissue.SOFT,), 0.0, 15.0),
    Stage("SI joint", (Tissue.SI_JOINT,), 0.0, 12.0),
    Stage("sacral ala, pedicle and body", (Tissue.SACRUM,), 5.0),
)
_THROUGH_HIATUS = (
    _SKIN,
    Stage("posterior canal wall", (Tissue.SACRUM, Tissue.COCCYX), 0.0, 5.0, "assumptions.approach_roof_max"),
    Stage("sacral canal", (Tissue.CANAL,), 2.0),
    Stage("sacral body", (Tissue.SACRUM,), 5.0),
)

_S1, _S2, _S3, _S4, _S5 = Level.S1, Level.S2, Level.S3, Level.S4, Level.S5
_ALA, _FORAMINA, _CENTRAL = DenisZone.ALA, DenisZone.FORAMINA, DenisZone.CENTRAL

# Which approach suits which place: derived from both source papers and the technique series (clinical evidence B1).
RULES: Mapping[Approach, ApproachRule] = {
    rule.approach: rule
    for rule in (
        ApproachRule(
            Approach.TRANS_SACROILIAC,
            "trans-sacroiliac joint",
            "posterolateral gluteal skin",
            "posterior ilium, outer table",
            (40.0, 250.0),
            # As far lateral as experts draw iliosacral corridors: these run almost transversely.
            Course((15.0, 85.0), (-35.0, 35.0), 45.0, 0.0),
            _ACROSS_JOINT,
            _OFF_CANAL,
            {(_S1, _CENTRAL): 1, (_S2, _CENTRAL): 2, (_S1, _ALA): 3, (_S2, _ALA): 3, (_S1, _FORAMINA): 2},
            ("AP with the S1 foramen", "lateral", "inlet", "outlet", "ipsilateral oblique"),
            "lumbosacral and gluteal region",
            exclusions=("S1 corridor absent (dysmorphic sacrum)", "infected gluteal skin"),
            merits=("lateral_reaches_body", "trans_sacroiliac_series", "leakage_alike"),
            drawbacks=("lateral_crosses_joint_and_foramina", "lateral_nerve_and_ilium", "lateral_hidden_landmarks"),
        ),
        ApproachRule(
            Approach.TRANSILIAC,
            "transiliac (lateral)",
            "lateral gluteal skin",
            "outer table of the ilium, in front of the canal on the lateral view, just below the S1 endplate",
            (60.0, 250.0),
            Course((65.0, 90.0), (-25.0, 25.0), 80.0, 0.0),
            _ACROSS_JOINT,
            _OFF_CANAL,
            {(_S1, _CENTRAL): 2, (_S2, _CENTRAL): 2, (_S1, _ALA): 3, (_S2, _ALA): 3, (_S1, _FORAMINA): 3},
            ("lateral", "AP with the S1 foramen", "inlet", "outlet"),
            "lateral gluteal region",
            exclusions=("S1 corridor absent (dysmorphic sacrum)", "infected gluteal skin"),
            merits=("lateral_reaches_body", "transiliac_axial_course", "leakage_alike"),
            drawbacks=("lateral_crosses_joint_and_foramina", "lateral_nerve_and_ilium", "lateral_hidden_landmarks"),
        ),
        ApproachRule(
            Approach.INTERPEDICULAR,
            "interpedicular through the sacral hiatus",
            "midline over the sacral hiatus",
            "ventral wall of the sacral canal, about one level below the target",
            (0.0, 15.0),
            Course((-12.0, 12.0), (15.0, 89.0), 0.0, 65.0),
            _THROUGH_HIATUS,
            _THROUGH_CANAL,
            {(_S1, _CENTRAL): 3, (_S2, _CENTRAL): 1, (_S3, _CENTRAL): 1, (_S4, _CENTRAL): 1, (_S5, _CENTRAL): 1},
            ("lateral", "AP", "outlet"),
            "sacrococcygeal region",
            midline=True,
            exclusions=(
                "hiatus absent, closed or shallower than the needle",
                "infected perineal skin",
                "thecal sac low",
            ),
            merits=("interpedicular_off_foramina", "interpedicular_ventral_wall", "interpedicular_visible"),
            drawbacks=("interpedicular_series",),
        ),
        ApproachRule(
            Approach.POSTERIOR_SHORT_AXIS,
            "posterior short axis",
            "dorsal skin between the S1 or S2 foramen and the SI joint",
            "dorsal cortex lateral of the posterior foramina",
            (12.0, 90.0),
            Course((-30.0, 20.0), (-40.0, 40.0), -12.0, 0.0),
            _DORSAL_BONE,
            _DORSAL,
            {(_S1, _ALA): 1, (_S2, _ALA): 1, (_S3, _ALA): 2},
            ("AP", "lateral", "outlet"),
            "lumbosacral region",
            exclusions=("infected skin over the sacrum",),
            merits=("posterior_made_for_ala", "leakage_alike"),
            drawbacks=("posterior_short_axis_breach",),
        ),
        ApproachRule(
            Approach.POSTERIOR_LONG_AXIS,
            "posterior long axis",
            "dorsal skin caudal and lateral, at or below S3",
            "dorsal cortex below the S3 posterior foramen, between the foramina and the SI joint",
            (8.0, 90.0),
            Course((-30.0, 30.0), (35.0, 85.0), 0.0, 60.0),
            _DORSAL_BONE,
            _DORSAL,
            {(_S1, _ALA): 2, (_S2, _ALA): 2, (_S3, _ALA): 1},
            ("lateral", "AP", "inlet"),
            "lumbosacral region",
            exclusions=("infected skin over the sacrum",),
            merits=("posterior_made_for_ala", "leakage_alike"),
            drawbacks=("posterior_long_axis_series",),
        ),
        ApproachRule(
            Approach.ANTERIOR_OBLIQUE,
            "anterior-oblique",
            "dorsal skin lateral of the lumbosacral junction",
            "dorsal S1 pedicle and ala, lateral and cranial of the S1 posterior foramen",
            (25.0, 130.0),
            Course((10.0, 55.0), (-45.0, 35.0), 30.0, -10.0),
            _DORSAL_BONE,
            _DORSAL,
            {(_S1, _CENTRAL): 3, (_S2, _CENTRAL): 3, (_S1, _ALA): 3, (_S1, _FORAMINA): 3},
            ("AP with the S1 foramen", "lateral", "ipsilateral oblique", "outlet"),
            "lumbosacral region",
            exclusions=("infected skin over the sacrum",),
            merits=("anterior_oblique_reaches_body", "leakage_alike"),
            drawbacks=("anterior_oblique_low_body", "anterior_oblique_roots"),
        ),
    )
}
