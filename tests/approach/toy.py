"""A small analytic pelvis: every surface is a formula, so that plans can be checked against it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sacroplasty.anatomy import (
    Anatomy,
    Canal,
    Face,
    Foramen,
    Hiatus,
    Landmark,
    RootCourse,
    SacralFrame,
    SacralLevel,
    ThecalSac,
)
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.plan import SACRAL_LEVELS, Level, Side, State
from sacroplasty.space import Grid, LabelMap, Mask, Volume

NAMES = {1: "sacrum", 4: "hip_left", 5: "hip_right", 10: "canal", 11: "root_tunnel", 12: "si_joint_left",
         13: "si_joint_right", 14: "disc_l5_s1"}  # fmt: skip
LEVEL_EDGES = (0.0, -30.0, -52.0, -72.0, -90.0, -106.0)
TUNNELS = {Level.S1: (-27.0, 19.0, 4.5), Level.S2: (-49.0, 16.0, 4.0), Level.S3: (-69.0, 14.0, 3.0),
           Level.S4: (-87.0, 12.0, 2.5)}  # fmt: skip
LENGTH = 106.0


def ventral(z):
    """The ventral surface's y at a height."""
    return 12.0 * np.sin(np.pi * np.clip(-np.asarray(z) / LENGTH, 0.0, 1.0))


def thickness(z):
    """Sacrum from ventral to dorsal surface."""
    return 46.0 - 30.0 * np.clip(-np.asarray(z) / LENGTH, 0.0, 1.0)


def half_width(z):
    """Sacrum from the midline to the SI joint or edge."""
    return 52.0 - 32.0 * np.clip(-np.asarray(z) / LENGTH, 0.0, 1.0)


def canal_y(z):
    """Middle of the canal."""
    return ventral(z) + 0.68 * thickness(z)


def canal_radii(z):
    """Half width and half depth of the canal."""
    share = np.clip(-np.asarray(z) / LENGTH, 0.0, 1.0)
    return 11.0 - 5.0 * share, 6.5 - 3.0 * share


def root_line(level, sign):
    """A root from the canal to the ventral opening of its tunnel."""
    z, x, _ = TUNNELS[level]
    return np.array([
        (sign * 4.0, canal_y(z + 10), z + 10),
        (sign * 10.0, canal_y(z + 4) - 2.0, z + 4),
        (sign * x, ventral(z) + 8.0, z),
        (sign * (x + 4.0), ventral(z - 4) - 4.0, z - 4.0),
    ])  # fmt: skip


def posterior_line(level, sign):
    """A posterior tunnel from the canal to the dorsal surface."""
    z, x, _ = TUNNELS[level]
    return np.array([(sign * 10.0, canal_y(z), z), (sign * (x + 4.0), ventral(z) + thickness(z) + 1.0, z - 2.0)])


def _carve(labels, grid, line, radius, value):
    """Set sacral voxels inside a tube."""
    for a, b in pairwise(line):
        box = grid.box_around([a, b], radius + 1)
        points, part = grid.cropped(box).centres_mm(), labels[box]
        d = b - a
        t = np.clip(((points - a) @ d) / (d @ d), 0, 1)
        near = np.linalg.norm(points - (a + t[..., None] * d), axis=-1) < radius
        part[near & (part == 1)] = value


