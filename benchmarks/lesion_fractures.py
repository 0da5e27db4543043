"""Fracture planes of known place in simulated pelves: found, right kind, angle; false ones in sound bone.

Run `python benchmarks/lesion_fractures.py [anatomies]`; writes lesion_fractures.csv, one row per scan. Anatomy 5 served
to set the method and is left out.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

from sacroplasty.lesion import LesionKind, find_fractures
from sacroplasty.phantom import FracturePlane, LesionShape, Phantom, PhantomShape, build_phantom, insert_lesion
from sacroplasty.plan import Level, as_point
from sacroplasty.space import Points

FIELD = ((-72.0, -45.0, -130.0), (72.0, 75.0, 22.0))
SMALL = (4.0, 4.0, 4.0)
GAPS_MM = (1.0, 1.5, 2.5)
SLICES_MM = (1.0, 3.0)


def planes(phantom: Phantom, rng: np.random.Generator) -> list[tuple[str, Points, Points]]:
    """An alar plane on each side and a transverse one through the S2 body: kind, point and normal."""
    frame = phantom.anatomy.frame
    level = phantom.anatomy.require_level(Level.S2)
    middle = (level.upper_arc_mm + level.lower_arc_mm) / 2
    drawn = [("none", np.zeros(3), np.zeros(3))]
    for sign in (1.0, -1.0):
        normal = np.array([1.0, *rng.uniform(-0.3, 0.3, 2)])
        place = frame.points((rng.uniform(15, 30), sign * rng.uniform(26, 36), 12.0))
        drawn.append(("alar", np.asarray(place), normal / np.linalg.norm(normal)))
    drawn.append(("transverse", np.asarray(frame.points((middle, 0.0, 12.0))), np.asarray(frame.tangent_at(middle))))
    return drawn


def examine(phantom: Phantom, seed: int, slice_mm: float, rng: np.random.Generator) -> list[dict[str, object]]:
    """One row per plane and gap."""
    rows = []
    centre = as_point(phantom.anatomy.frame.points((52.0, 0.0, 9.0)))
    for kind, place, normal in planes(phantom, rng):
        for gap_mm in GAPS_MM if kind != "none" else (0.0,):
            plane = FracturePlane(as_point(place), as_point(normal), gap_mm) if gap_mm else None
            shape = LesionShape(LesionKind.SCLEROTIC, centre, SMALL, fracture=plane)
            ct, _ = insert_lesion(phantom.ct, phantom.anatomy, shape)
            start = time.process_time()
            found = find_fractures(ct, phantom.anatomy)
            took = time.process_time() - start
            angles = [np.degrees(np.arccos(min(1.0, abs(float(np.dot(f.normal, normal)))))) for f in found]
            offsets = [abs(float(np.subtract(f.centre_mm, place) @ normal)) for f in found]
            hits = [n for n in range(len(found)) if gap_mm and angles[n] < 20 and offsets[n] < 4]
            rows.append({
                "anatomy": seed, "slice_mm": slice_mm, "kind": kind, "gap_mm": gap_mm, "found": int(bool(hits)),
                "kind_right": int(bool(hits) and found[hits[0]].kind.value == kind),
                "angle_deg": round(float(angles[hits[0]]), 1) if hits else "",
                "offset_mm": round(offsets[hits[0]], 2) if hits else "",
                "false": len(found) - len(hits), "cpu_s": round(took, 2),
            })  # fmt: skip
    return rows


def summary(rows: list[dict[str, object]]) -> None:
    """Share found by slice and gap, false planes per scan."""
    for slice_mm in SLICES_MM:
        for gap_mm in GAPS_MM:
            own = [r for r in rows if r["slice_mm"] == slice_mm and r["gap_mm"] == gap_mm]
            if own:
                share, right = np.mean([r["found"] for r in own]), np.mean([r["kind_right"] for r in own])
                print(
                    f"slices {slice_mm} mm, gap {gap_mm} mm: {share:.0%} of {len(own)} found, {right:.0%} named right"
                )
    scans = len(rows)
    print(f"false planes: {sum(int(str(r['false'])) for r in rows)} in {scans} scans")
    print(f"time median {np.median([float(str(r['cpu_s'])) for r in rows]):.1f} s CPU")


def main(anatomies: int) -> None:
    """Run, print and write the table."""
    rows: list[dict[str, object]] = []
    for seed in [s for s in range(1, anatomies + 2) if s != 5][:anatomies]:
        rng = np.random.default_rng(seed)
        for slice_mm in SLICES_MM:
            phantom = build_phantom(
                PhantomShape.drawn(seed), spacing_mm=(0.8, 0.8, slice_mm), field_of_view_mm=FIELD, seed=seed
            )
            rows += examine(phantom, seed, slice_mm, rng)
            print(f"anatomy {seed}, slices {slice_mm} mm done", flush=True)
    summary(rows)
    with (Path(__file__).parent / "lesion_fractures.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
