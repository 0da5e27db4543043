"""How refusals leave the server: one JSON shape for every error, nothing of a traceback."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sacroplasty.errors import SacroplastyError
from sacroplasty.workstation.refusals import (
    CONFLICT,
    FAILED,
    NO_REVISION,
    NOT_THERE,
    TOO_MANY,
    UNPROCESSABLE,
    Refused,
    body_of,
    status_of,
)


class RefusalBody(BaseModel):
    """The body of every refusal; `sentence` is what to show."""

    code: str
    what: str
    got: str = ""
    remedy: str = ""
    sentence: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": RefusalBody, "description": words}
    for status, words in (
        (400, "The request cannot be read"),
        (401, "No session"),
        (403, "Refused"),
        (NOT_THERE, "There is no such thing"),
        (405, "The route does not take this method"),
        (CONFLICT, "Changed meanwhile, or busy"),
        (413, "The body is too large"),
        (UNPROCESSABLE, "Refused by the program's rules"),
        (NO_REVISION, "A write without If-Match"),
        (TOO_MANY, "Too much at once"),
    )
}


def _answer(status: int, body: dict[str, str]) -> JSONResponse:
    return JSONResponse(body, status)


def install(app: FastAPI) -> None:
    """Make every error of an application answer in the one shape; nothing of a traceback leaves the server."""

    async def own(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, SacroplastyError)
        return _answer(status_of(error), body_of(error))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first.get("loc", ()))
        refusal = Refused(UNPROCESSABLE, "The request does not fit", got=f"{place}: {first.get('msg', '')}"[:300])
        return _answer(UNPROCESSABLE, body_of(refusal))

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        refusal = Refused(error.status_code, str(error.detail))
        return JSONResponse(body_of(refusal), error.status_code, headers=error.headers)

    async def unforeseen(_: Request, __: Exception) -> JSONResponse:
        refusal = Refused(FAILED, "The program failed", remedy="See the server's log, and report it")
        return _answer(FAILED, body_of(refusal))

    app.add_exception_handler(SacroplastyError, own)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)
