"""The sacral canal: its path found slice by slice along the ventral curve, its roof, and its lumen."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from sacroplasty.anatomy.lumen import enclosure
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.signed_distance import BoolArray, FloatArray
from sacroplasty.errors import AnatomyError
from sacroplasty.evidence import value
from sacroplasty.space import Points

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Straightened slices across the ventral curve: 1 mm apart, pixels of 0.8 mm, wide enough for the enclosing rays.
PIXEL_MM = 0.8
HALF_WIDTH_MM, VENTRAL_MM, DORSAL_MM = 36.0, -8.0, 64.0
ABOVE_MM, BEYOND_MM = -6, 12
RAY_MM = 25.0
# The path may stray this far from the midline, and moves at most one pixel sideways and two in depth per slice.
STRAY_MM = 9.0
LATERAL_STEPS, DEPTH_STEPS, STEP_PRICE = (-1, 0, 1), (-2, -1, 0, 1, 2), 0.04
# Weight of a dark voxel inside the mask (a lumen that the mask filled) against a free one.
FILLED_WEIGHT = 0.6
# Below this score a slice holds no canal.
LEAST_SCORE = 0.08
# Deeper than this below the mask's surface a dark voxel is no filled lumen.
FILLED_DEPTH_MM = 7.0
# A filled canal is opened this far around its path where it is dark, and this far even where it is not.
FILLED_REACH_MM, NARROWEST_MM = 6.0, 2.0
# A roof is looked for this far behind the path, across this half strip.
ROOF_REACH_MM = 14.0
ROOF_STRIP_MM = 2.4
# How much the missing roof recedes per mm above the first closed slice.
ROOF_LEAN = 0.15
# Under the open roof of L5/S1 the canal's side walls are not its own. Below, the narrowest share of a stretch (of so
# many mm or more) between two levels is the canal between its pedicles.
PEDICLE_FROM_MM = 6.0
NARROWEST_SHARE = 0.15
LEAST_STRETCH = 3
# A column from floor to roof longer than this has run out of an opening.
OPEN_COLUMN_MM = 22.0


@dataclass(frozen=True, eq=False)
class Straightened:
    """Slices (n, x, d) across the ventral curve: arc length of each, HU, signed distance and free space."""

    arc_mm: Array
    lateral_mm: Array
    depth_mm: Array
    hu: FloatArray
    signed_mm: FloatArray
    free: BoolArray


@dataclass(frozen=True, eq=False)
class CanalPath:
    """Path of the canal: per slice arc length, lateral position, depth (n,), score 0..1, roof share 0..1, and floor and
    roof depths (NaN where the column is open); `points_mm` (n, 3) in LPS mm.
    """

    arc_mm: Array
    lateral_mm: Array
    depth_mm: Array
    score: Array
    roof: Array
    floor_mm: Array
    ceiling_mm: Array
    points_mm: Points

    @property
    def closed(self) -> BoolArray:
        """Slices where the roof is closed across most of the midline strip."""
        return np.asarray(ndimage.median_filter((self.roof > 0.5).astype(np.uint8), 5) > 0)

    @property
    def last_closed(self) -> int:
        """Index of the most caudal slice with a canal under a roof."""
        good = np.flatnonzero(self.score > LEAST_SCORE)
        end = int(good[-1]) if len(good) else len(self.arc_mm) - 1
        under_roof = np.flatnonzero(self.closed[: end + 1])
        return int(under_roof[-1]) if len(under_roof) else end


def straightened(field: SacrumField) -> Straightened:
    """The field resampled in slices across the ventral curve; dark voxels near the mask's surface count as free."""
    arc = np.arange(ABOVE_MM, field.length_mm + BEYOND_MM, 1.0)
    lateral = np.arange(-HALF_WIDTH_MM, HALF_WIDTH_MM + 0.01, PIXEL_MM)
    depth = np.arange(VENTRAL_MM, DORSAL_MM, PIXEL_MM)
    points = field.frame.points(np.stack(np.meshgrid(arc, lateral, depth, indexing="ij"), axis=-1))
    signed = field.sampled(field.signed_mm, points, -12.0)
    hu = field.sampled(field.hu, points, 0.0)
    dark = ndimage.gaussian_filter(hu, 0.7) < value("anatomy.lumen_hu")
    free = (signed < 0) | (dark & (signed < FILLED_DEPTH_MM))
    return Straightened(arc, lateral, depth, hu, signed, free)


