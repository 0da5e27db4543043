"""The page in a real headless Chromium against the real server, on a finished case whose name is hostile."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workstation.conftest import HOSTILE
from tests.workstation.desk import (
    IN_BROWSER,
    JOB_PATIENCE_S,
    STAGES,
    Desk,
    at_desk,
    colours,
    focus,
    painted,
    told_pain,
    until,
)

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def desk(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = tmp_path_factory.mktemp("desk") / "cases"
    shutil.copytree(template, root)
    with at_desk(root) as one:
        yield one


def test_the_four_panes_are_painted_and_nobody_else_is_asked(desk: Desk, page: Any) -> None:
    desk.requests.clear()
    desk.go("anatomy")
    for pane in ("axial", "sagittal", "coronal", "scene"):
        painted(page, pane)
    until(lambda: all(colours(page, pane) > 50 for pane in ("axial", "sagittal", "coronal")), "slices show a patient")
    until(lambda: colours(page, "scene") > 50, "bones show in 3D")
    assert [url for url in desk.requests if not url.startswith((desk.address, "blob:", "data:"))] == []


def test_a_hostile_name_is_only_text(desk: Desk, page: Any) -> None:
    desk.go("anatomy")
    until(lambda: page.query_selector("h1"), "the case opens")
    assert page.inner_text("h1").split() == HOSTILE.split()
    assert page.evaluate("window.__xss === undefined")
    desk.go("import")
    until(lambda: page.query_selector(".cases strong"), "cases are listed")
    assert "천골 骶骨 Größe" in page.inner_text(".cases")


def test_every_stage_opens_and_says_that_it_is_not_for_clinical_use(desk: Desk, page: Any) -> None:
    for stage in STAGES:
        desk.go(stage)
        until(lambda: page.query_selector("main"), f"{stage} opens")
        page.wait_for_timeout(400)
        assert "not for clinical use" in page.inner_text(".top")
        assert page.query_selector('[role="alert"].blocker') is None, stage
        assert page.query_selector(".notice") is None, (stage, page.inner_text("body")[-300:])


def test_every_control_has_a_name(desk: Desk, page: Any) -> None:
    for stage in STAGES:
        desk.go(stage)
        page.wait_for_timeout(300)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, canvas, [role=application]")]
            .filter((e) => !(e.innerText?.trim() || e.getAttribute("aria-label") || e.title || e.closest("label")))
            .map((e) => e.outerHTML.slice(0, 120))"""
        )
        assert nameless == [], stage


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1024, 768), (768, 1024)])
def test_nothing_runs_off_the_screen(desk: Desk, page: Any, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    for stage in STAGES:
        desk.go(stage)
        page.wait_for_timeout(250)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, (stage, over)
    page.set_viewport_size({"width": 1366, "height": 768})


def test_a_click_moves_the_crosshair_to_where_it_points(desk: Desk, page: Any) -> None:
    desk.go("lesion")
    painted(page, "axial")
    page.get_by_role("button", name="Reset").click()
    box = page.locator('[data-pane="axial"] canvas').bounding_box()
    scale = page.evaluate("""() => new Promise((done) => setTimeout(() =>
        done(JSON.parse(localStorage.getItem("sacroplasty:toy:view")).mmPerPixel), 500))""")
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(middle[0] - 60, middle[1] + 25)
    here = until(lambda: focus(page), "a focus")
    page.mouse.click(middle[0] + 40, middle[1] - 15)
    there = until(lambda: (now := focus(page)) != here and now, "the focus moves")
    # The viewer's right is the patient's left (+x); up is anterior (-y); an axial click keeps z.
    assert there[0] - here[0] == pytest.approx(100 * scale, abs=scale)
    assert there[1] - here[1] == pytest.approx(-40 * scale, abs=scale)
    assert there[2] == here[2]


def test_the_keyboard_moves_scrolls_rotates_and_enlarges(desk: Desk, page: Any) -> None:
    desk.go("lesion")
    painted(page, "axial")
    page.get_by_role("button", name="Reset").click()
    axial = page.locator('[data-pane="axial"] canvas')
    axial.focus()
    start = until(lambda: focus(page), "a focus")
    axial.press("ArrowRight")
    until(lambda: focus(page)[0] == pytest.approx(start[0] + 1, abs=0.06), "1 mm to the patient's left")
    axial.press("Shift+ArrowDown")
    until(lambda: focus(page)[1] == pytest.approx(start[1] + 10, abs=0.06), "10 mm to the back")
    axial.press("PageDown")
    until(lambda: focus(page)[2] != start[2], "the next slice")
    axial.press("]")
    until(lambda: page.get_by_role("button", name="Straighten").count(), "oblique")
    page.get_by_role("button", name="Straighten").click()
    until(lambda: not page.get_by_role("button", name="Straighten").count(), "straight")
    axial.focus()
    axial.press("f")
    until(lambda: page.locator(".panes canvas").count() == 1, "one large pane")
    page.keyboard.press("Escape")
    until(lambda: page.locator(".panes canvas").count() == 4, "all panes")
    page.keyboard.press("Alt+Digit5")
    until(lambda: page.url.endswith("/approaches"), "stage five")


def test_cement_follows_the_time_slider(desk: Desk, page: Any) -> None:
    desk.go("cement")
    slider = page.locator("[data-cement-slider]")
    until(slider.count, "moments of the injection")
    last = slider.get_attribute("aria-valuetext")
    painted(page, "axial")
    slider.fill("0")
    until(lambda: slider.get_attribute("aria-valuetext") != last, "an earlier moment")


def drag(page: Any, pane: str, end: str, dx: float, dy: float) -> None:
    """Drag an end of the path as a hand does: its handle is where the pane draws it, at the focus after a click."""
    page.get_by_role("button", name=end, exact=True).click()
    page.wait_for_timeout(300)
    box = page.locator(f'[data-pane="{pane}"] canvas').bounding_box()
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name=end, exact=True).click()
    page.wait_for_timeout(300)
    kept = json.loads(page.evaluate('localStorage.getItem("sacroplasty:toy:view")'))
    offset = [f - c for f, c in zip(kept["focus"], kept["viewCentre"], strict=True)]
    x = box["x"] + box["width"] / 2 + offset[0] / kept["mmPerPixel"]
    y = box["y"] + box["height"] / 2 + offset[1] / kept["mmPerPixel"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy / 2)
    page.mouse.move(x + dx, y + dy)
    page.mouse.up()


