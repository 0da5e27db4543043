"""Long work in worker processes, with all its state on disk: a reload or a restart of the server loses nothing.

A job is a folder: `job.json` is the server's, `progress.json` and `result.json` are the worker's. One job at a
time runs on a case; a worker that is stopped leaves what was committed before.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sacroplasty.case import from_json, to_json
from sacroplasty.errors import CaseError
from sacroplasty.io import write_atomically
from sacroplasty.workstation.refusals import CONFLICT, TOO_MANY, Refused, not_there

LONGEST_QUEUE = 32
_POLL_S = 0.1
# A worker that does not end on its own after this is killed.
_PATIENCE_S = 2.0
_JOB, _PROGRESS, _RESULT = "job.json", "progress.json", "result.json"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def over(self) -> bool:
        """Nothing runs any more."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


RESUMABLE = {JobState.CANCELLED, JobState.INTERRUPTED, JobState.FAILED}


@dataclass(frozen=True)
class Job:
    """One piece of long work: `kind` names the work, `arguments` is what it is done with."""

    id: str
    kind: str
    case: str | None
    title: str
    arguments: dict[str, Any]
    state: JobState = JobState.QUEUED
    fraction: float = 0.0
    message: str = ""
    created_at: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    error: dict[str, str] | None = None
    result: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """What the page sees: all but the arguments."""
        known = {name: content for name, content in asdict(self).items() if name != "arguments"}
        return {**known, "can_cancel": not self.state.over, "can_resume": self.state in RESUMABLE}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, data: object) -> None:
    """Replace a JSON file in one step."""
    content = to_json(data).encode()
    write_atomically(path, lambda stream: stream.write(content))


def _read(path: Path) -> Any:
    """A file of a job; None where it is not there or is damaged."""
    try:
        return from_json(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError, CaseError):
        return None


