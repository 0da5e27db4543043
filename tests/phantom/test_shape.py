"""Shapes: published norms, drawn subjects, variants, and the guards."""

import numpy as np
import pytest

from sacroplasty.errors import InputError
from sacroplasty.evidence import evidence, value
from sacroplasty.phantom import PhantomShape, Variant


def test_norm_holds_the_published_numbers() -> None:
    norm = PhantomShape.norm()
    assert norm.anterior_arc_mm[0] == value("phantom.s1_anterior_arc")
    assert norm.posterior_arc_mm[0] - norm.anterior_arc_mm[0] == value("phantom.s1_posterior_caudal_offset")
    assert norm.hiatus_depth_mm == value("phantom.hiatus_depth")
    assert norm.half_width_mm[0] * 2 == value("phantom.interauricular_distance")


def test_drawn_subjects_repeat_and_scatter_about_the_norm() -> None:
    assert PhantomShape.drawn(3) == PhantomShape.drawn(3)
    drawn = [PhantomShape.drawn(seed) for seed in range(200)]
    depth = np.array([shape.hiatus_depth_mm for shape in drawn])
    entry = evidence("phantom.hiatus_depth")
    assert entry.low is not None
    assert entry.high is not None
    assert abs(depth.mean() - entry.value) < 0.5
    assert 0.6 < depth.std() / ((entry.high - entry.low) / 2) < 1.2
    assert len({shape.hiatus_apex_arc_mm for shape in drawn}) > 100


def test_variants_change_what_they_say() -> None:
    norm = PhantomShape.norm()
    assert norm.shallow_hiatus().hiatus_depth_mm == pytest.approx(1.9)
    assert not norm.absent_hiatus().hiatus_open
    assert norm.dysmorphic().alar_slope > norm.alar_slope
    assert norm.osteoporotic(0.4).bone_scale == 0.4
    assert norm.transitional().variant is Variant.TRANSITIONAL


@pytest.mark.parametrize(
    "wrong",
    [
        {"bone_scale": 0.0},
        {"si_gap_mm": 0.0},
        {"hiatus_apex_arc_mm": 20.0},
        {"boundaries_arc_mm": (0.0, 5.0, 60.0, 80.0, 100.0, 117.0)},
    ],
)
def test_impossible_shapes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        PhantomShape.norm().with_(**wrong)
