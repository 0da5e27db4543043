"""48 storage orders of three real CTs with masks: the same voxels, the same place, the same plan.

Each scan and a ball-shaped lesion mask are written by nibabel along every permutation and reversal of the axes, and
read back through the gate. Orders whose images are equal bit for bit, matrix included, have the same plan because
planning is deterministic. NIfTI keeps its matrix in 32-bit numbers, so the eight ways to reverse axes give eight
images that differ by rounding of the origin; --plans N segments and plans up to N of them, every approach, and compares
all entries and targets. Usage: python benchmarks/door_orientation.py [--plans N]. Prints a table and writes
benchmarks/door_orientation.csv.
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
    "taichi/ct_sacrum_0.7mm.nii.gz": None,
    "acrin/ct_pelvis_4.25mm.nii.gz": None,
    "totalsegmentator/ct_3mm.nii.gz": (0.0, -115.0, 218.0),
}
RADIUS_MM = 8.0
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


def planned(ct: Volume, mask: Mask) -> tuple[tuple[str, ...], np.ndarray]:
    """What was found feasible for every approach, and all entries and targets (n, 3), LPS mm."""
    from sacroplasty.anatomy import segment
    from sacroplasty.approach import plan_trajectories
    from sacroplasty.lesion import lesion_from_mask

    anatomy = segment(ct)
    plans = plan_trajectories(ct, anatomy, lesion_from_mask(ct, anatomy, mask, resample=True))
    paths = [needle.trajectory for plan in plans for needle in plan.needles]
    words = tuple(f"{p.approach} {p.side} {p.target_level} {p.feasible} {len(p.needles)}" for p in plans)
    return words, np.array([point for path in paths for point in (path.entry_mm, path.target_mm)])


def plans_apart_mm(images: list[tuple[Volume, Mask]]) -> float:
    """Largest distance of an entry or target of any plan from that of the first image; infinite for unlike plans."""
    words, first = planned(*images[0])
    print("  ", "; ".join(words), flush=True)
    apart = 0.0
    for number, image in enumerate(images[1:], start=2):
        said, points = planned(*image)
        same = said == words and points.shape == first.shape
        apart = max(apart, float(np.abs(points - first).max(initial=0.0)) if same else np.inf)
        print(f"  {number} of {len(images)}: {apart:.6f} mm", flush=True)
    return apart


def scan(name: str, plans: int) -> list[object]:
    """One scan in 48 orders."""
    ct = read_series(real(name)).volume
    lesion = ball(ct, SCANS[name])
    kept: dict[str, tuple[Volume, Mask]] = {}
    unlike: set[str] = set()
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
            unlike.add(key)
            if len(kept) < plans:
                kept.setdefault(key, (again, mask))
    images = list(kept.values())
    said = f"{plans_apart_mm(images):.6f}" if images else "not made"
    return [name, orders, voxels, masks, f"{apart:.6f}", f"{moved:.6f}", len(unlike), len(images), said]


def main() -> None:
    """Run all and write the table."""
    plans = int(sys.argv[sys.argv.index("--plans") + 1]) if "--plans" in sys.argv else 0
    rows: list[list[object]] = [HEAD]
    for name in SCANS:
        rows.append(scan(name, plans))
        print("  ".join(f"{cell!s:>12}" for cell in rows[-1]), flush=True)
        with (ROOT / "benchmarks" / "door_orientation.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
