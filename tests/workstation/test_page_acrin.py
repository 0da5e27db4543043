"""The whole way of a case in the page on a real pelvis: from the file to the follow-up, by mouse and keyboard.

The pelvis is healthy; a lytic ball is painted into S1, so that a click finds a lesion where there is one, and none
where there is none. The steps depend on each other and stand in one test.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sacroplasty.case import CaseFolder
from sacroplasty.io import read_ct, write_nifti
from sacroplasty.space import Grid, Volume
from sacroplasty.workflow import load_case
from tests.data import real
from tests.workstation.desk import (
    IN_BROWSER,
    JOB_PATIENCE_S,
    Desk,
    at_desk,
    colours,
    focus,
    painted,
    told_pain,
    until,
)
from tests.workstation.test_work import true_clicks

pytestmark = [*IN_BROWSER, pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]

SCAN = "acrin/ct_pelvis_4.25mm.nii.gz"
WARNING = "SAC-G026"
S1_MM, RADIUS_MM, LYTIC_HU, NOISE_HU = (-17.0, 74.0, -731.0), 9.0, 0.0, 8.0
CEMENT_MM, CEMENT_HU = 7.0, 2300
HEALTHY_MM = (12.0, 76.0, -731.0)
NAME = "Größe 김 骶骨"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real CT with a lytic ball in S1, made up."""
    ct = read_ct(real(SCAN), acknowledge=[WARNING])
    away = np.linalg.norm(ct.grid.centres_mm() - S1_MM, axis=-1)
    share = np.clip(RADIUS_MM - away + 0.5, 0.0, 1.0)
    lytic = LYTIC_HU + np.random.default_rng(5).normal(0.0, NOISE_HU, ct.grid.shape)
    path = tmp_path_factory.mktemp("scan") / "Becken 골반.nii.gz"
    mixed = np.rint((1.0 - share) * np.asarray(ct.array) + share * lytic)
    write_nifti(Volume(mixed.astype(np.int16), ct.grid, ct.unit), path)
    return path


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acrin") / "cases"


@pytest.fixture(scope="module")
def desk(cases: Path) -> Iterator[Desk]:
    with at_desk(cases) as one:
        yield one


