"""A document as PDF, the same bytes for the same content."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from reportlab.lib import colors, pagesizes
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Image, KeepTogether, SimpleDocTemplate, Spacer
from reportlab.platypus import Paragraph as Flowing
from reportlab.platypus import Table as Grid

from sacroplasty import NOT_FOR_CLINICAL_USE
from sacroplasty.plan import Severity
from sacroplasty.report.document import Block, Document, Figure, Paragraph, Remark, Table

# matplotlib ships DejaVu Sans, which has the signs that the standard PDF fonts lack.
_PLAIN, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
for _name in (_PLAIN, _BOLD):
    pdfmetrics.registerFont(TTFont(_name, f"{matplotlib.get_data_path()}/fonts/ttf/{_name}.ttf"))
pdfmetrics.registerFontFamily(_PLAIN, normal=_PLAIN, bold=_BOLD, italic=_PLAIN, boldItalic=_BOLD)
_PAGE_WIDTH, _PAGE_HEIGHT = pagesizes.A4
_MARGIN = 16 * mm
_WIDTH = _PAGE_WIDTH - 2 * _MARGIN
_QUIET = colors.HexColor("#5b6875")
_LINE = colors.HexColor("#d5dce3")
_COLOURS = {
    Severity.INFO: "#4477aa",
    Severity.CAUTION: "#ddaa33",
    Severity.WARNING: "#cc5500",
    Severity.BLOCKER: "#aa1133",
}
_BODY = ParagraphStyle("body", fontName=_PLAIN, fontSize=9.5, leading=13, spaceAfter=4)
_SMALL = ParagraphStyle("small", parent=_BODY, fontSize=8, leading=10, textColor=_QUIET)
_CELL = ParagraphStyle("cell", parent=_BODY, fontSize=8.5, leading=11, spaceAfter=0)
_TITLE = ParagraphStyle("title", parent=_BODY, fontName=_BOLD, fontSize=18, leading=22)
_HEADING = ParagraphStyle(
    "heading", parent=_BODY, fontName=_BOLD, fontSize=13, leading=17, spaceBefore=10, keepWithNext=1
)
# DejaVu Sans lacks these; readers of PDF carry the CID fonts for them.
_SCRIPTS = ((0x1100, 0x11FF, "HYSMyeongJo-Medium"), (0xAC00, 0xD7AF, "HYSMyeongJo-Medium"),
            (0x3040, 0x30FF, "HeiseiMin-W3"), (0x4E00, 0x9FFF, "STSong-Light"))  # fmt: skip


def _font(character: str) -> str | None:
    code = ord(character)
    return next((font for low, high, font in _SCRIPTS if low <= code <= high), None)


def _marked(text: str) -> str:
    """Escaped text, with East Asian runs in a font that has them."""
    parts: list[str] = []
    for character in text:
        font = _font(character)
        if font is None:
            parts.append(escape(character))
            continue
        if font not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(UnicodeCIDFont(font))
        parts.append(f'<font name="{font}">{character}</font>')
    return "".join(parts).replace("\n", "<br/>")


def _image(figure: Figure, width: float) -> list[Any]:
    pixels = ImageReader(io.BytesIO(figure.png)).getSize()
    height = width * pixels[1] / pixels[0]
    tallest = _PAGE_HEIGHT - 4 * _MARGIN
    scale = min(1.0, tallest / height)
    picture = Image(io.BytesIO(figure.png), width=width * scale, height=height * scale)
    return [picture, Flowing(_marked(figure.caption), _SMALL)]


def _figures(figures: list[Figure]) -> Iterator[Any]:
    """Neighbouring figures in rows that fill the page's width."""
    row: list[Figure] = []
    for figure in [*figures, None]:
        if row and (figure is None or sum(f.width for f in row) + figure.width > 1.01):
            widths = [_WIDTH * f.width for f in row]
            cells = [[_image(f, w - 4 * mm) for f, w in zip(row, widths, strict=True)]]
            yield Grid(cells, colWidths=widths, style=[("VALIGN", (0, 0), (-1, -1), "TOP")])
            row = []
        if figure is not None:
            row.append(figure)


