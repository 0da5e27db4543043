"""Where cement enters a block, and how the pressure at the needle's opening follows from that of the voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import integrate, special

from sacroplasty.errors import InputError
from sacroplasty.space import readonly

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Source:
    """Where cement enters: voxels (m, 3) with weights (m,) that sum to 1, and the radius of the opening."""

    voxels: Array
    weights: Array
    radius_mm: float

    @staticmethod
    def at(index: npt.ArrayLike, radius_mm: float, permeability_m2: Array | None = None) -> Source:
        """The source at a fractional voxel index (3,): shared among the eight voxels around it that conduct."""
        place = np.asarray(index, dtype=np.float64)
        low = np.floor(place).astype(np.int64)
        part = place - low
        corners = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
        weights = np.prod(np.where(corners == 1, part, 1.0 - part), axis=1)
        voxels = low + corners
        used = weights > 1e-6
        if permeability_m2 is not None:
            open_to = permeability_m2 if permeability_m2.ndim == 3 else permeability_m2.max(axis=3)
            inside = ((voxels >= 0) & (voxels < open_to.shape)).all(axis=1)
            clipped = np.clip(voxels, 0, np.asarray(open_to.shape) - 1)
            used &= inside & (open_to[tuple(clipped.T)] > 0)
        if not used.any():
            raise InputError("The needle's tip lies where nothing can flow", got=f"voxel {place.round(1).tolist()}")
        return Source(readonly(voxels[used], np.int64), readonly(weights[used] / weights[used].sum()), radius_mm)

    def ring_radius(self) -> float:
        """Radius, in voxels, at which the exact pressure round the source equals that of the voxels round it.

        From the lattice Green function; 0.9246 for a single voxel. The ring, not the source voxel itself, is the
        anchor, because a shear-thinning cement changes its viscosity too fast within that voxel.
        """
        offsets = np.abs(self.voxels[:, None, :] - self.voxels[None, :, :])
        pair = self.weights[:, None] * self.weights[None, :]
        total = sum(pair[a, b] * _lattice_green(*sorted(map(int, offsets[a, b]))) for a, b in np.ndindex(pair.shape))
        return 1.0 / (4.0 * np.pi * float(total - (self.weights**2).sum() / 6.0))


def _lattice_green(a: int, b: int, c: int) -> float:
    """Pressure at lattice offset (a, b, c) from a unit source, unit conductances, infinite lattice."""
    if (a, b, c) not in _GREEN:

        def integrand(t: float) -> float:
            return float(special.ive(a, 2 * t) * special.ive(b, 2 * t) * special.ive(c, 2 * t))

        cut = 50.0  # beyond it, ive -> 1 / sqrt(4 pi t) in each factor
        head = integrate.quad(integrand, 0.0, cut, limit=200)[0]
        tail = 2.0 * (4.0 * np.pi) ** -1.5 / np.sqrt(cut)
        _GREEN[a, b, c] = float(head + tail)
    return _GREEN[a, b, c]


_GREEN: dict[tuple[int, int, int], float] = {}
