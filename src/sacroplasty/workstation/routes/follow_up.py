"""What became of the patient: pain, contacts, events, when the next contact is due, and the curve of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, cast

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.case import CaseFolder
from sacroplasty.errors import InputError
from sacroplasty.outcome import AdverseEvent, PainScore, Sequelae, Therapy, attributed, grades, schedule
from sacroplasty.outcome.audit_case import PREFIX, follow_ups, plan_version, read_follow_up, sentences
from sacroplasty.workstation.casebook import revision_of, stored_json
from sacroplasty.workstation.routes.cases import queued
from sacroplasty.workstation.station import CaseId, Here, IfMatch, Station, etag
from sacroplasty.workstation.uploads import folder_of, source_of

router = APIRouter(tags=["follow-up"])
# Not `follow_…`: those folders hold the later CTs.
STAGE = "aftercare"
# Entries of one kind that one case may hold.
_MOST = 1000
Words = Annotated[str, Field(max_length=400)]
Day = Annotated[float, Field(ge=-36500, le=36500, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PainBody(_Strict):
    """Pain on one day, as number or words, and the intervention it came after."""

    day: Day | None = None
    nrs: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    words: Words | None = None
    after: Annotated[str, Field(min_length=1, max_length=200)] = "baseline"
    on_walking: bool | None = None


class ContactBody(_Strict):
    """One contact, by visit or telephone."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    day: Day | None = None
    mode: Annotated[str, Field(pattern="^(visit|telephone)$")] | None = None
    ambulation: Words | None = None
    pain_on_walking: Words | None = None
    tenderness: Words | None = None
    opioid_mg_per_day: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | None = None
    odi: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    kps: Annotated[int, Field(ge=0, le=100)] | None = None
    ecog: Annotated[int, Field(ge=0, le=5)] | None = None
    satisfaction: Words | None = None
    words: Words | None = None


class EventBody(_Strict):
    """An adverse event as facts; its grades are computed."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    therapy: Therapy = Therapy.NONE
    extra_hospital_hours: Annotated[float, Field(ge=0, le=80_000, allow_inf_nan=False)] = 0.0
    sequelae: Sequelae = Sequelae.NONE
    solved_in_session: bool = False
    symptomatic: bool = True
    days_after: Day | None = None


class PlanBody(_Strict):
    """The day of the procedure and the template of contacts."""

    procedure_on: date | None = None
    schedule: Annotated[str, Field(max_length=60)] = "default"


def followed(here: Station, folder: CaseFolder) -> dict[str, Any]:
    """The follow-up as kept; an empty one where there is none."""
    if not folder.has(STAGE):
        return {"procedure_on": None, "schedule": "default", "pain": [], "contacts": [], "events": []}
    return dict(stored_json(here.casebook, folder.path.name, STAGE))


def shown(kept: dict[str, Any], revision: int, today: date) -> dict[str, Any]:
    """The follow-up with what is due, what changed after what, and the curve."""
    pain = [{"order": n, **one} for n, one in enumerate(kept["pain"], start=1)]
    return {
        "revision": revision, "procedure_on": kept["procedure_on"], "template": kept["schedule"],
        "schedule": _due(kept, today), "pain": pain, "contacts": kept["contacts"],
        "events": [{**one, "grades": _grades(one)} for one in kept["events"]], "changes": _changes(kept["pain"]),
        "chart": _chart(kept),
    }  # fmt: skip


def _due(kept: dict[str, Any], today: date) -> list[dict[str, Any]]:
    answered = {one["name"] for one in kept["contacts"]}
    found = []
    for one in schedule(kept["schedule"]):
        due: dict[str, Any] = {"name": one.name, "day": one.day, "window_days": one.window_days,
                               "contact": one.contact.value, "due_on": None}  # fmt: skip
        state = "done" if one.name in answered else "open"
        if kept["procedure_on"]:
            first, planned, last = one.due(date.fromisoformat(kept["procedure_on"]))
            due["due_on"] = planned.isoformat()
            if state == "open" and today >= first:
                state = "overdue" if today > last else "due"
        found.append({**due, "state": state})
    return found


def _grades(one: dict[str, Any]) -> list[dict[str, Any]]:
    facts = {name: content for name, content in one.items() if name != "days_after"}
    event = AdverseEvent(**{**facts, "therapy": Therapy(one["therapy"]), "sequelae": Sequelae(one["sequelae"])})
    return [{"scheme": g.scheme, "year": g.year, "grade": g.grade} for g in grades(event)]


def _changes(pain: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each intervention with the pain before and after it, in the order of the entries."""
    first = date(2000, 1, 1)
    scores = tuple(
        PainScore(first + timedelta(days=n), one["nrs"], one["words"] or "", one["after"], one["on_walking"])
        for n, one in enumerate(pain)
    )
    return [
        {"intervention": c.intervention, "before": c.before, "after": c.after, "points": c.points,
         "response": c.response.value}
        for c in attributed(scores)
    ]  # fmt: skip