def find_path(field: SacrumField, slices: Straightened) -> CanalPath:
    """The best chain of enclosed, roomy, midline places with a body in front of them, from the endplate caudally.

    AnatomyError where no slice holds a canal.
    """
    centre = np.flatnonzero(np.abs(slices.lateral_mm) <= STRAY_MM)
    columns = slice(int(centre[0]), int(centre[-1]) + 1)
    score = _scores(slices, columns)
    start = int(np.argmin(np.abs(slices.arc_mm - 2)))
    chain = _best_chain(score[:, columns], start)
    n, x, d = chain[:, 0], chain[:, 1] + columns.start, chain[:, 2]
    if not (score[n, x, d] > LEAST_SCORE).any():
        raise AnatomyError(
            "No sacral canal is found", remedy="Check the sacrum's mask and that the scan shows bone and not a biopsy"
        )
    floor, ceiling = _columns(slices, n, x, d)
    roof = _roof(slices, n, x, d)
    depth = slices.depth_mm[d]
    above = _behind_body(slices, n, depth, roof, ceiling - floor)
    if above is not None:
        rows = slice(0, len(above[0]))
        floor[rows], ceiling[rows] = above
        depth[rows] = 0.5 * (above[0] + above[1])
    coordinates = np.stack([slices.arc_mm[n], slices.lateral_mm[x], depth], axis=-1)
    coordinates = ndimage.gaussian_filter1d(coordinates, 1.0, axis=0, mode="nearest")
    return CanalPath(
        arc_mm=slices.arc_mm[n],
        lateral_mm=coordinates[:, 1],
        depth_mm=coordinates[:, 2],
        score=score[n, x, d].astype(np.float64),
        roof=roof,
        floor_mm=floor,
        ceiling_mm=ceiling,
        points_mm=field.frame.points(coordinates),
    )


def _behind_body(
    slices: Straightened, n: IntArray, depth: Array, roof: Array, height: Array
) -> tuple[Array, Array] | None:
    """Floor and ceiling of the slices above the first closed roof: the body's back wall, and a canal's depth behind.
    Under the open roof of L5/S1 nothing else holds the path. None where the wall is not seen.
    """
    closed = np.flatnonzero((ndimage.median_filter(roof, 5) > 0.5) & ~np.isnan(height) & (slices.arc_mm[n] > 8))
    if not len(closed):
        return None
    room = float(np.median(height[closed[:10]]))
    middle = np.abs(slices.lateral_mm) < 3
    walls = np.full(len(n), np.nan)
    for row in range(closed[0]):
        solid = (slices.signed_mm[n[row]][middle] > 0).mean(axis=0) > 0.5
        if solid.any():
            first = int(solid.argmax())
            gone = np.flatnonzero(~solid[first:])
            walls[row] = slices.depth_mm[first + gone[0]] if len(gone) else np.nan
    known = np.flatnonzero(~np.isnan(walls))
    if len(known) < 3:
        return None
    floor = np.interp(np.arange(closed[0]), known, ndimage.median_filter(walls[known], 9))
    # A wall in front of the first closed slice's canal is a gap in the body's mask and not its back.
    floor = np.clip(floor, depth[closed[0]] - 0.5 * room - 6, None)
    # Cranially the roof leans dorsally: the lamina of L5 lies behind that of S1.
    return floor, floor + room + ROOF_LEAN * np.arange(closed[0], 0, -1)


def _scores(slices: Straightened, columns: slice) -> FloatArray:
    """How canal-like each place is: enclosed by bone, far from walls, near the midline, behind a body's wall."""
    around, ventral = enclosure(slices.free, columns, PIXEL_MM, RAY_MM)
    room = np.stack([ndimage.distance_transform_edt(one) for one in slices.free]) * PIXEL_MM
    body_mm = np.cumsum(slices.signed_mm > 0, axis=2) * PIXEL_MM
    score = around**2 * np.clip(room, 0, 6) / 6 * (ventral > 0.6) * np.clip((body_mm - 2) / 3, 0, 1)
    score *= np.exp(-((slices.lateral_mm[None, :, None] / 7) ** 2))
    return np.asarray(score * np.where(slices.signed_mm > 0, FILLED_WEIGHT, 1.0), dtype=np.float32)


