"""A document as Markdown; words from outside are escaped, so that nothing typed into a record becomes markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sacroplasty.report.document import Block, Document, Figure, Paragraph, Table

_MARKUP = re.compile(r"([\\`*_{}<>#|\[\]])")


def _escaped(text: str) -> str:
    """Text without markup; the brackets of a citation such as [1, 2] stay."""
    kept = re.sub(r"\[(\d+(?:, \d+)*)\]", "\x02\\1\x03", " ".join(text.split()))
    return _MARKUP.sub(r"\\\1", kept).replace("\x02", "[").replace("\x03", "]")


def to_markdown(document: Document, panels: Sequence[str] = ()) -> str:
    """The document as Markdown text; `panels` are the file names of its figures in order."""
    names = iter(panels)
    parts = [f"# {_escaped(document.title)}", _escaped(document.subtitle)]
    for section in document.sections:
        parts.append(f"## {_escaped(section.title)}")
        parts += [text for block in section.blocks for text in _block(block, names)]
    parts.append(_escaped(document.footer))
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, names: Iterator[str]) -> Iterator[str]:
    if isinstance(block, Figure):
        name = next(names, "")
        yield f"![{_escaped(block.caption)}]({name})" if name else _escaped(block.caption)
    elif isinstance(block, Table):
        lines = [block.header, tuple("---" for _ in block.header), *block.rows]
        rows = ["| " + " | ".join(cell if cell == "---" else _escaped(cell) for cell in line) + " |" for line in lines]
        yield _escaped(block.caption)
        yield "\n".join(rows)
    elif isinstance(block, Paragraph):
        yield _escaped(block.text)
    else:
        yield f"**{block.severity.value}** {_escaped(block.text)}"