class Way:
    """One window on the case, and the words for what a person does in it."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.page = desk, desk.page

    def pictured(self, name: str) -> None:
        """A picture for a person to look at, where SACROPLASTY_PICTURES names a folder."""
        if folder := os.environ.get("SACROPLASTY_PICTURES"):
            self.page.wait_for_timeout(1500)
            self.page.screenshot(path=f"{folder}/acrin_{name}.png")

    def stage(self, words: str) -> None:
        self.page.locator(".rail button", has_text=words).click()
        until(lambda: self.page.query_selector("main"), f"{words} opens")

    def press(self, words: str) -> None:
        one = self.page.get_by_role("button", name=words, exact=True).first
        until(lambda: one.count() and one.is_enabled(), f"{words} can be pressed")
        one.click()

    def told(self) -> dict[str, Any]:
        return dict(self.desk.api("GET", "/cases/acrin"))

    def made(self, stage: str) -> None:
        """The job of a stage came to its end."""

        def there() -> bool:
            notice = self.page.query_selector(".notice")
            assert notice is None, notice.inner_text()
            return stage in self.told()["stages"]

        until(lambda: self.page.wait_for_timeout(100) or there(), f"{stage} is made", JOB_PATIENCE_S)

    def place(self, pane: str, at_mm: tuple[float, float, float]) -> tuple[float, float]:
        """Where the straight axial pane shows a place of its own slice, in pixels of the page."""
        self.page.wait_for_timeout(500)
        kept = json.loads(self.page.evaluate('localStorage.getItem("sacroplasty:acrin:view")'))
        box = self.page.locator(f'[data-pane="{pane}"] canvas').bounding_box()
        x, y = ((at_mm[n] - kept["viewCentre"][n]) / kept["mmPerPixel"] for n in (0, 1))
        return box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y

    def slice_at(self, z_mm: float) -> None:
        """Scroll the axial pane by keyboard until it shows a height."""
        self.page.locator('[data-pane="axial"] canvas').focus()
        for _ in range(120):
            off = z_mm - focus(self.page)[2]
            if abs(off) <= 2.2:
                return
            self.page.keyboard.press("PageUp" if off > 0 else "PageDown")
            if np.sign(z_mm - focus(self.page)[2]) != np.sign(off) and abs(z_mm - focus(self.page)[2]) > abs(off):
                break
        assert abs(z_mm - focus(self.page)[2]) <= 2.2


def test_a_real_pelvis_goes_from_its_file_to_its_follow_up(desk: Desk, scan: Path, cases: Path) -> None:
    way = Way(desk)
    imported(way, scan)
    anatomy_found(way)
    lesion_shown(way)
    judged_suitable(way)
    approaches_planned(way)
    views_chosen(way)
    rehearsed(way)
    guided(way, cases)
    filled(way)
    reported(way, cases)
    recorded(way)
    followed(way)
    compared(way, cases, scan.parent / "later.nii.gz")
    assert [words for words in desk.troubles if "422" not in words] == []
    assert all(url.startswith((desk.address, "data:", "blob:")) for url in desk.requests)


def imported(way: Way, scan: Path) -> None:
    page = way.page
    page.goto(f"{way.desk.address}#/import")
    page.get_by_label("Folder name").fill("acrin")
    page.get_by_label("Name shown").fill(NAME)
    page.locator("label.drop input").first.set_input_files(scan)
    until(lambda: page.query_selector(".gate"), "the gate's verdict", JOB_PATIENCE_S)
    assert page.inner_text(".gate h3") == "The gate: accepted with remarks"
    assert "4.25" in page.inner_text(".gate")
    page.locator(".gate input[type=checkbox]").first.check()
    way.pictured("01_gate")
    way.press("Make the case")
    until(lambda: page.wait_for_timeout(50) or page.url.endswith("/acrin/anatomy"), "the case opens", JOB_PATIENCE_S)
    until(lambda: page.query_selector("h1"), "its name")
    assert page.inner_text("h1") == NAME
    remarks = way.told()["source"]["remarks"]
    assert [one["acknowledged"] for one in remarks if one["code"] == WARNING] == [True]


def anatomy_found(way: Way) -> None:
    page = way.page
    way.press("Segment")
    way.made("segment")
    until(lambda: page.locator(".bars li").count() > 5, "the confidences")
    shares = [float(one.get_attribute("value") or "nan") for one in page.locator(".bars meter").all()]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert page.locator(".bars li", has_text="sacrum").count() >= 1
    painted(page, "axial")
    assert colours(page, "axial") > 100
    way.pictured("02_anatomy")


def lesion_shown(way: Way) -> None:
    page = way.page
    way.stage("Lesion")
    painted(page, "axial")
    way.slice_at(S1_MM[2])
    way.press("By a click")
    page.mouse.click(*way.place("axial", HEALTHY_MM))
    sentence = until(lambda: page.query_selector(".notice") and page.inner_text(".notice"), "a refusal", JOB_PATIENCE_S)
    assert "does not differ from healthy marrow" in sentence
    way.pictured("03_no_lesion")
    way.press("OK")
    way.press("By a click")
    page.mouse.click(*way.place("axial", S1_MM))
    way.made("lesion")
    until(lambda: "lytic" in page.inner_text(".panel"), "what it is")
    (lesion,) = way.desk.api("GET", "/cases/acrin/lesions")["lesions"]
    assert np.linalg.norm(np.subtract(lesion["centre_mm"], S1_MM)) < RADIUS_MM
    assert 2.0 < lesion["volume_ml"] < 8.0
    assert lesion["levels"]["S1"] > 0.9
    way.pictured("04_lesion")
    sphere_taken(way)


def sphere_taken(way: Way) -> None:
    """On slices so thick the growth runs beyond the ball: a sphere at the crosshair takes its place."""
    page = way.page
    page.mouse.click(*way.place("axial", S1_MM))
    page.get_by_label("Sphere at the crosshair, radius mm").fill(str(RADIUS_MM))
    way.press("Take sphere")
    ball_ml = 4.0 / 3.0 * np.pi * RADIUS_MM**3 / 1000.0

    def volume_ml() -> float:
        assert page.query_selector(".notice") is None
        found = way.desk.api("GET", "/cases/acrin/lesions")["lesions"]
        return float(found[0]["volume_ml"])

    until(lambda: abs(volume_ml() / ball_ml - 1.0) < 0.15, "the ball's volume", JOB_PATIENCE_S)
    until(lambda: f"{volume_ml():.1f}" in page.inner_text(".panel"), "the page shows it")


def judged_suitable(way: Way) -> None:
    page = way.page
    way.stage("Suitability")
    page.get_by_label("Age, years").fill("62")
    page.get_by_label("Numeric rating, 0 to 10").fill("8")
    page.get_by_label("INR").fill("1.1")
    way.press("Store")
    until(lambda: way.desk.api("GET", "/cases/acrin/facts")["facts"]["age_years"] == 62, "the facts are stored")
    until(lambda: page.query_selector(".judgement"), "a judgement")
    sheet = way.desk.api("GET", "/cases/acrin/suitability")
    assert page.inner_text(".judgement") == sheet["verdict"]
    assert all(question in page.inner_text("main") for question in sheet["questions"])
    assert page.get_by_text("To be asked or measured").count() == 1
    way.pictured("05_suitability")


def approaches_planned(way: Way) -> None:
    page = way.page
    way.stage("Approaches")
    way.press("Plan all approaches")
    way.made("plan")
    until(lambda: page.locator(".approaches li").count() >= 4, "the approaches")
    plans = way.desk.api("GET", "/cases/acrin/plans")["plans"]
    assert plans[0]["feasible"]
    assert all(one["feasible"] or one["reasons"] for one in plans)
    way.press("Compare")
    until(lambda: page.locator(".compare th[scope=col]").count() == len(plans), "side by side")
    way.pictured("06_compare")
    page.keyboard.press("Escape")
    dragged(way, plans[0]["needles"][0]["trajectory"])


def dragged(way: Way, planned: dict[str, Any]) -> None:
    """The target moved by the mouse: the judgement follows, nothing is stored, and it can be dropped."""
    page, before = way.page, way.told()["revision"]
    way.press("target")
    way.press("Reset")
    way.press("target")
    x, y = way.place("axial", tuple(planned["target_mm"]))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 6, y + 3)
    page.mouse.move(x + 12, y + 6)
    page.mouse.up()
    until(lambda: page.query_selector("[data-judge]"), "the path is judged")
    draft = json.loads(page.evaluate('localStorage.getItem("sacroplasty:acrin:draft")'))
    assert draft["target_mm"][0] > planned["target_mm"][0] + 1.0
    until(lambda: page.get_attribute('[data-pane="AP"]', "data-angles"), "a radiograph from behind")
    until(lambda: page.get_attribute('[data-pane="Lateral"]', "data-angles"), "one from the side")
    assert page.locator(".crossings li").count() >= 1
    assert page.locator(".clock svg").count() + page.get_by_text("Tip without bevel").count() == 1
    way.pictured("07_drag")
    assert way.told()["revision"] == before, "a drag stores nothing"
    way.press("Drop my path")


def views_chosen(way: Way) -> None:
    page = way.page
    way.stage("Views")
    way.press("Choose the views")
    way.made("views")
    arm = '[data-pane="Virtual C-arm"]'
    first = until(lambda: page.get_attribute(arm, "data-angles"), "a radiograph")
    assert "prone" in first
    seen = {first}
    lateral = next(
        one["name"] for one in way.desk.api("GET", "/cases/acrin/views")["views"] if "lateral" in one["name"]
    )
    for button in (lateral, "Bull's-eye"):
        way.press(button)
        seen.add(until(lambda: (now := page.get_attribute(arm, "data-angles")) not in seen and now, button))
    assert colours(page, "Virtual C-arm") > 50
    way.pictured("08_views")


def rehearsed(way: Way) -> None:
    page = way.page
    way.stage("Rehearsal")
    until(lambda: page.locator(".steps li").count() >= 3, "the steps")
    until(lambda: page.locator(".shots [data-angles*=prone]").count() >= 2, "their pictures")
    way.press("Advance")
    until(lambda: page.locator(".steps li").nth(1).get_attribute("class") == "chosen", "the second step")
    assert page.locator(".shows dt").count() >= 2
    way.pictured("09_rehearsal")


def guided(way: Way, cases: Path) -> None:
    """Two simulated shots, registered; the needle is clicked where the simulation put it."""
    page = way.page
    way.stage("Guidance")
    way.press("Simulate two shots")
    until(lambda: page.locator(".shots img").count() == 2, "two shots", JOB_PATIENCE_S)
    way.press("Register to the CT")
    registered = lambda: way.desk.api("GET", "/cases/acrin/guidance")["sessions"][0]  # noqa: E731
    ended = {"registered", "refused"}
    until(lambda: page.wait_for_timeout(200) or registered()["state"] in ended, "the registration", JOB_PATIENCE_S)
    session = registered()
    assert session["state"] == "registered", session["registration"]["sentence"]
    for click in true_clicks(cases, session["id"], "acrin"):
        for what in ("tip", "shaft"):
            x, y = on_screen(page, click["shot"], click[what])
            page.mouse.click(x, y)
    way.press("Measure")
    advice = until(lambda: page.query_selector(".advice") and page.inner_text(".advice").lower(), "an advice")
    assert advice in {"continue", "correct", "stop"}
    assert "95 % of the time within" in page.inner_text(".panel")
    way.press("Reveal")
    words = until(
        lambda: (found := page.locator("tr", has_text="answer 1")).count() and found.inner_text(), "the truth"
    )
    off = float(re.search(r"([\d.]+) mm off", words)[1])  # type: ignore[index]
    assert off < 8.0
    way.pictured("10_guidance")


def on_screen(page: Any, shot: int, pixel: list[float]) -> tuple[float, float]:
    """Where a pixel of a shot lies on the page."""
    x, y = page.evaluate(
        """([shot, x, y]) => { const s = document.querySelector(`[data-pane="shot ${shot}"] svg`);
        const p = new DOMPoint(x, y).matrixTransform(s.getScreenCTM()); return [p.x, p.y]; }""",
        [shot, *pixel],
    )
    return float(x), float(y)


def filled(way: Way) -> None:
    page = way.page
    way.stage("Cement")
    way.press("Simulate")
    way.made("venogram")
    until(lambda: page.locator("th", has_text="Outlet").count(), "the venogram")
    way.press("Simulate the injection")
    way.made("cement")
    slider = page.locator("[data-cement-slider]")
    until(slider.count, "the time slider")
    last = slider.get_attribute("aria-valuetext")
    slider.focus()
    page.keyboard.press("Home")
    until(lambda: slider.get_attribute("aria-valuetext") != last, "the beginning")
    page.keyboard.press("End")
    until(lambda: slider.get_attribute("aria-valuetext") == last, "the end")
    assert page.locator("td", has_text="mL").count() + page.locator(".list td").count() > 3
    way.pictured("11_cement")


def reported(way: Way, cases: Path) -> None:
    page = way.page
    way.stage("Report")
    way.press("Write the report")
    way.made("report")
    until(lambda: page.query_selector("iframe"), "the report is shown")
    assert "not for clinical use" in page.frame_locator("iframe").locator("body").inner_text().lower()
    way.press("3D Slicer scene")
    link = page.locator("a[download]", has_text=".zip")
    until(link.count, "the export", JOB_PATIENCE_S)
    with page.expect_download() as coming:
        link.first.click()
    assert zipfile.ZipFile(coming.value.path()).testzip() is None
    way.pictured("12_report")
    stored = load_case(CaseFolder.open(cases / "acrin"))
    assert stored.plan is not None
    assert stored.cement is not None


def recorded(way: Way) -> None:
    page = way.page
    way.stage("Procedure")
    ticks = page.locator(".checklist .tick")
    until(lambda: ticks.count() == 17, "the checklist")
    for n in range(17):
        ticks.nth(n).click()
        until(lambda n=n: ticks.nth(n).get_attribute("aria-pressed") == "true", f"step {n + 1} is ticked")
    for words, answer in (("Approach", "trans-sacroiliac"), ("Technical success", "yes")):
        page.get_by_role("combobox", name=words, exact=True).select_option(answer)
    way.press("Store")
    until(lambda: way.desk.api("GET", "/cases/acrin/procedure")["details"]["technical_success"] is True, "it is stored")
    way.press("Close the record")
    until(lambda: page.locator(".tag", has_text="closed").count(), "the record is closed")
    way.pictured("13_procedure")


def followed(way: Way) -> None:
    page = way.page
    way.stage("Follow-up")
    told_pain(page, (("-2", "8", "stechend"), ("1", "3", "덜 아픔"), ("30", "2", "轻微")))
    way.pictured("14_follow_up")
    way.stage("Cohort")
    row = until(lambda: (found := page.locator("tr", has_text="acrin")).count() and found.inner_text(), "its row")
    assert "trans-sacroiliac" in row
    (told,) = (one for one in way.desk.api("GET", "/cohort")["rows"] if one["case"] == "acrin")
    assert (told["age_years"], told["nrs_before"], told["nrs_after"], told["days_followed"]) == (62, 8, 2, 30)
    way.pictured("15_cohort")


def compared(way: Way, cases: Path, path: Path) -> None:
    """A CT after the procedure, the patient lying otherwise: laid on the plan, its cement measured and put in words."""
    page, case = way.page, load_case(CaseFolder.open(cases / "acrin"))
    ct, centre = case.ct, case.require("lesions")[0].centre_mm
    inside = np.linalg.norm(ct.grid.centres_mm() - centre, axis=-1) < CEMENT_MM
    after = np.where(inside, CEMENT_HU, np.asarray(ct.array)).astype(np.int16)
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec([2.0, 1.0, -3.0], degrees=True).as_matrix()
    moved[:3, 3] = 6.0, -4.0, 9.0
    write_nifti(Volume(after, Grid.from_affine(ct.grid.shape, moved @ ct.grid.affine_lps), ct.unit), path)
    way.stage("Follow-up")
    until(lambda: page.get_by_text("Compare a later CT with the plan").count(), "where it goes")
    page.locator("section", has_text="CT after the procedure").locator("input[type=file]").set_input_files(path)
    look = lambda: way.desk.api("GET", "/cases/acrin/later-ct")["looks"]  # noqa: E731
    until(lambda: page.wait_for_timeout(300) or look() or page.query_selector(".notice"), "the look", JOB_PATIENCE_S)
    assert page.query_selector(".notice") is None
    (one,) = look()
    placed_ml = 4.0 / 3.0 * np.pi * CEMENT_MM**3 / 1000.0
    assert one["look"]["audit"]["occupied_ml"] == pytest.approx(placed_ml, rel=0.25)
    until(lambda: all(words in page.inner_text("main") for words in one["sentences"]), "its sentences")
    way.pictured("16_later_ct")
