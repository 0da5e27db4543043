"""The way of a case in the page: import, shots of a real C-arm, trainee mode, two windows, keyboard, looking only."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sacroplasty.case import CaseFolder
from sacroplasty.fluoroscopy import CArm, Radiograph, render, view_from_console
from sacroplasty.workflow import load_case
from sacroplasty.workstation.station import Setup
from tests.workstation.conftest import HOSTILE
from tests.workstation.desk import IN_BROWSER, JOB_PATIENCE_S, STAGES, Desk, at_desk, painted, until
from tests.workstation.shots import as_dicom

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases, one folder to import from, two shots of a C-arm whose detector is no square."""
    root = tmp_path_factory.mktemp("path")
    for name in ("toy", "other"):
        shutil.copytree(template / "toy", root / "cases" / name)
    (root / "scans").mkdir()
    shutil.copy(root / "cases" / "toy" / "images" / "ct.nii.gz", root / "scans" / "größe 천골.nii.gz")
    case = load_case(CaseFolder.open(root / "cases" / "toy"))
    (root / "shots").mkdir()
    for lao, name in ((0.0, "AP"), (90.0, "lateral")):
        carm = CArm.profile().with_pixels(128)
        view = view_from_console(carm, lao, 0.0, case.require("lesions")[0].centre_mm, name=name)
        signal = render(case.ct, view).signal[16:112]
        shown = view.with_(carm=CArm(**{**carm.__dict__, "rows": 96}))
        as_dicom(Radiograph(signal, shown), root / "shots" / f"{name}.dcm")
    return root


@pytest.fixture(scope="module")
def desk(place: Path) -> Iterator[Desk]:
    with at_desk(place / "cases", Setup({"scans": place / "scans"})) as one:
        yield one


def content(folder: Path) -> str:
    """A digest of every file of a case."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_looking_at_a_case_changes_nothing(desk: Desk, page: Any, place: Path) -> None:
    before = content(place / "cases" / "toy")
    for stage in STAGES:
        desk.go(stage)
        until(lambda: page.query_selector("main"), f"{stage} opens")
        page.wait_for_timeout(300)
    assert content(place / "cases" / "toy") == before
    assert desk.api("GET", "/jobs")["jobs"] == []


def test_every_control_is_reached_by_the_tabulator(desk: Desk, page: Any) -> None:
    for stage in STAGES:
        desk.go(stage)
        until(lambda: page.query_selector("main"), f"{stage} opens")
        page.wait_for_timeout(1500)
        wanted = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, summary, a[href], [role=application]")]
            .filter((e) => !e.disabled && e.checkVisibility() && e.tabIndex >= 0)
            .map((e, n) => { e.dataset.stop = String(n);
              return (e.innerText || e.ariaLabel || e.outerHTML).slice(0, 60); })"""
        )
        page.evaluate("document.activeElement.blur()")
        reached: set[int] = set()
        # A date has three parts, and a report's frame is passed through.
        for _ in range(3 * len(wanted) + 20):
            page.keyboard.press("Tab")
            stop = page.evaluate("document.activeElement?.dataset?.stop ?? null")
            reached |= {int(stop)} if stop is not None else set()
            if len(reached) == len(wanted):
                break
        assert [wanted[n] for n in range(len(wanted)) if n not in reached] == [], stage


def test_a_scan_of_a_folder_is_judged_and_becomes_a_case(desk: Desk, page: Any) -> None:
    desk.go("import")
    page.get_by_label("Folder name").fill("new")
    page.get_by_label("Name shown").fill(HOSTILE)
    page.get_by_label("From").select_option("folder")
    page.get_by_role("button", name="List").click()
    page.get_by_role("button", name="größe 천골.nii.gz").click()
    until(lambda: page.query_selector(".gate"), "the gate's verdict", JOB_PATIENCE_S)
    assert "accepted" in page.inner_text(".gate h3")
    page.get_by_role("button", name="Make the case").click()
    until(lambda: page.wait_for_timeout(50) or page.url.endswith("/new/anatomy"), "the case opens", JOB_PATIENCE_S)
    until(lambda: page.query_selector("h1"), "its name")
    assert page.inner_text("h1").split() == HOSTILE.split()
    assert page.evaluate("window.__xss === undefined")


