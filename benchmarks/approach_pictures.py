"""Every approach on the real scans, on slices and on radiographs. Writes docs/pictures/approach_<scan>.png.

Run: python benchmarks/approach_pictures.py taichi|acrin. The lesions are made-up balls: in the body of S1 for the
approaches to the body, in the left ala for those from behind, in S3 where the scan shows the hiatus. Each row is the
best plan of one approach: the slice through the needle that lies across the patient, the one along it, and simulated
AP and lateral radiographs with the needle. A second picture, approach_skin_<scan>.png, maps how well each place of the
skin leads to the lesion. Scans: taichi2018Jan_ctscan (CC0); TCIA ACRIN-FLT-Breast (CC BY 3.0).
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data import data_root  # noqa: E402

from sacroplasty.anatomy import segment  # noqa: E402
from sacroplasty.approach import plan_trajectories  # noqa: E402
from sacroplasty.approach.scene import scene_of  # noqa: E402
from sacroplasty.approach.tissue import Tissue  # noqa: E402
from sacroplasty.case import Case  # noqa: E402
from sacroplasty.fluoroscopy import CArm, View, displayed, render  # noqa: E402
from sacroplasty.io import read_ct  # noqa: E402
from sacroplasty.lesion import lesion_from_sphere  # noqa: E402
from sacroplasty.plan import Approach  # noqa: E402
from sacroplasty.report.skin_map import skin_map  # noqa: E402

FILES = {"taichi": "taichi/ct_sacrum_0.7mm.nii.gz", "acrin": "acrin/ct_pelvis_4.25mm.nii.gz"}
BODY = (Approach.TRANS_SACROILIAC, Approach.TRANSILIAC, Approach.ANTERIOR_OBLIQUE)
BEHIND = (Approach.POSTERIOR_SHORT_AXIS, Approach.POSTERIOR_LONG_AXIS)
HIATUS = (Approach.INTERPEDICULAR,)
# Balls (x, y, z, radius) in LPS mm, and the approaches that are shown on them.
LESIONS = {
    "taichi": (((-14, 55, -1242, 8), BODY), ((22, 62, -1250, 8), BEHIND), ((-14, 55, -1242, 8), HIATUS)),
    "acrin": (((-17, 74, -731, 8), BODY), ((18, 86, -733, 8), BEHIND), ((-18, 123, -765, 6), HIATUS)),
}
HALF_MM, STEP_MM = 90.0, 0.6
EDGES = {Tissue.CANAL: "cyan", Tissue.TUNNEL: "yellow", Tissue.SI_JOINT: "magenta", Tissue.SACRUM: "lime"}


def slice_through(ct, scene, lesion, path, across):
    """CT, tissue and lesion on the plane through a path spanned by its direction and `across`, and the plane's axes."""
    u = path.direction
    v = across - (across @ u) * u
    v = v / np.linalg.norm(v)
    middle = path.point_at(0.6 * path.length_mm)
    steps = np.arange(-HALF_MM, HALF_MM, STEP_MM)
    points = middle + steps[None, :, None] * u + steps[:, None, None] * v
    index = np.rint(ct.grid.voxel_from_patient.points(points)).astype(int)
    inside = ((index >= 0) & (index < np.array(ct.grid.shape))).all(-1)
    index = np.clip(index, 0, np.array(ct.grid.shape) - 1)
    hu = np.where(inside, ct.array[index[..., 0], index[..., 1], index[..., 2]], -1000)
    return hu, scene.tissue_at(points), lesion.mask.contains(points), middle, u, v


