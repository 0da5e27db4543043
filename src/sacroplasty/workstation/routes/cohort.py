"""Every case side by side, with the patients of the papers, and the figures of the group."""

from __future__ import annotations

import csv
import io
from typing import Any

from fastapi import APIRouter, Response

from sacroplasty.errors import SacroplastyError
from sacroplasty.outcome import exact_interval, is_responder, response_of
from sacroplasty.registry import Patient, example_patients
from sacroplasty.workstation.records import patient_record
from sacroplasty.workstation.routes.facts import facts_of
from sacroplasty.workstation.routes.follow_up import followed
from sacroplasty.workstation.routes.procedure import STAGE as PROCEDURE
from sacroplasty.workstation.routes.procedure import stored
from sacroplasty.workstation.station import Here, Station

router = APIRouter(tags=["cohort"])
COLUMNS = ("case", "pseudonym", "example", "age_years", "sex", "cause", "levels", "approach", "volume_ml", "nrs_before",
           "nrs_after", "response", "leak_verdict", "days_followed")  # fmt: skip
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _row(patient: Patient, case: str | None) -> dict[str, Any]:
    episode = patient.episodes[0]
    procedure = episode.procedures[0] if episode.procedures else None
    scores = [one for one in episode.pain_scores if one.nrs is not None]
    after = [one for one in scores if "sacroplasty" in one.after.casefold()]
    before = [one for one in scores if "sacroplasty" not in one.after.casefold()]
    first, last = (before[-1].nrs if before else None), (after[-1].nrs if after else None)
    volumes = [d.volume_ml for d in procedure.deposits if d.volume_ml is not None] if procedure else []
    known = [*(one.day for one in episode.pain_scores), *(one.day for one in episode.contacts)]
    days = [day for day in known if day is not None]
    return {
        "case": case, "pseudonym": patient.pseudonym, "example": bool(patient.example), "age_years": episode.age_years,
        "sex": patient.sex, "cause": episode.cause, "levels": list(episode.levels or ()),
        "approach": procedure.approach if procedure else None, "volume_ml": sum(volumes) if volumes else None,
        "nrs_before": first, "nrs_after": last, "response": response_of(first, last).value,
        "leak_verdict": procedure.leak_verdict if procedure else None, "days_followed": max(days, default=None),
    }  # fmt: skip


def rows(here: Station) -> list[dict[str, Any]]:
    """One row per case, then the papers' patients; a case that cannot be read says why."""
    found: list[dict[str, Any]] = []
    for identifier in here.casebook.identifiers():
        try:
            folder = here.casebook.open(identifier)
            record = stored(here, folder) if folder.has(PROCEDURE) else None
            known = record if record and record["details"]["approach"] else None
            patient = patient_record(identifier, facts_of(here, identifier), known, followed(here, folder))
            found.append(_row(patient, identifier))
        except SacroplastyError as error:
            found.append({**dict.fromkeys(COLUMNS), "case": identifier, "error": error.sentence})
    return [*found, *(_row(patient, None) for patient in example_patients())]


@router.get("/cohort")
def cohort(here: Here) -> dict[str, Any]:
    """The rows and what they come to; shares carry their exact 95 % interval and the number they rest on."""
    found = rows(here)
    scored = [r for r in found if r["nrs_before"] is not None and r["nrs_after"] is not None]
    figures: dict[str, Any] = {"patients": len(found), "scored": len(scored), "responder_share": None}
    if scored:
        hits = sum(is_responder(r["nrs_before"], r["nrs_after"]) for r in scored)
        low, high = exact_interval(hits, len(scored))
        figures["responder_share"] = {"value": hits / len(scored), "low": low, "high": high, "n": len(scored)}
    return {"rows": found, "figures": figures}


@router.get("/cohort.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def table(here: Here) -> Response:
    """The rows for a spreadsheet; text that would run as a formula is disarmed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows(here):
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    disposition = {"content-disposition": "attachment; filename=cohort.csv"}
    return Response(buffer.getvalue(), media_type="text/csv; charset=utf-8", headers=disposition)


def _cell(content: Any) -> str:
    text = "" if content is None else " ".join(content) if isinstance(content, list) else str(content)
    numeric = isinstance(content, int | float)
    return f"'{text}" if text.startswith(_FORMULA) and not numeric else text
