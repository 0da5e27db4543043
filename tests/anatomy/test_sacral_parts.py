"""Parts of the sacral anatomy against formulas: coordinates, signed distance, occlusion, expectation, numbering."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sacroplasty.anatomy.canal import CanalPath, with_middle
from sacroplasty.anatomy.expectation import KEYS, expected_foramina, improbable, likelihood_of_arcs, round_sd_mm
from sacroplasty.anatomy.foramina import Opening
from sacroplasty.anatomy.hiatus import find_hiatus
from sacroplasty.anatomy.levels import _numbering
from sacroplasty.anatomy.lumen import directions, occlusion
from sacroplasty.anatomy.mouth import find_mouth
from sacroplasty.anatomy.norms import hiatus_findings
from sacroplasty.anatomy.plausibility import believable, merged
from sacroplasty.anatomy.reopening import reopened
from sacroplasty.anatomy.sacrum_field import SacrumField, sharpened
from sacroplasty.anatomy.signed_distance import closed, refined_labels, signed_distance
from sacroplasty.anatomy.structures import STRUCTURES, Face, SacralFrame, SacralLevel
from sacroplasty.anatomy.unrolled import UnrolledSurface, unrolled_surface
from sacroplasty.evidence import value
from sacroplasty.plan import SACRAL_LEVELS, Level, Side, State
from sacroplasty.space import Grid, LabelMap

S1_LEFT = (Level.S1, Side.LEFT, Face.ANTERIOR)
S3_LEFT = (Level.S3, Side.LEFT, Face.ANTERIOR)


def arc_frame(radius: float = 80.0) -> SacralFrame:
    angle = np.linspace(0.0, 1.4, 113)
    curve = np.stack([0 * angle, radius * (1 - np.cos(angle)), -radius * np.sin(angle)], axis=1)
    return SacralFrame((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), curve, 40.0)


def test_sacral_coordinates_of_a_straight_curve_are_exact_and_go_back() -> None:
    curve = np.stack([np.zeros(50), np.zeros(50), -np.arange(50.0)], axis=1)
    frame = SacralFrame((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), curve, 40.0)
    points = np.random.default_rng(0).uniform((-30, -20, -70), (30, 40, 20), (500, 3))
    coordinates = frame.coordinates(points)
    np.testing.assert_allclose(coordinates, np.stack([-points[:, 2], points[:, 0], points[:, 1]], axis=1), atol=1e-9)
    np.testing.assert_allclose(frame.points(coordinates), points, atol=1e-9)


def test_sacral_coordinates_of_a_circle_match_the_formula() -> None:
    frame, centre = arc_frame(), np.array([80.0, 0.0])
    rng = np.random.default_rng(1)
    angle, height = rng.uniform(0.1, 1.3, 300), rng.uniform(-20, 30, 300)
    # The circle's centre lies dorsally, so that depth runs towards it.
    flat = centre + (80.0 - height)[:, None] * np.stack([-np.cos(angle), -np.sin(angle)], axis=1)
    points = np.stack([np.zeros(300), flat[:, 0], flat[:, 1]], axis=1)
    coordinates = frame.coordinates(points)
    np.testing.assert_allclose(coordinates[:, 0], 80.0 * angle, atol=0.4)
    np.testing.assert_allclose(coordinates[:, 2], height, atol=0.05)


def test_tangent_beyond_the_ends_is_that_of_the_end() -> None:
    frame = arc_frame()
    np.testing.assert_allclose(frame.tangent_at(500.0), frame.tangent_at(frame.arc_mm[-1]))
    assert np.isfinite(frame.tangent_at(-50.0)).all()


def test_signed_distance_of_a_slab_and_closing_of_a_slit() -> None:
    slab = np.zeros((20, 20, 20), bool)
    slab[5:15] = True
    signed = signed_distance(slab, (1.0, 1.0, 1.0))
    assert signed[5, 10, 10] == 1.0
    assert signed[4, 10, 10] == -1.0
    slit = slab.copy()
    slit[:, 9:11] = False
    assert closed(slit, 3.0, 1.0)[8, 9, 10]
    assert not closed(slit, 3.0, 1.0)[1, 9, 10]


def test_refined_labels_of_a_ball_are_smooth_and_keep_its_volume() -> None:
    coarse = Grid.aligned((-24, -24, -24), (24, 24, 24), 3.0)
    ball = (np.linalg.norm(coarse.centres_mm(), axis=-1) < 15).astype(np.uint8)
    fine = refined_labels(LabelMap(ball, coarse, STRUCTURES), Grid.aligned((-24, -24, -24), (24, 24, 24), 1.0))
    mask = fine.mask("sacrum")
    assert mask.volume_ml == pytest.approx(float(ball.sum()) * coarse.voxel_volume_ml, rel=0.1)
    # A ball of 3 mm steps reaches 1.5 mm beyond its own radius in places; along smooth surfaces it does not.
    reach = np.linalg.norm(mask.points_mm(), axis=1)
    assert reach.max() < 16.0
    np.testing.assert_allclose(mask.centroid_mm(), 0.0, atol=0.1)


def test_occlusion_of_a_tube_a_plane_and_free_space() -> None:
    index = np.stack(np.meshgrid(*(np.arange(41.0),) * 3, indexing="ij"), axis=-1) - 20
    axis_distance = np.hypot(index[..., 0], index[..., 1])
    tube = (axis_distance - 4).astype(np.float32)
    middle = np.array([[20, 20, 20]])
    # Rays within atan(4 / 18) of the axis leave: a share of 1 - cos of that.
    free = 1 - np.cos(np.arctan(4 / 18))
    assert occlusion(tube, middle, 1.0, 18.0)[0] == pytest.approx(1 - free, abs=0.04)
    plane = (-index[..., 2] - 3).astype(np.float32)
    assert occlusion(plane, middle, 1.0, 18.0)[0] == pytest.approx(0.5 * (1 - 3 / 18), abs=0.06)
    assert occlusion(np.full((41, 41, 41), -12.0, np.float32), middle, 1.0, 18.0)[0] == 0.0
    around = np.argwhere(plane < 0)[::97]
    for share in (0.3, 0.5, 0.68):
        decided = occlusion(plane, around, 1.0, 18.0, enough=share) >= share
        assert (decided == (occlusion(plane, around, 1.0, 18.0) >= share)).all()
    np.testing.assert_allclose(np.linalg.norm(directions(96), axis=1), 1.0)


def test_expectation_without_foramina_is_the_norm_and_sharpens_with_each() -> None:
    prior = expected_foramina({})
    assert prior[S1_LEFT].arc_mm == value("anatomy.s1_anterior_foramen_arc")
    found = {S1_LEFT: (45.0, 26.0)}
    after = expected_foramina(found)
    assert after[S3_LEFT].arc_mm > prior[S3_LEFT].arc_mm
    for key in KEYS:
        assert after[key].sd_mm <= prior[key].sd_mm + 1e-9
    partner = (Level.S1, Side.RIGHT, Face.ANTERIOR)
    assert after[partner].arc_sd_mm < 3.0
    assert after[partner].lateral_mm == pytest.approx(25.0, abs=1.5)


def test_levels_are_numbered_by_place_and_not_by_count() -> None:
    arcs = [value(f"anatomy.{name}_anterior_foramen_arc") for name in ("s1", "s2", "s3", "s4")]
    assert _numbering(arcs)[0] == (Level.S1, Level.S2, Level.S3, Level.S4)
    assert _numbering(arcs[:2])[0] == (Level.S1, Level.S2)
    assert _numbering([arcs[0], arcs[2], arcs[3]])[0] == (Level.S1, Level.S3, Level.S4)
    assert _numbering(arcs[1:3])[0] == (Level.S2, Level.S3)
    assert _numbering([]) == ((), 0.0)
    # Halfway between two numberings the small foramina of S4 are missed rather than the large ones of S1.
    tie = [0.5 * (arcs[n] + arcs[n + 1]) for n in range(3)]
    assert _numbering(tie)[0] == (Level.S1, Level.S2, Level.S3)
    assert all(a > b for a, b in pairwise([likelihood_of_arcs({Level.S1: arcs[0] + d}) for d in (0, 4, 8, 20)]))


def surface_with_gap(contrast: float) -> UnrolledSurface:
    arc, lateral = np.arange(0.0, 120.0), np.arange(-45.0, 45.1)
    grid = np.meshgrid(arc, lateral, indexing="ij")
    gap = np.hypot(grid[0] - 86.0, grid[1] - 19.0) < 4.5
    hu = np.where(gap, 300.0 - contrast, 300.0).astype(np.float32)
    depth = np.zeros_like(hu)
    return UnrolledSurface(arc, lateral, hu, hu, depth, depth, np.ones(hu.shape, bool))


def test_a_gap_in_the_cortex_is_reopened_where_it_is_and_only_if_clear() -> None:
    expected = expected_foramina({})[S3_LEFT]
    gap = reopened(surface_with_gap(250.0), S3_LEFT, expected)
    assert gap is not None
    np.testing.assert_allclose(gap.coordinates[:2], (86.0, 19.0), atol=1.0)
    assert gap.diameter_mm == pytest.approx(9.0, abs=1.0)
    assert gap.contrast_hu > 150
    assert reopened(surface_with_gap(40.0), S3_LEFT, expected) is None
    assert reopened(surface_with_gap(250.0), (Level.S3, Side.RIGHT, Face.ANTERIOR), expected) is None


def test_the_middle_of_a_wide_canal_is_canal_but_marrow_beside_it_and_an_open_ring_are_not():
    bone = np.zeros((15, 11, 3), bool)
    bone[1:14, 1:10] = True
    bone[2:9, 2:9] = False
    bone[10:12, 4:6] = False
    canal = ~bone
    canal[4:7, 4:7] = False
    canal[[0, -1, 10, 11]] = canal[:, [0, -1]] = canal[12:] = False
    canal[4, 3] = False
    bone[5, 9, 2] = canal[5, 6:9, 2] = False
    free = ~bone & ~canal
    found = with_middle(canal, free, bone)
    assert found[2:9, 2:9, :2].all()
    assert not found[10:12].any()
    assert (found & bone).sum() == 0
    assert (found[..., 2] == canal[..., 2]).all()


def test_an_opening_beside_a_destroyed_wall_is_no_foramen():
    """Places as measured where a tumour had opened the right wall of S3, 13 mm too far lateral."""
    places = {
        (level, side, Face.ANTERIOR): (arc, lateral)
        for level, arc, lateral in ((Level.S1, 35.0, 23.0), (Level.S2, 66.0, 20.0), (Level.S4, 101.0, 15.0))
        for side in (Side.LEFT, Side.RIGHT)
    }
    wrong = (Level.S3, Side.RIGHT, Face.ANTERIOR)
    assert improbable(places) == set()
    assert improbable(places | {wrong: (85.0, 18.0)}) == set()
    assert improbable(places | {wrong: (85.0, 31.0)}) == {wrong}


def oblique_tunnel(tilt_deg: float, radius: float = 3.0) -> tuple[SacrumField, UnrolledSurface]:
    """A slab 20 mm deep that a round tunnel leaves dorsally aslant, its axis at arc 40 mm, 15 mm from the midline."""
    curve = np.stack([np.zeros(81), np.zeros(81), -np.arange(81.0)], axis=1)
    frame = SacralFrame((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), curve, 40.0)
    grid = Grid.aligned((-5, -5, -75), (35, 30, -5), 0.8)
    places = grid.centres_mm()
    tilt = np.deg2rad(tilt_deg)
    axis = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    off = places - np.array([15.0, 20.0, -40.0])
    to_axis = np.linalg.norm(off - (off @ axis)[..., None] * axis, axis=-1)
    slab = 10.0 - np.abs(places[..., 1] - 10.0)
    signed = np.minimum(slab, to_axis - radius).astype(np.float32)
    hu = np.where(signed > 0, 500.0, 40.0).astype(np.float32)
    hull, seen = np.asarray(slab > 0), np.ones(grid.shape, bool)
    coordinates = [np.ascontiguousarray(frame.coordinates(places)[..., n], np.float32) for n in range(3)]
    field = SacrumField(grid, hu, signed, hull, seen, frame, *coordinates)
    return field, unrolled_surface(field, Face.POSTERIOR)


@pytest.mark.parametrize("tilt_deg", [0.0, 45.0])
def test_the_mouth_of_an_oblique_tunnel_lies_where_its_axis_leaves_the_bone(tilt_deg: float) -> None:
    field, surface = oblique_tunnel(tilt_deg)
    cranial = np.array([40.0 - 1.5 * np.tan(np.deg2rad(tilt_deg)), 15.0, 18.0])
    mouth = find_mouth(field, surface, Face.POSTERIOR, cranial, 3.0)
    assert mouth is not None
    np.testing.assert_allclose(mouth.coordinates, (40.0, 15.0, 20.0), atol=0.8)
    assert find_mouth(field, surface, Face.POSTERIOR, np.array([60.0, 15.0, 20.0]), 3.0) is None


def test_a_blunt_mask_is_sharpened_by_the_scan_but_not_by_more_than_its_reach() -> None:
    field, _ = oblique_tunnel(0.0)
    blunt = np.minimum(np.where(field.signed_mm > 0, field.signed_mm, -field.signed_mm), 10.0)
    blunt = np.where(field.hull, blunt, -1.0).astype(np.float32)
    sharp = sharpened(blunt, field.hu, field.hull)
    tunnel = field.hull & (field.signed_mm < -0.8)
    opened = tunnel & (blunt < 1.2)
    assert opened.any()
    assert (sharp[opened] < 0).mean() > 0.95
    assert (sharp[tunnel & (blunt > 1.7)] > 0).all()
    untouched = sharpened(blunt, field.hu, np.zeros_like(field.hull))
    np.testing.assert_array_equal(untouched > 0, blunt > 0)


def test_fatty_marrow_is_not_carved_out_of_the_bone() -> None:
    field, _ = oblique_tunnel(0.0)
    fatty = sharpened(field.signed_mm, np.full_like(field.hu, -60.0), field.hull)
    np.testing.assert_array_equal(fatty > 0, field.signed_mm > 0)


def test_the_stated_uncertainty_of_a_long_spread_holds_95_percent() -> None:
    rng = np.random.default_rng(3)
    for spreads in ((4.0, 1.5, 1.0), (2.0, 2.0, 2.0), (6.0, 0.5, 0.5)):
        off = np.linalg.norm(rng.normal(size=(100_000, 3)) * spreads, axis=1)
        assert (off < np.sqrt(7.815) * round_sd_mm(spreads)).mean() == pytest.approx(0.95, abs=0.005)


def opening(level: Level, side: Side, width: float, height: float, arc: float, lateral: float) -> Opening:
    place = np.array([arc, lateral if side is Side.LEFT else -lateral, 0.0])
    area = np.pi * width * height / 4
    return Opening(Face.ANTERIOR, place, np.array([0.0, -1.0, 0.0]), area, width, height, place, (0, 0, 0))


def test_an_opening_much_larger_than_the_patients_others_is_no_foramen() -> None:
    sizes = {Level.S1: (14.0, 36.0, 23.0), Level.S2: (12.5, 66.0, 20.0), Level.S3: (10.0, 84.0, 18.0)}
    openings = {
        (level, side, Face.ANTERIOR): opening(level, side, size, size, arc, lateral)
        for level, (size, arc, lateral) in sizes.items()
        for side in (Side.LEFT, Side.RIGHT)
    }
    wrong = (Level.S2, Side.RIGHT, Face.ANTERIOR)
    assert merged(openings) == set()
    openings[wrong] = opening(Level.S2, Side.RIGHT, 26.0, 19.0, 71.0, 27.0)
    assert merged(openings) == {wrong}
    assert wrong not in believable(openings, [])
    openings[wrong] = opening(Level.S2, Side.RIGHT, 5.0, 5.0, 66.0, 20.0)
    assert merged(openings) == {wrong}


def test_a_loose_opening_takes_the_name_of_the_foramen_that_is_missing_there_only() -> None:
    found = {
        (level, side, Face.ANTERIOR): opening(level, side, size, size, arc, lateral)
        for level, size, arc, lateral in ((Level.S1, 14.0, 36.0, 23.0), (Level.S2, 12.5, 66.0, 20.0))
        for side in (Side.LEFT, Side.RIGHT)
    }
    s3 = opening(Level.S3, Side.LEFT, 10.0, 10.0, 84.0, 18.5)
    assert believable(found, [s3])[S3_LEFT] is s3
    between = opening(Level.S3, Side.LEFT, 10.0, 10.0, 92.5, 17.0)
    assert S3_LEFT not in believable(found, [between])
    assert believable(found, [opening(Level.S1, Side.LEFT, 14.0, 14.0, 38.0, 23.0)]) == found


def straight_canal(field: SacrumField, apex_arc_mm: float) -> CanalPath:
    """A canal along the midline of the oblique tunnel's slab whose roof ends at an arc length."""
    arc = np.arange(-6.0, 92.0)
    ones = np.ones_like(arc)
    points = field.frame.points(np.stack([arc, 0 * arc, 14 * ones], axis=-1))
    roof = (arc <= apex_arc_mm).astype(float)
    return CanalPath(arc, 0 * arc, 14 * ones, ones, roof, 10 * ones, 18 * ones, points)


