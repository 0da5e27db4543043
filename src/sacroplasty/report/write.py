"""Writing the report of a case into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sacroplasty.case import Case
from sacroplasty.report.html import to_html
from sacroplasty.report.pdf import to_pdf
from sacroplasty.report.plan_report import plan_document


def write_report(
    case: Case,
    folder: Path,
    evidence_keys: Iterable[str] = (),
    *,
    progress: Callable[[float, str], None] | None = None,
) -> None:
    """Write `report.html` (self-contained) and `report.pdf` with the same content into an existing folder."""
    tell = progress or (lambda fraction, message: None)
    tell(0.1, "Drawing the pictures")
    document = plan_document(case, evidence_keys)
    tell(0.7, "Writing HTML and PDF")
    (folder / "report.html").write_text(to_html(document), encoding="utf-8")
    (folder / "report.pdf").write_bytes(to_pdf(document))
