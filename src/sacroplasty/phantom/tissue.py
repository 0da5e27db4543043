"""What is at a point of the phantom: structure and HU. The only place where solids become tissue."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sacroplasty.phantom.geometry import CANAL_DEPTH, CANAL_WIDTH, DEPTH, Array, Geometry
from sacroplasty.phantom.solids import (
    _column,
    _smooth,
    canal_lumen,
    capsule,
    femur,
    hip_solid,
    in_tube,
    inner_wall,
    lower_bodies,
    roof_openings,
    sacral_block,
    sacral_coordinates,
    sacral_solid,
    tunnel_lumen,
    vertebra,
)

# Tissues that are no labelled structure. Cortical bone has its label plus CORTEX, so that borders are found.
AIR, SKIN, FAT, MUSCLE, BOWEL, SOFT, TABLE, NERVE = 100, 101, 102, 103, 104, 105, 106, 107
CORTEX = 128
MARROW_FAT_HU = -60.0  # what marrow goes towards as trabeculae vanish


@njit(cache=True, error_model="numpy", _nrt=False)
def _hash(i: int, j: int, k: int) -> float:
    h = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791)
    h = (h ^ (h >> 13)) * 1274126177 & 0x7FFFFFFF
    h = (h ^ (h >> 16)) & 0xFFFF
    return h / 32767.5 - 1.0


@njit(cache=True, error_model="numpy", _nrt=False)
def texture(x: float, y: float, z: float, cell: float) -> float:
    """Smooth random field in -1..1 that belongs to the place, not to a grid; features of about `cell` mm."""
    u, v, w = x / cell, y / cell, z / cell
    i, j, k = math.floor(u), math.floor(v), math.floor(w)
    u, v, w = u - i, v - j, w - k
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                total += weight * _hash(int(i) + a, int(j) + b, int(k) + c)
    return total


@njit(cache=True, error_model="numpy", _nrt=False)
def _grain(x: float, y: float, z: float, fine: float) -> float:
    """Trabecular pattern: a fine part that thick voxels average away (`fine` 0..1) and a patchy one."""
    return 1.3 * fine * texture(x, y, z, 1.3) + 0.6 * texture(x, y, z, 5.0)


@njit(cache=True, error_model="numpy", _nrt=False)
def _marrow(base: float, g: Geometry) -> float:
    return MARROW_FAT_HU + (base - MARROW_FAT_HU) * g.numbers[7]


@njit(cache=True, error_model="numpy", _nrt=False)
def _sacral_hu(x: float, y: float, z: float, s: float, d: float, joint: float, g: Geometry, fine: float) -> float:
    """Cortex or marrow of the sacrum; body and ala from the evidence at S1 and S2, falling caudally."""
    ax = abs(x)
    depth = _column(g.table, s, DEPTH)
    u = min(max((s - 16.0) / 32.0, 0.0), 2.2)
    body = max(g.hu[0] + (g.hu[1] - g.hu[0]) * u, 90.0)
    ala = max(g.hu[2] + (g.hu[3] - g.hu[2]) * u, 20.0)
    lateral = _smooth((ax - 16.0) / 12.0)
    base = body + (ala - body) * lateral
    # Denser marrow under the endplate and under the joint surface, and behind the canal.
    base += 120.0 * math.exp(-max(s, 0.0) / 3.0) * (1.0 - lateral)
    base += 180.0 * _smooth((d - depth - 2.0) / 6.0)
    if ax > 30.0 and joint > -6.0 and s < 70.0:
        base += 120.0 * _smooth((6.0 + joint) / 6.0)
    for n in range(16, 20):
        ridge = (
            math.exp(-(((s - g.numbers[n]) / 1.6) ** 2)) * _smooth((20.0 - ax) / 5.0) * (1.0 if d < depth - 3 else 0.0)
        )
        base += (60.0 - base) * ridge * (g.numbers[12] if n == 16 else 0.5 * g.numbers[12])
    # Islands of fatty marrow in the alae.
    base -= 150.0 * lateral * max(texture(x, y, z, 11.0) - 0.25, 0.0)
    grain = _grain(x, y, z, fine)
    return _marrow(base, g) + grain * (45.0 + 0.35 * max(base, 0.0)) * (0.4 + 0.6 * g.numbers[7])


@njit(cache=True, error_model="numpy", _nrt=False)
def _skin_y(x: float, z: float, g: Geometry) -> float:
    """Dorsal skin over (x, z): lordosis, buttocks with the natal cleft; pressed flat on the table when supine."""
    ax = abs(x)
    spine = 96.0 + g.numbers[8] - 18.0 * _smooth((z - 5.0) / 60.0) - 12.0 * _smooth((-75.0 - z) / 60.0)
    down = _smooth((15.0 - z) / 100.0)
    y = spine + 38.0 * math.exp(-(((ax - 72.0) / 42.0) ** 2)) * down - 7.0 * math.exp(-((ax / 9.0) ** 2)) * down
    y += 6.0 * math.exp(-(((ax - 38.0) / 20.0) ** 2)) * (1.0 - down)
    if g.numbers[11] < 0.5:
        rest = 108.0 + g.numbers[8]
        y = y - 0.5 * (y - rest + math.sqrt((y - rest) ** 2 + 30.0)) if y > rest - 30.0 else y
    return y


@njit(cache=True, error_model="numpy", _nrt=False)
def skin(x: float, y: float, z: float, g: Geometry) -> float:
    """Implicit function of the body's surface."""
    if abs(x) < 112.0 and -66.0 < y < 45.0:
        return -60.0  # deep inside, whatever the fat: no need of the exact outline
    front = -125.0 if g.numbers[11] < 0.5 else -105.0
    back = _skin_y(x, z, g)
    middle = 0.5 * (front + back)
    half = 0.5 * (back - front)
    power = 2.6
    radial = (abs(x) / 192.0) ** power + (abs(y - middle) / half) ** power
    return (radial ** (1.0 / power) - 1.0) * half


