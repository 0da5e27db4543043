"""The sacrum's surroundings on a fine isotropic grid: HU, signed distance, closed hull and sacral coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.sacral_frame import find_frame
from sacroplasty.anatomy.signed_distance import BoolArray, FloatArray, closed, signed_distance, signed_volume
from sacroplasty.anatomy.structures import SacralFrame
from sacroplasty.errors import AnatomyError
from sacroplasty.evidence import value
from sacroplasty.space import Grid, Mask, Points, Volume, linear

# Grid on which lumens are looked for: half the bore of the thinnest tunnel needs two voxels.
SPACING_MM = 0.8
MARGIN_MM = 10.0
# Ball that closes canal, foramina and the groove beside the crest, but not the pelvis.
HULL_BALL_MM = 12.0
# Value given to voxels without data; every CT value is above it.
NO_DATA_HU = -2000.0
# What a scanner or a reformat writes where it has no data.
PADDING_HU = -1020.0
# How far the CT may move the mask's surface, and the blur (standard deviation) that keeps noise out of it.
SHARPENED_MM, SHARPENED_BLUR_MM = 1.5, 0.5
# Marrow is averaged over this standard deviation, about the radius of a foramen; a smaller share of it tells nothing.
MARROW_NEAR_MM, LEAST_MARROW = 4.0, 0.01
# A mask with less than this is no sacrum.
SMALLEST_ML = 15.0


@dataclass(frozen=True, eq=False)
class SacrumField:
    """Arrays (i, j, k) on one isotropic grid around the sacrum; `signed_mm` is positive inside the sacrum's mask.

    `s_mm`, `x_mm`, `d_mm` are the sacral coordinates of every voxel; `seen` is False where the scan has no data.
    """

    grid: Grid
    hu: FloatArray
    signed_mm: FloatArray
    hull: BoolArray
    seen: BoolArray
    frame: SacralFrame
    s_mm: FloatArray
    x_mm: FloatArray
    d_mm: FloatArray

    @property
    def spacing_mm(self) -> float:
        """Edge of a voxel."""
        return self.grid.spacing_mm[0]

    @cached_property
    def bone(self) -> BoolArray:
        """The sacrum's mask."""
        return np.asarray(self.signed_mm > 0)

    @cached_property
    def hull_mm(self) -> FloatArray:
        """Signed distance to the closed hull, positive inside."""
        return signed_distance(self.hull, self.grid.spacing_mm)

    @cached_property
    def below_endplate(self) -> BoolArray:
        """Voxels caudal of the plane of the S1 endplate (of the promontory's level where the slope is not known)."""
        slope = np.deg2rad(np.nan_to_num(self.frame.endplate_slope_deg, nan=30.0))
        dorsal, cranial = np.asarray(self.frame.dorsal), np.asarray(self.frame.cranial)
        normal = np.cos(slope) * cranial - np.sin(slope) * dorsal
        height = self.linear(normal) - normal @ np.asarray(self.frame.origin_mm)
        return np.asarray(height < 0)

    @cached_property
    def ventral(self) -> BoolArray:
        """Voxels ventral of the hull's middle depth in their column of arc length and lateral position."""
        arc, lateral = np.rint(self.s_mm).astype(int), np.rint(self.x_mm / 2).astype(int)
        arc -= arc.min()
        lateral -= lateral.min()
        shape = (int(arc.max()) + 1, int(lateral.max()) + 1)
        column = (arc * shape[1] + lateral).astype(np.int32)
        inside = column[self.hull]
        count = np.bincount(inside, minlength=shape[0] * shape[1])
        depth = np.bincount(inside, self.d_mm[self.hull], minlength=shape[0] * shape[1])
        middle = (depth / np.maximum(count, 1)).reshape(shape)
        nearest = ndimage.distance_transform_edt(count.reshape(shape) == 0, return_indices=True)[1]
        smooth = ndimage.gaussian_filter(middle[tuple(nearest)], 2)
        return np.asarray(self.d_mm < smooth.ravel()[column])

    @property
    def length_mm(self) -> float:
        """Arc length of the ventral curve."""
        return float(self.frame.arc_mm[-1])

    def linear(self, direction: npt.NDArray[np.float64]) -> FloatArray:
        """Every voxel's position along a direction, LPS mm."""
        low, step = self.grid.affine_lps[:3, 3], self.spacing_mm
        i, j, k = (
            direction[axis] * (low[axis] + step * np.arange(count)) for axis, count in enumerate(self.grid.shape)
        )
        return np.asarray(i[:, None, None] + j[None, :, None] + k[None, None, :], dtype=np.float32)

    def indices(self, points_mm: Points) -> npt.NDArray[np.float64]:
        """Fractional voxel indices (3, n) of positions (n, 3), as scipy's interpolators want them."""
        return np.asarray(self.grid.voxel_from_patient.points(points_mm).reshape(-1, 3).T)

    def sampled(self, array: FloatArray, points_mm: Points, outside: float) -> FloatArray:
        """Linear interpolation of one of the arrays at positions (..., 3)."""
        return linear.sampled(
            np.asarray(array, np.float32), self.grid.voxel_from_patient.points(points_mm).reshape(-1, 3), outside
        ).reshape(points_mm.shape[:-1])


