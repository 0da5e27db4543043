"""What people read and what other programs open: reports, pictures, standard objects of a case."""

from sacroplasty.report.citations import citations
from sacroplasty.report.document import Document, Figure, Paragraph, Remark, Section, Table
from sacroplasty.report.export import FORMATS, export_case
from sacroplasty.report.html import to_html
from sacroplasty.report.pdf import to_pdf
from sacroplasty.report.plan_report import plan_document, summary
from sacroplasty.report.suitability_section import describe_suitability, suitability_section
from sacroplasty.report.write import write_report

__all__ = [
    "FORMATS",
    "Document",
    "Figure",
    "Paragraph",
    "Remark",
    "Section",
    "Table",
    "citations",
    "describe_suitability",
    "export_case",
    "plan_document",
    "suitability_section",
    "summary",
    "to_html",
    "to_pdf",
    "write_report",
]
