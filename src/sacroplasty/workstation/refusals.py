"""Refusals as the page receives them: one JSON shape with a sentence, and the status that says whose turn it is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sacroplasty.errors import CaseError, SacroplastyError

NOT_THERE, CONFLICT, UNPROCESSABLE, NO_REVISION, TOO_MANY, FAILED = 404, 409, 422, 428, 429, 500


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


class Refused(SacroplastyError):
    """A refusal of the server itself, with its HTTP status."""

    code = "SAC-W400"

    def __init__(self, status: int, what: str, *, got: str = "", remedy: str = "") -> None:
        super().__init__(what, got=got, remedy=remedy, code=f"SAC-W{status}")
        self.status = status


def not_there(what: str, got: str = "", remedy: str = "") -> Refused:
    """404."""
    return Refused(NOT_THERE, what, got=got, remedy=remedy)


def body_of(error: SacroplastyError) -> dict[str, str]:
    """The JSON shape of a refusal."""
    return {"code": error.code, "what": error.what, "got": error.got, "remedy": error.remedy,
            "sentence": error.sentence}  # fmt: skip


def status_of(error: SacroplastyError) -> int:
    """The HTTP status of an error of the program."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, CaseError):
        if "changed" in error.what:
            return CONFLICT
        return NOT_THERE if error.what.startswith(("There is no", "The case has no")) else UNPROCESSABLE
    return UNPROCESSABLE


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
