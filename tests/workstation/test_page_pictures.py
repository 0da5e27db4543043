"""What a reader asks of the pictures: windows, slab, fusion, turned planes, outlines, limits, corrected places."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sacroplasty.anatomy import Anatomy
from sacroplasty.case import CaseFolder
from sacroplasty.space import Volume
from tests.workstation.desk import IN_BROWSER, JOB_PATIENCE_S, STAGES, Desk, at_desk, painted, until

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def desk(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The toy with an MRI on its CT."""
    root = tmp_path_factory.mktemp("pictures") / "cases"
    shutil.copytree(template, root)
    folder = CaseFolder.open(root / "toy")
    anatomy = folder.read_value("segment", Anatomy)
    grid = anatomy.labels.grid
    seen = np.linspace(1.0, 900.0, int(np.prod(grid.shape)), dtype=np.float32).reshape(grid.shape)
    facts = {name: folder.index["stages"]["segment"][name] for name in ("parameters", "evidence", "made_from")}
    folder.write_value("segment", anatomy.with_(maps={**anatomy.maps, "mr": Volume(seen, grid, "1")}), **facts)
    with at_desk(root) as one:
        yield one


def caption(page: Any, pane: str = "axial") -> str:
    return page.get_attribute(f'[data-pane="{pane}"] canvas', "data-caption") or ""


def pixels(page: Any, pane: str = "axial") -> str:
    """The picture itself, to tell whether it changed."""
    return page.evaluate('(pane) => document.querySelector(`[data-pane="${pane}"] canvas`).toDataURL()', pane)


def opened(desk: Desk, stage: str) -> Any:
    desk.go(stage)
    painted(desk.page, "axial")
    desk.page.get_by_role("button", name="Reset").click()
    desk.page.wait_for_timeout(500)
    return desk.page


def test_windows_and_slabs_are_chosen_and_said_in_the_picture(desk: Desk, page: Any) -> None:
    opened(desk, "anatomy")
    page.get_by_role("button", name="soft tissue").click()
    soft = until(lambda: "W 1500" not in (now := caption(page)) and now, "another window")
    page.locator('[data-pane="axial"] canvas').focus()
    page.keyboard.press("1")
    until(lambda: caption(page) != soft, "the first window by its key")
    thin = pixels(page)
    page.get_by_label("Slab thickness").select_option("20")
    until(lambda: "slab 20 mm, mean" in caption(page), "a slab")
    mean = until(lambda: (now := pixels(page)) != thin and now, "another picture")
    page.get_by_label("Slab kind").select_option("maximum")
    until(lambda: "slab 20 mm, maximum" in caption(page) and pixels(page) != mean, "its maximum")
    page.get_by_label("Slab thickness").select_option("0")
    until(lambda: "slab" not in caption(page), "no slab")


def test_an_mri_is_mixed_into_the_ct_as_far_as_asked(desk: Desk, page: Any) -> None:
    opened(desk, "anatomy")
    alone = pixels(page)
    page.get_by_label("Volume laid over the CT").select_option("mr")
    until(lambda: "MRI laid over, registered" in caption(page), "the picture says so")
    half = until(lambda: (now := pixels(page)) != alone and now, "the MRI is seen")
    page.get_by_label("Share of the volume laid over").fill("1")
    until(lambda: pixels(page) not in (alone, half), "more of it")
    page.get_by_label("Volume laid over the CT").select_option("")
    until(lambda: "MRI" not in caption(page), "the CT alone")


def test_a_ring_turns_the_other_planes_and_leaves_the_picture_under_the_hand(desk: Desk, page: Any) -> None:
    opened(desk, "anatomy")
    box = page.locator('[data-pane="axial"] canvas').bounding_box()
    kept = json.loads(page.evaluate('localStorage.getItem("sacroplasty:toy:view")'))
    x = box["x"] + box["width"] / 2 + (kept["focus"][0] - kept["viewCentre"][0]) / kept["mmPerPixel"]
    y = box["y"] + box["height"] / 2 + (kept["focus"][1] - kept["viewCentre"][1]) / kept["mmPerPixel"]
    reach, turn = 0.36 * min(box["width"], box["height"]), math.radians(20.0)
    page.mouse.move(x + reach, y)
    page.mouse.down()
    for part in (0.5, 1.0):
        page.mouse.move(x + reach * math.cos(part * turn), y + reach * math.sin(part * turn))
    page.mouse.up()
    until(lambda: "oblique" in caption(page), "the planes are oblique")
    page.wait_for_timeout(500)
    normals = json.loads(page.evaluate('localStorage.getItem("sacroplasty:toy:view")'))["normals"]
    assert normals["axial"] == [0, 0, 1]
    for name, straight in (("sagittal", [-1, 0, 0]), ("coronal", [0, 1, 0])):
        assert math.degrees(math.acos(np.dot(normals[name], straight))) == pytest.approx(20.0, abs=1.0)
    page.get_by_role("button", name="Straighten").click()
    until(lambda: "oblique" not in caption(page), "straight again")


