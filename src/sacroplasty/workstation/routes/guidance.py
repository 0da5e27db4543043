"""Guidance: shots, registration, clicks on the needle, and what its place means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.approach import evaluate_path
from sacroplasty.case import encode
from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy import PROFILES, NeedlePose, Registration, deviation, displayed, sighted, triangulated
from sacroplasty.fluoroscopy.rim import foramen_rim
from sacroplasty.plan import NeedlePlan, Plan, Trajectory, as_point
from sacroplasty.workstation import guiding
from sacroplasty.workstation.casebook import digest_of
from sacroplasty.workstation.jobs import write_json
from sacroplasty.workstation.refusals import CONFLICT, Refused, not_there
from sacroplasty.workstation.routes.paths import Place, plan_of_rank
from sacroplasty.workstation.routes.radiographs import facts_of, png
from sacroplasty.workstation.station import CaseId, Here, Station
from sacroplasty.workstation.uploads import folder_of as upload_folder

router = APIRouter(tags=["guidance"])
SessionId = Annotated[str, InPath(pattern="^[0-9a-f]{12}$")]
Pixel = Annotated[float, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]
Click = tuple[Pixel, Pixel]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pose(_Strict):
    """One view to take."""

    lao_deg: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    cra_deg: Annotated[float, Field(ge=-60, le=60, allow_inf_nan=False)]
    name: Annotated[str, Field(max_length=100)] = ""


class SimulateBody(_Strict):
    """Shots to simulate; the same seed gives the same patient and needle."""

    views: Annotated[list[Pose], Field(min_length=2, max_length=6)]
    seed: Annotated[int, Field(ge=0, le=2**31)]
    depth_mm: Annotated[float, Field(ge=10, le=400, allow_inf_nan=False)] | None = None
    carm: Annotated[str, Field(pattern=f"^({'|'.join(PROFILES)})$")] = "mobile"


class RealBody(_Strict):
    """An upload of XA or RF files, and where their isocentre lies in the CT."""

    upload: Annotated[str, Field(max_length=40)]
    isocentre_mm: Place


class LandmarkClicks(_Strict):
    """A known place and where it was clicked in each shot, null where it is not seen."""

    name: Annotated[str, Field(max_length=100)] = ""
    position_mm: Place
    clicks: Annotated[list[Click | None], Field(max_length=6)]


class RegisterBody(_Strict):
    """How to search; landmarks give it a start."""

    landmarks: Annotated[list[LandmarkClicks], Field(max_length=40)] = []
    calibrated: bool = True


class NeedleClick(_Strict):
    """Tip and a point on the shaft nearer the hub, in pixels of the shown picture."""

    shot: Annotated[int, Field(ge=1, le=6)]
    tip: Click
    shaft: Click


class TipBody(_Strict):
    """The needle in two shots or more, and the plan it follows."""

    clicks: Annotated[list[NeedleClick], Field(min_length=2, max_length=6)]
    plan: Annotated[int, Field(ge=1, le=1000)] | None = None


def session_shown(here: Station, case: str, session: str) -> dict[str, Any]:
    """A session as the page sees it; one of another CT is void."""
    folder = guiding.folder_of(here.casebook, case, session)
    about = guiding.read_json(folder / "session.json")
    found = guiding.registration_of(folder)
    current = about["ct"] == digest_of(here.casebook.open(case), "images")
    state = "void" if not current else "shot" if found is None else "registered" if found.accepted else "refused"
    busy = next((j for j in here.jobs.listed(case) if j.kind == "register" and not j.state.over), None)
    if busy is not None and busy.arguments.get("session") == session:
        state = "registering"
    shots = guiding.shots_of(folder)
    return {
        "id": session, "state": state, "simulated": about["simulated"], "at": about["at"],
        "shots": [
            {"n": n, "url": f"/api/cases/{case}/guidance/{session}/shots/{n}.png",
             **facts_of(shot.view, simulated=shot.simulated)}
            for n, shot in enumerate(shots, start=1)
        ],
        "registration": _registration(found), "overlays": _overlays(here, case, found) if current and found else [],
        "answers": guiding.read_json(folder / "answers.json") or [],
    }  # fmt: skip


def _registration(found: Registration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    error = float(np.sqrt(np.trace(found.covariance_at(found.centre_mm))))
    return {"accepted": found.accepted, "sentence": found.sentence, "mismatch": found.mismatch,
            "expected_error_mm": error, "restarts": found.restarts, "calibrated": found.calibrated}  # fmt: skip


def _overlays(here: Station, case: str, found: Registration) -> list[list[dict[str, Any]]]:
    """Foramina and the planned needle where the registration puts them in each shot."""
    anatomy = here.warm.anatomy(case)
    lines = [(f.name, "foramen", f.state.value, foramen_rim(f)) for f in anatomy.foramina if f.state.known]
    lines.append(("ventral cortex", "ventral cortex", "measured", anatomy.frame.ventral_curve_mm))
    chosen = next((p for p in here.warm.plans(case) if p.feasible), None)
    for needle in chosen.needles if chosen else ():
        path = needle.trajectory
        lines.append(("planned needle", "needle", "given", np.array([path.entry_mm, path.target_mm])))
    per_shot = []
    for view in found.views:
        frame = guiding.frame_of(view)
        per_shot.append([
            {"name": name, "kind": kind, "state": state,
             "points": np.round(frame.points(view.detector_from_patient.points(points)), 2).tolist()}
            for name, kind, state, points in lines
        ])  # fmt: skip
    return per_shot


@router.get("/cases/{case}/guidance")
def listed(here: Here, case: CaseId) -> dict[str, Any]:
    """Every session, newest first."""
    here.casebook.open(case)
    return {"sessions": [session_shown(here, case, one) for one in guiding.sessions(here.casebook, case)]}


@router.post("/cases/{case}/guidance", status_code=202)
def simulate(here: Here, case: CaseId, body: SimulateBody) -> dict[str, Any]:
    """Simulated shots of a patient and needle off by an unknown amount, as a job."""
    plan_of_rank(here, case, None)
    return here.jobs.submit("simulate shots", case, "simulated shots", body.model_dump(mode="json")).shown()


@router.post("/cases/{case}/guidance/real", status_code=202)
def real(here: Here, case: CaseId, body: RealBody) -> dict[str, Any]:
    """Shots from an upload, as a job."""
    here.casebook.open(case)
    source = upload_folder(here.casebook, body.upload)
    arguments = {"source": str(source), "isocentre_mm": list(body.isocentre_mm)}
    return here.jobs.submit("read shots", case, "read shots", arguments).shown()


@router.get("/cases/{case}/guidance/{session}")
def session(here: Here, case: CaseId, session: SessionId) -> dict[str, Any]:
    """One session."""
    here.casebook.open(case)
    return session_shown(here, case, session)


@router.get(
    "/cases/{case}/guidance/{session}/shots/{number}.png", response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)  # fmt: skip
def shot(here: Here, case: CaseId, session: SessionId, number: int) -> Response:
    """A shot as shown, letters and notice burnt in."""
    shots = guiding.shots_of(guiding.folder_of(here.casebook, case, session))
    if not 1 <= number <= len(shots):
        raise not_there("There is no shot of this number", got=str(number)[:20])
    return Response(png(displayed(shots[number - 1], scale=1).rgb), media_type="image/png")


@router.post("/cases/{case}/guidance/{session}/register", status_code=202)
def register(here: Here, case: CaseId, session: SessionId, body: RegisterBody) -> dict[str, Any]:
    """Find the patient in the shots, as a job."""
    _require_current(here, case, guiding.folder_of(here.casebook, case, session))
    arguments = {"session": session, **body.model_dump(mode="json")}
    return here.jobs.submit("register", case, "register the shots", arguments).shown()


def _require_current(here: Station, case: str, folder: Path) -> None:
    if guiding.read_json(folder / "session.json")["ct"] != digest_of(here.casebook.open(case), "images"):
        raise Refused(CONFLICT, "These shots belong to another CT", remedy="Take new shots")


@router.post("/cases/{case}/guidance/{session}/tip")
def tip(here: Here, case: CaseId, session: SessionId, body: TipBody) -> dict[str, Any]:
    """Where the needle is, how it lies against its plan, and continue, correct or stop."""
    folder = guiding.folder_of(here.casebook, case, session)
    _require_current(here, case, folder)
    found = guiding.registration_of(folder)
    if found is None or not found.accepted:
        raise Refused(CONFLICT, "The shots are not registered", remedy="Register them, or give landmarks")
    shots = guiding.shots_of(folder)
    sightings = []
    for click in body.clicks:
        if click.shot > len(shots):
            raise InputError("There is no shot of this number", got=str(click.shot))
        one = shots[click.shot - 1]
        uv = guiding.frame_of(one.view).detector_pixels([click.tip, click.shaft])
        last = np.array([one.view.carm.columns, one.view.carm.rows]) - 1
        if not ((uv >= 0) & (uv <= last)).all():
            raise InputError("A click lies outside its shot", got=f"shot {click.shot}")
        sightings.append(replace(sighted(one, uv[0], uv[1]), view=found.views[click.shot - 1]))
    plan = plan_of_rank(here, case, body.plan)
    pose = triangulated(sightings, found, expected=plan.first)
    answer = {**_judged(here, case, pose, plan, found), "shots": [click.shot for click in body.clicks]}
    answer["sightings"] = [
        {"shot": click.shot, "tip": guiding.frame_of(one.view).points(one.tip).tolist(),
         "shaft": guiding.frame_of(one.view).points(one.shaft).tolist()}
        for click, one in zip(body.clicks, sightings, strict=True)
    ]  # fmt: skip
    answers = [*(guiding.read_json(folder / "answers.json") or []), answer][-100:]
    write_json(folder / "answers.json", answers)
    return answer


def _judged(here: Station, case: str, pose: NeedlePose, plan: Plan, found: Registration) -> dict[str, Any]:
    lesion = here.warm.lesions(case)[0]
    nearest = _nearest(here, case, pose, plan)
    result = deviation(pose, plan.first, lesion=lesion.mask, clearance=nearest, views=found.views)
    sizes, directions = np.linalg.eigh(pose.covariance)
    scale = pose.radius_95_mm / float(np.sqrt(sizes[-1]))
    ellipsoid = {"axes_mm": (np.sqrt(np.maximum(sizes, 0)) * scale).tolist(), "directions": directions.T.tolist()}
    pose_facts = {"tip_mm": list(pose.tip_mm), "direction": list(pose.direction), "radius_95_mm": pose.radius_95_mm,
                  "misfit_pixels": pose.misfit_pixels, "direction_sd_deg": pose.direction_sd_deg}  # fmt: skip
    return {**encode(result), **pose_facts, "ellipsoid": ellipsoid, "plan": plan.rank}


def _nearest(here: Station, case: str, pose: NeedlePose, plan: Plan) -> Any:
    """The planner's own clearance of the needle where it lies now, from the planned depth of skin on."""
    planned: NeedlePlan = plan.first
    entry = np.asarray(pose.tip_mm) - planned.trajectory.length_mm * np.asarray(pose.direction)
    path = Trajectory(as_point(entry), pose.tip_mm)
    warm = here.warm
    judged = evaluate_path(
        warm.ct(case), warm.anatomy(case), warm.lesions(case)[0], plan.approach, path, planned.needle
    )  # fmt: skip
    closest = min(judged.first.clearances, key=lambda c: c.distance_mm, default=None)
    if closest is None:
        return None
    return lambda shaft_mm: (closest.distance_mm, closest.structure)


@router.post("/cases/{case}/guidance/{session}/reveal")
def reveal(here: Here, case: CaseId, session: SessionId) -> dict[str, Any]:
    """The truth of a simulated session, beside every answer."""
    folder = guiding.folder_of(here.casebook, case, session)
    truth = guiding.read_json(folder / "truth.json")
    if truth is None:
        raise Refused(CONFLICT, "Nobody knows the truth of real shots")
    answers = guiding.read_json(folder / "answers.json") or []
    compared = []
    for answer in answers:
        axes, directions = np.array(answer["ellipsoid"]["axes_mm"]), np.array(answer["ellipsoid"]["directions"])
        offset = np.subtract(truth["tip_mm"], answer["tip_mm"])
        held = float((((directions @ offset) / np.maximum(axes, 1e-9)) ** 2).sum()) <= 1.0
        compared.append(
            {"error_mm": float(np.linalg.norm(offset)), "radius_95_mm": answer["radius_95_mm"], "held": held}
        )
    return {"true_tip_mm": truth["tip_mm"], "true_direction": truth["direction"], "answers": compared}
