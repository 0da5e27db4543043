"""One document, two renderings: self-contained HTML without script, PDF with the same bytes for the same content."""

from __future__ import annotations

import io

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from sacroplasty.evidence import evidence_table
from sacroplasty.plan import Finding, Severity
from sacroplasty.report import Document, Figure, Paragraph, Remark, Section, Table, citations, to_html, to_pdf
from sacroplasty.report.plan_report import remarks, spoken

HOSTILE = ["<script>window.__xss=1</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "'; DROP TABLE patient;--"]


@pytest.fixture(scope="module")
def png() -> bytes:
    figure = Canvas(figsize=(2, 1))
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def document(png: bytes, name: str = "김 철수 王 Müller") -> Document:
    blocks = (
        Paragraph(f"Report of {name}, clearance ≥ 2 mm → safe"),
        Remark(Severity.WARNING, name),
        Table(("Measure", name), (("skin to lesion", "80.0 mm"),), "caption"),
        Figure(png, name, 0.5),
        Figure(png, "second", 0.5),
        Figure(png, "third", 0.5),
    )
    return Document(f"Plan {name}", "sub", (Section("Section", blocks),), "footer", {"CT": name})


def test_html_needs_nothing_from_outside(png: bytes) -> None:
    html = to_html(document(png))
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("data:image/png;base64,") == 3
    assert "Not for clinical use" in html
    assert 'alt="second"' in html


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(png: bytes, name: str) -> None:
    html = to_html(document(png, name))
    assert "<script>" not in html
    assert "<img src=x" not in html
    assert "49" not in html.split("data:image")[0]
    to_pdf(document(png, name))


def test_pdf_is_the_same_for_the_same_content(png: bytes) -> None:
    first, second = to_pdf(document(png)), to_pdf(document(png))
    assert first == second
    assert first.startswith(b"%PDF")


def test_pdf_holds_the_words(png: bytes) -> None:
    pypdf = pytest.importorskip("pypdf")
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(to_pdf(document(png)))).pages)
    assert "skin to lesion" in text
    assert "WARNING" in text
    assert "Not for clinical use" in text
    assert "≥ 2 mm" in text


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("skin_to_lesion_mm", 81.26, ("skin to lesion", "81.3 mm")),
        ("cephalad_deg", 24.6, ("cephalad", "25 °")),
        ("planned_volume_ml", 2, ("planned volume", "2.0 mL")),
        ("hiatus_depth_mm", float("nan"), ("hiatus depth", "not measurable")),
    ],
)
def test_measures_speak_with_their_units(name: str, number: float, words: tuple[str, str]) -> None:
    assert spoken(name, number) == words


def test_remarks_come_gravest_first_and_once() -> None:
    info, warning = Finding(Severity.INFO, "A", "small"), Finding(Severity.WARNING, "B", "grave")
    assert [r.text for r in remarks((info, warning, warning))] == ["grave", "small"]
    assert [r.text for r in remarks((info, warning), Severity.CAUTION)] == ["grave"]


def test_every_evidence_entry_can_be_cited() -> None:
    lines = citations(sorted(evidence_table()))
    assert len(lines) == len(evidence_table())
    assert any("assumption: " in line for line in lines)
