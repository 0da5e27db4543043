"""What a person knows better: structures drawn anew, landmarks moved, lesions pointed at or drawn, which is treated."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.anatomy import STRUCTURES, Face
from sacroplasty.errors import InputError
from sacroplasty.io import write_nifti
from sacroplasty.plan import Level, Side
from sacroplasty.space import Mask
from sacroplasty.workstation.casebook import require_revision, revision_from, stored_json
from sacroplasty.workstation.refusals import not_there
from sacroplasty.workstation.routes.cases import queued
from sacroplasty.workstation.routes.paths import Place, Reason
from sacroplasty.workstation.station import CaseId, Here, IfMatch, Station
from sacroplasty.workstation.uploads import folder_of, mask_from, source_of

router = APIRouter(tags=["corrections"])
_BODY = {"requestBody": {"content": {"application/octet-stream": {}}, "required": True}}
Number = Annotated[int, Path(ge=1, le=1000)]
Structure = Annotated[str, Path(pattern=r"^[a-z0-9_]{1,40}$")]


class ForamenPlace(BaseModel):
    """Where a foramen really is."""

    model_config = ConfigDict(extra="forbid")
    level: Level
    side: Side
    face: Face
    centre_mm: Place


class AnatomyBody(BaseModel):
    """Places to correct, with the reason that goes into the audit trail."""

    model_config = ConfigDict(extra="forbid")
    foramina: Annotated[list[ForamenPlace], Field(max_length=20)] = []
    landmarks: Annotated[dict[str, Place], Field(max_length=40)] = {}
    hiatus_apex_mm: Place | None = None
    reason: Reason


# A new lesion is the only one from now on, joins those there are, or takes the treated one's place.
Among = Literal["alone", "further", "treated"]


class LesionBody(BaseModel):
    """A click, a sphere, or nothing: then the search proposes. Beside others it needs a click or a sphere."""

    model_config = ConfigDict(extra="forbid")
    click_mm: Place | None = None
    centre_mm: Place | None = None
    radius_mm: Annotated[float, Field(gt=0, le=80, allow_inf_nan=False)] | None = None
    among: Among = "alone"


def _kept(here: Station, case: str, mask: Mask, name: str) -> str:
    """Where a drawn mask lies for the worker."""
    folder = here.casebook.state / "drawn" / case
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}-{secrets.token_hex(6)}.nii.gz"
    write_nifti(mask, path)
    return str(path)


async def _drawn(here: Station, request: Request, case: str, if_match: str | None) -> Mask:
    from starlette.concurrency import run_in_threadpool

    require_revision(here.casebook.open(case), revision_from(if_match))
    body = await request.body()
    anatomy = await run_in_threadpool(here.warm.anatomy, case)
    return await run_in_threadpool(mask_from, body, anatomy.labels.grid)


@router.put("/cases/{case}/labels/{structure}", status_code=202, openapi_extra=_BODY)
async def draw_structure(
    here: Here, request: Request, case: CaseId, structure: Structure, if_match: IfMatch = None
) -> dict[str, Any]:
    """A structure's new mask; the anatomy is derived anew from it."""
    if structure not in STRUCTURES.values():
        raise not_there("The anatomy knows no such structure", got=repr(structure))
    mask = await _drawn(here, request, case, if_match)
    arguments = {"structure": structure, "mask": _kept(here, case, mask, structure)}
    return queued(here, case, if_match, "draw", f"correct {structure}", arguments)


@router.patch("/cases/{case}/anatomy", status_code=202)
def move_places(here: Here, case: CaseId, body: AnatomyBody, if_match: IfMatch = None) -> dict[str, Any]:
    """Places put where they really are; they become `given`."""
    if not (body.foramina or body.landmarks or body.hiatus_apex_mm):
        raise InputError("There is nothing to correct", remedy="Give foramina, landmarks or the hiatus' apex")
    arguments = body.model_dump(mode="json")
    return queued(here, case, if_match, "move", "correct places", arguments)


@router.post("/cases/{case}/lesion", status_code=202)
def point_at_lesion(here: Here, case: CaseId, body: LesionBody, if_match: IfMatch = None) -> dict[str, Any]:
    """The lesion by a click or a sphere, or proposed by the search."""
    if (body.centre_mm is None) != (body.radius_mm is None) or (body.click_mm and body.centre_mm):
        raise InputError("Give a click, or a centre and a radius, or nothing")
    given: dict[str, Any] = {}
    if body.click_mm:
        given = {"click": ",".join(map(repr, body.click_mm))}
    elif body.centre_mm:
        given = {"sphere": ",".join(map(repr, (*body.centre_mm, body.radius_mm)))}
    if body.among != "alone" and not given:
        raise InputError("The search proposes all lesions at once", remedy="Give a click or a sphere for a further one")
    return _shown(here, case, if_match, body.among, given)


@router.put("/cases/{case}/lesion/mask", status_code=202, openapi_extra=_BODY)
async def draw_lesion(
    here: Here, request: Request, case: CaseId, if_match: IfMatch = None, among: Among = "alone"
) -> dict[str, Any]:
    """The lesion as drawn."""
    mask = await _drawn(here, request, case, if_match)
    mask.require_any("drawn lesion")
    return _shown(here, case, if_match, among, {"mask": _kept(here, case, mask, "lesion")})


def _shown(here: Station, case: str, if_match: str | None, among: Among, given: dict[str, Any]) -> Any:
    """A new lesion, alone or among those that the case has."""
    if among == "alone":
        return queued(here, case, if_match, "stage", "lesion", {"stage": "lesion", "parameters": given})
    _require_lesion(here, case, 1)
    words = "further lesion" if among == "further" else "treated lesion"
    return queued(here, case, if_match, "lesions", words, {"change": among, "parameters": given})


@router.post("/cases/{case}/lesions/{number}/treat", status_code=202)
def treat_lesion(here: Here, case: CaseId, number: Number, if_match: IfMatch = None) -> dict[str, Any]:
    """The lesion of this number is the treated one, and comes first from now on."""
    _require_lesion(here, case, number)
    return queued(here, case, if_match, "lesions", f"treat lesion {number}", {"change": "treat", "number": number})


@router.delete("/cases/{case}/lesions/{number}", status_code=202)
def take_lesion_out(here: Here, case: CaseId, number: Number, if_match: IfMatch = None) -> dict[str, Any]:
    """The case without the lesion of this number; the last one stays."""
    if _require_lesion(here, case, number) == 1:
        raise InputError("The only lesion cannot be taken out", remedy="Show another one in its place")
    return queued(here, case, if_match, "lesions", f"take out lesion {number}", {"change": "remove", "number": number})


def _require_lesion(here: Station, case: str, number: int) -> int:
    """How many lesions the case has; 404 where the one of this number is not among them."""
    count = len(stored_json(here.casebook, case, "lesion"))
    if number > count:
        raise not_there("There is no such lesion", got=f"number {number} of {count}")
    return count


class MRBody(BaseModel):
    """An upload of the MRI to lay on the CT."""

    model_config = ConfigDict(extra="forbid")
    upload: Annotated[str, Field(max_length=40)]


@router.post("/cases/{case}/mr", status_code=202)
def lay_mr(here: Here, case: CaseId, body: MRBody, if_match: IfMatch = None) -> dict[str, Any]:
    """The anatomy found anew with an MRI registered to the CT; a registration that is not sure is the job's error."""
    source = source_of(folder_of(here.casebook, body.upload))
    arguments = {"stage": "segment", "parameters": {"mr": str(source)}}
    return queued(here, case, if_match, "stage", "MRI on the CT", arguments)
