"""The fine grid of an anatomy: isotropic, along the patient's axes, around the sacrum, out to the skin behind."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy.body import CoarseBody
from sacroplasty.space import Grid, Points

FINEST_MM, COARSEST_MM = 0.8, 1.0
# Beside: the iliac wings and the lateral skin; in front: vessels and bowel; above: L5; below: the coccyx.
MARGIN_BESIDE_MM, MARGIN_FRONT_MM, MARGIN_ABOVE_MM, MARGIN_BELOW_MM = 100.0, 60.0, 45.0, 40.0
# Behind is as much as the thickest patient needs; air beyond the skin is cut off but for this.
MARGIN_BEHIND_MM, AIR_MM = 200.0, 6.0


def working_grid(ct: Grid, sacrum_mm: Points, body: CoarseBody) -> Grid:
    """The grid around the sacrum's points (n, 3), within the scan; spacing is the CT's finest within 0.8 to 1 mm."""
    spacing = float(np.clip(min(ct.spacing_mm), FINEST_MM, COARSEST_MM))
    low = sacrum_mm.min(axis=0) - [MARGIN_BESIDE_MM, MARGIN_FRONT_MM, MARGIN_BELOW_MM]
    high = sacrum_mm.max(axis=0) + np.array([MARGIN_BESIDE_MM, MARGIN_BEHIND_MM, MARGIN_ABOVE_MM])
    inside = body.ct.grid.patient_from_voxel.points(np.argwhere(body.inside))
    near = inside[((inside >= low) & (inside <= high)).all(axis=1)]
    scan_low, scan_high = ct.bounds_mm
    low = np.maximum(np.maximum(low, scan_low), near.min(axis=0) - AIR_MM)
    high = np.minimum(np.minimum(high, scan_high), near.max(axis=0) + AIR_MM)
    return Grid.aligned(low, high, spacing, ct.frame_of_reference_uid)
