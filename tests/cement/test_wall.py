"""Cortex thinner than a CT's slices: it counts as a wall where it stands, and as broken where it is gone."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.cement.material import cortex_mm
from sacroplasty.cement.tissue import VALUE, Tissue
from sacroplasty.evidence import value
from sacroplasty.space import Grid, LabelMap

SLICE_MM, OUTSIDE_HU, WALL_HU = 1.8, 30.0, 800.0


def wall_mm(thickness_mm: float, marrow_hu: float, border_mm: float) -> float:
    """What a bone whose surface lies `border_mm` into a slice shows as its wall, in slices resampled to 1 mm."""
    fine = np.arange(-18.0, 18.0, 0.02)
    true = np.where(fine < border_mm, OUTSIDE_HU, np.where(fine < border_mm + thickness_mm, WALL_HU, marrow_hu))
    slices = true.reshape(-1, round(SLICE_MM / 0.02)).mean(axis=1)
    middles = fine.reshape(-1, round(SLICE_MM / 0.02)).mean(axis=1)
    grid = Grid.aligned((-15.0, -3.0, -3.0), (15.0, 3.0, 3.0), 1.0)
    x = grid.centres_mm()[..., 0]
    labels = np.where(x > border_mm, VALUE["sacrum"], 0)
    empty = np.zeros(labels.shape, np.uint8)
    tissue = Tissue(grid, np.interp(x, middles, slices), labels, empty > 0, LabelMap(empty, grid, {}))
    faces = cortex_mm(tissue)[:, 3, 3, 0]
    return float(faces.max())


@pytest.mark.parametrize("border_mm", [-0.8, -0.4, 0.0, 0.3, 0.7])
def test_a_thin_wall_on_thick_slices_is_a_wall(border_mm: float) -> None:
    least = value("assumptions.cement_cortex_open_below")
    assert wall_mm(0.7, 100.0, border_mm) > least
    assert wall_mm(0.0, 100.0, border_mm) < least
    assert wall_mm(0.0, 40.0, border_mm) == 0.0
    assert wall_mm(2.0, 100.0, border_mm) > 1.2
