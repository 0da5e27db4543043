"""Elasticity against the patch test, a bar, a sphere's inclusion, and the cost of multigrid."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.cement.elasticity import apply_stiffness, compress, element_stiffness, equivalent_strain
from sacroplasty.errors import InputError


def test_a_linear_displacement_leaves_no_inner_force() -> None:
    n = 6
    g = np.stack(np.meshgrid(*[np.arange(n + 1.0)] * 3, indexing="ij"), -1)
    u = g @ np.array([[1, 0.2, 0.1], [0.3, -0.5, 0.2], [0, 0.1, 0.7]])
    y = np.empty_like(u)
    apply_stiffness(np.ones((n,) * 3), element_stiffness(), u, y, np.zeros((n + 1,) * 3, np.bool_))
    assert np.abs(y[1:-1, 1:-1, 1:-1]).max() < 1e-12


def test_simple_strain_is_reported_as_von_mises() -> None:
    g = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), -1)
    assert equivalent_strain(g * [0.0, 0.0, 0.01]).mean() == pytest.approx(0.01 * 2 / 3)


def test_a_slender_bar_has_hookes_force() -> None:
    # Rough plates stiffen the ends of a bar by a known kind of effect: the long bar comes close to Hooke's law.
    short = compress(np.full((8, 8, 16), 150.0), 1.0)
    long = compress(np.full((8, 8, 64), 150.0), 1.0)
    hooke = 150.0 * 64 * 1e-3
    assert hooke < long.force_n < short.force_n
    assert long.force_n == pytest.approx(hooke, rel=0.02)


def test_a_dilute_hole_lowers_the_modulus_as_known() -> None:
    n = 32
    c = np.arange(n) - (n - 1) / 2
    ball = c[:, None, None] ** 2 + c[None, :, None] ** 2 + c**2 < 8.0**2
    modulus = np.full((n, n, n), 100.0)
    whole = compress(modulus, 1.0).force_n
    holed = compress(np.where(ball, 1e-3, modulus), 1.0).force_n
    share = ball.mean()
    # Dilute spherical pores, Poisson 0.3: E falls by 2.0 times their share; voxel steps and walls allow a fifth.
    assert 1 - holed / whole == pytest.approx(2.0 * share, rel=0.2)


def test_multigrid_keeps_the_iterations_low() -> None:
    rng = np.random.default_rng(1)
    counts = []
    for n in (16, 32):
        modulus = 100.0 * 10 ** rng.normal(0, 0.3, (n, n, n))
        counts.append(compress(modulus, 1.0).iterations)
    assert max(counts) <= 30


def test_guards_fire() -> None:
    with pytest.raises(InputError, match="modulus"):
        compress(np.full((4, 4, 4), -1.0), 1.0)
