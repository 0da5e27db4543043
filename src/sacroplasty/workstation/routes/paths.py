"""Plans as stored, and a user's own path judged on every drag by the planner's own rules."""

from __future__ import annotations

import threading
import time
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.approach import evaluate_path
from sacroplasty.case import CaseFolder, encode
from sacroplasty.errors import InputError
from sacroplasty.evidence import collected
from sacroplasty.plan import Approach, Needle, Plan, Point, Trajectory
from sacroplasty.report.plan_report import spoken
from sacroplasty.workflow import downstream, evidence_keys
from sacroplasty.workstation.casebook import revision_of
from sacroplasty.workstation.refusals import UNPROCESSABLE, Refused, not_there
from sacroplasty.workstation.station import CaseId, Here, IfMatch, Station, etag

router = APIRouter(tags=["plans"])
Coordinate = Annotated[float, Field(ge=-5000, le=5000, allow_inf_nan=False)]
Place = tuple[Coordinate, Coordinate, Coordinate]
Reason = Annotated[str, Field(min_length=3, max_length=2000)]
# The entry is sought on the skin this far along the path, mm, in steps of half a millimetre.
_SNAP_MM, _SNAP_STEP_MM = 120.0, 0.5


class PathBody(BaseModel):
    """A path under edit."""

    model_config = ConfigDict(extra="forbid")
    approach: Approach
    entry_mm: Place
    target_mm: Place
    gauge: Annotated[int, Field(ge=8, le=15)] = 13
    length_mm: Annotated[float, Field(ge=20, le=400, allow_inf_nan=False)] | None = None
    guidance: Annotated[str, Field(max_length=40)] = "fluoroscopy"
    snap: bool = False


class AdoptedPath(PathBody):
    """A path to keep, with the reason that goes into the audit trail."""

    reason: Reason


class Choice(BaseModel):
    """The plan to put first, with the reason that goes into the audit trail."""

    model_config = ConfigDict(extra="forbid")
    rank: Annotated[int, Field(ge=1, le=1000)]
    reason: Reason


def shown(plan: Plan) -> dict[str, Any]:
    """A plan as in plan.json, with the numbers that follow from it and the report's wording."""
    data = cast(dict[str, Any], encode(plan))
    for needle, encoded in zip(plan.needles, data["needles"], strict=True):
        path, azimuth = needle.trajectory, needle.bevel_azimuth_deg
        encoded["derived"] = {
            "length_mm": path.length_mm, "cephalad_deg": path.cephalad_deg, "leftward_deg": path.leftward_deg,
            "bevel_clock": None if azimuth is None else round(azimuth / 30) % 12 or 12,
        }  # fmt: skip
    data["spoken"] = [list(spoken(name, number)) for name, number in plan.measures.items()]
    return data


def plan_of_rank(here: Station, case: str, rank: int | None) -> Plan:
    """The plan of a rank, or the chosen one."""
    plans = here.warm.plans(case)
    found = next((p for p in plans if (p.feasible if rank is None else p.rank == rank)), None)
    if found is None:
        what = "No approach is feasible" if rank is None else "There is no plan of this rank"
        raise not_there(what, got="" if rank is None else str(rank))
    return found


