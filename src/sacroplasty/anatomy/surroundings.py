"""Coordinates around a fitted pelvis that tell bones apart: distances, discs, femoral heads, the coccyx's place."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy.lumbar import Disc
from sacroplasty.anatomy.shape_model import CAUDAL, HIP_LEFT, HIP_RIGHT, SACRUM, PelvisModel
from sacroplasty.space import Grid, Points

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Behind the bodies the border between two vertebrae lies lower than the disc: their processes hang down.
PROCESS_DROP_MM = 9.0
# The L4/L5 disc above the L5/S1 disc where the scan does not show it.
L5_HEIGHT_MM = 34.0


def _outside_mm(mask: Bools, spacing_mm: float) -> Floats:
    """Distance (mm) to the border of a mask, negative inside; 99 everywhere where it is empty."""
    if not mask.any():
        return np.full(mask.shape, 99.0, np.float32)
    outside = edt.edt(~mask, parallel=2) - edt.edt(mask, parallel=2)
    return np.asarray((outside - 0.5 * np.sign(outside)) * spacing_mm, dtype=np.float32)


def endplate_plane(model: PelvisModel, vertices_mm: Points) -> tuple[Points, Points]:
    """Centre (3,) and upward unit normal (3,) of the fitted S1 endplate."""
    plate = vertices_mm[model.endplate]
    centre = plate.mean(axis=0)
    normal = np.linalg.svd(plate - centre, full_matrices=False)[2][2]
    return centre, np.asarray(normal * (1.0 if normal[2] > 0 else -1.0))


def femoral_head(socket_mm: Points) -> tuple[Points, float]:
    """Centre (3,) and radius (mm) of the sphere through the acetabulum's vertices (n, 3)."""
    matrix = np.c_[2 * socket_mm, np.ones(len(socket_mm))]
    solution = np.linalg.lstsq(matrix, (socket_mm**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    radius = float(np.sqrt(max(solution[3] + centre @ centre, 1.0)))
    return np.asarray(centre), float(np.clip(radius, 20, 30))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Fields (i, j, k) on a grid, mm.

    sacrum, hip_left, hip_right: signed distance to the fitted bone. above_disc: height above the middle of L5/S1
    (behind the bodies above the sacrum's posterior rim); above_l5: height above the middle of L4/L5.
    disc_gap: distance to the nearer disc's middle plane; beside_spine, behind_spine: distance to the axis of the L5
    body, and how far behind it.
    femur: distance to the femoral heads' spheres; below_sacrum: where the coccyx may be.
    """

    sacrum: Floats
    hip_left: Floats
    hip_right: Floats
    above_disc: Floats
    above_l5: Floats
    disc_gap: Floats
    beside_spine: Floats
    behind_spine: Floats
    femur: Floats
    below_sacrum: Bools

    @property
    def hips(self) -> Floats:
        """Distance to the nearer hip bone."""
        return np.minimum(self.hip_left, self.hip_right)

    @property
    def nearest(self) -> Floats:
        """Distance to the nearest fitted bone."""
        return np.minimum(self.hips, self.sacrum)


def surroundings(
    model: PelvisModel, vertices_mm: Points, discs: tuple[Disc | None, Disc | None], grid: Grid
) -> Surroundings:
    """All fields around a fitted pelvis; discs (L5/S1, L4/L5) that were not found take their usual place."""
    spacing = grid.spacing_mm[0]
    sacrum_mm, left, right, caudal = (
        _outside_mm(model.part_mask(vertices_mm, part, grid), spacing) for part in (SACRUM, HIP_LEFT, HIP_RIGHT, CAUDAL)
    )
    centres = grid.centres_mm().astype(np.float32)
    plate, up = endplate_plane(model, vertices_mm)
    lower = discs[0] or Disc(plate + 5.0 * up, up, 0.0)
    spine_up = lower.normal + np.array([0.0, 0.0, 1.0])
    spine_up /= np.linalg.norm(spine_up)
    upper = discs[1] or Disc(lower.centre_mm + L5_HEIGHT_MM * spine_up, spine_up, 0.0)
    height, _ = _along_and_beside(centres, lower.centre_mm, lower.normal)
    behind = centres[..., 1] > plate[1] + 14
    above_disc = np.maximum(height, np.where(behind, centres[..., 2] - np.float32(plate[2]) - 8, -99.0))
    height_l5, _ = _along_and_beside(centres, upper.centre_mm, upper.normal)
    _, beside = _along_and_beside(centres, 0.5 * (lower.centre_mm + upper.centre_mm), spine_up)
    behind_spine = _behind_axis(centres, lower, upper)
    drop = PROCESS_DROP_MM * np.clip((behind_spine - 16) / 6, 0, 1)
    femur = np.full(grid.shape, 99.0, np.float32)
    for socket in model.acetabula:
        centre, radius = femoral_head(vertices_mm[socket])
        femur = np.minimum(femur, np.linalg.norm(centres - centre.astype(np.float32), axis=-1) - radius)
    sacrum = vertices_mm[model.part == SACRUM]
    below = (centres[..., 2] < sacrum[:, 2].min() + 10) & (np.minimum(left, right) > 4)
    below &= (centres[..., 1] > sacrum[:, 1].mean()) & (np.abs(centres[..., 0] - sacrum[:, 0].mean()) < 55)
    return Surroundings(
        np.minimum(sacrum_mm, caudal), left, right, above_disc.astype(np.float32),
        (height_l5 + drop).astype(np.float32), np.minimum(np.abs(height), np.abs(height_l5)), beside, behind_spine,
        femur.astype(np.float32), below,
    )  # fmt: skip


def _along_and_beside(centres: Floats, origin: Points, axis: Points) -> tuple[Floats, Floats]:
    away = centres - origin.astype(np.float32)
    along = away @ axis.astype(np.float32)
    beside = np.sqrt(np.maximum((away**2).sum(axis=-1) - along**2, 0))
    return along.astype(np.float32), beside.astype(np.float32)


def _behind_axis(centres: Floats, lower: Disc, upper: Disc) -> Floats:
    """Distance posterior of the line through both discs' centres, in the sagittal plane."""
    axis = upper.centre_mm - lower.centre_mm
    slope = axis[1] / max(axis[2], 1.0)
    return np.asarray(centres[..., 1] - lower.centre_mm[1] - slope * (centres[..., 2] - lower.centre_mm[2]))
