"""The sacrum as the operator must see it: bones, levels, canal, hiatus, foramina, roots, joints, skin.

`Anatomy` is the value every later room reads; each structure in it carries how it is known and how surely.
"""

from sacroplasty.anatomy.bones import BoneSegmentation, segment_bones
from sacroplasty.anatomy.fine import fine_anatomy
from sacroplasty.anatomy.fusion import with_mr
from sacroplasty.anatomy.hiatus import with_thecal_sac_end
from sacroplasty.anatomy.magnetic_resonance import MRRegistration, register_mr
from sacroplasty.anatomy.segment import segment
from sacroplasty.anatomy.structures import (
    STRUCTURES,
    Anatomy,
    Canal,
    Face,
    Foramen,
    Hiatus,
    Landmark,
    PedicleCorridor,
    RootCourse,
    SacralFrame,
    SacralLevel,
    ThecalSac,
)
from sacroplasty.anatomy.zones import zone_at

__all__ = [
    "STRUCTURES",
    "Anatomy",
    "BoneSegmentation",
    "Canal",
    "Face",
    "Foramen",
    "Hiatus",
    "Landmark",
    "MRRegistration",
    "PedicleCorridor",
    "RootCourse",
    "SacralFrame",
    "SacralLevel",
    "ThecalSac",
    "fine_anatomy",
    "register_mr",
    "segment",
    "segment_bones",
    "with_mr",
    "with_thecal_sac_end",
    "zone_at",
]
