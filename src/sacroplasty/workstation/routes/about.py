"""What the program knows by itself: version, stages, approaches, needles, choices of the forms."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from sacroplasty import NOT_FOR_CLINICAL_USE, __version__
from sacroplasty.approach import GUIDANCE, RULES
from sacroplasty.case import encode
from sacroplasty.cement import CEMENTS
from sacroplasty.fluoroscopy import PROFILES, PatientPosition
from sacroplasty.lesion import Aetiology, Alignment, Collapse, Movement, Option, PainSite, Therapy
from sacroplasty.outcome import schedule
from sacroplasty.outcome.follow_up import SCHEDULES
from sacroplasty.plan import Level, Side, catalogue
from sacroplasty.report.imaging import WINDOWS
from sacroplasty.workflow import STAGES, Stage
from sacroplasty.workstation.archives import archives_of
from sacroplasty.workstation.station import Here

router = APIRouter(tags=["program"])
DEMO_CASES = ("zhang-1", "zhang-2", "yeo")
_CHOICES: dict[str, type[StrEnum]] = {
    "aetiology": Aetiology, "pain_site": PainSite, "movement": Movement, "alignment": Alignment, "collapse": Collapse,
    "therapy": Therapy, "option": Option, "side": Side, "level": Level,
}  # fmt: skip


class Demo(BaseModel):
    """Which of the papers' patients to make as a digital patient, and under which identifier."""

    name: str = Field(pattern=f"^({'|'.join(DEMO_CASES)})$")
    id: str = Field(max_length=64)


def _stage(one: Stage) -> dict[str, Any]:
    parameters = [
        {"name": f.name, "default": None if f.default is MISSING else encode(f.default), "help": f.metadata["help"]}
        for f in fields(one.parameters)
    ]
    return {"name": one.name, "needs": list(one.needs), "gives": one.gives, "help": one.help, "parameters": parameters}


@router.get("/about")
def about(here: Here) -> dict[str, Any]:
    """Everything the page needs to build its menus."""
    return {
        "version": __version__, "notice": NOT_FOR_CLINICAL_USE, "stages": [_stage(one) for one in STAGES],
        "approaches": [
            {"name": rule.approach.value, "title": rule.title, "skin_entry": rule.skin_entry,
             "bone_entry": rule.bone_entry, "stages": [stage.name for stage in rule.stages], "midline": rule.midline,
             "views": list(rule.views), "preparation": rule.preparation, "position": rule.position}
            for rule in RULES.values()
        ],
        "needles": [encode(needle) for needle in catalogue()], "guidance": sorted(GUIDANCE), "cements": list(CEMENTS),
        "carms": list(PROFILES), "patient_positions": [{"code": p.value, "words": p.words} for p in PatientPosition],
        "window_presets": [{"name": n, "centre_hu": c, "width_hu": w} for n, (c, w) in WINDOWS.items()],
        "schedules": {name: [encode(one) for one in schedule(name)] for name in SCHEDULES},
        "choices": {name: [member.value for member in kind] for name, kind in _CHOICES.items()},
        "demo_cases": list(DEMO_CASES), "archives": sorted(archives_of(here.casebook.root)),
        "folders": sorted(here.setup.folders), "read_only": here.setup.read_only,
    }  # fmt: skip


@router.post("/demo", status_code=202)
def demo(here: Here, body: Demo) -> dict[str, Any]:
    """Make a digital patient and run every stage."""
    here.casebook.new_path(body.id)
    return here.jobs.submit("demo", body.id, f"digital patient {body.name}", {"name": body.name}).shown()