@njit(cache=True, error_model="numpy", _nrt=False)
def _soft(
    x: float, y: float, z: float, s: float, d: float, near: bool, surface: float, g: Geometry
) -> tuple[int, float]:
    """Everything between bones and skin."""
    if surface > -2.0:
        return SKIN, 40.0
    fat = -102.0 + 8.0 * texture(x, y, z, 9.0)
    thick = g.numbers[8] * (1.0 + 0.15 * texture(x, y, z, 60.0))
    if surface > -thick:
        return FAT, fat
    for n in range(g.vessels.shape[0]):
        row = g.vessels[n]
        if in_tube(x, y, z, row):
            return int(row[8]), (210.0 if row[8] in (20.0, 21.0, 26.0) else 150.0) if g.numbers[15] > 0.5 else 42.0
    for n in range(g.roots.shape[0]):
        if in_tube(x, y, z, g.roots[n]):
            return NERVE, 38.0
    ax = abs(x)
    if (
        z < 90.0
        and min(
            capsule(ax, y, z, 46.0, -2.0, 90.0, 50.0, -16.0, 30.0, 18.0),
            capsule(ax, y, z, 50.0, -16.0, 30.0, 76.0, -46.0, -30.0, 15.0),
            capsule(ax, y, z, 76.0, -46.0, -30.0, 98.0, -58.0, -110.0, 14.0),
        )
        < 0.0
    ):
        return MUSCLE, 58.0 + 8.0 * texture(x, y, z, 4.0)
    if near and d < 2.0 and s > 50.0:
        rectum = math.sqrt(x * x * 0.6 + (d + 24.0) ** 2)
        if rectum < 17.0:
            return 24, -900.0 if rectum < 7.0 + 3.0 * texture(x, y, z, 16.0) and d > -26.0 else 38.0
        # The piriformis runs from the ventral S2-S4 to the sciatic notch.
        if capsule(ax, y, z, 24.0, 50.0, -62.0, 80.0, 36.0, -80.0, 11.0) < 0.0:
            return MUSCLE, 58.0 + 8.0 * texture(x, y, z, 4.0)
    if (x / 42.0) ** 2 + ((y + 62.0) / 30.0) ** 2 + ((z + 105.0) / 30.0) ** 2 < 1.0:
        return 25, 8.0
    wall, thickness = inner_wall(y, z, g)
    if ax < wall and ax > wall - 9.0 and y < 8.0 and z > -40.0:
        return MUSCLE, 56.0 + 8.0 * texture(x, y, z, 4.0)
    ventral = (near and d < 0.0) or (not near and y < 14.0 and ax < wall)
    if ventral and ax < wall + thickness:
        if texture(x, y, z, 34.0) > 0.28 and not (near and d > -14.0):
            return BOWEL, 34.0 + 14.0 * texture(x, y, z, 6.0)
        return SOFT, fat
    planes = abs(texture(x, y, z, 26.0)) < 0.035
    return (FAT, fat) if planes else (MUSCLE, 56.0 + 10.0 * texture(x, y, z, 4.0))


