"""One click on thick slices: overlap and volume of what grows, by slice thickness.

Run `python benchmarks/lesion_slices.py [--dev]`; appends to lesion_slices.csv, one row per lesion and thickness, and
leaves out what is there. Lesions like those of lesion_phantoms.py in scans of 0.8 mm, whose slices are then averaged.
Pelves 2 to 4; pelvis 1 (`--dev`, no CSV) served to set the method. The anatomy is the phantom's truth.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.lesion_phantoms import FIELD, draw  # noqa: E402

from sacroplasty.errors import AnatomyError  # noqa: E402
from sacroplasty.lesion import lesion_from_click  # noqa: E402
from sacroplasty.phantom import Phantom, PhantomShape, build_phantom  # noqa: E402
from sacroplasty.phantom.lesion import insert_lesion  # noqa: E402
from sacroplasty.space import Grid, Volume  # noqa: E402

SPACING_MM = 0.8
# Slices averaged into one: 0.8, 3.2 and 4.8 mm.
TOGETHER = (1, 4, 6)
EACH = 12
TABLE = Path(__file__).with_name("lesion_slices.csv")


def thick(ct: Volume, together: int) -> Volume:
    """The scan with that many slices averaged into one, as a scanner's detector row does."""
    number = ct.array.shape[2] // together
    array = ct.array[:, :, : number * together].reshape(*ct.array.shape[:2], number, together).mean(axis=3)
    affine = np.array(ct.grid.affine_lps)
    affine[:3, 3] += affine[:3, 2] * (together - 1) / 2
    affine[:3, 2] *= together
    return Volume(array.astype(np.float32), Grid.from_affine(array.shape, affine, ct.grid.frame_of_reference_uid))


def examine(phantom: Phantom, seed: int, number: int, thicknesses: Sequence[int]) -> Iterator[dict[str, object]]:
    """One lesion, clicked near its centre on every thickness (slices averaged into one)."""
    rng = np.random.default_rng(5000 * seed + number)
    shape, level, _ = draw(phantom, rng, number)
    ct, mask = insert_lesion(phantom.ct, phantom.anatomy, shape)
    inside = mask.points_mm()
    click = inside[np.argmin(np.linalg.norm(inside - mask.centroid_mm() - rng.normal(0, 1.5, 3), axis=1))]
    for together in thicknesses:
        start = time.process_time()
        row: dict[str, object] = {
            "anatomy": seed, "lesion": number, "kind": shape.kind, "level": level,
            "slice_mm": round(together * SPACING_MM, 1), "true_ml": round(mask.volume_ml, 3),
            "click_ml": 0.0, "click_dice": 0.0,
        }  # fmt: skip
        try:
            grown = lesion_from_click(thick(ct, together), phantom.anatomy, click).mask
            both = np.count_nonzero(grown.array & mask.array)
            total = np.count_nonzero(grown.array) + np.count_nonzero(mask.array)
            row |= {"click_ml": round(grown.volume_ml, 3), "click_dice": round(2 * both / total, 3)}
        except AnatomyError:
            pass
        yield row | {"cpu_s": round(time.process_time() - start, 2)}


def summary(rows: list[dict[str, str]]) -> None:
    """Overlap and volume error by thickness; a refusal counts as no overlap and as an error of 100 %."""
    for thickness in sorted({row["slice_mm"] for row in rows}, key=float):
        own = [row for row in rows if row["slice_mm"] == thickness]
        ratio = np.array([float(row["click_ml"]) / float(row["true_ml"]) for row in own])
        dice = np.array([float(row["click_dice"]) for row in own])
        print(
            f"{thickness} mm, {len(own)} clicks: Dice median {np.median(dice):.2f}, volume error median "
            f"{np.median(np.abs(ratio - 1)):.1%}, volume against truth median {np.median(ratio[ratio > 0]):.2f}, "
            f"worst {ratio.max():.2f}, refused {int((ratio == 0).sum())}"
        )


def main() -> None:
    """Runs what the table lacks, and writes it as it comes."""
    dev = "--dev" in sys.argv
    done = [] if dev or not TABLE.exists() else list(csv.DictReader(TABLE.open(newline="")))
    known = {(row["anatomy"], row["lesion"], row["slice_mm"]) for row in done}
    for seed in (1,) if dev else (2, 3, 4):
        wanted = {
            number: [n for n in TOGETHER if (str(seed), str(number), str(round(n * SPACING_MM, 1))) not in known]
            for number in range(EACH)
        }
        if not any(wanted.values()):
            continue
        phantom = build_phantom(PhantomShape.drawn(seed), spacing_mm=SPACING_MM, field_of_view_mm=FIELD)
        for number, thicknesses in wanted.items():
            examined = examine(phantom, seed, number, thicknesses)
            rows = [{key: str(cell) for key, cell in row.items()} for row in examined]
            if rows and not dev:
                with TABLE.open("a", newline="") as file:
                    writer = csv.DictWriter(file, list(rows[0]))
                    if not done:
                        writer.writeheader()
                    writer.writerows(rows)
            done += rows
    summary(done)


if __name__ == "__main__":
    main()
