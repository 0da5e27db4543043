"""The audit on phantoms with known cement: volumes, compartments and leaks found, by slice distance and leak volume.

    python benchmarks/outcome_audit.py [--keep FOLDER] [--only MILLILITRES] [--finished]

One phantom is the plan's CT; four later scans of it (another position, other voxels, without noise) are made once.
Every pattern of cement is then put into each scan as the share of every voxel that it fills between the trabeculae,
blurred and given noise. Leaks of one volume lie in each compartment at once, and once there are none.
"""

from __future__ import annotations

import argparse
import csv
import json
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion, LesionKind, lesion_from_mask
from sacroplasty.outcome.audit import CementAudit, audit_ct
from sacroplasty.phantom import LesionShape, PhantomShape, build_phantom, insert_lesion
from sacroplasty.phantom.phantom import scanned
from sacroplasty.plan import Approach, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.space import Grid, Mask, Points, Transform, Volume

Array = npt.NDArray[Any]
OUT = Path(__file__).with_suffix(".csv")
# S1 to S3 with both SI joints and the dorsal soft tissue.
BOX = ((-74.0, -38.0, -76.0), (74.0, 78.0, 22.0))
LATER_BOX = ((-84.0, -48.0, -86.0), (84.0, 88.0, 34.0))
# Slice distance (mm), voxel in the plane (mm), turn of the patient (deg).
SCANS = ((0.7, 0.8, (-9.0, 2.0, -5.0)), (1.0, 0.8, (11.0, 4.0, 3.0)), (2.0, 0.8, (-6.0, -4.0, 6.0)),
         (3.0, 0.8, (8.0, 3.0, -4.0)))  # fmt: skip
LEAKS_ML = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
CEMENT_HU, BONE_TISSUE_HU, BLUR_MM, NOISE_HU = 2300.0, 1800.0, 0.6, 22.0
TRUTH_MM, CUT = 0.5, 3


@dataclass(frozen=True, eq=False)
class Patient:
    """The plan's CT with its truth, lesion and plan, and the later scans without noise."""

    ct: Volume
    anatomy: Anatomy
    lesion: Lesion
    plan: Plan
    scans: tuple[tuple[float, Transform, Volume], ...]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Known cement: inside (i, j, k) on a grid of the plan's frame, and the compartment number of each leak voxel."""

    inside: Mask
    place: Array
    names: tuple[str, ...]


def make_patient() -> Patient:
    """One subject, a lytic S1 lesion, and the four later scans."""
    shape = PhantomShape.drawn(11)
    base = build_phantom(shape, spacing_mm=0.8, field_of_view_mm=BOX, seed=1, noise_hu=18.0)
    arc = base.anatomy.require_level(Level.S1)
    middle = (arc.upper_arc_mm + arc.lower_arc_mm) / 2
    x, y, z = (float(v) for v in base.anatomy.frame.points([middle, -4.0, 15.0]))
    tumour = LesionShape(LesionKind.LYTIC, (x, y, z), (13.0, 11.0, 11.0), seed=2)
    ct, mask = insert_lesion(base.ct, base.anatomy, tumour)
    lesion = lesion_from_mask(ct, base.anatomy, mask)
    entry = base.anatomy.frame.points([middle + 6.0, -75.0, 62.0])
    needle = NeedlePlan(Needle.gauge(13), Trajectory(tuple(float(v) for v in entry), (x, y, z)))
    plan = Plan(Approach.TRANS_SACROILIAC, Side.RIGHT, Level.S1, (needle,))
    scans = []
    for slice_mm, pixel_mm, turn in SCANS:
        voxel = (pixel_mm, pixel_mm, slice_mm)
        later = build_phantom(shape, spacing_mm=voxel, field_of_view_mm=LATER_BOX, noise_hu=0.0, blur_mm=0.0,
                              rotation_deg=turn, truth_spacing_mm=4.0)  # fmt: skip
        move = Transform(base.patient_from_phantom.target, base.patient_from_phantom.target,
                         (later.patient_from_phantom.matrix @ base.patient_from_phantom.inverse.matrix))  # fmt: skip
        # The lesion is in the later scan as well: its change of CT value is carried over.
        changed = Volume(np.asarray(ct.array, np.float32) - np.asarray(base.ct.array), ct.grid)
        away = changed.sampled(move.inverse.points(later.ct.grid.centres_mm()), outside=0.0)
        scans.append((slice_mm, move, Volume(np.asarray(later.ct.array) + away, later.ct.grid)))
    return Patient(ct, base.anatomy, lesion, plan, tuple(scans))


