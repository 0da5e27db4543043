"""Materials, needles and displays of simulated radiographs."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.fluoroscopy import Beam, Contour, Exposure, Radiograph, Tissues, displayed, render
from sacroplasty.fluoroscopy.display import is_mirrored, letters
from sacroplasty.fluoroscopy.material import (
    ENERGIES_KEV,
    attenuation_per_mm,
    bone_fraction,
    cortical_bone_hu,
    mass_attenuation_cm2_g,
)
from sacroplasty.fluoroscopy.shadow import bevel_direction, needle_path_mm
from sacroplasty.space import Grid, Volume
from tests.fluoroscopy.scene import AP, ARM, LEFT_LATERAL, POSES, needle, real_ct, view

ARM_ODD = ARM.with_pixels(129)


def water_box(half_mm=60.0, spacing_mm=4.0, hu=0):
    grid = Grid.aligned([-half_mm] * 3, [half_mm] * 3, spacing_mm)
    return Volume(np.full(grid.shape, hu, dtype=np.int16), grid)


def sheer(exposure_kvp=80.0):
    """No scatter, no blur."""
    return Exposure(Beam.typical(exposure_kvp), 0.0, 1e6, 0.0)


def test_water_attenuates_as_the_table_says():
    shot = render(water_box(), view(AP, arm=ARM_ODD), exposure=sheer())
    beam = Beam.typical(80.0)
    expected = (beam.weights * np.exp(-mass_attenuation_cm2_g("water") * 12.4)).sum()
    assert shot.signal[64, 64] == pytest.approx(expected, rel=2e-3)


def test_beam_hardens_with_depth():
    beam = Beam.typical(80.0)
    assert beam.weights.sum() == pytest.approx(1.0)
    depths = [np.float32([[d]]) for d in (1.0, 10.0, 20.0, 30.0)]
    per_cm = [-float(np.log(beam.signal({"water": d})[0, 0])) / float(d[0, 0]) for d in depths]
    assert per_cm == sorted(per_cm, reverse=True)
    assert per_cm[0] > per_cm[-1] * 1.05


def test_bone_shows_more_at_low_voltage():
    contrast = {
        kvp: float(
            np.log(
                Beam.typical(kvp).signal({"water": np.float32([[20.0]])})
                / Beam.typical(kvp).signal({"water": np.float32([[20.0]]), "cortical_bone": np.float32([[1.0]])})
            ).item()
        )
        for kvp in (60.0, 110.0)
    }
    assert contrast[60.0] > 1.2 * contrast[110.0]


@pytest.mark.parametrize("hu", [-500, 0, 80, 300, 900, 1500])
def test_materials_of_a_voxel_add_up_to_its_ct_number(hu):
    """Water plus bone at the CT's own energy reproduce the Hounsfield number."""
    tissues = Tissues.of(water_box(hu=hu))
    total = sum(float(p.array.max()) * p.scale * mass_attenuation_cm2_g(name)[4] for name, p in tissues.packed.items())
    assert 1000 * (total / mass_attenuation_cm2_g("water")[4] - 1) == pytest.approx(hu, abs=2)


def test_single_energy_map_agrees_with_the_materials():
    hu = np.array([-1000, -200, 0, 50, 400, cortical_bone_hu(), 2000], dtype=np.float32)
    grid = Grid.aligned([0, 0, 0], [1, 1, 6], 1.0)
    ct = Volume(np.broadcast_to(hu, grid.shape).copy(), grid)
    low, high = (attenuation_per_mm(ct, e).array[0, 0] for e in (45.0, 85.0))
    assert low[0] == 0
    assert (np.diff(low) > 0).all()
    assert low[5] / high[5] > 1.4 * low[2] / high[2]
    assert low[2] == pytest.approx(mass_attenuation_cm2_g("water")[2] / 10, rel=0.01)
    assert (bone_fraction(hu) > 0).tolist() == [False, False, False, False, True, True, True]


