"""A cohort: every case ends in a row, a dead worker costs nothing, nothing is run twice, the tables are the same."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sacroplasty.case import CaseFolder
from sacroplasty.cohort.engine import run_on_dask
from sacroplasty.cohort.job import kept_row, run_job
from sacroplasty.cohort.manifest import Job, keyed, known_options, read_jobs, stage_names
from sacroplasty.cohort.run import run_cohort
from sacroplasty.cohort.table import write_failures, write_table
from sacroplasty.errors import InputError
from sacroplasty.io import write_nifti
from sacroplasty.space import Grid, Volume
from sacroplasty.workflow import load_case
from tests.data import ROOT


def scan(path: Path, seed: int) -> Path:
    """A tiny CT that the gate accepts."""
    grid = Grid.aligned((-20, -20, -20), (20, 20, 20), 2.0)
    hu = np.full(grid.shape, -1000.0, np.float32)
    hu[3:-3, 3:-3, 3:-3] = 40.0
    hu[8:12, 8:12, 8:12] = 600.0 + seed
    write_nifti(Volume(hu, grid), path)
    return path


def cohort(folder: Path, count: int = 6, bad: int = 2) -> Path:
    """A manifest of good and bad cases: a missing file, and one that is no image."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["name,ct"]
    for n in range(count):
        name = f"case-{n:03d}"
        file = folder / f"{name}.nii.gz"
        if n < count - bad:
            scan(file, n)
        elif n % 2:
            file.write_bytes(b"no image at all")
        lines.append(f"{name},{file.name}")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.csv"


def test_every_case_ends_in_a_row(tmp_path: Path) -> None:
    said: list[str] = []
    done = run_cohort(cohort(tmp_path / "in"), tmp_path / "out", stages=(), serial=True,
                      progress=lambda f, m: said.append(m))  # fmt: skip
    assert (len(done.rows), done.ok, done.failed, done.resumed) == (6, 4, 2, 0)
    assert said[-1] == "6 of 6 cases, 2 failed"
    with done.failures.open(encoding="utf-8") as stream:
        failures = list(csv.DictReader(stream))
    assert [row["name"] for row in failures] == ["case-004", "case-005"]
    assert all(row["code"].startswith("SAC-") and row["sentence"].endswith(".") for row in failures)
    assert all((tmp_path / "out" / "cases" / f"case-{n:03d}" / "case.json").exists() for n in range(4))
    assert not list((tmp_path / "out" / "cases").glob(".*"))


def test_a_stage_that_fails_names_itself(tmp_path: Path) -> None:
    row = run_job(keyed(Job("one", scan(tmp_path / "a.nii.gz", 0), ("segment",))), str(tmp_path / "out"))
    assert (row["status"], row["failed_stage"]) == ("failed", "segment")
    assert row["code"].startswith("SAC-")


def test_a_repeated_run_does_only_what_changed(tmp_path: Path) -> None:
    manifest = cohort(tmp_path / "in")
    first = run_cohort(manifest, tmp_path / "out", stages=(), serial=True)
    before = first.table.read_bytes()
    again = run_cohort(manifest, tmp_path / "out", stages=(), serial=True)
    assert again.resumed == 6
    assert again.table.read_bytes() == before
    scan(tmp_path / "in" / "case-001.nii.gz", 99)
    scan(tmp_path / "in" / "case-004.nii.gz", 4)
    changed = run_cohort(manifest, tmp_path / "out", stages=(), serial=True)
    assert (changed.resumed, changed.ok) == (4, 5)


def test_a_failure_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    from sacroplasty.cohort.job import failure, keep_row

    keep_row(tmp_path, "k", failure("a", "read", "SAC-E902", "The worker died."))
    assert kept_row(tmp_path, "k") is None
    keep_row(tmp_path, "k", failure("a", "read", "SAC-E100", "No such file."))
    assert kept_row(tmp_path, "k") is not None
    assert kept_row(tmp_path, "other") is None


def test_a_defect_of_one_case_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("sacroplasty.cohort.job.create_case", broken)
    row = run_job(keyed(Job("one", scan(tmp_path / "a.nii.gz", 0), ())), str(tmp_path / "out"))
    assert row["code"] == "SAC-E999"
    assert "ZeroDivisionError" in row["sentence"]


