"""Several lesions in one case: a further one, another in the treated one's place, which is treated, one taken out."""

from __future__ import annotations

from typing import Any

from sacroplasty.case import Case
from sacroplasty.errors import InputError
from sacroplasty.evidence import collected
from sacroplasty.lesion import Lesion, treated_first
from sacroplasty.workflow import Progress, load_case, made_from, stage
from sacroplasty.workstation.casebook import Casebook, revision_of
from sacroplasty.workstation.jobs import Job
from sacroplasty.workstation.work import parameters_of
from sacroplasty.workstation.working import WorkingFolder

# What a job may do to the lesions, and how the case's trail tells it.
EVENTS = {"further": "lesion added", "treated": "treated lesion shown anew", "treat": "lesion chosen for treatment",
          "remove": "lesion taken out"}  # fmt: skip


def change(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """The lesions of a case after one change; what was made from the old ones is forgotten."""
    assert job.case is not None
    folder = WorkingFolder.begin(casebook.open(job.case).path)
    with collected() as keys:
        found = changed(load_case(folder), job.arguments, progress)
    entry = folder.index["stages"]["lesion"]
    parameters = dict(entry.get("parameters", {}))
    parameters["changed"] = [*parameters.get("changed", ()), job.arguments]
    folder.write_value(
        "lesion", found, parameters=parameters, evidence=sorted({*keys, *entry.get("evidence", ())}),
        made_from=made_from(folder, stage("lesion")),
    )  # fmt: skip
    folder.note(EVENTS[job.arguments["change"]], job.arguments)
    return {"case": job.case, "revision": revision_of(casebook.open(job.case))}


def changed(case: Case, wanted: dict[str, Any], progress: Progress) -> tuple[Lesion, ...]:
    """The lesions, the treated one first; InputError where two share bone, there is no such one, or none would stay."""
    before: tuple[Lesion, ...] = case.require("lesions")
    what, number = wanted["change"], wanted.get("number", 1)
    if what == "treat":
        return treated_first(before, number)
    if what == "remove":
        return _without(before, number)
    new = stage("lesion").run(case, parameters_of("lesion", wanted["parameters"]), progress)
    return treated_first((*before, *new) if what == "further" else (*new, *before[1:]))


def _without(lesions: tuple[Lesion, ...], number: int) -> tuple[Lesion, ...]:
    """The lesions without one of them, counted from 1; the next one is treated where that was the treated one."""
    if not 1 <= number <= len(lesions):
        raise InputError("There is no such lesion", got=f"number {number} of {len(lesions)}", remedy="Count from 1")
    if len(lesions) == 1:
        raise InputError("The only lesion cannot be taken out", remedy="Show another one in its place")
    return treated_first((*lesions[: number - 1], *lesions[number:]))
