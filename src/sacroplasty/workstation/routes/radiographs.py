"""Simulated radiographs at the slider's pace: picture, numbers behind it, and what to draw over it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Query, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy import (
    PROFILES,
    CArm,
    Display,
    PatientPosition,
    Radiograph,
    View,
    console_angles,
    displayed,
    reach,
    render,
    view_from_console,
)
from sacroplasty.fluoroscopy.display import NOTICE, NOTICE_REAL, is_mirrored, letters, toned
from sacroplasty.fluoroscopy.projector import STEP_MM
from sacroplasty.fluoroscopy.rim import foramen_rim
from sacroplasty.plan import Needle, NeedlePlan, Point, Trajectory
from sacroplasty.space import Points, Volume
from sacroplasty.workstation.casebook import stored_json
from sacroplasty.workstation.refusals import UNPROCESSABLE, Refused, not_there
from sacroplasty.workstation.routes.paths import plan_of_rank
from sacroplasty.workstation.station import CaseId, Computing, Here, Station

router = APIRouter(tags=["radiographs"])
_POINT = r"^-?\d{1,4}(\.\d{1,6})?(,-?\d{1,4}(\.\d{1,6})?){2}$"
PointText = Annotated[str, Query(pattern=_POINT, description="x,y,z in patient LPS mm")]


class Shot(BaseModel):
    """One picture asked for."""

    model_config = ConfigDict(extra="forbid")
    lao_deg: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] = 0.0
    cra_deg: Annotated[float, Field(ge=-85, le=85, allow_inf_nan=False)] = 0.0
    size: Annotated[int, Field(ge=32, le=1024)] = 256
    carm: Annotated[str, Field(pattern=f"^({'|'.join(PROFILES)})$")] = "mobile"
    patient_position: PatientPosition = PatientPosition.HFP
    isocentre: Annotated[str, Field(pattern=_POINT)] | None = None
    plan: Annotated[int, Field(ge=1, le=1000)] | None = None
    entry: Annotated[str, Field(pattern=_POINT)] | None = None
    target: Annotated[str, Field(pattern=_POINT)] | None = None
    gauge: Annotated[int, Field(ge=8, le=15)] = 13
    depth_mm: Annotated[float, Field(ge=0, le=400, allow_inf_nan=False)] | None = None
    stylet: bool = True
    cement_ml: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    contrast: bool = False
    bone_white: bool = False
    marks: bool = True
    scale: Annotated[int, Field(ge=1, le=4)] = 1


def _shot(shot: Annotated[Shot, Query()]) -> Shot:
    return shot


Asked = Annotated[Shot, Depends(_shot)]


def point_of(text: str) -> Point:
    """x,y,z."""
    x, y, z = (float(part) for part in text.split(","))
    return x, y, z


def isocentre_of(here: Station, case: str) -> Point:
    """The lesion's centre, or the middle of the sacrum where there is no lesion yet."""
    folder = here.casebook.open(case)
    if folder.has("lesion"):
        x, y, z = stored_json(here.casebook, case, "lesion")[0]["centre_mm"]
        return x, y, z
    if folder.has("segment"):
        x, y, z = here.warm.anatomy(case).labels.mask("sacrum").centroid_mm()
        return float(x), float(y), float(z)
    low, high = here.warm.ct(case).grid.bounds_mm
    x, y, z = (low + high) / 2
    return float(x), float(y), float(z)


def view_of(here: Station, case: str, shot: Shot) -> View:
    """The posed C-arm of a picture."""
    centre = point_of(shot.isocentre) if shot.isocentre else isocentre_of(here, case)
    carm = CArm.profile(shot.carm).with_pixels(shot.size)
    return view_from_console(carm, shot.lao_deg, shot.cra_deg, centre, shot.patient_position)


def first_view(here: Station, case: str) -> View:
    """What the slider shows first."""
    return view_of(here, case, Shot())


def needles_of(here: Station, case: str, shot: Shot) -> tuple[NeedlePlan, ...]:
    """The needles in a picture, as deep as asked."""
    if (shot.entry is None) != (shot.target is None):
        raise InputError("A path needs its entry and its target", remedy="Give both, or a plan's rank")
    if shot.entry and shot.target:
        path = Trajectory(point_of(shot.entry), point_of(shot.target))
        found: tuple[NeedlePlan, ...] = (NeedlePlan(Needle.gauge(shot.gauge), path),)
    elif shot.plan is not None:
        found = plan_of_rank(here, case, shot.plan).needles
    else:
        return ()
    if shot.depth_mm is None:
        return found
    deep = [(one, min(shot.depth_mm, one.trajectory.length_mm)) for one in found]
    return tuple(replace(one, trajectory=one.trajectory.moved(target_mm=one.trajectory.point_at(depth)))
                 for one, depth in deep if depth >= 1)  # fmt: skip


