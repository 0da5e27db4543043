"""A document as a Word file (extra `docx`), the same bytes for the same content."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sacroplasty.errors import InputError
from sacroplasty.report.document import Block, Document, Figure, Paragraph, Table

if TYPE_CHECKING:
    from docx.document import Document as Word

# The earliest time a ZIP entry can carry: a draft does not say when it was made.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_PAGE_INCHES = 6.0


def to_docx(document: Document) -> bytes:
    """The document as the bytes of a .docx; InputError where python-docx is not installed."""
    try:
        from docx import Document as new_document
    except ModuleNotFoundError as error:
        raise InputError("A Word file needs python-docx", remedy="Install sacroplasty[docx]") from error
    word = new_document()
    word.core_properties.author = "sacroplasty"
    word.core_properties.title = _clean(document.title)
    for field in ("created", "modified"):
        setattr(word.core_properties, field, datetime(*_NO_TIME))
    word.add_heading(_clean(document.title), level=0)
    word.add_paragraph(_clean(document.subtitle))
    for section in document.sections:
        word.add_heading(_clean(section.title), level=1)
        for block in section.blocks:
            _add(word, block)
    word.add_paragraph(_clean(document.footer))
    buffer = io.BytesIO()
    word.save(buffer)
    return _timeless(buffer.getvalue())


def _clean(text: str) -> str:
    """Text without control characters, which XML cannot hold."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def _add(word: Word, block: Block) -> None:
    from docx.shared import Inches

    if isinstance(block, Paragraph):
        word.add_paragraph(_clean(block.text))
    elif isinstance(block, Figure):
        word.add_picture(io.BytesIO(block.png), width=Inches(_PAGE_INCHES * min(1.0, block.width)))
        word.add_paragraph(_clean(block.caption))
    elif isinstance(block, Table):
        if block.caption:
            word.add_paragraph(_clean(block.caption))
        _table(word, block)
    else:
        word.add_paragraph(f"{block.severity.value.upper()}: {_clean(block.text)}")


def _table(word: Word, block: Table) -> None:
    lines = [line for line in (block.header, *block.rows) if line]
    if not lines:
        return
    table: Any = word.add_table(rows=len(lines), cols=len(lines[0]))
    table.style = "Table Grid"
    for row, line in zip(table.rows, lines, strict=True):
        for cell, text in zip(row.cells, line, strict=True):
            cell.text = _clean(text)


def _timeless(data: bytes) -> bytes:
    """The same archive with every entry at one fixed time."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as made, zipfile.ZipFile(target, "w") as kept:
        for entry in made.infolist():
            info = zipfile.ZipInfo(entry.filename, _NO_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            kept.writestr(info, made.read(entry))
    return target.getvalue()