def make_pattern(patient: Patient, leak_ml: float, seed: int) -> Pattern:
    """A main deposit in the lesion, and a leak of one volume in each compartment; each fills its own place."""
    rng = np.random.default_rng(seed)
    anatomy = patient.anatomy
    low, high = anatomy.labels.grid.bounds_mm
    grid = Grid.aligned(low + 6.0, high - 6.0, TRUTH_MM)
    labels = anatomy.labels.resampled(grid).array
    inside, place = np.zeros(grid.shape, bool), np.zeros(grid.shape, np.uint8)
    centre = np.asarray(patient.lesion.centre_mm)
    bone = labels == anatomy.labels.values["sacrum"]
    for _ in range(4):
        ball(grid, centre + rng.normal(0.0, 3.0, 3), rng.uniform(5.5, 7.5), bone, inside)
    names = ["sacrum"]
    if leak_ml > 0:
        for name, start, allowed in leak_places(patient, grid, labels, rng):
            where = grown(grid, start, leak_ml, allowed & ~inside)
            if where is None:
                continue
            names.append(name)
            inside |= where
            place[where] = len(names) - 1
    return Pattern(Mask(inside, grid), place, tuple(names))


def leak_places(
    patient: Patient, grid: Grid, labels: Array, rng: np.random.Generator
) -> list[tuple[str, Points, Array]]:
    """Name, starting point and allowed place of a leak in every compartment."""
    anatomy, value_of = patient.anatomy, patient.anatomy.labels.values
    points = anatomy.frame.points
    arcs = {lv.level: (lv.upper_arc_mm + lv.lower_arc_mm) / 2 for lv in anatomy.levels}
    soft = labels == 0
    found: list[tuple[str, Points, Array]] = []
    level = (Level.S1, Level.S2, Level.S3)[int(rng.integers(3))]
    s, _, d = anatomy.frame.coordinates(anatomy.canal.centreline_mm).T
    found.append(
        ("canal", points([arcs[level], 0.0, float(np.interp(arcs[level], s, d))]), labels == value_of["canal"])
    )
    tunnel = labels == value_of["root_tunnel"]
    known = [f for f in anatomy.foramina if f.state.known]
    centres = np.array([f.centre_mm for f in known])
    near = np.argwhere(tunnel)
    nearest = spatial.cKDTree(centres).query(grid.patient_from_voxel.points(near))[1]
    for face in ("anterior", "posterior"):
        for side in ("left", "right"):
            options = [
                n for n, f in enumerate(known) if f.face == face and f.side == side and f.level in ("S1", "S2", "S3")
            ]
            foramen = known[options[int(rng.integers(len(options)))]]
            own = np.zeros(grid.shape, bool)
            own[tuple(near[nearest == known.index(foramen)].T)] = True
            start = np.asarray(foramen.centre_mm) - 4.0 * np.asarray(foramen.axis)
            found.append((foramen.name, start, own))
    found.append(("presacral", points([arcs[Level.S2], float(rng.choice([-14.0, 14.0])), -3.0]), soft))
    found.append(("posterior soft tissue", points([arcs[Level.S2], 24.0, 44.0]), soft))
    for side in ("left", "right"):
        joint = labels == value_of[f"si_joint_{side}"]
        world = grid.patient_from_voxel.points(np.argwhere(joint))
        found.append((f"SI joint {side}", world[int(rng.integers(len(world)))], joint))
        sign = 1.0 if side == "left" else -1.0
        hip = labels == value_of[f"hip_{side}"]
        found.append((f"iliac track {side}", points([arcs[Level.S1] + 8.0, sign * 68.0, 30.0]), hip))
    found.append(("L5-S1 disc", points([-6.0, float(rng.uniform(-10, 10)), 16.0]), labels == value_of["disc_l5_s1"]))
    path = patient.plan.first.trajectory
    start = path.point_at(0.35 * path.length_mm)
    box = grid.box_around(start[None], 16.0)
    away = np.linalg.norm(np.cross(grid.cropped(box).centres_mm() - start, path.direction), axis=-1)
    rods = np.zeros(grid.shape, bool)
    rods[box] = soft[box] & (away < 1.5)
    found.append(("needle track", start, rods))
    return found


