"""Parts of the sacral anatomy against formulas: coordinates, signed distance, occlusion, expectation, numbering."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sacroplasty.anatomy.canal import with_middle
from sacroplasty.anatomy.expectation import KEYS, expected_foramina, improbable, likelihood_of_arcs
from sacroplasty.anatomy.levels import _numbering
from sacroplasty.anatomy.lumen import directions, occlusion
from sacroplasty.anatomy.reopening import reopened
from sacroplasty.anatomy.signed_distance import closed, refined_labels, signed_distance
from sacroplasty.anatomy.structures import STRUCTURES, Face, SacralFrame
from sacroplasty.anatomy.unrolled import UnrolledSurface
from sacroplasty.evidence import value
from sacroplasty.plan import Level, Side
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
