"""From a CT to the anatomy of its sacrum: bones and body first, then everything inside the sacrum."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy.bones import Progress, segment_bones
from sacroplasty.anatomy.confidence import with_symmetry
from sacroplasty.anatomy.fine import fine_anatomy
from sacroplasty.anatomy.structures import Anatomy
from sacroplasty.space import LabelMap, Volume

# Share of the work that finding the bones takes.
BONES_SHARE = 0.7


def segment(ct: Volume, labels: LabelMap | None = None, *, progress: Progress | None = None) -> Anatomy:
    """The anatomy of a CT in HU: bones, clefts and body, and the inside of the sacrum, on one fine grid.

    `labels` may name bones, vessels and bowel as TotalSegmentator 1 or 2, 3D Slicer or this package does; they are kept
    and completed. Without, all bones are found in the CT. `progress` hears (fraction, message). AnatomyError where no
    pelvis is seen, where given labels contradict themselves, or where the sacrum shows no canal.
    """
    tell = progress or (lambda fraction, message: None)
    bones = segment_bones(ct, labels, progress=lambda f, message: tell(BONES_SHARE * f, message))
    anatomy = fine_anatomy(
        ct,
        bones.labels,
        bones.body,
        source=bones.source,
        progress=lambda f, message: tell(BONES_SHARE + (1 - BONES_SHARE) * f, message),
    )
    maps = dict(anatomy.maps)
    if not bones.scanned.array.all():
        maps["scanned"] = Volume(bones.scanned.array.astype(np.int16), bones.scanned.grid, "1")
    return anatomy.with_(
        confidences={
            **anatomy.confidences,
            **with_symmetry(bones.confidences, anatomy.frame.symmetry_residual_mm),
        },
        findings=bones.findings + anatomy.findings,
        maps=maps,
    )