@pytest.mark.parametrize("angles", POSES)
def test_needle_tip_lies_where_its_point_projects(angles):
    placed = needle((4.0, -6.0, 9.0), (30.0, 70.0, 20.0))
    posed = view(angles, arm=ARM.with_pixels(512))
    shade = needle_path_mm(posed, placed)
    tip, back = posed.detector_from_patient.points([placed.tip_mm, placed.trajectory.point_at(20.0)])
    along = (back - tip) / np.linalg.norm(back - tip)

    def at(place):
        return shade[round(place[1]), round(place[0])]

    assert at(tip + 2.5 * along) > 0.5
    assert at(tip - 4 * along) == 0
    assert shade.max() < 40


def test_needle_across_the_ray_is_as_thick_as_its_diameter():
    placed = needle((0.0, 0.0, 0.0), (80.0, 0.0, 0.0))
    shade = needle_path_mm(view(AP, arm=ARM_ODD), placed)
    column = shade[:, 70]
    assert column.max() == pytest.approx(placed.needle.outer_diameter_mm, rel=0.01)
    hollow = needle_path_mm(view(AP, arm=ARM_ODD), placed, stylet=False)
    wall = placed.needle.outer_diameter_mm - placed.needle.inner_diameter_mm
    assert hollow[64, 70] == pytest.approx(wall, rel=0.02)


def test_needle_down_the_ray_is_a_dot_of_its_length_or_less():
    placed = needle((0.0, 0.0, 0.0), (0.0, 80.0, 0.0))
    shade = needle_path_mm(view(AP, arm=ARM.with_pixels(257)), placed)
    assert shade[128, 128] == pytest.approx(150.0, rel=1e-3)


def test_bevel_takes_away_the_side_it_faces():
    entry, tip = (0.0, 80.0, 0.0), (0.0, 0.0, 0.0)
    assert bevel_direction((0.0, -1.0, 0.0), 0.0) == pytest.approx([0, 0, 1])
    # Seen from the hub of a needle driven from back to front, head up, clockwise is towards the patient's left... or
    # right: the hub looks forward, as the patient does, so clockwise from the head is the patient's right.
    assert bevel_direction((0.0, -1.0, 0.0), 90.0) == pytest.approx([-1, 0, 0])
    posed = view(LEFT_LATERAL, arm=ARM.with_pixels(1024))
    up = needle_path_mm(posed, needle(tip, entry, bevel=0.0))
    down = needle_path_mm(posed, needle(tip, entry, bevel=180.0))
    cut_up, cut_down = (np.argwhere(shade > 0)[:, 0].mean() for shade in (up[:, 505:540], down[:, 505:540]))
    assert cut_up > cut_down  # the side towards the head is gone, what is left lies lower


def test_needle_outside_or_behind_casts_no_shadow():
    assert not needle_path_mm(view(AP), needle((400.0, 0.0, 0.0), (400.0, 80.0, 0.0))).any()
    assert not needle_path_mm(view(AP), needle((0.0, -900.0, 0.0), (0.0, -820.0, 10.0))).any()


def test_cement_contrast_and_needle_darken_and_marrow_gives_way():
    ct = water_box()
    posed = view(AP, arm=ARM_ODD)
    blob = np.zeros(ct.grid.shape, np.float32)
    blob[14:17, 14:17, 14:17] = 1.0
    plain = render(ct, posed, exposure=sheer())
    cement = Volume(blob, ct.grid, "1")
    strong = render(ct, posed, cement=cement, exposure=sheer())
    weak = render(ct, posed, cement=cement, barium_mass_fraction=0.0, exposure=sheer())
    iodine = render(ct, posed, contrast=Volume(blob * 300, ct.grid, "mg/ml"), exposure=sheer())
    steel = render(ct, posed, [needle((0, 0, 0), (80.0, 0, 0))], exposure=sheer())
    for shot in (strong, iodine, steel):
        assert shot.signal[64, 66] < 0.9 * plain.signal[64, 66]
    assert weak.signal[64, 64] == pytest.approx(plain.signal[64, 64], rel=0.03)
    assert strong.signal[10, 10] == pytest.approx(plain.signal[10, 10])


