"""A plan never starts or runs where the scan holds no data (H07)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sacroplasty.approach import plan_trajectories
from sacroplasty.approach.skin import skin_points, whole_skin
from sacroplasty.plan import Approach
from sacroplasty.space import Volume


def cut(ct, anatomy, lesion, behind_mm):
    """The same scan without what lies farther behind than `behind_mm`."""
    low, high = ct.grid.bounds_mm
    box = ct.grid.box_around(np.array([low, (high[0], behind_mm, high[2])]))
    here = anatomy.with_(labels=anatomy.labels.cropped(box), body=anatomy.body.cropped(box))
    return ct.cropped(box), here, replace(lesion, mask=lesion.mask.cropped(box))


@pytest.mark.hazard("H07")
@pytest.mark.parametrize("behind_mm", [62.0, 45.0])
def test_without_the_skin_in_view_there_is_no_plan(s1, behind_mm):
    short = cut(*s1, behind_mm)
    for plan in plan_trajectories(*short, approaches=(Approach.TRANS_SACROILIAC, Approach.POSTERIOR_SHORT_AXIS)):
        for needle in plan.needles if plan.feasible else ():
            # The rim of the data is not skin: a feasible needle enters where the toy's skin truly lies.
            x, y, z = needle.trajectory.entry_mm
            behind = (76.0 if z > -20 else 76.0 + (z + 20) * 0.36) - (x / 60.0) ** 2 * 4.0
            assert min(abs(y - behind), abs(abs(x) - 168.0)) < 2.5, plan.approach
        if not plan.feasible:
            assert plan.reasons[0]


@pytest.mark.hazard("H07")
def test_the_refusal_names_the_field_of_view(s1):
    (plan,) = plan_trajectories(*cut(*s1, 45.0), approaches=(Approach.POSTERIOR_SHORT_AXIS,))
    assert not plan.feasible
    assert "field of view" in plan.reasons[0] or "no part of the lesion" in plan.reasons[0]


@pytest.mark.hazard("H07")
def test_a_border_of_the_scan_is_not_skin(s1):
    """Points where measured air lies beyond the body are skin; beside unmeasured voxels or the rim they are not."""
    _, anatomy, _ = s1
    points = skin_points(anatomy.body, anatomy.frame)
    whole = whole_skin(anatomy, points)
    assert whole.mean() > 0.5
    cut = float(np.median(points[:, 0]))
    measured = (anatomy.body.grid.centres_mm()[..., 0] < cut).astype(np.int16)
    seen = anatomy.with_(maps={**anatomy.maps, "scanned": Volume(measured, anatomy.body.grid, "1")})
    kept = points[whole_skin(seen, points)]
    assert len(kept)
    assert kept[:, 0].max() < cut
    low, high = anatomy.body.grid.bounds_mm
    assert not whole_skin(anatomy, np.stack([low, high])).any()
