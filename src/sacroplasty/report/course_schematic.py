"""The needle's course drawn as a schematic in its own axial plane, like Zhang et al. 2008, figure 1C; the course
through the canal in its sagittal plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sacroplasty.anatomy import Anatomy
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Approach, Plan
from sacroplasty.report.imaging import (
    DOTS_PER_INCH,
    PIXEL_MM,
    Plane,
    SliceStyle,
    along_trajectory,
    letters_and_scale,
    occupancy,
    png,
    sagittal_along,
)
from sacroplasty.space import Mask

SKIN, BACKGROUND = "#e9d5c4", "#ffffff"
FILLS = (
    ("hip_left", "#d8cba8"), ("hip_right", "#d8cba8"), ("l5", "#e3ddc8"), ("sacrum", "#efe6c8"),
    ("si_joint_left", "#9fc7d8"), ("si_joint_right", "#9fc7d8"), ("root_tunnel", "#ffcf87"), ("canal", "#ffe98a"),
)  # fmt: skip
LESION = "#e26a6a"
# The picture reaches this far beyond the needle's ends.
MARGIN_MM = 25.0
# Numbers of the crossed structures stand this far beside the shaft.
NUMBER_MM = 6.0


def course_schematic(anatomy: Anatomy, lesions: Sequence[Lesion], plan: Plan) -> bytes:
    """A PNG of the schematic: skin, ilium, joint, sacrum, canal, lesion, and the needle with what it crosses."""
    figure = Figure(figsize=(6.0, 4.6), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    draw_course(figure.add_axes((0.01, 0.01, 0.98, 0.88)), anatomy, lesions, plan)
    return png(figure)


def draw_course(axes: Any, anatomy: Anatomy, lesions: Sequence[Lesion], plan: Plan) -> None:
    """Draws the schematic of a plan's first needle on matplotlib axes."""
    path = plan.first.trajectory
    # A course in the midline shows what it passes from the side.
    plane = sagittal_along(path) if plan.approach is Approach.INTERPEDICULAR else along_trajectory(path)
    style = _style(plane, plan)
    across = np.arange(-style.width_mm / 2, style.width_mm / 2, PIXEL_MM)
    down = np.arange(-style.height_mm / 2, style.height_mm / 2, PIXEL_MM)
    points = plane.points(*np.meshgrid(across, down))
    layers: list[tuple[Mask, str]] = [(anatomy.body, SKIN)]
    layers += [(anatomy.labels.mask(name), colour) for name, colour in FILLS if anatomy.labels.has(name)]
    layers += [(lesion.mask, LESION) for lesion in lesions]
    for mask, colour in layers:
        inside = occupancy(mask, points)
        if inside.max() >= 0.5:
            axes.contourf(across, down, inside, levels=[0.5, 1.1], colors=[colour])
            axes.contour(across, down, inside, levels=[0.5], colors=["#5a5040"], linewidths=0.6)
    _needle(axes, plane, plan)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(down[-1], down[0])
    axes.set_aspect("equal")
    axes.set_axis_off()
    letters_and_scale(axes, plane, style, "black")
    tilt = f"{'cephalad' if path.cephalad_deg >= 0 else 'caudad'} {abs(path.cephalad_deg):.0f} deg"
    turn = f"{'left' if path.leftward_deg >= 0 else 'right'} {abs(path.leftward_deg):.0f} deg"
    axes.set_title(f"Schematic, {plan.approach} course from the {plan.side}: {tilt}, {turn}", fontsize=8, loc="left")


def _style(plane: Plane, plan: Plan) -> SliceStyle:
    ends = np.abs(plane.place([plan.first.trajectory.entry_mm, plan.first.trajectory.target_mm])).max(axis=0)
    height = 2 * max(ends[1] + MARGIN_MM, 55.0)
    return SliceStyle(width_mm=max(2 * (ends[0] + MARGIN_MM), 1.35 * height), height_mm=height)


def _needle(axes: Any, plane: Plane, plan: Plan) -> None:
    """The shaft, and a numbered tick where each structure begins, listed below in order."""
    needle = plan.first
    path = needle.trajectory
    ends = plane.place([path.entry_mm, path.target_mm])
    axes.plot(ends[:, 0], ends[:, 1], color="black", lw=2.0, solid_capstyle="butt")
    axes.plot(*ends[1, :2], "o", color="black", ms=3.5)
    lines = [f"skin 0.0 mm, tip {path.length_mm:.1f} mm"]
    along = (ends[1] - ends[0])[:2] / max(float(np.linalg.norm((ends[1] - ends[0])[:2])), 1e-9)
    for number, crossing in enumerate(needle.crossings, start=1):
        at = plane.place(path.point_at(crossing.start_depth_mm))[:2]
        # Numbers stand on alternate sides of the shaft: thin structures follow each other closely.
        beside = at + NUMBER_MM * (-1) ** number * np.array([along[1], -along[0]])
        axes.plot(*np.stack([at, beside], axis=1), color="black", lw=0.6)
        axes.plot(*beside, "o", color="white", mec="black", ms=8)
        axes.text(*beside, str(number), fontsize=5.5, ha="center", va="center")
        name = crossing.structure.replace("_", " ")
        warning = "" if crossing.permitted else "  not permitted"
        lines.append(f"{number} {name} {crossing.start_depth_mm:.1f} to {crossing.end_depth_mm:.1f} mm{warning}")
    axes.text(
        0.99, 0.02, "\n".join(lines), transform=axes.transAxes, fontsize=6, ha="right", va="bottom",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )  # fmt: skip