def test_noise_needs_a_seed_and_repeats():
    ct, posed = water_box(), view(AP)
    first, second, other = (render(ct, posed, seed=s).signal for s in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert np.array_equal(render(ct, posed).signal, render(ct, posed).signal)
    middle = first[48:80, 48:80]
    assert 0.01 < middle.std() / middle.mean() < 0.2


def test_scatter_lowers_contrast_but_not_the_bare_beam():
    ct, posed = water_box(), view(AP, arm=ARM_ODD)
    clear, hazy = (render(ct, posed, exposure=Exposure(Beam.typical(80.0), s, 1e6, 0.0)).signal for s in (0.0, 2.0))
    assert hazy[64, 64] > 1.5 * clear[64, 64]
    assert clear[0, 0] == pytest.approx(1.0)
    assert hazy[0, 0] < 1.1


def test_brightness_control_raises_the_voltage_for_a_thick_patient():
    from sacroplasty.fluoroscopy.radiograph import automatic_exposure

    thin, thick = (automatic_exposure({"water": np.full((64, 64), d, np.float32)}) for d in (15.0, 40.0))
    assert thin.beam.tube_kvp < thick.beam.tube_kvp == 110.0


def test_metal_is_a_material_of_its_own():
    array = np.zeros((31, 31, 31), dtype=np.int16)
    array[14:17, 14:17, 14:17] = 3071
    tissues = Tissues.of(Volume(array, water_box().grid))
    assert set(tissues.packed) == {"water", "cortical_bone", "titanium"}
    assert tissues.packed["titanium"].grid.shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("angles", "mirrored", "left_letter", "right_letter"),
    [
        (AP, False, "R", "L"),
        ((0.0, 0.0), True, "R", "L"),
        (LEFT_LATERAL, True, "A", "P"),
        ((-90.0, 0.0), False, "A", "P"),
    ],
)
def test_display_puts_right_or_front_on_the_left_and_says_so(angles, mirrored, left_letter, right_letter):
    posed = view(angles)
    assert is_mirrored(posed) is mirrored
    sign = -1.0 if mirrored else 1.0
    assert letters(posed.camera_from_patient.inverse.vectors((sign, 0, 0))) == right_letter
    assert letters(posed.camera_from_patient.inverse.vectors((-sign, 0, 0))) == left_letter
    shot = render(water_box(), posed, [needle((20.0, 20.0, 0.0), (70.0, 70.0, 0.0))])
    shown = displayed(shot, [Contour(np.array([[5.0, 5.0], [30.0, 30.0]]), (255, 0, 0), "tip")])
    towards_right = shown.points(posed.detector_from_patient.points([[0, 0, 0], [20.0, 20.0, 0.0]]))
    assert towards_right[1, 0] > towards_right[0, 0]  # left and back both lie on the right of their display
    uv = np.array([[3.25, 99.0], [64.0, 12.5]])
    assert np.allclose(shown.detector_pixels(shown.points(uv)), uv)
    assert shown.rgb.shape == (ARM.rows * shown.scale, ARM.columns * shown.scale, 3)


def test_display_burns_in_the_notice_and_draws_needles_dark():
    posed = view(AP, arm=ARM.with_pixels(512))
    shot = render(water_box(), posed, [needle((0.0, 0.0, 0.0), (70.0, 10.0, 40.0))])
    shown, white = displayed(shot), displayed(shot, bone_white=True)
    tip = shown.points(posed.detector_from_patient.points((8.0, 8 / 7, 32 / 7))).round().astype(int)
    assert shown.rgb[tip[1], tip[0]].max() < 115
    assert white.rgb[tip[1], tip[0]].min() > 140
    notice = shown.rgb[-24:, :200].astype(int)
    assert (notice[..., 0] - notice[..., 2] > 60).sum() > 300
    assert np.array_equal(shown.rgb, displayed(shot).rgb)


