"""The approach rehearsed: what to expect at each checkpoint, and a trainee's own path scored against the plan."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.case import encode
from sacroplasty.fluoroscopy import View, estimated_dose, rehearsal
from sacroplasty.plan import Plan
from sacroplasty.workstation.routes.paths import PathBody, judged, plan_of_rank, shown
from sacroplasty.workstation.routes.radiographs import Shot, facts_of, view_of
from sacroplasty.workstation.scoring import off_target_mm, scored
from sacroplasty.workstation.station import CaseId, Here, Station

router = APIRouter(tags=["rehearsal"])
Rank = Annotated[int | None, Query(ge=1, le=1000)]


class ShotBody(BaseModel):
    """One picture the trainee took."""

    model_config = ConfigDict(extra="forbid")
    lao_deg: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    cra_deg: Annotated[float, Field(ge=-85, le=85, allow_inf_nan=False)]


class AttemptBody(PathBody):
    """Where the trainee put the needle, the pictures taken and the time."""

    shots: Annotated[list[ShotBody], Field(min_length=1, max_length=500)]
    seconds: Annotated[float, Field(ge=0, le=36000, allow_inf_nan=False)]


def views_of(here: Station, case: str) -> tuple[View, ...]:
    """The stored views; AP and lateral where none are stored yet."""
    if here.casebook.open(case).has("views"):
        return tuple(shot.view for shot in here.warm.views(case))
    ap, side = view_of(here, case, Shot()), view_of(here, case, Shot(lao_deg=90))
    return ap.with_(name="AP"), side.with_(name="lateral")


@router.get("/cases/{case}/rehearsal")
def checkpoints(here: Here, case: CaseId, plan: Rank = None) -> dict[str, Any]:
    """Every checkpoint in words, the views they speak of, and the dose to expect."""
    chosen, views = plan_of_rank(here, case, plan), views_of(here, case)
    stops = rehearsal(chosen.first, here.warm.anatomy(case), views)
    return {
        "checkpoints": encode(stops), "views": [facts_of(view, simulated=True) for view in views],
        "dose": encode(estimated_dose(views, len(chosen.needles))),
    }  # fmt: skip


@router.post("/cases/{case}/rehearsal/score")
def score(here: Here, case: CaseId, body: AttemptBody) -> dict[str, Any]:
    """The trainee's needle by the planner's rules, beside the plan of the same approach, in parts and in one number."""
    attempt = judged(here, case, body)
    views = tuple(view_of(here, case, Shot(lao_deg=s.lao_deg, cra_deg=s.cra_deg)) for s in body.shots)
    planned = next((p for p in here.warm.plans(case) if p.approach is body.approach and p.feasible), None)
    found = scored(attempt, planned, views, body.seconds, here.warm.anatomy(case).body)
    return {
        "plan": shown(attempt), "overall_percent": found.overall_percent, "overall_sentence": found.sentence,
        "parts": encode(found.parts), "sentences": _sentences(attempt, planned, len(views), body.seconds),
    }  # fmt: skip


def _sentences(attempt: Plan, planned: Plan | None, shots: int, seconds: float) -> list[str]:
    said = ["The path keeps every rule." if attempt.feasible else f"The path breaks a rule: {attempt.reasons[0]}"]
    if planned is not None:
        ours, theirs = planned.first.trajectory, attempt.first.trajectory
        cosine = float(np.clip(np.dot(ours.direction, theirs.direction), -1, 1))
        angle, off = np.degrees(np.arccos(cosine)), off_target_mm(attempt, planned)
        said.append(f"The tip is {off:.1f} mm from the planned one, the needle {angle:.0f} degrees from its direction.")
    inside = attempt.measures.get("coverage_share", 0.0)
    said.append(f"{100 * inside:.0f} % of the lesion is within reach of the cement from there.")
    said.append(f"{shots} picture{'s' if shots != 1 else ''} in {seconds / 60:.1f} minutes.")
    return said