@njit(cache=True, error_model="numpy", _nrt=False)
def _lumen(
    x: float, y: float, z: float, s: float, d: float, canal: float, tunnel: float, g: Geometry
) -> tuple[int, float]:
    """Inside of the closed sacrum but out of bone: canal with sac and fat, root tunnels, roof openings."""
    nerve = False
    for n in range(g.roots.shape[0]):
        nerve = nerve or in_tube(x, y, z, g.roots[n])
    hu = 36.0 if nerve else -55.0 + 15.0 * texture(x, y, z, 5.0)
    end = g.numbers[1] if g.numbers[3] > 0.5 else g.numbers[0]
    if canal < 0.0 and s < end and s >= 0.0:
        deep = _column(g.table, s, CANAL_DEPTH) / 2.0
        wide = _column(g.table, s, CANAL_WIDTH)
        share = 0.78 * _smooth((g.numbers[9] - s) / 10.0)
        off = ((d - _column(g.table, s, DEPTH) - deep) / deep) ** 2 + (x / wide) ** 2
        return 10, 16.0 if off < share * share else hu
    if tunnel < 0.0:
        return 11, hu
    return MUSCLE, 40.0


@njit(cache=True, error_model="numpy", _nrt=False)
def _hip_bone(x: float, y: float, z: float, near: bool, block: float, g: Geometry, fine: float) -> tuple[int, float]:
    """Hip bone, SI joint and femur; code 0 where there is none of them."""
    scale = g.numbers[7]
    hip = hip_solid(x, y, z, g)
    carved = max(hip, g.numbers[4] - block)
    if carved < 0.0:
        label = 4 if x > 0.0 else 5
        thick = (1.2 if z > -60 else 1.8) * (0.35 + 0.65 * scale) * (1.0 + 0.35 * texture(x, y, z, 11.0))
        if carved > -thick:
            return label + CORTEX, 480.0 + 400.0 * scale
        base = g.hu[4] + (g.hu[5] - g.hu[4]) * _smooth(-z / 40.0) - 120.0 * _smooth((-carved - 4.0) / 6.0)
        return label, _marrow(base, g) + 95.0 * _grain(x, y, z, fine) * (0.4 + 0.6 * scale)
    if near and hip < -1.0 and 0.0 <= block <= g.numbers[4]:
        return 12 if x > 0.0 else 13, 20.0
    bone = femur(x, y, z)
    if bone < 0.0:
        if g.numbers[13] == 1.0 and x > 0.0:
            return 30, 3071.0
        label = 6 if x > 0.0 else 7
        return (label + CORTEX, 1100.0) if bone > -2.0 else (label, 260.0 + 60.0 * _grain(x, y, z, fine))
    return 0, 0.0


