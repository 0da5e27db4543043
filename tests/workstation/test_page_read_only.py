"""The page of a server that only shows cases: every stage can be looked at, and no control asks for anything else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sacroplasty.workstation.casebook import Casebook
from sacroplasty.workstation.station import Setup
from sacroplasty.workstation.work import prepare
from tests.workstation.desk import IN_BROWSER, STAGES, Desk, at_desk, colours, painted, until
from tests.workstation.test_read_only import content

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def cases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("looking") / "cases"
    shutil.copytree(template, root)
    prepare(Casebook(root), "toy")
    return root


@pytest.fixture(scope="module")
def desk(cases: Path) -> Iterator[Desk]:
    with at_desk(cases, Setup(read_only=True)) as one:
        yield one


@pytest.fixture
def asked(desk: Desk) -> Iterator[list[str]]:
    """What the page asks the server for, method and address; nothing of it is refused or goes wrong."""
    found: list[str] = []

    def heard(request: Any) -> None:
        found.append(f"{request.method} {request.url}")

    desk.troubles.clear()
    desk.page.on("request", heard)
    yield found
    desk.page.remove_listener("request", heard)
    assert [one for one in found if not one.startswith("GET ")] == []
    assert [one for one in found if "/radiograph." in one] == []
    assert desk.troubles == []


def opened(desk: Desk, stage: str) -> Any:
    desk.go(stage)
    # Nothing that an earlier test opened or chose is left.
    desk.page.reload()
    until(lambda: desk.page.query_selector("main"), f"{stage} opens")
    desk.page.wait_for_timeout(700)
    return desk.page


def test_every_stage_is_shown_and_nothing_is_asked_but_to_read(desk: Desk, asked: list[str], cases: Path) -> None:
    before = content(cases)
    for stage in STAGES:
        page = opened(desk, stage)
        assert page.locator(".top .tag", has_text="read only").count() == 1
        assert page.query_selector(".notice") is None, stage
    assert content(cases) == before
    assert desk.api("GET", "/jobs")["jobs"] == []
    assert any("/images/ct" in one for one in asked)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "import"])
def test_no_button_that_can_be_pressed_changes_anything(desk: Desk, asked: list[str], stage: str) -> None:
    page = opened(desk, stage)
    page.evaluate(
        """() => { for (const one of document.querySelectorAll("main button:enabled, main summary")) one.click(); }"""
    )
    page.wait_for_timeout(500)
    assert page.query_selector(".notice") is None
    assert page.locator("main input[type=file], main form").count() == 0


def test_sheets_are_read_and_not_filled_in(desk: Desk, asked: list[str]) -> None:
    page = opened(desk, "suitability")
    until(lambda: page.get_by_label("Age, years").count(), "the sheet")
    assert page.get_by_label("Age, years").is_disabled()
    assert page.locator("main input:enabled, main select:enabled").count() == 0
    page = opened(desk, "procedure")
    until(lambda: page.locator(".checklist .tick").count() == 17, "the checklist")
    assert page.locator(".checklist .tick:enabled").count() == 0


def test_a_path_cannot_be_dragged(desk: Desk, asked: list[str]) -> None:
    page = opened(desk, "approaches")
    painted(page, "axial")
    page.locator(".approaches li button").first.click()
    page.wait_for_timeout(300)
    box = page.locator('[data-pane="axial"] canvas').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 9, y + 9, steps=3)
    page.mouse.up()
    assert page.evaluate('localStorage.getItem("sacroplasty:toy:draft")') in (None, "null")
    assert page.locator('[data-pane="AP"] img, [data-pane="Lateral"] img').count() == 2, "the stored pictures follow"


def test_stored_views_and_cement_are_drawn(desk: Desk, asked: list[str]) -> None:
    page = opened(desk, "views")
    width = "document.querySelector('[data-pane=\"Stored view\"] img')?.naturalWidth ?? 0"
    until(lambda: page.evaluate(width) >= 64, "the stored view")
    first = page.get_attribute('[data-pane="Stored view"]', "data-angles")
    page.get_by_role("button", name="true lateral").click()
    until(lambda: page.get_attribute('[data-pane="Stored view"]', "data-angles") != first, "the other view")
    page = opened(desk, "cement")
    painted(page, "axial")
    assert colours(page, "axial") > 50
    assert page.locator("[data-cement-slider]").is_enabled()