def _cement(here: Station, case: str, shot: Shot) -> Volume | None:
    """Simulated cement so far, as the share of each voxel."""
    if shot.cement_ml is None:
        return None
    result = here.warm.cement(case)
    arrived = np.asarray(result.cloud_at(shot.cement_ml).array)
    share = np.clip(np.where(arrived, result.cement_fraction.array, 0.0), 0.0, 1.0).astype(np.float32)
    return Volume(share, result.cement_fraction.grid, "1") if share.any() else None


def _contrast(here: Station, case: str, shot: Shot) -> Volume | None:
    """The simulated venogram as iodine."""
    if not shot.contrast:
        return None
    from sacroplasty.evidence import value

    cloud = here.warm.venogram(case).concentration
    iodine = np.asarray(cloud.array, dtype=np.float32) * np.float32(value("assumptions.venogram_iodine"))
    return Volume(np.maximum(iodine, 0), cloud.grid, "mg/ml")


def taken(here: Station, case: str, shot: Shot) -> Radiograph:
    """The picture asked for, sampled no finer than its pixels: a slider must not wait for what it cannot show."""
    view = view_of(here, case, shot)
    return render(
        here.warm.tissues(case), view, needles_of(here, case, shot), cement=_cement(here, case, shot),
        contrast=_contrast(here, case, shot), stylet=shot.stylet,
        step_mm=max(STEP_MM, view.carm.isocentre_pixel_mm),
    )  # fmt: skip


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A picture as PNG, packed quickly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


@router.get(
    "/cases/{case}/radiograph.png", response_class=Response, responses={200: {"content": {"image/png": {}}}},
    dependencies=[Computing],
)  # fmt: skip
def picture(here: Here, case: CaseId, shot: Asked) -> Response:
    """As a person sees it: the patient's right on the left, letters and notice burnt in unless `marks` is false."""
    radiograph = taken(here, case, shot)
    if shot.marks:
        return Response(
            png(displayed(radiograph, bone_white=shot.bone_white, scale=shot.scale).rgb), media_type="image/png"
        )
    grey = toned(radiograph, bone_white=shot.bone_white)
    shown = grey[:, ::-1] if is_mirrored(radiograph.view) else grey
    return Response(png(np.ascontiguousarray(shown)), media_type="image/png")


@router.get(
    "/cases/{case}/radiograph.f32", response_class=Response, dependencies=[Computing],
    responses={200: {"content": {"application/octet-stream": {}}}},
)  # fmt: skip
def numbers(here: Here, case: CaseId, shot: Asked) -> Response:
    """Attenuation as float32, little endian, rows from the top, as the source sees it."""
    content = np.asarray(taken(here, case, shot).attenuation, dtype="<f4").tobytes()
    return Response(content, media_type="application/octet-stream")


@router.get("/cases/{case}/radiograph.json", dependencies=[Computing])
def described(here: Here, case: CaseId, shot: Asked) -> dict[str, Any]:
    """Angles in words, side letters, whether the machine can stand there, and outlines to lay over the picture."""
    view = view_of(here, case, shot)
    skin = here.warm.skin(case) if here.casebook.open(case).has("segment") else None
    return {**facts_of(view, simulated=True), "reach": _reach(view, skin), "overlays": overlays(here, case, view, shot)}


def _reach(view: View, skin: Points | None) -> dict[str, Any]:
    found = reach(view, skin)
    gap = found.gap_mm if np.isfinite(found.gap_mm) else None
    return {"possible": found.possible, "reason": found.reason, "gap_mm": gap}


