"""The simulated injection and venogram, with the alarms along the time slider."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter, Response

from sacroplasty.case import CaseFolder
from sacroplasty.workstation.casebook import revision_of, stored_json
from sacroplasty.workstation.routes.cases import stale_stages
from sacroplasty.workstation.station import CaseId, Here, Station, etag

router = APIRouter(tags=["cement"])
_IMAGES = {"saturation", "cement_fraction", "arrival_ml", "compartment_labels", "concentration"}


def _stored(here: Station, folder: CaseFolder, stage: str, response: Response) -> dict[str, Any]:
    """A stored result without its images, and whether what it was made from has changed since."""
    stored = cast(dict[str, Any], stored_json(here.casebook, folder.path.name, stage))
    response.headers.update(etag(revision_of(folder)))
    kept = {name: content for name, content in stored.items() if name not in _IMAGES}
    return {**kept, "simulated": True, "stale": stage in stale_stages(folder)}


@router.get("/cases/{case}/cement")
def cement(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """The injection as stored, with alarms in the order of time."""
    found = _stored(here, here.casebook.open(case), "cement", response)
    return {**found, "alarms": alarms(found)}


def alarms(result: dict[str, Any]) -> list[dict[str, Any]]:
    """When cement first was where it should not be, or touched a structure, with the time of that moment."""
    found = []
    for leak in result["leaks"]:
        if leak["first_leak_ml"] is not None:
            found.append((leak["first_leak_ml"], leak["compartment"], f"Cement in the {leak['compartment']}"))
    for front in result["fronts"]:
        if front["contact_ml"] is not None:
            found.append((front["contact_ml"], front["structure"], f"Cement touches the {front['structure']}"))
    return [
        {"injected_ml": ml, "time_s": _time_at(result["moments"], ml), "structure": structure, "message": f"{words}."}
        for ml, structure, words in sorted(found)
    ]  # fmt: skip


def _time_at(moments: list[dict[str, Any]], injected_ml: float) -> float | None:
    return next((m["time_s"] for m in moments if m["injected_ml"] >= injected_ml - 1e-6), None)


@router.get("/cases/{case}/venogram")
def venogram(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """The venogram as stored."""
    return _stored(here, here.casebook.open(case), "venogram", response)
