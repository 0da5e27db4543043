"""Nearest place on a plane polyline, fast enough for every voxel of a scan."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Segments that are ruled out together by the distance to their first vertex.
BLOCK = 8


def nearest_on_polyline(points: Array, line: Array, arc: Array) -> tuple[Array, Array]:
    """Arc length and signed distance (dorsal positive) of points (m, 2) to a polyline (n, 2) in (dorsal, cranial) that
    runs caudally; `arc` (n,) is its length at each vertex.

    The end segments are prolonged, so that points above the promontory or below the tip keep a coordinate.
    """
    steps = np.diff(line, axis=0)
    lengths = np.maximum(np.linalg.norm(steps, axis=1), 1e-9)
    starts = np.arange(0, len(steps), BLOCK)
    reach = np.array([lengths[start : start + BLOCK].sum() for start in starts])
    found = np.empty((len(points), 2))
    _nearest(points, np.ascontiguousarray(line), steps / lengths[:, None], lengths, arc, reach, found)
    return found[:, 0].copy(), found[:, 1].copy()


@numba.njit(cache=True, parallel=True)
def _nearest(
    points: Array, line: Array, directions: Array, lengths: Array, arc: Array, reach: Array, found: Array
) -> None:
    last = len(lengths) - 1
    for m in numba.prange(len(points)):
        best = np.inf
        # First and last segment come first: they are prolonged, so that no block bounds them.
        for turn in range(-2, len(reach)):
            if turn < 0:
                low, high = (0, 1) if turn == -2 else (last, last + 1)
            else:
                low, high = turn * BLOCK, min(turn * BLOCK + BLOCK, last + 1)
                nearest = np.hypot(points[m, 0] - line[low, 0], points[m, 1] - line[low, 1]) - reach[turn]
                if nearest > 0 and nearest * nearest > best:
                    continue
            for n in range(low, high):
                off_d, off_c = points[m, 0] - line[n, 0], points[m, 1] - line[n, 1]
                along = off_d * directions[n, 0] + off_c * directions[n, 1]
                if n > 0 and along < 0.0:
                    along = 0.0
                if n < last and along > lengths[n]:
                    along = lengths[n]
                off_d -= along * directions[n, 0]
                off_c -= along * directions[n, 1]
                distance = off_d * off_d + off_c * off_c
                if distance < best:
                    best = distance
                    found[m, 0] = arc[n] + along
                    # The line runs caudally: dorsal lies where the cross product of step and offset is negative.
                    dorsal = directions[n, 1] * off_d - directions[n, 0] * off_c < 0.0
                    found[m, 1] = np.sqrt(distance) if dorsal else -np.sqrt(distance)
