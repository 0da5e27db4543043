"""What the search for lesions proposes: of lesions put into simulated pelves and into real scans, and in sound bone.

Run `python benchmarks/lesion_candidates.py [--dev]`; appends to lesion_candidates.csv, one row per scan and lesion, and
leaves out scans that are there; rows without lesion count what is proposed in sound marrow. Pelvis 1, taichi and
TotalSegmentator's scan (`--dev`, no CSV) served to set the method; the CSV holds pelves 2 to 4 with their true anatomy,
and acrin from its bare CT. Found is a lesion that a proposal points at: at least half of it lies in the lesion, and
covers a tenth of that.
"""

from __future__ import annotations

import csv
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data import data_root  # noqa: E402

from sacroplasty.anatomy import Anatomy, segment  # noqa: E402
from sacroplasty.io import read_ct  # noqa: E402
from sacroplasty.lesion import LesionKind, find_lesions  # noqa: E402
from sacroplasty.phantom import PhantomShape, build_phantom  # noqa: E402
from sacroplasty.phantom.lesion import LesionShape, insert_lesion  # noqa: E402
from sacroplasty.plan import Level  # noqa: E402
from sacroplasty.space import Volume  # noqa: E402

FIELD = ((-72.0, -45.0, -130.0), (72.0, 75.0, 22.0))
KINDS = (LesionKind.LYTIC, LesionKind.MIXED, LesionKind.SCLEROTIC)
# Centre to the patient's left, radii along x, y, z; mm.
PLACES = {
    "body, off centre": (9.0, (8.0, 8.0, 8.0)),
    "ala": (30.0, (10.0, 9.0, 10.0)),
    "body, whole": (0.0, (16.0, 12.0, 12.0)),
    "half the level": (24.0, (24.0, 14.0, 14.0)),
    "the whole level": (0.0, (50.0, 16.0, 14.0)),
}
LEVELS = (Level.S1, Level.S2, Level.S3)
REAL = {
    "taichi": "taichi/ct_sacrum_0.7mm.nii.gz",
    "totalsegmentator": "totalsegmentator/ct_3mm.nii.gz",
    "acrin": "acrin/ct_pelvis_4.25mm.nii.gz",
}
INSIDE, COVERED = 0.5, 0.1
TABLE = Path(__file__).with_suffix(".csv")


def scans(done: set[str], *, dev: bool) -> Iterator[tuple[str, Volume, Anatomy]]:
    """Scans without lesion, with their anatomy, but for those that are done."""
    for seed in (1,) if dev else (2, 3, 4):
        if f"pelvis {seed}" in done:
            continue
        phantom = build_phantom(PhantomShape.drawn(seed), spacing_mm=0.8, field_of_view_mm=FIELD)
        yield f"pelvis {seed}", phantom.ct, phantom.anatomy
    for name in ("taichi", "totalsegmentator") if dev else ("acrin",):
        if name in done:
            continue
        ct = read_ct(data_root() / REAL[name], acknowledge=["all"])
        yield name, ct, segment(ct)


def shapes(anatomy: Anatomy) -> Iterator[tuple[str, Level, LesionShape]]:
    """Every kind at every place and level that the scan holds."""
    for number, (level, (place, (left, radii)), kind) in enumerate(itertools.product(LEVELS, PLACES.items(), KINDS)):
        segment_ = next((each for each in anatomy.levels if each.level is level and each.state.known), None)
        if segment_ is None or (level is Level.S3 and place == "ala"):
            continue
        arc, _, depth = anatomy.frame.coordinates(segment_.body_centre_mm)
        side = 1.0 if number % 2 else -1.0
        centre = anatomy.frame.points((float(arc), side * left, float(depth)))
        yield place, level, LesionShape(kind, tuple(float(v) for v in centre), radii, seed=number)


def examine(name: str, ct: Volume, anatomy: Anatomy) -> Iterator[dict[str, object]]:
    """One row for the sound scan, then one for each lesion."""
    start = time.process_time()
    found = find_lesions(ct, anatomy)
    row = {"scan": name, "place": "none", "level": "", "kind": "", "true_ml": 0.0}
    volume = round(sum(each.volume_ml for each in found), 2)
    took = round(time.process_time() - start, 2)
    yield row | {"found": "", "dice": "", "kind_found": "", "others": len(found), "others_ml": volume, "cpu_s": took}
    for place, level, shape in shapes(anatomy):
        changed, mask = insert_lesion(ct, anatomy, shape)
        start = time.process_time()
        found = find_lesions(changed, anatomy)
        took = round(time.process_time() - start, 2)
        bone = mask.array & anatomy.labels.mask("sacrum").array
        common = [np.count_nonzero(f.mask.array & bone) for f in found]
        pointed = [
            c >= max(INSIDE * f.mask.array.sum(), COVERED * bone.sum()) for c, f in zip(common, found, strict=True)
        ]
        dice = [2 * np.count_nonzero(f.mask.array & bone) / (f.mask.array.sum() + bone.sum()) for f in found]
        best = int(np.argmax(dice)) if dice else -1
        others = [f for f in found if not (f.mask.array & bone).any()]
        yield {
            "scan": name, "place": place, "level": level, "kind": shape.kind,
            "true_ml": round(bone.sum() * anatomy.labels.grid.voxel_volume_ml, 2),
            "found": int(any(pointed)), "dice": round(max(dice, default=0.0), 3),
            "kind_found": found[best].kind if dice else "", "others": len(others),
            "others_ml": round(sum(f.volume_ml for f in others), 2), "cpu_s": took,
        }  # fmt: skip


def summary(rows: list[dict[str, str]]) -> None:
    """Found by place and kind, and what is proposed in sound marrow."""
    lesions = [row for row in rows if row["place"] != "none"]
    for scan in dict.fromkeys(row["scan"] for row in rows):
        for place in PLACES:
            each = {
                kind: [int(r["found"]) for r in lesions if (r["scan"], r["place"], r["kind"]) == (scan, place, kind)]
                for kind in KINDS
            }
            print(f"{scan:10} {place:20}", *(f"{kind} {sum(f)}/{len(f)}" for kind, f in each.items()))
    for row in rows:
        if row["place"] == "none":
            print(f"{row['scan']}, sound: {row['others']} proposals, {row['others_ml']} mL, {row['cpu_s']} CPU s")
    print(f"Dice median of those found {np.median([float(r['dice']) for r in lesions if int(r['found'])]):.2f}")


def main() -> None:
    """Run what the table lacks and print it; write it unless the method is being set."""
    dev = "--dev" in sys.argv[1:]
    rows = [] if dev or not TABLE.exists() else list(csv.DictReader(TABLE.open(newline="")))
    for name, ct, anatomy in scans({row["scan"] for row in rows}, dev=dev):
        new = [{key: str(cell) for key, cell in row.items()} for row in examine(name, ct, anatomy)]
        print(name, "done", flush=True)
        if not dev:
            with TABLE.open("a", newline="") as out:
                writer = csv.DictWriter(out, list(new[0]))
                if not rows:
                    writer.writeheader()
                writer.writerows(new)
        rows += new
    summary(rows)


if __name__ == "__main__":
    main()
