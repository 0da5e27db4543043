"""How far the rim of a foramen stands out in an image, to an observer who follows the outline of its opening.

A foramen is told by its rim: darker bone outside, the brighter opening inside, all the way round. The observer knows
the outline's shape but looks a few mm about for it, as a person does, and takes an opening a little smaller than drawn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.signal import correlate

from sacroplasty.anatomy import Foramen
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.projector import Image
from sacroplasty.space import Points

# Where else an observer could take something for what is looked for, mm at the isocentre: as far as a mistake is made,
# short of the next level.
NEAREST_MM, FARTHEST_MM = 8.0, 22.0
# Half the width of a rim's flanks: narrower ones drown in noise, wider ones reach the next structure.
_FLANK_MM = 1.3
# How much inside the drawn outline the rim may run: corticated edges are rounded.
_INSETS_MM = (0.0, 1.0, 2.0)


def foramen_rim(foramen: Foramen, count: int = 33) -> Points:
    """Closed outline (count, 3) of a foramen's opening, LPS mm: width across the patient, height along the sacrum."""
    axis = np.asarray(foramen.axis) / np.linalg.norm(foramen.axis)
    across = np.array([1.0, 0.0, 0.0]) - axis[0] * axis
    across /= np.linalg.norm(across)
    along = np.cross(axis, across)
    turn = np.linspace(0, 2 * np.pi, count)[:, None]
    ring = np.cos(turn) * across * foramen.width_mm / 2 + np.sin(turn) * along * foramen.height_mm / 2
    return np.asarray(np.asarray(foramen.centre_mm) + ring)


def rim_stands_out(image: Image, outline: Points, pixel_mm: float, noise: float) -> float:
    """By how many standard deviations of the same measure at places around a rim is darker outside than inside.

    image: attenuation (rows, columns); outline: closed, (n, 2) pixels (u, v), the last point the first again; pixel_mm
    at the isocentre; noise: standard deviation of a pixel. 0 for an outline so much on edge that it has no inside.
    """
    centre = outline[:-1].mean(axis=0)
    half = int(np.ceil((FARTHEST_MM + value("assumptions.rim_search")) / pixel_mm))
    column, row = np.rint(centre).astype(int)
    patterns = _patterns((outline - centre) * pixel_mm, pixel_mm)
    if not patterns or not (0 <= row < image.shape[0] and 0 <= column < image.shape[1]):
        return 0.0
    reach = half + max(len(p) for p in patterns) // 2
    padded = np.pad(np.asarray(image, dtype=np.float64), reach, mode="reflect")
    window = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
    answers = [_trimmed(correlate(window, p, mode="same", method="fft"), half) for p in patterns]
    v, u = np.mgrid[-half : half + 1, -half : half + 1] * pixel_mm
    away = np.hypot(u, v)
    near = int(np.ceil(value("assumptions.rim_search") / pixel_mm))
    middle = slice(half - near, half + near + 1)
    searched = away[middle, middle] <= value("assumptions.rim_search")
    best = ndimage.maximum_filter(np.max(answers, axis=0), footprint=searched)
    others = best[(away > NEAREST_MM) & (away < FARTHEST_MM)]
    grain = noise * float(max(np.linalg.norm(p) for p in patterns))
    return float((best[half, half] - others.mean()) / np.hypot(others.std(), grain))


def _trimmed(answer: npt.NDArray[np.float64], half: int) -> npt.NDArray[np.float64]:
    middle = len(answer) // 2
    return answer[middle - half : middle + half + 1, middle - half : middle + half + 1]


def _patterns(outline_mm: Points, pixel_mm: float) -> list[npt.NDArray[np.float64]]:
    """Weights (n, n) about the outline's centre that give mean outside minus mean inside, for every inset."""
    distance = _signed_distance(outline_mm, pixel_mm)
    found = []
    for inset in _INSETS_MM:
        across = distance + inset
        if across.min() > -_FLANK_MM:
            break
        flank = across * np.exp(-((across / _FLANK_MM) ** 2) / 2)
        outside, inside = np.maximum(flank, 0.0), np.maximum(-flank, 0.0)
        found.append(outside / outside.sum() - inside / inside.sum())
    return found


def _signed_distance(outline_mm: Points, pixel_mm: float) -> npt.NDArray[np.float64]:
    """Distance in mm (n, n) of pixels about 0 from a closed outline (m, 2), negative inside."""
    half = int(np.ceil((np.abs(outline_mm).max() + 4 * _FLANK_MM) / pixel_mm))
    axis = np.arange(-half, half + 1) * pixel_mm
    x, y = axis[None, :, None], axis[:, None, None]
    (x0, y0), (dx, dy) = outline_mm[:-1].T, np.diff(outline_mm, axis=0).T
    share = np.clip(((x - x0) * dx + (y - y0) * dy) / np.maximum(dx**2 + dy**2, 1e-12), 0, 1)
    away = np.hypot(x - x0 - share * dx, y - y0 - share * dy).min(axis=-1)
    # A ray along x crosses the outline an odd number of times from inside.
    crossing = (y0 > y) != (y0 + dy > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = crossing & (x < x0 + (y - y0) * dx / dy)
    return np.where(crossed.sum(axis=-1) % 2 == 1, -away, away)
