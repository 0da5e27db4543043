"""A whole cohort: jobs found, those done before left out, the rest run, both tables written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sacroplasty.cohort.engine import Work, run_here, run_on_dask
from sacroplasty.cohort.job import FAILED, OK, Row, kept_row, run_job
from sacroplasty.cohort.manifest import Job, keyed, read_jobs
from sacroplasty.cohort.table import write_failures, write_table
from sacroplasty.errors import CaseError, InputError
from sacroplasty.workflow import STAGES, Progress, silent

DEFAULT_STAGES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True)
class Cohort:
    """What a cohort came to: rows in the manifest's order, how many were there before, where the tables are."""

    rows: tuple[Row, ...]
    resumed: int
    table: Path
    failures: Path

    @property
    def ok(self) -> int:
        """Cases that went through."""
        return sum(row["status"] == OK for row in self.rows)

    @property
    def failed(self) -> int:
        """Cases that failed, each with a sentence."""
        return sum(row["status"] == FAILED for row in self.rows)


def run_cohort(
    source: Path, out: Path, *, stages: tuple[str, ...] = DEFAULT_STAGES, serial: bool = False, scheduler: str = "",
    workers: int = 2, memory_gb: float = 3.0, table: str = "cohort.csv", progress: Progress = silent,
    started: Callable[[Any], None] | None = None, work: Work = run_job,
) -> Cohort:  # fmt: skip
    """Run stages over every case of a folder or manifest into `out`; every case ends in a row, ok or failed.

    A case whose key (contents, stages, options, version) has a row from an earlier run is not run again. The tables
    do not hang on the engine, the number of workers or the order in which cases end. `work` runs one case.
    """
    if Path(table).name != table or not table.endswith((".csv", ".parquet")):
        raise InputError("The table's name must end with .csv or .parquet", got=table)
    jobs = tuple(keyed(job) for job in read_jobs(source, stages))
    rows = {job.key: row for job in jobs if (row := kept_row(out, job.key)) is not None}
    resumed, left = len(rows), [job for job in jobs if job.key not in rows]
    out.mkdir(parents=True, exist_ok=True)

    def finished(job: Job, row: Row) -> None:
        rows[job.key] = row
        failed = sum(one["status"] == FAILED for one in rows.values())
        progress(len(rows) / len(jobs), f"{len(rows)} of {len(jobs)} cases, {failed} failed")

    if left and serial:
        run_here(work, left, out, finished)
    elif left:
        run_on_dask(
            work, left, out, finished, scheduler=scheduler, workers=workers, memory_gb=memory_gb, started=started
        )
    missing = [job.name for job in jobs if job.key not in rows]
    if missing:
        raise CaseError("Cases have no row", got=", ".join(missing[:5]), remedy="Run the cohort again")
    ordered = tuple(rows[job.key] for job in jobs)
    write_table(ordered, out / table)
    write_failures(ordered, out / "failures.csv")
    return Cohort(ordered, resumed, out / table, out / "failures.csv")