@pytest.mark.slow
def test_killed_workers_cost_nothing(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    manifest = cohort(tmp_path / "in", 16, 4)
    serial = run_cohort(manifest, tmp_path / "serial", stages=(), serial=True)
    clients: list[Any] = []
    killed: list[int] = []

    def kill_sometimes(fraction: float, message: str) -> None:
        if message.startswith(("2 ", "8 ")):
            pids = sorted(clients[0].run(os.getpid).values())
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

    done = run_cohort(manifest, tmp_path / "dask", stages=(), workers=2, started=clients.append,
                      progress=kill_sometimes)  # fmt: skip
    assert len(killed) == 2
    assert len(done.rows) == 16 == done.ok + done.failed
    assert done.failed == 4
    assert done.table.read_bytes() == serial.table.read_bytes()
    assert done.failures.read_bytes() == serial.failures.read_bytes()


@pytest.mark.slow
def test_workers_compute_on_one_thread_and_this_process_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    seen, done, workers = set(), threading.Event(), []

    def watch() -> None:
        while not done.wait(0.002):
            seen.add(os.environ.get("NUMBA_NUM_THREADS"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run_on_dask(run_job, (), tmp_path, lambda job, row: None, workers=1,
                    started=lambda client: workers.append(client.run(os.getenv, "NUMBA_NUM_THREADS")))  # fmt: skip
    finally:
        done.set()
        watcher.join()
    assert list(workers[0].values()) == ["1"]
    assert seen == {None}


def test_a_cohort_without_dask_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="needs Dask"):
        run_cohort(cohort(tmp_path / "in"), tmp_path / "out", stages=())


def test_a_scheduler_that_is_not_there_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="scheduler"):
        run_cohort(cohort(tmp_path / "in"), tmp_path / "out", stages=(), scheduler="nonsense://nowhere:1")
    with pytest.raises(InputError, match="at least one worker"):
        run_cohort(cohort(tmp_path / "in"), tmp_path / "out", stages=(), workers=0)


def test_a_folder_is_a_cohort(tmp_path: Path) -> None:
    scan(tmp_path / "b.nii.gz", 1)
    (tmp_path / "a").mkdir()
    scan(tmp_path / "a" / "ct.nii.gz", 2)
    scan(tmp_path / "a" / "labels.nii.gz", 3)
    (tmp_path / "series").mkdir()
    jobs = read_jobs(tmp_path, ("segment",))
    assert [job.name for job in jobs] == ["a", "b", "series"]
    assert jobs[0].options == {"labels": str(tmp_path / "a" / "labels.nii.gz")}
    assert jobs[0].ct.name == "ct.nii.gz"
    assert keyed(jobs[0]).key != keyed(jobs[1]).key


@pytest.mark.parametrize(
    ("text", "words"),
    [("name\nx\n", "name and ct"), ("name,ct,colour\nx,y,red\n", "colour"), ("name,ct\n", "no case"),
     ("name,ct\nx,a\nx,b\n", "share a name"), ("name,ct\n../x,a\n", "usable as a folder")],
)  # fmt: skip
def test_a_bad_manifest_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_jobs(tmp_path / "m.csv", ())


def test_a_manifest_may_name_several_lesions_and_the_patients_facts(tmp_path: Path) -> None:
    scan(tmp_path / "ct.nii.gz", 0)
    (tmp_path / "facts.toml").write_text("age_years = 74", encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").write_bytes(name.encode())
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("name,ct,lesion,facts\none,ct.nii.gz,a.nii.gz; b.nii.gz,facts.toml\n", encoding="utf-8")
    (job,) = read_jobs(manifest, ("segment", "lesion"))
    option = known_options()["lesion"]
    assert option.parsed(job.options["lesion"]) == (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    before = keyed(job).key
    (tmp_path / "b.nii.gz").write_bytes(b"other")
    assert keyed(job).key != before
    plain = Job("one", job.ct, (), {"facts": job.options["facts"]})
    assert run_job(keyed(plain), str(tmp_path / "out"))["status"] == "ok"
    assert load_case(CaseFolder.open(tmp_path / "out" / "cases" / "one")).facts.age_years == 74


def test_stages_need_what_they_need(tmp_path: Path) -> None:
    assert stage_names(("lesion", "segment")) == ("segment", "lesion")
    with pytest.raises(InputError, match="needs segment"):
        stage_names(("lesion",))
    with pytest.raises(InputError, match="no such stage"):
        stage_names(("dance",))
    (tmp_path / "m.csv").write_text("name,ct,gauge\na,a.nii.gz,thick\n", encoding="utf-8")
    scan(tmp_path / "a.nii.gz", 0)
    job = keyed(read_jobs(tmp_path / "m.csv", ("segment", "lesion", "plan"))[0])
    assert "gauge cannot be read" in run_job(job, str(tmp_path / "out"))["sentence"]
    job = keyed(read_jobs(tmp_path / "m.csv", ("segment",))[0])
    assert "does not run" in run_job(job, str(tmp_path / "out"))["sentence"]


def test_tables_hold_no_formula_and_parquet_is_the_same(tmp_path: Path) -> None:
    rows = [{"name": "=cmd()", "status": "failed", "sentence": "@x", "code": "-1", "failed_stage": "", "a": None},
            {"name": "b", "status": "ok", "a": 1.5}]  # fmt: skip
    write_table(rows, tmp_path / "t.csv")
    write_failures(rows, tmp_path / "f.csv")
    for name in ("t.csv", "f.csv"):
        cells = [cell for row in csv.reader((tmp_path / name).read_text(encoding="utf-8").splitlines()) for cell in row]
        assert not [cell for cell in cells if cell[:1] in "=+-@" and cell]
    with pytest.raises(InputError, match="written as"):
        write_table(rows, tmp_path / "t.xlsx")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(rows, tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist()[1]["a"] == 1.5


def test_the_room_loads_nothing_heavy() -> None:
    script = (
        "import sys, sacroplasty.cohort.verbs; "
        "print([m for m in ('dask', 'distributed', 'numpy', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT / "src")})  # fmt: skip
    assert found.stdout.strip() == "[]"