def sacrum_field(ct: Volume, sacrum: Mask) -> SacrumField:
    """The field around a sacrum's mask on any grid; AnatomyError where the mask is too small to be a sacrum."""
    if sacrum.volume_ml < SMALLEST_ML:
        raise AnatomyError(
            "The mask is too small to be a sacrum",
            got=f"{sacrum.volume_ml:.1f} mL",
            remedy="Check the label value and the field of view",
        )
    corners = sacrum.points_mm()
    grid = Grid.aligned(
        corners.min(axis=0) - MARGIN_MM,
        corners.max(axis=0) + MARGIN_MM,
        SPACING_MM,
        ct.grid.frame_of_reference_uid or sacrum.grid.frame_of_reference_uid,
    )
    hu = np.asarray(ct.resampled(grid, outside=NO_DATA_HU).array)
    seen = np.asarray(hu > PADDING_HU)
    given = _largest_piece(signed_volume(sacrum, grid))
    hull = closed(given > 0, HULL_BALL_MM, SPACING_MM)
    signed = _without_cavities(_largest_piece(sharpened(given, hu, hull & seen)))
    frame = find_frame(signed, hull, seen, grid)
    low, step = grid.affine_lps[:3, 3], SPACING_MM
    axes = [low[axis] + step * np.arange(count) for axis, count in enumerate(grid.shape)]
    s = np.empty((*grid.shape, 3), dtype=np.float32)
    for i, x in enumerate(axes[0]):
        plane = np.stack(np.meshgrid([x], axes[1], axes[2], indexing="ij"), axis=-1)
        s[i] = frame.coordinates(plane[0])
    s_mm, x_mm, d_mm = (np.ascontiguousarray(s[..., n]) for n in range(3))
    return SacrumField(grid, hu, signed, hull, seen, frame, s_mm, x_mm, d_mm)


def sharpened(signed_mm: FloatArray, hu: FloatArray, within: BoolArray) -> FloatArray:
    """The signed distance (mm) of a mask whose surface is moved to where the CT (HU) shows it, by 1.5 mm at most.

    A network or a shape model blunts the walls of canal and tunnels. Certain lumen moves the surface into the mask,
    certain bone out of it; only `within` the closed hull, so that the neighbouring bone across a joint is not taken.
    Fatty marrow is as dark as lumen: where the bone's own inside is, what is dark may be either and the surface is not
    moved into the mask.
    """
    smooth = ndimage.gaussian_filter(hu, SHARPENED_BLUR_MM / SPACING_MM)
    lumen, bone = value("anatomy.lumen_hu"), value("anatomy.roof_hu")
    share = np.clip((smooth - 0.5 * (lumen + bone)) / (0.5 * (bone - lumen)), -1.0, 1.0)
    share = np.where(_marrow_hu(signed_mm, hu) < lumen, np.maximum(share, 0.0), share)
    moved = np.where(within, signed_mm + SHARPENED_MM * share, signed_mm)
    exact = signed_distance(moved > 0, (SPACING_MM,) * 3)
    # Beside the surface the moved distance knows where in the voxel it lies; farther away only the exact one is one.
    near = np.abs(exact) < 1.5 * SPACING_MM
    return np.where(near, np.sign(exact) * np.minimum(np.abs(moved), np.abs(exact)), exact).astype(np.float32)


def _marrow_hu(signed_mm: FloatArray, hu: FloatArray) -> FloatArray:
    """Mean HU of the nearby inside of a mask, deeper than its surface is ever moved; infinite where there is none."""
    inside = (signed_mm > SHARPENED_MM) & (hu > PADDING_HU)
    near = MARROW_NEAR_MM / SPACING_MM
    weight = ndimage.gaussian_filter(inside.astype(np.float32), near)
    total = ndimage.gaussian_filter(np.where(inside, hu, 0.0).astype(np.float32), near)
    return np.where(weight > LEAST_MARROW, total / np.maximum(weight, LEAST_MARROW), np.inf).astype(np.float32)


def _largest_piece(signed_mm: FloatArray) -> FloatArray:
    """The signed distance with specks beside the largest piece turned into outside."""
    pieces = cc3d.connected_components((signed_mm > 0).astype(np.uint8), connectivity=6)
    sizes = np.bincount(pieces.ravel())
    if len(sizes) <= 2:
        return signed_mm
    specks = (pieces > 0) & (pieces != 1 + int(np.argmax(sizes[1:])))
    return np.where(specks, -np.abs(signed_mm), signed_mm)


def _without_cavities(signed_mm: FloatArray) -> FloatArray:
    """Closed cavities (marrow that a threshold missed) turned into bone: an occluded void must not pass for a lumen."""
    bone = signed_mm > 0
    outside = cc3d.connected_components((~bone).astype(np.uint8), connectivity=6)
    rim = outside[0, 0, 0]
    cavity = ~bone & (outside != rim)
    if not cavity.any():
        return signed_mm
    depth = edt.edt(np.ascontiguousarray(bone | cavity, dtype=np.uint8), anisotropy=(SPACING_MM,) * 3, parallel=2)
    return np.where(cavity, np.minimum(depth, 12.0), signed_mm).astype(np.float32)