def draw_slice(axes, parts, plan, title):
    """A grey slice with outlines and the needles' part within 3 mm of it."""
    hu, tissue, target, middle, u, v = parts
    box = (-HALF_MM, HALF_MM, -HALF_MM, HALF_MM)
    axes.imshow(hu, cmap="gray", vmin=-160, vmax=600, origin="lower", extent=box)
    for kind, colour in EDGES.items():
        if (tissue == kind).any():
            axes.contour(tissue == kind, levels=[0.5], colors=colour, linewidths=0.6, origin="lower", extent=box)
    if target.any():
        axes.contour(target, levels=[0.5], colors="red", linewidths=1.0, origin="lower", extent=box)
    for needle in plan.needles:
        line = needle.trajectory.point_at(np.linspace(0, needle.trajectory.length_mm, 200)) - middle
        near = np.abs(line @ np.cross(u, v)) < 3.0
        axes.plot((line @ u)[near], (line @ v)[near], color="orange", lw=1.2)
    axes.set_title(title, fontsize=7)
    axes.axis("off")


def draw_radiograph(axes, ct, plan, primary, title):
    """A simulated radiograph about the tip."""
    carm = CArm.profile()
    shot = render(ct, View(carm, primary, 0.0, plan.first.tip_mm), needles=plan.needles, step_mm=2.0)
    axes.imshow(displayed(shot).rgb)
    axes.set_title(title, fontsize=7)
    axes.axis("off")


def shown(ct, anatomy, scan: str):
    """Lesion and lead plan of every approach, feasible or not."""
    for (x, y, z, radius), approaches in LESIONS[scan]:
        lesion = lesion_from_sphere(ct, anatomy, (x, y, z), radius)
        for plan in plan_trajectories(ct, anatomy, lesion, approaches=approaches, alternatives=1):
            print(scan, plan.approach, plan.side, plan.feasible, plan.reasons[0], flush=True)
            yield lesion, plan


def draw_skin(ct, anatomy, scan: str) -> None:
    """The report's map of the skin, every approach to the first lesion."""
    (x, y, z, radius), _ = LESIONS[scan][0]
    lesion = lesion_from_sphere(ct, anatomy, (x, y, z), radius)
    plans = plan_trajectories(ct, anatomy, lesion)
    drawn = skin_map(Case(scan, ct, anatomy=anatomy, lesions=(lesion,), plans=plans))
    if drawn is not None:
        (ROOT / "docs" / "pictures" / f"approach_skin_{scan}.png").write_bytes(drawn)


def shrink(file: Path) -> None:
    """The picture in few colours, small enough for the documentation."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").resize((picture.width * 7 // 10, picture.height * 7 // 10))
    small.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, optimize=True)


def main() -> None:
    """Draw one scan."""
    scan = sys.argv[1]
    ct = read_ct(data_root() / FILES[scan], acknowledge=["all"])
    anatomy = segment(ct)
    rows = [(lesion, plan) for lesion, plan in shown(ct, anatomy, scan) if plan.needles]
    figure, axes = plt.subplots(len(rows), 4, figsize=(9.6, 2.5 * len(rows)), squeeze=False)
    for (lesion, plan), place in zip(rows, axes, strict=True):
        scene, path = scene_of(ct, anatomy, lesion), plan.first.trajectory
        frame = anatomy.frame
        state = "" if plan.feasible else " (NOT FEASIBLE, nearest miss)"
        sideways = plan.approach not in (*BEHIND, *HIATUS)
        first, second = (frame.dorsal, frame.cranial) if sideways else (frame.left, frame.cranial)
        second = frame.dorsal if not sideways else second
        draw_slice(place[0], slice_through(ct, scene, lesion, path, np.asarray(first)), plan, f"{plan.approach}{state}")
        worst = plan.first.clearances[0]
        words = f"nearest {worst.structure} {worst.distance_mm:.1f} mm"
        draw_slice(place[1], slice_through(ct, scene, lesion, path, np.asarray(second)), plan, words)
        draw_radiograph(place[2], ct, plan, 180.0, "AP, simulated")
        draw_radiograph(place[3], ct, plan, 90.0, "lateral, simulated")
    figure.tight_layout(pad=0.3)
    out = ROOT / "docs" / "pictures" / f"approach_{scan}.png"
    figure.savefig(out, dpi=75)
    shrink(out)
    draw_skin(ct, anatomy, scan)
    print("wrote", out.name)


if __name__ == "__main__":
    main()