def test_dragging_the_target_is_judged_kept_and_stored_on_request(desk: Desk, page: Any) -> None:
    desk.go("approaches")
    painted(page, "axial")
    until(lambda: page.locator(".approaches li").count() == 2, "two approaches")
    before = desk.api("GET", "/cases/toy/plans")["plans"][0]["needles"][0]["trajectory"]
    revision = desk.revision
    drag(page, "axial", "target", 6, 4)
    until(lambda: page.query_selector("[data-judge]"), "the path is judged")
    until(lambda: page.query_selector("[data-feasible]"), "a verdict")
    draft = json.loads(page.evaluate('localStorage.getItem("sacroplasty:toy:draft")'))
    assert draft["entry_mm"] == before["entry_mm"]
    moved = [a - b for a, b in zip(draft["target_mm"], before["target_mm"], strict=True)]
    assert moved[0] > 1
    assert moved[1] > 0.5
    assert abs(moved[2]) < 1e-6
    assert desk.revision == revision, "a drag stores nothing"
    page.reload()
    until(lambda: page.query_selector("[data-judge]"), "the path comes back after a reload")
    page.get_by_role("button", name="Make it the plan").click()
    page.get_by_label("Why this path").fill("Mehr Abstand / 더 넓은 간격")
    page.get_by_role("button", name="Make it the plan").click()
    until(lambda: desk.revision > revision, "the path is stored")
    stored = desk.api("GET", "/cases/toy/plans")["plans"]
    assert any(p["needles"] and p["needles"][0]["trajectory"]["target_mm"] == draft["target_mm"] for p in stored)
    until(lambda: page.evaluate('localStorage.getItem("sacroplasty:toy:draft")') == "null", "no draft is left")


def test_a_radiograph_comes_with_its_geometry_and_follows_the_sliders(desk: Desk, page: Any) -> None:
    desk.go("views")
    shot = '[data-pane="Virtual C-arm"]'
    first = until(lambda: page.get_attribute(shot, "data-angles"), "a radiograph")
    assert "prone" in first
    page.locator(".panel input[type=range]").nth(0).fill("20")
    page.locator(".panel input[type=range]").nth(1).fill("-10")
    angles = until(lambda: (now := page.get_attribute(shot, "data-angles")) != first and "CAU" in now and now, "angles")
    assert re.match(r"LAO 20 / CAU 10 ", angles)
    assert colours(page, "Virtual C-arm") > 50


