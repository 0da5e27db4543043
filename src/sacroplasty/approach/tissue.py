"""What each voxel is to a needle: bone, joint, canal, root tunnel, pelvic side, dorsal soft tissue."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion

# A voxel between bones (interosseous ligament, joint recess) has bone this near in front of it; the pelvis has not:
# the pubis lies twice as far from the sacrum.
_BETWEEN_BONES_MM = 45.0


class Tissue(IntEnum):
    """The kinds of tissue that approaches speak of."""

    OUTSIDE = 0
    SOFT = 1
    SACRUM = 2
    ILIUM = 3
    SI_JOINT = 4
    CANAL = 5
    TUNNEL = 6
    PELVIC = 7
    SPINE = 8
    DISC = 9
    COCCYX = 10
    VESSEL = 11
    BOWEL = 12
    METAL = 13
    FEMUR = 14

    @property
    def words(self) -> str:
        """The tissue's name for people."""
        return _WORDS[self]


_WORDS = {
    Tissue.OUTSIDE: "air",
    Tissue.SOFT: "soft tissue",
    Tissue.SACRUM: "sacrum",
    Tissue.ILIUM: "ilium",
    Tissue.SI_JOINT: "SI joint",
    Tissue.CANAL: "sacral canal",
    Tissue.TUNNEL: "root tunnel",
    Tissue.PELVIC: "pelvic side",
    Tissue.SPINE: "lumbar spine",
    Tissue.DISC: "L5-S1 disc",
    Tissue.COCCYX: "coccyx",
    Tissue.VESSEL: "vessel",
    Tissue.BOWEL: "bowel or bladder",
    Tissue.METAL: "metal",
    Tissue.FEMUR: "femur",
}

_TISSUE_OF_LABEL = {
    "sacrum": Tissue.SACRUM, "coccyx": Tissue.COCCYX, "l5": Tissue.SPINE, "l4": Tissue.SPINE,
    "hip_left": Tissue.ILIUM, "hip_right": Tissue.ILIUM, "femur_left": Tissue.FEMUR, "femur_right": Tissue.FEMUR,
    "canal": Tissue.CANAL, "root_tunnel": Tissue.TUNNEL, "si_joint_left": Tissue.SI_JOINT,
    "si_joint_right": Tissue.SI_JOINT, "disc_l5_s1": Tissue.DISC, "iliac_artery_left": Tissue.VESSEL,
    "iliac_artery_right": Tissue.VESSEL, "iliac_vein_left": Tissue.VESSEL, "iliac_vein_right": Tissue.VESSEL,
    "colon": Tissue.BOWEL, "bladder": Tissue.BOWEL, "aorta": Tissue.VESSEL, "vena_cava": Tissue.VESSEL,
    "metal": Tissue.METAL,
}  # fmt: skip

_BONES = (Tissue.SACRUM, Tissue.ILIUM, Tissue.SPINE, Tissue.COCCYX, Tissue.SI_JOINT, Tissue.CANAL, Tissue.DISC)


def tissue_map(anatomy: Anatomy, lesion: Lesion) -> npt.NDArray[np.uint8]:
    """Tissue of every voxel (i, j, k) of the anatomy's grid; j must run towards the patient's back.

    Root tunnels begin at the canal's lateral walls: what is labelled a tunnel between them is canal. Unlabelled voxels
    of the body are PELVIC where bone lies behind and none close in front, else SOFT. Lesion voxels that lost their
    label but lie dorsal of the ventral curve count as sacrum: destroyed bone is still the target.
    """
    labels = anatomy.labels
    table = np.zeros(int(max([*labels.names, int(labels.array.max())])) + 1, dtype=np.uint8)
    for label, name in labels.names.items():
        table[label] = _TISSUE_OF_LABEL.get(name, Tissue.SOFT)
    tissue = table[labels.array]
    tunnels = np.argwhere(tissue == Tissue.TUNNEL)
    aside = np.abs(anatomy.frame.coordinates(labels.grid.patient_from_voxel.points(tunnels))[:, 1])
    tissue[tuple(tunnels[aside < canal_half_width_mm(anatomy)].T)] = Tissue.CANAL
    empty = (tissue == Tissue.OUTSIDE) & anatomy.body.array
    eaten = np.argwhere(empty & lesion.mask.array)
    if len(eaten):
        depth = anatomy.frame.coordinates(labels.grid.patient_from_voxel.points(eaten))[:, 2]
        inside = eaten[depth > 0]
        tissue[tuple(inside.T)] = Tissue.SACRUM
        empty[tuple(inside.T)] = False
    tissue[empty] = Tissue.SOFT
    tissue[empty & _pelvic_side(tissue, labels.grid.spacing_mm[1])] = Tissue.PELVIC
    return tissue


def canal_half_width_mm(anatomy: Anatomy) -> float:
    """How far from the midline the low canal's walls stand at least: half the width between the cornua.

    In thick slices the low canal is labelled in patches, so that its label does not show its walls.
    """
    width = anatomy.hiatus.width_mm if anatomy.hiatus is not None else np.nan
    return min(width if np.isfinite(width) else np.inf, value("anatomy.hiatus_width")) / 2


def _pelvic_side(tissue: npt.NDArray[np.uint8], spacing_mm: float) -> npt.NDArray[np.bool_]:
    """Voxels with bone somewhere behind them (+j) and none within `_BETWEEN_BONES_MM` in front of them."""
    bone = np.isin(tissue, _BONES)
    behind = np.logical_or.accumulate(bone[:, ::-1], axis=1)[:, ::-1]
    place = np.arange(bone.shape[1], dtype=np.int16)[None, :, None]
    far = np.int16(-10_000)
    last = np.maximum.accumulate(np.where(bone, place, far), axis=1)
    return np.asarray(behind & ((place - last) * spacing_mm > _BETWEEN_BONES_MM))
