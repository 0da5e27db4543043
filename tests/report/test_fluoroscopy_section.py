"""The report's table of views says what stands out where, and follows the needle from skin to target."""

from __future__ import annotations

from pathlib import Path

import pytest

from sacroplasty.case import CaseFolder
from sacroplasty.report.document import Paragraph, Remark, Table
from sacroplasty.report.fluoroscopy_section import fluoroscopy_section
from sacroplasty.workflow import demo_case, load_case


@pytest.mark.slow
def test_views_visibility_rehearsal_and_dose_are_told(tmp_path: Path) -> None:
    demo_case("zhang-1", tmp_path / "case")
    case = load_case(CaseFolder.open(tmp_path / "case"))
    section = fluoroscopy_section(case)
    remarks = [block for block in section.blocks if isinstance(block, Remark)]
    assert "few defined landmarks" in remarks[0].text
    views, seen, stops = (block for block in section.blocks if isinstance(block, Table))
    assert len(views.rows) == len(case.views) == len(seen.header) - 1
    assert {"ventral cortex", "sacral canal", "S1 anterior foramen left"} <= {row[0] for row in seen.rows}
    assert all(set(row[1:]) <= {"●", "◐", "○"} for row in seen.rows)
    assert stops.rows[0][0] == "skin"
    assert stops.rows[-1][0] == "target"
    assert any(isinstance(block, Paragraph) and "mGy" in block.text for block in section.blocks)
    page = (tmp_path / "case" / "report" / "report.html").read_text()
    assert "Rehearsal of the first needle" in page
