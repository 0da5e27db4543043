"""Linear elasticity on voxels: matrix-free 8-node hexahedra, conjugate gradients with a multigrid V-cycle.

One modulus per voxel (MPa), one Poisson ratio. Displacements are in voxels of the finest grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError, PlanError

Array = npt.NDArray[Any]

POISSON = 0.3
MAX_ITERATIONS = 600
SWEEPS = 2
COARSEST_SWEEPS = 30
# Damping of Jacobi sweeps: the largest eigenvalue of the scaled operator stays below 4 for trilinear bricks.
DAMPING = 0.45
COARSEST_SIDE = 3


def element_stiffness(poisson: float = POISSON) -> Array:
    """24 x 24 stiffness of the unit cube for modulus 1, 2 x 2 x 2 Gauss points; node order (i, j, k), then x, y, z."""
    lame, shear = poisson / ((1 + poisson) * (1 - 2 * poisson)), 1 / (2 * (1 + poisson))
    law = np.zeros((6, 6))
    law[:3, :3] = lame
    law[range(3), range(3)] += 2 * shear
    law[3:, 3:] = np.eye(3) * shear
    gauss = 0.5 + np.array([-1, 1]) / (2 * np.sqrt(3))
    stiffness = np.zeros((24, 24))
    for point in np.stack(np.meshgrid(gauss, gauss, gauss, indexing="ij"), -1).reshape(-1, 3):
        b = strain_matrix(point)
        stiffness += b.T @ law @ b / 8
    return stiffness


def strain_matrix(point: Array) -> Array:
    """6 x 24 matrix from the nodes' displacements to strain (xx, yy, zz, xy, yz, zx) at a point of the unit cube."""
    nodes = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    b = np.zeros((6, 24))
    for q in range(8):
        f = np.where(nodes[q] > 0, point, 1 - point)
        s = np.where(nodes[q] > 0, 1, -1)
        x, y, z = s[0] * f[1] * f[2], f[0] * s[1] * f[2], f[0] * f[1] * s[2]
        b[:, 3 * q : 3 * q + 3] = [[x, 0, 0], [0, y, 0], [0, 0, z], [y, x, 0], [0, z, y], [z, 0, x]]
    return b


@numba.njit(fastmath=True, cache=True)
def apply_stiffness(modulus: Array, k: Array, u: Array, y: Array, fixed: Array) -> None:
    """y = K u, element by element; nodes that are fixed act as identity."""
    y[:] = 0.0
    ni, nj, nk = modulus.shape
    local = np.empty(24)
    for a in range(ni):
        for b in range(nj):
            for c in range(nk):
                e = modulus[a, b, c]
                if e == 0.0:
                    continue
                for q in range(8):
                    for d in range(3):
                        local[3 * q + d] = u[a + (q >> 2), b + ((q >> 1) & 1), c + (q & 1), d]
                for q in range(8):
                    for d in range(3):
                        total = 0.0
                        for r in range(24):
                            total += k[3 * q + d, r] * local[r]
                        y[a + (q >> 2), b + ((q >> 1) & 1), c + (q & 1), d] += e * total
    for a in range(ni + 1):
        for b in range(nj + 1):
            for c in range(nk + 1):
                if fixed[a, b, c]:
                    for d in range(3):
                        y[a, b, c, d] = u[a, b, c, d]


@dataclass(frozen=True, eq=False)
class _Level:
    modulus: Array
    fixed: Array
    inverse: Array


def _level(modulus: Array, fixed: Array, k: Array) -> _Level:
    weight = np.zeros(fixed.shape)
    n = modulus.shape
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                weight[a : a + n[0], b : b + n[1], c : c + n[2]] += modulus
    diagonal = weight * k[0, 0]
    inverse = np.where(diagonal > 0, 1.0 / np.maximum(diagonal, 1e-30), 0.0)
    inverse[fixed] = 1.0
    return _Level(modulus, fixed, inverse[..., None])