@pytest.mark.parametrize(
    ("roof_end_mm", "slice_mm", "state"),
    [
        (62.0, 1.0, State.MEASURED),
        (20.0, 1.0, State.INFERRED),
        (78.0, 1.0, State.ABSENT),
        (78.0, 4.0, State.INFERRED),
    ],
)
def test_a_hiatus_is_measured_only_where_one_can_be(roof_end_mm: float, slice_mm: float, state: State) -> None:
    field, _ = oblique_tunnel(0.0)
    ends = (0.0, 25.0, 40.0, 52.0, 65.0, 80.0)
    levels = tuple(
        SacralLevel(level, upper, lower, (0.0, 0.0, 0.0))
        for level, (upper, lower) in zip(SACRAL_LEVELS, pairwise(ends), strict=True)
    )
    found = find_hiatus(field, straight_canal(field, roof_end_mm), [], levels, slice_mm, cut=False)
    assert found.state is state
    codes = {finding.code for finding in hiatus_findings(found)}
    assert ("SAC-A336" in codes) is (state is State.INFERRED)
    if state is State.INFERRED:
        assert found.uncertainty_mm > 8
        assert np.isnan(found.depth_mm)
    if roof_end_mm == 20.0:
        # By the norm 19 mm above the end of S5, and not where the roof has a defect.
        assert field.frame.coordinates(np.asarray(found.apex_mm))[0] == pytest.approx(61.0, abs=1.0)
