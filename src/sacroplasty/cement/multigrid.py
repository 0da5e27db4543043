"""The pressure equation on a voxel grid: conjugate gradients with a geometric multigrid V-cycle.

Arrays carry one ghost layer; `tx[i]` is the conductance of the face between voxels i-1 and i, `extra` the conductance
from a voxel to a held pressure. A voxel whose conductances are all zero is dead and keeps its pressure. The outer
iteration is in double precision, the V-cycle in single: it only has to point downhill. Sweeps are Chebyshev
polynomials of Jacobi's iteration: row by row these use the processor's vector unit, which Gauss and Seidel's cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import linalg

from sacroplasty.errors import PlanError

Array = npt.NDArray[Any]

# Coarsening stops where the smallest side has this many voxels; that grid is solved directly.
COARSEST_SIDE = 4
# Added to the coarsest diagonal, as a share: a pocket without outlet has no pressure of its own.
COARSEST_SHIFT = 1e-6
# Degree of the smoothing polynomial, and the band of the scaled operator's eigenvalues that it damps; none exceeds 2.
DEGREE = 3
BAND = (0.35, 2.0)
MAX_ITERATIONS = 200
EVERYWHERE = (slice(None), slice(None), slice(None))

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
    """x += step p, r -= step q; returns r . r. Flat arrays."""
    total = 0.0
    for n in range(x.shape[0]):
        x[n] += step * p[n]
        value = r[n] - step * q[n]
        r[n] = value
        total += value * value
    return total


@kernel
def _dot(x: Array, y: Array) -> float:
    """x . y of flat arrays."""
    total = 0.0
    for n in range(x.shape[0]):
        total += x[n] * y[n]
    return total


@kernel
def _sweep(
    tx: Array,
    ty: Array,
    tz: Array,
    inverse: Array,
    b: Array,
    x: Array,
    before: Array,
    row: Array,
    gain: float,
    momentum: float,
) -> None:
    """One step of a Chebyshev polynomial: `before`, the iterate before `x`, becomes the one after it.

    Row by row and in parts that the vector unit takes; `row` works.
    """
    ni, nj, nk = x.shape
    keep, go, on = np.float32(1.0 - gain + momentum), np.float32(gain), np.float32(momentum)
    inner = row[1:-1]
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            u, v, lower, upper = tx[i, j], tx[i + 1, j], x[i - 1, j], x[i + 1, j]
            for k in range(nk):
                row[k] = u[k] * lower[k] + v[k] * upper[k]
            u, v, lower, upper = ty[i, j], ty[i, j + 1], x[i, j - 1], x[i, j + 1]
            for k in range(nk):
                row[k] += u[k] * lower[k] + v[k] * upper[k]
            u, v, lower, upper = tz[i, j, 1:-1], tz[i, j, 2:], x[i, j, :-2], x[i, j, 2:]
            for k in range(nk - 2):
                inner[k] += u[k] * lower[k] + v[k] * upper[k]
            right, there, result, scale = b[i, j], x[i, j], before[i, j], inverse[i, j]
            for k in range(1, nk - 1):
                result[k] = keep * there[k] + go * scale[k] * (right[k] + row[k]) - on * result[k]


@kernel
def _restrict(diagonal: Array, x: Array, jacobi: Array, coarse: Array) -> None:
    """The residual, which is the diagonal times Jacobi's step, summed over the eight voxels of every coarse one."""
    ni, nj, nk = coarse.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                total = np.float32(0.0)
                for u in range(2 * i - 1, 2 * i + 1):
                    for v in range(2 * j - 1, 2 * j + 1):
                        for w in range(2 * k - 1, 2 * k + 1):
                            total += diagonal[u, v, w] * (jacobi[u, v, w] - x[u, v, w])
                coarse[i, j, k] = total


