"""The sacrum as the operator must see it: bones, levels, canal, hiatus, foramina, roots, joints, skin.

`Anatomy` is the value every later room reads; each structure in it carries how it is known and how surely.
"""

from sacroplasty.anatomy.structures import (
    STRUCTURES,
    Anatomy,
    Canal,
    Face,
    Foramen,
    Hiatus,
    Landmark,
    RootCourse,
    SacralFrame,
    SacralLevel,
    ThecalSac,
)

__all__ = [
    "STRUCTURES",
    "Anatomy",
    "Canal",
    "Face",
    "Foramen",
    "Hiatus",
    "Landmark",
    "RootCourse",
    "SacralFrame",
    "SacralLevel",
    "ThecalSac",
]
