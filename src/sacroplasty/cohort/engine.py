"""Running jobs: one after the other here, or on Dask workers that may come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sacroplasty.cohort.job import Row, failure, keep_row
from sacroplasty.errors import InputError

# A case is given up once this many workers died while they ran it; innocent ones are seldom hit twice.
DEATHS_ALLOWED = 8
# Seconds between looks at the local workers, and looks that find none before new ones are started.
LOOK_EVERY_S, LOOKS_BEFORE_NEW = 5.0, 9
# Every worker computes on one thread, so that results do not hang on how many there are.
ONE_THREAD = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Dask puts these into this process too while a worker starts. Numba reads its own anew at every compilation and cannot
# go back to more threads, so that one is given to the worker alone.
WHILE_STARTING = {name: count for name, count in ONE_THREAD.items() if not name.startswith("NUMBA")}


class Keyed(Protocol):
    """Anything that can be run by name and found again by the hash of what its result depends on."""

    @property
    def name(self) -> str:
        """The case's name in tables."""

    @property
    def key(self) -> str:
        """Equal keys give equal results."""


Work = Callable[[Any, str], Row]
Finished = Callable[[Any, Row], None]


def run_here(work: Work, jobs: Sequence[Keyed], out: Path, finished: Finished) -> None:
    """Run the jobs one after the other in this process; `work(job, folder)` gives a row and keeps it."""
    for job in jobs:
        finished(job, work(job, str(out)))


def run_on_dask(
    work: Work, jobs: Sequence[Keyed], out: Path, finished: Finished, *, scheduler: str = "", workers: int = 2,
    memory_gb: float = 3.0, started: Callable[[Any], None] | None = None,
) -> None:  # fmt: skip
    """Run the jobs on Dask: on a scheduler by its address, else on a local cluster of `workers` processes.

    Every worker must see the same files. A worker that dies loses only the case it was at, which another worker
    takes over; a case on which DEATHS_ALLOWED workers died fails with a sentence. `started` gets the client.
    """
    distributed = _distributed()
    with _client(distributed, scheduler, workers, memory_gb) as client:
        if started is not None:
            started(client)
        by_key = {f"case-{job.key}": job for job in jobs}
        futures = [client.submit(work, job, str(out), key=key, pure=False) for key, job in by_key.items()]
        for future in distributed.as_completed(futures):
            job = by_key[future.key]
            error = future.exception()
            if error is None:
                row = future.result()
            else:
                row = failure(job.name, "", "SAC-E902", _dead(distributed, error))
                keep_row(out, job.key, row)
            finished(job, row)
            future.release()


def _dead(distributed: Any, error: BaseException) -> str:
    if isinstance(error, distributed.scheduler.KilledWorker):
        return f"{DEATHS_ALLOWED + 1} workers died while they ran this case: it may need more memory than they have."
    return f"The worker could not run the case: {type(error).__name__}: {str(error)[:300]}."


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError(
            "A cohort on several processes needs Dask", got="it is not installed",
            remedy="Install it with `pip install 'sacroplasty[cohort]'`, or run with --serial",
        ) from None  # fmt: skip
    return distributed


@contextmanager
def _client(distributed: Any, scheduler: str, workers: int, memory_gb: float) -> Iterator[Any]:
    """A client of the scheduler, or of a local cluster that ends with it."""
    if scheduler:
        try:
            with distributed.Client(scheduler, timeout="20s") as client:
                yield client
        except (OSError, ValueError) as error:
            raise InputError("The Dask scheduler cannot be reached", got=f"{scheduler}: {error}") from None
        return
    if workers < 1:
        raise InputError("A cohort needs at least one worker", got=str(workers))
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": DEATHS_ALLOWED,
        # No queue at the workers: when one dies, only the case it was at counts as suspicious.
        "distributed.scheduler.worker-saturation": 1.0,
        # A busy machine may take a minute to start a process; that is no failure.
        "distributed.comm.timeouts.connect": "180s",
        "distributed.nanny.environ": ONE_THREAD,
        "distributed.nanny.pre-spawn-environ": WHILE_STARTING,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50,
            memory_limit=f"{memory_gb}GB",
        ) as cluster,
        distributed.Client(cluster) as client,
        _watched(cluster, client, workers),
    ):  # fmt: skip
        yield client


@contextmanager
def _watched(cluster: Any, client: Any, workers: int) -> Iterator[None]:
    """Puts new workers in place of those whose own guard gave up, while the block runs.

    Dask starts a dead worker again, but where the machine is so busy that this takes too long it stops trying.
    """
    done = threading.Event()

    def watch() -> None:
        missing = 0
        while not done.wait(LOOK_EVERY_S):
            missing = 0 if client.scheduler_info(n_workers=-1)["workers"] else missing + 1
            if missing >= LOOKS_BEFORE_NEW and not done.is_set():
                cluster.scale(0)
                cluster.scale(workers)
                missing = 0

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
