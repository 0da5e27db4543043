"""Heat against closed forms: hot sphere, adiabatic rise, slab with source, thermal dose, setting time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import erf

from sacroplasty.cement.heat import (
    MOULD_HASTE,
    SEED_CONVERSION,
    add_dose,
    conversion_at,
    cure_rate,
    cure_step,
    heat_step,
    reach,
)
from sacroplasty.cement.rheology import cement_named
from sacroplasty.evidence import value


def test_a_hot_sphere_cools_as_the_closed_form_says() -> None:
    n, h, radius, diffusivity = 44, 1e-3, 0.008, 0.4 / 2.4e6
    c = (np.arange(n) - n / 2 + 0.5) * h
    x, y, z = np.meshgrid(c, c, c, indexing="ij")
    r = np.sqrt(x * x + y * y + z * z)
    t = np.zeros((n, n, n))
    offsets = (np.arange(5) + 0.5) / 5 - 0.5
    for a, b, d in itertools.product(offsets * h, repeat=3):
        t += ((x + a) ** 2 + (y + b) ** 2 + (z + d) ** 2 < radius**2) / 125
    radius = (3 * t.sum() * h**3 / 4 / np.pi) ** (1 / 3)
    new, same = t.copy(), np.full_like(t, 0.4)
    capacity, none = np.full_like(t, 2.4e6), np.zeros_like(t)
    dt = 0.9 * h * h / 6 / diffusivity
    steps = int(150 / dt)
    for _ in range(steps):
        heat_step(t, new, same, capacity, none, none, dt, h)
        t, new = new, t
    s = 2 * np.sqrt(diffusivity * steps * dt)
    e1, e2 = (radius - r) / s, (radius + r) / s
    exact = 0.5 * (erf(e1) + erf(e2)) - s / 2 / (r * np.sqrt(np.pi)) * (np.exp(-(e1**2)) - np.exp(-(e2**2)))
    assert np.abs(t - exact)[r < 0.016].max() < 0.002


def test_cement_without_neighbours_warms_by_its_heat() -> None:
    shape = (125,)
    t, conversion, fraction, source = np.full(shape, 37.0), np.zeros(shape), np.ones(shape), np.zeros(shape)
    dt, capacity, heat = 0.5, 1.8e6, 1.5e8
    for _ in range(4000):
        cure_step(t, conversion, fraction, source, dt, 9e4, 4.1e4, heat)
        t += dt * source / capacity
    assert conversion.min() > 0.999
    assert t.max() - 37.0 == pytest.approx(heat * conversion.max() / capacity, rel=1e-3)


def test_a_slab_with_a_source_reaches_its_parabola() -> None:
    n, h, k, q = 21, 1e-3, 0.4, 2e5
    t = np.full((n, 3, 3), 37.0)
    new, same, capacity = t.copy(), np.full_like(t, k), np.full_like(t, 1e6)
    none, source = np.zeros_like(t), np.full_like(t, q)
    for _ in range(6000):
        heat_step(t, new, same, capacity, none, source, 0.35, h)
        new[:, [0, 2], :] = new[:, 1:2, :]
        new[:, :, [0, 2]] = new[:, :, 1:2]
        t, new = new, t
    length = (n - 1) * h
    assert t[n // 2, 1, 1] - 37.0 == pytest.approx(q * length**2 / 8 / k, rel=0.005)


@pytest.mark.parametrize(("celsius", "per_minute"), [(43.0, 1.0), (45.0, 4.0), (41.0, 1 / 16), (38.0, 0.0)])
def test_dose_of_a_constant_temperature(celsius: float, per_minute: float) -> None:
    t, dose = np.full(8, celsius), np.zeros(8)
    for _ in range(120):
        add_dose(t, dose, 0.5)
    assert dose[0] == pytest.approx(per_minute, rel=1e-9)


def test_kinetics_come_half_way_at_the_named_time() -> None:
    cement = cement_named("simplex-p")
    shape, dt, energy = (1,), 0.5, 3.3e4
    rate, half = cure_rate(cement, energy), MOULD_HASTE * cement.setting_s
    t, conversion = np.full(shape, 22.0), np.zeros(shape)
    for _ in range(int(half / dt)):
        cure_step(t, conversion, np.ones(shape), np.zeros(shape), dt, rate, energy, 1.0)
    assert conversion[0] == pytest.approx(0.5 * reach(22.0), abs=0.01)
    assert conversion_at(cement, half) == pytest.approx(0.5 * reach(22.0), abs=0.01)
    assert conversion_at(cement, 0.0) < SEED_CONVERSION


def test_a_cool_cement_keeps_its_monomer() -> None:
    # Glass forms at T / 378 K: four fifths react at 37 °C, all of it only above 105 °C, and cooling takes none back.
    t, conversion, source = np.array([37.0, 70.0, 110.0]), np.zeros(3), np.zeros(3)
    for _ in range(4000):
        cure_step(t, conversion, np.ones(3), source, 1.0, 1e4, 3.3e4, 1.0)
    assert conversion == pytest.approx([310.15 / 378.15, 343.15 / 378.15, 1.0], abs=1e-3)
    cure_step(np.full(3, 20.0), conversion, np.ones(3), source, 1.0, 1e4, 3.3e4, 1.0)
    assert (source == 0.0).all()
    assert conversion[2] == pytest.approx(1.0, abs=1e-3)


def test_cement_in_the_mould_of_the_standard_sets_at_the_named_time() -> None:
    # ISO 5833: 6 mm between PTFE at room temperature; set when half way from the room to the peak.
    cement, h, energy = cement_named("simplex-p"), 0.5e-3, value("cement.cure_activation") * 1e3
    rate, heat = cure_rate(cement, energy), cement.heat_j_g * 1.2e6
    t = np.full((54, 3, 3), 22.0)
    conductivity, capacity = np.full_like(t, 0.25), np.full_like(t, 2.17e6)
    conductivity[21:33], capacity[21:33] = 0.22, 1.8e6
    new, none, source, conversion = t.copy(), np.zeros_like(t), np.zeros_like(t), np.full(12, SEED_CONVERSION)
    middle = []
    for _ in range(4500):
        gained = np.zeros(12)
        cure_step(t[21:33, 1, 1], conversion, np.ones(12), gained, 0.3, rate, energy, heat)
        source[21:33] = gained[:, None, None]
        heat_step(t, new, conductivity, capacity, none, source, 0.3, h)
        new[:, [0, 2], :] = new[:, 1:2, :]
        new[:, :, [0, 2]] = new[:, :, 1:2]
        t, new = new, t
        middle.append(t[27, 1, 1])
    setting = 0.3 * int(np.argmax(np.array(middle) > (max(middle) + 22.0) / 2))
    assert setting == pytest.approx(cement.setting_s, rel=0.05)
