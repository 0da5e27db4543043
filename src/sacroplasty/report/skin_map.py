"""Where on the skin a needle may enter, seen from behind as the operator stands before the prone patient."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sacroplasty.approach import SkinAccess, palpable_marks, skin_access
from sacroplasty.case import Case
from sacroplasty.plan import Approach, Plan, as_point
from sacroplasty.report.imaging import DOTS_PER_INCH, Plane, SliceStyle, letters_and_scale, png
from sacroplasty.space import Mask, Points

# Silhouettes that tell where on the back one is, and what is marked on the skin.
BONES = ("sacrum", "hip_left", "hip_right", "l5")
MARKS = {"psis_left": "PSIS", "psis_right": "PSIS", "l5_spinous_process": "L5 spine", "hiatus": "hiatus"}
# The colour scale ends here: more margin makes no entry better.
MOST_MARGIN_MM = 6.0
PIXEL_MM, RIM_MM, COLUMNS = 2.0, 15.0, 3
PANEL_INCHES, TITLE_INCHES = 3.6, 0.3


def feasible_first(plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """The best feasible plan of every approach, in the order of their ranks."""
    found: dict[Approach, Plan] = {}
    for plan in plans:
        if plan.feasible:
            found.setdefault(plan.approach, plan)
    return tuple(found.values())


def skin_map(case: Case) -> bytes | None:
    """A PNG with one map per feasible approach, each with the planned entries; None where no approach is feasible."""
    plans = feasible_first(case.plans)
    if not plans:
        return None
    anatomy, lesion = case.require("anatomy"), case.lesions[0]
    maps = [skin_access(case.ct, anatomy, lesion, plan.approach, plan.first.needle) for plan in plans]
    columns = min(COLUMNS, len(plans))
    rows = -(-len(plans) // columns)
    entries = [needle.trajectory.entry_mm for plan in plans for needle in plan.needles]
    plane, style = view_from_behind(
        np.concatenate([*(access.points_mm for access in maps), np.reshape(entries, (-1, 3))])
    )
    tall = PANEL_INCHES * style.height_mm / style.width_mm + TITLE_INCHES
    figure = Figure(figsize=(PANEL_INCHES * columns + 0.7, tall * rows), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in axes[len(plans) :]:
        place.set_axis_off()
    dots = None
    for place, plan, access in zip(axes, plans, maps, strict=False):
        dots = _draw(place, case, plane, style, plan, access)
    figure.subplots_adjust(0.01, 0.01, 0.89, 1 - TITLE_INCHES / (tall * rows), 0.03, TITLE_INCHES / tall)
    bar = figure.colorbar(dots, cax=figure.add_axes((0.91, 0.15, 0.015, 0.7)))
    bar.set_label("room beyond what is required, mm", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return png(figure)


def view_from_behind(points_mm: Points) -> tuple[Plane, SliceStyle]:
    """The plane, and the size of the picture, that holds positions (n, 3) seen from behind; the left is on the left."""
    low, high = points_mm.min(axis=0), points_mm.max(axis=0)
    half = (high - low) / 2 + RIM_MM
    plane = Plane("from behind", as_point((low + high) / 2), (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    return plane, SliceStyle(width_mm=2 * float(half[0]), height_mm=2 * float(half[2]))


def _draw(axes: Any, case: Case, plane: Plane, style: SliceStyle, plan: Plan, access: SkinAccess) -> Any:
    anatomy = case.require("anatomy")
    for name in BONES:
        if anatomy.labels.has(name):
            _silhouette(axes, plane, style, anatomy.labels.mask(name))
    across, down = plane.place(access.points_mm)[:, :2].T
    legal = ~np.isnan(access.margin_mm)
    axes.scatter(across[~legal], down[~legal], c="0.82", s=3, linewidths=0)
    margins = access.margin_mm[legal]
    dots = axes.scatter(across[legal], down[legal], c=margins, s=9, linewidths=0, vmin=0, vmax=MOST_MARGIN_MM)
    for number, needle in enumerate(plan.needles, start=1):
        x, y = plane.place(needle.trajectory.entry_mm)[:2]
        axes.plot(x, y, "o", ms=9, mfc="none", mec="#D55E00", mew=1.8)
        axes.annotate(str(number), (x, y), xytext=(7, 5), textcoords="offset points", color="#D55E00", fontsize=8)
    for name, mark_mm in palpable_marks(anatomy).items():
        x, y = plane.place(mark_mm)[:2]
        axes.plot(x, y, "+", ms=7, color="black", mew=1.2)
        axes.annotate(MARKS[name], (x, y), xytext=(4, -8), textcoords="offset points", fontsize=6, annotation_clip=True)
    axes.set(xlim=(-style.width_mm / 2, style.width_mm / 2), ylim=(style.height_mm / 2, -style.height_mm / 2))
    axes.set_aspect("equal")
    axes.set_axis_off()
    letters_and_scale(axes, plane, style, "black")
    axes.set_title(f"{plan.approach}, {plan.side}", fontsize=8)
    return dots


def _silhouette(axes: Any, plane: Plane, style: SliceStyle, mask: Mask) -> None:
    across, down, _ = plane.place(mask.points_mm()).T
    width, height = style.width_mm / 2, style.height_mm / 2
    edges = np.arange(-width, width + PIXEL_MM, PIXEL_MM), np.arange(-height, height + PIXEL_MM, PIXEL_MM)
    counts, *_ = np.histogram2d(across, down, bins=edges)
    if counts.any():
        centres = [edge[:-1] + PIXEL_MM / 2 for edge in edges]
        axes.contour(*centres, (counts > 0).T.astype(float), levels=[0.5], colors=["0.45"], linewidths=0.7)
