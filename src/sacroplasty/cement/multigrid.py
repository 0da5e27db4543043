"""The pressure equation on a voxel grid: conjugate gradients with a geometric multigrid V-cycle.

Arrays carry one ghost layer; `tx[i]` is the conductance of the face between voxels i-1 and i, `extra` the conductance
from a voxel to a held pressure. A voxel whose conductances are all zero is dead and keeps its pressure. The outer
iteration is in double precision, the V-cycle in single: it only has to point downhill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from sacroplasty.errors import PlanError

Array = npt.NDArray[Any]

# Coarsening stops where the smallest side has this many voxels; sweeps there are as good as a direct solve.
COARSEST_SIDE = 4
COARSEST_SWEEPS = 12
SWEEPS = 2
MAX_ITERATIONS = 200

kernel = numba.njit(fastmath=True, cache=True)


@kernel
def _apply(tx: Array, ty: Array, tz: Array, diagonal: Array, x: Array, y: Array) -> float:
    """y = A x; returns x . y."""
    ni, nj, nk = x.shape
    total = 0.0
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                value = (
                    diagonal[i, j, k] * x[i, j, k]
                    - tx[i, j, k] * x[i - 1, j, k]
                    - tx[i + 1, j, k] * x[i + 1, j, k]
                    - ty[i, j, k] * x[i, j - 1, k]
                    - ty[i, j + 1, k] * x[i, j + 1, k]
                    - tz[i, j, k] * x[i, j, k - 1]
                    - tz[i, j, k + 1] * x[i, j, k + 1]
                )
                y[i, j, k] = value
                total += value * x[i, j, k]
    return total


@kernel
def _advance(x: Array, r: Array, p: Array, q: Array, step: float) -> float:
    """x += step p, r -= step q; returns r . r."""
    total = 0.0
    ni, nj, nk = x.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                x[i, j, k] += step * p[i, j, k]
                value = r[i, j, k] - step * q[i, j, k]
                r[i, j, k] = value
                total += value * value
    return total


@kernel
def _dot(x: Array, y: Array) -> float:
    total = 0.0
    ni, nj, nk = x.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                total += x[i, j, k] * y[i, j, k]
    return total


@kernel
def _smooth(tx: Array, ty: Array, tz: Array, inverse: Array, b: Array, x: Array, colour: int) -> None:
    """One colour of a red-black Gauss-Seidel sweep."""
    ni, nj, nk = x.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1 + ((i + j + colour) & 1), nk - 1, 2):
                x[i, j, k] = inverse[i, j, k] * (
                    b[i, j, k]
                    + tx[i, j, k] * x[i - 1, j, k]
                    + tx[i + 1, j, k] * x[i + 1, j, k]
                    + ty[i, j, k] * x[i, j - 1, k]
                    + ty[i, j + 1, k] * x[i, j + 1, k]
                    + tz[i, j, k] * x[i, j, k - 1]
                    + tz[i, j, k + 1] * x[i, j, k + 1]
                )


@kernel
def _restrict(tx: Array, ty: Array, tz: Array, diagonal: Array, b: Array, x: Array, coarse: Array) -> None:
    """The residual b - A x, summed over the eight voxels of every coarse one."""
    coarse[:] = 0.0
    ni, nj, nk = x.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                coarse[(i + 1) // 2, (j + 1) // 2, (k + 1) // 2] += (
                    b[i, j, k]
                    - diagonal[i, j, k] * x[i, j, k]
                    + tx[i, j, k] * x[i - 1, j, k]
                    + tx[i + 1, j, k] * x[i + 1, j, k]
                    + ty[i, j, k] * x[i, j - 1, k]
                    + ty[i, j + 1, k] * x[i, j + 1, k]
                    + tz[i, j, k] * x[i, j, k - 1]
                    + tz[i, j, k + 1] * x[i, j, k + 1]
                )


@kernel
def _prolong(coarse: Array, x: Array) -> None:
    ni, nj, nk = x.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                x[i, j, k] += coarse[(i + 1) // 2, (j + 1) // 2, (k + 1) // 2]


@kernel
def _coarsen(tx: Array, ty: Array, tz: Array, extra: Array, cx: Array, cy: Array, cz: Array, ce: Array) -> None:
    """Conductances of the coarse grid: four fine faces in parallel, halved for the doubled distance."""
    ni, nj, nk = ce.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                a, b, c = 2 * i - 1, 2 * j - 1, 2 * k - 1
                total = 0.0
                for u in range(2):
                    for v in range(2):
                        for w in range(2):
                            total += extra[a + u, b + v, c + w]
                ce[i, j, k] = total
                cx[i, j, k] = 0.5 * (tx[a, b, c] + tx[a, b + 1, c] + tx[a, b, c + 1] + tx[a, b + 1, c + 1])
                cy[i, j, k] = 0.5 * (ty[a, b, c] + ty[a + 1, b, c] + ty[a, b, c + 1] + ty[a + 1, b, c + 1])
                cz[i, j, k] = 0.5 * (tz[a, b, c] + tz[a + 1, b, c] + tz[a, b + 1, c] + tz[a + 1, b + 1, c])


@kernel
def _diagonal(tx: Array, ty: Array, tz: Array, extra: Array, diagonal: Array, inverse: Array) -> None:
    ni, nj, nk = diagonal.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                total = (
                    extra[i, j, k]
                    + tx[i, j, k]
                    + tx[i + 1, j, k]
                    + ty[i, j, k]
                    + ty[i, j + 1, k]
                    + tz[i, j, k]
                    + tz[i, j, k + 1]
                )
                diagonal[i, j, k] = total
                inverse[i, j, k] = 1.0 / total if total > 0.0 else 0.0


@dataclass(frozen=True, eq=False)
class _Level:
    """Single-precision arrays of one grid of the V-cycle, ghost layer included."""

    tx: Array
    ty: Array
    tz: Array
    extra: Array
    diagonal: Array
    inverse: Array
    x: Array
    b: Array

    @staticmethod
    def zeros(shape: tuple[int, ...]) -> _Level:
        """A level of empty arrays with one ghost layer round `shape`."""
        return _Level(*(np.zeros(tuple(n + 2 for n in shape), np.float32) for _ in range(8)))


def padded_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The smallest sizes at least `shape` that halve down to the coarsest grid."""
    levels = 0
    while min(shape) // 2 ** (levels + 1) >= COARSEST_SIDE:
        levels += 1
    block = 2**levels
    i, j, k = (-(-n // block) * block for n in shape)
    return i, j, k


class PressureSolver:
    """Solves A p = b for conductances that change between calls; the last pressure is the next starting point."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._levels = [_Level.zeros(shape)]
        while min(shape) >= 2 * COARSEST_SIDE and not any(n % 2 for n in shape):
            shape = tuple(n // 2 for n in shape)
            self._levels.append(_Level.zeros(shape))
        full = self._levels[0].x.shape
        self._diagonal, self._inverse, self._r, self._q, self._z = (np.zeros(full) for _ in range(5))

    def _set_up(self, faces: tuple[Array, Array, Array], extra: Array) -> float:
        """Copies the system into the levels, scaled to a largest conductance of 1; returns the scale."""
        _diagonal(*faces, extra, self._diagonal, self._inverse)
        largest = float(self._diagonal.max())
        if not np.isfinite(largest) or largest <= 0.0:
            raise PlanError(
                "No voxel conducts, so there is no pressure field",
                got=f"largest conductance {largest}",
                remedy="Check permeability and viscosity",
            )
        finest = self._levels[0]
        for target, source in zip((finest.tx, finest.ty, finest.tz, finest.extra), (*faces, extra), strict=True):
            np.multiply(source, 1.0 / largest, out=target, casting="same_kind")
        for n, level in enumerate(self._levels):
            _diagonal(level.tx, level.ty, level.tz, level.extra, level.diagonal, level.inverse)
            if n + 1 < len(self._levels):
                below = self._levels[n + 1]
                _coarsen(level.tx, level.ty, level.tz, level.extra, below.tx, below.ty, below.tz, below.extra)
        return largest

    def _v_cycle(self, n: int) -> Array:
        level = self._levels[n]
        grid = (level.tx, level.ty, level.tz)
        level.x[:] = 0.0
        last = n + 1 == len(self._levels)
        for _ in range(COARSEST_SWEEPS if last else SWEEPS):
            _smooth(*grid, level.inverse, level.b, level.x, 0)
            _smooth(*grid, level.inverse, level.b, level.x, 1)
        if not last:
            _restrict(*grid, level.diagonal, level.b, level.x, self._levels[n + 1].b)
            _prolong(self._v_cycle(n + 1), level.x)
        for _ in range(COARSEST_SWEEPS if last else SWEEPS):
            _smooth(*grid, level.inverse, level.b, level.x, 1)
            _smooth(*grid, level.inverse, level.b, level.x, 0)
        return level.x

    def _precondition(self, r: Array, norm: float) -> Array:
        """One V-cycle on r / |r|, scaled back: single precision could not hold the bare values."""
        np.multiply(r, 1.0 / norm, out=self._levels[0].b, casting="same_kind")
        return np.multiply(self._v_cycle(0), norm, out=self._z)

    def solve(self, faces: tuple[Array, Array, Array], extra: Array, b: Array, p: Array, tolerance: float) -> int:
        """Improves `p` in place until |b - A p| <= tolerance |b|; returns the iterations used.

        PlanError where that takes more than MAX_ITERATIONS.
        """
        self._set_up(faces, extra)
        r, q = self._r, self._q
        _apply(*faces, self._diagonal, p, q)
        np.subtract(b, q, out=r)
        target = tolerance * np.sqrt(_dot(b, b))
        norm = np.sqrt(_dot(r, r))
        if norm <= target:
            return 0
        z = self._precondition(r, norm)
        direction = z.copy()
        rz = _dot(r, z)
        for iteration in range(1, MAX_ITERATIONS + 1):
            step = rz / _apply(*faces, self._diagonal, direction, q)
            norm = np.sqrt(_advance(p, r, direction, q, step))
            if norm <= target:
                return iteration
            z = self._precondition(r, norm)
            rz, before = _dot(r, z), rz
            direction *= rz / before
            direction += z
        raise PlanError(
            "The pressure field did not converge",
            got=f"residual {norm / np.sqrt(_dot(b, b)):.1e} after {MAX_ITERATIONS} iterations",
            remedy="Lower the contrast of permeability",
        )
