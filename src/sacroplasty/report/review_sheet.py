"""The imaging review sheet: standard planes through the lesion with everything outlined, and the measurements.

One PNG for the talk before the procedure: CT in the bone window, MR (or CT in the soft-tissue window) beside it, the
axial schematic of the needle's course where there is a plan, and what was measured in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import AnatomyError, GeometryError, InputError
from sacroplasty.lesion import (
    Integrity,
    Lesion,
    Measurement,
    Suitability,
    distances_to_nerves,
    hiatus_margin_mm,
    marrow_along,
    marrow_space_at_level,
    skin_to_lesion,
)
from sacroplasty.plan import Approach, Plan, as_point
from sacroplasty.report.course_schematic import draw_course
from sacroplasty.report.imaging import (
    DOTS_PER_INCH,
    NOT_FOR_CLINICAL_USE,
    Line,
    Marks,
    Outline,
    Overlay,
    Plane,
    SliceStyle,
    Text,
    axial,
    draw_slice,
    mid_sagittal,
    png,
    sacral_coronal,
)
from sacroplasty.report.suitability_section import describe_suitability
from sacroplasty.space import Volume

LESION, SACRUM, CANAL, TUNNEL, BREACH, LEVEL, NEEDLE, FRACTURE, MEASURE = (
    "#ff5f5f", "#5fd7ff", "#ffd75f", "#ffaf5f", "#ff5fff", "#afffaf", "#ffffff", "#5f87ff", "#d7ff00",
)  # fmt: skip
# A lesion whose centre is nearer to the symmetry plane than this is shown in that plane.
MIDLINE_MM = 6.0
# Lines that fit below the pictures.
COLUMN_ROWS = 29
STYLE = SliceStyle(width_mm=150.0, height_mm=130.0)


def standard_planes(anatomy: Anatomy, lesion: Lesion) -> tuple[Plane, Plane, Plane]:
    """Axial, sagittal and coronal oblique through the lesion's centre, the last two along the sacrum's own axes.

    The sagittal plane is the symmetry plane where the lesion lies in the midline, else parallel to it.
    """
    middle = mid_sagittal(anatomy, lesion.centre_mm)
    gap = float(np.linalg.norm(np.subtract(lesion.centre_mm, middle.centre_mm)))
    if gap > MIDLINE_MM:
        left = float(np.dot(np.subtract(lesion.centre_mm, middle.centre_mm), anatomy.frame.left)) > 0
        name = f"sagittal, {gap:.0f} mm {'left' if left else 'right'} of the midline"
        middle = Plane(name, lesion.centre_mm, middle.right, middle.down)
    return axial(lesion.centre_mm), middle, sacral_coronal(anatomy, lesion.centre_mm)


def standard_overlays(
    anatomy: Anatomy, lesions: Sequence[Lesion] = (), plan: Plan | None = None, *, levels: bool = False
) -> tuple[Overlay, ...]:
    """Outlines of sacrum, canal, root tunnels and lesions, breached walls, needles, and where asked for the levels."""
    outlines: list[Overlay] = [
        Outline(anatomy.labels.mask(name), colour)
        for name, colour in (("sacrum", SACRUM), ("canal", CANAL), ("root_tunnel", TUNNEL))
        if anatomy.labels.has(name)
    ]
    for lesion in lesions:
        outlines.append(Outline(lesion.mask, LESION))
        outlines += [Marks(wall.breach_mm, BREACH) for wall in lesion.breached]
        outlines += [Marks(fracture.points_mm, FRACTURE, reach_mm=1.0) for fracture in lesion.fractures]
    if levels:
        outlines += _levels(anatomy)
    if plan is not None:
        outlines += [Line(needle.trajectory.entry_mm, needle.trajectory.target_mm, NEEDLE) for needle in plan.needles]
    return tuple(outlines)


def _levels(anatomy: Anatomy) -> list[Overlay]:
    """A name at every body, and a line across the bone at every body's lower border."""
    overlays: list[Overlay] = []
    frame = anatomy.frame
    for level in anatomy.levels:
        if not level.state.known:
            continue
        overlays.append(Text(level.body_centre_mm, str(level.level), LEVEL))
        arc = min(level.lower_arc_mm, float(frame.arc_mm[-1]))
        base = np.array([np.interp(arc, frame.arc_mm, frame.ventral_curve_mm[:, axis]) for axis in range(3)])
        dorsal = np.cross(np.asarray(frame.left), frame.tangent_at(arc))
        # Half a body's depth marks the border without covering the canal.
        depth = float(np.linalg.norm(np.subtract(level.body_centre_mm, base)))
        overlays.append(Line(as_point(base), as_point(base + depth * dorsal), LEVEL, reach_mm=200.0))
    return overlays


