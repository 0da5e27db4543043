"""Images, anatomy, lesions and surfaces as the page draws them."""

from __future__ import annotations

import gzip
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse

from sacroplasty.anatomy import Foramen
from sacroplasty.case import decode
from sacroplasty.fluoroscopy.rim import foramen_rim
from sacroplasty.workstation.casebook import revision_of, stored_json
from sacroplasty.workstation.station import CaseId, Here, etag

router = APIRouter(tags=["images"])
Name = Annotated[str, Path(pattern=r"^[a-z0-9_-]{1,40}$")]
_BINARY: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
_PACKED = {"Content-Encoding": "gzip"}


@router.get("/cases/{case}/images")
def images(here: Here, case: CaseId) -> dict[str, Any]:
    """Every image of the case with its levels."""
    return {"images": here.images.described(case)}


@router.get("/cases/{case}/images/{name}")
def one_image(here: Here, case: CaseId, name: Name) -> dict[str, Any]:
    """One image with its levels: ask for `ct` first, the other images need more to be read."""
    return here.images.one(case, name)


@router.get("/cases/{case}/images/{name}/{level}", response_class=FileResponse, responses=_BINARY)
def image(here: Here, case: CaseId, name: Name, level: Annotated[int, Path(ge=0, le=16)]) -> FileResponse:
    """The bare array of one level."""
    return FileResponse(here.images.file(case, name, level), media_type="application/octet-stream", headers=_PACKED)


@router.get("/cases/{case}/surfaces")
def surfaces(here: Here, case: CaseId) -> dict[str, Any]:
    """Every surface that the case can show."""
    return {"surfaces": here.surfaces.described(case)}


@router.get("/cases/{case}/surfaces/{name}", response_class=Response, responses=_BINARY)
def surface(
    here: Here, case: CaseId, name: Name,
    injected_ml: Annotated[float | None, Query(ge=0, le=100, allow_inf_nan=False)] = None,
) -> Response:  # fmt: skip
    """One mesh; the cement's also at an injected volume."""
    if name == "cement" and injected_ml is not None:
        content = gzip.compress(here.surfaces.cement_at(case, injected_ml), 1, mtime=0)
        return Response(content, media_type="application/octet-stream", headers=_PACKED)
    return FileResponse(here.surfaces.file(case, name), media_type="application/octet-stream", headers=_PACKED)


@router.get("/cases/{case}/anatomy")
def anatomy(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """The anatomy as stored, with the outline of every foramen; images are left to the images."""
    stored = cast(dict[str, Any], stored_json(here.casebook, case, "segment"))
    found = {name: content for name, content in stored.items() if name not in {"labels", "body", "maps"}}
    found["foramina"] = [
        {**data, "name": foramen.name, "rim_mm": np.round(foramen_rim(foramen), 3).tolist()}
        for data, foramen in ((data, decode(Foramen, data)) for data in stored["foramina"])
    ]
    found["roots"] = [{**data, "name": f"{data['level']} root {data['side']}"} for data in stored["roots"]]
    response.headers.update(etag(revision_of(here.casebook.open(case))))
    return found


@router.get("/cases/{case}/lesions")
def lesions(here: Here, case: CaseId, response: Response) -> dict[str, Any]:
    """The lesions as stored; each names its image."""
    stored = stored_json(here.casebook, case, "lesion")
    response.headers.update(etag(revision_of(here.casebook.open(case))))
    kept = [{name: content for name, content in one.items() if name != "mask"} for one in stored]
    return {"lesions": [{**one, "image": f"lesion-{n}"} for n, one in enumerate(kept, start=1)]}
