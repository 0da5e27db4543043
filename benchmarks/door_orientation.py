"""48 storage orders of three real CTs with masks: the same voxels, the same place, the same plan.

Each scan and a ball-shaped lesion mask are written by nibabel along every permutation and reversal of the axes, and
read back through the gate. Planning is deterministic and sees voxels, mask and matrix only, so orders whose images are
equal in every bit of these have one plan. NIfTI keeps its matrix in 32-bit numbers, so the eight ways to reverse axes
give eight images that differ by rounding of the origin, each shared by the six permutations: with --plans all eight
are segmented and planned anew, every approach, and all entries and targets compared with those of the first.

Usage: python benchmarks/door_orientation.py [--plans]. Writes benchmarks/door_orientation.csv, and with --plans, image
by image, every needle to benchmarks/door_orientation_plans.csv; an image that stands there is not planned again.
"""

from __future__ import annotations

import csv
import hashlib
import sys
import tempfile
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data import real  # noqa: E402

from sacroplasty.io import read_series, require_mask_on_grid  # noqa: E402
from sacroplasty.io.labels import _mask  # noqa: E402
from sacroplasty.io.series import judge, load  # noqa: E402
from sacroplasty.space import Mask, Volume  # noqa: E402

# Scan, and centre and radius of the ball in LPS mm; a place in the body of S1.
SCANS = {
    "totalsegmentator/ct_3mm.nii.gz": (0.0, -115.0, 218.0),
    "acrin/ct_pelvis_4.25mm.nii.gz": (-17.0, 74.0, -731.0),
    "taichi/ct_sacrum_0.7mm.nii.gz": None,
}
RADIUS_MM = 8.0
TABLES = ROOT / "benchmarks" / "door_orientation.csv", ROOT / "benchmarks" / "door_orientation_plans.csv"
NEEDLE_HEAD = ["scan", "image", "orders", "approach", "side", "level", "feasible", "needle",
               "entry x mm", "entry y mm", "entry z mm", "target x mm", "target y mm", "target z mm"]  # fmt: skip
HEAD = ["scan", "orders", "equal voxels", "equal masks", "corners apart mm", "lesion apart mm", "unlike images",
        "images planned", "entry or target apart mm"]  # fmt: skip
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stored(
    array: np.ndarray, affine_lps: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...], path: Path
) -> Path:
    """An image along other axes, written by nibabel."""
    image = nib.Nifti1Image(array, TO_RAS @ affine_lps)
    image.header.set_xyzt_units("mm")
    turned = image.as_reoriented(np.array([[order[n], signs[n]] for n in range(3)], dtype=float))
    turned.set_sform(turned.affine, 1)
    turned.set_qform(turned.affine, 0)
    nib.save(turned, path)
    return path


def read(ct: Path, mask: Path) -> tuple[Volume, Mask]:
    """CT and mask through the gate, in this process for speed."""
    volume = judge(replace(load(ct, modality="CT"), modality="CT")).volume
    return volume, require_mask_on_grid(_mask(load(mask), mask.name, None), volume.grid)


def digest(ct: Volume, mask: Mask) -> str:
    """Hash of every bit that planning sees."""
    found = hashlib.sha256(np.ascontiguousarray(ct.array).tobytes())
    found.update(ct.grid.affine_lps.tobytes())
    found.update(np.packbits(mask.array).tobytes())
    return found.hexdigest()


def ball(ct: Volume, centre: tuple[float, float, float] | None) -> Mask:
    """A ball about a point, or about the middle of the scan."""
    low, high = ct.grid.bounds_mm
    middle = np.asarray(centre if centre is not None else (low + high) / 2)
    return Mask(np.linalg.norm(ct.grid.centres_mm() - middle, axis=-1) < RADIUS_MM, ct.grid)


