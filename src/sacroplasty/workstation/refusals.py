"""Refusals of the server itself: the status that says whose turn it is, and a sentence like everybody else's."""

from __future__ import annotations

from sacroplasty.errors import CaseError, SacroplastyError

FORBIDDEN, NOT_THERE, CONFLICT, UNPROCESSABLE, NO_REVISION, TOO_MANY, FAILED = 403, 404, 409, 422, 428, 429, 500
WITHOUT_READ_ONLY = "Start `sacroplasty serve` without --read-only"


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