@njit(cache=True, error_model="numpy", _nrt=False)
def tissue(x: float, y: float, z: float, g: Geometry, fine: float) -> tuple[int, float]:
    """Structure code (STRUCTURES, plus CORTEX in compact bone, or a tissue) and HU at a point."""
    surface = skin(x, y, z, g)
    if surface > 0.0:
        if g.numbers[14] > 0.5:
            below = y - (112.0 + g.numbers[8]) - 0.0009 * x * x * -1.0
            if 0.0 < below < 22.0 and abs(x) < 210.0:
                return TABLE, -80.0 if below < 2.0 or below > 20.0 else -960.0
        return AIR, -1000.0
    if surface > -4.0:
        return _soft(x, y, z, 0.0, 0.0, False, surface, g)
    scale = g.numbers[7]
    near = abs(x) < 72.0 and -60.0 < y < 125.0 and -150.0 < z < 62.0
    s, d, sacrum, block = 0.0, 0.0, 50.0, 50.0
    if near:
        s, d = sacral_coordinates(y, z, g.table, g.raster)
        # Points far off by their coordinates alone need no closer look.
        if -22.0 < s < g.numbers[0] + 6.0 and -8.0 < d < 78.0:
            block = sacral_block(x, s, d, g)
            sacrum = sacral_solid(x, s, d, g)
        # Thin in front and over the alae, thicker behind and under the joint surface; uneven everywhere.
        facing = abs(x) > 30.0 and block > -4.0 and s < 72.0 and 8.0 < d < 44.0
        compact = (1.5 if facing else (0.9 if d < 30.0 else 1.25)) * (0.35 + 0.65 * scale)
        compact *= 1.0 + 0.35 * texture(x, y, z, 9.0)
        if sacrum < 0.0:
            canal, tunnel = canal_lumen(x, s, d, g), tunnel_lumen(x, y, z, s, g)
            lumen = min(canal, tunnel, roof_openings(x, s, d, g))
            if lumen < 0.0:
                return _lumen(x, y, z, s, d, canal, tunnel, g)
            bone = max(sacrum, -lumen)
            if g.numbers[13] > 1.5 and capsule(abs(x), s, d, 27.0, 12.0, 58.0, 20.0, 20.0, 12.0, 3.2) < 0.0:
                return 30, 3071.0
            if bone > -compact:
                return 1 + CORTEX, 450.0 + 350.0 * scale + 90.0 * texture(x, y, z, 7.0)
            return 1, _sacral_hu(x, y, z, s, d, block, g, fine)
        coccyx = lower_bodies(x, s, d, g) if s > g.numbers[0] else 1.0
        if coccyx < 0.0:
            return (2 + CORTEX, 560.0) if coccyx > -1.2 else (2, _marrow(120.0, g))
    for n in range(2):
        row = g.vertebrae[n]
        bone = vertebra(x, y, z, row, g.numbers[10] if n == 0 else 0.0)
        bone = max(bone, 1.6 - sacrum) if n == 0 else bone
        if bone < 0.0:
            label = int(row[7])
            if bone > -0.95 * (0.35 + 0.65 * scale):
                return label + CORTEX, 450.0 + 330.0 * scale
            return label, _marrow(190.0, g) + 90.0 * _grain(x, y, z, fine) * (0.4 + 0.6 * scale)
    if near or z > 0.0:
        code, hu = _axial_soft(x, y, z, s, d, g)
        if code:
            return code, hu
    if abs(x) > 26.0:
        code, hu = _hip_bone(x, y, z, near, block, g, fine)
        if code:
            return code, hu
    return _soft(x, y, z, s, d, near, surface, g)


@njit(cache=True, error_model="numpy", _nrt=False)
def _axial_soft(x: float, y: float, z: float, s: float, d: float, g: Geometry) -> tuple[int, float]:
    """Lumbosacral disc, L4/5 disc and the lumbar canal; code 0 where there is none of them."""
    for n in range(2):
        row = g.vertebrae[n]
        dy, dz = y - row[0], z - row[1]
        v, w = dy * row[2] + dz * row[3], dy * row[4] + dz * row[5]
        if abs(x) > 40.0:
            continue
        if -22.0 < w <= 0.5 and (x / 25.0) ** 2 + (v / 17.5) ** 2 < 1.0 and (s < 0.5 or n == 1):
            return (14 if n == 0 else SOFT), 85.0 + 10.0 * texture(x, y, z, 5.0)
        if -12.0 < w < row[6] + 6.0 and (x / 13.0) ** 2 + ((v - 26.0) / 8.5) ** 2 < 1.0:
            inner = (x / 13.0) ** 2 + ((v - 26.0) / 8.5) ** 2 < 0.62
            return SOFT, 18.0 if inner else -60.0
    if g.numbers[13] > 1.5:
        row = g.vertebrae[0]
        if (
            capsule(abs(x), y, z, 27.0, row[0] + 50.0 * row[2], row[1] + 50.0 * row[3] + 20.0, 27.0, 66.0, 30.0, 3.0)
            < 0.0
        ):
            return 30, 3071.0
    return 0, 0.0


@njit(cache=True)
def tissues_at(points: Array, g: Geometry) -> tuple[Array, Array]:
    """Codes and HU at points (n, 3) of the phantom's frame."""
    codes, hus = np.empty(len(points)), np.empty(len(points))
    for n in range(len(points)):
        codes[n], hus[n] = tissue(points[n, 0], points[n, 1], points[n, 2], g, 1.0)
    return codes, hus


@njit(cache=True)
def textures_at(points: Array, cell: float) -> Array:
    """The random field of `texture` at points (n, 3)."""
    out = np.empty(len(points))
    for n in range(len(points)):
        out[n] = texture(points[n, 0], points[n, 1], points[n, 2], cell)
    return out
