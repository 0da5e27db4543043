"""The map of the skin: seen from behind, one panel per feasible approach, entries where the plans say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from sacroplasty.approach import plan_trajectories
from sacroplasty.case import Case
from sacroplasty.plan import Approach
from sacroplasty.report import plan_document
from sacroplasty.report.document import Figure
from sacroplasty.report.imaging import direction_letters
from sacroplasty.report.skin_map import feasible_first, skin_map, view_from_behind
from tests.approach import toy

# The planned entries' colour.
ORANGE = np.array([0xD5, 0x5E, 0x00]) / 255


@pytest.fixture(scope="module")
def case():
    ct, anatomy = toy.build(1.5)
    lesion = toy.lesion(anatomy, *toy.LEFT_ALA)
    plans = plan_trajectories(ct, anatomy, lesion)
    return Case("toy", ct, anatomy=anatomy, lesions=(lesion,), plans=plans)


def test_every_feasible_approach_has_its_panel_once(case):
    shown = feasible_first(case.plans)
    assert [plan.approach for plan in shown] == list(dict.fromkeys(p.approach for p in case.plans if p.feasible))
    assert shown[0] is case.plan
    assert all(plan.feasible for plan in shown)


def test_the_viewer_stands_behind_the_patient(case):
    points = np.array([plan.first.trajectory.entry_mm for plan in feasible_first(case.plans)])
    plane, style = view_from_behind(points)
    assert (direction_letters(plane.right), direction_letters(plane.down)) == ("R", "F")
    assert plane.normal[1] < 0, "away from the viewer is towards the patient's front"
    across, down, _ = plane.place(points).T
    assert (np.abs(across) < style.width_mm / 2).all()
    assert (np.abs(down) < style.height_mm / 2).all()


def test_an_entry_on_the_left_is_drawn_on_the_left(case):
    one = tuple(plan for plan in case.plans if plan.approach is Approach.POSTERIOR_SHORT_AXIS)
    drawn = skin_map(Case("toy", case.ct, anatomy=case.anatomy, lesions=case.lesions, plans=one))
    picture = imread(io.BytesIO(drawn))[..., :3]
    orange = np.abs(picture - ORANGE).max(axis=2) < 0.02
    assert orange.sum() > 20
    assert one[0].first.trajectory.entry_mm[0] > 0
    assert np.nonzero(orange)[1].mean() < 0.89 * picture.shape[1] / 2


def test_the_report_holds_it_and_repeats_it(case):
    section = next(s for s in plan_document(case).sections if s.title == "Approaches compared")
    figures = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(figures) == 1
    assert figures[0].png == skin_map(case)


def test_no_feasible_approach_no_map(case):
    refused = tuple(plan for plan in case.plans if not plan.feasible)
    assert refused
    assert skin_map(Case("toy", case.ct, anatomy=case.anatomy, lesions=case.lesions, plans=refused)) is None
