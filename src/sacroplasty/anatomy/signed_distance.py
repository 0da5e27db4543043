"""Masks as signed distances: resampled smoothly from thick slices, closed, and put back as labels."""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt

from sacroplasty.space import Grid, LabelMap, Mask, Volume

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Distances beyond this carry no information for interpolation and would ring in the cubic spline.
CLIP_MM = 12.0
# From this ratio of slice distance to target spacing on, linear interpolation shows the slices as steps.
CUBIC_FROM = 1.5


def signed_distance(array: BoolArray, spacing_mm: tuple[float, float, float]) -> FloatArray:
    """Distance in mm to the surface of a mask (i, j, k): positive inside, zero on the faces between voxels."""
    inside = edt.edt(np.ascontiguousarray(array, dtype=np.uint8), anisotropy=spacing_mm, parallel=2)
    outside = edt.edt(np.ascontiguousarray(~array, dtype=np.uint8), anisotropy=spacing_mm, parallel=2)
    # Without a structure (or without background) the transform is infinite.
    return np.nan_to_num(inside - outside, posinf=1e3, neginf=-1e3).astype(np.float32)


def signed_volume(mask: Mask, grid: Grid, *, cubic: bool = True) -> FloatArray:
    """Signed distance of a mask at the voxel centres of a finer grid, clipped to ±12 mm; thick slices are interpolated
    in shape and not in grey steps. Outside the mask's grid it is -12. `cubic` is smoother and costs more.
    """
    box = mask.grid.box_around(mask.corners_mm(), margin_mm=CLIP_MM + max(mask.grid.spacing_mm))
    crop = mask.cropped(box)
    clipped = np.clip(signed_distance(crop.array, crop.grid.spacing_mm), -CLIP_MM, CLIP_MM)
    order = 3 if cubic and max(crop.grid.spacing_mm) > CUBIC_FROM * min(grid.spacing_mm) else 1
    return np.asarray(Volume(clipped, crop.grid, "mm").resampled(grid, order=order, outside=-CLIP_MM).array)


def closed(bone: BoolArray, radius_mm: float, spacing_mm: float) -> BoolArray:
    """Euclidean closing of a mask (i, j, k) with a ball: pits and gaps narrower than the ball are filled."""
    pad = int(np.ceil(radius_mm / spacing_mm)) + 2
    padded = np.pad(bone, pad)
    spacing = (spacing_mm,) * 3
    grown = edt.edt(np.ascontiguousarray(~padded, dtype=np.uint8), anisotropy=spacing, parallel=2) <= radius_mm
    shrunk = edt.edt(np.ascontiguousarray(grown, dtype=np.uint8), anisotropy=spacing, parallel=2) > radius_mm
    return np.asarray(shrunk[pad:-pad, pad:-pad, pad:-pad] | bone)


def refined_labels(labels: LabelMap, grid: Grid) -> LabelMap:
    """The labels on a finer grid along smooth surfaces: each structure by signed distance, the deepest wins."""
    best = np.zeros(grid.shape, dtype=np.float32)
    found = np.zeros(grid.shape, dtype=labels.array.dtype)
    for value in sorted(labels.names):
        mask = Mask(labels.array == value, labels.grid)
        if mask.is_empty():
            continue
        box = grid.box_around(mask.corners_mm(), margin_mm=max(labels.grid.spacing_mm))
        signed = signed_volume(mask, grid.cropped(box), cubic=labels.names[value] == "sacrum")
        wins = signed > best[box]
        best[box][wins] = signed[wins]
        found[box][wins] = value
    return LabelMap(found, grid, labels.names)
