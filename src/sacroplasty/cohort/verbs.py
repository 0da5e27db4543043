"""The verbs around many cases and later scans, for the command line; they load what they need when they run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _progress(fraction: float, message: str) -> None:
    _say(f"{100 * fraction:3.0f} %  {message}")


def follow(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="Case folder.")],
    ct: Annotated[Path, typer.Option("--ct", help="The later CT: DICOM folder, NIfTI or NRRD.")],
    name: Annotated[str, typer.Option(help="Short name of this look, for example day-1.")] = "day-1",
    since: Annotated[str, typer.Option(help="Earlier look to compare with; the last one where none is given.")] = "",
    cement_hu: Annotated[float | None, typer.Option(help="CT value of pure cement, where it is known.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Audit a later CT against the plan: cement, leaks by place, filling, migration, needle path."""
    from sacroplasty.case import CaseFolder
    from sacroplasty.outcome.audit_case import PREFIX, follow_case, sentences

    look = follow_case(CaseFolder.open(case), ct, name, cement_hu=cement_hu, since=since, progress=_progress)
    folder = case / f"{PREFIX}{name}"
    if json_output:
        facts = {"case": str(case), "folder": str(folder), "cement_ml": look.audit.cement_ml,
                 "filling": look.audit.filling, "sentences": sentences(look)}  # fmt: skip
        sys.stdout.write(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return
    sys.stdout.write("\n".join([*sentences(look), f"Stored {folder}"]) + "\n")


def cohort(
    source: Annotated[Path, typer.Argument(metavar="DIR|MANIFEST", help="Folder of scans, or CSV with name and ct.")],
    out: Annotated[Path, typer.Option(help="Folder for cases, rows and tables.")],
    stage: Annotated[list[str] | None, typer.Option(help="Stage to run; may be repeated. All by default.")] = None,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler; else a local cluster.")] = "",
    workers: Annotated[int, typer.Option(help="Processes of the local cluster.")] = 2,
    memory_gb: Annotated[float, typer.Option(help="Memory of each local worker.")] = 3.0,
    serial: Annotated[bool, typer.Option(help="One case after the other in this process, without Dask.")] = False,
    table: Annotated[str, typer.Option(help="Name of the table: .csv or .parquet.")] = "cohort.csv",
    json_output: JsonOption = False,
) -> None:
    """Run stages over many cases; every case ends in a row, and a repeated run does only what is not done."""
    from sacroplasty.cohort.run import DEFAULT_STAGES, run_cohort

    done = run_cohort(
        source, out, stages=tuple(stage or DEFAULT_STAGES), serial=serial, scheduler=scheduler, workers=workers,
        memory_gb=memory_gb, table=table, progress=_progress,
    )  # fmt: skip
    facts = {"cases": len(done.rows), "ok": done.ok, "failed": done.failed, "resumed": done.resumed,
             "table": str(done.table), "failures": str(done.failures)}  # fmt: skip
    if json_output:
        sys.stdout.write(json.dumps(facts, indent=1) + "\n")
        return
    sys.stdout.write(f"{done.ok} of {len(done.rows)} cases went through, {done.failed} failed; "
                     f"{done.resumed} were done before\n{done.table}\n{done.failures}\n")  # fmt: skip


def trial(
    out: Annotated[Path, typer.Option(help="Folder for tables and plots.")],
    patients: Annotated[int, typer.Option(help="Virtual patients to run.")] = 10,
    describe: Annotated[int, typer.Option(help="Virtual patients to describe, run or not.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the whole trial.")] = 1,
    workers: Annotated[int, typer.Option(help="Local Dask workers; 0 runs without Dask.")] = 0,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Run approaches and guidance modes on virtual patients: simulated success, breach and leak rates."""
    from sacroplasty.cohort.trial import run_trial

    done = run_trial(
        out, patients=patients, describe=describe, seed=seed, workers=workers, scheduler=scheduler,
        progress=_progress,
    )  # fmt: skip
    if json_output:
        sys.stdout.write(json.dumps({"out": str(out), "rows": len(done.rows), "failed": done.failed}) + "\n")
        return
    for rate in done.rates:
        if rate.outcome == "success":
            sys.stdout.write(f"{rate.approach}, {rate.guidance}: {rate.describe()}\n")
    sys.stdout.write(f"{done.statement}\nTables and plots: {out}\n")
