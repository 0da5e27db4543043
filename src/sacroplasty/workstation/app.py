"""The ASGI application: routes under /api, the page's files, one guard around everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sacroplasty import NOT_FOR_CLINICAL_USE, __version__
from sacroplasty.workstation.answers import REFUSALS, install
from sacroplasty.workstation.guard import Guard, Session
from sacroplasty.workstation.refusals import not_there
from sacroplasty.workstation.routes import (
    about,
    cases,
    cement,
    cohort,
    corrections,
    exports,
    facts,
    follow_up,
    guidance,
    images,
    imports,
    jobs,
    paths,
    procedure,
    radiographs,
    rehearsal,
)
from sacroplasty.workstation.station import Setup, Station

# Largest body of any request: a zipped CT of the whole body.
LARGEST_BODY_BYTES = 2 << 30
PARTS = (about, cases, images, jobs, paths, radiographs, rehearsal, guidance, cement, facts, procedure, follow_up,
         cohort, imports, corrections, exports)  # fmt: skip


def static_folder() -> Path:
    """Where the built page lies in the package."""
    return Path(str(resources.files("sacroplasty.workstation"))) / "static"


def app(
    cases_dir: Path, *, session: Session, port: int, setup: Setup | None = None, workers: int = 1,
    largest_body_bytes: int = LARGEST_BODY_BYTES, static: Path | None = None,
) -> ASGIApp:  # fmt: skip
    """The guarded workstation over a folder of cases, for one session on one port of this machine."""
    station = Station(cases_dir, setup, workers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        station.jobs.start()
        yield
        station.jobs.close()

    api = FastAPI(
        title="sacroplasty workstation", version=__version__, description=NOT_FOR_CLINICAL_USE, lifespan=lifespan,
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, responses=REFUSALS,
    )  # fmt: skip
    api.state.station = station
    install(api)
    for part in PARTS:
        api.include_router(part.router, prefix="/api")
    _serve_page(api, static or static_folder())
    return Guard(api, session, port, largest_body_bytes, read_only=station.setup.read_only)


def _serve_page(api: FastAPI, folder: Path) -> None:
    """Health, the page, its files; what is not there says so in the one shape."""

    @api.get("/health", include_in_schema=False)
    def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @api.get("/api/{rest:path}", include_in_schema=False)
    def nothing(rest: str) -> None:
        raise not_there("There is no such route", got=repr(rest[:60]))

    index = folder / "index.html"

    @api.get("/", include_in_schema=False)
    def page() -> FileResponse:
        if not index.is_file():
            raise not_there("The page is not built", remedy="Build it, or install the wheel")
        return FileResponse(index, media_type="text/html; charset=utf-8")

    if folder.is_dir():
        api.mount("/", StaticFiles(directory=folder), name="page")