def test_an_uploaded_scan_is_judged_before_it_is_a_case(desk: Desk, page: Any, place: Path) -> None:
    desk.go("import")
    page.locator("label.drop input").first.set_input_files(place / "shots" / "AP.dcm")
    until(lambda: page.query_selector(".gate"), "the gate's verdict", JOB_PATIENCE_S)
    assert page.inner_text(".gate h3") == "The gate: refused"
    assert page.get_by_role("button", name="Make the case").is_disabled()


def test_shots_of_a_c_arm_are_shown_and_clicked_where_they_are(desk: Desk, page: Any, place: Path) -> None:
    desk.go("guidance")
    files = [place / "shots" / f"{name}.dcm" for name in ("AP", "lateral")]
    page.locator("label.drop input").set_input_files(files)
    until(lambda: page.locator(".shots img").count() == 2, "two shots", JOB_PATIENCE_S)
    (session,) = desk.api("GET", "/cases/toy/guidance")["sessions"]
    assert session["simulated"] is False
    assert [(one["size"], one["rows"]) for one in session["shots"]] == [(128, 96)] * 2
    corners = page.evaluate(
        """() => { const s = document.querySelector('[data-pane="shot 2"] svg'), m = s.getScreenCTM();
        return [[30, 12], [100, 80]].map(([x, y]) => new DOMPoint(x, y).matrixTransform(m)).map((q) => [q.x, q.y]); }"""
    )
    for x, y in corners:
        page.mouse.click(x, y)
    tip = page.locator('[data-pane="shot 2"] .mark circle')
    until(tip.count, "the tip's mark")
    assert float(tip.get_attribute("cx")) == pytest.approx(30, abs=1)
    assert float(tip.get_attribute("cy")) == pytest.approx(12, abs=1)
    # The keyboard reaches a shot and moves what is in hand, and nothing leaves the picture.
    page.get_by_role("button", name="Jobs").focus()
    here = "document.activeElement?.closest('[data-pane]')?.dataset.pane ?? null"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(here) == "shot 1":
            break
    assert page.evaluate(here) == "shot 1"
    page.keyboard.press("ArrowRight")
    mine = page.locator('[data-pane="shot 1"] .mark circle')
    until(mine.count, "a mark by keyboard")
    assert float(mine.get_attribute("cx")) == pytest.approx(65, abs=0.1)
    for _ in range(12):
        page.keyboard.press("Shift+ArrowUp")
    until(lambda: float(mine.get_attribute("cy")) == 0, "the mark stays inside")


def test_marks_of_one_patient_never_follow_into_another(desk: Desk, page: Any) -> None:
    desk.go("guidance")
    until(lambda: page.locator('[data-pane="shot 1"] svg').count(), "the toy's shots")
    page.locator('[data-pane="shot 1"] svg').click()
    until(lambda: page.locator(".mark").count(), "a mark")
    page.goto(f"{desk.address}#/case/other/guidance")
    until(lambda: page.locator("text=Load two radiographs").count(), "the other case has no shots")
    desk.go("guidance")
    until(lambda: page.locator('[data-pane="shot 1"] svg').count(), "the toy's shots again")
    assert page.locator(".mark").count() == 0


