"""Slices brought to an even, upright ladder on request; recorded, never done silently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sacroplasty.io.gate import tilt_of
from sacroplasty.io.raw import RawImage
from sacroplasty.io.verdict import Remark, rejected

# Interpolation across a larger gap would invent anatomy, mm.
LARGEST_GAP_MM = 7.5


def without_tilt(raw: RawImage) -> RawImage:
    """Sheared slices on an upright stack: each slice is shifted in its own plane, which is exact but for blur.

    The slices keep their planes and pixels their spacing; the new stack covers every old pixel. Recorded as SAC-G071.
    """
    from scipy import ndimage

    side_mm, angle_deg = tilt_of(raw)
    spacing = np.linalg.norm([raw.first_step_mm, raw.second_step_mm], axis=1)
    units = np.array([raw.first_step_mm / spacing[0], raw.second_step_mm / spacing[1]])
    offsets = raw.origins_mm - raw.origins_mm[0]
    shift = offsets @ units.T / spacing
    low = np.floor(shift.min(axis=0))
    extra = np.ceil(shift.max(axis=0)) - low
    shape = tuple(int(n + e) for n, e in zip(raw.array.shape[:2], extra, strict=True))
    outside = -1024.0 if raw.modality == "CT" else 0.0
    out = np.empty((*shape, raw.array.shape[2]), dtype=raw.array.dtype)
    for k in range(raw.array.shape[2]):
        plane = np.asarray(raw.array[:, :, k], dtype=np.float32)
        moved = ndimage.affine_transform(plane, np.ones(2), low - shift[k], shape, order=1, cval=outside)
        out[:, :, k] = np.rint(moved) if raw.array.dtype == np.int16 else moved
    corner = raw.origins_mm[0] + low @ (units * spacing[:, None])
    heights = offsets @ raw.normal
    message = f"Resampled on request: gantry tilt of {angle_deg:.1f} degrees ({side_mm:.1f} mm) removed."
    return replace(
        raw,
        array=out,
        origins_mm=corner + heights[:, None] * raw.normal,
        remarks=(*raw.remarks, Remark("SAC-G071", message)),
        second_corners_mm=None,
    )


def evenly_spaced(raw: RawImage) -> RawImage:
    """Unevenly spaced slices on an even ladder at their median pitch, by linear interpolation. Recorded as SAC-G070.

    A gap over LARGEST_GAP_MM is refused.
    """
    heights = raw.heights_mm
    order = np.argsort(heights)
    heights = heights[order]
    gaps = np.diff(heights)
    if gaps.max() > LARGEST_GAP_MM:
        raise rejected(
            "SAC-G025",
            "The gap between two slices is too wide to interpolate",
            got=f"{gaps.max():.1f} mm",
            remedy="Send the whole series again",
        )
    pitch = float(np.median(gaps))
    count = int(np.floor((heights[-1] - heights[0]) / pitch + 1e-6)) + 1
    wanted = heights[0] + np.arange(count) * pitch
    place = np.interp(wanted, heights, np.arange(len(heights)))
    lower = np.minimum(np.floor(place).astype(int), len(heights) - 2)
    weight = (place - lower).astype(np.float32)
    out = np.empty((*raw.array.shape[:2], count), dtype=raw.array.dtype)
    for n in range(count):
        below, above = (raw.array[:, :, order[lower[n] + step]].astype(np.float32) for step in (0, 1))
        mixed = below + weight[n] * (above - below)
        out[:, :, n] = np.rint(mixed) if raw.array.dtype == np.int16 else mixed
    direction = (raw.origins_mm[order[-1]] - raw.origins_mm[order[0]]) / (heights[-1] - heights[0])
    message = f"Resampled on request: gaps of {gaps.min():.2f} to {gaps.max():.2f} mm brought to {pitch:.2f} mm."
    return replace(
        raw,
        array=out,
        origins_mm=raw.origins_mm[order[0]] + (wanted - heights[0])[:, None] * direction,
        remarks=(*raw.remarks, Remark("SAC-G070", message)),
        second_corners_mm=None,
    )
