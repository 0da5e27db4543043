"""Known walls of the papers' phantoms: how many faces of a destroyed and of an intact cortex count as broken.

In a phantom every wall stands, 0.5 to 1.2 mm thick, but those its lesion took. `cement_marrow_hu` and
`cement_cortex_open_below` were chosen on zhang-2 with a look at yeo, on walls and not on any leak; zhang-1 judges.
Prints a table and writes benchmarks/cement_walls.csv. Usage: python benchmarks/cement_walls.py [case ...]
"""

from __future__ import annotations

import csv
import itertools
import sys
from pathlib import Path

import numpy as np

from cement_cases import CEMENT, patient_of
from sacroplasty.cement.material import cortex_mm
from sacroplasty.cement.tissue import VALUE, region_grid, tissue_map
from sacroplasty.evidence import value

MARGIN_MM = 22.0
# What a lesion's destroyed walls border on, and what is never destroyed.
WALLS = {"presacral": ("presacral",), "foramen": ("foramen",), "canal": ("canal",)}


def rows_of(name: str, spacing_mm: float) -> list[dict[str, object]]:
    """One line per wall."""
    ct, anatomy, lesion, plan = patient_of(name)
    tissue = tissue_map(ct, anatomy, lesion, plan, region_grid(lesion, plan, spacing_mm, MARGIN_MM))
    cortex, sacrum = cortex_mm(tissue), tissue.labels == VALUE["sacrum"]
    least = value("assumptions.cement_cortex_open_below")
    rows = []
    for wall, parts in WALLS.items():
        numbers = [n for n, label in tissue.compartments.names.items() if any(part in label for part in parts)]
        outside = np.isin(tissue.compartments.array, numbers)
        found: dict[bool, list[np.ndarray]] = {True: [], False: []}
        for axis, step, gone in itertools.product(range(3), (1, -1), (True, False)):
            face = np.argwhere(sacrum & np.roll(outside, step, axis) & (tissue.lesion == gone))
            face[:, axis] += step < 0
            face = face[(face < sacrum.shape).all(axis=1)]
            found[gone].append(cortex[(*face.T, axis)])
        destroyed, intact = np.concatenate(found[True]), np.concatenate(found[False])
        rows.append({
            "case": name, "spacing_mm": spacing_mm, "wall": wall,
            "beside_lesion": len(destroyed),
            "open_beside_lesion_percent": round(100 * float((destroyed < least).mean())) if len(destroyed) else "",
            "intact": len(intact), "open_intact_percent": round(100 * float((intact < least).mean())),
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """The cases named, all without."""
    rows = [row for name in sys.argv[1:] or list(CEMENT) for spacing in (1.0, 2.0) for row in rows_of(name, spacing)]
    with (Path(__file__).parent / "cement_walls.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