def planned(ct: Volume, mask: Mask) -> list[list[str]]:
    """Every needle of every approach: approach, side, level, feasible, number; entry and target, LPS mm."""
    from sacroplasty.anatomy import segment
    from sacroplasty.approach import plan_trajectories
    from sacroplasty.lesion import lesion_from_mask

    anatomy = segment(ct)
    plans = plan_trajectories(ct, anatomy, lesion_from_mask(ct, anatomy, mask, resample=True))
    rows = []
    for plan in plans:
        words = [str(plan.approach), str(plan.side), str(plan.target_level), str(plan.feasible)]
        rows += [
            [*words, str(n), *(f"{v:.9f}" for v in (*needle.trajectory.entry_mm, *needle.trajectory.target_mm))]
            for n, needle in enumerate(plan.needles, start=1)
        ] or [[*words, "none", *[""] * 6]]
    return rows


def kept_rows(name: str) -> dict[int, list[list[str]]]:
    """The needles that stand in the table, by image of a scan, in their order."""
    found: dict[int, list[list[str]]] = {}
    if TABLES[1].exists():
        with TABLES[1].open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                if row[0] == name:
                    found.setdefault(int(row[1]), []).append(row[3:])
    return found


def plan_all(name: str, images: list[tuple[Volume, Mask, int]]) -> None:
    """Plan every image that does not stand in the table yet, and put its needles there."""
    done = kept_rows(name)
    for number, (ct, mask, orders) in enumerate(images, start=1):
        if number in done:
            continue
        rows = [[name, number, orders, *row] for row in planned(ct, mask)]
        is_new = not TABLES[1].exists()
        with TABLES[1].open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([NEEDLE_HEAD, *rows] if is_new else rows)
        print(f"  {name}: image {number} of {len(images)} planned", flush=True)


def plans_apart_mm(found: dict[int, list[list[str]]]) -> float:
    """Largest distance of an entry or target from that of the first image; infinite where plans differ in kind."""
    first, apart = found[1], 0.0
    for rows in found.values():
        if [row[:5] for row in rows] != [row[:5] for row in first]:
            return np.inf
        places, wanted = ([[float(v) for v in row[5:]] for row in one if row[5]] for one in (rows, first))
        difference = np.subtract(places, wanted).reshape(-1, 3)
        apart = max(apart, float(np.linalg.norm(difference, axis=1).max(initial=0.0)))
    return apart


def scan(name: str, plans: bool) -> list[object]:
    """One scan in 48 orders."""
    ct = read_series(real(name)).volume
    lesion = ball(ct, SCANS[name])
    unlike: dict[str, tuple[Volume, Mask, int]] = {}
    orders = voxels = masks = 0
    apart = moved = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
            paths = [Path(folder) / "ct.nii", Path(folder) / "mask.nii"]
            for image, path in zip((ct.array, lesion.array.astype(np.uint8)), paths, strict=True):
                stored(np.asarray(image), ct.grid.affine_lps, order, signs, path)
            again, mask = read(*paths)
            orders += 1
            voxels += bool(np.array_equal(again.array, ct.array))
            masks += bool(np.array_equal(mask.array, lesion.array))
            apart = max(apart, float(np.abs(again.grid.corners_mm - ct.grid.corners_mm).max()))
            moved = max(moved, float(np.abs(np.subtract(mask.centroid_mm(), lesion.centroid_mm())).max()))
            key = digest(again, mask)
            unlike[key] = (again, mask, unlike[key][2] + 1 if key in unlike else 1)
    if plans:
        plan_all(name, list(unlike.values()))
    found = kept_rows(name)
    said = f"{plans_apart_mm(found):.6f}" if found else "not made"
    return [name, orders, voxels, masks, f"{apart:.6f}", f"{moved:.6f}", len(unlike), len(found), said]


def main() -> None:
    """Run all and write the table."""
    rows: list[list[object]] = [HEAD]
    for name in SCANS:
        rows.append(scan(name, "--plans" in sys.argv))
        print("  ".join(f"{cell!s:>12}" for cell in rows[-1]), flush=True)
        with TABLES[0].open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