@kernel
def _prolong(coarse: Array, x: Array) -> None:
    ni, nj, _ = x.shape
    for i in range(1, ni - 1):
        for j in range(1, nj - 1):
            given, result = coarse[(i + 1) // 2, (j + 1) // 2], x[i, j]
            for k in range(1, given.shape[0] - 1):
                result[2 * k - 1] += given[k]
                result[2 * k] += given[k]


def _coarsen(fine: _Level, coarse: _Level) -> None:
    """Conductances of the coarse grid: four fine faces in parallel, halved for the doubled distance."""
    first, second = slice(1, -1, 2), slice(2, None, 2)
    inner = (slice(1, -1),) * 3
    for axis, (given, result) in enumerate(zip(fine.faces, coarse.faces, strict=True)):
        across = [a for a in range(3) if a != axis]
        total = np.zeros_like(result[inner])
        for u, v in ((first, first), (first, second), (second, first), (second, second)):
            part = [first] * 3
            part[across[0]], part[across[1]] = u, v
            total += given[tuple(part)]
        result[inner] = 0.5 * total
    total = np.zeros_like(coarse.extra[inner])
    for corner in np.ndindex(2, 2, 2):
        total += fine.extra[tuple(second if c else first for c in corner)]
    coarse.extra[inner] = total


def _diagonal(tx: Array, ty: Array, tz: Array, extra: Array, diagonal: Array) -> None:
    """The sum of a voxel's conductances, on the inner voxels."""
    inner = diagonal[1:-1, 1:-1, 1:-1]
    np.add(extra[1:-1, 1:-1, 1:-1], tx[1:-1, 1:-1, 1:-1], out=inner)
    inner += tx[2:, 1:-1, 1:-1]
    inner += ty[1:-1, 1:-1, 1:-1]
    inner += ty[1:-1, 2:, 1:-1]
    inner += tz[1:-1, 1:-1, 1:-1]
    inner += tz[1:-1, 1:-1, 2:]


@dataclass(frozen=True, eq=False)
class _Level:
    """Single-precision arrays of one grid of the V-cycle, ghost layer included; `row` works."""

    row: Array
    tx: Array
    ty: Array
    tz: Array
    extra: Array
    diagonal: Array
    inverse: Array
    b: Array
    x: Array
    spare: Array

    @staticmethod
    def zeros(shape: tuple[int, ...]) -> _Level:
        """A level of empty arrays with one ghost layer round `shape`."""
        full = tuple(n + 2 for n in shape)
        return _Level(np.zeros(full[2], np.float32), *(np.zeros(full, np.float32) for _ in range(9)))

    @property
    def faces(self) -> tuple[Array, Array, Array]:
        """Conductances along the three axes."""
        return self.tx, self.ty, self.tz

    def smoothed(self, x: Array, spare: Array, from_zero: bool) -> tuple[Array, Array]:
        """The smoothing polynomial applied to x, and the array that is free afterwards."""
        for n, (gain, momentum) in enumerate(CHEBYSHEV):
            if n == 0 and from_zero:
                np.multiply(self.inverse, self.b, out=spare)
                spare *= np.float32(gain)
                x[:] = 0.0
            else:
                _sweep(*self.faces, self.inverse, self.b, x, spare, self.row, gain, momentum)
            x, spare = spare, x
        return x, spare


def _chebyshev() -> tuple[tuple[float, float], ...]:
    """Gain and momentum of every step of the polynomial that damps BAND best."""
    low, high = BAND
    middle, half = (high + low) / 2, (high - low) / 2
    steps, rho = [(1.0 / middle, 0.0)], half / middle
    for _ in range(DEGREE - 1):
        following = 1.0 / (2.0 * middle / half - rho)
        steps.append((2.0 * following / half, following * rho))
        rho = following
    return tuple(steps)


CHEBYSHEV = _chebyshev()


def padded_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The smallest sizes at least `shape` that halve down to the coarsest grid."""
    levels = 0
    while -(-min(shape) // 2 ** (levels + 1)) >= COARSEST_SIDE:
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
        self._diagonal, self._r, self._q, self._z, self._direction = (np.zeros(full) for _ in range(5))
        self._coarsest_factor: Any = None
        self._scale = 0.0

    def _set_up(self, faces: tuple[Array, Array, Array], extra: Array, box: tuple[slice, ...]) -> None:
        """Copies the box (ghost layer included) that changed into the levels, scaled to conductances of about 1."""
        _diagonal(*(a[box] for a in (*faces, extra, self._diagonal)))
        largest = float(self._diagonal.max())
        if not np.isfinite(largest) or largest <= 0.0:
            raise PlanError(
                "No voxel conducts, so there is no pressure field",
                got=f"largest conductance {largest}",
                remedy="Check permeability and viscosity",
            )
        self._scale = self._scale or 1.0 / largest
        finest = self._levels[0]
        given = (*faces, extra, self._diagonal)
        for target, source in zip((*finest.faces, finest.extra, finest.diagonal), given, strict=True):
            target[box] = source[box] * self._scale
        for n, level in enumerate(self._levels):
            if n:
                _coarsen(self._levels[n - 1], level)
                _diagonal(*level.faces, level.extra, level.diagonal)
            part = box if n == 0 else (slice(None),) * 3
            own = level.diagonal[part]
            level.inverse[part] = np.divide(1.0, own, out=np.zeros_like(own), where=own > 0.0)
        self._coarsest_factor = _factored(self._levels[-1])

    def _v_cycle(self, n: int) -> Array:
        level = self._levels[n]
        if n + 1 == len(self._levels):
            inner = level.b[1:-1, 1:-1, 1:-1]
            level.x[1:-1, 1:-1, 1:-1] = linalg.cho_solve(
                self._coarsest_factor, inner.ravel().astype(np.float64), check_finite=False
            ).reshape(inner.shape)
            return level.x
        below = self._levels[n + 1]
        x, spare = level.smoothed(level.x, level.spare, from_zero=True)
        _sweep(*level.faces, level.inverse, level.b, x, spare, level.row, 1.0, 0.0)
        _restrict(level.diagonal, x, spare, below.b)
        _prolong(self._v_cycle(n + 1), x)
        return level.smoothed(x, spare, from_zero=False)[0]

    def _precondition(self, r: Array, norm: float) -> Array:
        """One V-cycle on r / |r|, scaled back: single precision could not hold the bare values."""
        np.multiply(r, 1.0 / norm, out=self._z)
        self._levels[0].b[:] = self._z
        return np.multiply(self._v_cycle(0), norm, out=self._z)

    def solve(
        self,
        faces: tuple[Array, Array, Array],
        extra: Array,
        b: Array,
        p: Array,
        tolerance: float,
        box: tuple[slice, ...] = EVERYWHERE,
    ) -> int:
        """Improves `p` in place until |b - A p| <= tolerance |b|; returns the iterations used.

        Outside `box` (with ghost layer) nothing changed since the last call, the first excepted. PlanError where it
        takes more than MAX_ITERATIONS.
        """
        self._set_up(faces, extra, box if self._scale else EVERYWHERE)
        r, q, direction = self._r, self._q, self._direction
        _apply(*faces, self._diagonal, p, q)
        np.subtract(b, q, out=r)
        target = tolerance * np.sqrt(_dot(b.ravel(), b.ravel()))
        norm = np.sqrt(_dot(r.ravel(), r.ravel()))
        if norm <= target:
            return 0
        direction[:] = self._precondition(r, norm)
        rz = _dot(r.ravel(), direction.ravel())
        for iteration in range(1, MAX_ITERATIONS + 1):
            step = rz / _apply(*faces, self._diagonal, direction, q)
            norm = np.sqrt(_advance(p.ravel(), r.ravel(), direction.ravel(), q.ravel(), step))
            if norm <= target:
                return iteration
            z = self._precondition(r, norm)
            rz, before = _dot(r.ravel(), z.ravel()), rz
            direction *= rz / before
            direction += z
        raise PlanError(
            "The pressure field did not converge",
            got=f"residual {norm / np.sqrt(_dot(b.ravel(), b.ravel())):.1e} after {MAX_ITERATIONS} iterations",
            remedy="Lower the contrast of permeability",
        )


def _factored(level: _Level) -> Any:
    """Cholesky's factor of the coarsest operator, dead voxels held at zero."""
    diagonal = level.diagonal[1:-1, 1:-1, 1:-1].astype(np.float64)
    number = np.arange(diagonal.size).reshape(diagonal.shape)
    alive = np.where(diagonal > 0.0, diagonal * (1.0 + COARSEST_SHIFT), 1.0)
    matrix = np.diag(alive.ravel())
    for axis, face in enumerate(level.faces):
        between = np.moveaxis(face[1:-1, 1:-1, 1:-1], axis, 0)[1:].ravel()
        places = np.moveaxis(number, axis, 0)
        low, high = places[:-1].ravel(), places[1:].ravel()
        matrix[low, high] = matrix[high, low] = -between
    return linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
