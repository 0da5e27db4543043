"""Cement displacing marrow: two fluids, one sharp front, Darcy's law, pressure and transport in turns.

Quasi-static: at every moment the pressure field is the one that the present viscosities demand. The portions between
two pressure fields grow with the cloud, because one field for the whole volume would invent leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sacroplasty.cement.medium import Medium, face_conductance
from sacroplasty.cement.multigrid import PressureSolver, padded_shape
from sacroplasty.cement.rheology import PowerLaw
from sacroplasty.cement.source import Source
from sacroplasty.cement.transport import fill_and_overflow
from sacroplasty.errors import InputError, PlanError

Array = npt.NDArray[Any]

# Relative residual of the pressure; the balance of volume does not depend on it. Against 1e-7 it displaces 2e-5 of the
# cloud and changes the pressure by 1e-5.
PRESSURE_TOLERANCE = 3e-4
# A held voxel conducts this many times better to its held pressure than to a neighbour.
HELD_FACTOR = 1e3
# Blocked cement finds a way with the next pressure field; after this many fields in vain there is none.
MAX_BLOCKED_FIELDS = 8
# Voxels round the cement whose faces may have changed: those that tore, and their neighbours.
AROUND = 3
# Fields until a shear-thinning cement's viscosity has settled at the start.
START_FIELDS = 2
# A portion is this share of the cement in place.
GROWTH = 0.35
# Layers that may tear open within one portion.
MAX_TEARS = 4


@dataclass(frozen=True)
class Portion:
    """What one push did: pressures at the needle's opening and in its voxel, cement that found no way, iterations."""

    tip_pressure_pa: float
    voxel_pressure_pa: float
    blocked_ml: float
    iterations: int


