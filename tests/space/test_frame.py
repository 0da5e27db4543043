"""Transforms: inverses, chains that hold and chains that must be refused."""

from __future__ import annotations

import pickle
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sacroplasty.errors import FrameError
from sacroplasty.space import Frame, Projection, Transform, readonly

NUMBERS = st.floats(-100, 100, allow_nan=False)


def transform(linear: np.ndarray, offset: np.ndarray) -> Transform:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, offset
    return Transform(Frame.PATIENT, Frame.VOXEL, matrix)


@given(arrays(np.float64, (3, 3), elements=st.floats(-2, 2)), arrays(np.float64, 3, elements=NUMBERS))
def test_the_inverse_brings_points_back(noise: np.ndarray, offset: np.ndarray) -> None:
    one = transform(np.eye(3) * 5 + noise * 0.5, offset)
    points = np.array([[1.0, 2.0, 3.0], [-40.0, 0.0, 7.0]])
    np.testing.assert_allclose(one.inverse.points(one.points(points)), points, atol=1e-8)
    np.testing.assert_allclose((one.inverse @ one).matrix, np.eye(4), atol=1e-9)


def test_points_move_and_vectors_do_not() -> None:
    shift = transform(np.eye(3), np.array([10.0, 0.0, 0.0]))
    np.testing.assert_allclose(shift.points([1, 2, 3]), [11, 2, 3])
    np.testing.assert_allclose(shift.vectors([1, 2, 3]), [1, 2, 3])


def test_a_wrong_chain_is_refused() -> None:
    patient_from_voxel = transform(np.eye(3), np.zeros(3))
    with pytest.raises(FrameError, match="do not chain"):
        patient_from_voxel @ patient_from_voxel


def test_a_chain_through_another_frame_of_reference_is_refused() -> None:
    ct_from_mr = Transform(Frame.PATIENT, Frame.PATIENT, np.eye(4), "ct", "mr")
    voxel_from_pet = Transform(Frame.PATIENT, Frame.VOXEL, np.eye(4), "pet", "")
    with pytest.raises(FrameError, match="do not chain"):
        ct_from_mr @ voxel_from_pet
    assert (ct_from_mr @ Transform(Frame.PATIENT, Frame.VOXEL, np.eye(4), "mr")).target_id == "ct"


@pytest.mark.parametrize(
    "matrix", [np.full((4, 4), np.nan), np.eye(3), np.diag([1.0, 1.0, 1.0, 2.0])], ids=["nan", "3x3", "not affine"]
)
def test_a_bad_matrix_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(FrameError):
        Transform(Frame.PATIENT, Frame.VOXEL, matrix)


def test_a_flat_matrix_has_no_inverse() -> None:
    with pytest.raises(FrameError, match="cannot be inverted"):
        _ = transform(np.diag([1.0, 1.0, 0.0]), np.zeros(3)).inverse


def test_projection_divides_by_depth_and_drops_points_behind() -> None:
    matrix = np.array([[100.0, 0, 32, 0], [0, 100, 32, 0], [0, 0, 1, 0]])
    pixels = Projection(Frame.CAMERA, matrix).points([[0, 0, 10], [1, 0, 10], [0, 0, -1]])
    np.testing.assert_allclose(pixels[:2], [[32, 32], [42, 32]])
    assert np.isnan(pixels[2]).all()


def test_a_projection_chains_only_with_its_own_frame() -> None:
    projection = Projection(Frame.CAMERA, np.eye(3, 4))
    with pytest.raises(FrameError, match="does not chain"):
        projection @ transform(np.eye(3), np.zeros(3))


def test_frozen_arrays_cannot_be_written_and_do_not_follow_the_source() -> None:
    source = np.zeros(3)
    frozen = readonly(source)
    source[0] = 5
    assert frozen[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        frozen[0] = 1


def test_mapping_proxies_travel_to_other_processes() -> None:
    proxy = MappingProxyType({"a": 1})
    assert dict(pickle.loads(pickle.dumps(proxy))) == {"a": 1}
