"""Cases: which there are, how far each has come, what was found, the trail of what was done."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from fastapi import APIRouter, Body, Response
from fastapi.responses import FileResponse

from sacroplasty.case import AUDIT, CaseFolder, read_trail, verify_trail
from sacroplasty.errors import CaseError
from sacroplasty.workflow import STAGES, evidence_keys, made_from, stage
from sacroplasty.workstation.casebook import INDEX, Casebook, require_revision, revision_from, revision_of, stored_json
from sacroplasty.workstation.refusals import UNPROCESSABLE, Refused, not_there
from sacroplasty.workstation.station import CaseId, Here, IfMatch, Station, etag

router = APIRouter(tags=["cases"])
# Stages of the workstation beside those of the workflow, with the results that each is made from.
EXTRA_STAGES = {"venogram": ("anatomy", "lesions", "plans")}
_REPORTS = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}
# The report carries its style in itself and no script; it may do nothing, wherever it is shown.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"


def stale_stages(folder: CaseFolder) -> list[str]:
    """Stored results that were made from something that has changed since."""
    found = []
    for name, entry in folder.index["stages"].items():
        before = entry.get("made_from", {})
        if name in EXTRA_STAGES:
            current = extra_made_from(folder, name)
        elif any(one.name == name for one in STAGES):
            current = made_from(folder, stage(name))
        else:
            continue
        if before != current:
            found.append(name)
    return sorted(found)


def extra_made_from(folder: CaseFolder, name: str) -> dict[str, str]:
    """What an extra stage is made from, as the workflow writes it for its own."""
    return made_from(folder, replace(stage("cement"), name=name, needs=EXTRA_STAGES[name]))


def decision_of(casebook: Casebook, folder: CaseFolder) -> str:
    """The plan that leads, in a few words."""
    if not folder.has("plan"):
        return ""
    plans = stored_json(casebook, folder.path.name, "plan")
    chosen = next((plan for plan in plans if plan["feasible"]), None)
    return f"{chosen['approach']}, {chosen['side']}, {chosen['target_level']}" if chosen else "no feasible approach"


def summary(here: Station, identifier: str) -> dict[str, Any]:
    """One line of the list of cases."""
    folder = here.casebook.open(identifier)
    source = folder.index["stages"].get("images", {}).get("source", {})
    job = here.jobs.on_case(identifier)
    changed = datetime.fromtimestamp((folder.path / INDEX).stat().st_mtime, UTC)
    return {
        "id": identifier, "name": folder.index["name"], "revision": revision_of(folder),
        "stages": [name for name in ("images", *(one.name for one in STAGES), *EXTRA_STAGES) if folder.has(name)],
        "simulated": bool(source.get("simulated", False)), "verdict": source.get("verdict"),
        "changed_at": changed.isoformat(timespec="seconds"), "decision": decision_of(here.casebook, folder),
        "running_job": job.id if job else None,
    }  # fmt: skip


@router.get("/cases")
def cases(here: Here) -> dict[str, Any]:
    """Every case; one that cannot be read is listed with the reason."""
    found = []
    for identifier in here.casebook.identifiers():
        try:
            found.append(summary(here, identifier))
        except CaseError as error:
            found.append({"id": identifier, "name": identifier, "error": error.sentence})
    return {"cases": found}


@router.get("/cases/{case}")
def case(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """One case with its source, decision, findings and what is out of date. Computes nothing."""
    folder = here.casebook.open(case)
    source = dict(folder.index["stages"].get("images", {}).get("source", {}))
    accepted = source.get("acknowledged", ())
    everything = "all" in accepted
    remarks = [{"code": code, "message": words, "acknowledged": everything or code in accepted}
               for code, words in (_pair(remark) for remark in source.get("remarks", ()))]  # fmt: skip
    response.headers.update(etag(revision_of(folder)))
    return {
        **summary(here, case), "source": {**source, "remarks": remarks}, "findings": findings_of(here, folder),
        "evidence": list(evidence_keys(folder)), "stale": stale_stages(folder),
    }  # fmt: skip


def _pair(remark: Any) -> tuple[str, str]:
    return (remark["code"], remark["message"]) if isinstance(remark, dict) else (remark[0], remark[1])


def findings_of(here: Station, folder: CaseFolder) -> list[dict[str, Any]]:
    """The findings of every stored stage, in the order of the stages, as they stand in the case's files."""
    found: list[dict[str, Any]] = []
    for name in ("segment", "lesion", "plan", "cement"):
        if not folder.has(name):
            continue
        data = stored_json(here.casebook, folder.path.name, name)
        holders = data if isinstance(data, list) else [data]
        if name == "plan":
            holders = [plan for plan in holders if plan["feasible"]][:1]
        found += [{**finding, "stage": name} for holder in holders for finding in holder.get("findings", ())]
    return found


