"""Pedicle corridors against shapes whose widest cylinder is known, and signs of dysmorphism as findings."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.anatomy import STRUCTURES, SacralFrame, SacralLevel
from sacroplasty.anatomy.corridors import pedicle_corridors
from sacroplasty.anatomy.dysmorphism import findings
from sacroplasty.plan import Level, Side, State
from sacroplasty.space import Grid, LabelMap

CURVE = np.stack([np.zeros(60), np.zeros(60), -np.arange(60.0)], axis=1)
FRAME = SacralFrame((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), CURVE, 40.0)
S1 = SacralLevel(Level.S1, 0.0, 28.0, (0.0, 12.0, -14.0))


def slab(high_mm: float, deep_mm: float, tilt: float = 0.0) -> LabelMap:
    """A bone bar across the midline, `high_mm` by `deep_mm`, rising by `tilt` mm per mm on either side."""
    grid = Grid.aligned((-90, -10, -60), (90, 50, 50), 1.0)
    x, y, z = np.moveaxis(grid.centres_mm(), -1, 0)
    middle = -14 + tilt * np.abs(x)
    bar = (np.abs(y - 16) <= deep_mm / 2) & (np.abs(z - middle) <= high_mm / 2)
    labels = np.where(bar & (np.abs(x) <= 50), 1, 0)
    labels = np.where(bar & (x > 50), 4, np.where(bar & (x < -50), 5, labels))
    return LabelMap(labels.astype(np.uint8), grid, STRUCTURES)


@pytest.mark.parametrize(("high", "deep"), [(14.0, 24.0), (20.0, 12.0)])
def test_the_corridor_is_as_wide_as_the_bar_and_a_lower_bound(high: float, deep: float) -> None:
    found = pedicle_corridors(slab(high, deep), FRAME, (S1,), 1.0)
    assert [c.side for c in found] == [Side.RIGHT, Side.LEFT]
    for corridor in found:
        assert min(high, deep) - 2.5 < corridor.diameter_mm <= min(high, deep) + 0.5
        assert corridor.state is State.MEASURED
        assert abs(corridor.midline_mm[0]) < 1e-6
        assert (corridor.lateral_mm[0] > 60) is (corridor.side is Side.LEFT)


def test_an_oblique_pedicle_is_followed() -> None:
    (right, left) = pedicle_corridors(slab(14.0, 24.0, tilt=np.tan(np.deg2rad(15))), FRAME, (S1,), 1.0)
    for corridor in (right, left):
        assert corridor.diameter_mm > 10
        rise = corridor.lateral_mm[2] - corridor.midline_mm[2]
        assert rise > 0.15 * abs(corridor.lateral_mm[0])


def test_no_bone_across_the_pedicle_is_no_corridor_and_unknown_levels_have_none() -> None:
    labels = slab(14.0, 24.0)
    array = np.array(labels.array)
    array[(np.abs(labels.grid.centres_mm()[..., 0]) > 15) & (np.abs(labels.grid.centres_mm()[..., 0]) < 20)] = 0
    assert pedicle_corridors(LabelMap(array, labels.grid, STRUCTURES), FRAME, (S1,), 1.0) == ()
    outside = SacralLevel(Level.S1, 0.0, 28.0, (0.0, 12.0, -14.0), State.OUTSIDE)
    assert pedicle_corridors(labels, FRAME, (outside,), 1.0) == ()


def test_two_signs_of_dysmorphism_are_said_and_one_is_not() -> None:
    one = {"s1_s2_residual_disc_hu": 120.0, "s1_corridor_mm": 14.0, "s2_corridor_mm": 12.0}
    assert findings(one) == []
    (finding,) = findings({**one, "s1_corridor_mm": 7.0})
    assert finding.code == "SAC-A340"
    assert "residual disc" in finding.message
    assert "7 mm" in finding.message
