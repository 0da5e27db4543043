"""Implicit functions of the bones and lumens: negative inside, about the distance in mm near the surface.

All take points in the phantom's frame and the plain arrays of `Geometry`; nothing depends on a grid.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sacroplasty.phantom.geometry import (
    ANGLE,
    CANAL_DEPTH,
    CANAL_WIDTH,
    DEPTH,
    FALL,
    MARGIN_MM,
    RASTER_COUNT,
    RASTER_LOW,
    RASTER_STEP,
    RECESS,
    ROOF,
    STEP_MM,
    WIDTH,
    Array,
    Geometry,
    Y,
    Z,
)

LOW_Y, LOW_Z = RASTER_LOW
COUNT_Y, COUNT_Z = RASTER_COUNT
FAR = 1e3
ROUND = 5.0  # edge radius of the sacral block


@njit(cache=True, error_model="numpy", _nrt=False)
def _column(table: Array, arc: float, column: int) -> float:
    place = min(max((arc + MARGIN_MM) / STEP_MM, 0.0), table.shape[0] - 1.001)
    n = int(place)
    u = place - n
    return table[n, column] * (1.0 - u) + table[n + 1, column] * u


@njit(cache=True, error_model="numpy", _nrt=False)
def sacral_coordinates(y: float, z: float, table: Array, raster: Array) -> tuple[float, float]:
    """Arc length and depth of a point: the raster's foot point, refined by Newton steps on the curve."""
    iy = min(max(int((y - LOW_Y) / RASTER_STEP + 0.5), 0), COUNT_Y - 1)
    iz = min(max(int((z - LOW_Z) / RASTER_STEP + 0.5), 0), COUNT_Z - 1)
    s, last = raster[iy, iz], (table.shape[0] - 1) * STEP_MM - MARGIN_MM
    depth = 0.0
    for _ in range(4):
        angle = _column(table, s, ANGLE)
        dy, dz = y - _column(table, s, Y), z - _column(table, s, Z)
        ds = math.sin(angle) * dy - math.cos(angle) * dz
        depth = math.cos(angle) * dy + math.sin(angle) * dz
        # The rate of the foot point: 1 + curvature x depth, held away from the focal line far in front.
        slope = (_column(table, s + 1.0, ANGLE) - _column(table, s - 1.0, ANGLE)) / 2.0
        rate = max(1.0 - slope * depth, 0.3)
        s = min(max(s + ds / rate, -MARGIN_MM), last)
    return s, depth


@njit(cache=True, error_model="numpy", _nrt=False)
def tube(px: float, py: float, pz: float, row: Array) -> float:
    """Distance to a segment's tube: row holds a, b, radius a, radius b."""
    abx, aby, abz = row[3] - row[0], row[4] - row[1], row[5] - row[2]
    wx, wy, wz = px - row[0], py - row[1], pz - row[2]
    t = (wx * abx + wy * aby + wz * abz) / (abx * abx + aby * aby + abz * abz)
    t = min(max(t, 0.0), 1.0)
    wx, wy, wz = wx - t * abx, wy - t * aby, wz - t * abz
    return math.sqrt(wx * wx + wy * wy + wz * wz) - (row[6] + t * (row[7] - row[6]))


@njit(cache=True, error_model="numpy", _nrt=False)
def in_tube(px: float, py: float, pz: float, row: Array) -> bool:
    """Whether a point lies in a segment's tube; its bounding box is asked first, as most points miss it."""
    r = max(row[6], row[7])
    if px < min(row[0], row[3]) - r or px > max(row[0], row[3]) + r:
        return False
    if py < min(row[1], row[4]) - r or py > max(row[1], row[4]) + r:
        return False
    if pz < min(row[2], row[5]) - r or pz > max(row[2], row[5]) + r:
        return False
    return tube(px, py, pz, row) < 0.0


@njit(cache=True, error_model="numpy", _nrt=False)
def _oval_tube(px: float, py: float, pz: float, row: Array) -> float:
    """As `tube`, but longer by row[11] along the unit vector row[8:11]."""
    abx, aby, abz = row[3] - row[0], row[4] - row[1], row[5] - row[2]
    wx, wy, wz = px - row[0], py - row[1], pz - row[2]
    t = (wx * abx + wy * aby + wz * abz) / (abx * abx + aby * aby + abz * abz)
    t = min(max(t, 0.0), 1.0)
    wx, wy, wz = wx - t * abx, wy - t * aby, wz - t * abz
    along = wx * row[8] + wy * row[9] + wz * row[10]
    squared = wx * wx + wy * wy + wz * wz - along * along + (along / row[11]) ** 2
    return math.sqrt(max(squared, 0.0)) - (row[6] + t * (row[7] - row[6]))


