"""Fracture planes: thin dark sheets through the marrow, alar or transverse (R77).

A sheet is where density falls across one direction alone: the Hessian's largest eigenvalue stands out. Marked voxels
are gathered into planes by their own normals, and a plane counts where it is large and mostly filled. What is dark and
flat by nature (remnants of the sacral discs) is told apart by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.lesion.density import MAD_TO_SD, expected_hu
from sacroplasty.lesion.lesion import Fracture, FractureKind
from sacroplasty.lesion.region import CORTEX_MM, Bools, Region, box_of, region_of
from sacroplasty.plan import DenisZone, Side, as_point
from sacroplasty.space import Points, Volume

# Sheets are sought at this scale: wider than trabecular texture, narrower than a tumour.
SIGMA_MM = 1.0
# Dense strokes and cortex weigh no more than this, HU from expected marrow.
CAP_HU = 250.0
# A voxel belongs to a plane within this distance and angle.
NEAR_MM, COSINE = 1.6, 0.8
# Planes are tried through this many of the strongest voxels, and refitted this often.
SEEDS, REFITS = 150, 3
# How far beside a plane its sides are looked at.
SIDE_MM = 3.0
# The plane's area is counted in cells of this size; holes up to a cell are bridged.
CELL_MM = 1.5
# Orders of derivation along i, j, k of the six entries of the Hessian.
HESSIAN = ((2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2))
FULL = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


def find_fractures(ct: Volume, anatomy: Anatomy) -> tuple[Fracture, ...]:
    """Fracture planes of the sacrum, largest first. Proposals by density alone: confirm on the images.

    Raises AnatomyError where there is no sacrum. Thick slices hide planes that lie along them.
    """
    region = region_of(ct, anatomy)
    none = np.zeros(region.grid.shape, np.bool_)
    return fractures_in(region, none, expected_hu(region, none)[0])


def fractures_in(region: Region, lesion: Bools, expected: npt.NDArray[np.float32]) -> tuple[Fracture, ...]:
    """Fracture planes outside all lesions (i, j, k on the region's grid), largest first; `expected` HU of marrow."""
    marrow = (region.depth_mm > CORTEX_MM) & (region.hu > -1000) & ~lesion
    if not marrow.any():
        return ()
    strength, hessian = sheetness(region, marrow, expected)
    middle, spread = _robust(strength)
    marked = np.flatnonzero(strength > middle + value("assumptions.fracture_sheet_sd") * spread)
    order = marked[np.argsort(-strength[marked], kind="stable")]
    index, lines = np.argwhere(marrow)[order], np.linalg.eigh(hessian[order][:, FULL])[1][:, :, 2]
    found = []
    while len(index) >= value("assumptions.fracture_area") / region.spacing_mm**2:
        inside, normal = _best_plane(np.asarray(index * region.spacing_mm, dtype=np.float64), lines)
        fracture = _described(region, index[inside], normal)
        if fracture is None:
            break
        found.append(fracture)
        away = np.abs((index - index[inside].mean(axis=0)) @ normal) * region.spacing_mm > 2 * NEAR_MM
        index, lines = index[away], lines[away]
    return tuple(sorted((f for f in found if not _is_disc(region, f)), key=lambda f: -f.area_mm2))


def nearest_first(fractures: Sequence[Fracture], lesion_mm: Points) -> tuple[Fracture, ...]:
    """The fractures with their distance to a lesion (positions of its voxels), nearest first."""
    if not fractures:
        return ()
    tree = cKDTree(lesion_mm)
    gaps = [float(tree.query(fracture.points_mm)[0].min()) for fracture in fractures]
    known = [replace(f, lesion_gap_mm=gap) for f, gap in zip(fractures, gaps, strict=True)]
    return tuple(sorted(known, key=lambda f: (f.lesion_gap_mm, -f.area_mm2)))


def sheetness(
    region: Region, marrow: Bools, expected: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fall of density across one direction alone, HU (n), of marrow voxels, and their Hessian (n, 6: HESSIAN)."""
    box = box_of(marrow, region.spacing_mm, 0.0)
    inside = marrow[box]
    relief = np.where(inside, np.clip(region.hu[box] - expected[box], -CAP_HU, CAP_HU), np.float32(0))
    sigma = SIGMA_MM / region.spacing_mm
    hessian = np.empty((np.count_nonzero(inside), 6))
    # The derivatives share their passes: first along i, then j, then k.
    for i in (2, 1, 0):
        along_i = _derived(relief, sigma, 0, i)
        for j in range(3 - i):
            along_ij = _derived(along_i, sigma, 1, j)
            full = _derived(along_ij, sigma, 2, 2 - i - j)[inside]
            hessian[:, HESSIAN.index((i, j, 2 - i - j))] = full * sigma**2
    return _excess(hessian), hessian


def _derived(values: npt.NDArray[np.float32], sigma: float, axis: int, order: int) -> npt.NDArray[np.float32]:
    # Nothing lies beyond the box: marrow ends within it.
    return np.asarray(ndimage.gaussian_filter1d(values, sigma, axis, order, mode="constant"))


def _excess(hessian: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """By how much the largest eigenvalue of symmetric matrices (n, 6: HESSIAN) exceeds the size of the others."""
    xx, xy, xz, yy, yz, zz = hessian.T
    middle = (xx + yy + zz) / 3
    a, b, c = xx - middle, yy - middle, zz - middle
    spread = np.sqrt((a * a + b * b + c * c + 2 * (xy * xy + xz * xz + yz * yz)) / 6)
    determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(np.clip(determinant / np.maximum(2 * spread**3, 1e-30), -1, 1)) / 3
    most = middle + 2 * spread * np.cos(angle)
    least = middle + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    return np.asarray(most - np.maximum(np.abs(least), np.abs(3 * middle - most - least)))


def _robust(sample: npt.NDArray[np.float64]) -> tuple[float, float]:
    middle = float(np.median(sample))
    return middle, MAD_TO_SD * float(np.median(np.abs(sample - middle)))


def _best_plane(points: Points, lines: Points) -> tuple[Bools, Points]:
    """The marked voxels (n, 3, in mm) of the plane that gathers most of them, and its normal."""
    best, normal = np.zeros(len(points), np.bool_), np.zeros(3)
    for seed in range(min(SEEDS, len(points))):
        centre, direction = points[seed], lines[seed]
        inside = np.zeros(len(points), np.bool_)
        for _ in range(REFITS):
            inside = (np.abs((points - centre) @ direction) < NEAR_MM) & (np.abs(lines @ direction) > COSINE)
            if inside.sum() < 3:
                break
            centre = points[inside].mean(axis=0)
            offset = points[inside] - centre
            direction = np.linalg.eigh(offset.T @ offset)[1][:, 0]
        if inside.sum() > best.sum():
            best, normal = inside, direction
    return best, normal


def _described(region: Region, index: npt.NDArray[np.int64], normal: Points) -> Fracture | None:
    """The fracture of a plane's voxels; None where it is too small or mostly gaps."""
    if len(index) < 3:
        return None
    index, area, filled = _patches(index, normal, region.spacing_mm)
    if not len(index) or filled < value("assumptions.fracture_filled"):
        return None
    if _contrast_hu(region, index, normal) < value("assumptions.fracture_contrast"):
        return None
    place = tuple(index.T)
    points = region.grid.patient_from_voxel.points(index)
    world = region.grid.patient_from_voxel.vectors(normal)
    world = world / np.linalg.norm(world)
    zones = region.zone[place]
    levels = [
        level.level for n, level in enumerate(region.anatomy.levels) if (region.level_index[place] == n).mean() > 0.1
    ]
    return Fracture(
        _kind(region, points, world), _side(region, points), as_point(points.mean(axis=0)), as_point(world), area,
        filled, DenisZone(int(np.bincount(zones[zones > 0]).argmax())), tuple(levels), points,
    )  # fmt: skip


def _side(region: Region, points: Points) -> Side | None:
    left = float((region.anatomy.frame.coordinates(points)[:, 1] > 0).mean())
    return Side.LEFT if left > 0.9 else Side.RIGHT if left < 0.1 else None


def _contrast_hu(region: Region, index: npt.NDArray[np.int64], normal: Points) -> float:
    """By how much both sides of a plane are denser than it; a step between two kinds of marrow has one such side."""
    hu = region.smooth_hu
    step = SIDE_MM / region.spacing_mm * normal
    at, *sides = (
        float(np.median(ndimage.map_coordinates(hu, (index + shift).T, order=1, mode="nearest")))
        for shift in (0 * step, step, -step)
    )
    return min(sides) - at


def _patches(
    index: npt.NDArray[np.int64], normal: Points, spacing_mm: float
) -> tuple[npt.NDArray[np.int64], float, float]:
    """A plane's voxels in connected patches, one of them large: they, their area in mm², the dark share of the outline.

    Lumens part a fracture: with one large patch, others of a quarter of the size count too.
    """
    across = np.linalg.svd(normal[None])[2][1:]
    cells = np.floor((index - index.min(axis=0)) @ across.T * spacing_mm / CELL_MM).astype(int)
    cells -= cells.min(axis=0)
    raster = np.zeros(cells.max(axis=0) + 1, np.bool_)
    raster[tuple(cells.T)] = True
    parts, count = ndimage.label(ndimage.binary_dilation(raster), np.ones((3, 3)))
    areas = np.bincount(parts[raster], minlength=count + 1) * CELL_MM**2
    least = value("assumptions.fracture_area")
    kept = areas >= (least / 4 if areas.max() >= least else np.inf)
    dark = raster & kept[parts]
    outline = ndimage.binary_closing(np.pad(dark, 6), iterations=5)
    own = kept[parts[tuple(cells.T)]]
    return index[own], float(dark.sum()) * CELL_MM**2, float(dark.sum() / max(outline.sum(), 1))


def _kind(region: Region, points: Points, normal: Points) -> FractureKind:
    """Alar: the normal points sideways; transverse: along the sacrum; else oblique."""
    frame = region.anatomy.frame
    arc = float(np.median(frame.coordinates(points)[:, 0]))
    limit = np.cos(np.radians(value("assumptions.fracture_angle")))
    if abs(float(normal @ np.asarray(frame.left))) > limit:
        return FractureKind.ALAR
    return FractureKind.TRANSVERSE if abs(float(normal @ frame.tangent_at(arc))) > limit else FractureKind.OBLIQUE


def _is_disc(region: Region, fracture: Fracture) -> bool:
    """A transverse dark plane in the bodies at the border of two levels is what is left of a disc."""
    if fracture.kind is FractureKind.ALAR or fracture.zone is not DenisZone.CENTRAL:
        return False
    arc = float(region.anatomy.frame.coordinates(fracture.centre_mm)[0])
    borders = [a for level in region.anatomy.levels for a in (level.upper_arc_mm, level.lower_arc_mm)]
    return bool(np.abs(np.asarray(borders) - arc).min() < value("assumptions.fracture_disc"))
