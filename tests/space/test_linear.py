"""The compiled interpolation gives what scipy gives, at the rim and beyond it too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sacroplasty.space import Grid, LabelMap, Mask, Volume
from sacroplasty.space.linear import POINTS_AT_ONCE, picked, pulled, sampled

OUTSIDE = -1024.0


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 300, shape).astype(np.float32)


@given(
    st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.floats(0.2, 3.0)] * 3), st.tuples(*[st.floats(-4, 4)] * 3),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_pulled_grid_is_scipys(shape, scale, shift, turned):
    source = noise(shape)
    matrix = np.diag([*scale, 1.0])
    if turned:
        matrix[:3, :3] = Rotation.from_euler("xyz", shift, degrees=True).as_matrix() @ matrix[:3, :3]
    matrix[:3, 3] = shift
    across = matrix[:3, :3]
    expected = ndimage.affine_transform(
        source, np.diag(across) if np.allclose(across, np.diag(np.diag(across)), atol=1e-12) else across,
        offset=matrix[:3, 3], output_shape=(7, 6, 8), order=1, mode="constant", cval=OUTSIDE, output=np.float32,
    )  # fmt: skip
    found = pulled(source, matrix, (7, 6, 8), OUTSIDE)
    # Whether a voxel exactly on the rim is inside may turn on the last bit of its coordinate.
    index = np.moveaxis(np.indices((7, 6, 8)), 0, -1) @ across.T + matrix[:3, 3]
    ends = np.array(shape) - 1
    clear = (np.minimum(np.abs(index), np.abs(index - ends)) > 1e-5).all(axis=-1)
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-3)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.floats(0.2, 3.0)] * 3), st.tuples(*[st.floats(-4, 4)] * 3))
@settings(max_examples=60, deadline=None)
def test_picked_labels_are_scipys(shape, scale, shift):
    source = np.random.default_rng(0).integers(1, 200, shape).astype(np.uint8)
    matrix = np.diag([*scale, 1.0])
    matrix[:3, :3] = Rotation.from_euler("xyz", shift, degrees=True).as_matrix() @ matrix[:3, :3]
    matrix[:3, 3] = shift
    expected = ndimage.affine_transform(
        source, matrix[:3, :3], offset=shift, output_shape=(7, 6, 8), order=0, mode="constant", cval=0
    )
    index = np.moveaxis(np.indices((7, 6, 8)), 0, -1) @ matrix[:3, :3].T + shift
    # On the rim, and halfway between two voxels, the last bit of a coordinate decides.
    clear = (np.minimum(np.abs(index), np.abs(index - (np.array(shape) - 1))) > 1e-5).all(axis=-1)
    clear &= (np.abs(index % 1 - 0.5) > 1e-5).all(axis=-1)
    np.testing.assert_array_equal(picked(source, matrix, (7, 6, 8), 0)[clear], expected[clear])


def test_labels_in_their_own_grid_stay_as_they_are():
    grid = Grid.from_affine((6, 7, 8), np.diag([0.7, 0.8, 2.5, 1.0]))
    labels = LabelMap(np.random.default_rng(0).integers(0, 9, (6, 7, 8)).astype(np.uint8), grid)
    np.testing.assert_array_equal(labels.resampled(grid).array, labels.array)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_sampled_points_are_scipys(shape, seed):
    index = np.random.default_rng(seed).uniform(-2, 11, (40, 3))
    corners = np.array([(i, j, k) for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)])
    index = np.vstack([index, corners])
    source = noise(shape, seed)
    expected = ndimage.map_coordinates(source, index.T, order=1, mode="constant", cval=OUTSIDE)
    np.testing.assert_allclose(sampled(source, index, OUTSIDE), expected, atol=1e-3)


def test_many_points_are_few_points_side_by_side():
    source = noise((20, 21, 22))
    index = np.random.default_rng(1).uniform(-1, 22, (2 * POINTS_AT_ONCE + 7, 3))
    parts = [sampled(source, part, OUTSIDE) for part in np.array_split(index, 5)]
    assert sampled(source, index, OUTSIDE).tobytes() == np.concatenate(parts).tobytes()


def test_a_volume_in_its_own_grid_stays_as_it_is():
    grid = Grid.from_affine((6, 7, 8), np.diag([0.7, 0.8, 2.5, 1.0]))
    volume = Volume(noise((6, 7, 8)), grid)
    np.testing.assert_array_equal(volume.resampled(grid).array, volume.array)
    np.testing.assert_allclose(volume.sampled(grid.centres_mm()), volume.array, atol=0.05)


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_the_corners_of_a_mask_hold_its_points(voxels):
    array = np.zeros((6, 6, 6), np.bool_)
    array[tuple(np.transpose(voxels))] = True
    mask = Mask(array, Grid.from_affine((6, 6, 6), np.diag([0.7, 0.8, 2.5, 1.0])))
    corners, points = mask.corners_mm(), mask.points_mm()
    assert corners.shape == (8, 3)
    assert corners.min(axis=0) == pytest.approx(points.min(axis=0))
    assert corners.max(axis=0) == pytest.approx(points.max(axis=0))
