"""200 cases, 10 of them bad, on Dask workers of which one is killed every ten seconds, against the serial run.

    python benchmarks/cohort_killed.py [--cases 200] [--bad 10] [--every 10] [--pause 0.3]

Every case is a tiny CT that goes through the gate into a case folder of its own; `--pause` makes each one last, so
that the workers die in the middle of the work. The bad ones are missing, torn, empty, no image, in unknown units, or
of a type that cannot be read.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from sacroplasty.cohort import engine
from sacroplasty.cohort.job import Row, run_job
from sacroplasty.cohort.manifest import Job
from sacroplasty.cohort.run import run_cohort
from sacroplasty.io import write_nifti
from sacroplasty.space import Grid, Volume

OUT = Path(__file__).with_suffix(".csv")
PAUSE = "COHORT_PAUSE_S"


def make_cases(folder: Path, count: int, bad: int) -> Path:
    """A manifest of tiny CTs; the bad ones are spread over the list."""
    folder.mkdir(parents=True)
    lines = ["name,ct"]
    bad_ones = {int(n) for n in np.linspace(3, count - 2, bad)}
    for n in range(count):
        file = folder / f"case-{n:03d}.nii.gz"
        grid = Grid.aligned((-16, -16, -16), (16, 16, 16), 2.0)
        hu = np.random.default_rng(n).normal(40.0, 15.0, grid.shape).astype(np.float32)
        hu[:2] = -1000.0
        hu[6:10, 6:10, 6:10] = 700.0
        write_nifti(Volume(hu, grid), file)
        if n in bad_ones:
            spoil(file, sorted(bad_ones).index(n))
        lines.append(f"{file.name.split('.')[0]},{file.name}")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.csv"


def spoil(file: Path, kind: int) -> None:
    """One of five ways in which a file can be bad."""
    content = file.read_bytes()
    if kind % 5 == 0:
        file.unlink()
    elif kind % 5 == 1:
        file.write_bytes(content[: len(content) // 2])
    elif kind % 5 == 2:
        file.write_bytes(b"")
    elif kind % 5 == 3:
        file.write_bytes(b"PATIENT HAS LEFT" * 40)
    else:
        file.write_bytes(content[:40] + bytes([content[40] ^ 0xFF]) + content[41:])


def slow_job(job: Job, out: str) -> Row:
    """The case after a pause, as a longer stage would take it."""
    time.sleep(float(os.environ.get(PAUSE, "0")))
    return run_job(job, out)


def kill_workers(client: Any, every_s: float, stop: threading.Event, killed: list[int]) -> None:
    """SIGKILL to one worker after the other."""
    while not stop.wait(every_s):
        pids = [w["pid"] for w in client.run(lambda: {"pid": os.getpid()}).values()]
        if pids:
            victim = pids[len(killed) % len(pids)]
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--bad", type=int, default=10)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--pause", type=float, default=0.3)
    given = parser.parse_args()
    stop, killed = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_cases(Path(folder) / "in", given.cases, given.bad)
        begun = time.process_time()
        serial = run_cohort(manifest, Path(folder) / "serial", stages=(), serial=True)
        print(f"serial: {serial.ok} ok, {serial.failed} failed, {time.process_time() - begun:.0f} s CPU", flush=True)
        os.environ[PAUSE] = str(given.pause)
        engine.ONE_THREAD[PAUSE] = str(given.pause)

        def started(client: Any) -> None:
            threading.Thread(target=kill_workers, args=(client, given.every, stop, killed), daemon=True).start()

        begun_wall = time.monotonic()
        dask = run_cohort(manifest, Path(folder) / "dask", stages=(), workers=2, started=started, work=slow_job,
                          progress=lambda f, m: print(m, len(killed), "killed", flush=True) if f * 200 % 20 < 1 else None)  # fmt: skip
        stop.set()
        wall = time.monotonic() - begun_wall
        equal = dask.table.read_bytes() == serial.table.read_bytes()
        same_failures = dask.failures.read_bytes() == serial.failures.read_bytes()
        again = run_cohort(manifest, Path(folder) / "dask", stages=(), serial=True)
    row = {"cases": given.cases, "bad": given.bad, "ok": dask.ok, "failed": dask.failed,
           "rows": dask.ok + dask.failed, "workers_killed": len(killed), "kill_every_s": given.every,
           "table_equal_to_serial": equal, "failures_equal_to_serial": same_failures,
           "resumed_in_a_second_run": again.resumed, "wall_s": round(wall)}  # fmt: skip
    print(row)
    with OUT.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
