"""Time and memory of the anatomy of a CT of 512 x 512 x 200 voxels, bare and with labels; adds to anatomy_cost.csv.

The CT is a simulated pelvis in a field of 400 x 400 x 250 mm. Each way is run once in a process of its own, kernels
compiled before. CPU time is of user and system over all threads; peak is the process's, with
the input.

    PYTHONPATH=src python benchmarks/anatomy_cost.py --count 2
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time

import numpy as np

from anatomy_rows import Row, count_asked, extended
from sacroplasty.anatomy import segment
from sacroplasty.phantom import PhantomShape, build_phantom
from sacroplasty.space import Grid

WAYS = ("bare CT", "given labels")
SHAPE, SPACING_MM = (512, 512, 200), (0.78, 0.78, 1.25)
LOW_MM = (-200.0, -210.0, -165.0)


def child(way: str, pipe) -> None:
    """Build, segment, send the row."""
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = LOW_MM
    phantom = build_phantom(PhantomShape.norm(), grid=Grid.from_affine(SHAPE, affine), truth_spacing_mm=1.5)
    labels = phantom.anatomy.labels if way == "given labels" else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    wall, cpu = time.perf_counter(), time.process_time()
    segment(phantom.ct, labels)
    row = {
        "way": way, "cpu_s": round(time.process_time() - cpu, 1), "wall_s": round(time.perf_counter() - wall, 1),
        "load_average": round(os.getloadavg()[0], 1), "peak_before_mb": before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip
    pipe.send([row])


def measured(way: str) -> list[Row]:
    """The rows of one way, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=child, args=(way, theirs))
    process.start()
    rows = mine.recv()
    process.join()
    return rows


def main() -> None:
    """Measure the ways that are not in the table yet."""
    extended("anatomy_cost.csv", "way", WAYS, count_asked(__doc__, 2), measured)


if __name__ == "__main__":
    main()
