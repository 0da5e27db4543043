"""What every route works with: the casebook, the queue, what lies in memory, the listeners."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi import Path as InPath

from sacroplasty.errors import SacroplastyError
from sacroplasty.workstation.casebook import IDENTIFIER, Casebook, revision_of
from sacroplasty.workstation.images import Images
from sacroplasty.workstation.jobs import Job, Jobs, JobState
from sacroplasty.workstation.refusals import FORBIDDEN, WITHOUT_READ_ONLY, Refused
from sacroplasty.workstation.surfaces import Surfaces
from sacroplasty.workstation.warm import Warm

# Pages that may listen at a time, and messages that one may be behind before it is told to ask anew.
_LISTENERS, _BEHIND = 64, 256


class Listeners:
    """Pages that hear of jobs and changed cases; one that falls behind loses messages and polls."""

    def __init__(self) -> None:
        self._queues: list[queue.Queue[str]] = []
        self._lock = threading.Lock()

    def join(self) -> queue.Queue[str]:
        """A new listener; 429 where there are too many."""
        with self._lock:
            if len(self._queues) >= _LISTENERS:
                raise Refused(429, "Too many windows listen", remedy="Close some of them")
            self._queues.append(queue.Queue(_BEHIND))
            return self._queues[-1]

    def leave(self, one: queue.Queue[str]) -> None:
        """A page went away."""
        with self._lock:
            self._queues.remove(one)

    def tell(self, event: str, data: object) -> None:
        """Say something to every listener."""
        message = f"event: {event}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
        with self._lock:
            for one in self._queues:
                if not one.full():
                    one.put_nowait(message)


@dataclass(frozen=True)
class Setup:
    """What the server was started with: folders to import from, by name; whether cases are only shown."""

    folders: dict[str, Path] = field(default_factory=dict)
    read_only: bool = False


class Station:
    """One running workstation over one folder of cases."""

    def __init__(self, root: Path, setup: Setup | None = None, workers: int = 1) -> None:
        self.setup = setup or Setup()
        self.casebook = Casebook(root, read_only=self.setup.read_only)
        self.warm = Warm(self.casebook)
        self.images = Images(self.casebook, self.warm)
        self.surfaces = Surfaces(self.casebook, self.warm, self.images)
        self.listeners = Listeners()
        for identifier in () if self.setup.read_only else self.casebook.identifiers():
            # A case that cannot be read is listed with the reason; it keeps nobody from the others.
            with suppress(SacroplastyError):
                self.casebook.recover(identifier)
        workers = 0 if self.setup.read_only else workers
        self.jobs = Jobs(self.casebook.written / "jobs", self.casebook.root, workers, self._heard)

    def _heard(self, job: Job) -> None:
        self.listeners.tell("job", job.shown())
        if not job.state.over or job.case is None or job.case not in self.casebook.identifiers():
            return
        if job.state is not JobState.DONE:
            self.casebook.recover(job.case)
        self.changed(job.case)

    def changed(self, identifier: str) -> int:
        """Tell every window the case's revision, and return it."""
        revision = revision_of(self.casebook.open(identifier))
        self.listeners.tell("case", {"case": identifier, "revision": revision})
        return revision


def _station(request: Request) -> Station:
    found = request.app.state.station
    assert isinstance(found, Station)
    return found


Here = Annotated[Station, Depends(_station)]


def _computing(here: Here) -> None:
    if here.setup.read_only:
        raise Refused(FORBIDDEN, "This server shows what is stored and computes nothing", remedy=WITHOUT_READ_ONLY)


# What a route that makes new pictures depends on.
Computing = Depends(_computing)
CaseId = Annotated[str, InPath(pattern=f"^{IDENTIFIER.pattern}$", description="The case's identifier")]
IfMatch = Annotated[str | None, Header(description="The revision the page has seen, as in ETag")]


def etag(revision: int) -> dict[str, str]:
    """The header that carries a revision."""
    return {"ETag": f'"{revision}"'}
