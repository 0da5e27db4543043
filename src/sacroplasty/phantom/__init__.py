"""A digital lumbosacral pelvis with exact truth, lesions to insert anywhere, and the patients of the two papers.

Every structure is an implicit function in mm; grids, orientations and slice profiles only sample it.
"""

from sacroplasty.phantom.cases import NamedCase, named_case
from sacroplasty.phantom.lesion import FracturePlane, LesionShape, insert_lesion
from sacroplasty.phantom.phantom import FIELD_OF_VIEW, Phantom, build_phantom
from sacroplasty.phantom.shape import Metal, PhantomShape, Variant

__all__ = [
    "FIELD_OF_VIEW",
    "FracturePlane",
    "LesionShape",
    "Metal",
    "NamedCase",
    "Phantom",
    "PhantomShape",
    "Variant",
    "build_phantom",
    "insert_lesion",
    "named_case",
]
