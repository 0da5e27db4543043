"""What cement flows through: permeability, porosity, thin walls, drainage and outlets on a voxel grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError
from sacroplasty.space import readonly

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Medium:
    """A porous block on voxels (i, j, k) of `spacing_mm`.

    permeability_m2: (i, j, k), or (i, j, k, 3) along the voxel axes; 0 is closed. porosity: share of a voxel that
    cement can take, 0 to 1. wall_per_m: resistance of a thin wall on the face *before* a voxel along each axis,
    thickness / permeability in 1/m, (i, j, k, 3), so that a cortex thinner than a voxel needs no voxel of its own.
    drainage_per_m2: marrow leaves to a venous pressure of 0 with `drainage · pressure / marrow viscosity` per volume
    (sinusoids carry marrow away, not cement). outlet: voxels held at zero pressure and numbered from 1; cement that
    overflows one has escaped through it. `open_rim` holds the outer faces of the block at zero pressure; cement that
    overflows there has escaped through outlet 0.
    yield_pa: pressure from which a voxel next to cement tears open to `yielded_permeability_m2` for good, such as soft
    tumour that is pushed aside; 0 where nothing yields.
    InputError for shapes that differ, values that are negative or not finite, or a block without outlet.
    """

    permeability_m2: Array
    porosity: Array
    spacing_mm: float
    wall_per_m: Array | None = None
    drainage_per_m2: Array | None = field(default=None)
    outlet: Array | None = None
    open_rim: bool = True
    yield_pa: Array | None = None
    yielded_permeability_m2: float = 0.0

    def __post_init__(self) -> None:
        shape = self.porosity.shape
        _require(len(shape) == 3 and min(shape) >= 4, "A block needs three sides of at least 4 voxels", str(shape))
        _require(0 < self.spacing_mm < 20, "The voxel spacing must be 0 to 20 mm", f"{self.spacing_mm} mm")
        for name, allowed in (
            ("permeability_m2", (shape, (*shape, 3))),
            ("wall_per_m", ((*shape, 3),)),
            ("drainage_per_m2", (shape,)),
            ("yield_pa", (shape,)),
        ):
            array = getattr(self, name)
            if array is not None:
                _require(array.shape in allowed, f"{name} does not fit the porosity", f"{array.shape}, not {shape}")
                _require(bool(np.isfinite(array).all() and (array >= 0).all()), f"{name} must be finite and >= 0", "")
                object.__setattr__(self, name, readonly(array))
        porous = self.porosity
        _require(bool(((porous >= 0) & (porous <= 1)).all()), "Porosity must lie in 0 to 1", f"up to {porous.max()}")
        object.__setattr__(self, "porosity", readonly(porous))
        if self.outlet is not None:
            _require(self.outlet.shape == shape, "outlet does not fit the porosity", f"{self.outlet.shape}")
            object.__setattr__(self, "outlet", readonly(self.outlet, np.int32))
        drained = self.drainage_per_m2 is not None and bool(self.drainage_per_m2.any())
        has_outlet = self.outlet is not None and bool((self.outlet > 0).any())
        _require(self.open_rim or drained or has_outlet, "The block has no outlet for its marrow", "a closed rim")

    @property
    def voxel_volume_m3(self) -> float:
        """Volume of one voxel."""
        return (self.spacing_mm * 1e-3) ** 3


def _require(holds: bool, what: str, got: str) -> None:
    if not holds:
        raise InputError(what, got=got, remedy="See the documentation of Medium")


@numba.njit(fastmath=True, cache=True)
def face_conductance(
    permeability: Array,
    wall: Array,
    viscosity: Array,
    axis: int,
    spacing_m: float,
    low: Array,
    high: Array,
    conductance: Array,
) -> None:
    """Fills conductance[i] (m³/Pa/s) of the face between voxel i-1 and i along `axis`, from `low` to before `high`.

    All arrays carry one ghost layer, whose faces stay 0. Two half voxels and the wall between them in series; whatever
    fills the wall is the thicker of the two fluids, because cement arrives before it passes.
    """
    di, dj, dk = int(axis == 0), int(axis == 1), int(axis == 2)
    half = 0.5 * spacing_m
    area = spacing_m * spacing_m
    for i in range(max(low[0], 1 + di), high[0]):
        for j in range(max(low[1], 1 + dj), high[1]):
            for k in range(max(low[2], 1 + dk), high[2]):
                a = permeability[i, j, k]
                b = permeability[i - di, j - dj, k - dk]
                if a <= 0.0 or b <= 0.0:
                    conductance[i, j, k] = 0.0
                    continue
                ma = viscosity[i, j, k]
                mb = viscosity[i - di, j - dj, k - dk]
                conductance[i, j, k] = area / (half * ma / a + half * mb / b + wall[i, j, k] * max(ma, mb))
