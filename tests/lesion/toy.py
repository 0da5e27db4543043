"""A sacrum like a loaf: straight, analytic, small. Walls, canal, S1-S4 foramina, joints and disc are where one can
compute them by hand; ventral cortex at y = 0, promontory at the origin, levels 20 mm high downwards."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sacroplasty.anatomy import STRUCTURES, Anatomy, Canal, Face, Foramen, SacralFrame, SacralLevel
from sacroplasty.plan import SACRAL_LEVELS, Level, Side
from sacroplasty.space import Grid, LabelMap, Mask, Volume

CORTEX_MM = 1.6
HALF_WIDTH, DEPTH, HEIGHT = 45.0, 36.0, 100.0
CANAL_D, CANAL_R = 26.0, 6.0
FORAMEN_X, FORAMEN_R = 22.0, 5.0


def toy(spacing_mm: float = 1.0, *, noise_hu: float = 15.0, seed: int = 0) -> tuple[Volume, Anatomy]:
    """CT and true anatomy."""
    grid = Grid.aligned((-60.0, -14.0, -HEIGHT - 8.0), (60.0, DEPTH + 22.0, 14.0), spacing_mm, "1.2.3")
    x, y, z = np.moveaxis(grid.centres_mm(), -1, 0)
    loaf = (abs(x) <= HALF_WIDTH) & (y >= 0) & (y <= DEPTH) & (z <= 0) & (z >= -HEIGHT)
    canal = ((x**2 + (y - CANAL_D) ** 2) <= CANAL_R**2) & (z <= 0) & (z > -HEIGHT)
    tunnel = np.zeros(grid.shape, bool)
    for n in range(4):
        for sign in (-1, 1):
            tunnel |= ((x - sign * FORAMEN_X) ** 2 + (z + 20.0 * (n + 1)) ** 2 <= FORAMEN_R**2) & loaf
    labels = np.zeros(grid.shape, np.uint8)
    labels[loaf] = 1
    labels[loaf & tunnel] = 11
    labels[loaf & canal] = 10
    labels[(abs(x) > HALF_WIDTH) & (abs(x) <= HALF_WIDTH + 2) & (z > -50) & (z <= 0) & (y >= 0) & (y <= DEPTH)] = 12
    labels[(labels == 12) & (x < 0)] = 13
    labels[(abs(x) < 25) & (y >= 0) & (y < 20) & (z > 0) & (z < 8)] = 14
    bone = labels == 1
    inside = ndimage.distance_transform_edt(bone) * spacing_mm
    hu = np.where(bone, np.where(inside <= CORTEX_MM, 550.0, np.where(abs(x) < 18, 190.0, 110.0)), 45.0)
    hu[np.isin(labels, (10, 11))] = 20.0
    rng = np.random.default_rng(seed)
    hu = ndimage.gaussian_filter(hu, 0.5 / spacing_mm) + rng.normal(0, noise_hu, grid.shape)
    body = np.zeros(grid.shape, bool)
    body[2:-2, :-2, :] = True
    return Volume(hu.astype(np.float32), grid), _anatomy(LabelMap(labels, grid, STRUCTURES), Mask(body, grid))


def _anatomy(labels: LabelMap, body: Mask) -> Anatomy:
    curve = np.stack([np.zeros(101), np.zeros(101), -np.arange(101.0)], axis=1)
    frame = SacralFrame((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), curve, 40.0)
    levels = tuple(
        SacralLevel(level, 20.0 * n, 20.0 * (n + 1), (0.0, 10.0, -20.0 * n - 10.0))
        for n, level in enumerate(SACRAL_LEVELS)
    )
    foramina = tuple(
        Foramen(
            SACRAL_LEVELS[n], side, face, (sign * FORAMEN_X, 0.0 if face is Face.ANTERIOR else DEPTH, -20.0 * (n + 1)),
            (0.0, -1.0 if face is Face.ANTERIOR else 1.0, 0.0), 2 * FORAMEN_R, 2 * FORAMEN_R,
        )
        for n in range(4) for side, sign in ((Side.LEFT, 1), (Side.RIGHT, -1)) for face in Face
    )  # fmt: skip
    line = np.stack([np.zeros(90), np.full(90, CANAL_D), -np.arange(90.0)], axis=1)
    return Anatomy(labels, body, frame, levels, foramina, canal=Canal(line), source="toy")


def ball(anatomy: Anatomy, centre_mm: tuple[float, float, float], radius_mm: float) -> Mask:
    """A sphere on the anatomy's grid."""
    offset = anatomy.labels.grid.centres_mm() - np.asarray(centre_mm)
    return Mask((offset**2).sum(axis=-1) <= radius_mm**2, anatomy.labels.grid)


def with_values(ct: Volume, where: np.ndarray, hu: float, noise_hu: float = 15.0) -> Volume:
    """The CT with one value, and noise, where `where` is true."""
    array = np.array(ct.array)
    array[where] = hu + np.random.default_rng(1).normal(0, noise_hu, int(where.sum()))
    return Volume(array, ct.grid)


LEVELS = SACRAL_LEVELS
S1 = Level.S1