def _widths(texts: list[tuple[str, ...]]) -> list[float]:
    """Column widths: equal where every cell fits on one line, else no narrower than its words, the rest by length."""
    padding = 4.5 * mm

    def needed(split: bool) -> list[float]:
        parts = [
            [part for text in column for part in (text.split() if split else [text])]
            for column in zip(*texts, strict=True)
        ]
        return [max((pdfmetrics.stringWidth(p, _BOLD, _CELL.fontSize) for p in c), default=0) + padding for c in parts]

    least, whole = needed(split=True), needed(split=False)
    equal = _WIDTH / len(whole)
    if max(whole) <= equal:
        return [equal] * len(whole)
    spare, longing = max(_WIDTH - sum(least), 0.0), sum(whole) - sum(least)
    widths = [a + spare * (b - a) / longing if longing else a for a, b in zip(least, whole, strict=True)]
    return [w * _WIDTH / sum(widths) for w in widths]


def _table(table: Table) -> list[Any]:
    rows = [[Flowing(_marked(cell), _CELL) for cell in row] for row in table.rows]
    if table.header:
        rows.insert(0, [Flowing(f"<b>{_marked(cell)}</b>", _CELL) for cell in table.header])
    texts = [tuple(str(cell) for cell in row) for row in (*([table.header] if table.header else []), *table.rows)]
    style = [("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    grid = [Grid(rows, style=style, repeatRows=bool(table.header), colWidths=_widths(texts))] if rows else []
    caption = [Flowing(_marked(table.caption), _SMALL)] if table.caption else []
    return [*caption, *grid, Spacer(1, 3 * mm)]


def _remark(remark: Remark) -> Any:
    word = f'<font color="{_COLOURS[remark.severity]}"><b>{remark.severity.value.upper()}</b></font> '
    style = [("LINEBEFORE", (0, 0), (0, 0), 3, colors.HexColor(_COLOURS[remark.severity]))]
    return Grid([[Flowing(word + _marked(remark.text), _CELL)]], colWidths=[_WIDTH], style=style)


def _flow(blocks: tuple[Block, ...]) -> Iterator[Any]:
    waiting: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            waiting.append(block)
            continue
        yield from _figures(waiting)
        waiting = []
        if isinstance(block, Paragraph):
            yield Flowing(_marked(block.text), _BODY)
        elif isinstance(block, Remark):
            yield _remark(block)
        else:
            yield from _table(block)
    yield from _figures(waiting)


def _frame(canvas: Any, page: Any) -> None:
    canvas.saveState()
    canvas.setFont(_PLAIN, 7.5)
    canvas.setFillColor(_QUIET)
    canvas.drawString(_MARGIN, 9 * mm, NOT_FOR_CLINICAL_USE)
    canvas.drawRightString(_PAGE_WIDTH - _MARGIN, 9 * mm, f"page {page.page}")
    canvas.restoreState()


def to_pdf(document: Document) -> bytes:
    """The document as the bytes of a PDF on A4."""
    story: list[Any] = [Flowing(_marked(document.title), _TITLE), Flowing(_marked(document.subtitle), _SMALL)]
    if document.facts:
        story.extend(_table(Table((), tuple(document.facts.items()))))
    for section in document.sections:
        heading = Flowing(_marked(section.title), _HEADING)
        blocks = list(_flow(section.blocks))
        story.append(KeepTogether([heading, *blocks[:1]]))
        story.extend(blocks[1:])
    story.append(Spacer(1, 6 * mm))
    story.append(Flowing(_marked(document.footer), _SMALL))
    buffer = io.BytesIO()
    template = SimpleDocTemplate(
        buffer, pagesize=pagesizes.A4, title=document.title, invariant=1,
        leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN, bottomMargin=_MARGIN,
    )  # fmt: skip
    template.build(story, onFirstPage=_frame, onLaterPages=_frame)
    return buffer.getvalue()
