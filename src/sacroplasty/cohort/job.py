"""One case of a cohort, run where a worker happens to be: stages in order, one row of facts, or a sentence why not."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from sacroplasty.case import Case, from_json, to_json
from sacroplasty.cohort.manifest import Job, known_options
from sacroplasty.errors import InputError, SacroplastyError
from sacroplasty.io import write_atomically
from sacroplasty.workflow import (
    FACTS,
    STAGES,
    FactsParameters,
    ReadParameters,
    create_case,
    load_case,
    read_facts,
    run_stage,
    store_facts,
)

Row = dict[str, Any]
OK, FAILED = "ok", "failed"
ROWS, CASES = "rows", "cases"
# Failures that another try may mend: file system, memory, a defect of the program, a dead worker.
PASSING = ("SAC-E900", "SAC-E901", "SAC-E902", "SAC-E999")


def run_job(job: Job, out: str) -> Row:
    """Run a case and keep its row; the row is written last, so that what has a row is whole. Never raises."""
    folder = Path(out)
    stage = "read"
    working = folder / CASES / f".{job.name}.{os.getpid()}.{uuid.uuid4().hex}.part"
    try:
        working.parent.mkdir(parents=True, exist_ok=True)
        parameters = _parameters(job)
        stored = create_case(working, job.ct, ReadParameters(**parameters.get("", {})), job.name)
        if FACTS in parameters:
            store_facts(stored, read_facts(FactsParameters(**parameters[FACTS]).facts or Path()))
        case = load_case(stored)
        for one in STAGES:
            # Where no approach is feasible there is nothing to show or to inject; the row says so.
            if one.name not in job.stages or (one.name in {"views", "cement"} and case.plan is None):
                continue
            stage = one.name
            case = run_stage(stored, stage, one.parameters(**parameters.get(stage, {})), case=case)
        row = {"name": job.name, "status": OK, **facts_of(case)}
        _put(working, folder / CASES / job.name)
    except SacroplastyError as error:
        row = failure(job.name, stage, error.code, error.sentence)
    except OSError as error:
        row = failure(job.name, stage, "SAC-E900", f"The file system refused: {error.strerror or error}.")
    except MemoryError:
        row = failure(job.name, stage, "SAC-E901", "The memory was exhausted.")
    except Exception as error:  # one case's defect must not end the cohort; the row names it
        row = failure(job.name, stage, "SAC-E999", f"Unexpected {type(error).__name__}: {str(error)[:300]}.")
    finally:
        shutil.rmtree(working, ignore_errors=True)
    keep_row(folder, job.key, row)
    return row


def failure(name: str, stage: str, code: str, sentence: str) -> Row:
    """The row of a case that failed: where, with which code, and why in one sentence."""
    return {"name": name, "status": FAILED, "failed_stage": stage, "code": code, "sentence": sentence}


def keep_row(folder: Path, key: str, row: Row) -> None:
    """Write a row in one step under its job's key."""
    text = to_json(row)
    write_atomically(folder / ROWS / f"{key}.json", lambda stream: stream.write(text.encode()))


def kept_row(folder: Path, key: str) -> Row | None:
    """The row of an earlier run with the same key, None where there is none or another try may mend it."""
    path = folder / ROWS / f"{key}.json"
    if not path.is_file():
        return None
    row: Row = from_json(path.read_text(encoding="utf-8"), path.name)
    return None if row["status"] == FAILED and row["code"] in PASSING else row


def _parameters(job: Job) -> dict[str, dict[str, Any]]:
    """Parameters by stage and field from the job's options; options of stages that do not run are refused."""
    known = known_options()
    found: dict[str, dict[str, Any]] = {}
    for name, text in job.options.items():
        option = known[name]
        if option.stage not in ("", FACTS, *job.stages):
            raise InputError(f"The option {name} belongs to the stage {option.stage}, which does not run", got=text)
        found.setdefault(option.stage, {})[option.field] = option.parsed(text)
    return found


def _put(working: Path, final: Path) -> None:
    """Move a finished case into place; one left there by a run that never wrote its row gives way."""
    if final.exists():
        shutil.rmtree(final)
    working.replace(final)


def facts_of(case: Case) -> Row:
    """One flat row of what a case came to; simulated numbers say so in their names."""
    spacing = case.ct.grid.spacing_mm
    row: Row = {"slice_mm": round(max(spacing), 3), "voxels": int(case.ct.array.size)}
    if case.anatomy is not None:
        row["sacrum_ml"] = round(case.anatomy.labels.mask("sacrum").volume_ml, 2)
        row["levels"] = " ".join(str(level.level) for level in case.anatomy.levels if level.state.known)
        row["foramina_known"] = sum(f.state.known for f in case.anatomy.foramina)
    if case.lesion is not None:
        row |= {"lesion_ml": round(case.lesion.volume_ml, 3), "lesion_kind": str(case.lesion.kind),
                "lesion_level": str(case.lesion.main_level or ""),
                "walls_breached": len(case.lesion.breached)}  # fmt: skip
    if case.plans:
        plan = case.plan
        row["approaches_feasible"] = len({p.approach for p in case.plans if p.feasible})
        if plan is not None:
            nearest = min(plan.first.clearances, key=lambda c: c.distance_mm, default=None)
            row |= {"approach": str(plan.approach), "side": str(plan.side),
                    "depth_mm": round(plan.first.trajectory.length_mm, 2),
                    "breach_probability": round(plan.measures.get("breach_probability", float("nan")), 4),
                    "nearest_structure": nearest.structure if nearest else "",
                    "clearance_mm": round(nearest.distance_mm, 2) if nearest else None}  # fmt: skip
    if case.cement is not None:
        row |= {"simulated_cement_ml": round(case.cement.placed_ml, 3),
                "simulated_leaked_ml": round(case.cement.leaked_ml, 3),
                "simulated_fill": round(case.cement.lesion_fill, 3)}  # fmt: skip
    row["findings"] = len(case.findings)
    return row
