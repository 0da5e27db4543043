"""All planned views of a real scan with needle and outlines, and the two papers' figures after cement.

Run: python benchmarks/fluoroscopy_pictures.py taichi|acrin [ANATOMY.pkl]; writes docs/pictures/fluoroscopy_<scan>.png.
`rehearsal` instead of a scan draws the last checkpoints of both approaches on the phantom.
The lesions are made-up balls, the needles the best plan of the paper's own approach: across the SI joint into S1
(Zhang 2008, figure 1D-G: lateral and AP with the needle, then with cement), and between the pedicles into S3 where the
scan shows the hiatus (Yeo 2024, figure 2A-C: needle, frontal and lateral with cement). The cement is a drawn ball of
the papers' volumes, 6 and 2 mL, not a simulated flow. Scans: taichi2018Jan_ctscan (CC0); TCIA ACRIN-FLT-Breast
(CC BY 3.0). The pickle of (CT, anatomy) spares the segmentation.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data import data_root  # noqa: E402

from sacroplasty.anatomy import segment  # noqa: E402
from sacroplasty.approach import plan_trajectories  # noqa: E402
from sacroplasty.fluoroscopy import (  # noqa: E402
    CArm,
    Tissues,
    contours,
    displayed,
    planned_views,
    rehearsal,
    rehearsal_frames,
    render,
    sheet,
)
from sacroplasty.io import read_ct  # noqa: E402
from sacroplasty.lesion import lesion_from_sphere  # noqa: E402
from sacroplasty.phantom import build_phantom  # noqa: E402
from sacroplasty.plan import Approach, Level  # noqa: E402
from sacroplasty.space import Grid, Volume  # noqa: E402

FILES = {"taichi": "taichi/ct_sacrum_0.7mm.nii.gz", "acrin": "acrin/ct_pelvis_4.25mm.nii.gz"}
# Ball (x, y, z, radius) in LPS mm, approach, cement in mL.
CASES = {
    "taichi": (((-14, 55, -1242, 8), Approach.TRANS_SACROILIAC, 6.0),),
    "acrin": (
        ((-17, 74, -731, 8), Approach.TRANS_SACROILIAC, 6.0),
        ((-18, 123, -765, 6), Approach.INTERPEDICULAR, 2.0),
    ),
}
PIXELS, ACROSS, TILE = 256, 5, 280


def drawn_cement(tip_mm, volume_ml: float) -> Volume:
    """A ball of cement about a tip, its rim soft over one voxel."""
    radius = (3000.0 * volume_ml / (4 * np.pi)) ** (1 / 3)
    tip = np.asarray(tip_mm)
    grid = Grid.aligned(tip - radius - 3, tip + radius + 3, 1.0)
    distance = np.linalg.norm(grid.centres_mm() - tip, axis=-1)
    return Volume(np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32), grid, "1")


def pictures_of(ct, anatomy, tissues, ball, approach, cement_ml) -> list[np.ndarray]:
    """Every planned view with its needle, then AP and lateral with cement."""
    lesion = lesion_from_sphere(ct, anatomy, ball[:3], ball[3])
    plan = plan_trajectories(ct, anatomy, lesion, approaches=(approach,))[0]
    found = planned_views(plan, anatomy, ct, CArm.profile().with_pixels(PIXELS), lesion)
    shown = []
    for n, planned in enumerate(found):
        shot = render(tissues, planned.view, plan.needles, seed=n)
        seen = sum(v.seen.value == "seen" for v in planned.visibility)
        words = f"{plan.approach}: {seen} of {len(planned.visibility)} seen"
        if not planned.reach.possible:
            words += f"; {planned.reach.reason}"
        drawn = contours(anatomy, planned.view, planned.visibility, [plan.target_level])
        shown.append(displayed(shot, drawn, caption=words, scale=2).rgb)
        print(planned.view.name, planned.view.angles_label, words)
    cement = drawn_cement(plan.first.tip_mm, cement_ml)
    for planned in [p for p in found if p.view.name.startswith(("AP (S1", "true"))]:
        shot = render(tissues, planned.view, cement=cement, seed=90)
        shown.append(displayed(shot, caption=f"{cement_ml:.0f} mL of cement, drawn", scale=2).rgb)
    return shown


def rehearsed() -> np.ndarray:
    """The last two checkpoints of both papers' approaches on the phantom, in AP and lateral."""
    phantom = build_phantom(spacing_mm=1.5, truth_spacing_mm=1.5)
    ct, anatomy, tissues, rows = phantom.ct, phantom.anatomy, Tissues.of(phantom.ct), []
    for level, approach in ((Level.S1, Approach.TRANS_SACROILIAC), (Level.S3, Approach.INTERPEDICULAR)):
        lesion = lesion_from_sphere(ct, anatomy, anatomy.require_level(level).body_centre_mm, 6.0)
        plan = plan_trajectories(ct, anatomy, lesion, approaches=(approach,))[0]
        planned = planned_views(plan, anatomy, ct, CArm.profile().with_pixels(PIXELS), lesion)
        views = [p.view for p in planned if p.view.name.startswith((f"AP ({level}", "true"))]
        stops = rehearsal(plan.first, anatomy, views)
        for stop in stops:
            print(approach, stop)
        rows.append(sheet(rehearsal_frames(tissues, plan.first, anatomy, views, stops[-2:])))
    return np.concatenate(rows, axis=1)


def main() -> None:
    """Draw the sheet of one scan."""
    name = sys.argv[1]
    if name == "rehearsal":
        Image.fromarray(rehearsed()).quantize(192).save(PICTURES / "fluoroscopy_rehearsal.png", optimize=True)
        return
    if len(sys.argv) > 2:
        ct, anatomy = pickle.loads(Path(sys.argv[2]).read_bytes())
    else:
        ct = read_ct(data_root() / FILES[name])
        anatomy = segment(ct)
    tissues, shown = Tissues.of(ct), []
    for case in CASES[name]:
        shown += pictures_of(ct, anatomy, tissues, *case)
    shown += [np.zeros_like(shown[0])] * (-len(shown) % ACROSS)
    rows = [np.concatenate(shown[n : n + ACROSS], axis=1) for n in range(0, len(shown), ACROSS)]
    picture = Image.fromarray(np.concatenate(rows)).resize((TILE * ACROSS, TILE * len(rows)), Image.Resampling.LANCZOS)
    picture.quantize(128).save(PICTURES / f"fluoroscopy_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
