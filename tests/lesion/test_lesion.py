"""Extent, kind, walls and growth against what the loaf was made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.errors import AnatomyError, GeometryError, InputError
from sacroplasty.lesion import (
    Integrity,
    LesionKind,
    assess_walls,
    lesion_from_click,
    lesion_from_mask,
    lesion_from_sphere,
)
from sacroplasty.lesion.region import region_of
from sacroplasty.lesion.walls import walls_of
from sacroplasty.plan import DenisZone, Level
from sacroplasty.space import Grid, Mask, Volume
from tests.lesion.toy import ball, with_values


def bone(anatomy):
    return anatomy.labels.array == 1


def mosaic(ct: Volume, where: np.ndarray) -> Volume:
    """Half tumour, half dense bone, in grains of a few millimetres."""
    dense = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=where.shape), 1.5) > 0
    return with_values(with_values(ct, where & dense, 420.0), where & ~dense, 45.0)


@pytest.mark.parametrize(
    ("hu", "kind"), [(45.0, LesionKind.LYTIC), (480.0, LesionKind.SCLEROTIC), (None, LesionKind.MIXED)]
)
def test_kind(loaf, hu, kind):
    ct, anatomy = loaf
    mask = ball(anatomy, (0.0, 10.0, -30.0), 7.0)
    changed = mosaic(ct, mask.array) if hu is None else with_values(ct, mask.array, hu)
    found = lesion_from_mask(changed, anatomy, mask)
    assert found.kind is kind
    assert found.measures["expected_hu"] == pytest.approx(190, abs=12)


def test_a_small_soft_part_makes_a_dense_lesion_mixed_and_a_mask_drawn_too_wide_does_not(loaf):
    ct, anatomy = loaf
    mask = ball(anatomy, (0.0, 10.0, -30.0), 8.0)
    core = ball(anatomy, (0.0, 10.0, -30.0), 7.0).array
    wide = lesion_from_mask(with_values(ct, core, 480.0), anatomy, mask)
    assert wide.measures["sclerotic_fraction"] < 0.85
    assert wide.kind is LesionKind.SCLEROTIC
    soft = ball(anatomy, (2.0, 10.0, -28.0), 4.0).array
    part = lesion_from_mask(with_values(with_values(ct, mask.array, 480.0), soft, 45.0), anatomy, mask)
    assert part.measures["sclerotic_fraction"] > 0.8
    assert part.kind is LesionKind.MIXED


def test_untouched_marrow_has_no_kind(loaf):
    ct, anatomy = loaf
    found = lesion_from_mask(ct, anatomy, ball(anatomy, (0.0, 10.0, -30.0), 7.0))
    assert found.kind is LesionKind.UNCLEAR


def test_extent_in_levels_zones_and_millilitres(loaf):
    ct, anatomy = loaf
    found = lesion_from_mask(ct, anatomy, ball(anatomy, (0.0, 10.0, -40.0), 8.0))
    assert found.levels[Level.S2] == pytest.approx(0.5, abs=0.06)
    assert found.levels[Level.S3] == pytest.approx(0.5, abs=0.06)
    assert dict(found.zones) == {DenisZone.CENTRAL: 1.0}
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=0.03)
    assert found.centre_mm == pytest.approx((0, 10, -40), abs=0.05)
    ala = lesion_from_mask(ct, anatomy, ball(anatomy, (36.0, 18.0, -10.0), 6.0))
    assert dict(ala.zones) == {DenisZone.ALA: 1.0}
    assert ala.main_level is Level.S1


def test_posterolateral_share_knows_the_side(loaf):
    ct, anatomy = loaf
    found = lesion_from_mask(ct, anatomy, ball(anatomy, (12.0, 28.0, -30.0), 6.0))
    assert found.measures["posterolateral_left"] > 0.05
    assert found.measures["posterolateral_right"] == 0


def test_body_share(loaf):
    ct, anatomy = loaf
    found = lesion_from_mask(ct, anatomy, Mask(np.ones(anatomy.labels.grid.shape, bool), anatomy.labels.grid))
    assert found.measures["body_involved_S3"] == 1.0
    assert "cut-off" in {f.code for f in found.findings}


@pytest.mark.parametrize("hole_mm", [5.0, 8.0])
def test_a_hole_in_the_ventral_wall_is_found_where_it_is(loaf, hole_mm):
    ct, anatomy = loaf
    mask = ball(anatomy, (0.0, 9.0, -30.0), 8.0)
    ct = with_values(ct, mask.array & bone(anatomy), 45.0)
    whole = {w.name: w for w in lesion_from_mask(ct, anatomy, mask).walls}
    assert whole["ventral"].integrity in {Integrity.INTACT, Integrity.THINNED}
    x, y, z = np.moveaxis(anatomy.labels.grid.centres_mm(), -1, 0)
    hole = (x**2 + (z + 30) ** 2 <= (hole_mm / 2) ** 2) & (y > -2) & (y < 4)
    holed = {w.name: w for w in lesion_from_mask(with_values(ct, hole, 45.0), anatomy, mask).walls}
    ventral = holed["ventral"]
    assert ventral.integrity is Integrity.BREACHED
    assert ventral.breach_area_mm2 == pytest.approx(np.pi / 4 * hole_mm**2, rel=0.6)
    assert np.abs(ventral.breach_mm.mean(axis=0) - (0, 0, -30)).max() < 1.5
    assert ventral.to_hold_mm2 == pytest.approx(ventral.adjacent_area_mm2 - ventral.breach_area_mm2)


def test_walls_have_their_names(loaf):
    ct, anatomy = loaf
    region = region_of(ct, anatomy)
    for centre, radius, name in (
        ((0.0, 14.0, -30.0), 6.0, "canal"),
        ((30.0, 14.0, -40.0), 5.0, "S2 anterior foramen left"),
        ((-30.0, 14.0, -40.0), 5.0, "S2 anterior foramen right"),
        ((30.0, 28.0, -40.0), 5.0, "S2 posterior foramen left"),
        ((10.0, 10.0, -5.0), 5.0, "endplate"),
        ((40.0, 18.0, -20.0), 5.0, "si_joint_left"),
        ((-40.0, 18.0, -20.0), 5.0, "si_joint_right"),
        ((35.0, 31.0, -70.0), 5.0, "dorsal"),
    ):
        walls = walls_of(region, ball(anatomy, centre, radius).array[region.box])
        assert name in {w.name for w in walls}, (centre, [w.name for w in walls])
        assert all(w.integrity is not Integrity.BREACHED for w in walls)


def test_a_wall_keeps_its_name_where_labels_leave_a_gap(loaf):
    ct, anatomy = loaf
    array = np.array(anatomy.labels.array)
    canal = array == anatomy.labels.values["canal"]
    array[canal & ~ndimage.binary_erosion(canal)] = 0
    gapped = replace(anatomy, labels=replace(anatomy.labels, array=array))
    walls = {w.name: w for w in assess_walls(ct, gapped, ball(gapped, (0.0, 14.0, -30.0), 6.0))}
    assert walls["canal"].adjacent_area_mm2 > 50
    assert walls["dorsal"].integrity is Integrity.NOT_ADJACENT


def test_a_gap_of_the_canal_that_the_patient_has_elsewhere_is_not_called_a_hole(loaf):
    """Veins leave the bodies through the canal's front wall: there a gap counts where it stands alone."""
    ct, anatomy = loaf
    mask = ball(anatomy, (0.0, 13.0, -30.0), 6.0)
    x, y, z = np.moveaxis(anatomy.labels.grid.centres_mm(), -1, 0)
    front = bone(anatomy) & (y > 16) & (y < 24) & (np.abs(x) < 3.5)
    here, there = front & (np.abs(z + 30) < 3.5), front & (np.abs(z + 70) < 3.5)
    holed = with_values(ct, mask.array | here, 45.0)
    alone = {w.name: w for w in assess_walls(holed, anatomy, mask)}["canal"]
    assert alone.integrity is Integrity.BREACHED
    among = {w.name: w for w in assess_walls(with_values(holed, there, 45.0), anatomy, mask)}["canal"]
    assert among.integrity is Integrity.UNCLEAR