class CementFlow:
    """The state of an injection: saturation, pressure and escaped volumes, advanced portion by portion."""

    def __init__(self, medium: Medium, marrow_pa_s: float, tolerance: float = PRESSURE_TOLERANCE) -> None:
        if not marrow_pa_s > 0:
            raise InputError("The marrow's viscosity must be positive", got=f"{marrow_pa_s} Pa·s")
        self._marrow, self._tolerance = marrow_pa_s, tolerance
        self._shape = medium.porosity.shape
        full = padded_shape(self._shape)
        self._solver = PressureSolver(full)
        self._inner = tuple(slice(1, n + 1) for n in self._shape)
        ghosted = tuple(n + 2 for n in full)
        self._saturation, self._pressure, self._extra, self._escape, self._inflow, self._b = (
            np.zeros(ghosted) for _ in range(6)
        )
        self._stack = np.zeros((3, *ghosted))
        self._faces = (self._stack[0], self._stack[1], self._stack[2])
        self._strides = np.array([ghosted[1] * ghosted[2], ghosted[2], 1])
        self._pore = np.zeros(ghosted)
        self._viscosity = np.full(ghosted, marrow_pa_s)
        self._mouth = np.zeros(0, np.int64)
        self._heap = (np.zeros(self._pore.size), np.zeros(self._pore.size, np.int64))
        self._torn = np.zeros(ghosted, np.bool_)
        self.blocked_ml = 0.0
        self.set_medium(medium)
        outlets = 0 if medium.outlet is None else int(medium.outlet.max())
        self._escaped = np.zeros(outlets + 1)

    def set_medium(self, medium: Medium) -> None:
        """Goes on in a changed block of the same shape, for instance after the needle was withdrawn."""
        if medium.porosity.shape != self._shape:
            raise InputError("The block changed its shape", got=f"{medium.porosity.shape}, not {self._shape}")
        self._medium = medium
        tensor = medium.permeability_m2
        same = tensor.ndim == 3
        self._permeability = [self._padded(tensor)] * 3 if same else [self._padded(tensor[..., a]) for a in range(3)]
        none = np.zeros_like(self._pressure)
        wall = medium.wall_per_m
        self._wall = [none if wall is None else self._padded(wall[..., a]) for a in range(3)]
        self._porosity = self._padded(medium.porosity)
        amount = self._saturation * self._pore
        self._pore = self._porosity * medium.voxel_volume_m3
        # Cement stays where it is; what a voxel with smaller pores cannot hold goes on with the next portion.
        held = np.minimum(amount, self._pore)
        self._saturation = np.divide(held, self._pore, out=np.zeros_like(held), where=self._pore > 0)
        self.blocked_ml += float((amount - held).sum()) * 1e6
        self._outlet = self._padded(np.zeros(self._shape) if medium.outlet is None else medium.outlet).astype(np.int32)
        drainage = np.zeros(self._shape) if medium.drainage_per_m2 is None else medium.drainage_per_m2
        self._drainage = self._padded(drainage) * medium.voxel_volume_m3 / self._marrow
        self._limit = self._padded(np.zeros(self._shape) if medium.yield_pa is None else medium.yield_pa)
        self._tough = np.flatnonzero(self._limit)
        self._fresh = True
        self._open()

    def _padded(self, array: Array) -> Array:
        result = np.zeros(self._pressure.shape)
        result[self._inner] = array
        return result

    @property
    def saturation(self) -> Array:
        """Share of the pores that is cement (i, j, k)."""
        return self._saturation[self._inner].copy()

    @property
    def pressure_pa(self) -> Array:
        """Pressure (i, j, k) of the last portion."""
        return self._pressure[self._inner].copy()

    @property
    def torn(self) -> Array:
        """Voxels (i, j, k) that yielded."""
        return self._torn[self._inner].copy()

    @property
    def escaped_ml(self) -> Array:
        """Cement (m,) that left through outlet n; n = 0 is the rim."""
        return self._escaped * 1e6

    @property
    def placed_ml(self) -> float:
        """Cement inside the block."""
        return float((self._saturation * self._pore).sum()) * 1e6

    def _box(self, voxels: Array) -> tuple[Array, Array]:
        """First and one past last ghosted index of the flat `voxels` with all that may change round them."""
        places = np.array(np.unravel_index(voxels, self._pressure.shape))
        low, high = places.min(axis=1) - AROUND, places.max(axis=1) + AROUND + 1
        return np.maximum(low, 1), np.minimum(high, np.array(self._pressure.shape) - 1)

    def _speed(self, voxels: Array, slowest: float) -> Array:
        """Darcy speed (m/s) in flat voxels by the last field: root of the summed mean squares of opposite faces."""
        pressure, area = self._pressure.ravel(), (self._medium.spacing_mm * 1e-3) ** 2
        total = np.zeros(len(voxels))
        for face, stride in zip(self._stack.reshape(3, -1), self._strides, strict=True):
            before, after = voxels - stride, voxels + stride
            total += (face[voxels] * (pressure[voxels] - pressure[before])) ** 2
            total += (face[after] * (pressure[after] - pressure[voxels])) ** 2
        return np.maximum(np.sqrt(0.5 * total) / area, slowest)

    def _conduct(self, cement: PowerLaw, source: Source, slowest: float = 0.0) -> None:
        """Face conductances and conductances to held pressures for the present saturation.

        Only round the cement does anything change; a new medium is computed as a whole.
        """
        h = self._medium.spacing_mm * 1e-3
        mouth = (source.voxels + 1) @ self._strides
        wet = np.flatnonzero(self._saturation)
        self._low, self._high = self._box(np.concatenate([wet, mouth, self._mouth]))
        if self._fresh:
            self._low, self._high = np.ones(3, np.int64), np.array(self._pressure.shape) - 1
        box = tuple(slice(a, b) for a, b in zip(self._low, self._high, strict=True))
        self._extra[box] = self._drainage[box]
        # What was the mouth of an earlier needle may hold no cement at all.
        self._viscosity.ravel()[self._mouth] = self._marrow
        self._mouth, self._fresh = mouth, False
        for voxels, share in ((wet, self._saturation.ravel()[wet]), (mouth, np.ones(len(mouth)))):
            speed = self._speed(voxels, slowest) if cement.index != 1.0 else np.zeros(len(voxels))
            permeability, porosity = self._permeability[0].ravel()[voxels], self._porosity.ravel()[voxels]
            thick = cement.in_bone(speed, permeability, porosity)
            self._viscosity.ravel()[voxels] = share * thick + (1.0 - share) * self._marrow
            self._extra.ravel()[voxels] = self._drainage.ravel()[voxels] * (1.0 - share)
        for axis in range(3):
            face_conductance(
                self._permeability[axis],
                self._wall[axis],
                self._viscosity,
                axis,
                h,
                self._low,
                self._high,
                self._faces[axis],
            )
        self._escape.ravel()[self._exits] = self._reach / self._viscosity.ravel()[self._exits]
        self._extra[box] += self._escape[box]

    def _find_exits(self) -> None:
        """Voxels from which cement leaves, at the rim and at outlets, and how well they do in m³."""
        h = self._medium.spacing_mm * 1e-3
        reach = np.zeros(self._pressure.shape)
        if self._medium.open_rim:
            for axis in range(3):
                for end in (1, self._shape[axis]):
                    rim = tuple(end if a == axis else part for a, part in enumerate(self._inner))
                    reach[rim] += 2.0 * h * self._permeability[axis][rim]
        held = self._outlet > 0
        reach[held] += HELD_FACTOR * h * self._permeability[0][held]
        self._exits = np.flatnonzero(reach)
        self._reach = reach.ravel()[self._exits]
        self._escape[:] = 0.0

    def _solve(self, rate_ml_s: float, cement: PowerLaw, source: Source, slowest: float = 0.0) -> int:
        self._conduct(cement, source, slowest)
        self._b[:] = 0.0
        np.add.at(self._b, tuple(source.voxels.T + 1), rate_ml_s * 1e-6 * source.weights)
        box = tuple(slice(a - 1, b + 1) for a, b in zip(self._low, self._high, strict=True))
        return self._solver.solve(self._faces, self._extra, self._b, self._pressure, self._tolerance, box)

    def _tear(self) -> bool:
        """Opens voxels beside cement whose pressure exceeds their yield; true where any opened."""
        whole = self._tough[~self._torn.ravel()[self._tough]]
        if not len(whole):
            return False
        steps = np.concatenate([[0], self._strides, -self._strides])
        near = whole[:, None] + steps
        wet = ((self._saturation.ravel()[near] > 0) | np.isin(near, self._mouth)).any(axis=1)
        new = whole[wet & (self._pressure.ravel()[near].max(axis=1) > self._limit.ravel()[whole])]
        self._torn.ravel()[new] = True
        if len(new):
            self._open()
        return bool(len(new))

    def _open(self) -> None:
        """Gives torn voxels their new permeability."""
        if self._medium.yield_pa is not None:
            for permeability in self._permeability:
                permeability[self._torn] = self._medium.yielded_permeability_m2
        self._find_exits()

    def field(self, source: Source, rate_ml_s: float, cement: PowerLaw) -> tuple[float, float, int]:
        """Solves for the pressure at a rate; returns pressure at the opening, in its voxel (Pa), and iterations."""
        if cement.index != 1.0 and not self._pressure.any():
            # A shear-thinning cement at rest would be stiff: start from the speed one voxel round the opening.
            start = rate_ml_s * 1e-6 / (4.0 * np.pi * (self._medium.spacing_mm * 1e-3) ** 2)
            for n in range(START_FIELDS):
                self._solve(rate_ml_s, cement, source, 0.0 if n else start)
        iterations = self._solve(rate_ml_s, cement, source)
        for _ in range(MAX_TEARS):
            if not self._tear():
                break
            iterations += self._solve(rate_ml_s, cement, source)
        cells = tuple(source.voxels.T + 1)
        voxel_pressure = float(source.weights @ self._pressure[cells])
        k = max(float(source.weights @ self._permeability[0][cells]), 1e-30)
        phi = float(source.weights @ self._medium.porosity[tuple(source.voxels.T)])
        outer = source.ring_radius() * self._medium.spacing_mm * 1e-3
        near = cement.radial_drop_pa(rate_ml_s * 1e-6, k, phi, source.radius_mm * 1e-3, outer)
        return self._ring_pressure(source) + near, voxel_pressure, iterations

    def _ring_pressure(self, source: Source) -> float:
        """Pressure of the voxels round the source, weighted by how well they conduct to it."""
        total = 0.0
        for (i, j, k), weight in zip(source.voxels + 1, source.weights, strict=True):
            tx, ty, tz, p = (*self._faces, self._pressure)
            ways = (
                (tx[i, j, k], p[i - 1, j, k]),
                (tx[i + 1, j, k], p[i + 1, j, k]),
                (ty[i, j, k], p[i, j - 1, k]),
                (ty[i, j + 1, k], p[i, j + 1, k]),
                (tz[i, j, k], p[i, j, k - 1]),
                (tz[i, j, k + 1], p[i, j, k + 1]),
                (self._extra[i, j, k], 0.0),
            )
            conductance = sum(t for t, _ in ways)
            total += weight * sum(t * q for t, q in ways) / conductance
        return float(total)

    def push(self, source: Source, volume_ml: float, rate_ml_s: float, cement: PowerLaw) -> Portion:
        """One portion: the pressure field of now, then the volume moved along it, blocked cement of before included."""
        tip, voxel, iterations = self.field(source, rate_ml_s, cement)
        return self.move(source, volume_ml, tip, voxel, iterations)

    def move(self, source: Source, volume_ml: float, tip: float, voxel: float, iterations: int) -> Portion:
        """Moves a volume along the pressure field that is there."""
        blocked = fill_and_overflow(
            self._stack.reshape(3, -1),
            self._strides,
            self._pressure.ravel(),
            self._saturation.ravel(),
            self._pore.ravel(),
            (source.voxels + 1) @ self._strides,
            np.array(source.weights),
            (volume_ml + self.blocked_ml) * 1e-6,
            self._escape.ravel(),
            self._outlet.ravel(),
            self._escaped,
            self._inflow.ravel(),
            *self._heap,
        )
        self.blocked_ml = blocked * 1e6
        return Portion(tip, voxel, self.blocked_ml, iterations)

    def deposit(self, volume_ml: Array) -> Array:
        """Lays cement (i, j, k), mL, into voxels as far as they have room; returns what they took."""
        pore = self._pore[self._inner] * 1e6
        saturation = self._saturation[self._inner]
        taken = np.minimum(volume_ml, pore * (1.0 - saturation))
        saturation += np.divide(taken, pore, out=np.zeros_like(pore), where=pore > 0)
        return np.asarray(taken)

    def settle(self, source: Source, rate_ml_s: float, cement: PowerLaw) -> None:
        """Finds a way for cement that was blocked; PlanError where there is none."""
        for _ in range(MAX_BLOCKED_FIELDS):
            if self.blocked_ml < 1e-9:
                return
            self.push(source, 0.0, rate_ml_s, cement)
        raise PlanError(
            "Cement has nowhere to go",
            got=f"{self.blocked_ml:.3f} mL blocked behind closed walls",
            remedy="Lower the volume, or move the tip into open bone",
        )


