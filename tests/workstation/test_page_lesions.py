"""Several lesions in the page: a further one, which is treated, one taken out; later stages are forgotten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.approach import toy
from tests.workstation.desk import IN_BROWSER, JOB_PATIENCE_S, Desk, at_desk, colours, painted, until

pytestmark = [*IN_BROWSER, pytest.mark.slow]


@pytest.fixture(scope="module")
def desk(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = tmp_path_factory.mktemp("lesions") / "cases"
    shutil.copytree(template, root)
    with at_desk(root) as one:
        yield one


def treated(desk: Desk) -> list[str]:
    """The chief level of every lesion, the treated one first."""
    found = desk.api("GET", "/cases/toy/lesions")["lesions"]
    return [max(one["levels"], key=one["levels"].get) for one in found]


def crosshair_at(page: Any, place_mm: tuple[float, float, float]) -> None:
    """Put the crosshair there, as a reload brings it back."""
    kept = json.loads(page.evaluate('localStorage.getItem("sacroplasty:toy:view")'))
    kept = {**kept, "focus": place_mm, "viewCentre": place_mm}
    page.evaluate("(v) => localStorage.setItem('sacroplasty:toy:view', v)", json.dumps(kept))
    page.reload()
    painted(page, "axial")


def test_lesions_are_added_chosen_and_taken_out(desk: Desk) -> None:
    page = desk.page
    desk.go("lesion")
    painted(page, "axial")
    page.wait_for_timeout(800)
    crosshair_at(page, toy.S3_BODY[0])
    assert page.locator(".lesions").count() == 0, "one lesion needs no list"
    page.get_by_role("button", name="As a further one").click()
    page.get_by_label("Sphere at the crosshair, radius mm").fill(str(toy.S3_BODY[1]))
    page.get_by_role("button", name="Take sphere").click()
    until(lambda: page.locator(".lesions tr").count() == 2, "two lesions are listed", JOB_PATIENCE_S)
    assert treated(desk) == ["S1", "S3"]
    assert desk.api("GET", "/cases/toy")["stages"] == ["images", "segment", "lesion"], "what was planned is forgotten"
    rows = [row.inner_text() for row in page.locator(".lesions tr").all()]
    assert "S1" in rows[0]
    assert "mL" in rows[0]
    assert "treated" in rows[0]
    assert "S3" in rows[1]
    assert "mL" in rows[1]
    assert "treated" not in rows[1]
    until(lambda: page.locator("h2", has_text="Lesion 1 (treated)").count(), "its own part says so too")

    page.get_by_role("button", name="Treat lesion 2").click()
    until(lambda: "S3" in page.locator(".lesions tr").first.inner_text(), "the other is treated", JOB_PATIENCE_S)
    assert treated(desk) == ["S3", "S1"]
    assert "treated" in page.locator(".lesions tr").first.inner_text()
    assert colours(page, "axial") > 50

    page.get_by_role("button", name="Take out lesion 2").click()
    until(lambda: page.locator(".lesions").count() == 0, "one is left", JOB_PATIENCE_S)
    assert treated(desk) == ["S3"]
    assert desk.troubles == []


def test_a_lesion_that_overlaps_is_refused_in_a_sentence(desk: Desk) -> None:
    page = desk.page
    before = treated(desk)
    page.get_by_role("button", name="As a further one").click()
    page.get_by_role("button", name="Take sphere").click()
    sentence = until(lambda: page.query_selector(".notice") and page.inner_text(".notice"), "a refusal", JOB_PATIENCE_S)
    assert "overlap" in sentence
    page.get_by_role("button", name="OK").click()
    assert treated(desk) == before
