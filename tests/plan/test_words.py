"""Needles, trajectories, sides and levels."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sacroplasty.errors import InputError
from sacroplasty.plan import Approach, Level, Needle, NeedlePlan, Plan, Side, Trajectory, catalogue

COORDINATES = st.tuples(*[st.floats(-300, 300)] * 3)


@given(COORDINATES, COORDINATES)
def test_depth_runs_from_entry_to_target(entry: tuple[float, ...], target: tuple[float, ...]) -> None:
    assume(math.dist(entry, target) > 1)
    path = Trajectory(entry, target)  # type: ignore[arg-type]
    assert path.point_at(0.0) == pytest.approx(entry, abs=1e-9)
    assert path.point_at(path.length_mm) == pytest.approx(target, abs=1e-6)


def test_angles_are_named_by_where_the_needle_goes() -> None:
    """A prone patient is entered from behind (+y) towards the front (-y)."""
    up = Trajectory((0, 100, 0), (0, 0, 100))
    assert up.cephalad_deg == pytest.approx(45)
    assert up.leftward_deg == pytest.approx(0)
    from_right = Trajectory((-100, 100, 0), (0, 0, 0))
    assert from_right.leftward_deg == pytest.approx(45)


@pytest.mark.parametrize("target", [(0, 0, 0.5), (math.nan, 0, 0), (1, 2)])
def test_a_path_that_goes_nowhere_is_refused(target: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        Trajectory((0, 0, 0), target)  # type: ignore[arg-type]


def test_the_catalogue_runs_from_thick_to_thin() -> None:
    diameters = [needle.outer_diameter_mm for needle in catalogue()]
    assert len(diameters) == 8
    assert diameters == sorted(diameters, reverse=True)
    assert Needle.gauge(13).radius_mm == pytest.approx(2.413 / 2)


@pytest.mark.parametrize("make", [lambda: Needle.gauge(22), lambda: Needle(13, 1.8, 2.4), lambda: Needle(13, 2, 1, 5)])
def test_an_impossible_needle_is_refused(make: object) -> None:
    with pytest.raises(InputError):
        make()  # type: ignore[operator]


def test_sides_and_levels_have_neighbours() -> None:
    assert Side.LEFT.other is Side.RIGHT
    assert Side.MIDLINE.other is Side.MIDLINE
    assert Level.S1.above is Level.L5
    assert Level.S4.below is Level.S5
    assert Level.S5.below is None


def test_a_plan_travels_to_other_processes() -> None:
    needle = NeedlePlan(Needle.gauge(13), Trajectory((0, 100, 0), (0, 0, 0)))
    plan = Plan(Approach.TRANS_SACROILIAC, Side.LEFT, Level.S1, (needle,), {"skin_to_lesion_mm": 100.0})
    copy = pickle.loads(pickle.dumps(plan))
    assert copy == plan
    assert copy.first.tip_mm == (0, 0, 0)
