"""Small synthetic scenes for the fluoroscopy tests."""

from __future__ import annotations

import nibabel
import numpy as np

from sacroplasty.fluoroscopy import CArm, View
from sacroplasty.plan import Needle, NeedlePlan, Trajectory
from sacroplasty.space import Grid, Volume
from tests.data import real

ARM = CArm.profile("mobile").with_pixels(128)
AP, LEFT_LATERAL, INLET, OUTLET = (180.0, 0.0), (90.0, 0.0), (180.0, -25.0), (180.0, 45.0)
POSES = (AP, LEFT_LATERAL, INLET, OUTLET, (150.0, 10.0), (0.0, 20.0))


def view(angles: tuple[float, float], isocentre_mm: object = (0.0, 0.0, 0.0), arm: CArm = ARM) -> View:
    return View(arm, *angles, isocentre_mm)  # type: ignore[arg-type]


def needle(tip_mm: object, entry_mm: object, bevel: float | None = None) -> NeedlePlan:
    return NeedlePlan(Needle.gauge(13), Trajectory(entry_mm, tip_mm), bevel_azimuth_deg=bevel)  # type: ignore[arg-type]


def blobs(spacing_mm: float = 2.0, half_mm: float = 60.0, seed: int = 3) -> Volume:
    """A smooth random field that is not zero at the rim, 1/mm."""
    grid = Grid.aligned([-half_mm] * 3, [half_mm, half_mm, half_mm * 0.8], spacing_mm)
    points = grid.centres_mm()
    rng = np.random.default_rng(seed)
    field = np.full(grid.shape, 0.01)
    for _ in range(12):
        centre, width = rng.uniform(-50, 50, 3), rng.uniform(6, 20)
        field += 0.03 * np.exp(-((points - centre) ** 2).sum(axis=-1) / (2 * width**2))
    return Volume(field.astype(np.float32), grid, "1/mm")


def real_ct(name: str) -> Volume:
    """A real CT in canonical LPS storage order."""
    image = nibabel.load(real(name))
    array = np.asarray(image.dataobj)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    for axis in range(3):
        if affine[axis, axis] < 0:
            array = np.flip(array, axis)
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
    return Volume(np.ascontiguousarray(array).astype(np.int16), Grid.from_affine(array.shape, affine))