def measurements_of(
    anatomy: Anatomy, lesion: Lesion, plan: Plan | None = None
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """What both papers measure: marrow space at the level, along a plan its depths, and the four nearest nerves.

    The second part holds the sentences on what cannot be measured in this scan.
    """
    tasks: list[Callable[[], Measurement]] = []
    level = lesion.main_level
    if level is not None:
        tasks.append(lambda: marrow_space_at_level(anatomy, level, lesion.centre_mm))
    if plan is not None:
        path = plan.first.trajectory
        tasks += [lambda: skin_to_lesion(anatomy, lesion, path), lambda: marrow_along(anatomy, lesion, path)]
    found: list[Measurement] = []
    missing: list[str] = [] if level is not None else ["The lesion's level is not known"]
    for task in tasks:
        try:
            found.append(task())
        except AnatomyError as refusal:
            missing.append(refusal.sentence)
    return (*found, *distances_to_nerves(anatomy, lesion)[:4]), tuple(missing)


def measured_lines(measurements: Sequence[Measurement], plane: Plane) -> tuple[Line, ...]:
    """The measurements that lie in a plane, as lines with the letters under which the sheet lists them."""
    lines = (
        Line(m.start_mm, m.end_mm, MEASURE, f"{letter} {m.value_mm:.0f} mm", caliper=True)
        for letter, m in zip(ascii_lowercase, measurements, strict=False)
    )
    return tuple(
        line for line in lines if np.abs(plane.place([line.start_mm, line.end_mm])[:, 2]).max() <= line.reach_mm
    )


def hiatus_lines(anatomy: Anatomy, plan: Plan | None) -> list[str]:
    """The sacral hiatus' depth against the planned needle, where a plan goes through it and it is known."""
    if plan is None or plan.approach is not Approach.INTERPEDICULAR or anatomy.hiatus is None:
        return []
    needle = plan.first.needle
    margin = hiatus_margin_mm(anatomy, needle)
    if margin is None:
        return ["  not measured: depth of the sacral hiatus"]
    depth, width = anatomy.hiatus.depth_mm, needle.outer_diameter_mm
    return [f"  hiatus depth {depth:.1f} mm, needle {width:.1f} mm: {margin:.1f} mm free on each side"]


def review_sheet(
    ct: Volume,
    anatomy: Anatomy,
    lesions: Lesion | Sequence[Lesion],
    *,
    mr: Volume | None = None,
    plan: Plan | None = None,
    suitability: Suitability | None = None,
    title: str = "Imaging review",
) -> bytes:
    """A PNG of the review sheet for the first lesion, all lesions outlined.

    `mr` must be registered: a volume of another frame of reference raises GeometryError. Without it the second row
    shows the CT in the soft-tissue window.
    """
    found = (lesions,) if isinstance(lesions, Lesion) else tuple(lesions)
    if not found:
        raise InputError("The review sheet needs a lesion", got="none", remedy="Give a mask, a sphere or a click first")
    if mr is not None:
        _require_registered(ct, mr)
    figure = Figure(figsize=(13.0, 13.6), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.985, title, fontsize=13, weight="bold", va="top")
    figure.text(0.98, 0.985, NOT_FOR_CLINICAL_USE, fontsize=8, va="top", ha="right", color="#a00000")
    planes = standard_planes(anatomy, found[0])
    measured, missing = measurements_of(anatomy, found[0], plan)
    second: tuple[Volume, str, str] = (ct, "soft tissue", "CT") if mr is None else (mr, "MR", "MR")
    for row, (volume, window, name) in enumerate(((ct, "bone", "CT"), second)):
        for column, plane in enumerate(planes):
            axes = figure.add_axes((0.015 + 0.33 * column, 0.665 - 0.315 * row, 0.31, 0.268))
            levels = column > 0
            overlays = standard_overlays(anatomy, found, plan, levels=levels) if row == 0 else ()
            overlays += measured_lines(measured, plane) if row == 0 else _lean(anatomy, found, levels=levels)
            style = SliceStyle(STYLE.width_mm, STYLE.height_mm, f"{name}, {plane.name}")
            draw_slice(axes, volume, plane, window, overlays, style)
    _legend(figure)
    if plan is not None:
        draw_course(figure.add_axes((0.015, 0.015, 0.40, 0.27)), anatomy, found, plan)
    lines = [line for lesion in found for line in describe_lesion(lesion)]
    lines += ["", "Measured:", *(f"  {a} {m.describe()}" for a, m in zip(ascii_lowercase, measured, strict=False))]
    lines += [*hiatus_lines(anatomy, plan), *(f"  not measured: {m}" for m in missing)]
    left = 0.44 if plan is not None else 0.02
    _column(figure, left, lines)
    if suitability is not None:
        _column(figure, left + 0.29, describe_suitability(suitability))
    return png(figure)


def _lean(anatomy: Anatomy, lesions: Sequence[Lesion], *, levels: bool) -> tuple[Overlay, ...]:
    """The second row leaves the bone free to be read: lesions, destroyed walls and levels, no other outline."""
    outlines: list[Overlay] = [Outline(lesion.mask, LESION) for lesion in lesions]
    outlines += [Marks(wall.breach_mm, BREACH) for lesion in lesions for wall in lesion.breached]
    return (*outlines, *(_levels(anatomy) if levels else ()))


def _require_registered(ct: Volume, mr: Volume) -> None:
    ours, theirs = ct.grid.frame_of_reference_uid, mr.grid.frame_of_reference_uid
    if ours and theirs and ours != theirs:
        raise GeometryError(
            "The MR lies in another frame of reference than the CT",
            got=f"{theirs} against {ours}",
            remedy="Register it to the CT first",
        )


def _legend(figure: Any) -> None:
    entries = (
        ("sacrum", "#0090c0"), ("canal", "#b08800"), ("root tunnels", "#d07000"), ("lesion", "#d02020"),
        ("breached wall", "#c000c0"), ("fracture", "#0060ff"), ("levels", "#30a030"), ("measured", "#90a800"),
        ("needle: solid in the plane, dashed off it", "#606060"),
    )  # fmt: skip
    x = 0.02
    for name, colour in entries:
        figure.text(x, 0.312, f"▬ {name}", color=colour, fontsize=8)
        x += 0.035 + 0.0068 * len(name)


def _column(figure: Any, left: float, lines: Sequence[str]) -> None:
    rows = [part for line in lines for part in (textwrap.wrap(line, 58, subsequent_indent="    ") or [""])]
    if len(rows) > COLUMN_ROWS:
        rows = [*rows[: COLUMN_ROWS - 1], f"... and {len(rows) - COLUMN_ROWS + 1} more lines, see the plan report"]
    figure.text(left, 0.295, "\n".join(rows), fontsize=7.5, va="top", family="DejaVu Sans", linespacing=1.35)


def describe_lesion(lesion: Lesion) -> list[str]:
    """Kind, place, size and every wall that is not intact, in lines."""
    levels = ", ".join(f"{level} {share:.0%}" for level, share in lesion.levels.items() if share >= 0.01)
    zones = ", ".join(f"Denis {zone.value} {share:.0%}" for zone, share in lesion.zones.items() if share >= 0.01)
    numbers = lesion.measures
    lines = [
        f"{'Synthetic ' if lesion.synthetic else ''}{lesion.kind} lesion, {lesion.volume_ml:.1f} mL: {levels}; {zones}",
    ]
    if "mean_hu" in numbers:
        lines.append(
            f"  mean {numbers['mean_hu']:.0f} HU, healthy marrow there {numbers['expected_hu']:.0f} HU; "
            f"dense {numbers['sclerotic_fraction']:.0%}, dark {numbers['lytic_fraction']:.0%}"
        )
    if lesion.soft_tissue_ml >= 0.05:
        lines.append(f"  outside the bone {lesion.soft_tissue_ml:.1f} mL")
    lines += [f"  {fracture.sentence}" for fracture in lesion.fractures]
    for wall in lesion.walls:
        if wall.integrity is Integrity.NOT_ADJACENT:
            continue
        gone = f", {wall.breach_area_mm2:.0f} mm² gone" if wall.integrity is Integrity.BREACHED else ""
        lines.append(f"  {wall.name}: {wall.integrity}{gone}, {wall.to_hold_mm2:.0f} mm² to hold")
    return lines