def test_a_collimator_darkens_what_it_covers_and_takes_scatter_away():
    ct, posed = water_box(), view(AP, arm=ARM_ODD)
    hazy = Exposure(Beam.typical(80.0), 2.0, 1e6, 0.0)
    wide = render(ct, posed, exposure=hazy)
    narrow = render(ct, posed, exposure=hazy, field_mm=(60.0, 30.0))
    lit = narrow.signal > 1e-5
    rows, columns = (np.ptp(np.nonzero(lit)[axis]) + 1 for axis in (0, 1))
    assert columns * posed.carm.isocentre_pixel_mm == pytest.approx(60.0, abs=posed.carm.isocentre_pixel_mm)
    assert rows * posed.carm.isocentre_pixel_mm == pytest.approx(30.0, abs=posed.carm.isocentre_pixel_mm)
    assert narrow.signal[64, 64] < 0.8 * wide.signal[64, 64]
    grey = displayed(narrow, scale=1).rgb
    assert grey[64, 64].max() > 0
    assert not grey[100, 64].any()
    noisy = render(ct, posed, exposure=Exposure(Beam.typical(80.0), 0.0, 400.0, 0.0), seed=1, field_mm=(40.0, 40.0))
    inside = noisy.signal[56:73, 56:73]
    assert inside.std() / inside.mean() == pytest.approx(0.05, rel=0.3)


def test_a_magnified_detector_shows_less_and_larger():
    zoomed = ARM.magnified(150.0)
    assert (zoomed.rows, zoomed.field_mm[0]) == (ARM.rows, 150.0)
    centre = (ARM.rows - 1) / 2
    near, far = (view(AP, arm=arm).detector_from_patient.points((20.0, 0.0, 0.0))[0] - centre for arm in (ARM, zoomed))
    assert far == pytest.approx(2 * near)
    with pytest.raises(InputError, match="part of the detector"):
        ARM.magnified(400.0)


def test_guards_fire():
    ct, posed = water_box(), view(AP)
    with pytest.raises(InputError, match="collimated field"):
        render(ct, posed, field_mm=(0.0, 30.0))
    with pytest.raises(InputError, match="Hounsfield"):
        render(Volume(np.zeros(ct.grid.shape, np.float32), ct.grid, "1"), posed)
    with pytest.raises(InputError, match="Cement must be"):
        render(ct, posed, cement=ct)
    with pytest.raises(InputError, match="share of each voxel"):
        render(ct, posed, cement=Volume(np.full(ct.grid.shape, 2, np.float32), ct.grid, "1"))
    with pytest.raises(InputError, match="Contrast must be"):
        render(ct, posed, contrast=Volume(np.ones(ct.grid.shape, np.float32), ct.grid, "1"))
    with pytest.raises(InputError, match="not in the table"):
        mass_attenuation_cm2_g("unobtainium")
    with pytest.raises(InputError, match="kVp"):
        Beam(200.0, 3.0, 0.5)
    with pytest.raises(InputError, match="at least one material"):
        Beam.typical().signal({})
    with pytest.raises(GeometryError, match="fill the detector"):
        Radiograph(np.ones((4, 4), np.float32), posed)
    assert len(ENERGIES_KEV) == len(Beam.typical().weights)


@pytest.mark.real
def test_real_sacrum_with_a_needle_where_it_projects():
    ct = real_ct("taichi/ct_sacrum_0.7mm.nii.gz")
    low, high = ct.grid.bounds_mm
    posed = view(AP, (low + high) / 2 + np.array([0, 30, 0]), ARM.with_pixels(256))
    centre = np.asarray(posed.isocentre_mm)
    placed = needle(centre, centre + np.array([40.0, 70.0, 10.0]))
    tissues = Tissues.of(ct)
    darker = render(tissues, posed).signal - render(tissues, posed, [placed]).signal
    uv = posed.detector_from_patient.points([placed.tip_mm, placed.trajectory.point_at(30.0)])
    rows, columns = np.nonzero(darker > 0.3 * darker.max())
    assert np.hypot(columns - uv[0, 0], rows - uv[0, 1]).min() < 3
    assert np.hypot(columns - uv[1, 0], rows - uv[1, 1]).min() < 1.5
