"""A small synthetic patient: a block of bone with cortex, a canal, one foramen, a lesion; everything known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sacroplasty.anatomy import STRUCTURES, Anatomy, Face, Foramen, SacralFrame
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.plan import (
    Approach,
    Injection,
    Level,
    Needle,
    NeedlePlan,
    Plan,
    Side,
    Trajectory,
)
from sacroplasty.space import Grid, LabelMap, Mask, Volume

CENTRE = np.array([0.0, 13.0, 0.0])


@dataclass(frozen=True, eq=False)
class Patient:
    """CT, truth, lesion and a plan from the patient's right."""

    ct: Volume
    anatomy: Anatomy
    lesion: Lesion
    plan: Plan


def patient(*, breach: bool = False, volume_ml: float = 2.0, lesion_hu: float = 40.0, kind: str = "lytic") -> Patient:
    """Bone |x| < 20, 2 < y < 38, |z| < 18 mm with 1.5 mm cortex; lesion of 7 mm radius in its ventral half, canal behind.

    `breach` takes the ventral cortex away in front of the lesion.
    """
    grid = Grid.aligned((-30, -12, -27), (30, 52, 27), 1.0)
    x, y, z = np.moveaxis(grid.centres_mm(), -1, 0)
    outer = (np.abs(x) < 20) & (y > 2) & (y < 38) & (np.abs(z) < 18)
    inner = (np.abs(x) < 18.5) & (y > 3.5) & (y < 36.5) & (np.abs(z) < 16.5)
    canal = (np.abs(x) < 7) & (y >= 38) & (y < 46) & (np.abs(z) < 18)
    tunnel = (np.hypot(x - 14, z) < 4) & (y > 2) & (y < 38)
    ball = np.linalg.norm(grid.centres_mm() - CENTRE, axis=-1) < 7
    hu = np.full(grid.shape, 20.0, np.float32)
    hu[outer] = 1000.0
    hu[inner] = 180.0
    wall = outer & (np.hypot(x - 14, z) < 5.5)
    hu[wall] = 1000.0
    hu[canal | tunnel] = 10.0
    hu[ball] = lesion_hu
    if breach:
        hole = (np.hypot(x, z) < 5) & (y > 1) & (y < 14)
        hu[hole] = lesion_hu
    labels = np.zeros(grid.shape, np.uint8)
    labels[outer], labels[canal], labels[tunnel] = 1, 10, 11
    frame = SacralFrame(
        (0.0, 0.0, 20.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0),
        np.array([[0.0, 2.0, 20.0], [0.0, 2.0, 0.0], [0.0, 2.0, -20.0]]), 30.0,
    )  # fmt: skip
    foramen = Foramen(Level.S1, Side.LEFT, Face.ANTERIOR, (14.0, 2.0, 0.0), (0.0, -1.0, 0.0), 8.0, 8.0)
    anatomy = Anatomy(
        LabelMap(labels, grid, STRUCTURES), Mask(np.ones(grid.shape, np.bool_), grid), frame, (), foramina=(foramen,)
    )
    lesion = Lesion(Mask(ball, grid), (0.0, 13.0, 0.0), float(ball.sum()) / 1000, LesionKind(kind))
    path = Trajectory((-45.0, 45.0, 0.0), (0.0, 13.0, 0.0))
    needle = NeedlePlan(Needle.gauge(13), path, injections=(Injection(path.length_mm, volume_ml, 0.05, "simplex-p"),))
    plan = Plan(Approach.TRANS_SACROILIAC, Side.RIGHT, Level.S1, (needle,))
    return Patient(Volume(hu, grid), anatomy, lesion, plan)
