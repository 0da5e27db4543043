"""A first pose of the patient from a few points seen in the shots and known in the CT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy.alignment import rigid
from sacroplasty.fluoroscopy.view import View
from sacroplasty.space import Transform

# A click may be wrong by this many pixels before it is trusted less.
_CLICK_PIXELS = 6.0


def pose_from_landmarks(views: Sequence[View], points_mm: npt.ArrayLike, pixels: Sequence[npt.ArrayLike]) -> Transform:
    """Rig from patient that best projects CT points (n, 3), LPS mm, onto clicks (n, 2) as (u, v) in every view.

    NaN marks a point not clicked in a view. Needs six coordinates at least, that is three clicks.
    """
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    clicks = [np.asarray(uv, dtype=np.float64).reshape(-1, 2) for uv in pixels]
    if len(clicks) != len(views) or any(len(uv) != len(points) for uv in clicks):
        raise InputError(
            "Every view needs one click, or NaN, per landmark",
            got=f"{len(points)} landmarks, clicks {[len(uv) for uv in clicks]}, {len(views)} views",
        )
    seen = [np.isfinite(uv).all(axis=1) for uv in clicks]
    if sum(int(s.sum()) for s in seen) < 3 or len(points) < 3:
        raise InputError("Three clicked landmarks are needed at least", got=str(sum(int(s.sum()) for s in seen)))
    centre = points.mean(axis=0)

    def misses(parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rig = rigid(parameters, centre)
        found = [
            (view.registered(rig).detector_from_patient.points(points[s]) - uv[s]).ravel()
            for view, uv, s in zip(views, clicks, seen, strict=True)
        ]
        return np.nan_to_num(np.concatenate(found), nan=1e3)

    scale = np.array([1.0, 1, 1, 1, 1, 1])
    best = least_squares(misses, np.zeros(6), loss="soft_l1", f_scale=_CLICK_PIXELS, x_scale=scale)
    return rigid(best.x, centre)
