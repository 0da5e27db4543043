"""Cement displacing marrow: two fluids, one sharp front, Darcy's law, pressure and transport in turns.

Quasi-static: at every moment the pressure field is the one that the present viscosities demand. The portions between
two pressure fields grow with the cloud, because one field for the whole volume would invent leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import integrate, ndimage, special

from sacroplasty.cement.medium import Medium, face_conductance
from sacroplasty.cement.multigrid import PressureSolver, padded_shape
from sacroplasty.cement.rheology import PowerLaw
from sacroplasty.cement.transport import fill_and_overflow
from sacroplasty.errors import InputError, PlanError
from sacroplasty.space import readonly

Array = npt.NDArray[Any]

# Relative residual of the pressure; the balance of volume does not depend on it.
PRESSURE_TOLERANCE = 1e-5
# A held voxel conducts this many times better to its held pressure than to a neighbour.
HELD_FACTOR = 1e3
# Blocked cement finds a way with the next pressure field; after this many fields in vain there is none.
MAX_BLOCKED_FIELDS = 8
# Fields until a shear-thinning cement's viscosity has settled at the start.
START_FIELDS = 2
# Layers that may tear open within one portion.
MAX_TEARS = 4


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


@dataclass(frozen=True)
class Portion:
    """What one push did: pressures at the needle's opening and in its voxel, cement that found no way, iterations."""

    tip_pressure_pa: float
    voxel_pressure_pa: float
    blocked_ml: float
    iterations: int


@numba.njit(fastmath=True, cache=True)
def _speed(tx: Array, ty: Array, tz: Array, p: Array, area: float, speed: Array) -> None:
    """Darcy speed in every voxel: root of the summed mean squares of its opposite faces."""
    ni, nj, nk = p.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                here = p[i, j, k]
                total = (
                    (tx[i, j, k] * (here - p[i - 1, j, k])) ** 2
                    + (tx[i + 1, j, k] * (here - p[i + 1, j, k])) ** 2
                    + (ty[i, j, k] * (here - p[i, j - 1, k])) ** 2
                    + (ty[i, j + 1, k] * (here - p[i, j + 1, k])) ** 2
                    + (tz[i, j, k] * (here - p[i, j, k - 1])) ** 2
                    + (tz[i, j, k + 1] * (here - p[i, j, k + 1])) ** 2
                )
                speed[i, j, k] = np.sqrt(0.5 * total) / area


