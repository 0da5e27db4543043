"""What a worker does for each kind of job. Every kind can be begun again: what is stored already is not done twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

from sacroplasty.errors import InputError
from sacroplasty.workflow import (
    STAGES,
    Progress,
    demo_case,
    load_case,
    made_from,
    repeated,
    require_plan,
    run_stage,
    stage,
)
from sacroplasty.workstation.casebook import Casebook, revision_of
from sacroplasty.workstation.jobs import Job
from sacroplasty.workstation.working import WorkingFolder

Work = Callable[[Casebook, Job, Progress], dict[str, Any]]


def parameters_of(name: str, values: dict[str, Any]) -> Any:
    """A stage's parameters from what a job carries; InputError for values of the wrong kind."""
    kind = stage(name).parameters
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for one in dataclasses.fields(kind):
        if one.name not in values or values[one.name] is None:
            continue
        content = values[one.name]
        if (each := repeated(hints[one.name])) is not None:
            content = tuple(each(str(part)) for part in (content if isinstance(content, list) else [content]))
        elif Path in get_args(hints[one.name]):
            content = Path(content)
        elif isinstance(one.default, int) and not isinstance(content, int):
            raise InputError(f"{one.name} needs a whole number", got=str(content)[:40])
        elif isinstance(one.default, str) and not isinstance(content, str):
            raise InputError(f"{one.name} needs a word", got=str(content)[:40])
        elif one.default is None and not isinstance(content, str | float | int):
            raise InputError(f"{one.name} needs a number or a word", got=str(content)[:40])
        given[one.name] = content
    return kind(**given)


def _ended(casebook: Casebook, job: Job) -> dict[str, Any]:
    assert job.case is not None
    return {"case": job.case, "revision": revision_of(casebook.open(job.case))}


def run_one(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """One stage."""
    assert job.case is not None
    name, folder = job.arguments["stage"], WorkingFolder.begin(casebook.open(job.case).path)
    if name == "venogram":
        _venogram(folder, progress)
    else:
        run_stage(folder, name, parameters_of(name, job.arguments["parameters"]), progress)
    return _ended(casebook, job)


def _venogram(folder: WorkingFolder, progress: Progress) -> None:
    from sacroplasty.cement import simulate_venogram
    from sacroplasty.evidence import collected

    case = load_case(folder)
    plan = require_plan(case)
    progress(0.1, "Simulating the venogram")
    with collected() as keys:
        result = simulate_venogram(case.ct, case.require("anatomy"), case.require("lesions")[0], plan)
    likeness = dataclasses.replace(stage("cement"), name="venogram", needs=("anatomy", "lesions", "plans"))
    folder.write_value("venogram", result, evidence=sorted(keys), made_from=made_from(folder, likeness))


def run_missing(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """Every stage that is missing, in order; views and cement are left out where no approach is feasible."""
    assert job.case is not None
    folder = WorkingFolder.begin(casebook.open(job.case).path)
    case = load_case(folder)
    missing = [one for one in STAGES if not folder.has(one.name)]
    for number, one in enumerate(missing):
        if one.name in {"views", "cement"} and case.plan is None:
            continue

        def part(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(missing), message)

        part(0.0, one.help)
        given = parameters_of(one.name, job.arguments.get("parameters", {}).get(one.name, {}))
        case = run_stage(folder, one.name, given, part, case)
    return _ended(casebook, job)


def make_demo(casebook: Casebook, job: Job, progress: Progress) -> dict[str, Any]:
    """A digital patient with every stage."""
    assert job.case is not None
    path = casebook.root / job.case
    labels, mask = path / "bone_labels.nii.gz", path / "lesion_mask.nii.gz"
    if labels.exists() and mask.exists() and (path / "case.json").exists():
        given = {"segment": {"labels": str(labels)}, "lesion": {"mask": str(mask)}}
        return run_missing(casebook, dataclasses.replace(job, arguments={"parameters": given}), progress)
    demo_case(job.arguments["name"], path, progress)
    return _ended(casebook, job)


# Where the work of each kind is found; imported when it is done, so that a click does not wait for what it needs not.
WORK: dict[str, str] = {
    "stage": "work:run_one", "run": "work:run_missing", "demo": "work:make_demo", "inspect": "transfer:inspect_source",
    "fetch": "transfer:fetch", "import": "transfer:import_scan", "export": "transfer:export", "send": "transfer:send",
    "draw": "correcting:draw", "move": "correcting:move", "lesions": "lesions:change",
    "simulate shots": "guiding:simulate", "read shots": "guiding:read", "register": "guiding:find_patient",
    "later ct": "transfer:compare_later",
}  # fmt: skip
# Work after which the case looks otherwise.
CHANGING = frozenset({"run", "demo", "import", "draw"})


def perform(root: Path, job: Job, progress: Progress) -> dict[str, Any]:
    """Do a job's work; the result is what the page needs to go on, and what it will draw lies ready."""
    casebook = Casebook(root)
    module, _, function = WORK[job.kind].partition(":")
    work: Work = getattr(import_module(f"sacroplasty.workstation.{module}"), function)
    result = work(casebook, job, progress)
    if job.case is not None and job.kind in CHANGING:
        progress(0.99, "Preparing the pictures")
        prepare(casebook, job.case)
    return result


def prepare(casebook: Casebook, case: str) -> None:
    """Make the files that the page draws, so that looking at the case computes nothing."""
    from sacroplasty.workstation.images import Images
    from sacroplasty.workstation.surfaces import Surfaces
    from sacroplasty.workstation.warm import Warm

    warm = Warm(casebook)
    images = Images(casebook, warm)
    images.prepare(case)
    Surfaces(casebook, warm, images).prepare(case)
