"""What no image tells: the patient's facts, the judgement they lead to, and a decision against it."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.case import CaseFolder, decode, encode
from sacroplasty.errors import InputError
from sacroplasty.lesion import Override, PatientFacts, assess_suitability
from sacroplasty.plan import Plan
from sacroplasty.workflow import FACTS, store_facts, stored_facts
from sacroplasty.workstation.casebook import revision_of, stored_json
from sacroplasty.workstation.station import CaseId, Here, IfMatch, Station, etag

router = APIRouter(tags=["facts"])


class FactsBody(BaseModel):
    """The whole sheet; what is unknown is null."""

    model_config = ConfigDict(extra="forbid")
    facts: PatientFacts


class OverrideBody(BaseModel):
    """Why the procedure goes on, who decided, on which day."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(max_length=4000)
    by: str = Field(max_length=200)
    when: str = Field(max_length=40)


def _stored(here: Station, folder: CaseFolder) -> dict[str, Any]:
    if not folder.has(FACTS):
        return {"facts": encode(PatientFacts()), "override": None}
    return dict(stored_json(here.casebook, folder.path.name, FACTS))


def facts_of(here: Station, case: str) -> PatientFacts:
    """The facts of a case, unknown ones where none were stored."""
    return cast(PatientFacts, decode(PatientFacts, _stored(here, here.casebook.open(case))["facts"]))


@router.get("/cases/{case}/facts")
def facts(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """The facts and the override."""
    folder = here.casebook.open(case)
    response.headers.update(etag(revision_of(folder)))
    return {**_stored(here, folder), "revision": revision_of(folder)}


@router.put("/cases/{case}/facts")
def keep_facts(here: Here, case: CaseId, body: FactsBody, if_match: IfMatch = None) -> dict[str, Any]:
    """Store the sheet; an override stays only while there is something to override."""
    with here.casebook.writing(case, if_match) as folder:
        store_facts(folder, body.facts, stored_facts(folder)[1])
        kept = _stored(here, folder)
    return {**kept, "revision": here.changed(case)}


@router.put("/cases/{case}/override")
def keep_override(here: Here, case: CaseId, body: OverrideBody | None = None, if_match: IfMatch = None) -> Any:
    """Record that the procedure goes on against the judgement, or take that back with null."""
    with here.casebook.writing(case, if_match) as folder:
        override = Override(body.reason, body.by, body.when) if body else None
        if override is not None:
            judged(here, case, None).overridden(override)
        store_facts(folder, facts_of(here, case), override)
        kept = _stored(here, folder)
    return {**kept, "revision": here.changed(case)}


def judged(here: Station, case: str, override: Override | None) -> Any:
    """The judgement for the case's facts, anatomy, lesions and chosen plan."""
    folder = here.casebook.open(case)
    plan: Plan | None = None
    if folder.has("plan"):
        plan = next((one for one in here.warm.plans(case) if one.feasible), None)
    warm = here.warm
    return assess_suitability(facts_of(here, case), warm.anatomy(case), warm.lesions(case), plan, override=override)


@router.get("/cases/{case}/suitability")
def suitability(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """Verdict, statements, scores, alternatives; an override that no longer applies says so."""
    folder = here.casebook.open(case)
    kept = _stored(here, folder)["override"]
    override = Override(**kept) if kept else None
    outdated = False
    try:
        found = judged(here, case, override)
    except InputError:
        found, outdated = judged(here, case, None), override is not None
        if not outdated:
            raise
    response.headers.update(etag(revision_of(folder)))
    words = {"proceeds": found.proceeds, "reasons": list(found.reasons), "questions": list(found.questions),
             "findings": encode(found.findings), "override_outdated": outdated}  # fmt: skip
    return {**cast(dict[str, Any], encode(found)), **words}
