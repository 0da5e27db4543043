"""From a PACS and back in the page: a real Orthanc, the real server, a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from sacroplasty.io.pacs_dimse import Archive, find_series, store
from sacroplasty.io.pacs_web import WebArchive
from tests.io.made_dicom import body_ct, save_all, series
from tests.io.test_pacs import orthanc  # noqa: F401
from tests.workstation.desk import IN_BROWSER, JOB_PATIENCE_S, Desk, at_desk, until
from tests.workstation.test_archive import archives_file

pytestmark = [*IN_BROWSER, pytest.mark.pacs, pytest.mark.slow]


@pytest.fixture(scope="module")
def desk(
    orthanc: tuple[Archive, WebArchive],  # noqa: F811
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    """A desk whose folder of cases names the archive, which holds one CT."""
    root = tmp_path_factory.mktemp("desk") / "cases"
    shutil.copytree(template, root)
    (root / "archives.toml").write_text(archives_file(*orthanc), encoding="utf-8")
    sent = save_all(series(body_ct()), root.parent / "sent")
    store(orthanc[0], [pydicom.dcmread(one) for one in sorted(sent.iterdir())])
    with at_desk(root) as one:
        yield one


def pictured(page: Any, name: str) -> None:
    """A picture of the page for a person to look at, where SACROPLASTY_PICTURES names a folder."""
    if folder := os.environ.get("SACROPLASTY_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_a_series_of_the_archive_becomes_a_case(desk: Desk) -> None:
    page = desk.page
    desk.go("import")
    page.get_by_label("Folder name").fill("from-pacs")
    page.get_by_label("From").select_option("archive")
    page.get_by_label("Patient ID").fill("NOBODY")
    page.get_by_role("button", name="Find").click()
    until(lambda: "no series of this patient" in page.inner_text("main"), "nothing is found")
    page.get_by_label("Patient ID").fill("P1")
    page.get_by_role("button", name="Find").click()
    one = page.locator(".entries button", has_text="CT · 28 images")
    until(one.count, "the series")
    one.click()
    until(lambda: page.query_selector(".gate"), "the gate's verdict", JOB_PATIENCE_S)
    pictured(page, "archive_gate")
    assert "accepted" in page.inner_text(".gate h3")
    page.get_by_role("button", name="Make the case").click()
    until(
        lambda: page.wait_for_timeout(50) or page.url.endswith("/from-pacs/anatomy"), "the case opens", JOB_PATIENCE_S
    )
    until(lambda: page.get_attribute('[data-pane="axial"] canvas', "data-milliseconds"), "it is painted")
    pictured(page, "archive_case")
    assert desk.troubles == []


def test_the_objects_of_a_case_are_sent(desk: Desk, orthanc: tuple[Archive, WebArchive]) -> None:  # noqa: F811
    page = desk.page
    desk.go("report")
    until(lambda: page.get_by_label("Archive").count(), "where to send")
    page.get_by_label("Archive").select_option("dimse")
    page.get_by_role("button", name="Send to PACS").click()
    until(lambda: page.query_selector(".top .job"), "the job")
    until(lambda: {"SEG", "SR"} <= {one.modality for one in find_series(orthanc[0], patient_id="ANONYMOUS")},
          "the objects arrive", JOB_PATIENCE_S)  # fmt: skip
    page.get_by_role("button", name="Jobs").click()
    until(lambda: page.locator(".tray li.done", has_text="send to dimse").count(), "the job ends well", JOB_PATIENCE_S)
    pictured(page, "archive_sent")
    assert desk.troubles == []
