"""Everything the package raises on purpose.

Each sentence says what is wrong, what was got and how to mend it; doors print it as one line and exit with code 2.
"""

from __future__ import annotations


class SacroplastyError(Exception):
    """A refusal with a remedy: `what` is wrong, `got` was seen, `remedy` mends it; `code` is stable across versions."""

    code = "SAC-E000"

    def __init__(self, what: str, *, got: str = "", remedy: str = "", code: str | None = None) -> None:
        self.what, self.got, self.remedy = what, got, remedy
        if code is not None:
            self.code = code
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """What, got and remedy in one line."""
        parts = [self.what.rstrip(".")]
        if self.got:
            parts.append(f"got {self.got.rstrip('.')}")
        line = "; ".join(parts) + "."
        return f"{line} {self.remedy.rstrip('.')}." if self.remedy else line

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.got, self.remedy, self.code)


def _rebuild(kind: type[SacroplastyError], what: str, got: str, remedy: str, code: str) -> SacroplastyError:
    return kind(what, got=got, remedy=remedy, code=code)


class InputError(SacroplastyError):
    """A file, folder or value given from outside cannot be used."""

    code = "SAC-E100"


class GeometryError(SacroplastyError):
    """The geometry of an image cannot be trusted, or two images do not share one grid or frame of reference."""

    code = "SAC-E200"


class FrameError(SacroplastyError):
    """Coordinates of one frame were used as another, or transforms were chained in the wrong order."""

    code = "SAC-E300"


class AnatomyError(SacroplastyError):
    """A structure that the next stage needs is missing, outside the field of view, or not believable."""

    code = "SAC-E400"


class PlanError(SacroplastyError):
    """No plan, view or injection with the asked properties exists."""

    code = "SAC-E500"


class CaseError(SacroplastyError):
    """A stored case, registry or audit trail is missing, torn, newer than this program, or changed by another hand."""

    code = "SAC-E600"


class SacroplastyWarning(UserWarning):
    """Something a developer should hear; never used for clinical findings, which are data."""
