"""The border of a label against the CT: what is wrong is seen from the inside."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.anatomy.border import BorderSigns, sacral_border
from sacroplasty.anatomy.confidence import Signs, level_findings
from sacroplasty.anatomy.joints import VALUE
from sacroplasty.anatomy.morphology import within
from sacroplasty.anatomy.structures import STRUCTURES
from sacroplasty.space import Grid, LabelMap, Volume

GRID = Grid.aligned((-35, -30, -40), (35, 30, 40), 1.0)


def bone() -> tuple[Volume, np.ndarray]:
    """A bright ellipsoid in muscle, blurred and noisy, and where it truly is."""
    place = GRID.centres_mm() / np.array([25.0, 18.0, 30.0])
    inside = (place**2).sum(axis=-1) < 1
    hu = ndimage.gaussian_filter(np.where(inside, 350.0, 50.0), 0.7)
    noise = np.random.default_rng(0).normal(0, 15, hu.shape)
    return Volume((hu + noise).astype(np.float32), GRID), inside


def signs(ct: Volume, label: np.ndarray) -> BorderSigns:
    return sacral_border(ct, LabelMap(label.astype(np.uint8) * VALUE["sacrum"], GRID, STRUCTURES), 50.0)


def test_a_label_on_the_bone_is_believed():
    assert signs(*bone()).agreement > 0.9


@pytest.mark.parametrize("wrong", ["shifted", "thick", "thin", "half"])
def test_a_label_off_the_bone_is_not(wrong):
    ct, inside = bone()
    label = {
        "shifted": np.roll(inside, 4, axis=2),
        "thick": within(inside, 3.0),
        "thin": inside & ~within(~inside, 2.5),
        "half": inside & (GRID.centres_mm()[..., 2] > -5),
    }[wrong]
    assert signs(ct, label).agreement < 0.6


def test_no_label_has_no_border():
    ct, inside = bone()
    assert signs(ct, inside & False).agreement == 0.0


def test_a_border_off_the_bone_is_said():
    (finding,) = level_findings(Signs(80.0, 0.4, 0.2, l5_filled=1.0, border=0.3))
    assert finding.code == "SAC-A109"
    assert level_findings(Signs(80.0, 0.4, 0.2, l5_filled=1.0, border=0.9)) == ()