def test_the_brush_sends_a_whole_mask_of_the_labels_grid(desk: Desk, page: Any) -> None:
    labels = next(one for one in desk.api("GET", "/cases/toy/images")["images"] if one["name"] == "labels")
    sent: list[bytes] = []
    revision = desk.revision

    def caught(route: Any) -> None:
        sent.append(gzip.decompress(route.request.post_data_buffer))
        route.fulfill(status=200, json={"revision": revision})

    page.route("**/lesion/mask", caught)
    desk.go("lesion")
    painted(page, "axial")
    page.get_by_role("button", name="Reset").click()
    before = next(o for o in desk.api("GET", "/cases/toy/images")["images"] if o["name"] == "lesion-1")
    page.get_by_role("button", name="Brush").click()
    box = page.locator('[data-pane="axial"] canvas').bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 75, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    page.get_by_role("button", name="Store the lesion").click()
    # Routes are only served while the browser is talked to.
    mask = until(lambda: page.wait_for_timeout(20) or (sent and sent[0]), "the mask is sent")
    page.unroute("**/lesion/mask")
    size = labels["levels"][0]["bytes"]
    assert len(mask) == size
    assert set(mask) == {0, 1}
    held = desk.page.request.get(desk.address.rstrip("/") + before["levels"][0]["url"]).body()
    if len(held) == size:
        added = sum(new and not old for new, old in zip(mask, held, strict=True))
        lost = sum(old and not new for new, old in zip(mask, held, strict=True))
        assert added > 10
        assert lost == 0


def test_contrast_before_the_stylet_is_out_is_refused_in_one_sentence(desk: Desk, page: Any) -> None:
    desk.go("procedure")
    until(lambda: page.locator(".checklist li").count() == 17, "the checklist")
    page.locator(".checklist .tick").nth(0).click()
    until(lambda: page.locator(".checklist .tick").nth(0).get_attribute("aria-pressed") == "true", "consent is ticked")
    row = page.locator(".checklist li", has_text="Venogram")
    row.locator(".tick").click()
    sentence = until(lambda: page.query_selector(".notice") and page.inner_text(".notice"), "a refusal")
    assert "stylet" in sentence.lower()
    assert row.locator(".tick").get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="OK").click()
    # The browser itself reports the refused request.
    desk.troubles[:] = [words for words in desk.troubles if "422" not in words]


def test_pain_told_is_drawn_with_its_words(desk: Desk, page: Any) -> None:
    desk.go("follow-up")
    told_pain(page, (("-7", "10", "전기 충격"), ("1", "2", "kaum Schmerz")))


def test_a_change_made_elsewhere_is_never_overwritten(desk: Desk, page: Any) -> None:
    other = desk.window()
    # This window hears of nothing: as if it had slept.
    other.route("**/api/events", lambda route: route.abort())
    desk.go("procedure", other)
    until(lambda: other.locator(".checklist .tick").count() == 17, "the second window")
    facts = desk.api("GET", "/cases/toy/facts")
    desk.api("PUT", "/cases/toy/facts", {"facts": {**facts["facts"], "age_years": 62}}, facts["revision"])
    held = desk.revision
    other.locator(".checklist .tick").nth(3).click()
    sentence = until(lambda: other.query_selector(".notice.conflict") and other.inner_text(".notice"), "a conflict")
    assert "nothing was overwritten" in sentence
    assert desk.revision == held
    assert desk.api("GET", "/cases/toy/facts")["facts"]["age_years"] == 62
    other.context.close()
    desk.troubles.clear()


@pytest.mark.slow
def test_a_job_shows_its_way_and_its_end(desk: Desk, page: Any) -> None:
    desk.go("report")
    until(lambda: page.get_by_role("button", name=re.compile("Write")).count(), "the report's button")
    page.get_by_role("button", name=re.compile("^Write")).first.click()
    until(lambda: page.query_selector(".top .job"), "the top bar shows the job")
    page.get_by_role("button", name="Jobs").click()
    until(lambda: page.locator(".tray li.done").count(), "the job ends well", JOB_PATIENCE_S)
    page.keyboard.press("Escape")
    until(lambda: page.query_selector("iframe"), "the report is shown")