def _best_chain(score: FloatArray, start: int) -> npt.NDArray[np.int64]:
    """Indices (n, 3) of the chain with the largest total score from slice `start` on (dynamic programming)."""
    total = score[start].astype(np.float64)
    moves = np.zeros((*score.shape, 2), dtype=np.int8)
    totals = [total]
    for n in range(start + 1, len(score)):
        best = np.full(total.shape, -np.inf)
        for dx in LATERAL_STEPS:
            for dd in DEPTH_STEPS:
                shifted = _shifted(total, dx, dd) - STEP_PRICE * (abs(dx) + abs(dd))
                better = shifted > best
                best[better] = shifted[better]
                moves[n][better] = (dx, dd)
        total = best + score[n]
        totals.append(total)
    end = int(np.argmax([one.max() for one in totals]))
    last = np.unravel_index(int(totals[end].argmax()), total.shape)
    chain = [(start + end, int(last[0]), int(last[1]))]
    while chain[-1][0] > start:
        n, x, d = chain[-1]
        chain.append((n - 1, x - int(moves[n, x, d, 0]), d - int(moves[n, x, d, 1])))
    return np.array(chain[::-1])


def _shifted(array: Array, rows: int, columns: int) -> Array:
    """The array moved by whole rows and columns, -inf where nothing moved in."""
    moved = np.full_like(array, -np.inf)
    height, width = array.shape
    moved[max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)] = array[
        max(0, -rows) : height + min(0, -rows), max(0, -columns) : width + min(0, -columns)
    ]
    return moved


def _roof(slices: Straightened, n: IntArray, x: IntArray, d: IntArray) -> Array:
    """Per slice, share of the midline strip with bone (mask or bright HU) behind the path."""
    reach, strip = int(ROOF_REACH_MM / PIXEL_MM), int(ROOF_STRIP_MM / PIXEL_MM)
    bone = (slices.signed_mm > 0) | (slices.hu > value("anatomy.roof_hu"))
    last = bone.shape[1] - 1
    return np.array([
        np.mean([bone[i, min(max(j + o, 0), last), k : k + reach].any() for o in range(-strip, strip + 1)])
        for i, j, k in zip(n, x, d, strict=True)
    ])  # fmt: skip


def _columns(slices: Straightened, n: IntArray, x: IntArray, d: IntArray) -> tuple[Array, Array]:
    """Floor and roof depth of the free column through each place of the path, NaN where it runs out of an opening."""
    floor, ceiling = np.full(len(n), np.nan), np.full(len(n), np.nan)
    for row, (i, j, k) in enumerate(zip(n, x, d, strict=True)):
        column = slices.free[i, j]
        blocked = np.flatnonzero(~column)
        below, above = blocked[blocked < k], blocked[blocked > k]
        if len(below) and len(above) and (above[0] - below[-1]) * PIXEL_MM < OPEN_COLUMN_MM:
            floor[row] = slices.depth_mm[below[-1]] + PIXEL_MM / 2
            ceiling[row] = slices.depth_mm[above[0]] - PIXEL_MM / 2
    return floor, ceiling


def opened_bone(field: SacrumField, path: CanalPath) -> BoolArray:
    """The sacrum's mask with dark voxels near the canal's path taken out, where the mask had filled the canal, however
    deep; next to the path the bright ones go too, so that no nerve or thick slice breaks the canal off.
    """
    line = path.points_mm[: path.last_closed + 1]
    filled = line[field.sampled(field.signed_mm, line, -1.0) > 0]
    if not len(filled):
        return field.bone
    near = np.argwhere(field.bone & (np.abs(field.x_mm) < 14))
    places = field.grid.patient_from_voxel.points(near)
    distance, _ = cKDTree(filled).query(places, distance_upper_bound=FILLED_REACH_MM)
    dark = ndimage.gaussian_filter(field.hu, 0.7) < value("anatomy.lumen_hu")
    gone = near[(distance < NARROWEST_MM) | (np.isfinite(distance) & dark[tuple(near.T)])]
    opened = field.bone.copy()
    opened[tuple(gone.T)] = False
    return opened


