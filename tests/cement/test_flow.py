"""The solver against closed forms, symmetries and scaling laws."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.cement import CementFlow, Medium, PowerLaw, Source, inject
from sacroplasty.errors import InputError, PlanError
from tests.cement.blocks import (
    CEMENT_PA_S,
    MARROW_PA_S,
    PERMEABILITY_M2,
    POROSITY,
    RATE_ML_S,
    centre,
    cone_radius_mm,
    injected,
    uniform,
)


def radius_mm(volume_ml: float) -> float:
    return float((3 * volume_ml * 1e3 / (4 * np.pi * POROSITY)) ** (1 / 3))


def test_spherical_piston_has_the_closed_form_pressure_at_every_volume() -> None:
    medium = uniform(40, 1.0)
    result = injected(medium, 4.0)
    q = RATE_ML_S * 1e-6 / (4 * np.pi * PERMEABILITY_M2)
    # The cube's zero-pressure faces act like a sphere of this radius (0.62 of its side); it weighs 0.1 % of the answer.
    rim = 0.62 * 0.040
    # Pressure belongs to the cloud before the portion, the sphere to its true radius.
    for n in range(12, len(result.injected_ml)):
        front = radius_mm(float(result.injected_ml[n - 1])) * 1e-3
        expected = q * (CEMENT_PA_S * (1 / 0.9e-3 - 1 / front) + MARROW_PA_S * (1 / front - 1 / rim))
        assert result.tip_pressure_pa[n] == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("updates", [10, 24, 40])
def test_the_cloud_is_a_sphere_in_every_lattice_direction(updates: int) -> None:
    medium = uniform(40, 1.0)
    result = injected(medium, 4.0, updates=updates)
    expected = radius_mm(4.0)
    for family in ((1, 0, 0), (1, 1, 0), (1, 1, 1)):
        assert cone_radius_mm(result.saturation, 1.0, (20, 20, 20), family) == pytest.approx(expected, rel=0.03)


def test_the_cannula_has_the_power_laws_closed_form() -> None:
    # Newtonian: Hagen and Poiseuille; half the radius and n = 1/2: the drop grows by 2^(3n + 1).
    thin = PowerLaw(50.0)
    assert thin.cannula_drop_pa(0.05, 125.0, 1.8) == pytest.approx(8 * 50.0 * 0.125 * 5e-8 / (np.pi * 0.9e-3**4))
    law = PowerLaw(80.0, 0.5)
    wide, narrow = law.cannula_drop_pa(0.05, 125.0, 2.4), law.cannula_drop_pa(0.05, 125.0, 1.2)
    assert narrow / wide == pytest.approx(2.0**2.5)


def test_anisotropic_bone_gives_an_ellipsoid_with_the_root_of_the_permeabilities() -> None:
    result = injected(uniform(40, 1.0, tensor=(0.5, 1.0, 1.0)), 4.0)
    g = np.arange(40) - 20.0
    weight = result.saturation / result.saturation.sum()
    second = [np.sqrt((weight.sum(axis=tuple({0, 1, 2} - {a})) * g**2).sum()) for a in range(3)]
    assert second[0] / second[1] == pytest.approx(np.sqrt(0.5), rel=0.015)
    assert second[1] == pytest.approx(second[2], rel=0.005)


def test_one_dimensional_piston_moves_and_presses_as_in_the_textbook() -> None:
    n, h = 64, 1.0
    permeability = np.zeros((n, 8, 8))
    permeability[:, 2:6, 2:6] = PERMEABILITY_M2
    outlet = np.zeros((n, 8, 8), np.int32)
    outlet[-1, 2:6, 2:6] = 1
    medium = Medium(permeability, np.full((n, 8, 8), POROSITY), h, outlet=outlet, open_rim=False)
    rows = np.array([(0, j, k) for j in range(2, 6) for k in range(2, 6)])
    source = Source(rows, np.full(16, 1 / 16), 0.9)
    result = inject(medium, source, volume_ml=0.4, rate_ml_s=0.01, cement=CEMENT_PA_S, marrow_pa_s=MARROW_PA_S)
    front_mm = 400.0 / (16 * POROSITY)
    filled = result.saturation[:, 3, 3].sum() * h
    assert filled == pytest.approx(front_mm, abs=h)
    speed = 0.01e-6 / 16e-6
    length = (result.injected_ml[-2] * 1e3 / (16 * POROSITY) - 0.5) * 1e-3
    expected = speed / PERMEABILITY_M2 * (CEMENT_PA_S * length + MARROW_PA_S * (0.063 - length))
    assert result.voxel_pressure_pa[-1] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("index", [0.4, 0.5, 0.7])
def test_shear_thinning_cement_has_the_closed_form_drop(index: float) -> None:
    law = PowerLaw(60.0, index)
    medium = uniform(40, 1.0)
    result = injected(medium, 4.0, cement=law)
    front = radius_mm(float(result.injected_ml[-2])) * 1e-3
    expected = law.radial_drop_pa(RATE_ML_S * 1e-6, PERMEABILITY_M2, POROSITY, 0.9e-3, front)
    assert result.tip_pressure_pa[-1] == pytest.approx(expected, rel=0.02)


def test_volume_is_balanced_to_a_millionth() -> None:
    rng = np.random.default_rng(4)
    permeability = PERMEABILITY_M2 * 10 ** rng.normal(0, 0.7, (24, 24, 24))
    permeability[rng.random((24, 24, 24)) < 0.1] = 0.0
    permeability[12, 12, 12] = PERMEABILITY_M2
    medium = Medium(permeability, rng.uniform(0.3, 0.95, (24, 24, 24)), 1.0)
    result = injected(medium, 5.0)
    assert result.escaped_ml.sum() > 0.01
    assert result.placed_ml + result.escaped_ml.sum() == pytest.approx(5.0, rel=1e-6)


def test_turning_and_mirroring_the_block_turns_the_cloud() -> None:
    rng = np.random.default_rng(5)
    permeability = PERMEABILITY_M2 * 10 ** rng.normal(0, 0.4, (17, 17, 17))
    porosity = np.full((17, 17, 17), POROSITY)
    first = injected(Medium(permeability, porosity, 1.5), 1.0).saturation
    for turn in (lambda a: a[::-1], lambda a: np.rot90(a, axes=(0, 2)), lambda a: a.transpose(1, 2, 0)):
        turned = injected(Medium(np.ascontiguousarray(turn(permeability)), porosity, 1.5), 1.0).saturation
        misplaced = np.abs(turned - turn(first)).sum() / (2 * first.sum())
        assert misplaced < 0.01


def test_pressure_scales_and_the_cloud_stays_when_rate_viscosity_and_permeability_change() -> None:
    medium = uniform(24, 1.5)
    base = injected(medium, 1.5)
    thinner = injected(medium, 1.5, cement=CEMENT_PA_S / 10, marrow_pa_s=MARROW_PA_S / 10)
    faster = injected(medium, 1.5, rate_ml_s=RATE_ML_S * 4)
    tight = injected(
        Medium(np.asarray(medium.permeability_m2) / 10, np.asarray(medium.porosity), medium.spacing_mm), 1.5
    )
    for other, factor in ((thinner, 0.1), (faster, 4.0), (tight, 10.0)):
        assert np.abs(other.saturation - base.saturation).max() < 0.02
        assert other.tip_pressure_pa[-1] == pytest.approx(base.tip_pressure_pa[-1] * factor, rel=1e-3)


def test_portions_stay_ordered_and_the_cloud_only_grows() -> None:
    medium = uniform(24, 1.5)
    flow, source, law = CementFlow(medium, MARROW_PA_S), centre(medium), PowerLaw(CEMENT_PA_S)
    before = flow.saturation
    for _ in range(6):
        flow.push(source, 0.2, RATE_ML_S, law)
        after = flow.saturation
        assert (after >= before - 1e-12).all()
        before = after


def test_a_thin_wall_holds_and_its_hole_lets_cement_out() -> None:
    n = 24
    wall = np.zeros((n, n, n, 3))
    wall[16, :, :, 0] = 5e-4 / 1e-15
    porosity = np.full((n, n, n), POROSITY)
    closed = Medium(np.full((n, n, n), PERMEABILITY_M2), porosity, 1.0, wall_per_m=wall)
    wall = wall.copy()
    wall[16, 12, 12, 0] = 0.0
    holed = Medium(np.full((n, n, n), PERMEABILITY_M2), porosity, 1.0, wall_per_m=wall)
    source = Source.at((11, 12, 12), 0.9)
    assert injected(closed, 2.0, source=source).saturation[16:].sum() * POROSITY < 0.1
    assert injected(holed, 2.0, source=source).saturation[16:].sum() * POROSITY > 10.0


def test_soft_tumour_yields_instead_of_demanding_absurd_pressure() -> None:
    n = 24
    g = np.arange(n) - 12.0
    ball = g[:, None, None] ** 2 + g[None, :, None] ** 2 + g**2 < 36
    permeability = np.where(ball, 1e-12, PERMEABILITY_M2)
    porosity = np.full((n, n, n), POROSITY)
    stiff = injected(Medium(permeability, porosity, 1.0), 0.5)
    soft = Medium(permeability, porosity, 1.0, yield_pa=np.where(ball, 2e4, 0.0), yielded_permeability_m2=3e-8)
    result = injected(soft, 0.5)
    assert stiff.tip_pressure_pa.max() > 1e8
    assert result.tip_pressure_pa[-1] < 1e5
    assert (result.saturation * ball).sum() > 0.7 * result.saturation.sum()


def test_drainage_lets_a_closed_shell_take_cement() -> None:
    n = 20
    permeability = np.zeros((n, n, n))
    permeability[3:-3, 3:-3, 3:-3] = PERMEABILITY_M2
    drainage = permeability / 0.01**2
    porosity = np.full((n, n, n), POROSITY)
    medium = Medium(permeability, porosity, 1.0, drainage_per_m2=drainage, open_rim=False)
    result = injected(medium, 1.5, source=Source.at((10, 10, 10), 0.9))
    assert result.placed_ml == pytest.approx(1.5, rel=1e-6)
    with pytest.raises(PlanError, match="nowhere"):
        injected(medium, 3.0, source=Source.at((10, 10, 10), 0.9))


def test_source_between_voxels_has_the_right_equivalent_radius() -> None:
    single = Source.at((8.0, 8.0, 8.0), 0.9)
    assert single.ring_radius() == pytest.approx(0.9246, abs=5e-4)
    medium = uniform(32, 1.25)
    whole, between = injected(medium, 1.0), injected(medium, 1.0, source=Source.at((16.4, 16.3, 15.6), 0.9))
    assert between.tip_pressure_pa[-1] == pytest.approx(whole.tip_pressure_pa[-1], rel=0.01)


def test_guards_fire() -> None:
    good = np.full((8, 8, 8), 0.5)
    with pytest.raises(InputError, match="Porosity"):
        Medium(good, good + 1, 1.0)
    with pytest.raises(InputError, match="finite"):
        Medium(-good, good, 1.0)
    with pytest.raises(InputError, match="fit"):
        Medium(good[:4], good, 1.0)
    with pytest.raises(InputError, match="no outlet"):
        Medium(good, good, 1.0, open_rim=False)
    with pytest.raises(InputError, match="spacing"):
        Medium(good, good, 0.0)
    with pytest.raises(InputError, match="nothing can flow"):
        Source.at((20, 0, 0), 0.9, np.ones((8, 8, 8)))
    with pytest.raises(InputError, match="volume"):
        injected(uniform(8, 1.0), 0.0)
    with pytest.raises(InputError, match="rate"):
        injected(uniform(8, 1.0), 0.01, rate_ml_s=0.0)
    with pytest.raises(InputError, match="power law"):
        PowerLaw(-1.0)
    with pytest.raises(InputError, match="marrow"):
        CementFlow(uniform(8, 1.0), 0.0)