def _chart(kept: dict[str, Any]) -> dict[str, Any]:
    """Curves over the days since the procedure; entries without a day or a number have no place in them."""
    sources = (
        ("nrs", "pain (NRS)", "0-10", "pain"), ("odi", "ODI", "%", "contacts"), ("kps", "Karnofsky", "%", "contacts"),
        ("opioid_mg_per_day", "opioids", "mg/day", "contacts"),
    )  # fmt: skip
    series = []
    for key, name, unit, kind in sources:
        known = [entry for entry in kept[kind] if entry["day"] is not None and entry[key] is not None]
        series.append({"name": name, "unit": unit, "points": sorted([e["day"], e[key]] for e in known)})
    marks = [{"day": 0, "words": "procedure"}] if kept["procedure_on"] else []
    marks += [{"day": e["days_after"], "words": e["name"]} for e in kept["events"] if e["days_after"] is not None]
    return {"series": series, "marks": marks}


@router.get("/cases/{case}/follow-up")
def follow_up(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """Everything that is known after the procedure."""
    folder = here.casebook.open(case)
    response.headers.update(etag(revision_of(folder)))
    return shown(followed(here, folder), revision_of(folder), datetime.now(UTC).date())


def _added(here: Station, case: str, if_match: str | None, kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    with here.casebook.writing(case, if_match) as folder:
        kept = followed(here, folder)
        if len(kept[kind]) >= _MOST:
            raise InputError("There are too many entries", got=str(len(kept[kind])))
        return _keep(here, folder, {**kept, kind: [*kept[kind], entry]})


def _keep(here: Station, folder: CaseFolder, kept: dict[str, Any]) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    shown(kept, 0, today)  # what cannot be shown is not stored
    folder.write_value(STAGE, kept)
    return shown(kept, here.changed(folder.path.name), today)


class LaterCTBody(_Strict):
    """An upload of the CT after the procedure, and a short word that names it."""

    upload: Annotated[str, Field(max_length=40)]
    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,30}$")]


@router.post("/cases/{case}/later-ct", status_code=202)
def compare(here: Here, case: CaseId, body: LaterCTBody, if_match: IfMatch = None) -> dict[str, Any]:
    """A later CT against the plan, as a job."""
    source = source_of(folder_of(here.casebook, body.upload))
    arguments = {"source": str(source), "upload": body.upload, "name": body.name}
    return cast(dict[str, Any], queued(here, case, if_match, "later ct", f"later CT {body.name}", arguments))


@router.get("/cases/{case}/later-ct")
def later(here: Here, case: CaseId) -> dict[str, Any]:
    """What every later CT shows, in sentences and numbers; `stale` where the plan has changed since."""
    folder = here.casebook.open(case)
    looks = []
    for name in follow_ups(folder):
        kept = stored_json(here.casebook, case, PREFIX + name)
        stale = kept.get("plan_version") != plan_version(folder)
        words = [] if stale else list(sentences(read_follow_up(folder, name)))
        looks.append({"name": name, "stale": stale, "sentences": words, "look": kept})
    return {"looks": looks}


@router.put("/cases/{case}/follow-up")
def plan(here: Here, case: CaseId, body: PlanBody, if_match: IfMatch = None) -> dict[str, Any]:
    """The day of the procedure and the template of contacts."""
    schedule(body.schedule)
    with here.casebook.writing(case, if_match) as folder:
        return _keep(here, folder, {**followed(here, folder), **body.model_dump(mode="json")})


@router.post("/cases/{case}/follow-up/pain")
def add_pain(here: Here, case: CaseId, body: PainBody, if_match: IfMatch = None) -> dict[str, Any]:
    """One pain score."""
    return _added(here, case, if_match, "pain", body.model_dump(mode="json"))


@router.post("/cases/{case}/follow-up/contacts")
def add_contact(here: Here, case: CaseId, body: ContactBody, if_match: IfMatch = None) -> dict[str, Any]:
    """One contact."""
    return _added(here, case, if_match, "contacts", body.model_dump(mode="json"))


@router.post("/cases/{case}/follow-up/events")
def add_event(here: Here, case: CaseId, body: EventBody, if_match: IfMatch = None) -> dict[str, Any]:
    """One adverse event."""
    return _added(here, case, if_match, "events", body.model_dump(mode="json"))
