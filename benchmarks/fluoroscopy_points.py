"""Where voxels of straight, prone and oblique volumes project: ours against DiffDRR's detector. Writes a CSV.

Ours: grid (LPS), view from DICOM positioner angles, pixel. Theirs: the volume's RAS affine, a pose from DiffDRR's own
Euler angles about the isocentre (AP orientation, ZXY), the corners of the rays that its renderer traces. The two share
only the angles, the isocentre and the machine's distances. A voxel's pixel in DiffDRR is where its ray from the source
meets the plane of those corners. `pip install diffdrr torch` (about 1 GB, so no part of the development lock).

Run: python benchmarks/fluoroscopy_points.py
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import torch
from diffdrr.detector import Detector
from diffdrr.pose import convert

from sacroplasty.fluoroscopy import CArm, PatientPosition, View
from sacroplasty.space import Grid

ANGLES = {
    "AP, prone": (180, 0), "AP, supine": (0, 0), "left lateral": (90, 0), "right lateral": (-90, 0),
    "inlet": (180, -25), "outlet": (180, 45), "oblique": (150, 10), "LAO 30 / CRA 20": (30, 20),
}  # fmt: skip
# RAS, source in front, detector behind: what DiffDRR calls AP. Its first angle is ours less 180, its second runs the
# other way; both turn the source, about the isocentre.
REORIENT = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
ISOCENTRE_LPS_MM = (4.0, 60.0, -800.0)


def turned(axis: int, angle_deg: float) -> np.ndarray:
    """A rotation (3, 3) about one axis."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    rotation = np.eye(3)
    rotation[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return rotation


def grids() -> dict[str, Grid]:
    """Volumes about the isocentre: rows and slices as scanned supine, prone (both in-plane axes reversed), oblique."""
    found = {}
    for name, axes in (
        ("straight", np.eye(3)), ("prone", np.diag([-1.0, -1.0, 1.0])), ("oblique", turned(0, 25.0) @ turned(2, 12.0)),
    ):  # fmt: skip
        affine = np.eye(4)
        affine[:3, :3] = axes * np.array([0.8, 0.8, 3.0])
        affine[:3, 3] = np.array(ISOCENTRE_LPS_MM) - affine[:3, :3] @ np.array([100.0, 100.0, 25.0])
        found[name] = Grid.from_affine((201, 201, 51), affine)
    return found


def theirs(carm: CArm, primary_deg: float, secondary_deg: float, points_ras: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) as (u, v), whole numbers at pixel centres, of RAS points, by the rays DiffDRR traces."""
    detector = Detector(
        carm.source_detector_mm, carm.rows, carm.columns, carm.pixel_mm, carm.pixel_mm, 0.0, 0.0, REORIENT,
        reverse_x_axis=True,
    )  # fmt: skip
    angles = torch.tensor([[math.radians(primary_deg - 180), -math.radians(secondary_deg), 0.0]])
    back = torch.tensor([[0.0, carm.source_isocentre_mm, 0.0]])
    pose = convert(angles, back, parameterization="euler_angles", convention="ZXY")
    source, target = (part.numpy().astype(float).reshape(-1, 3) for part in detector(pose, None))
    centre = np.array(ISOCENTRE_LPS_MM) * np.array([-1, -1, 1])
    # Far corners: it works in single precision.
    corner, right, down = (target[n] + centre for n in (0, carm.columns - 1, carm.columns * (carm.rows - 1)))
    frame = np.column_stack([right - corner, down - corner, source[0] + centre - corner])
    offset = np.linalg.solve(frame, (points_ras - corner).T).T
    return offset[:, :2] / (1 - offset[:, 2:]) * np.array([carm.columns - 1, carm.rows - 1])


def main() -> None:
    """Print the table and write the CSV."""
    carm, rows = CArm.profile(), []
    for kind, grid in grids().items():
        voxels = np.random.default_rng(0).uniform(0, np.array(grid.shape) - 1, (400, 3))
        ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine_lps
        points_ras = voxels @ ras[:3, :3].T + ras[:3, 3]
        for name, (primary, secondary) in ANGLES.items():
            position = PatientPosition.HFS if "supine" in name else PatientPosition.HFP
            view = View(carm, primary, secondary, ISOCENTRE_LPS_MM, position)
            ours = view.detector_from_patient.points(grid.patient_from_voxel.points(voxels))
            error = np.linalg.norm(ours - theirs(carm, primary, secondary, points_ras), axis=1)
            rows.append([kind, name, len(voxels), f"{np.median(error):.4f}", f"{error.max():.4f}"])
            print(rows[-1], flush=True)
    with Path(__file__).with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["volume", "view", "points", "median_pixels", "largest_pixels"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