def facts_of(view: View, *, simulated: bool) -> dict[str, Any]:
    """What must stand beside a picture of a view."""
    lao, cra = console_angles(view)
    mirrored = is_mirrored(view)
    patient = view.camera_from_patient.inverse
    right = patient.vectors((-1.0 if mirrored else 1.0, 0.0, 0.0))
    up = patient.vectors((0.0, -1.0, 0.0))
    return {
        "name": view.name, "angles_label": view.angles_label, "tilt_words": view.tilt_words, "lao_deg": lao,
        "cra_deg": cra, "primary_deg": view.primary_deg, "secondary_deg": view.secondary_deg, "mirrored": mirrored,
        "simulated": simulated, "notice": NOTICE if simulated else NOTICE_REAL, "carm": view.carm.name,
        "letters": {"left": letters(-right), "right": letters(right), "up": letters(up), "down": letters(-up)},
        "pixel_mm_at_isocentre": view.carm.isocentre_pixel_mm, "size": view.carm.columns,
        "rows": view.carm.rows,
        "isocentre_mm": list(view.isocentre_mm), "patient_position": view.patient_position.value,
    }  # fmt: skip


def overlays(here: Station, case: str, view: View, shot: Shot) -> list[dict[str, Any]]:
    """Outlines in pixels of the shown picture, by kind, with how surely each is known."""
    folder = here.casebook.open(case)
    frame = Display(np.zeros((1, 1, 3), dtype=np.uint8), view, is_mirrored(view), 1)
    found: list[dict[str, Any]] = []

    def add(name: str, kind: str, state: str, points_mm: npt.ArrayLike) -> None:
        uv = view.detector_from_patient.points(np.asarray(points_mm, dtype=np.float64))
        if np.isfinite(uv).all():
            shown = np.round(frame.points(uv), 2).tolist()
            found.append({"name": name, "kind": kind, "state": state, "points": shown})

    if folder.has("segment"):
        anatomy = here.warm.anatomy(case)
        for foramen in anatomy.foramina:
            if foramen.state.known:
                add(foramen.name, "foramen", foramen.state.value, foramen_rim(foramen))
        add("ventral cortex", "ventral cortex", "measured", anatomy.frame.ventral_curve_mm)
        if anatomy.canal is not None and anatomy.canal.state.known:
            add("sacral canal", "canal", anatomy.canal.state.value, anatomy.canal.centreline_mm)
        for root in anatomy.roots:
            if root.state.known:
                add(root.name, "root", root.state.value, root.points_mm)
    for n, needle in enumerate(needles_of(here, case, shot), start=1):
        path = needle.trajectory
        add(f"needle {n}", "needle", "given", [path.entry_mm, path.target_mm])
    return found


@router.get("/cases/{case}/views")
def views(here: Here, case: CaseId) -> dict[str, Any]:
    """The stored views of the chosen plan, for the buttons."""
    shots = here.warm.views(case)
    found = []
    for number, shot in enumerate(shots, start=1):
        facts = facts_of(shot.view, simulated=shot.simulated)
        seen = [
            {"structure": v.structure, "detectability": v.detectability, "seen": v.seen.value} for v in shot.visibility
        ]
        url = f"/api/cases/{case}/views/{number}.png"
        found.append({"number": number, "url": url, "purpose": shot.purpose, "visibility": seen, **facts})
    return {"views": found}


@router.get(
    "/cases/{case}/views/{number}.png", response_class=Response, responses={200: {"content": {"image/png": {}}}}
)
def stored_view(here: Here, case: CaseId, number: int) -> Response:
    """A stored view as its picture lies in the case folder."""
    folder = here.casebook.open(case)
    if not folder.has("views"):
        raise not_there("The case has no views yet", remedy="Run the stage views first")
    names = sorted(name for name in folder.index["stages"]["views"]["files"] if name.endswith(".png"))
    if not 1 <= number <= len(names):
        raise not_there("There is no view of this number", got=str(number)[:20])
    return Response(folder.file("views", names[number - 1]).read_bytes(), media_type="image/png")


@router.get("/cases/{case}/views/entry")
def entry_view(here: Here, case: CaseId, entry: PointText, target: PointText) -> dict[str, Any]:
    """The view down a path under edit: hub, shaft and tip in one point."""
    path = Trajectory(point_of(entry), point_of(target))
    from sacroplasty.fluoroscopy import angles_of

    primary, secondary = angles_of(-path.direction)
    here.casebook.open(case)
    if abs(secondary) > 85:
        raise Refused(UNPROCESSABLE, "No C-arm looks along the body", got=f"{secondary:.0f} degrees")
    view = View(CArm.profile(), primary, secondary, path.target_mm, PatientPosition.HFP, "entry (down the needle)")
    skin = here.warm.skin(case) if here.casebook.open(case).has("segment") else None
    return {**facts_of(view, simulated=True), "reach": _reach(view, skin)}
