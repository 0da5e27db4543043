"""2D/3D registration and needle tip from AP and lateral, on shots simulated from a real CT.

Shots: the full CT at 1.2 mm through `render`: polychromatic beam, scatter, quantum noise, a 13 G needle. Moving
image: the CT within 110 mm of the sacrum, HU above water, 2.3 to 4.6 mm voxels. Starts are uniform within the stated
range per axis. `scale` makes the nominal source-detector distance 5 % wrong and registers without calibration; its
target error is then not comparable (distance trades with magnification), the tip's is.

Run: python benchmarks/fluoroscopy_registration.py [starts per condition]; writes the CSV of the same name.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fluoroscopy.scene import real_ct

from sacroplasty.fluoroscopy import (
    Beam,
    CArm,
    Exposure,
    Radiograph,
    Tissues,
    View,
    bone_volume,
    detected,
    register,
    render,
    triangulated,
)
from sacroplasty.fluoroscopy.registration import rigid
from sacroplasty.plan import Needle, NeedlePlan, Trajectory

CONDITIONS = {
    "clean": {"deg": 10.0, "mm": 20.0, "hard": False, "scale": 1.0},
    "hard": {"deg": 10.0, "mm": 20.0, "hard": True, "scale": 1.0},
    "hard, scale": {"deg": 5.0, "mm": 10.0, "hard": True, "scale": 0.95},
}


def one(ct_tissues, bone, centre, condition, seed):
    """One start: the row of figures."""
    rng = np.random.default_rng(seed)
    arm = CArm.profile()
    nominal_arm = CArm(**{**arm.__dict__, "source_detector_mm": arm.source_detector_mm * condition["scale"]})
    truth = rigid(np.r_[rng.uniform(-1, 1, 3) * condition["deg"], rng.uniform(-1, 1, 3) * condition["mm"]], centre)
    tip = centre + rng.uniform(-12, 12, 3)
    needle = NeedlePlan(Needle.gauge(13), Trajectory(tip + np.array([45.0, 70.0, 12.0]), tip))
    shots = []
    for n, (primary, name) in enumerate(((180.0, "AP"), (90.0, "lateral"))):
        exposure = (
            Exposure(Beam(80.0 + 10 * n, 4.0, 0.5), 0.6, 400.0, 0.5)
            if condition["hard"]
            else Exposure(Beam(80.0, 6.0, 0.5), 0.0, 1e6, 0.0)
        )
        true_view = View(arm, primary, 0.0, centre, name=name).registered(truth)
        image = render(
            ct_tissues, true_view, [needle] if condition["hard"] else [], exposure=exposure, seed=2 * seed + n
        )
        shots.append(Radiograph(image.signal, View(nominal_arm, primary, 0.0, centre, name=name)))
    began = time.process_time()
    found = register(
        bone,
        shots,
        centre_mm=centre,
        capture_deg=condition["deg"],
        capture_mm=condition["mm"],
        calibrated=condition["scale"] == 1.0,
        seed=seed,
    )
    cpu = time.process_time() - began
    axis = np.array([-40.0, 0.0, 40.0])
    points = centre + np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    error = np.linalg.norm(found.rig_from_patient.points(points) - truth.points(points), axis=1).mean()
    start = np.linalg.norm(truth.points(points) - points, axis=1).mean()
    tip_error, covered = float("nan"), ""
    if condition["hard"]:
        offset = NeedlePlan(needle.needle, needle.trajectory.moved(target_mm=tip + rng.uniform(-3, 3, 3)))
        sightings = [
            detected(Radiograph(shot.signal, view), offset) for shot, view in zip(shots, found.views, strict=True)
        ]
        if all(sightings):
            pose = triangulated(sightings, found)
            tip_error, covered = float(np.linalg.norm(np.subtract(pose.tip_mm, tip))), int(pose.covers(tip))
    return [start, error, found.mismatch, int(found.accepted), found.restarts, cpu, tip_error, covered]


def main() -> None:
    """Print the table and write the CSV."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    ct = real_ct("totalsegmentator/ct_3mm.nii.gz")
    labels = real_ct("totalsegmentator/labels_3mm.nii.gz")
    centre = labels.grid.patient_from_voxel.points(np.argwhere(np.asarray(labels.array) == 14)).mean(axis=0)
    ct = ct.resampled(ct.grid.resized(1.2), order=3)
    tissues, bone = Tissues.of(ct), bone_volume(ct, centre)
    rows = []
    for name, condition in CONDITIONS.items():
        for seed in range(count):
            row = [name, seed, *one(tissues, bone, centre, condition, seed)]
            rows.append(row)
            print(row, flush=True)
    header = [
        "condition", "seed", "start_mm", "target_error_mm", "mismatch", "accepted", "restarts", "cpu_s", "tip_error_mm",
        "tip_covered_95",
    ]  # fmt: skip
    out = Path(__file__).with_suffix(".csv")
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([[f"{v:.4g}" if isinstance(v, float) else v for v in row] for row in rows])


if __name__ == "__main__":
    main()
