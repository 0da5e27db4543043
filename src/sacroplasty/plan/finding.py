"""Clinical remarks as data: reports and doors show them, nothing logs them away."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """INFO: good to know. CAUTION: look before going on. WARNING: decide. BLOCKER: the step cannot be done."""

    INFO = "info"
    CAUTION = "caution"
    WARNING = "warning"
    BLOCKER = "blocker"


@dataclass(frozen=True)
class Finding:
    """One remark: stable `code`, sentence, the structure and place (LPS mm) it is about, evidence keys behind it."""

    severity: Severity
    code: str
    message: str
    structure: str = ""
    where_mm: tuple[float, float, float] | None = None
    evidence: tuple[str, ...] = field(default=())
