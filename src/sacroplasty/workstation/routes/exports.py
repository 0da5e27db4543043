"""A case on its way out: Slicer and DICOM objects as a zip, and to an archive."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.report import FORMATS
from sacroplasty.workstation.refusals import not_there
from sacroplasty.workstation.routes.imports import archive_named
from sacroplasty.workstation.station import CaseId, Here

router = APIRouter(tags=["export"])
_FILE = re.compile(r"[0-9TZ]{8,20}-[0-9a-f]{8}\.zip")


class ExportBody(BaseModel):
    """Which objects to write."""

    model_config = ConfigDict(extra="forbid")
    formats: Annotated[list[Annotated[str, Field(pattern=f"^({'|'.join(FORMATS)})$")]], Field(min_length=1)] = [
        *FORMATS
    ]


class SendBody(BaseModel):
    """Where the DICOM objects go."""

    model_config = ConfigDict(extra="forbid")
    archive: Annotated[str, Field(max_length=200)]


@router.post("/cases/{case}/export", status_code=202)
def export(here: Here, case: CaseId, body: ExportBody) -> dict[str, Any]:
    """Write the objects into a zip, as a job; its result names the file."""
    here.casebook.open(case)
    return here.jobs.submit("export", case, "export", {"formats": body.formats}).shown()


@router.get("/cases/{case}/exports/{name}", response_class=FileResponse)
def download(here: Here, case: CaseId, name: str) -> FileResponse:
    """A zip that an export wrote."""
    here.casebook.open(case)
    path = here.casebook.state / "exports" / case / name
    if not _FILE.fullmatch(name) or not path.is_file():
        raise not_there("There is no such export", got=repr(name[:40]))
    return FileResponse(path, media_type="application/zip", filename=f"{case}.zip")


@router.post("/cases/{case}/send", status_code=202)
def send(here: Here, case: CaseId, body: SendBody) -> dict[str, Any]:
    """Send the DICOM objects to an archive the server was started with, as a job."""
    here.casebook.open(case)
    archive_named(here, body.archive)
    return here.jobs.submit("send", case, f"send to {body.archive}", {"archive": body.archive}).shown()
