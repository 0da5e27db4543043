"""The discs above the sacrum: planes of least brightness between two endplates, which separate S1, L5 and L4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.pose import turn
from sacroplasty.space import Points, Volume

# Vertebral bodies are sampled inside this radius, endplates this far from the middle of a disc.
BODY_RADIUS_MM = 14.0
ENDPLATES_MM = (3.0, 4.5, 6.0, 7.5)
DISC_RADIUS_MM = 24.0
# Heights above the S1 endplate (for L5/S1) and above the L5/S1 disc (for L4/L5) that are searched.
LUMBOSACRAL_MM = np.arange(0.0, 14.1, 1.0)
LUMBAR_MM = np.arange(26.0, 46.1, 1.0)
TILTS_DEG = np.arange(-18.0, 18.1, 6.0)
SIDEWAYS_DEG = np.arange(-10.0, 10.1, 5.0)
# Contrast below which a disc is a guess, and above which it is sure.
FAINT_DISC_HU, CLEAR_DISC_HU = 20.0, 70.0


@dataclass(frozen=True, eq=False)
class Disc:
    """An intervertebral disc: centre (3,) and upward unit normal (3,) in LPS mm.

    contrast_hu: how much darker than its endplates it is. level_hu: its own brightness;
    half_height_mm: from the middle to the nearer endplate's brightest plane.
    """

    centre_mm: Points
    normal: Points
    contrast_hu: float
    level_hu: float = 90.0
    half_height_mm: float = 3.0

    @property
    def clearness(self) -> float:
        """How surely (0..1) this is a disc, by its contrast."""
        return float(np.clip((self.contrast_hu - FAINT_DISC_HU) / (CLEAR_DISC_HU - FAINT_DISC_HU), 0.0, 1.0))

    def tissue(self, points_mm: Points, values_hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How likely (0..1) positions (..., 3) with these HU are disc rather than bone: between and darker."""
        away = points_mm - self.centre_mm
        height = away @ self.normal
        beside = np.sqrt(np.maximum((away**2).sum(axis=-1) - height**2, 0))
        between = np.clip((self.half_height_mm - np.abs(height)) / 1.0, 0, 1) * (beside < DISC_RADIUS_MM)
        bright = (values_hu - self.level_hu) / max(self.contrast_hu, 20.0)
        return np.asarray(between * np.clip(1.5 - 2 * bright, 0, 1), dtype=np.float32)


def find_disc(
    ct: Volume, origin_mm: Points, up: Points, heights_mm: Points, expected_mm: float, forward_mm_per_mm: float = 0.0
) -> Disc | None:
    """The disc along `up` from a point, searched over heights and tilts; None where the scan does not reach it.

    `forward_mm_per_mm`: how far the column's axis runs anterior of `up` per mm of height.
    """
    left = np.array([1.0, 0.0, 0.0])
    back = np.cross(up, left)
    back /= np.linalg.norm(back)
    axes = np.stack([np.cross(back, up), back, up])
    ring = np.arange(-BODY_RADIUS_MM, BODY_RADIUS_MM + 0.1, 3.5)
    spots = np.array([(x, y) for x in ring for y in ring if x * x + y * y <= BODY_RADIUS_MM**2])
    offsets = np.array([0.0, *ENDPLATES_MM, *(-e for e in ENDPLATES_MM)])
    blurred = Volume(ndimage.gaussian_filter(np.clip(np.asarray(ct.array), -1024, 500), 0.6), ct.grid)
    best: tuple[float, Disc] | None = None
    for height in heights_mm:
        centre = origin_mm + up * height - back * forward_mm_per_mm * height
        for tilt in TILTS_DEG:
            for sideways in SIDEWAYS_DEG:
                plane = turn((tilt, sideways, 0.0)) @ np.eye(3)
                across, behind, normal = plane.T @ axes
                points = centre + spots[:, :1] * across + spots[:, 1:] * behind
                values = blurred.sampled(points[None] + offsets[:, None, None] * normal)
                if (values < -300).mean() > 0.2:
                    continue
                levels = np.clip(values, -50, 400).mean(axis=1)
                above, below = levels[1 : 1 + len(ENDPLATES_MM)], levels[1 + len(ENDPLATES_MM) :]
                contrast = min(above.max(), below.max()) - levels[0]
                worth = contrast - 0.35 * (height - expected_mm) ** 2 - 0.02 * (tilt**2 + sideways**2)
                if best is None or worth > best[0]:
                    half = ENDPLATES_MM[min(int(above.argmax()), int(below.argmax()))]
                    best = (worth, Disc(centre, normal, float(contrast), float(levels[0]), half))
    return best[1] if best else None


def lumbosacral_disc(ct: Volume, endplate_mm: Points, up: Points) -> Disc | None:
    """The disc L5/S1 above a fitted S1 endplate (centre (3,), upward normal (3,)); None where the scan ends before."""
    return find_disc(ct, endplate_mm, up, LUMBOSACRAL_MM, expected_mm=5.0)


def lumbar_discs(ct: Volume, endplate_mm: Points, up: Points) -> tuple[Disc | None, Disc | None]:
    """The discs L5/S1 and L4/L5 above a fitted S1 endplate (centre (3,), upward normal (3,))."""
    lower = lumbosacral_disc(ct, endplate_mm, up)
    if lower is None:
        return None, None
    # The lordosis straightens upwards: the axis of L5 lies halfway between the S1 endplate's normal and the vertical.
    axis = lower.normal + np.array([0.0, 0.0, 1.0])
    axis /= np.linalg.norm(axis)
    return lower, find_disc(ct, lower.centre_mm, axis, LUMBAR_MM, expected_mm=34.0)
