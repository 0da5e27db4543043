"""200 cases, 10 of them bad, on Dask workers of which one is killed every ten seconds, against the serial run.

    python benchmarks/cohort_killed.py [--cases 200] [--bad 10] [--every 10] [--workers 3] [--pause 0.3]

Every case is a tiny CT that is read and measured; `--pause` makes each one last, so that the workers die in the middle
of the work. The bad ones are missing, torn, empty, no image, or have a header that lies. What is shown is the engine:
rows, failures, resume; the workflow's own stages run through the same one.
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
from sacroplasty.cohort.run import run_cohort
from sacroplasty.io import write_nifti
from sacroplasty.space import Grid, Volume

OUT = Path(__file__).with_suffix(".csv")
# How long a case lasts, for the workers to read.
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


def measured(job: Any, out: str) -> dict[str, Any]:
    """The case read and measured, its row kept as the cohort keeps it; a bad one is a row with its sentence.

    Only what it needs is loaded, so that a worker that died is soon back.
    """
    import json

    from sacroplasty.errors import SacroplastyError
    from sacroplasty.io import read_nifti, write_atomically
    from sacroplasty.space import Volume

    time.sleep(float(os.environ.get("COHORT_PAUSE_S", "0")))
    try:
        ct = read_nifti(job.ct, Volume)
        hu = np.asarray(ct.array, dtype=np.float64)
        row = {"name": job.name, "status": "ok", "voxels": int(hu.size), "mean_hu": round(float(hu.mean()), 6),
               "bone_ml": round(float((hu > 300).sum()) * ct.grid.voxel_volume_ml, 6)}  # fmt: skip
    except SacroplastyError as error:
        row = {"name": job.name, "status": "failed", "failed_stage": "read", "code": error.code,
               "sentence": error.sentence.replace(str(job.ct.parent), "")}  # fmt: skip
    text = json.dumps(row, sort_keys=True) + "\n"
    write_atomically(Path(out) / "rows" / f"{job.key}.json", lambda stream: stream.write(text.encode()))
    return row


def kill_workers(client: Any, every_s: float, stop: threading.Event, killed: list[int]) -> None:
    """SIGKILL to one worker after the other."""
    while not stop.wait(every_s) and client.status == "running":
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
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.3)
    given = parser.parse_args()
    stop, killed = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_cases(Path(folder) / "in", given.cases, given.bad)
        begun = time.process_time()
        serial = run_cohort(manifest, Path(folder) / "serial", stages=(), serial=True, work=measured)
        print(f"serial: {serial.ok} ok, {serial.failed} failed, {time.process_time() - begun:.0f} s CPU", flush=True)
        os.environ[PAUSE] = str(given.pause)
        engine.ONE_THREAD[PAUSE] = str(given.pause)

        def started(client: Any) -> None:
            threading.Thread(target=kill_workers, args=(client, given.every, stop, killed), daemon=True).start()

        begun_wall = time.monotonic()
        dask = run_cohort(
            manifest, Path(folder) / "dask", stages=(), workers=given.workers, started=started, work=measured,
            progress=lambda fraction, message: print(f"{message}, {len(killed)} killed", flush=True),
        )  # fmt: skip
        stop.set()
        wall = time.monotonic() - begun_wall
        equal = dask.table.read_bytes() == serial.table.read_bytes()
        same_failures = dask.failures.read_bytes() == serial.failures.read_bytes()
        again = run_cohort(manifest, Path(folder) / "dask", stages=(), serial=True, work=measured)
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