def test_the_slices_follow_the_needle(desk: Desk, page: Any) -> None:
    opened(desk, "approaches")
    page.get_by_role("button", name="Slices along the needle").click()
    until(lambda: "oblique" in caption(page), "oblique slices")
    page.get_by_role("button", name="Straighten").first.click()


def test_approaches_stand_side_by_side_with_every_reason(desk: Desk, page: Any) -> None:
    opened(desk, "approaches")
    plans = desk.api("GET", "/cases/toy/plans")["plans"]
    page.get_by_role("button", name="Compare").click()
    columns = page.locator(".compare th[scope=col]")
    until(lambda: columns.count() == len(plans), "a column each")
    words = page.inner_text(".compare")
    assert all(reason in words for plan in plans for reason in plan["reasons"])
    assert "tolerance cone" in words
    page.keyboard.press("Escape")
    until(lambda: page.locator(".compare").count() == 0, "it closes by key")
    needle = plans[0]["needles"][0]
    assert page.locator(".crossings li").count() == len(needle["crossings"])
    label = page.get_attribute(".clock svg", "aria-label")
    assert label == f"Bevel faces {needle['derived']['bevel_clock']} o'clock, seen from the hub"
    assert f"±{plans[0]['measures']['tolerance_cone_deg']:.1f}" in page.inner_text(".verdict")


def test_outlines_are_switched_and_limits_are_said(desk: Desk, page: Any) -> None:
    desk.go("views")
    arm = '[data-pane="Virtual C-arm"]'
    until(lambda: page.get_attribute(arm, "data-angles"), "a radiograph")
    page.wait_for_timeout(500)
    with_outlines = pixels(page, "Virtual C-arm")
    for kind in ("foramen", "canal", "ventral cortex"):
        before = pixels(page, "Virtual C-arm")
        page.get_by_role("checkbox", name=kind).click()
        until(lambda before=before: pixels(page, "Virtual C-arm") != before, f"{kind} changes the picture")
        page.get_by_role("checkbox", name=kind).click()
        until(lambda before=before: pixels(page, "Virtual C-arm") == before, f"{kind} is back as it was")
    assert pixels(page, "Virtual C-arm") == with_outlines
    page.locator(".panel input[type=range]").nth(1).fill("80")
    reason = until(lambda: (found := page.locator(".panel [role=status].warning")).count() and found.inner_text(), "no")
    assert reason.startswith("Out of reach: ")
    page.get_by_role("button", name="0 / 0").click()
    until(lambda: "Within reach" in page.inner_text(".panel"), "within reach again")


@pytest.mark.slow
def test_a_place_is_corrected_by_a_click_and_a_reason(desk: Desk, page: Any) -> None:
    opened(desk, "anatomy")
    foramen = next(one for one in desk.api("GET", "/cases/toy/anatomy")["foramina"] if one["state"] == "measured")
    page.get_by_label("Move a place").select_option(foramen["name"])
    page.wait_for_timeout(500)
    page.locator('[data-pane="axial"] canvas').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Store 1 moved").click()
    page.get_by_label("Why").fill("CT zeigt es 1 mm weiter links")
    page.get_by_role("button", name="Store 1 moved").click()

    def now() -> dict[str, Any]:
        found = desk.api("GET", "/cases/toy/anatomy")["foramina"]
        return next(dict(one) for one in found if one["name"] == foramen["name"])

    until(lambda: now()["state"] == "given", "the place is the person's", JOB_PATIENCE_S)
    assert np.subtract(now()["centre_mm"], foramen["centre_mm"]) == pytest.approx([1.0, 0.0, 0.0], abs=0.1)
    assert desk.api("GET", "/cases/toy")["stages"] == ["images", "segment"], "what was made from the old is forgotten"
    # The page may hear of it later than this test, and ask the next one's stages for what is gone.
    page.reload()


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1024, 768), (768, 1024)])
def test_no_panel_is_wider_than_its_place(desk: Desk, page: Any, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    for stage in STAGES:
        desk.go(stage)
        page.wait_for_timeout(400)
        over = page.evaluate(
            """() => [...document.querySelectorAll(".panel, .page, .report aside, .toolbar, .top, .rail")]
            .map((e) => [e.className, e.scrollWidth - e.clientWidth]).filter(([, over]) => over > 1)"""
        )
        assert over == [], stage
    page.set_viewport_size({"width": 1366, "height": 768})
