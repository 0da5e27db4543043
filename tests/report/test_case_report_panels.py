"""Panels A to G are made from a case's own images; what a case lacks is said, letter by letter."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sacroplasty.case import Case
from sacroplasty.errors import CaseError
from sacroplasty.fluoroscopy import CArm, View, render
from sacroplasty.lesion import lesion_from_mask
from sacroplasty.plan import Approach, Crossing, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.report.case_report_figures import panels
from sacroplasty.space import Volume
from tests.lesion.toy import ball, toy


@pytest.fixture(scope="module")
def case() -> Case:
    ct, anatomy = toy(2.0)
    mask = ball(anatomy, (20.0, 7.0, -30.0), 7.0)
    path = Trajectory((58.0, 40.0, -32.0), (20.0, 7.0, -30.0))
    needle = NeedlePlan(Needle.gauge(13), path, (Crossing("sacrum", 23.0, path.length_mm),))
    plan = Plan(Approach.TRANS_SACROILIAC, Side.LEFT, Level.S2, (needle,))
    arm = CArm.profile("mobile")
    views = (
        View(arm, 0, 0, path.target_mm, name="AP (S1 foramina)"),
        View(arm, -90, 0, path.target_mm, name="true lateral"),
    )
    shots = tuple(render(ct, view, (needle,), step_mm=4.0) for view in views)
    cement = SimpleNamespace(cement_fraction=Volume(mask.array.astype(np.float32), mask.grid, "1"), findings=())
    return Case("toy", ct, {}, anatomy, (lesion_from_mask(ct, anatomy, mask),), (plan,), shots, cement)


def test_seven_panels_with_their_letters(case: Case) -> None:
    made = panels(case)
    assert [figure.caption[:2] for figure in made.figures] == [f"{letter}." for letter in "ABCDEFG"]
    assert made.missing == ()
    for figure in made.figures:
        picture = np.asarray(Image.open(io.BytesIO(figure.png)).convert("L"))
        # The strip above holds the letter, the picture below holds something.
        assert picture[: picture.shape[0] // 14, : picture.shape[1] // 5].min() < 60
        assert picture[picture.shape[0] // 4 :].std() > 5
    captions = " ".join(figure.caption for figure in made.figures)
    assert captions.count("(simulated)") == 4
    assert "no MR image belongs to this case" in captions


def test_needle_and_cement_are_on_their_own_panels(case: Case) -> None:
    """D and F are the same view with the needle and with the cement, so they must differ."""
    pictures = {figure.caption[0]: np.asarray(Image.open(io.BytesIO(figure.png)).convert("L"), dtype=float)
                for figure in panels(case).figures}  # fmt: skip
    for needle, cement in ("DF", "EG"):
        assert np.abs(pictures[needle] - pictures[cement]).max() > 60


def test_an_mr_image_takes_panel_b(case: Case) -> None:
    mr = Volume(np.asarray(case.ct.array), case.ct.grid, case.ct.unit)
    assert "Sagittal MR" in panels(case, mr).figures[1].caption


def test_what_a_case_lacks_is_said(case: Case) -> None:
    bare = Case("bare", case.ct, {}, case.anatomy, case.lesions)
    assert [letter for letter, _ in panels(bare).missing] == list("CDEFG")
    blind = Case("blind", case.ct, {}, case.anatomy, case.lesions, case.plans)
    assert dict(panels(blind).missing)["D"] == "the case has no lateral view"
    with pytest.raises(CaseError, match="no lesions"):
        panels(Case("empty", case.ct))
