"""Jobs: list, one, cancel, resume, and the stream of events."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from sacroplasty.workstation.station import Here, Station

router = APIRouter(tags=["jobs"])
# A comment line keeps a silent stream open, and finds out that a page went away.
_BEAT_S, _LOOK_S = 15.0, 0.2


@router.get("/jobs")
def listed(here: Here, case: str | None = None) -> dict[str, Any]:
    """Jobs, newest first."""
    return {"jobs": [job.shown() for job in here.jobs.listed(case)]}


@router.get("/jobs/{job}")
def one(here: Here, job: str) -> dict[str, Any]:
    """One job."""
    return here.jobs.get(job).shown()


@router.post("/jobs/{job}/cancel")
def cancel(here: Here, job: str) -> dict[str, Any]:
    """Stop a job; what it had stored stays."""
    return here.jobs.cancel(job).shown()


@router.post("/jobs/{job}/resume", status_code=202)
def resume(here: Here, job: str) -> dict[str, Any]:
    """Queue a job again that did not come to its end."""
    return here.jobs.resume(job).shown()


@router.get("/events", response_class=StreamingResponse)
async def events(here: Here, request: Request) -> StreamingResponse:
    """Server-sent events: job and case."""
    return StreamingResponse(_stream(here, request), media_type="text/event-stream")


async def _stream(here: Station, request: Request) -> AsyncIterator[str]:
    mine = here.listeners.join()
    waited = _BEAT_S
    try:
        while not await request.is_disconnected():
            try:
                yield mine.get_nowait()
                continue
            except queue.Empty:
                if waited >= _BEAT_S:
                    waited = 0.0
                    yield ": here\n\n"
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S
    finally:
        here.listeners.leave(mine)
