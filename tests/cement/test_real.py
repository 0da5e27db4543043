"""An injection into a real sacrum: nothing is known exactly, but volume, walls and plausibility must hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.anatomy import STRUCTURES, Anatomy, SacralFrame
from sacroplasty.cement import simulate_injection
from sacroplasty.io import read_ct, read_labels
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.plan import Approach, Injection, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.space import LabelMap, Mask
from tests.data import real


@pytest.mark.real
def test_cement_stays_in_a_real_sacrum_with_its_cortex() -> None:
    ct = read_ct(real("totalsegmentator/ct_3mm.nii.gz"), acknowledge=["SAC-G026", "SAC-G042"])
    sacrum = read_labels(real("totalsegmentator/labels_3mm.nii.gz")).array == 14
    grid = ct.grid
    bone = Mask(sacrum, grid)
    places = bone.points_mm()
    deep = ndimage.distance_transform_edt(sacrum)
    upper = np.moveaxis(grid.centres_mm(), -1, 0)[2] > np.percentile(places[:, 2], 75)
    tip = grid.patient_from_voxel.points(np.unravel_index(int(np.argmax(deep * upper)), grid.shape))
    x, _, z = (float(v) for v in tip)
    front = float(places[np.abs(places[:, 2] - z) < 4][:, 1].min())
    line = np.array([[x, front, z + 60], [x, front, z], [x, front, z - 60]])
    frame = SacralFrame((x, front, z + 60), (1, 0, 0), (0, 1, 0), (0, 0, 1), line, 40.0)
    anatomy = Anatomy(LabelMap(sacrum.astype(np.uint8), grid, STRUCTURES), Mask(np.ones_like(sacrum), grid), frame, ())
    ball = np.linalg.norm(grid.centres_mm() - tip, axis=-1) < 7
    lesion = Lesion(Mask(ball, grid), (x, float(tip[1]), z), float(ball.sum()) * 0.027, LesionKind.MIXED)
    path = Trajectory((x, float(tip[1]) + 60.0, z), (x, float(tip[1]), z))
    needle = NeedlePlan(Needle.gauge(13), path, injections=(Injection(60.0, 2.0, 0.05, "simplex-p"),))
    plan = Plan(Approach.POSTERIOR_SHORT_AXIS, Side.MIDLINE, Level.S1, (needle,))
    result = simulate_injection(
        ct, anatomy, lesion, plan, spacing_mm=1.5, margin_mm=16.0, updates=10, lesion_model="soft"
    )
    assert result.placed_ml + result.escaped_ml == pytest.approx(result.injected_ml, rel=1e-6)
    assert result.injected_ml == pytest.approx(2.0)
    assert result.compartments["lesion"] + result.compartments.get("sacrum", 0.0) > 1.5
    assert 100 < result.peak_syringe_kpa < 3100
