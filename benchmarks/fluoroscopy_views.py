"""S1 foramina: detectability at the planned AP tilt against textbook tilts, on drawn phantoms turned at random.

The judge is the planner's own measure of detectability, so this shows that the search finds what the measure prefers
and by how much fixed angles fall short of it; it is no reader study.

Run: python benchmarks/fluoroscopy_views.py [phantoms]; writes benchmarks/fluoroscopy_views.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from sacroplasty.fluoroscopy import CArm, Stage, View, judged
from sacroplasty.fluoroscopy.views import foramina_tilt
from sacroplasty.phantom import PhantomShape, build_phantom
from sacroplasty.plan import Level

TEXTBOOK = (0.0, 25.0, 30.0, 45.0)


def main() -> None:
    """Print the table and write the CSV."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    rows = []
    for seed in range(count):
        turn = tuple(np.random.default_rng(seed).uniform(-8, 8, 3))
        phantom = build_phantom(PhantomShape.drawn(seed), spacing_mm=2.0, truth_spacing_mm=2.0, rotation_deg=turn)
        anatomy = phantom.anatomy
        stage = Stage.of(phantom.ct, anatomy)
        centre = anatomy.require_level(Level.S1).body_centre_mm

        def behind(tilt: float, centre: tuple[float, float, float] = centre) -> View:
            return View(CArm.profile(), 180.0, tilt, centre)

        tilt, best = foramina_tilt(stage, Level.S1, behind, [float(t) for t in np.arange(-10, 61, 5)])
        targets = stage.named(["S1", "foramen"])
        fixed = [float(np.mean([v.detectability for v in judged(stage, behind(t), targets)])) for t in TEXTBOOK]
        rows.append([seed, f"{tilt:.0f}", f"{best:.3f}", *[f"{f:.3f}" for f in fixed]])
        print(rows[-1], flush=True)
    with Path(__file__).with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "planned_tilt_deg", "planned", *[f"at_{t:.0f}_deg" for t in TEXTBOOK]])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
