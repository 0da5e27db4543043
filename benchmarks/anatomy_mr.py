"""T1 and T2 of one session, each registered to the CT on its own: how far apart they put the sacrum. One real patient.

There is no invasive truth; two series that agree can still err together. Writes benchmarks/anatomy_mr.csv.

    PYTHONPATH=src python benchmarks/anatomy_mr.py
"""

from __future__ import annotations

import csv
import itertools
import time
from pathlib import Path

import numpy as np

from pelvis_shape_build import data_root
from sacroplasty.anatomy import register_mr, segment
from sacroplasty.io import read_ct, read_series
from sacroplasty.space import Grid

SERIES = ("mr_t2_sag", "mr_t1_sag")


def main() -> None:
    """Register both series and write one row each, and their distance."""
    folder = data_root() / "taichi"
    ct = read_ct(folder / "ct_sacrum_0.7mm.nii.gz")
    sacrum = segment(ct).labels.mask("sacrum")
    corners = Grid.aligned(sacrum.points_mm().min(axis=0), sacrum.points_mm().max(axis=0), 40.0).corners_mm
    rows, places = [], []
    for name in SERIES:
        start = time.process_time()
        found = register_mr(ct, read_series(folder / f"{name}.nii.gz", modality="MR").volume, sacrum)
        places.append(found.ct_from_mr.inverse.points(corners))
        rows.append({
            "series": name, "mutual_information": round(found.mutual_information, 3),
            "prominence": round(found.prominence, 3), "agreement": found.agreement,
            "overlap": round(found.overlap, 2), "cpu_s": round(time.process_time() - start, 1),
        })  # fmt: skip
    for one, other in itertools.combinations(range(len(SERIES)), 2):
        apart = np.linalg.norm(places[one] - places[other], axis=1)
        for row in (rows[one], rows[other]):
            row |= {"apart_mean_mm": round(float(apart.mean()), 2), "apart_max_mm": round(float(apart.max()), 2)}
    for row in rows:
        print(row)
    with (Path(__file__).parent / "anatomy_mr.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