@njit(cache=True, error_model="numpy", _nrt=False)
def capsule(
    px: float, py: float, pz: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float, radius: float
) -> float:
    """Distance to a round-ended cylinder."""
    abx, aby, abz = bx - ax, by - ay, bz - az
    wx, wy, wz = px - ax, py - ay, pz - az
    t = min(max((wx * abx + wy * aby + wz * abz) / (abx * abx + aby * aby + abz * abz), 0.0), 1.0)
    return math.sqrt((wx - t * abx) ** 2 + (wy - t * aby) ** 2 + (wz - t * abz) ** 2) - radius


@njit(cache=True, error_model="numpy", _nrt=False)
def _smooth(u: float) -> float:
    u = min(max(u, 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


@njit(cache=True, error_model="numpy", _nrt=False)
def ventral_depth(s: float, ax: float, g: Geometry) -> float:
    """Depth of the ventral surface: the alae recede behind the bodies; transverse ridges stand out."""
    width = _column(g.table, s, WIDTH)
    depth = _column(g.table, s, RECESS) * _smooth((ax - 12.0) / max(width - 12.0, 1.0))
    if ax > 18.0:
        return depth
    for n in range(16, 20):
        depth -= 0.7 * math.exp(-(((s - g.numbers[n]) / 1.8) ** 2)) * _smooth((18.0 - ax) / 6.0)
    return depth


@njit(cache=True, error_model="numpy", _nrt=False)
def dorsal_depth(s: float, ax: float, g: Geometry) -> float:
    """Depth of the dorsal surface: crest in the midline, a groove beside it, falling laterally."""
    end = g.numbers[0]
    width = _column(g.table, s, WIDTH)
    top = _column(g.table, s, DEPTH) + _column(g.table, s, CANAL_DEPTH) + _column(g.table, s, ROOF)
    fade = min(max((end - 18.0 - s) / 20.0, 0.0), 1.0)
    crest = 7.0 * math.exp(-((ax / 2.6) ** 2)) * fade * (0.7 + 0.3 * math.cos(0.22 * (s - 16.0)))
    groove = 2.5 * math.exp(-(((ax - 11.0) / 4.5) ** 2))
    intermediate = 2.0 * math.exp(-(((ax - 29.0) / 4.0) ** 2)) * fade
    return top - _column(g.table, s, FALL) * (ax / width) ** 2 + crest - groove + intermediate


@njit(cache=True, error_model="numpy", _nrt=False)
def sacral_block(x: float, s: float, d: float, g: Geometry) -> float:
    """The sacrum before canal and tunnels are taken out, without the articular processes."""
    ax = abs(x)
    side = 1.0 if x > 0 else -1.0
    taper = 0.30 * _smooth((95.0 - s) / 60.0)
    width = _column(g.table, s, WIDTH) * (1.0 + 0.5 * side * g.numbers[6]) - taper * max(d - 8.0, 0.0)
    outward = max(ax - 24.0, 0.0)
    top = g.numbers[5] * outward + 0.006 * outward * max(24.0 - d, 0.0)
    q0 = (ax - width) / math.sqrt(1.0 + taper * taper) + ROUND
    q1 = ventral_depth(s, ax, g) - d + ROUND
    q2 = d - dorsal_depth(s, ax, g) + ROUND
    q3 = (top - s) / math.sqrt(1.0 + g.numbers[5] ** 2) + ROUND
    q4 = s - g.numbers[0] + ROUND
    inner = min(max(q0, q1, q2, q3, q4), 0.0)
    # Ventral and dorsal faces cannot both be outside, nor top and bottom.
    qa, qb, qc = max(q0, 0.0), max(q1, q2, 0.0), max(q3, q4, 0.0)
    return math.sqrt(qa * qa + qb * qb + qc * qc) + inner - ROUND


@njit(cache=True, error_model="numpy", _nrt=False)
def sacral_solid(x: float, s: float, d: float, g: Geometry) -> float:
    """The closed sacrum: block and superior articular processes."""
    block = sacral_block(x, s, d, g)
    if s < 20.0 and d > 20.0:
        base = _column(g.table, 0.0, DEPTH) + 9.0
        process = capsule(abs(x), s, d, 20.0, 10.0, base, 21.0, -11.0, base + 2.0, 7.0)
        # The facet looks backwards and inwards: cut flat towards L5's process.
        facet = (d - base - 4.0) * 0.8 + (21.0 - abs(x)) * 0.6
        block = min(block, max(process, facet)) if s < 3.0 else min(block, process)
    return block


@njit(cache=True, error_model="numpy", _nrt=False)
def canal_lumen(x: float, s: float, d: float, g: Geometry) -> float:
    """The sacral canal: an ellipse across the ventral curve; closed at its end where the hiatus is absent."""
    depth, width = _column(g.table, s, CANAL_DEPTH) / 2.0, _column(g.table, s, CANAL_WIDTH)
    centre = _column(g.table, s, DEPTH) + depth
    radial = math.sqrt((x / width) ** 2 + ((d - centre) / depth) ** 2)
    value = (radial - 1.0) * min(width, depth)
    if g.numbers[3] < 0.5:
        value = max(value, s - (g.numbers[0] - 6.0))
    return value


@njit(cache=True, error_model="numpy", _nrt=False)
def roof_openings(x: float, s: float, d: float, g: Geometry) -> float:
    """Where the roof is open: the interlaminar gap above S1's lamina and, below the apex, the hiatus."""
    centre = _column(g.table, s, DEPTH) + _column(g.table, s, CANAL_DEPTH) / 2.0
    notch = max(centre - d, abs(x) - 11.0, s - 7.0)
    if g.numbers[3] < 0.5:
        return notch
    apex, half = g.numbers[1], g.numbers[2]
    # The arch widens from the apex to the cornua within 8 mm.
    opened = half * math.sqrt(min(max((s - apex) / 8.0, 0.0), 1.0))
    return min(notch, max(centre - d, abs(x) - opened, apex - s))


@njit(cache=True, error_model="numpy", _nrt=False)
def tunnel_lumen(px: float, py: float, pz: float, s: float, g: Geometry) -> float:
    """The nearest root tunnel."""
    best = FAR
    for n in range(g.tunnels.shape[0]):
        row = g.tunnels[n]
        if abs(s - row[12]) > 34.0 or px * row[3] < 0.0:
            continue
        # Beyond this box the tube is farther off than any compact layer is thick.
        reach = max(row[6], row[7]) * max(row[11], 1.0) + 3.0
        if px < min(row[0], row[3]) - reach or px > max(row[0], row[3]) + reach:
            continue
        if pz < min(row[2], row[5]) - reach or pz > max(row[2], row[5]) + reach:
            continue
        best = min(best, _oval_tube(px, py, pz, row))
    return best


@njit(cache=True, error_model="numpy", _nrt=False)
def lower_bodies(x: float, s: float, d: float, g: Geometry) -> float:
    """The coccyx: four dwindling segments along the prolonged curve."""
    best = FAR
    start = g.numbers[0] + 1.5
    for n in range(4):
        height, half, deep = 11.0 - 1.5 * n, 9.0 - 1.8 * n, 4.2 - 0.5 * n
        middle = start + height / 2
        radial = math.sqrt((x / half) ** 2 + ((d - 4.0) / deep) ** 2 + ((s - middle) / (height / 2)) ** 2)
        best = min(best, (radial - 1.0) * deep)
        start += height + 1.2
    return best


@njit(cache=True, error_model="numpy", _nrt=False)
def vertebra(x: float, y: float, z: float, row: Array, broad_left: float) -> float:
    """A lumbar vertebra: waisted body, pedicles, laminae, spinous, transverse and articular processes."""
    dy, dz = y - row[0], z - row[1]
    v, w, height = dy * row[2] + dz * row[3], dy * row[4] + dz * row[5], row[6]
    if abs(x) > 62.0 or v < -40.0 or v > 85.0 or w < -40.0 or w > height + 25.0:
        return 20.0
    ax = abs(x)
    waist = 2.5 * math.sin(math.pi * min(max(w / height, 0.0), 1.0))
    radial = math.sqrt((x / (25.0 - waist)) ** 2 + (v / (17.0 - waist)) ** 2)
    side, end = (radial - 1.0) * (17.0 - waist) + 2.0, max(-w, w - height) + 2.0
    best = math.sqrt(max(side, 0.0) ** 2 + max(end, 0.0) ** 2) + min(max(side, end), 0.0) - 2.0
    best = min(best, capsule(ax, v, w, 17.0, 10.0, height * 0.68, 19.0, 31.0, height * 0.62, 5.5))
    best = min(best, capsule(ax, v, w, 19.0, 33.0, height * 0.5, 3.0, 43.0, height * 0.25, 4.0))
    best = min(best, capsule(ax, v, w, 0.0, 43.0, height * 0.3, 0.0, 64.0, height * 0.05, 3.6))
    best = min(best, capsule(ax, v, w, 20.0, 26.0, height * 0.65, 44.0, 27.0, height * 0.75, 4.2))
    best = min(best, capsule(ax, v, w, 19.0, 33.0, height * 0.5, 14.0, 36.0, -12.0, 5.5))
    best = min(best, capsule(ax, v, w, 19.0, 31.0, height * 0.6, 20.0, 31.0, height + 9.0, 5.0))
    if broad_left > 0.5 and x > 0.0:
        best = min(best, capsule(x, v, w, 20.0, 18.0, height * 0.5, 44.0, 20.0, -height * 0.45, 11.0))
    return best


@njit(cache=True, error_model="numpy", _nrt=False)
def _outline(y: float, z: float, corners: Array) -> float:
    """Signed distance to a polygon."""
    count = corners.shape[0]
    best, inside = 1e9, False
    j = count - 1
    for i in range(count):
        ey, ez = corners[j, 0] - corners[i, 0], corners[j, 1] - corners[i, 1]
        wy, wz = y - corners[i, 0], z - corners[i, 1]
        t = min(max((wy * ey + wz * ez) / (ey * ey + ez * ez), 0.0), 1.0)
        best = min(best, (wy - t * ey) ** 2 + (wz - t * ez) ** 2)
        if (corners[i, 1] > z) != (corners[j, 1] > z) and y < ey * wz / ez + corners[i, 0]:
            inside = not inside
        j = i
    return -math.sqrt(best) if inside else math.sqrt(best)


@njit(cache=True, error_model="numpy", _nrt=False)
def inner_wall(y: float, z: float, g: Geometry) -> tuple[float, float]:
    """|x| of the hip bone's inner surface over (y, z), and its thickness along x."""
    last = g.inner.shape[0] - 2
    n = 0
    while n < last and g.inner[n + 1, 0] < y:
        n += 1
    u = min(max((y - g.inner[n, 0]) / (g.inner[n + 1, 0] - g.inner[n, 0]), 0.0), 1.0)
    x = g.inner[n, 1] * (1 - u) + g.inner[n + 1, 1] * u
    thick = g.inner[n, 2] * (1 - u) + g.inner[n + 1, 2] * u
    front = _smooth((38.0 - y) / 45.0)
    x += (0.42 * front + 0.05) * max(z + 12.0, 0.0)
    thick += (
        8.0 * _smooth((-20.0 - z) / 25.0) - 3.0 * front * _smooth((z - 5.0) / 20.0) + 6.0 * _smooth((z - 34.0) / 14.0)
    )
    return x, thick


@njit(cache=True, error_model="numpy", _nrt=False)
def hip_solid(x: float, y: float, z: float, g: Geometry) -> float:
    """The hip bone of one side before the sacroiliac joint is carved: blade, acetabulum, ischium and pubis."""
    ax = abs(x)
    wall, thick = inner_wall(y, z, g)
    # The wall leans by about 45 degrees, so a step along x is longer than the true distance.
    slab = max((wall - ax), (ax - wall - thick)) * 0.78 + 3.0
    rim = _outline(y, z, g.blade) + 3.0 if slab < 6.0 else slab
    best = math.sqrt(max(slab, 0.0) ** 2 + max(rim, 0.0) ** 2) + min(max(slab, rim), 0.0) - 3.0
    if z < -55.0:
        centre = math.sqrt((ax - 90.0) ** 2 + (y + 13.0) ** 2 + (z + 96.0) ** 2)
        cup = max(centre - 33.0, (ax - 98.0) * 0.8 - (z + 96.0) * 0.6)
        best = min(best, cup)
        best = min(best, capsule(ax, y, z, 78.0, 0.0, -115.0, 62.0, 15.0, -165.0, 13.0))
        best = min(best, capsule(ax, y, z, 75.0, -38.0, -108.0, 14.0, -68.0, -140.0, 9.0))
        best = max(best, 27.0 - centre)
    return best


@njit(cache=True, error_model="numpy", _nrt=False)
def femur(x: float, y: float, z: float) -> float:
    """Head, neck and shaft of the femur of one side."""
    ax = abs(x)
    if z > -65.0 or ax < 60.0:
        return 20.0
    head = math.sqrt((ax - 90.0) ** 2 + (y + 13.0) ** 2 + (z + 96.0) ** 2) - 24.0
    neck = capsule(ax, y, z, 90.0, -13.0, -96.0, 132.0, -6.0, -122.0, 14.0)
    return min(head, neck, capsule(ax, y, z, 132.0, -6.0, -115.0, 136.0, -4.0, -260.0, 15.0))


@njit(cache=True)
def solids_at(points: Array, g: Geometry) -> Array:
    """Columns s, d, closed sacrum, all lumens, block at points (n, 3) of the phantom's frame: for truth and tests."""
    out = np.empty((points.shape[0], 5))
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        s, d = sacral_coordinates(y, z, g.table, g.raster)
        out[n, 0], out[n, 1], out[n, 2] = s, d, sacral_solid(x, s, d, g)
        out[n, 3] = min(canal_lumen(x, s, d, g), roof_openings(x, s, d, g), tunnel_lumen(x, y, z, s, g))
        out[n, 4] = sacral_block(x, s, d, g)
    return out
