"""Grids and images: geometry, crops, resampling, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacroplasty.errors import AnatomyError, GeometryError, InputError
from sacroplasty.space import Frame, Grid, LabelMap, Mask, Transform, Volume


def tilted(angle_deg: float, shape: tuple[int, int, int] = (12, 10, 8)) -> Grid:
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.5, 2.0])
    affine[:3, 3] = (-5, 20, 100)
    return Grid.from_affine(shape, affine, "1.2.3")


def ramp(grid: Grid) -> Volume:
    """A linear function of patient position, which interpolation must reproduce exactly."""
    return Volume((grid.centres_mm() @ np.array([2.0, -1.0, 0.5])).astype(np.float32), grid)


@given(st.floats(-180, 180))
def test_spacing_and_volume_do_not_depend_on_rotation(angle_deg: float) -> None:
    grid = tilted(angle_deg)
    np.testing.assert_allclose(grid.spacing_mm, (1.0, 1.5, 2.0))
    assert grid.voxel_volume_ml == pytest.approx(0.003)


@given(st.floats(-60, 60))
def test_a_linear_image_survives_resampling(angle_deg: float) -> None:
    volume = ramp(tilted(angle_deg))
    centre = volume.grid.corners_mm.mean(axis=0)
    fine = Grid.aligned(centre - 2, centre + 2, 0.5, "1.2.3")
    np.testing.assert_allclose(volume.resampled(fine).array, ramp(fine).array, atol=2e-3)
    np.testing.assert_allclose(volume.sampled(fine.centres_mm()), ramp(fine).array, atol=2e-3)


def test_a_crop_keeps_its_place() -> None:
    volume = ramp(tilted(20))
    part = volume.cropped((slice(2, 6), slice(1, 9), slice(3, 4)))
    np.testing.assert_allclose(part.array, ramp(part.grid).array, atol=1e-4)
    assert part.grid.frame_of_reference_uid == "1.2.3"


@pytest.mark.parametrize("box", [slice(4, 4), slice(0, 8, 2)])
def test_an_empty_or_stepped_crop_is_refused(box: slice) -> None:
    with pytest.raises(GeometryError, match="crop box"):
        tilted(0).cropped((box, slice(None), slice(None)))


def test_box_around_holds_the_points() -> None:
    grid = tilted(30)
    inner = grid.patient_from_voxel.points([[3, 4, 2], [5, 6, 4]])
    assert grid.cropped(grid.box_around(inner)).contains(inner).all()


def test_contains_keeps_a_margin() -> None:
    grid = Grid.aligned((0, 0, 0), (10, 10, 10), 1.0)
    assert grid.contains([0, 0, 0])
    assert not grid.contains([0.5, 5, 5], margin_mm=1.0)
    assert not grid.contains([-0.1, 5, 5])


@pytest.mark.parametrize(
    ("affine", "shape"), [(np.diag([1, 1, 0, 1]), (3, 3, 3)), (np.eye(4), (3, 0, 3))], ids=["flat", "no voxels"]
)
def test_an_impossible_grid_is_refused(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    with pytest.raises(GeometryError):
        Grid.from_affine(shape, affine)


def test_a_grid_needs_the_right_transform() -> None:
    with pytest.raises(GeometryError, match="patient_from_voxel"):
        Grid((2, 2, 2), Transform(Frame.VOXEL, Frame.PATIENT, np.eye(4)))


def test_other_grid_is_refused_with_both_described() -> None:
    with pytest.raises(GeometryError, match=r"12x10x8 .* against 12x10x7"):
        tilted(0).require_same(tilted(0, (12, 10, 7)))


def test_two_frames_of_reference_are_never_the_same_grid() -> None:
    """The guard must fire: a library in common use compares a UID with itself here."""
    a, b = Grid.aligned((0, 0, 0), (3, 3, 3), 1.0, "1.2.3"), Grid.aligned((0, 0, 0), (3, 3, 3), 1.0, "4.5.6")
    assert not a.same_as(b)
    with pytest.raises(GeometryError, match="frames of reference"):
        Volume(np.zeros(a.shape, np.float32), a).resampled(b)


def test_an_array_must_fill_its_grid() -> None:
    with pytest.raises(GeometryError, match="does not fill"):
        Volume(np.zeros((2, 2, 2), np.float32), tilted(0))


def test_mask_measures_itself() -> None:
    grid = Grid.aligned((0, 0, 0), (9, 9, 9), 1.0)
    array = np.zeros(grid.shape, bool)
    array[2:4, 3:5, 4:6] = True
    mask = Mask(array, grid)
    assert mask.volume_ml == pytest.approx(0.008)
    np.testing.assert_allclose(mask.centroid_mm(), (2.5, 3.5, 4.5))
    assert mask.contains([[2, 3, 4], [0, 0, 0], [50, 0, 0]]).tolist() == [True, False, False]
    with pytest.raises(AnatomyError, match="lesion is empty"):
        Mask(np.zeros(grid.shape, bool), grid).require_any("lesion")


def test_labels_answer_by_name_only() -> None:
    grid = Grid.aligned((0, 0, 0), (4, 4, 4), 1.0)
    array = np.zeros(grid.shape, np.uint8)
    array[1, 1, 1], array[2, 2, 2] = 1, 5
    labels = LabelMap(array, grid, {1: "sacrum", 5: "hip_right", 9: "l5"})
    assert labels.has("sacrum")
    assert not labels.has("l5")
    assert labels.mask("sacrum", "hip_right").array.sum() == 2
    assert labels.at([[1, 1, 1], [99, 0, 0]]).tolist() == [1, 0]
    assert labels.resampled(grid).array.tolist() == labels.array.tolist()
    with pytest.raises(AnatomyError, match="no femur_left"):
        labels.mask("femur_left")


def test_resized_covers_the_same_box() -> None:
    grid = tilted(15)
    fine = grid.resized(0.5)
    assert grid.contains(fine.corners_mm).all()
    np.testing.assert_allclose(fine.spacing_mm, 0.5)


def test_large_label_values_are_kept_or_refused() -> None:
    grid = Grid.aligned((0, 0, 0), (1, 1, 1), 1.0)
    assert LabelMap(np.full(grid.shape, 300, np.uint16), grid).array.max() == 300
    with pytest.raises(InputError, match="too large"):
        LabelMap(np.full(grid.shape, 70000, np.uint32), grid)