def portions_ml(volume_ml: float, already_ml: float = 0.0, updates: int = 16, growth: float = GROWTH) -> list[float]:
    """Volumes between two pressure fields: `growth` times what is in place, at most volume / updates.

    The first ones are 0.625 · `growth` times that largest.
    """
    if not volume_ml > 0:
        raise InputError("The volume must be positive", got=f"{volume_ml} mL")
    result, placed = [], 0.0
    while placed < volume_ml * (1 - 1e-9):
        portion = min(max(growth * (placed + already_ml), growth * volume_ml / updates * 0.625), volume_ml / updates)
        result.append(min(portion, volume_ml - placed))
        placed += result[-1]
    return result


@dataclass(frozen=True, eq=False)
class FlowResult:
    """A simulated injection into a block: saturation and pressure (i, j, k), pressures after each portion, escapes.

    `tip_pressure_pa` belongs to `injected_ml` (n,), the volume at the end of each portion.
    """

    saturation: Array
    pressure_pa: Array
    injected_ml: Array
    tip_pressure_pa: Array
    voxel_pressure_pa: Array
    escaped_ml: Array
    placed_ml: float
    iterations: int


def inject(
    medium: Medium,
    source: Source,
    *,
    volume_ml: float,
    rate_ml_s: float,
    cement: PowerLaw | float,
    marrow_pa_s: float,
    updates: int = 16,
) -> FlowResult:
    """Pushes a volume at a constant rate into a block and returns where it went (simulated).

    `cement` is a power law or a Newtonian viscosity in Pa·s; `updates` bounds the number of pressure fields from below.
    Raises InputError for values that make no sense and PlanError where the cement has nowhere to go.
    """
    law = cement if isinstance(cement, PowerLaw) else PowerLaw(float(cement), 1.0)
    if not rate_ml_s > 0:
        raise InputError("The injection rate must be positive", got=f"{rate_ml_s} mL/s")
    flow = CementFlow(medium, marrow_pa_s)
    steps = []
    volumes = portions_ml(volume_ml, updates=updates)
    for volume in volumes:
        steps.append(flow.push(source, volume, rate_ml_s, law))
    flow.settle(source, rate_ml_s, law)
    return FlowResult(
        saturation=flow.saturation,
        pressure_pa=flow.pressure_pa,
        injected_ml=np.cumsum(volumes),
        tip_pressure_pa=np.array([s.tip_pressure_pa for s in steps]),
        voxel_pressure_pa=np.array([s.voxel_pressure_pa for s in steps]),
        escaped_ml=flow.escaped_ml,
        placed_ml=flow.placed_ml,
        iterations=sum(s.iterations for s in steps),
    )
