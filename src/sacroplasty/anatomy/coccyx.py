"""Where the sacrum ends and the coccyx begins: the faintest cross-section near the tip of the fitted S5."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.joints import VALUE
from sacroplasty.space import Points, Volume

# The joint is searched this far around the fitted tip; bone beside the tip farther than this is not coccyx.
SEARCH_MM, BESIDE_MM = 9, 22.0
# Brightness (HU times mm²) that one mm² away from the expected place must be fainter by.
PLACE_WEIGHT = 0.01


def split_coccyx(labels: npt.NDArray[np.uint8], ct: Volume, caudal_mm: Points) -> None:
    """In place: sacrum voxels beyond the sacrococcygeal joint become coccyx.

    labels (i, j, k) on the CT's grid; caudal_mm (n, 3): the fitted surface of S4 and S5.
    """
    sacrum = labels == VALUE["sacrum"]
    tip, axis = _tip(caudal_mm)
    index = np.argwhere(sacrum[:, :, : _upper_slice(ct, tip)])
    if not len(index):
        return
    away = ct.grid.patient_from_voxel.points(index) - tip
    along = away @ axis
    beside = np.linalg.norm(away - along[:, None] * axis, axis=1)
    near = beside < BESIDE_MM
    steps = np.arange(-SEARCH_MM, SEARCH_MM + 1)
    bright = np.clip(np.asarray(ct.array)[tuple(index.T)], 0, 500)
    place = np.rint(along).astype(int) + SEARCH_MM
    used = near & (place >= 0) & (place < len(steps))
    profile = ndimage.gaussian_filter1d(np.bincount(place[used], bright[used], minlength=len(steps)), 1.0)
    scale = max(float(profile.max()), 1.0)
    joint = int(steps[np.argmin(profile / scale + PLACE_WEIGHT * steps**2)])
    beyond = index[near & (along > joint)]
    labels[tuple(beyond.T)] = VALUE["coccyx"]


def _tip(caudal_mm: Points) -> tuple[Points, Points]:
    """The tip of the fitted S5 and the unit direction in which it points."""
    low, high = np.quantile(caudal_mm[:, 2], (0.1, 0.6))
    tip = caudal_mm[caudal_mm[:, 2] <= low].mean(axis=0)
    axis = tip - caudal_mm[caudal_mm[:, 2] >= high].mean(axis=0)
    axis /= np.linalg.norm(axis)
    end = (caudal_mm - tip) @ axis
    return np.asarray(tip + axis * end.max()), np.asarray(axis)


def _upper_slice(ct: Volume, tip: Points) -> int:
    top = ct.grid.voxel_from_patient.points((tip[0], tip[1], tip[2] + 2.0 * BESIDE_MM))[2]
    return int(np.clip(np.ceil(top), 1, ct.grid.shape[2]))
