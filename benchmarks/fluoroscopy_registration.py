"""2D/3D registration and needle tip from AP and lateral, on shots simulated from real CTs and phantoms.

Shots: the whole CT at 1.2 mm through `render`. Moving image: the bone within 110 mm of the sacrum, so the CT is
truncated against what the shots show. Starts are uniform within 10 degrees and 20 mm per axis.

- clean: no noise, scatter or needle, the spectrum of the profile.
- hard: other spectra, scatter, quantum noise, a 13 G needle, a table across the lateral, and soft tissue and gas moved
  at random by about 6 mm where they lie away from bone, as in a patient turned prone.
- scale: hard, the nominal source-detector distance 5 % too short or too long, registered with `calibrated=False`.
- wander: scale, and the lateral's pose off by 0.5 degrees and 3 mm (standard deviations per axis) against the AP.

`target_error_mm`: points of a +-40 mm grid about the sacrum are projected by the true views and triangulated by the
found ones; the mean distance in the CT. With known geometry that is the mean target registration error; `pose_error_mm`
is that error in the room, which a wrong distance leaves free along the rays. A start fails if its target error is over
1 mm. The method's settings were made on `total` and on phantom 100 (`--development`); the others are judged.

Run: python benchmarks/fluoroscopy_registration.py [starts per condition and patient] [patient ...] [--development];
rows already in the CSV of the same name are kept, and rows are added as they come.
"""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fluoroscopy.scene import real_ct

from sacroplasty.fluoroscopy import (
    Beam,
    CArm,
    Exposure,
    PackedVolume,
    Radiograph,
    Registration,
    Tissues,
    View,
    bone_volume,
    detected,
    line_integrals,
    register,
    render,
    triangulated,
)
from sacroplasty.fluoroscopy.alignment import rigid
from sacroplasty.phantom import PhantomShape, build_phantom
from sacroplasty.plan import Level, Needle, NeedlePlan, Trajectory
from sacroplasty.space import Grid, Volume

TAICHI_CENTRE_MM = (0.0, 55.0, -1242.0)
ACRIN_CENTRE_MM = (-18.0, 90.0, -755.0)
REACH_DEG, REACH_MM = 10.0, 20.0
CONDITIONS = ("clean", "hard", "scale", "wander")
DEVELOPMENT, JUDGED = ("total", "phantom-100"), ("acrin", "taichi", "phantom-7", "phantom-8")
FIELDS = (
    "patient", "condition", "seed", "start_mm", "target_error_mm", "pose_error_mm", "mismatch", "agreement", "accepted",
    "restarts", "cpu_s", "tip_error_mm", "tip_radius_95_mm", "tip_covered_95",
)  # fmt: skip


def patient(name: str) -> tuple[Volume, np.ndarray]:
    """CT at 1.2 mm, HU, and the middle of the sacrum."""
    if name.startswith("phantom"):
        phantom = build_phantom(PhantomShape.drawn(int(name[8:])), spacing_mm=1.2, truth_spacing_mm=3.0)
        return phantom.ct, np.asarray(phantom.anatomy.require_level(Level.S2).body_centre_mm)
    if name == "total":
        labels = real_ct("totalsegmentator/labels_3mm.nii.gz")
        centre = labels.grid.patient_from_voxel.points(np.argwhere(np.asarray(labels.array) == 14)).mean(axis=0)
        ct = real_ct("totalsegmentator/ct_3mm.nii.gz")
    elif name == "acrin":
        ct, centre = real_ct("acrin/ct_pelvis_4.25mm.nii.gz"), np.array(ACRIN_CENTRE_MM)
    else:
        ct, centre = real_ct("taichi/ct_sacrum_0.7mm.nii.gz"), np.array(TAICHI_CENTRE_MM)
    return ct.resampled(ct.grid.resized(1.2), order=3), centre


