"""The content of a report, apart from how it is drawn: HTML and PDF are two renderings of one document."""

from __future__ import annotations

from dataclasses import dataclass, field

from sacroplasty.plan import Severity


@dataclass(frozen=True)
class Paragraph:
    """Running text; no markup."""

    text: str


@dataclass(frozen=True)
class Remark:
    """A finding or caution, drawn with the colour and the word of its severity."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of words under a header; `caption` says what and in which units."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Figure:
    """A PNG with its caption, which also serves readers who cannot see it; `width` is the share of the page."""

    png: bytes
    caption: str
    width: float = 1.0


Block = Paragraph | Remark | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading with its blocks in order."""

    title: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Document:
    """A report: title, the lines under it, sections."""

    title: str
    subtitle: str = ""
    sections: tuple[Section, ...] = ()
    footer: str = ""
    facts: dict[str, str] = field(default_factory=dict)