def _levels(modulus: Array, fixed: Array, k: Array) -> list[_Level]:
    """Halved grids; a coarse brick of twice the side and the mean modulus is twice as stiff per node."""
    levels = [_level(modulus, fixed, k)]
    while min(modulus.shape) >= 2 * COARSEST_SIDE and not any(n % 2 for n in modulus.shape):
        a, b, c = (n // 2 for n in modulus.shape)
        modulus = np.ascontiguousarray(modulus.reshape(a, 2, b, 2, c, 2).mean(axis=(1, 3, 5)) * 2.0)
        fixed = np.ascontiguousarray(fixed[::2, ::2, ::2])
        levels.append(_level(modulus, fixed, k))
    return levels


def _prolonged(coarse: Array, shape: tuple[int, ...]) -> Array:
    """Trilinear interpolation to the nodes of the finer grid."""
    result = coarse
    for axis in range(3):
        size = shape[axis]
        fine = np.zeros((*result.shape[:axis], size, *result.shape[axis + 1 :]))
        moved, source = np.moveaxis(fine, axis, 0), np.moveaxis(result, axis, 0)
        moved[::2] = source
        moved[1::2] = 0.5 * (source[:-1] + source[1:])
        result = fine
    return result


def _restricted(fine: Array) -> Array:
    """The transpose of the interpolation."""
    result = fine
    for axis in range(3):
        source = np.moveaxis(result, axis, 0)
        coarse = source[::2].copy()
        coarse[:-1] += 0.5 * source[1::2]
        coarse[1:] += 0.5 * source[1::2]
        result = np.moveaxis(coarse, 0, axis)
    return np.ascontiguousarray(result)


def _v_cycle(levels: list[_Level], k: Array, b: Array) -> Array:
    level = levels[0]
    last = len(levels) == 1
    y = np.empty_like(b)
    x = DAMPING * level.inverse * b
    for _ in range((COARSEST_SWEEPS if last else SWEEPS) - 1):
        apply_stiffness(level.modulus, k, x, y, level.fixed)
        x += DAMPING * level.inverse * (b - y)
    if not last:
        apply_stiffness(level.modulus, k, x, y, level.fixed)
        r = b - y
        r[level.fixed] = 0.0
        coarse = _restricted(r)
        coarse[levels[1].fixed] = 0.0
        correction = _prolonged(_v_cycle(levels[1:], k, coarse), b.shape)
        correction[level.fixed] = 0.0
        x += correction
        for _ in range(SWEEPS):
            apply_stiffness(level.modulus, k, x, y, level.fixed)
            x += DAMPING * level.inverse * (b - y)
    return x


@dataclass(frozen=True, eq=False)
class Compression:
    """Answer to pressing the top plane (last k) down: force (N), displacement (nodes, 3; voxels), strain per voxel.

    `strain` (i, j, k) is the equivalent (von Mises) strain at the voxel's centre.
    """

    force_n: float
    displacement: Array
    strain: Array
    iterations: int


def compress(modulus_mpa: Array, spacing_mm: float, *, strain: float = 1e-3, tolerance: float = 1e-5) -> Compression:
    """Presses a block between rough plates along k by an apparent strain; InputError for a modulus below 0.

    PlanError where the iteration does not converge.
    """
    modulus = np.array(modulus_mpa, dtype=np.float64, order="C")
    if modulus.ndim != 3 or not np.isfinite(modulus).all() or (modulus < 0).any() or not modulus.any():
        raise InputError("The modulus must be finite, not negative and somewhere positive", got=str(modulus.shape))
    k = element_stiffness()
    nodes = tuple(n + 1 for n in modulus.shape)
    fixed, free = np.zeros(nodes, np.bool_), np.zeros(nodes, np.bool_)
    fixed[:, :, 0] = fixed[:, :, -1] = True
    prescribed = np.zeros((*nodes, 3))
    prescribed[:, :, -1, 2] = -strain * modulus.shape[2]
    y = np.empty_like(prescribed)
    apply_stiffness(modulus, k, prescribed, y, free)
    b = -y
    b[fixed] = 0.0
    u, iterations = _solved(_levels(modulus, fixed, k), k, b, tolerance)
    u += prescribed
    apply_stiffness(modulus, k, u, y, free)
    return Compression(float(-y[:, :, -1, 2].sum() * spacing_mm**2), u, equivalent_strain(u), iterations)


def _solved(levels: list[_Level], k: Array, b: Array, tolerance: float) -> tuple[Array, int]:
    """Conjugate gradients from zero."""
    level = levels[0]
    u, r, y = np.zeros_like(b), b.copy(), np.empty_like(b)
    z = _v_cycle(levels, k, r)
    p, rz, target = z.copy(), float(np.vdot(r, z)), tolerance * float(np.linalg.norm(b))
    for iteration in range(1, MAX_ITERATIONS + 1):
        apply_stiffness(level.modulus, k, p, y, level.fixed)
        step = rz / float(np.vdot(p, y))
        u += step * p
        r -= step * y
        if float(np.linalg.norm(r)) <= target:
            return u, iteration
        z = _v_cycle(levels, k, r)
        rz, before = float(np.vdot(r, z)), rz
        p = z + rz / before * p
    raise PlanError(
        "The elastic problem did not converge",
        got=f"{MAX_ITERATIONS} iterations",
        remedy="Coarsen the block or lower the contrast of stiffness",
    )


def equivalent_strain(u: Array) -> Array:
    """Von Mises strain (i, j, k) at voxel centres of a displacement field (nodes, 3)."""
    b = strain_matrix(np.full(3, 0.5))
    n = tuple(s - 1 for s in u.shape[:3])
    total = np.zeros((*n, 6))
    for q in range(8):
        a, c, d = q >> 2, (q >> 1) & 1, q & 1
        total += u[a : a + n[0], c : c + n[1], d : d + n[2]] @ b[:, 3 * q : 3 * q + 3].T
    normal, shear = total[..., :3], total[..., 3:] / 2
    deviator = normal - normal.mean(axis=-1, keepdims=True)
    return np.asarray(np.sqrt(2.0 / 3.0 * ((deviator**2).sum(axis=-1) + 2 * (shear**2).sum(axis=-1))))