def soft_tissue_moved(ct: Volume, seed: int, sd_mm: float = 6.0) -> Volume:
    """The CT with everything farther than a few mm from bone displaced by a random field, smooth over 30 mm."""
    rng = np.random.default_rng(seed)
    coarse = ct.resampled(ct.grid.resized(3.0))
    # Marrow inside a cortex belongs to the bone.
    bone = ndimage.binary_closing(np.asarray(coarse.array) > 150, iterations=3)
    distance = ndimage.distance_transform_edt(~bone, sampling=coarse.grid.spacing_mm)
    free = np.clip((distance - 3.0) / 10.0, 0, 1)
    places = np.indices(ct.array.shape, dtype=np.float32)
    for axis, spacing in enumerate(ct.grid.spacing_mm):
        knots = rng.standard_normal([max(2, round(n / 10)) for n in free.shape])
        field = ndimage.zoom(knots, np.array(free.shape) / knots.shape, order=3)
        field *= free * sd_mm / (np.std(field) * spacing)
        places[axis] += ndimage.zoom(field, np.array(ct.array.shape) / free.shape, order=1).astype(np.float32)
    hu = np.asarray(ct.array, dtype=np.float32)
    return Volume(ndimage.map_coordinates(hu, places, order=1, mode="nearest").astype(np.int16), ct.grid, "HU")


def table(centre: np.ndarray) -> PackedVolume:
    """A table top under a prone patient, 1/mm: foam 40 mm thick between skins of 2 mm that absorb like water."""
    affine = np.diag([4.0, 1.0, 4.0, 1.0])
    affine[:3, 3] = centre - (260.0, 120.0, 300.0)
    grid = Grid.from_affine((131, 40, 151), affine)
    depth = np.arange(grid.shape[1])
    skin = (depth < 2) | (depth >= grid.shape[1] - 2)
    profile = np.where(skin, 0.02, 0.001).astype(np.float32)
    return PackedVolume.of(Volume(np.broadcast_to(profile[None, :, None], grid.shape).copy(), grid, "1/mm"))


@dataclass(frozen=True)
class Scene:
    """One patient's tissues as they are in the CT and with soft tissue moved, the bone, and the sacrum's middle."""

    still: Tissues
    moved: Tissues
    bone: PackedVolume
    centre: np.ndarray


def scene(name: str) -> Scene:
    """A patient ready to be shot."""
    ct, centre = patient(name)
    moved = soft_tissue_moved(ct, 1)
    return Scene(Tissues.of(ct), Tissues.of(moved), bone_volume(ct, centre), centre)


@dataclass(frozen=True)
class Taken:
    """Shots with the nominal views, the views they were truly taken with, and the needle."""

    shots: list[Radiograph]
    true_views: list[View]
    needle: NeedlePlan


def taken(of: Scene, condition: str, seed: int) -> Taken:
    """AP and lateral of a patient who lies anywhere within reach."""
    rng = np.random.default_rng(seed)
    arm, hard = CArm.profile(), condition != "clean"
    truth = rigid(np.r_[rng.uniform(-1, 1, 3) * REACH_DEG, rng.uniform(-1, 1, 3) * REACH_MM], of.centre)
    tip = of.centre + rng.uniform(-12, 12, 3)
    needle = NeedlePlan(Needle.gauge(13), Trajectory(tip + np.array([45.0, 70.0, 12.0]), tip))
    wrong = rng.choice([0.95, 1.05]) if condition in ("scale", "wander") else 1.0
    nominal = replace(arm, source_detector_mm=arm.source_detector_mm * wrong)
    wander = np.r_[rng.normal(0, 0.5, 3), rng.normal(0, 3.0, 3)] * (condition == "wander")
    shots, true_views = [], []
    for n, (primary, name) in enumerate(((180.0, "AP"), (90.0, "lateral"))):
        exposure = (
            Exposure(Beam(80.0 + 10 * n, 4.0, 0.5), 0.6, 400.0, 0.5)
            if hard
            else Exposure(Beam(80.0, 6.0, 0.5), 0.0, 1e6, 0.0)
        )
        room = View(arm, primary, 0.0, of.centre, name=name)
        true_views.append(room.registered(rigid(wander * n, of.centre) @ truth))
        image = render(
            of.moved if hard else of.still,
            true_views[-1],
            [needle] if hard else [],
            exposure=exposure,
            seed=2 * seed + n,
        )
        signal = image.signal * np.exp(-line_integrals(table(of.centre), room)) if hard else image.signal
        shots.append(Radiograph(signal, View(nominal, primary, 0.0, of.centre, name=name)))
    return Taken(shots, true_views, needle)


