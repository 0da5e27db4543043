"""The pictures of a case: masks on slices, the needle on slices and radiographs, cement clouds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from sacroplasty.anatomy import Face, Foramen
from sacroplasty.case import Case
from sacroplasty.fluoroscopy import Contour, Radiograph, displayed
from sacroplasty.plan import NeedlePlan, Plan
from sacroplasty.report.course_schematic import course_schematic
from sacroplasty.report.document import Figure
from sacroplasty.report.imaging import (
    Line,
    Marks,
    Outline,
    Overlay,
    Plane,
    SliceStyle,
    along_trajectory,
    axial,
    coronal,
    sagittal,
    slice_picture,
)
from sacroplasty.report.review_sheet import review_sheet
from sacroplasty.report.skin_map import skin_map
from sacroplasty.space import Mask, Points

# Colours that stay apart for the colour-blind (Okabe and Ito's palette).
_COLOURS = {
    "sacrum": "#56B4E9", "hip_left": "#009E73", "hip_right": "#009E73", "l5": "#F0E442", "coccyx": "#56B4E9",
    "canal": "#CC79A7", "root_tunnel": "#CC79A7", "si_joint_left": "#E69F00", "si_joint_right": "#E69F00",
    "lesion": "#D55E00", "cement": "#FFFFFF", "needle": "#F0E442", "femur_left": "#009E73", "femur_right": "#009E73",
}  # fmt: skip
_WIDE = SliceStyle(width_mm=220, height_mm=180)


def bone_outlines(case: Case) -> tuple[Outline, ...]:
    """Contours of the bones and lumens that were found."""
    labels = case.require("anatomy").labels
    return tuple(Outline(labels.mask(name), colour, name) for name, colour in _COLOURS.items() if labels.has(name))


def _lesion_outline(case: Case) -> tuple[Outline, ...]:
    return tuple(Outline(lesion.mask, _COLOURS["lesion"], "lesion") for lesion in case.lesions)


def _needle_lines(plan: Plan) -> tuple[Overlay, ...]:
    return tuple(Line(n.trajectory.entry_mm, n.tip_mm, _COLOURS["needle"], "needle") for n in plan.needles)


def _planes(centre_mm: Iterable[float]) -> tuple[Plane, ...]:
    centre = tuple(centre_mm)
    return axial(centre), sagittal(centre), coronal(centre)


def _slices(
    case: Case, planes: Iterable[Plane], overlays: tuple[Overlay, ...], said: str, window: str = "bone"
) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            slice_picture(case.ct, plane, window, overlays, _WIDE),
            f"{plane.name.capitalize()} slice through {', '.join(f'{v:.0f}' for v in plane.centre_mm)} mm: {said}.",
            0.5,
        )
        for plane in planes
    )


def anatomy_pictures(case: Case) -> tuple[Figure, ...]:
    """Bones, canal, root tunnels and foramina on slices through the middle of the sacrum and through S1."""
    anatomy = case.require("anatomy")
    middle = anatomy.labels.mask("sacrum").centroid_mm()
    known = [f.centre_mm for f in anatomy.foramina if f.state.known]
    marks = (Marks(np.array(known), "#FF0000", "foramina", 3.0),) if known else ()
    planes = list(_planes(middle))
    levels = [level for level in anatomy.levels if level.state.known]
    if levels:
        planes.append(axial(levels[0].body_centre_mm))
    said = "sacrum blue, hips green, L5 yellow, canal and root tunnels pink, SI joints orange, foramina red dots"
    return _slices(case, planes, (*bone_outlines(case), *marks), said)


def review_pictures(case: Case) -> tuple[Figure, ...]:
    """The imaging review sheet: standard planes through the lesion in two windows, levels, walls, measurements."""
    if not case.lesions:
        return ()
    anatomy = case.require("anatomy")
    sheet = review_sheet(case.ct, anatomy, case.lesions, plan=case.plan, mr=anatomy.maps.get("mr"))
    return (Figure(sheet, "Imaging review sheet: standard planes through the lesion, measurements drawn.", 1.0),)


def needle_planes(needle: NeedlePlan) -> tuple[Plane, ...]:
    """The plane along the needle, and axial and sagittal planes through the tip."""
    return along_trajectory(needle.trajectory), axial(needle.tip_mm), sagittal(needle.tip_mm)


def needle_pictures(case: Case) -> tuple[Figure, ...]:
    """The first needle on a slice along it and on slices through its tip, bones and lesion outlined."""
    plan = case.plan
    if plan is None:
        return ()
    overlays = (*bone_outlines(case), *_lesion_outline(case), *_needle_lines(plan))
    said = "needle yellow (dashed where it leaves the slice), lesion red"
    schematic = course_schematic(case.require("anatomy"), case.lesions, plan)
    drawn = Figure(schematic, "Schematic of the needle's course through the structures it crosses.", 0.5)
    return (*_slices(case, needle_planes(plan.first), overlays, said), drawn)


def skin_pictures(case: Case) -> tuple[Figure, ...]:
    """Where the skin may be entered, one map per feasible approach; nothing where none is feasible."""
    drawn = skin_map(case)
    if drawn is None:
        return ()
    words = (
        "The skin from behind, per feasible approach: the brighter, the more room the best legal path from there has; "
        "grey: no legal path. Circles: planned entries; crosses: marks that can be felt, and the hiatus."
    )
    return (Figure(drawn, words, 1.0),)


def radiograph_png(shot: Radiograph, contours: Sequence[Contour] = ()) -> bytes:
    """A radiograph for the eye as PNG: side letters, angles, position and scale burnt in."""
    buffer = io.BytesIO()
    Image.fromarray(displayed(shot, contours).rgb).save(buffer, format="PNG")
    return buffer.getvalue()


def view_contours(case: Case, shot: Radiograph) -> tuple[Contour, ...]:
    """What to look for in a view: the planned needle, and the foramina as far as they are known."""
    project = shot.view.detector_from_patient.points
    contours = []
    for foramen in case.require("anatomy").foramina:
        if foramen.state.known and foramen.face is Face.ANTERIOR:
            ring = _ring(foramen)
            contours.append(Contour(project(ring), (86, 180, 233), f"{foramen.level}", dashed=True))
    plan = case.plan
    for needle in plan.needles if plan is not None else ():
        ends = project([needle.trajectory.entry_mm, needle.tip_mm])
        contours.append(Contour(ends, (240, 228, 66), "", width=1))
    return tuple(contours)


def _ring(foramen: Foramen) -> Points:
    """A circle (25, 3) of the foramen's size across its axis."""
    axis = np.asarray(foramen.axis)
    first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    turn = np.linspace(0, 2 * np.pi, 25)[:, None]
    return np.asarray(foramen.centre_mm) + foramen.radius_mm * (np.cos(turn) * first + np.sin(turn) * second)


def view_pictures(case: Case) -> tuple[Figure, ...]:
    """Every simulated radiograph with the needle where it projects."""
    said = "planned needle yellow, anterior foramina blue"
    return tuple(
        Figure(
            radiograph_png(shot, view_contours(case, shot)),
            f"{shot.view.name}, {shot.view.angles_label} (simulated): {said}.",
            0.5,
        )
        for shot in case.views
    )


def cement_pictures(case: Case) -> tuple[Figure, ...]:
    """The simulated cement cloud on three slices through its middle."""
    if case.cement is None:
        return ()
    filled = case.cement.saturation
    cloud = Mask(np.asarray(filled.array) >= 0.5, filled.grid)
    if cloud.is_empty():
        return ()
    overlays = (*bone_outlines(case), *_lesion_outline(case), Outline(cloud, _COLOURS["cement"], "cement"))
    return _slices(case, _planes(cloud.centroid_mm()), overlays, "simulated cement white, lesion red")