class CementFlow:
    """The state of an injection: saturation, pressure and escaped volumes, advanced portion by portion."""

    def __init__(self, medium: Medium, marrow_pa_s: float) -> None:
        if not marrow_pa_s > 0:
            raise InputError("The marrow's viscosity must be positive", got=f"{marrow_pa_s} Pa·s")
        self._marrow = marrow_pa_s
        self._shape = medium.porosity.shape
        full = padded_shape(self._shape)
        self._solver = PressureSolver(full)
        self._inner = tuple(slice(1, n + 1) for n in self._shape)
        ghosted = tuple(n + 2 for n in full)
        self._saturation, self._pressure, self._speed, self._extra, self._escape, self._inflow, self._b = (
            np.zeros(ghosted) for _ in range(7)
        )
        self._faces = (np.zeros(ghosted), np.zeros(ghosted), np.zeros(ghosted))
        self._pore = np.zeros(ghosted)
        self._queued = np.zeros(ghosted, np.bool_)
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

    def _conduct(self, cement: PowerLaw, source: Source) -> None:
        """Face conductances and conductances to held pressures for the present saturation."""
        medium, h = self._medium, self._medium.spacing_mm * 1e-3
        permeability = self._permeability
        if medium.yield_pa is not None and self._torn.any():
            permeability = [np.where(self._torn, medium.yielded_permeability_m2, k) for k in permeability]
        self._current = permeability[0]
        wet = self._saturation.copy()
        wet[tuple(source.voxels.T + 1)] = 1.0
        thick = cement.in_bone(self._speed, permeability[0], self._porosity)
        viscosity = wet * thick + (1.0 - wet) * self._marrow
        for axis in range(3):
            face_conductance(permeability[axis], self._wall[axis], viscosity, axis, h, self._faces[axis])
        self._escape[:] = 0.0
        if medium.open_rim:
            for axis in range(3):
                for end in (1, self._shape[axis]):
                    rim = tuple(end if a == axis else part for a, part in enumerate(self._inner))
                    self._escape[rim] += 2.0 * h * permeability[axis][rim] / viscosity[rim]
        held = self._outlet > 0
        self._escape[held] += HELD_FACTOR * h * permeability[0][held] / viscosity[held]
        np.multiply(self._drainage, 1.0 - wet, out=self._extra)
        self._extra += self._escape

    def _solve(self, rate_ml_s: float, cement: PowerLaw, source: Source) -> int:
        self._conduct(cement, source)
        self._b[:] = 0.0
        np.add.at(self._b, tuple(source.voxels.T + 1), rate_ml_s * 1e-6 * source.weights)
        return self._solver.solve(self._faces, self._extra, self._b, self._pressure, PRESSURE_TOLERANCE)

    def _tear(self) -> bool:
        """Opens voxels beside cement whose pressure exceeds their yield; true where any opened."""
        limit = self._medium.yield_pa
        if limit is None:
            return False
        wet = ndimage.binary_dilation(self._saturation > 0)[self._inner]
        pressure = ndimage.maximum_filter(self._pressure[self._inner], footprint=_CROSS)
        torn = self._torn[self._inner]
        new = wet & (limit > 0) & (pressure > limit) & ~torn
        torn |= new
        return bool(new.any())

    def field(self, source: Source, rate_ml_s: float, cement: PowerLaw) -> tuple[float, float, int]:
        """Solves for the pressure at a rate; returns pressure at the opening, in its voxel (Pa), and iterations."""
        if cement.index != 1.0 and not self._speed.any():
            # A shear-thinning cement at rest would be stiff: start from the speed one voxel round the opening.
            self._speed[:] = rate_ml_s * 1e-6 / (4.0 * np.pi * (self._medium.spacing_mm * 1e-3) ** 2)
            for _ in range(START_FIELDS):
                self._solve(rate_ml_s, cement, source)
                self._find_speed()
        iterations = self._solve(rate_ml_s, cement, source)
        for _ in range(MAX_TEARS):
            if not self._tear():
                break
            iterations += self._solve(rate_ml_s, cement, source)
        self._find_speed()
        cells = tuple(source.voxels.T + 1)
        voxel_pressure = float(source.weights @ self._pressure[cells])
        k = max(float(source.weights @ self._current[cells]), 1e-30)
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

    def _find_speed(self) -> None:
        _speed(*self._faces, self._pressure, (self._medium.spacing_mm * 1e-3) ** 2, self._speed)

    def push(self, source: Source, volume_ml: float, rate_ml_s: float, cement: PowerLaw) -> Portion:
        """One portion: the pressure field of now, then the volume moved along it, blocked cement of before included."""
        tip, voxel, iterations = self.field(source, rate_ml_s, cement)
        return self.move(source, volume_ml, tip, voxel, iterations)

    def move(self, source: Source, volume_ml: float, tip: float, voxel: float, iterations: int) -> Portion:
        """Moves a volume along the pressure field that is there."""
        blocked = fill_and_overflow(
            *self._faces,
            self._pressure,
            self._saturation,
            self._pore,
            source.voxels + 1,
            source.weights,
            (volume_ml + self.blocked_ml) * 1e-6,
            self._escape,
            self._outlet,
            self._escaped,
            self._inflow,
            self._queued,
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


_CROSS = ndimage.generate_binary_structure(3, 1)


def portions_ml(volume_ml: float, already_ml: float = 0.0, updates: int = 24) -> list[float]:
    """Volumes between two pressure fields: a fifth of what is in place, within volume / (8 updates) and / updates."""
    if not volume_ml > 0:
        raise InputError("The volume must be positive", got=f"{volume_ml} mL")
    result, placed = [], 0.0
    while placed < volume_ml * (1 - 1e-9):
        portion = min(max(0.2 * (placed + already_ml), volume_ml / updates / 8), volume_ml / updates)
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
    updates: int = 24,
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