@router.get("/cases/{case}/audit")
def audit(here: Here, case: CaseId) -> dict[str, Any]:
    """The hash-chained trail; `unbroken` is false where somebody edited it."""
    path = here.casebook.open(case).path / AUDIT
    try:
        trail, unbroken = verify_trail(path), True
    except CaseError:
        trail, unbroken = read_trail(path), False
    return {"entries": [entry.__dict__ for entry in trail], "head": trail[-1].sha256 if trail else None,
            "unbroken": unbroken}  # fmt: skip


@router.get("/cases/{case}/citations")
def cited(here: Here, case: CaseId) -> dict[str, Any]:
    """The source of every number that the case used."""
    from sacroplasty.report import citations

    return {"lines": list(citations(evidence_keys(here.casebook.open(case))))}


@router.get("/cases/{case}/report.{kind}", response_class=FileResponse)
def report(here: Here, case: CaseId, kind: str) -> FileResponse:
    """The stored report, `html` or `pdf`."""
    if kind not in _REPORTS:
        raise not_there("The report is html or pdf", got=repr(kind[:20]))
    folder = here.casebook.open(case)
    path = folder.file("report", f"report.{kind}")
    return FileResponse(path, media_type=_REPORTS[kind], headers={"content-security-policy": REPORT_POLICY})


@router.post("/cases/{case}/stages/{name}", status_code=202)
def run_stage(
    here: Here, case: CaseId, name: str, if_match: IfMatch = None,
    parameters: Annotated[dict[str, Any] | None, Body(embed=True)] = None,
) -> dict[str, Any]:  # fmt: skip
    """Queue one stage."""
    if name not in EXTRA_STAGES and all(one.name != name for one in STAGES):
        raise not_there("There is no such stage", got=repr(name[:40]))
    return queued(here, case, if_match, "stage", name, {"stage": name, "parameters": checked(name, parameters or {})})


@router.post("/cases/{case}/run", status_code=202)
def run(
    here: Here, case: CaseId, if_match: IfMatch = None,
    parameters: Annotated[dict[str, dict[str, Any]] | None, Body(embed=True)] = None,
) -> dict[str, Any]:  # fmt: skip
    """Queue every stage that is still missing."""
    known = {one.name for one in STAGES}
    given = {name: checked(name, values) for name, values in (parameters or {}).items() if name in known}
    return queued(here, case, if_match, "run", "all stages", {"parameters": given})


def queued(here: Station, case: str, if_match: str | None, kind: str, title: str, arguments: dict[str, Any]) -> Any:
    """A job that will change a case, after checking the revision that the page has seen."""
    require_revision(here.casebook.open(case), revision_from(if_match))
    return here.jobs.submit(kind, case, title, arguments).shown()


def checked(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Stage parameters by name, those that name files left out: files come through routes of their own."""
    if name in EXTRA_STAGES:
        return {}
    kind = stage(name).parameters
    hints = get_type_hints(kind)
    allowed = {one.name for one in fields(kind) if Path not in (hints[one.name], *get_args(hints[one.name]))}
    unknown = sorted(set(values) - allowed)
    if unknown:
        raise Refused(UNPROCESSABLE, f"The stage {name} has no such parameter", got=", ".join(unknown)[:100])
    return values


@router.post("/cases/{case}/warm", status_code=202)
def warm(here: Here, case: CaseId) -> dict[str, Any]:
    """Load the case so that the first drag is fast; answers at once."""
    from sacroplasty.workstation.routes.paths import warm_up

    return {"ready": warm_up(here, case)}
