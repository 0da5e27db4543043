"""Named places on the bones that an operator can feel, see on a radiograph or aim at."""

from __future__ import annotations

import numpy as np

from sacroplasty.anatomy.structures import Hiatus, Landmark, SacralFrame
from sacroplasty.plan import Side, State, as_point
from sacroplasty.space import LabelMap, Points

# A landmark nearer than this to the end of the scan may be the cut and not the bone's end.
BORDER_MM = 3.0
# The posterior iliac spine lies near the midline at the height of the sacrum; the spinous process in the midline.
PSIS_LATERAL_MM = 75.0
SPINOUS_LATERAL_MM = 12.0
# The extreme voxels are averaged: one voxel of noise is no landmark.
EXTREME_COUNT = 20


def find_landmarks(labels: LabelMap, frame: SacralFrame, hiatus: Hiatus | None, voxel_mm: float) -> dict[str, Landmark]:
    """Promontory, iliac spines, hiatus apex, coccyx tip and spinous process of L5, as far as the scan shows them."""
    found = {
        "promontory": Landmark("promontory", frame.origin_mm, State.MEASURED, max(1.5, voxel_mm / 2), frame.confidence)
    }
    for side in (Side.LEFT, Side.RIGHT):
        hip = _points(labels, f"hip_{side}", frame)
        if len(hip):
            near = hip[np.abs(hip[:, 0]) < PSIS_LATERAL_MM]
            found |= _extreme(labels, frame, f"psis_{side}", near, axis=1, sign=1.0)
            # The anterior superior spine is the foremost point of the ilium above the acetabulum.
            upper = hip[hip[:, 2] > np.percentile(hip[:, 2], 55)]
            if np.ptp(hip[:, 2]) > 150:
                found |= _extreme(labels, frame, f"asis_{side}", upper, axis=1, sign=-1.0)
    coccyx = _points(labels, "coccyx", frame)
    found |= _extreme(labels, frame, "coccyx_tip", coccyx, axis=2, sign=-1.0)
    lumbar = _points(labels, "l5", frame)
    midline = lumbar[np.abs(lumbar[:, 0]) < SPINOUS_LATERAL_MM] if len(lumbar) else lumbar
    found |= _extreme(labels, frame, "l5_spinous_process", midline, axis=1, sign=1.0)
    if hiatus is not None and hiatus.state.known:
        found["hiatus_apex"] = Landmark("hiatus_apex", hiatus.apex_mm, hiatus.state, hiatus.uncertainty_mm, 0.8)
    return found


def _points(labels: LabelMap, name: str, frame: SacralFrame) -> Points:
    """Voxels of a structure along the frame's axes (left, dorsal, cranial); empty where it is absent."""
    if not labels.has(name):
        return np.zeros((0, 3))
    return np.asarray((labels.mask(name).points_mm() - np.asarray(frame.origin_mm)) @ frame.axes.T)


def _extreme(
    labels: LabelMap, frame: SacralFrame, name: str, points: Points, axis: int, sign: float
) -> dict[str, Landmark]:
    """The farthest point of a structure along one axis of the frame; nothing where the scan cuts it off."""
    if len(points) < EXTREME_COUNT:
        return {}
    farthest = points[np.argsort(-sign * points[:, axis], kind="stable")[:EXTREME_COUNT]]
    # Neighbours of the very extreme only: another spur as far away must not be averaged in.
    farthest = farthest[np.linalg.norm(farthest - farthest[0], axis=1) < 8]
    position = np.asarray(frame.origin_mm) + farthest.mean(axis=0) @ frame.axes
    spacing = labels.grid.spacing_mm[0]
    if not labels.grid.contains(position, margin_mm=BORDER_MM):
        return {name: Landmark(name, as_point(position), State.OUTSIDE, 10.0, 0.0)}
    return {name: Landmark(name, as_point(position), State.MEASURED, max(1.5, spacing), 0.9)}
