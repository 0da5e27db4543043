"""Distances are never larger than the truth."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.approach.distance import (
    FAR_MM,
    VOXEL_BIAS,
    VOXEL_BOUND,
    clip,
    path_minimum,
    polyline_distance,
    segments_distance,
    signed_distance_mm,
    stamp_capsule,
)


def _directions(rng, n):
    u = rng.normal(size=(n, 3))
    return u / np.linalg.norm(u, axis=1, keepdims=True)


def _grid(size_mm, spacing):
    n = int(size_mm / spacing) + 1
    return np.stack(np.meshgrid(*[np.arange(n) * spacing] * 3, indexing="ij"), axis=-1)


def _sphere(p, c, axis):
    return np.linalg.norm(p - c, axis=-1) - 7.0


def _cylinder(p, c, axis):
    r = p - c
    return np.linalg.norm(r - (r @ axis)[..., None] * axis, axis=-1) - 4.0


def _slab(p, c, axis):
    return np.abs((p - c) @ axis) - 3.0


def _ring(p, c, axis):
    r = p - c
    h = r @ axis
    return np.hypot(np.linalg.norm(r - h[..., None] * axis, axis=-1) - 9.0, h) - 3.0


@pytest.mark.parametrize("spacing", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("shape", [_sphere, _cylinder, _slab, _ring])
def test_the_lower_bound_is_never_optimistic(shape, spacing):
    rng = np.random.default_rng(7)
    p = _grid(44.0, spacing)
    errors = []
    for axis in [*np.eye(3), *_directions(rng, 5)]:
        centre = np.full(3, 22.0) + rng.uniform(-0.5, 0.5, 3) * spacing
        field = signed_distance_mm(shape(p, centre, axis) < 0, (spacing,) * 3)
        for n in range(40):
            middle = centre + rng.uniform(-12, 12, 3)
            u = _directions(rng, 1)[0]
            u = u - (u @ axis) * axis * (n % 4 > 0)
            u = u / np.linalg.norm(u)
            ends = np.stack([middle - 10 * u, middle + 10 * u]).clip(1.0, 42.0)
            along = ends[0] + np.linspace(0, 1, 2001)[:, None] * (ends[1] - ends[0])
            truth = shape(along, centre, axis).min()
            if truth > 0.2:
                found, _ = path_minimum(field, ends[0] / spacing, ends[1] / spacing, spacing)
                errors.append(found - VOXEL_BOUND * spacing - truth)
    assert len(errors) > 60
    assert max(errors) <= 0.005
    # The best estimate is unbiased enough to be shown.
    assert abs(np.median(errors) + (VOXEL_BOUND - VOXEL_BIAS) * spacing) < 0.4 * spacing


def test_an_empty_structure_is_far():
    assert (signed_distance_mm(np.zeros((4, 5, 6), bool), (1.0, 1.0, 1.0)) == FAR_MM).all()


def test_inside_is_negative():
    mask = np.zeros((21, 21, 21), bool)
    mask[5:16, 5:16, 5:16] = True
    field = signed_distance_mm(mask, (1.0, 1.0, 1.0))
    assert field[10, 10, 10] == -6.0
    assert field[10, 10, 2] == 3.0


def test_path_minimum_agrees_with_dense_sampling_and_never_exceeds_it():
    rng = np.random.default_rng(3)
    mask = rng.random((40, 40, 40)) > 0.9995
    field = signed_distance_mm(mask, (1.0, 1.0, 1.0))
    from scipy import ndimage

    for _ in range(60):
        a, b = rng.uniform(1, 38, 3), rng.uniform(1, 38, 3)
        line = a + np.linspace(0, 1, 4001)[:, None] * (b - a)
        dense = ndimage.map_coordinates(field, line.T, order=1).min()
        least, place = path_minimum(field, a, b, 1.0)
        assert dense - 0.26 <= least <= dense + 1e-5
        assert 0.0 <= place <= np.linalg.norm(b - a) + 1e-9


def test_what_lies_outside_the_field_is_far():
    field = np.zeros((10, 10, 10), np.float32)
    assert path_minimum(field, np.array([20.0, 20, 20]), np.array([30.0, 20, 20]), 1.0)[0] == FAR_MM
    assert clip(np.array([-5.0, 4, 4]), np.array([15.0, 4, 4]), (10, 10, 10))[0] == pytest.approx(0.25)
    assert clip(np.array([-5.0, 40, 4]), np.array([15.0, 40, 4]), (10, 10, 10)) == (1.0, 0.0)


def test_segment_distance_is_exact():
    rng = np.random.default_rng(1)
    s = np.linspace(0, 1, 201)
    for _ in range(80):
        p, q, a, b = rng.uniform(-5, 5, (4, 3))
        first, second = p + s[:, None] * (q - p), a + s[:, None] * (b - a)
        brute = np.linalg.norm(first[:, None] - second[None], axis=-1).min()
        distance, f = segments_distance(p, q, a, b)
        assert distance <= brute + 1e-9
        assert distance == pytest.approx(brute, abs=0.08)
        assert 0.0 <= f <= 1.0
    parallel = segments_distance(np.zeros(3), np.array([1.0, 0, 0]), np.array([0.0, 2, 0]), np.array([1.0, 2, 0]))
    assert parallel[0] == pytest.approx(2.0)
    point = np.array([[3.0, 0.0, 0.0]])
    assert polyline_distance(np.zeros(3), np.array([0.0, 0, 1]), point)[0] == pytest.approx(3.0)


def test_a_stamped_capsule_is_its_own_distance():
    field = np.full((30, 30, 30), FAR_MM, np.float32)
    a, b = np.array([8.0, 10, 12]), np.array([20.0, 15, 9])
    stamp_capsule(field, a, b, 2.0, 0.5, 1.0)
    for place in ((3, 3, 3), (14, 12, 10), (25, 20, 20)):
        distance = segments_distance(np.array(place, float), np.array(place, float), a, b)[0]
        assert field[place] == pytest.approx(min(distance - 2.5, FAR_MM), abs=1e-4)
