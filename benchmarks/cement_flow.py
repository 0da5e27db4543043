"""The flow solver against closed forms, and its cost: pressure, radius by direction, CPU seconds, memory.

Prints a table and writes benchmarks/cement_flow.csv. One thread. Usage: python benchmarks/cement_flow.py [n ...]
"""

from __future__ import annotations

import csv
import resource
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from sacroplasty.cement import Medium, Source, inject

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.cement.blocks import CEMENT_PA_S, MARROW_PA_S, PERMEABILITY_M2, POROSITY, RATE_ML_S, cone_radius_mm

SIDE_MM, VOLUME_ML = 40.0, 4.0


def row(n: int, kind: str, updates: int) -> dict[str, object]:
    """One block of n³ voxels."""
    permeability = np.full((n, n, n), PERMEABILITY_M2)
    if kind == "heterogeneous":
        field = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((n, n, n)), 0.05 * n)
        permeability = permeability * 10 ** (0.5 * field / field.std())
        permeability[: n // 5] = 1e-13
    h = SIDE_MM / n
    medium = Medium(permeability, np.full((n, n, n), POROSITY), h)
    source = Source.at((n // 2,) * 3, 0.9)
    options = {"rate_ml_s": RATE_ML_S, "cement": CEMENT_PA_S, "marrow_pa_s": MARROW_PA_S}
    inject(medium, source, volume_ml=0.02, updates=2, **options)
    start = time.process_time()
    result = inject(medium, source, volume_ml=VOLUME_ML, updates=updates, **options)
    used = time.process_time() - start
    line: dict[str, object] = {
        "voxels": f"{n}^3", "kind": kind, "updates": updates, "fields": len(result.injected_ml),
        "iterations": result.iterations, "cpu_s": round(used, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "balance_error": f"{abs(result.placed_ml + result.escaped_ml.sum() - VOLUME_ML) / VOLUME_ML:.1e}",
        "tip_pressure_error_percent": "", "axis_percent": "", "edge_percent": "", "corner_percent": "",
    }  # fmt: skip
    if kind == "homogeneous":
        radius = (3 * VOLUME_ML * 1e3 / (4 * np.pi * POROSITY)) ** (1 / 3)
        front = (3 * result.injected_ml[-2] * 1e3 / (4 * np.pi * POROSITY)) ** (1 / 3) * 1e-3
        q = RATE_ML_S * 1e-6 / (4 * np.pi * PERMEABILITY_M2)
        exact = q * (CEMENT_PA_S * (1 / 0.9e-3 - 1 / front) + MARROW_PA_S * (1 / front - 1 / 0.0248))
        line["tip_pressure_error_percent"] = round(100 * (float(result.tip_pressure_pa[-1]) / exact - 1), 2)
        for name, family in (("axis", (1, 0, 0)), ("edge", (1, 1, 0)), ("corner", (1, 1, 1))):
            found = cone_radius_mm(result.saturation, h, (n // 2,) * 3, family)
            line[f"{name}_percent"] = round(100 * (found / radius - 1), 2)
    return line


def main() -> None:
    """Runs the sizes given on the command line, 40, 64 and 128 without."""
    rows = []
    for n in [int(a) for a in sys.argv[1:]] or [40, 64, 128]:
        for kind in ("homogeneous", "heterogeneous"):
            for updates in (5, 16) if n < 128 else (16,):
                rows.append(row(n, kind, updates))
                print(rows[-1], flush=True)
    with (Path(__file__).parent / "cement_flow.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