def test_a_scan_that_shows_no_cortex_is_not_judged(loaf):
    ct, anatomy = loaf
    flat = Volume(np.where(bone(anatomy), 50.0, 45.0).astype(np.float32), ct.grid)
    walls = assess_walls(flat, anatomy, ball(anatomy, (0.0, 6.0, -30.0), 6.0))
    assert {w.integrity for w in walls if w.adjacent_area_mm2} == {Integrity.UNCLEAR}


def test_soft_tissue_part_of_a_direct_invasion(loaf):
    ct, anatomy = loaf
    mask = ball(anatomy, (0.0, 0.0, -50.0), 10.0)
    found = lesion_from_mask(with_values(ct, mask.array, 45.0), anatomy, mask)
    assert found.soft_tissue_ml == pytest.approx(found.volume_ml / 2, rel=0.1)
    assert [w.name for w in found.breached] == ["ventral"]


@pytest.mark.parametrize(
    ("centre", "radius", "hu"),
    [((0.0, 10.0, -30.0), 7.0, 45.0), ((30.0, 14.0, -30.0), 8.0, 480.0), ((0.0, 10.0, -12.0), 8.0, None)],
)
def test_one_click_grows_to_the_lesion(loaf, centre, radius, hu):
    ct, anatomy = loaf
    truth = ball(anatomy, centre, radius).array & bone(anatomy)
    changed = mosaic(ct, truth) if hu is None else with_values(ct, truth, hu)
    found = lesion_from_click(changed, anatomy, np.add(centre, (1.5, -1.0, 1.0)))
    dice = 2 * (found.mask.array & truth).sum() / (found.mask.array.sum() + truth.sum())
    assert dice >= 0.85
    again = lesion_from_click(changed, anatomy, np.add(centre, (1.5, -1.0, 1.0)))
    assert np.array_equal(found.mask.array, again.mask.array)