def test_a_trainee_is_scored_in_parts_and_as_a_whole(desk: Desk, page: Any) -> None:
    desk.go("rehearsal")
    until(lambda: page.locator(".steps li").count(), "the steps")
    page.get_by_role("button", name="Begin").click()
    assert page.locator(".steps li").count() == 0, "the steps would tell"
    page.get_by_role("button", name="Take a picture").click()
    until(lambda: page.get_attribute('[data-pane="Picture 1, the last"]', "data-angles"), "the picture")
    page.get_by_role("button", name="withdraw").click()
    page.reload()
    until(lambda: page.get_by_role("button", name="Take a picture (1)").count(), "a reload loses nothing")
    page.get_by_role("button", name="Take a picture").click()
    # The needle is put where the plan wants it, as a skilled hand would.
    plan = desk.api("GET", "/cases/toy/plans")["plans"][0]["needles"][0]["trajectory"]
    kept = json.loads(page.evaluate('localStorage.getItem("sacroplasty:toy:exercise")'))
    assert max(abs(a - b) for a, b in zip(kept["entry_mm"], plan["entry_mm"], strict=True)) > 0.01
    page.evaluate("(v) => localStorage.setItem('sacroplasty:toy:exercise', v)", json.dumps({**kept, **plan}))
    page.reload()
    until(lambda: page.get_by_role("button", name="Finish and score").is_enabled(), "the exercise is back")
    page.get_by_role("button", name="Finish and score").click()
    until(lambda: page.query_selector("[data-score]"), "the score")
    rows = page.locator("[data-score] tbody tr")
    assert [row.inner_text().split()[0] for row in rows.all()] == ["aim", "clearance", "shots", "time", "dose"]
    assert 50 < float(page.get_attribute("[data-score]", "data-score")) <= 100
    page.goto(f"{desk.address}#/case/other/rehearsal")
    until(lambda: page.get_by_role("button", name="Begin").count(), "no exercise of another patient")
    desk.go("rehearsal")
    page.get_by_role("button", name="Close").click()


def test_what_two_windows_store_is_put_together(desk: Desk, page: Any) -> None:
    other = desk.window()
    for one in (page, other):
        desk.go("procedure", one)
        until(lambda one=one: one.locator(".checklist .tick").count() == 17, "the record")
    page.get_by_label("Antibiotic", exact=True).fill("Cefazolin")
    other.get_by_label("Skin preparation", exact=True).fill("소독")
    page.get_by_role("button", name="Store").click()
    until(lambda: desk.api("GET", "/cases/toy/procedure")["details"]["antibiotic"] == "Cefazolin", "mine is stored")
    other.wait_for_timeout(1500)
    other.get_by_role("button", name="Store").click()
    until(lambda: desk.api("GET", "/cases/toy/procedure")["details"]["skin_preparation"] == "소독", "theirs too")
    assert desk.api("GET", "/cases/toy/procedure")["details"]["antibiotic"] == "Cefazolin"
    until(lambda: page.get_by_label("Skin preparation", exact=True).input_value() == "소독", "theirs is heard of here")
    other.get_by_label("Antibiotic", exact=True).fill("Vancomycin")
    page.get_by_label("Antibiotic", exact=True).fill("Clindamycin")
    page.get_by_role("button", name="Store").click()
    until(lambda: desk.api("GET", "/cases/toy/procedure")["details"]["antibiotic"] == "Clindamycin", "mine again")
    other.wait_for_timeout(1500)
    other.get_by_role("button", name="Store").click()
    said = until(lambda: other.query_selector(".notice.conflict") and other.inner_text(".notice"), "a conflict")
    assert "Clindamycin" in said
    assert desk.api("GET", "/cases/toy/procedure")["details"]["antibiotic"] == "Clindamycin"
    other.get_by_role("button", name="Store").click()
    until(lambda: desk.api("GET", "/cases/toy/procedure")["details"]["antibiotic"] == "Vancomycin", "knowingly")
    other.context.close()


def test_what_is_typed_while_an_entry_is_on_its_way_is_kept(desk: Desk, page: Any) -> None:
    page.goto(f"{desk.address}#/case/other/follow-up")
    until(lambda: page.get_by_label("NRS 0 to 10").count(), "the form")
    day, add = page.get_by_label("Day after the procedure", exact=True).first, page.locator("section", has_text="Pain")
    page.get_by_label("NRS 0 to 10").fill("7")
    add.get_by_role("button", name="Add").first.click()
    assert "on which day" in until(lambda: page.query_selector(".notice") and page.inner_text(".notice"), "a question")
    assert desk.api("GET", "/cases/other/follow-up")["pain"] == []
    page.get_by_role("button", name="OK").click()
    assert page.get_by_label("NRS 0 to 10").input_value() == "7", "what was typed is still there"
    held: list[Any] = []
    page.route("**/follow-up/pain", lambda route: held.append(route))
    day.fill("-3")
    add.get_by_role("button", name="Add").first.click()
    until(lambda: page.wait_for_timeout(20) or held, "the entry is on its way")
    day.fill("1")
    page.get_by_label("NRS 0 to 10").fill("2")
    held[0].continue_()
    page.unroute("**/follow-up/pain")
    until(lambda: len(desk.api("GET", "/cases/other/follow-up")["pain"]) == 1, "the first is stored")
    page.wait_for_timeout(500)
    add.get_by_role("button", name="Add").first.click()
    until(lambda: len(desk.api("GET", "/cases/other/follow-up")["pain"]) == 2, "so is the second")
    told = [(one["day"], one["nrs"], one["after"]) for one in desk.api("GET", "/cases/other/follow-up")["pain"]]
    assert told == [(-3, 7, "baseline"), (1, 2, "sacroplasty")]