def target_error_mm(views: list[View], true_views: list[View], points: np.ndarray) -> float:
    """Mean distance (mm) of points seen by the true views from where the found views triangulate them."""
    normal, right = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
    for view, true in zip(views, true_views, strict=True):
        rays = view.rays(true.detector_from_patient.points(points))
        across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
        normal += across
        right += across @ view.source_mm
    return float(np.linalg.norm(np.linalg.solve(normal, right[..., None])[..., 0] - points, axis=1).mean())


def tip_of(case: Taken, found: Registration, seed: int) -> tuple[float, float, int] | None:
    """Error (mm) of the tip found without clicks near a plan up to 3 mm off, its 95 % radius, and whether it holds."""
    offset = np.random.default_rng(seed + 1000).uniform(-3, 3, 3)
    target = np.asarray(case.needle.tip_mm) + offset
    plan = NeedlePlan(case.needle.needle, case.needle.trajectory.moved(target_mm=target))
    sightings = [detected(Radiograph(s.signal, v), plan) for s, v in zip(case.shots, found.views, strict=True)]
    kept = [s for s in sightings if s is not None]
    if len(kept) < 2:
        return None
    pose = triangulated(kept, found, expected=plan)
    error = float(np.linalg.norm(np.subtract(pose.tip_mm, case.needle.tip_mm)))
    return error, pose.radius_95_mm, int(pose.covers(case.needle.tip_mm))


def one(of: Scene, condition: str, seed: int) -> list[object]:
    """One start: the row of figures."""
    case = taken(of, condition, seed)
    began = time.process_time()
    found = register(of.bone, case.shots, centre_mm=of.centre, calibrated=condition in ("clean", "hard"), seed=seed)
    cpu = time.process_time() - began
    axis = np.array([-40.0, 0.0, 40.0])
    points = of.centre + np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    truth = case.true_views[0].rig_from_patient
    pose_error = np.linalg.norm(found.rig_from_patient.points(points) - truth.points(points), axis=1).mean()
    start = np.linalg.norm(truth.points(points) - points, axis=1).mean()
    error = target_error_mm(list(found.views), case.true_views, points)
    tip = tip_of(case, found, seed) if condition != "clean" else None
    return [
        start, error, pose_error, found.mismatch, found.agreement, int(found.accepted), found.restarts, cpu,
        *(tip or ("", "", "")),
    ]  # fmt: skip


def main() -> None:
    """Append rows to the CSV and print them."""
    development = "--development" in sys.argv
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    count = numbers[0] if numbers else 4
    out = Path(__file__).with_suffix(".csv")
    if development:
        out = out.with_name("fluoroscopy_registration_development.csv")
    rows = list(csv.DictReader(out.open())) if out.exists() else []
    done = {(r["patient"], r["condition"], r["seed"]) for r in rows}
    with out.open("a", newline="") as file:
        writer = csv.writer(file)
        if not rows:
            writer.writerow(FIELDS)
        known = DEVELOPMENT if development else JUDGED
        for name in [n for n in known if n in sys.argv] or known:
            of: Scene | None = None
            for seed in range(count):
                for condition in CONDITIONS:
                    if (name, condition, str(seed)) in done:
                        continue
                    of = of or scene(name)
                    row = [name, condition, seed, *one(of, condition, seed)]
                    writer.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in row])
                    file.flush()
                    print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row), flush=True)


if __name__ == "__main__":
    main()