def test_sphere_is_clipped_to_bone(loaf):
    ct, anatomy = loaf
    found = lesion_from_sphere(ct, anatomy, (0.0, 2.0, -30.0), 8.0)
    assert found.soft_tissue_ml == 0
    assert not (found.mask.array & ~bone(anatomy)).any()


def test_refusals(loaf):
    ct, anatomy = loaf
    grid = anatomy.labels.grid
    with pytest.raises(AnatomyError, match="empty"):
        lesion_from_mask(ct, anatomy, Mask(np.zeros(grid.shape, bool), grid))
    with pytest.raises(AnatomyError, match="outside the sacrum"):
        lesion_from_mask(ct, anatomy, ball(anatomy, (0.0, -12.0, -50.0), 4.0))
    with pytest.raises(AnatomyError, match="holds no bone"):
        lesion_from_sphere(ct, anatomy, (0.0, -12.0, -50.0), 4.0)
    with pytest.raises(InputError, match="radius"):
        lesion_from_sphere(ct, anatomy, (0.0, 10.0, -50.0), 200.0)
    with pytest.raises(InputError, match="outside the scan"):
        lesion_from_click(ct, anatomy, (0.0, 500.0, 0.0))
    with pytest.raises(AnatomyError, match="outside the sacrum"):
        lesion_from_click(ct, anatomy, (0.0, -10.0, -50.0))
    with pytest.raises(AnatomyError, match="does not differ"):
        lesion_from_click(ct, anatomy, (0.0, 10.0, -50.0))


def test_a_mask_of_another_grid_is_resampled_on_purpose_only(loaf):
    ct, anatomy = loaf
    grid = Grid.aligned((-20.0, -5.0, -60.0), (20.0, 25.0, -10.0), 0.7, "1.2.3")
    inside = ((grid.centres_mm() - np.array((0.0, 10.0, -30.0))) ** 2).sum(axis=-1) <= 49
    with pytest.raises(GeometryError, match="another grid"):
        lesion_from_mask(ct, anatomy, Mask(inside, grid))
    found = lesion_from_mask(ct, anatomy, Mask(inside, grid), resample=True)
    assert found.volume_ml == pytest.approx(Mask(inside, grid).volume_ml, rel=0.05)
    other = Grid.from_affine(grid.shape, grid.affine_lps, "9.9.9")
    with pytest.raises(GeometryError, match="frame"):
        lesion_from_mask(ct, anatomy, Mask(inside, other), resample=True)
    with pytest.raises(GeometryError):
        lesion_from_mask(
            Volume(ct.array, Grid.from_affine(ct.grid.shape, ct.grid.affine_lps, "9.9.9")),
            anatomy,
            ball(anatomy, (0.0, 10.0, -30.0), 6.0),
        )


