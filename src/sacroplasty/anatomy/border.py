"""Does the border of a found bone lie on borders of the CT? What a wrong label looks like from the inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sacroplasty.anatomy.joints import VALUE
from sacroplasty.anatomy.morphology import within
from sacroplasty.anatomy.shape_fit import edge_offsets
from sacroplasty.anatomy.signed_distance import signed_distance
from sacroplasty.space import LabelMap, Volume

# Places on the surface that are looked at, how far the nearest edge is looked for, and how near and strong it must be.
PLACES, REACH_MM, NEAR_MM, LEAST_EDGE = 6000, 3.0, 1.2, 0.2
MARGIN = 8
# Share of the surface on an edge: a phantom's true label has 0.997 at 1.5 mm slices and 0.87 at 5 mm, one shifted by
# 2.4 mm 0.7, one 1.6 mm too thin 0.2; a real scan of 3 mm, which is not all well found, 0.79.
UNSURE_SHARE, SURE_SHARE = 0.60, 0.95
# Offset: true labels +0.4 to +0.6, 1 mm too thick -0.2 to 0, 1.6 mm too thick -0.5.
THICK_MM, SURE_MM = -0.6, -0.1


@dataclass(frozen=True)
class BorderSigns:
    """share_on_edge: share of a label's free surface with an edge of the CT within 1.2 mm; offset_mm: mean distance of
    those edges that lie within 3 mm, positive where the label ends too early.
    """

    share_on_edge: float
    offset_mm: float

    @property
    def agreement(self) -> float:
        """How far (0..1) the border can be believed."""
        shares = (self.share_on_edge - UNSURE_SHARE) / (SURE_SHARE - UNSURE_SHARE)
        offsets = (self.offset_mm - THICK_MM) / (SURE_MM - THICK_MM)
        return float(np.clip(min(shares, offsets), 0.0, 1.0))


def sacral_border(ct: Volume, labels: LabelMap, muscle_hu: float) -> BorderSigns:
    """How well the surface of the labels sacrum and coccyx follows the CT (HU) on the same grid.

    The surface along the joints is left out: the cleft of a thick slice shows no edge to follow.
    """
    mask = np.isin(labels.array, (VALUE["sacrum"], VALUE["coccyx"]))
    if not mask.any():
        return BorderSigns(0.0, 0.0)
    tight = ndimage.find_objects(mask.astype(np.uint8))[0]
    i, j, k = (slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in tight)
    box = i, j, k
    part, near = mask[box], ct.cropped(box)
    signed = ndimage.gaussian_filter(signed_distance(part, ct.grid.spacing_mm), 1.0)
    other = (labels.array[box] > 0) & ~part
    voxels = np.argwhere(part & within(~part, 1.0) & ~within(other, 2.0))
    voxels = voxels[:: max(len(voxels) // PLACES, 1)]
    at = tuple(voxels.T)
    normals = -np.stack([np.gradient(signed, axis=axis)[at] for axis in range(3)], axis=1).astype(np.float64)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    points = near.grid.patient_from_voxel.points(voxels) + signed[at][:, None] * normals
    offset, edge, seen = edge_offsets(near, points, normals, REACH_MM, np.ones(len(points)), muscle_hu)
    if not seen.any():
        return BorderSigns(0.0, 0.0)
    found = seen & (edge > LEAST_EDGE)
    share = float((found & (np.abs(offset) <= NEAR_MM))[seen].mean())
    return BorderSigns(share, float(offset[found].mean()) if found.any() else 0.0)
