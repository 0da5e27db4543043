"""Clouds of planned cases in slices, in 3D and on radiographs, to be looked at; and one line of figures for each.

Takes case folders that hold CT, anatomy, lesion and plan. Writes docs/pictures/NAME.png and
benchmarks/NAME.csv. Usage: python benchmarks/cement_pictures.py [--out NAME] CASE_FOLDER ...
"""

from __future__ import annotations

import csv
import io
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from PIL import Image
from skimage import measure

from sacroplasty.case import CaseFolder
from sacroplasty.cement import CementResult, simulate_injection
from sacroplasty.fluoroscopy import CArm, Tissues, View, render
from sacroplasty.plan import Plan
from sacroplasty.space import Volume
from sacroplasty.workflow import load_case

ROOT = Path(__file__).resolve().parents[1]
RED = (0.9, 0.1, 0.1)


def slices(axes: list, ct: Volume, result: CementResult, lesion: np.ndarray) -> None:  # type: ignore[type-arg]
    """Axial and sagittal CT through the cloud's thickest place with cement in red and the lesion outlined."""
    grid = result.cement_fraction.grid
    hu = np.asarray(ct.resampled(grid).array)
    share = np.asarray(result.cement_fraction.array)
    labels = np.asarray(result.compartment_labels.array)
    bone = np.isin(labels, [n for n, name in result.compartment_labels.names.items() if name in ("sacrum", "lesion")])
    for axis, which, title in ((2, (0, 1), "axial"), (0, (1, 2), "sagittal")):
        place = int(np.argmax(share.sum(axis=which)))
        take = [slice(None)] * 3
        take[axis] = place  # type: ignore[call-overload]
        part = tuple(take)
        ax = axes[0 if axis == 2 else 1]
        upwards = "upper" if axis == 2 else "lower"
        ax.imshow(hu[part].T, cmap="gray", vmin=-150, vmax=700, origin=upwards, interpolation="nearest")
        ax.imshow(
            np.dstack([*(np.full(share[part].T.shape, v) for v in RED), 0.75 * (share[part].T > 0.2)]), origin=upwards
        )
        ax.contour(lesion[part].T, [0.5], colors="yellow", linewidths=0.8)
        ax.contour(bone[part].T, [0.5], colors="cyan", linewidths=0.5)
        ax.set_title(title, fontsize=7)


def solid(ax, result: CementResult) -> None:  # type: ignore[no-untyped-def]
    """Bone's surface, see-through, with the cloud, seen from behind and above."""
    labels, names = np.asarray(result.compartment_labels.array), result.compartment_labels.names
    bone = np.isin(labels, [n for n, name in names.items() if name in ("sacrum", "lesion")])
    for mask, colour, alpha, step in ((bone, "0.8", 0.12, 3), (np.asarray(result.saturation.array) > 0.5, RED, 0.9, 1)):
        if mask.any():
            points, faces, _, _ = measure.marching_cubes(np.pad(mask, 1).astype(float), 0.5, step_size=step)
            ax.plot_trisurf(*points.T, triangles=faces, color=colour, alpha=alpha, linewidth=0)
    ax.view_init(elev=25, azim=70)
    ax.set_box_aspect(labels.shape)
    ax.set_title("3D, from behind", fontsize=7)


def radiographs(axes: list, ct: Volume, plan: Plan, result: CementResult) -> None:  # type: ignore[type-arg]
    """AP and lateral radiographs with needles and cement."""
    tissues, middle = Tissues.of(ct), tuple(float(v) for v in plan.first.tip_mm)
    machine = CArm("picture", 1000.0, 650.0, 300, 300, 0.7, (-180.0, 180.0), (-60.0, 60.0), 150.0, 150.0, 200.0)
    for ax, angle, title in zip(axes, (0.0, 90.0), ("AP", "lateral"), strict=True):
        view = View(machine, angle, 0.0, middle)  # type: ignore[arg-type]
        shot = render(tissues, view, plan.needles, cement=result.cement_fraction, seed=1)
        low, high = np.percentile(shot.attenuation, [1, 99.5])
        ax.imshow(shot.attenuation, cmap="gray", vmin=low, vmax=high)
        ax.set_title(f"{title} (simulated)", fontsize=7)


def main() -> None:
    """One row of pictures for each case."""
    arguments = sys.argv[1:]
    out = "cement_clouds"
    if "--out" in arguments:
        at = arguments.index("--out")
        out = arguments[at + 1]
        del arguments[at : at + 2]
    folders = [Path(a) for a in arguments]
    figure = plt.figure(figsize=(10, 2.1 * len(folders)), dpi=80)
    rows = []
    for n, folder in enumerate(folders):
        case = load_case(CaseFolder.open(folder))
        ct, plan, lesion = case.ct, case.plan, case.lesion
        start = time.process_time()
        result = simulate_injection(ct, case.anatomy, lesion, plan)
        used = time.process_time() - start
        axes = [
            figure.add_subplot(len(folders), 5, 5 * n + m + 1, projection="3d" if m == 2 else None) for m in range(5)
        ]
        slices(axes[:2], ct, result, np.asarray(lesion.mask.resampled(result.cement_fraction.grid).array))
        solid(axes[2], result)
        radiographs(axes[3:], ct, plan, result)
        for ax in axes:
            ax.set_axis_off()
        axes[0].text(
            -0.02, 0.5, folder.name, rotation=90, fontsize=7, va="center", ha="right", transform=axes[0].transAxes
        )
        rows.append({
            "case": folder.name, "block": "x".join(map(str, result.saturation.grid.shape)),
            "injected_ml": round(result.injected_ml, 2), "lesion_fill": round(result.lesion_fill, 2),
            "leaks": "; ".join(f"{k.compartment} {k.volume_ml:.2f} mL" for k in result.leaks) or "none",
            "peak_syringe_kpa": round(result.peak_syringe_kpa), "stopped": result.stopped, "cpu_s": round(used, 1),
        })  # fmt: skip
        print(rows[-1], flush=True)
    figure.subplots_adjust(0.02, 0.01, 0.995, 0.95, 0.03, 0.12)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    small = Image.open(drawn).convert("RGB").quantize(96)
    small.save(ROOT / "docs" / "pictures" / f"{out}.png", optimize=True)
    with (ROOT / "benchmarks" / f"{out}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
