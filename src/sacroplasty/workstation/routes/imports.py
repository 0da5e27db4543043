"""Scans on their way in: uploads, folders the server was started with, archives; each through the same gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from sacroplasty.case import encode
from sacroplasty.errors import InputError
from sacroplasty.io.pacs_dimse import Archive
from sacroplasty.io.pacs_web import WebArchive
from sacroplasty.workstation.archives import archives_of, series_of
from sacroplasty.workstation.refusals import not_there
from sacroplasty.workstation.station import Here, Station
from sacroplasty.workstation.uploads import begun, folder_of, received, source_of

router = APIRouter(tags=["import"])
# Entries of one folder that are listed.
_MOST_ENTRIES = 2000


class ImportBody(BaseModel):
    """What to import and how; exactly one of upload and folder. A series of an archive is fetched into an upload."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=200)] = ""
    upload: Annotated[str, Field(max_length=40)] | None = None
    folder: Annotated[str, Field(max_length=200)] | None = None
    path: Annotated[str, Field(max_length=2000)] = ""
    series: Annotated[str, Field(max_length=200)] | None = None
    acknowledge: Annotated[list[Annotated[str, Field(max_length=20)]], Field(max_length=50)] = []
    resample_irregular: bool = False
    resample_tilted: bool = False


class PlaceBody(BaseModel):
    """A place in a folder that may be imported from."""

    model_config = ConfigDict(extra="forbid")
    path: Annotated[str, Field(max_length=2000)] = ""


class SeriesBody(BaseModel):
    """A series as `find` lists it; the archive must send so many images of this patient, or nothing is kept."""

    model_config = ConfigDict(extra="forbid")
    patient_id: Annotated[str, Field(min_length=1, max_length=64)]
    study_uid: Annotated[str, Field(min_length=1, max_length=64)]
    series_uid: Annotated[str, Field(min_length=1, max_length=64)]
    images: Annotated[int, Field(ge=0, le=100_000)] = 0


class PatientQuery(BaseModel):
    """Whose series to look for."""

    model_config = ConfigDict(extra="forbid")
    patient_id: Annotated[str, Field(min_length=1, max_length=64)]


@router.post("/uploads", status_code=201)
def begin(here: Here) -> dict[str, Any]:
    """A place for files to come."""
    return {"upload": begun(here.casebook)}


@router.put(
    "/uploads/{upload}/files/{number}",
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}, "required": True}},
)
async def put_file(
    here: Here, request: Request, upload: str, number: Annotated[int, InPath(ge=0, le=5999)],
    x_file_name: Annotated[str, Header(max_length=2000)] = "",
) -> dict[str, Any]:  # fmt: skip
    """One file; of its name only the ending counts."""
    size = await received(folder_of(here.casebook, upload), number, x_file_name, request.stream())
    return {"number": number, "bytes": size}


@router.post("/uploads/{upload}/inspect", status_code=202)
def inspect_upload(here: Here, upload: str) -> dict[str, Any]:
    """What the gate says about an upload, as a job."""
    source = source_of(folder_of(here.casebook, upload))
    return here.jobs.submit("inspect", None, "inspect the upload", {"source": str(source)}).shown()


def inside(here: Station, folder: str, path: str) -> Path:
    """A path within one of the folders that may be imported from; 404 for everything else."""
    root = here.setup.folders.get(folder)
    if root is None:
        raise not_there("The server was not started with this folder", got=repr(folder[:60]))
    if "\0" in path:
        raise not_there("There is nothing at this path")
    try:
        found = (root / path).resolve()
        exists = found.exists()
    except OSError:
        exists, found = False, root
    if not found.is_relative_to(root.resolve()) or not exists:
        raise not_there("There is nothing at this path", got=repr(path[:80]))
    return found


@router.get("/folders/{folder}")
def listing(here: Here, folder: str, path: Annotated[str, Query(max_length=2000)] = "") -> dict[str, Any]:
    """What lies in a folder; nothing outside it can be named."""
    found = inside(here, folder, path)
    if not found.is_dir():
        raise not_there("This is not a folder", got=repr(path[:80]))
    root = here.setup.folders[folder].resolve()
    entries = []
    for one in sorted(found.iterdir())[:_MOST_ENTRIES]:
        if one.name.startswith(".") or one.is_symlink():
            continue
        relative = one.relative_to(root).as_posix()
        entries.append({"name": one.name, "path": relative, "folder": one.is_dir(), "bytes": one.stat().st_size})
    return {"path": found.relative_to(root).as_posix(), "entries": entries}


@router.post("/folders/{folder}/inspect", status_code=202)
def inspect_folder(here: Here, folder: str, body: PlaceBody) -> dict[str, Any]:
    """What the gate says about a file or series in a folder, as a job."""
    source = inside(here, folder, body.path)
    return here.jobs.submit("inspect", None, "inspect the folder", {"source": str(source)}).shown()


@router.post("/archives/{archive}/find")
def find(here: Here, archive: str, body: PatientQuery) -> dict[str, Any]:
    """The series that an archive has of a patient."""
    return {"series": encode(series_of(archive_named(here, archive), body.patient_id))}


@router.post("/archives/{archive}/fetch", status_code=202)
def fetch(here: Here, archive: str, body: SeriesBody) -> dict[str, Any]:
    """A series brought into an upload, and what the gate says about it, as a job."""
    archive_named(here, archive)
    arguments = {**body.model_dump(mode="json"), "archive": archive, "upload": begun(here.casebook)}
    return here.jobs.submit("fetch", None, f"fetch from {archive}", arguments).shown()


def archive_named(here: Station, name: str) -> Archive | WebArchive:
    """One of the archives of this folder of cases; 404 for every other name."""
    known = archives_of(here.casebook.root).get(name)
    if known is None:
        raise not_there("There is no such archive", got=repr(name[:60]), remedy="Enter it in archives.toml")
    return known


@router.post("/imports", status_code=202)
def begin_import(here: Here, body: ImportBody) -> dict[str, Any]:
    """Make a case of a scan, as a job; what the gate refuses is the job's error."""
    here.casebook.new_path(body.id)
    if (body.upload is None) == (body.folder is None):
        raise InputError("Give an upload or a folder", got="both" if body.upload else "none")
    arguments = body.model_dump(mode="json")
    if body.upload is not None:
        source = source_of(folder_of(here.casebook, body.upload))
    else:
        source = inside(here, body.folder or "", body.path)
    arguments["source"] = str(source)
    return here.jobs.submit("import", body.id, f"import {body.name or body.id}", arguments).shown()