def build(spacing=1.0, mirror=False, hiatus_state=State.MEASURED, hiatus_depth=5.4):
    """The toy's CT (bone 300, soft 40, air -1000) and anatomy; `mirror` makes the right side wider."""
    sign = -1.0 if mirror else 1.0
    # The joint sits 3 mm further out on one side, so that left and right can be told apart.
    grid = Grid.aligned((-170.0, -60.0, -140.0), (170.0, 90.0, 40.0), spacing)
    p = grid.centres_mm()
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    wide = half_width(z) + np.where(sign * x > 0, 3.0, 0.0)
    v, t = ventral(z), thickness(z)
    skin = np.where(z > -20, 76.0, 76.0 + (z + 20) * 0.36) - (x / 60.0) ** 2 * 4.0
    body = (y < skin) & (np.abs(x) < 168.0)
    labels = np.zeros(grid.shape, np.uint8)
    joint_z = (z > -68) & (z < 20)
    ilium = (np.abs(x) > wide + 2.5) & (np.abs(x) < wide + 22.0) & (y > v - 8) & (y < v + t + 12) & joint_z
    labels[ilium & (x > 0)], labels[ilium & (x < 0)] = 4, 5
    joint = (np.abs(x) >= wide) & (np.abs(x) <= wide + 2.5) & (y > v) & (y < v + t) & (z > -66) & (z < 0)
    labels[joint & (x > 0)], labels[joint & (x < 0)] = 12, 13
    sacrum = (np.abs(x) < wide) & (y > v) & (y < v + t) & (z < 0) & (z > -LENGTH)
    labels[sacrum] = 1
    labels[(np.abs(x) < 24) & (y > -4) & (y < 30) & (z >= 0) & (z < 9)] = 14
    a, b = canal_radii(z)
    canal = ((x / a) ** 2 + ((y - canal_y(z)) / b) ** 2 < 1) & (z < 12) & (z > -100)
    for level in TUNNELS:
        for s in (-1.0, 1.0):
            radius = TUNNELS[level][2]
            _carve(labels, grid, root_line(level, s), radius, 11)
            _carve(labels, grid, posterior_line(level, s), radius * 0.7, 11)
    labels[canal] = 10
    opening = (z < -82) & (np.abs(x) < 6.5) & (y > canal_y(z)) & (labels == 1)
    labels[opening] = 0
    hu = np.where(labels == 0, 40.0, np.where(np.isin(labels, (10, 11, 12, 13, 14)), 60.0, 300.0))
    ct = Volume(np.where(body, hu, -1000.0).astype(np.int16), grid)
    anatomy = Anatomy(
        LabelMap(labels, grid, NAMES), Mask(body, grid), frame(), levels(), foramina(), roots(),
        Canal(np.array([(0.0, canal_y(h), h) for h in np.arange(10.0, -100.0, -2.0)]), uncertainty_mm=0.5),
        Hiatus((0.0, float(canal_y(-82.0)), -82.0), Level.S4, hiatus_depth, 13.0, 18.0, hiatus_state),
        ThecalSac((0.0, float(canal_y(-45.0)), -45.0), Level.S2, uncertainty_mm=8.0),
        {"psis_left": Landmark("psis_left", (45.0, 60.0, -30.0))},
        source="analytic toy",
    )  # fmt: skip
    return ct, anatomy


def frame():
    """Axes along the patient's; the ventral curve in steps of 1 mm."""
    heights = np.arange(0.0, -LENGTH - 0.5, -1.0)
    curve = np.stack([np.zeros_like(heights), ventral(heights), heights], axis=1)
    return SacralFrame((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), curve, 0.0)


def _arc(z):
    f = frame()
    return float(f.coordinates((0.0, float(ventral(z)), z))[0])


def levels():
    """S1 to S5."""
    edges = [_arc(z) for z in LEVEL_EDGES]
    middles = [(a + b) / 2 for a, b in pairwise(LEVEL_EDGES)]
    return tuple(
        SacralLevel(level, edges[n], edges[n + 1], (0.0, float(ventral(m) + 0.3 * thickness(m)), m))
        for n, (level, m) in enumerate(zip(SACRAL_LEVELS, middles, strict=True))
    )


def foramina():
    """Anterior and posterior, both sides."""
    made = []
    for level, (_, _, radius) in TUNNELS.items():
        for side, s in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
            line, back = root_line(level, s), posterior_line(level, s)
            for face, tube, r in ((Face.ANTERIOR, line, radius), (Face.POSTERIOR, back, radius * 0.7)):
                axis = tube[-1] - tube[-2]
                axis = axis / np.linalg.norm(axis)
                centre = tube[-1] - (4.0 if face is Face.ANTERIOR else 1.0) * axis
                made.append(Foramen(level, side, face, tuple(centre), tuple(axis), 2 * r, 2 * r, uncertainty_mm=0.3))
    return tuple(made)


def roots():
    """One root per tunnel."""
    return tuple(
        RootCourse(level, side, root_line(level, s), 0.5 * TUNNELS[level][2], uncertainty_mm=0.5)
        for level in TUNNELS
        for side, s in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0))
    )


def lesion(anatomy, centre, radius):
    """A ball of destroyed bone, clipped to the sacrum."""
    grid = anatomy.labels.grid
    ball = (np.linalg.norm(grid.centres_mm() - np.asarray(centre), axis=-1) < radius) & (anatomy.labels.array == 1)
    mask = Mask(ball, grid)
    return Lesion(mask, tuple(float(c) for c in mask.centroid_mm()), mask.volume_ml, LesionKind.LYTIC, synthetic=True)


S1_BODY = ((0.0, 14.0, -15.0), 13.0)
S3_BODY = ((0.0, 17.0, -62.0), 8.0)
LEFT_ALA = ((36.0, 22.0, -18.0), 10.0)