def test_a_gap_no_wider_than_a_slice_is_not_called_a_hole(loaf):
    """The same dark patch of 25 mm2: a hole on 1 mm slices, not assessable on slices of 6 mm."""
    ct, anatomy = loaf
    mask = ball(anatomy, (0.0, 7.0, -10.0), 6.0)
    x, y, z = np.moveaxis(anatomy.labels.grid.centres_mm(), -1, 0)
    gap = (np.abs(x) <= 2.5) & (np.abs(z + 10.0) <= 2.5) & (y > -1) & (y < 4)
    holed = with_values(with_values(ct, mask.array, 60.0), gap, 40.0)
    fine = {w.name: w for w in assess_walls(holed, anatomy, mask)}["ventral"]
    assert fine.integrity is Integrity.BREACHED
    region = replace(region_of(holed, anatomy), coarsest_mm=6.0)
    coarse = {w.name: w for w in walls_of(region, mask.array[region.box])}["ventral"]
    assert coarse.integrity is Integrity.UNCLEAR
    assert coarse.breach_area_mm2 == 0


def thick(ct: Volume, together: int) -> Volume:
    """The scan with that many slices averaged into one."""
    number = ct.array.shape[2] // together
    array = ct.array[:, :, : number * together].reshape(*ct.array.shape[:2], number, together).mean(axis=3)
    affine = np.array(ct.grid.affine_lps)
    affine[:3, 3] += affine[:3, 2] * (together - 1) / 2
    affine[:3, 2] *= together
    return Volume(array, Grid.from_affine(array.shape, affine, ct.grid.frame_of_reference_uid))


def test_what_a_thick_slice_averages_with_the_outside_is_no_marrow(loaf):
    ct, anatomy = loaf
    fine, coarse = region_of(ct, anatomy), region_of(thick(ct, 5), anatomy)
    assert fine.slice_steps == ()
    assert fine.clear_depth_mm is fine.depth_mm
    assert coarse.slice_steps == ((0, 0, 1), (0, 0, 2))
    below_top, beside = anatomy.labels.grid.voxel_from_patient.points([(0.0, 12.0, -4.5), (-40.5, 18.0, -50.0)])
    for point, less in ((below_top, 2.0), (beside, 0.0)):
        place = tuple(np.rint(point).astype(int) - [side.start for side in coarse.box])
        assert coarse.depth_mm[place] - coarse.clear_depth_mm[place] == pytest.approx(less)


@pytest.mark.parametrize("hu", [45.0, 480.0])
def test_one_click_on_thick_slices_keeps_the_volume(loaf, hu):
    ct, anatomy = loaf
    truth = ball(anatomy, (0.0, 10.0, -12.0), 8.0).array & bone(anatomy)
    found = lesion_from_click(thick(with_values(ct, truth, hu), 4), anatomy, (1.0, 10.0, -12.0))
    assert found.mask.array.sum() == pytest.approx(truth.sum(), rel=0.2)


def test_a_thin_wall_is_held_against_cortex_that_faces_the_same_way(loaf):
    """The canal's front wall is thin all along: that is how it is built there, not a hole."""
    ct, anatomy = loaf
    _, y, _ = np.moveaxis(anatomy.labels.grid.centres_mm(), -1, 0)
    near_canal = ndimage.distance_transform_edt(~np.isin(anatomy.labels.array, (10,))) <= 2.5
    thin = with_values(ct, near_canal & bone(anatomy) & (y < 24.0), 150.0)
    walls = {w.name: w for w in assess_walls(thin, anatomy, ball(anatomy, (0.0, 13.0, -50.0), 6.0))}
    assert walls["canal"].integrity is not Integrity.BREACHED