def ball(grid: Grid, centre: Points, radius: float, allowed: Array, into: Array) -> None:
    """Marks the part of a ball that lies in an allowed place."""
    box = grid.box_around(np.stack([centre - radius, centre + radius]), 1.0)
    near = np.linalg.norm(grid.cropped(box).centres_mm() - centre, axis=-1) < radius
    into[box] |= near & allowed[box]


def grown(grid: Grid, start: Points, volume_ml: float, allowed: Array) -> Array | None:
    """The nearest allowed voxels to a start that make up a volume and hang together; None where there is no room."""
    radius = 22.0 if volume_ml > 0.3 else 14.0
    box = grid.box_around(np.stack([start - radius, start + radius]), 1.0)
    part = allowed[box]
    far = np.linalg.norm(grid.cropped(box).centres_mm() - start, axis=-1)
    if not part.any():
        return None
    count = round(volume_ml / grid.voxel_volume_ml)
    seed = np.unravel_index(int(np.argmin(np.where(part, far, np.inf))), part.shape)
    labels, _ = ndimage.label(part)
    part = labels == labels[seed]
    far = np.linalg.norm(grid.cropped(box).centres_mm() - grid.cropped(box).patient_from_voxel.points(seed), axis=-1)
    order = np.sort(far[part])
    if len(order) < count:
        return None
    where = np.zeros(grid.shape, bool)
    where[box] = part & (far <= order[count - 1])
    return where