class Jobs:
    """The queue of one server. `told` hears of every change, from the thread that runs the queue."""

    def __init__(self, folder: Path, root: Path, workers: int = 1, told: Callable[[Job], None] | None = None) -> None:
        self.folder, self.root, self.workers = folder, root, workers
        self._told = told or (lambda job: None)
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._spare: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._load()
        self._thread = self._new_thread()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._keep_running, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin to run what is queued; again after `close`."""
        if self.workers:
            self._spare = self._new_worker()
        self._stop.clear()
        self._thread = self._new_thread()
        self._thread.start()

    def close(self) -> None:
        """Stop every worker; their jobs can be resumed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        with self._lock:
            for identifier, process in list(self._running.items()):
                _end(process)
                self._finish(identifier, JobState.INTERRUPTED)
            if self._spare is not None:
                _end(self._spare)

    def _load(self) -> None:
        """Jobs of earlier runs; what ran when the server died has ended or was interrupted."""
        for path in sorted(self.folder.glob(f"*/{_JOB}")):
            data = _read(path)
            try:
                job = Job(**{**data, "state": JobState(data["state"])})
            except (TypeError, KeyError, ValueError):  # a damaged or foreign file keeps nobody from the other jobs
                continue
            self._jobs[job.id] = job
            if job.state is JobState.RUNNING:
                self._finish(job.id, JobState.INTERRUPTED)

    def submit(self, kind: str, case: str | None, title: str, arguments: dict[str, Any]) -> Job:
        """Put work into the queue; 409 while other work runs on the case, 429 where the queue is full."""
        with self._lock:
            self.require_idle(case)
            if sum(not job.state.over for job in self._jobs.values()) >= LONGEST_QUEUE:
                raise Refused(TOO_MANY, "Too much work is queued", remedy="Wait until some of it is done")
            identifier = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
            job = Job(identifier, kind, case, title, arguments, created_at=now())
            (self.folder / identifier).mkdir(mode=0o700)
            self._keep(job)
            return job

    def require_idle(self, case: str | None) -> None:
        """409 while a job on the case is queued or running."""
        busy = self.on_case(case) if case else None
        if busy is not None:
            raise Refused(
                CONFLICT,
                "A job is running on this case",
                got=f"{busy.title}, {100 * busy.fraction:.0f} %",
                remedy="Wait for it, or cancel it",
            )

    def on_case(self, case: str) -> Job | None:
        """The job that is queued or running on a case."""
        with self._lock:
            return next((job for job in self._jobs.values() if job.case == case and not job.state.over), None)

    def listed(self, case: str | None = None) -> tuple[Job, ...]:
        """Jobs, newest first."""
        with self._lock:
            found = [self._fresh(job) for job in self._jobs.values() if case is None or job.case == case]
        return tuple(sorted(found, key=lambda job: job.id, reverse=True))

    def get(self, identifier: str) -> Job:
        """One job; 404 where there is none."""
        with self._lock:
            if identifier not in self._jobs:
                raise not_there("There is no such job", got=repr(identifier[:60]))
            return self._fresh(self._jobs[identifier])

    def _fresh(self, job: Job) -> Job:
        """With the worker's own latest word."""
        if job.state is not JobState.RUNNING:
            return job
        told = _read(self.folder / job.id / _PROGRESS)
        return replace(job, **told) if isinstance(told, dict) else job

    def cancel(self, identifier: str) -> Job:
        """Stop a job; what it had committed stays."""
        with self._lock:
            job = self.get(identifier)
            if job.state is JobState.RUNNING:
                _end(self._running[identifier])
            return job if job.state.over else self._finish(identifier, JobState.CANCELLED)

    def resume(self, identifier: str) -> Job:
        """Queue a job that did not come to its end again."""
        with self._lock:
            job = self.get(identifier)
            if job.state not in RESUMABLE:
                raise Refused(CONFLICT, "This job cannot be resumed", got=job.state.value)
            self.require_idle(job.case)
            (self.folder / identifier / _RESULT).unlink(missing_ok=True)
            (self.folder / identifier / _PROGRESS).unlink(missing_ok=True)
            return self._keep(replace(job, state=JobState.QUEUED, error=None, ended_at=None, message=""))

    def _keep(self, job: Job) -> Job:
        write_json(self.folder / job.id / _JOB, asdict(job))
        self._jobs[job.id] = job
        self._told(job)
        return job

    def _keep_running(self) -> None:
        while not self._stop.wait(_POLL_S):
            with self._lock:
                for identifier, process in list(self._running.items()):
                    if process.poll() is not None:
                        self._finish(identifier, JobState.INTERRUPTED)
                    else:
                        self._listen(identifier)
                waiting = sorted(job.id for job in self._jobs.values() if job.state is JobState.QUEUED)
                for identifier in waiting[: max(self.workers - len(self._running), 0)]:
                    self._begin(identifier)

    def _listen(self, identifier: str) -> None:
        """Pass on what a worker says, when it says something new."""
        old, new = self._jobs[identifier], self._fresh(self._jobs[identifier])
        if (old.fraction, old.message) != (new.fraction, new.message):
            self._jobs[identifier] = new
            self._told(new)

    def _begin(self, identifier: str) -> None:
        """Hand a job to the worker that waits, and start the next one to wait."""
        process = self._spare if self._spare is not None and self._spare.poll() is None else self._new_worker()
        self._spare = None
        self._running[identifier] = process
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{self.folder / identifier}\n".encode())
            process.stdin.close()
        self._keep(replace(self._jobs[identifier], state=JobState.RUNNING, started_at=now(), fraction=0.0))
        self._spare = self._new_worker()

    def _new_worker(self) -> subprocess.Popen[bytes]:
        """A process that has imported what it needs and waits for the folder of a job."""
        return subprocess.Popen(
            [sys.executable, "-m", "sacroplasty.workstation.worker", str(self.root)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def _finish(self, identifier: str, otherwise: JobState) -> Job:
        """The end of a job: as the worker wrote it down, or `otherwise` where it could not."""
        self._running.pop(identifier, None)
        job = self._fresh(self._jobs[identifier])
        found = _read(self.folder / identifier / _RESULT)
        if isinstance(found, dict) and "result" in found:
            job = replace(job, state=JobState.DONE, fraction=1.0, message="Done", result=found["result"])
        elif isinstance(found, dict):
            job = replace(job, state=JobState.FAILED, error=found["error"])
        else:
            job = replace(job, state=otherwise)
        return self._keep(replace(job, ended_at=now()))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a worker and what it started, by force where it does not listen."""
    _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        pass


class Report:
    """What a worker writes into its job's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said = (-1.0, "")

    @property
    def job(self) -> Job:
        """The job as the server wrote it."""
        data = json.loads((self.folder / _JOB).read_text(encoding="utf-8"))
        return Job(**{**data, "state": JobState(data["state"])})

    def progress(self, fraction: float, message: str) -> None:
        """How far the work is."""
        if abs(fraction - self._said[0]) >= 0.005 or message != self._said[1]:
            self._said = (fraction, message)
            write_json(self.folder / _PROGRESS, {"fraction": round(float(fraction), 4), "message": message})

    def done(self, result: dict[str, Any]) -> None:
        """The work came to its end."""
        write_json(self.folder / _RESULT, {"result": result})

    def refused(self, error: dict[str, str]) -> None:
        """The work was refused or failed."""
        write_json(self.folder / _RESULT, {"error": error})