def test_an_answer_that_comes_late_does_not_turn_the_page_back(desk: Desk, page: Any) -> None:
    """With the revision of an overtaken answer the next write would be a conflict with nobody."""
    page.goto(f"{desk.address}#/case/other/procedure")
    ticks = page.locator(".checklist .tick")
    until(lambda: ticks.count() == 17, "the checklist")
    late: list[Any] = []

    def overtaken(one: Any) -> None:
        if late:
            one.continue_()
        else:
            late.append(one)
            late.append(one.fetch())

    page.route("**/api/cases/other", overtaken)
    for n in range(2):
        ticks.nth(n).click()
        until(lambda n=n: ticks.nth(n).get_attribute("aria-pressed") == "true", f"step {n + 1} is ticked")
    held, answer = late
    held.fulfill(response=answer)
    page.wait_for_timeout(500)
    ticks.nth(2).click()
    until(lambda: ticks.nth(2).get_attribute("aria-pressed") == "true" or page.query_selector(".notice"), "an answer")
    assert page.query_selector(".notice") is None
    page.unroute("**/api/cases/other")


def test_simulated_cement_says_so_in_the_slice(desk: Desk, page: Any) -> None:
    desk.go("cement")
    painted(page, "axial")
    caption = until(lambda: page.get_attribute('[data-pane="axial"] canvas', "data-caption"), "a caption")
    until(
        lambda: "simulated cement" in (page.get_attribute('[data-pane="axial"] canvas', "data-caption") or ""), caption
    )
    desk.go("anatomy")
    painted(page, "axial")
    until(lambda: "cement" not in (page.get_attribute('[data-pane="axial"] canvas', "data-caption") or ""), "no cloud")


@pytest.mark.slow
def test_a_reload_during_a_job_loses_nothing(desk: Desk, page: Any) -> None:
    desk.go("cement")
    page.get_by_role("button", name="Simulate", exact=True).first.click()
    until(lambda: page.query_selector(".top .job"), "the job runs")
    page.reload()
    until(lambda: page.query_selector(".top .job"), "the job is still shown")
    until(lambda: "venogram" in desk.api("GET", "/cases/toy")["stages"], "it ends", JOB_PATIENCE_S)
    until(lambda: page.wait_for_timeout(50) or not page.query_selector(".top .job"), "the bar is free again")


@pytest.mark.slow
def test_a_job_is_cancelled_and_resumed(desk: Desk, page: Any) -> None:
    page.goto(f"{desk.address}#/case/other/approaches")
    until(lambda: page.get_by_role("button", name="Plan again").count(), "the plan's button")
    page.get_by_role("button", name="Plan again").click()
    until(lambda: page.query_selector(".top .job"), "the job is shown")
    page.get_by_role("button", name="Jobs").click()
    page.locator(".tray li").first.get_by_role("button", name="Cancel").click()
    until(lambda: page.locator(".tray li").first.get_attribute("class") == "cancelled", "it is cancelled")
    assert "plan" in desk.api("GET", "/cases/other")["stages"], "what was stored stays"
    before = desk.api("GET", "/cases/other")["revision"]
    page.locator(".tray li").first.get_by_role("button", name="Resume").click()
    until(lambda: page.locator(".tray li").first.get_attribute("class") == "done", "it ends well", JOB_PATIENCE_S)
    assert desk.api("GET", "/cases/other")["revision"] > before
    page.keyboard.press("Escape")