def scan_with(
    patient: Patient, number: int, pattern: Pattern, seed: int, hu: float = CEMENT_HU
) -> tuple[Volume, Array]:
    """A later scan with the cement in it, and the true mL by place of the pattern (bone left out)."""
    _, move, base = patient.scans[number]
    index = np.argwhere(pattern.inside.array)
    numbers = pattern.place[tuple(index.T)]
    box = base.grid.box_around(move.points(pattern.inside.grid.patient_from_voxel.points(index)), 6.0)
    grid = base.grid.cropped(box)
    before = np.array(base.array[box], np.float32)
    fluid = np.minimum(before, value("assumptions.audit_displaced_hu"))
    pores = 1.0 - np.clip((before - fluid) / (BONE_TISSUE_HU - fluid), 0.0, 1.0)
    # Every true voxel is cut into small cubes that fall into the scan's voxels.
    offsets = (np.stack(np.meshgrid(*[np.arange(CUT)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) + 0.5) / CUT - 0.5
    share, truth = np.zeros(grid.shape), np.zeros(len(pattern.names))
    cube_ml = pattern.inside.grid.voxel_volume_ml / CUT**3
    for n in range(len(pattern.names)):
        cubes = (index[numbers == n][:, None] + offsets).reshape(-1, 3)
        world = move.points(pattern.inside.grid.patient_from_voxel.points(cubes))
        cells = np.rint(grid.voxel_from_patient.points(world)).astype(np.int64)
        inside = ((cells >= 0) & (cells < np.asarray(grid.shape))).all(axis=1)
        flat = np.ravel_multi_index(tuple(cells[inside].T), grid.shape)
        one = np.bincount(flat, minlength=share.size).reshape(grid.shape) * cube_ml / grid.voxel_volume_ml
        truth[n] = float((one * pores).sum()) * grid.voxel_volume_ml
        share += one
    filled = np.array(base.array, np.float32)
    filled[box] = before + (share * pores * (hu - fluid)).astype(np.float32)
    return Volume(scanned(filled, base.grid, BLUR_MM, NOISE_HU, seed), base.grid), truth


def weighed(
    audit: CementAudit, pattern: Pattern, truth: Array, slice_mm: float, leak_ml: float
) -> list[dict[str, Any]]:
    """One row per true leak and one per false one."""
    sites = {site.compartment: site for site in audit.leaks.sites}
    total = float(truth.sum())
    rows = []
    common = {"slice_mm": slice_mm, "leak_ml": leak_ml, "total_true_ml": round(total, 3),
              "total_found_ml": round(audit.cement_ml, 3), "spread_mm": round(audit.registration.spread_mm, 2),
              "correlation": round(audit.registration.correlation, 4)}  # fmt: skip
    wanted = set(pattern.names[1:])
    for name, amount in zip(pattern.names[1:], truth[1:], strict=True):
        site = sites.get(name)
        rows.append({**common, "compartment": name, "true_ml": round(float(amount), 3),
                     "found_ml": round(site.volume_ml or 0.0, 3) if site else 0.0, "found": int(site is not None),
                     "kind": "leak"})  # fmt: skip
    for name, site in sites.items():
        if name not in wanted:
            rows.append({**common, "compartment": name, "true_ml": 0.0, "found_ml": round(site.volume_ml or 0.0, 3),
                         "found": 1, "kind": "false"})  # fmt: skip
    if not rows:
        rows.append({**common, "compartment": "", "true_ml": 0.0, "found_ml": 0.0, "found": 0, "kind": "clean"})
    return rows


def cached(folder: Path | None) -> Patient:
    """The patient, from the folder where it was kept."""
    file = folder / "audit_patient.pkl" if folder else None
    if file and file.exists():
        return pickle.loads(file.read_bytes())
    patient = make_patient()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(patient))
    return patient


def rows_of(patient: Patient, leak_ml: float, numbers: range | tuple[int, ...]) -> list[dict[str, Any]]:
    """The audits of one leak volume on the scans."""
    rows: list[dict[str, Any]] = []
    pattern = make_pattern(patient, leak_ml, int(1000 * leak_ml) + 5)
    for number in numbers:
        ct, truth = scan_with(patient, number, pattern, seed=100 * number + int(100 * leak_ml))
        started = time.process_time()
        audit = audit_ct(patient.ct, patient.anatomy, patient.lesion, ct, plan=patient.plan)
        used = time.process_time() - started
        new = weighed(audit, pattern, truth, SCANS[number][0], leak_ml)
        rows += [{**row, "cpu_s": round(used, 1)} for row in new]
        print(f"{SCANS[number][0]} mm, {leak_ml} mL: {audit.cement_ml:.3f} of {truth.sum():.3f} mL, "
              f"{sum(r['found'] for r in new if r['kind'] == 'leak')} of {len(pattern.names) - 1} leaks, "
              f"{sum(r['kind'] == 'false' for r in new)} false, {used:.0f} s", flush=True)  # fmt: skip
    return rows


def summary(rows: list[dict[str, Any]]) -> None:
    """The figures of the table: volume errors, leaks found and named, false ones."""
    scans = {(r["slice_mm"], r["leak_ml"]): r for r in rows}
    for slice_mm, *_ in SCANS:
        errors = [abs(r["total_found_ml"] / r["total_true_ml"] - 1) for (s, _), r in scans.items() if s == slice_mm]
        leaks = [r for r in rows if r["slice_mm"] == slice_mm and r["kind"] == "leak"]
        big = [r for r in leaks if r["leak_ml"] >= 0.1]
        false = sum(r["kind"] == "false" for r in rows if r["slice_mm"] == slice_mm)
        print(f"slices of {slice_mm} mm: volume error mean {100 * np.mean(errors):.1f} %, largest "
              f"{100 * max(errors):.1f} %; leaks from 0.1 mL {sum(r['found'] for r in big)} of {len(big)}, of 0.05 mL "
              f"{sum(r['found'] for r in leaks) - sum(r['found'] for r in big)} of {len(leaks) - len(big)}; "
              f"false {false}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="Keeps the scans and finished parts here.")
    parser.add_argument("--only", type=float, help="One leak volume, mL.")
    parser.add_argument("--finished", action="store_true", help="Table of the kept parts, nothing new.")
    given = parser.parse_args()
    patient = None if given.finished else cached(given.keep)
    rows: list[dict[str, Any]] = []
    for leak_ml in LEAKS_ML if given.only is None else (given.only,):
        part = given.keep / f"audit_{leak_ml}.json" if given.keep else None
        if part and part.exists():
            rows += json.loads(part.read_text(encoding="utf-8"))
            continue
        if patient is None:
            continue
        new = rows_of(patient, leak_ml, range(len(SCANS)))
        rows += new
        if part:
            part.write_text(json.dumps(new), encoding="utf-8")
    if given.only is None:
        summary(rows)
        with OUT.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
