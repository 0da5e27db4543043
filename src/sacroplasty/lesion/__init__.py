"""The lesion: extent, kind, cortical integrity, zones, and what that means for suitability."""

from sacroplasty.lesion.lesion import Integrity, Lesion, LesionKind, Wall

__all__ = ["Integrity", "Lesion", "LesionKind", "Wall"]
