"""The record of a procedure while it happens, and its way into the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sacroplasty.case import CaseFolder
from sacroplasty.plan import Approach, Level, Side
from sacroplasty.workstation import checklist
from sacroplasty.workstation.casebook import revision_of, stored_json
from sacroplasty.workstation.records import keep_in_registry
from sacroplasty.workstation.refusals import CONFLICT, Refused
from sacroplasty.workstation.routes.facts import facts_of
from sacroplasty.workstation.routes.follow_up import followed
from sacroplasty.workstation.station import CaseId, Here, IfMatch, Station, etag

router = APIRouter(tags=["procedure"])
STAGE = "procedure"
Words = Annotated[str, Field(max_length=400)]
Amount = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DoneBody(_Strict):
    """When a step was done (now, where no time is given) and a note."""

    at: AwareDatetime | None = None
    note: Annotated[str, Field(max_length=2000)] = ""


class DepositBody(_Strict):
    """One needle with its cement; unknown stays null."""

    level: Level | None = None
    side: Side | None = None
    needle_gauge: Annotated[int, Field(ge=8, le=22)] | None = None
    needle_tip: Words | None = None
    needle_maker: Words | None = None
    cement: Words | None = None
    cement_maker: Words | None = None
    cement_lot: Words | None = None
    volume_ml: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] | None = None


class LeakBody(_Strict):
    """Cement in one compartment, with what saw it."""

    compartment: Words
    side: Side | None = None
    level: Level | None = None
    modality: Annotated[str, Field(pattern="^(fluoroscopy|radiograph|CT|MRI|surgery|not assessable)$")]
    volume_ml: Amount | None = None
    significant: bool | None = None
    symptomatic: bool | None = None


class DetailsBody(_Strict):
    """How the procedure was prepared, guided and done: the registry's columns."""

    approach: Approach | None = None
    guidance: (
        Annotated[
            str, Field(pattern="^(fluoroscopy|CT|CT and fluoroscopy|CT-fluoroscopy suite|cone-beam CT|navigation)$")
        ]
        | None
    ) = None
    position: Annotated[str, Field(pattern="^(prone|lateral|supine)$")] | None = None
    antibiotic: Words | None = None
    antibiotic_dose_g: Amount | None = None
    antibiotic_days_after: Annotated[int, Field(ge=0, le=100)] | None = None
    skin_preparation: Words | None = None
    prepared_region: Words | None = None
    anaesthesia: Words | None = None
    incision_site: Words | None = None
    mallet_used: bool | None = None
    venogram: Words | None = None
    tip_adjusted_after_venogram: bool | None = None
    views: Annotated[list[Words], Field(max_length=20)] = []
    fluoroscopy_minutes: Amount | None = None
    air_kerma_mgy: Amount | None = None
    technical_success: bool | None = None
    filling: Words | None = None
    filling_fraction: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    neurological_check: Words | None = None
    leak_modality: Words | None = None
    leak_verdict: Words | None = None
    days_in_hospital: Amount | None = None
    deposits: Annotated[list[DepositBody], Field(max_length=12)] = []
    leaks: Annotated[list[LeakBody], Field(max_length=40)] = []


def stored(here: Station, folder: CaseFolder) -> dict[str, Any]:
    """The record as kept; an empty one where there is none."""
    if not folder.has(STAGE):
        return {"steps": {}, "details": DetailsBody().model_dump(mode="json"), "closed_at": None}
    return dict(stored_json(here.casebook, folder.path.name, STAGE))


def shown(record: dict[str, Any], revision: int) -> dict[str, Any]:
    """The record with every step in order and what the times say."""
    done = record["steps"]
    steps = []
    for step in checklist.STEPS:
        kept = done.get(step.key)
        lead = checklist.minutes_between(done, "antibiotic", step.key) if kept else None
        steps.append({
            "key": step.key, "words": step.words, "required": step.required, "after": list(step.after),
            "done_at": kept["at"] if kept else None, "note": kept["note"] if kept else "",
            "minutes_after_antibiotic": None if lead is None else round(lead, 1),
        })  # fmt: skip
    return {"steps": steps, "details": record["details"], "closed_at": record["closed_at"], "revision": revision,
            "warnings": checklist.warnings_of(done), "missing": checklist.missing(done)}  # fmt: skip


def _keep(here: Station, folder: CaseFolder, record: dict[str, Any]) -> dict[str, Any]:
    folder.write_value(STAGE, record)
    return shown(record, here.changed(folder.path.name))


def _open_record(here: Station, folder: CaseFolder) -> dict[str, Any]:
    record = stored(here, folder)
    if record["closed_at"]:
        raise Refused(CONFLICT, "The record is closed", got=record["closed_at"], remedy="Correct it in the registry")
    return record


@router.get("/cases/{case}/procedure")
def procedure(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """The record as far as it has come."""
    folder = here.casebook.open(case)
    response.headers.update(etag(revision_of(folder)))
    return shown(stored(here, folder), revision_of(folder))


@router.post("/cases/{case}/procedure/steps/{key}")
def do_step(here: Here, case: CaseId, key: str, body: DoneBody | None = None, if_match: IfMatch = None) -> Any:
    """Record a step; contrast and cement are refused before the stylet is out."""
    checklist.step_of(key)
    given = body or DoneBody()
    with here.casebook.writing(case, if_match) as folder:
        record = _open_record(here, folder)
        at = given.at.astimezone(UTC) if given.at else checklist.moment(record["steps"], key)
        checklist.require_order(record["steps"], key, at)
        kept = {"at": at.isoformat(timespec="seconds"), "note": given.note}
        return _keep(here, folder, {**record, "steps": {**record["steps"], key: kept}})


@router.delete("/cases/{case}/procedure/steps/{key}")
def undo_step(here: Here, case: CaseId, key: str, if_match: IfMatch = None) -> dict[str, Any]:
    """Take a step back; the trail keeps that it was recorded."""
    checklist.step_of(key)
    with here.casebook.writing(case, if_match) as folder:
        record = _open_record(here, folder)
        checklist.require_free(record["steps"], key)
        steps = {name: kept for name, kept in record["steps"].items() if name != key}
        return _keep(here, folder, {**record, "steps": steps})


@router.put("/cases/{case}/procedure/details")
def keep_details(here: Here, case: CaseId, body: DetailsBody, if_match: IfMatch = None) -> dict[str, Any]:
    """Store how it was done."""
    with here.casebook.writing(case, if_match) as folder:
        record = _open_record(here, folder)
        return _keep(here, folder, {**record, "details": body.model_dump(mode="json")})


@router.post("/cases/{case}/procedure/close")
def close(here: Here, case: CaseId, if_match: IfMatch = None) -> dict[str, Any]:
    """Put the record into the registry; it can be closed only with an approach and a recorded injection."""
    with here.casebook.writing(case, if_match) as folder:
        record = _open_record(here, folder)
        if record["details"]["approach"] is None or "injection_end" not in record["steps"]:
            raise Refused(
                CONFLICT, "The record is not complete", got="; ".join(checklist.missing(record["steps"]))[:300],
                remedy="Give the approach and record the injection",
            )  # fmt: skip
        keep_in_registry(here.casebook.root, case, facts_of(here, case), record, followed(here, folder))
        closed = {**record, "closed_at": datetime.now(UTC).isoformat(timespec="seconds")}
        return _keep(here, folder, closed)
