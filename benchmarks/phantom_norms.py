"""Dimensions measured on drawn phantoms against the published norms they were drawn from; prints and writes a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from sacroplasty.anatomy import Anatomy, Face
from sacroplasty.evidence import evidence
from sacroplasty.phantom import PhantomShape
from sacroplasty.phantom.geometry import geometry
from sacroplasty.phantom.truth import true_anatomy
from sacroplasty.plan import Level
from sacroplasty.space import Frame, Grid, Transform

SUBJECTS = 60


def measured(seed: int) -> dict[str, float]:
    """Named dimensions (mm) of one subject, taken from its truth."""
    shape = PhantomShape.drawn(seed)
    g = geometry(shape, prone=False, contrast=False, metal="none", table=False)
    grid = Grid.aligned((-60, -20, -120), (60, 90, 20), 12.0)
    anatomy: Anatomy = true_anatomy(shape, g, Transform.identity(Frame.PATIENT), grid)
    found: dict[str, float] = {}
    for level in (Level.S1, Level.S2, Level.S3, Level.S4):
        for face in Face:
            places = [
                anatomy.frame.coordinates(f.centre_mm) for f in anatomy.foramina if f.level is level and f.face is face
            ]
            key = f"phantom.{level.value.lower()}_{face.value}"
            found[f"{key}_lateral"] = float(np.mean([abs(p[1]) for p in places]))
            if face is Face.ANTERIOR:
                found[f"{key}_arc"] = float(np.mean([p[0] for p in places]))
    assert anatomy.hiatus is not None
    found["phantom.hiatus_depth"] = anatomy.hiatus.depth_mm
    found["phantom.hiatus_height"] = anatomy.hiatus.length_mm
    found["phantom.hiatus_intercornual_width"] = anatomy.hiatus.width_mm
    found["phantom.interauricular_distance"] = 2 * shape.half_width_mm[0]
    return found


def main() -> None:
    """Measure, print, write."""
    rows = [measured(seed) for seed in range(1, SUBJECTS + 1)]
    path = Path(__file__).with_suffix(".csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dimension", "published_mm", "published_low", "published_high", "phantom_mean", "phantom_sd"])
        for key in rows[0]:
            values = np.array([row[key] for row in rows])
            entry = evidence(key)
            line = [key, entry.value, entry.low, entry.high, f"{values.mean():.2f}", f"{values.std(ddof=1):.2f}"]
            writer.writerow(line)
            print(*line, sep="\t")


if __name__ == "__main__":
    main()
