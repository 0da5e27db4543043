"""The review sheet: complete, repeatable, and honest about what cannot be measured."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from matplotlib.image import imread

from sacroplasty.anatomy import Hiatus
from sacroplasty.errors import GeometryError, InputError
from sacroplasty.lesion import assess_suitability, lesion_from_mask
from sacroplasty.lesion.published import ZHANG_1
from sacroplasty.plan import Approach, Crossing, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.report.course_schematic import course_schematic
from sacroplasty.report.imaging import Line, Marks, Outline, Text
from sacroplasty.report.review_sheet import (
    describe_lesion,
    describe_suitability,
    hiatus_lines,
    measured_lines,
    measurements_of,
    review_sheet,
    standard_overlays,
    standard_planes,
)
from sacroplasty.space import Grid, Volume
from tests.lesion.toy import ball, toy, with_values


@pytest.fixture(scope="module")
def case():
    ct, anatomy = toy(1.5)
    mask = ball(anatomy, (20.0, 7.0, -30.0), 7.0)
    ct = with_values(ct, mask.array & (anatomy.labels.array == 1), 45.0)
    hole = ball(anatomy, (20.0, 0.0, -30.0), 4.0).array
    ct = with_values(ct, hole, 45.0)
    path = Trajectory((58.0, 40.0, -32.0), (20.0, 7.0, -30.0))
    crossings = (Crossing("si_joint_left", 20.0, 23.0), Crossing("sacrum", 23.0, path.length_mm))
    plan = Plan(Approach.TRANS_SACROILIAC, Side.LEFT, Level.S2, (NeedlePlan(Needle.gauge(13), path, crossings),))
    return ct, anatomy, lesion_from_mask(ct, anatomy, mask), plan


def test_planes_go_through_the_lesion_and_name_the_side(case):
    _, anatomy, lesion, _ = case
    axial, sagittal, oblique = standard_planes(anatomy, lesion)
    for plane in (axial, sagittal, oblique):
        assert abs(plane.place(lesion.centre_mm)[2]) < 1e-6
    assert "left of the midline" in sagittal.name


def test_overlays_show_lesion_levels_walls_and_needle(case):
    _, anatomy, lesion, plan = case
    overlays = standard_overlays(anatomy, (lesion,), plan, levels=True)
    assert sum(isinstance(o, Outline) for o in overlays) == 4
    assert {o.text for o in overlays if isinstance(o, Text)} == {"S1", "S2", "S3", "S4", "S5"}
    assert sum(isinstance(o, Marks) for o in overlays) == len(lesion.breached) > 0
    assert Line(plan.first.trajectory.entry_mm, plan.first.trajectory.target_mm, "#ffffff") in overlays


def test_what_cannot_be_measured_is_said(case):
    _, anatomy, lesion, plan = case
    found, missing = measurements_of(anatomy, lesion, plan)
    assert {"marrow space S2, dorsal to ventral cortex", "marrow space along the path"} <= {m.name for m in found}
    assert len(missing) == (0 if any(m.name == "skin to lesion centre" for m in found) else 1)
    inside = plan.first.trajectory.moved(entry_mm=(20.0, 7.0, -45.0))
    needle = NeedlePlan(Needle.gauge(13), inside)
    _, missing = measurements_of(anatomy, lesion, plan.with_(needles=(needle,)))
    assert any("meets no skin" in sentence for sentence in missing)


def test_measurements_are_drawn_where_they_lie_in_the_plane_with_their_letters(case):
    _, anatomy, lesion, plan = case
    found, _ = measurements_of(anatomy, lesion, plan)
    drawn = set()
    for plane in standard_planes(anatomy, lesion):
        for line in measured_lines(found, plane):
            measure = found["abcdefgh".index(line.label[0])]
            assert (line.start_mm, line.end_mm) == (measure.start_mm, measure.end_mm)
            assert line.label.endswith(f"{measure.value_mm:.0f} mm")
            drawn.add(measure.name)
    assert "marrow space S2, dorsal to ventral cortex" in drawn


def test_the_hiatus_is_held_against_the_needle_that_goes_through_it(case):
    _, anatomy, _, plan = case
    hiatus = Hiatus((0.0, 30.0, -90.0), Level.S5, depth_mm=5.0, width_mm=12.0, length_mm=15.0)
    through = plan.with_(approach=Approach.INTERPEDICULAR)
    assert hiatus_lines(anatomy, plan) == hiatus_lines(anatomy, through) == []
    (line,) = hiatus_lines(replace(anatomy, hiatus=hiatus), through)
    width = plan.first.needle.outer_diameter_mm
    assert (
        line.split()
        == f"hiatus depth 5.0 mm, needle {width:.1f} mm: {(5 - width) / 2:.1f} mm free on each side".split()
    )


def test_sheet_with_plan_and_judgement(case):
    ct, anatomy, lesion, plan = case
    judged = assess_suitability(ZHANG_1, anatomy, lesion, plan)
    sheet = review_sheet(ct, anatomy, lesion, plan=plan, suitability=judged)
    picture = imread(io.BytesIO(sheet))
    assert picture.shape[0] > 1000
    assert sheet == review_sheet(ct, anatomy, lesion, plan=plan, suitability=judged)
    words = " ".join([*describe_lesion(lesion), *describe_suitability(judged)])
    for wanted in ("lytic", "S2", "ventral", "gone", "judged unsuitable", "Destroyed cortex", "SINS", "To be asked"):
        assert wanted in words


def test_schematic_changes_with_the_path(case):
    _, anatomy, lesion, plan = case
    first = course_schematic(anatomy, (lesion,), plan)
    other = plan.first.trajectory.moved(entry_mm=(58.0, 30.0, -10.0))
    second = course_schematic(anatomy, (lesion,), plan.with_(needles=(NeedlePlan(Needle.gauge(13), other),)))
    assert first != second


def test_refusals(case):
    ct, anatomy, lesion, _ = case
    with pytest.raises(InputError, match="needs a lesion"):
        review_sheet(ct, anatomy, ())
    other = Volume(ct.array, Grid.from_affine(ct.grid.shape, ct.grid.affine_lps, "9.9"), "1")
    with pytest.raises(GeometryError, match="frame of reference"):
        review_sheet(ct, anatomy, lesion, mr=other)
