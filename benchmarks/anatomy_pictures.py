"""Structures found in CTs, to be looked at. Writes docs/pictures/anatomy_structures_NAME.png for each NAME=CASE_FOLDER.

A case folder holds CT and anatomy (`sacroplasty run` or `sacroplasty segment`). From left to right, all as the report
draws slices: the sacrum's symmetry plane, a sagittal slice through the left anterior foramen of S1, and an axial
slice through the anterior foramina of every level, with what is known of each.

Usage: python benchmarks/anatomy_pictures.py acrin=/path/to/case ...
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt

from sacroplasty.anatomy import Face
from sacroplasty.case import Case, CaseFolder
from sacroplasty.plan import Level, Side
from sacroplasty.report.imaging import Outline, Plane, SliceStyle, axial, draw_slice, mid_sagittal, sagittal
from sacroplasty.workflow import load_case

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
COLOURS = {
    "sacrum": "red", "canal": "cyan", "root_tunnel": "yellow", "disc_l5_s1": "violet", "l5": "lime",
    "hip_left": "dodgerblue", "hip_right": "dodgerblue", "coccyx": "magenta", "si_joint_left": "orange",
    "si_joint_right": "orange",
}  # fmt: skip


def planes(case: Case) -> list[tuple[Plane, SliceStyle]]:
    """What is shown of a case: two slices along the body, one across it for each level with a known foramen."""
    anatomy = case.anatomy
    middle = anatomy.labels.mask("sacrum").centroid_mm()
    found = [(mid_sagittal(anatomy, middle), SliceStyle(150, 150, "mid-sagittal"))]
    first = anatomy.foramen(Level.S1, Side.LEFT, Face.ANTERIOR)
    if first is not None and first.state.known:
        centre = (first.centre_mm[0], middle[1], middle[2])
        found.append((sagittal(centre), SliceStyle(150, 150, "sagittal, left S1 foramen")))
    for level in list(Level)[:4]:
        pair = [anatomy.foramen(level, side, Face.ANTERIOR) for side in (Side.RIGHT, Side.LEFT)]
        known = [one for one in pair if one is not None and one.state.known]
        if known:
            _, y, z = np.mean([one.centre_mm for one in known], axis=0)
            said = ", ".join(f"{one.side.value} {one.state.value}" for one in known)
            found.append((axial((middle[0], y, z)), SliceStyle(150, 150, f"{level.value}: {said}")))
    return found


def drawn(case: Case) -> Image.Image:
    """One row of slices with the outlines of everything found."""
    labels = case.anatomy.labels
    outlines = [Outline(labels.mask(name), colour) for name, colour in COLOURS.items() if labels.has(name)]
    shown = planes(case)
    figure, axes = plt.subplots(1, len(shown), figsize=(2.3 * len(shown), 2.6), dpi=110, squeeze=False)
    for one, (plane, style) in zip(axes[0], shown, strict=True):
        draw_slice(one, case.ct, plane, "bone", outlines, style)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.88, 0.03)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer).convert("RGB")


def main() -> None:
    """Draw the cases named."""
    for argument in sys.argv[1:]:
        name, _, folder = argument.partition("=")
        path = PICTURES / f"anatomy_structures_{name}.png"
        drawn(load_case(CaseFolder.open(Path(folder)))).quantize(128).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