@router.get("/cases/{case}/plans")
def plans(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """Every plan by rank; `chosen` is the place of the one in use."""
    found = here.warm.plans(case)
    response.headers.update(etag(revision_of(here.casebook.open(case))))
    chosen = next((n for n, plan in enumerate(found) if plan.feasible), None)
    return {"plans": [shown(plan) for plan in found], "chosen": chosen}


def trajectory_of(here: Station, case: str, body: PathBody) -> Trajectory:
    """The body's path; with `snap` its entry is moved along it onto the skin."""
    path = Trajectory(body.entry_mm, body.target_mm)
    if not body.snap:
        return path
    depths = np.arange(-_SNAP_MM, path.length_mm, _SNAP_STEP_MM)
    inside = here.warm.anatomy(case).body.contains(path.point_at(depths))
    if not inside.any() or not inside[-1]:
        raise InputError("The path does not come through the skin", remedy="Move its entry or its target")
    # The last stretch inside the body up to the target begins at the skin.
    outside = np.flatnonzero(~inside)
    first = depths[outside[-1] + 1] if len(outside) else depths[0]
    return path.moved(entry_mm=path.point_at(first))


def judged(here: Station, case: str, body: PathBody) -> Plan:
    """The plan of a path under edit, by the rules that the planner keeps."""
    needle = None
    if body.length_mm is not None:
        needle = Needle.gauge(body.gauge, body.length_mm)
    elif body.gauge != _default_gauge():
        needle = Needle.gauge(body.gauge)
    warm, path = here.warm, trajectory_of(here, case, body)
    lesion = warm.lesions(case)[0]
    return evaluate_path(warm.ct(case), warm.anatomy(case), lesion, body.approach, path, needle, guidance=body.guidance)


def _default_gauge() -> int:
    from sacroplasty.approach.planner import DEFAULT_GAUGE

    return DEFAULT_GAUGE


@router.post("/cases/{case}/paths")
def judge_path(here: Here, case: CaseId, body: PathBody) -> dict[str, Any]:
    """A path judged; nothing is stored."""
    before = time.perf_counter()
    plan = judged(here, case, body)
    return {"plan": shown(plan), "milliseconds": round(1000 * (time.perf_counter() - before), 2)}


@router.post("/cases/{case}/plans")
def adopt(here: Here, case: CaseId, body: AdoptedPath, if_match: IfMatch = None) -> dict[str, Any]:
    """Keep a path as the case's plan of rank 1; one that breaks a rule is kept but never chosen."""
    here.jobs.require_idle(case)
    with here.casebook.writing(case, if_match) as folder, collected() as keys:
        plan = judged(here, case, body)
        others = here.warm.plans(case)
        order = [plan, *others] if plan.feasible else [*others, plan]
        details = {"reason": body.reason, "approach": plan.approach.value, "feasible": plan.feasible}
        ranked = _store(folder, order, sorted({*keys, *evidence_keys(folder)}), "own path adopted", details)
    return {"plan": shown(ranked[order.index(plan)]), "revision": here.changed(case)}


@router.post("/cases/{case}/choice")
def choose(here: Here, case: CaseId, body: Choice, if_match: IfMatch = None) -> dict[str, Any]:
    """Put one of the stored plans first."""
    here.jobs.require_idle(case)
    with here.casebook.writing(case, if_match) as folder:
        others = list(here.warm.plans(case))
        plan = plan_of_rank(here, case, body.rank)
        if not plan.feasible:
            raise Refused(UNPROCESSABLE, "This approach is not feasible", got=" ".join(plan.reasons)[:200])
        order = [plan, *(other for other in others if other.rank != plan.rank)]
        details = {"reason": body.reason, "approach": plan.approach.value, "rank_before": body.rank}
        _store(folder, order, list(evidence_keys(folder)), "plan chosen", details)
    return {"plan": shown(plan.with_(rank=1)), "revision": here.changed(case)}


def _store(folder: CaseFolder, order: list[Plan], keys: list[str], event: str, details: dict[str, Any]) -> list[Plan]:
    """Plans in their new order; what was made from the old one is forgotten, and the trail says why."""
    ranked = [plan.with_(rank=n) for n, plan in enumerate(order, start=1)]
    forget = tuple(later for later in downstream("plan") if folder.has(later))
    entry = folder.index["stages"]["plan"]
    facts = {"parameters": entry.get("parameters", {}), "made_from": entry.get("made_from", {}), "evidence": keys}
    folder.write_value("plan", tuple(ranked), forget=forget, **facts)
    folder.note(event, details)
    return ranked


def warm_up(here: Station, case: str) -> bool:
    """Begin to load a case in the background; True where it is loaded already."""
    here.casebook.open(case)
    if here.warm.has(case, "scene"):
        return True
    threading.Thread(target=_load, args=(here, case), name=f"warm {case}", daemon=True).start()
    return False


def _load(here: Station, case: str) -> None:
    from sacroplasty.errors import SacroplastyError
    from sacroplasty.fluoroscopy import render
    from sacroplasty.workstation.routes.radiographs import first_view

    try:
        plan = plan_of_rank(here, case, None)
        path: tuple[Point, Point] = (plan.first.trajectory.entry_mm, plan.first.trajectory.target_mm)
        body = PathBody(approach=plan.approach, entry_mm=path[0], target_mm=path[1])
        judged(here, case, body)
        render(here.warm.tissues(case), first_view(here, case), plan.needles)
        here.warm.value(case, "scene", "loaded", lambda: True)
    except SacroplastyError:
        return