def canal_lumen(
    field: SacrumField,
    path: CanalPath,
    lumen: BoolArray,
    outside: BoolArray,
    level_arcs_mm: list[float],
    apex_arc_mm: float,
) -> BoolArray:
    """The canal proper: the lumen system down to the apex of the hiatus, limited laterally by the half widths between
    the tunnels; where the roof is open (L5/S1), the roof's depth is carried on from the nearest closed slices.
    """
    inside = lumen & (field.s_mm > 0) & (field.s_mm <= apex_arc_mm)
    anchors, widths = _half_widths(field, path, inside, level_arcs_mm, apex_arc_mm)
    if len(anchors) < 2:
        return inside
    inside = inside | _under_missing_roof(field, path, outside)
    limit = np.interp(field.s_mm, anchors, widths + field.spacing_mm / 2)
    middle = np.interp(field.s_mm, path.arc_mm, path.lateral_mm)
    lateral = np.abs(field.x_mm - middle) <= limit
    return with_middle(inside & lateral, outside & lateral, field.bone)


def with_middle(canal: BoolArray, free: BoolArray, bone: BoolArray) -> BoolArray:
    """The canal and what is free beside it and walled in by it and bone in a transverse slice: the middle of a wide
    canal sees out through its open end where its rim does not.
    """
    result = canal.copy()
    for k in np.flatnonzero(canal.any(axis=(0, 1))):
        own = canal[:, :, k]
        walled = ndimage.binary_fill_holes(own | bone[:, :, k]) & free[:, :, k]
        result[:, :, k] = ndimage.binary_propagation(own, mask=own | walled)
    return result


def _half_widths(
    field: SacrumField, path: CanalPath, inside: BoolArray, level_arcs_mm: list[float], apex_arc_mm: float
) -> tuple[Array, Array]:
    """Arc lengths at the pedicles, where the canal's walls are its own, and its half width there, mm: between two
    levels of foramina the narrowest stretch, above the first and below the last one as well.
    """
    count = int(apex_arc_mm) + 1
    reach = np.zeros((2, count))
    off = field.x_mm[inside] - np.interp(field.s_mm[inside], path.arc_mm, path.lateral_mm)
    row = np.clip(field.s_mm[inside].astype(int), 0, count - 1)
    for side, sign in enumerate((-1.0, 1.0)):
        np.maximum.at(reach[side], row, sign * off)
    profile = ndimage.median_filter(reach.mean(axis=0), 3)
    borders = [PEDICLE_FROM_MM, *(arc for arc in level_arcs_mm if PEDICLE_FROM_MM < arc < apex_arc_mm), apex_arc_mm]
    anchors, widths = [], []
    for low, high in itertools.pairwise(borders):
        stretch = np.arange(int(np.ceil(low)), min(int(high) + 1, count))
        stretch = stretch[profile[stretch] > 0]
        if len(stretch) < LEAST_STRETCH:
            continue
        width = float(np.quantile(profile[stretch], NARROWEST_SHARE))
        anchors.append(float(np.median(stretch[profile[stretch] <= width])))
        widths.append(min(width, value("assumptions.canal_half_width_high")))
    # The canal tapers caudally: a stretch that seems wider than the one above it holds the mouths of tunnels.
    return np.array(anchors), np.minimum.accumulate(np.array(widths))


def _under_missing_roof(field: SacrumField, path: CanalPath, outside: BoolArray) -> BoolArray:
    """Free voxels of the canal under the open roof of L5/S1: in front of the prolonged roof of the closed slices."""
    known = ~np.isnan(path.ceiling_mm)
    closed = np.flatnonzero(path.closed & known & (path.arc_mm > 8))
    if len(closed) < 3:
        return np.zeros_like(outside)
    roof = np.interp(field.s_mm, path.arc_mm[known], path.ceiling_mm[known])
    floor = np.interp(field.s_mm, path.arc_mm[known], path.floor_mm[known]) - 1.0
    cranial = (field.s_mm > 0) & (field.s_mm < path.arc_mm[closed[0]] + 3)
    return np.asarray(outside & cranial & (field.d_mm < roof) & (field.d_mm > floor))
