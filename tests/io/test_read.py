"""Real scans, labels and masks come in with the world they were stored in."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.io import (
    Verdict,
    read_ct,
    read_labels,
    read_mask,
    read_nifti,
    read_series,
    require_mask_on_grid,
    write_nifti,
    write_nrrd,
)
from sacroplasty.io.series import judge, load
from sacroplasty.space import Grid, LabelMap, Mask, Volume
from tests.data import real


def small_ct(shape: tuple[int, int, int] = (48, 40, 36), spacing: float = 2.0) -> Volume:
    """A body of soft tissue with an off-centre bone, in air."""
    grid = Grid.aligned((-40, -30, 100), (-40 + (shape[0] - 1) * spacing,) * 3, spacing)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (-40, -30, 100)
    grid = Grid.from_affine(shape, affine)
    x, y, z = np.moveaxis(grid.centres_mm(), -1, 0)
    array = np.full(shape, -1000, dtype=np.int16)
    array[((x - 5) / 38) ** 2 + ((y - 8) / 30) ** 2 < 1] = 40
    array[((x - 20) ** 2 + (y - 15) ** 2 + (z - 120) ** 2) < 144] = 500
    return Volume(array, grid)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "shape", "verdict"),
    [
        ("taichi/ct_sacrum_0.7mm.nii.gz", (260, 300, 215), Verdict.ACCEPT),
        ("acrin/ct_pelvis_4.25mm.nii.gz", (427, 278, 60), Verdict.WARN),
        ("totalsegmentator/ct_3mm.nii.gz", (122, 101, 112), Verdict.WARN),
    ],
)
def test_real_scans_are_read_into_lps(name: str, shape: tuple[int, int, int], verdict: Verdict) -> None:
    scan = read_series(real(name), modality="CT")
    grid = scan.volume.grid
    assert scan.verdict is verdict
    assert grid.shape == shape
    assert (np.diag(grid.affine_lps)[:3] > 0).all()
    image = nib.load(real(name))
    first = image.affine @ (0, 0, 0, 1)
    index = np.rint(grid.voxel_from_patient.points(first[:3] * (-1, -1, 1))).astype(int)
    assert scan.volume.array[tuple(index)] == np.asarray(image.dataobj[0, 0, 0])


@pytest.mark.real
@pytest.mark.hazard("H04")
def test_odd_extra_slice_of_a_series_is_set_aside() -> None:
    scan = read_series(real("taichi/dicom/ct_sagittal"), modality="CT")
    assert scan.volume.grid.shape == (38, 512, 512)
    assert [r.code for r in scan.warnings] == ["SAC-G013", "SAC-G026"]
    assert "CT000003.dcm" in scan.warnings[0].message


@pytest.mark.real
def test_total_segmentator_labels_and_names() -> None:
    labels = read_labels(real("totalsegmentator/labels_3mm.nii.gz"))
    ct = read_ct(real("totalsegmentator/ct_3mm.nii.gz"), acknowledge=["SAC-G026", "SAC-G042"])
    assert labels.grid.same_as(ct.grid)
    assert labels.mask("sacrum").volume_ml > 100
    left, right = labels.mask("hip_left").centroid_mm(), labels.mask("hip_right").centroid_mm()
    assert left[0] > right[0]


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_storage_order_never_moves_the_world(tmp_path: Path, order: tuple[int, int, int]) -> None:
    ct = small_ct()
    expected = judge(load(_stored(ct, (0, 1, 2), (1, 1, 1), tmp_path / "a.nii")))
    for n, signs in enumerate(product((1, -1), repeat=3)):
        again = judge(load(_stored(ct, order, signs, tmp_path / f"{n}.nii")))
        assert again.provenance["sha256"] == expected.provenance["sha256"]
        assert again.volume.grid.same_as(ct.grid)
        np.testing.assert_array_equal(again.volume.array, ct.array)


@pytest.mark.hazard("H01")
def test_mirrored_or_shifted_data_is_another_world(tmp_path: Path) -> None:
    ct = small_ct()
    expected = judge(load(write_nifti(ct, tmp_path / "a.nii"))).provenance["sha256"]
    mirrored = Volume(ct.array[::-1], ct.grid)
    affine = np.array(ct.grid.affine_lps)
    affine[0, 3] += 10
    shifted = Volume(ct.array, Grid.from_affine(ct.grid.shape, affine))
    for n, other in enumerate((mirrored, shifted)):
        assert judge(load(write_nifti(other, tmp_path / f"{n}.nii"))).provenance["sha256"] != expected


def _stored(ct: Volume, order: tuple[int, ...], signs: tuple[int, ...], path: Path) -> Path:
    """The same world written with other axes by nibabel, not by us."""
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ct.grid.affine_lps
    image = nib.Nifti1Image(np.asarray(ct.array), to_ras)
    image.header.set_xyzt_units("mm")
    orientation = np.array([[order[n], signs[n]] for n in range(3)], dtype=float)
    image = image.as_reoriented(orientation)
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    nib.save(image, path)
    return path


def test_what_is_written_comes_back_as_it_was(tmp_path: Path) -> None:
    ct = small_ct()
    grid = Grid(ct.grid.shape, ct.grid.patient_from_voxel, "1.2.3")
    ct = Volume(ct.array, grid)
    again = read_nifti(write_nifti(ct, tmp_path / "ct.nii.gz"), Volume)
    np.testing.assert_array_equal(again.array, ct.array)
    np.testing.assert_array_equal(again.grid.affine_lps, grid.affine_lps)
    assert (again.unit, again.grid.frame_of_reference_uid) == ("HU", "1.2.3")
    labels = LabelMap((ct.array > 300).astype(np.uint8), grid, {1: "sacrum"})
    found = read_nifti(write_nifti(labels, tmp_path / "l.nii.gz"), LabelMap)
    assert dict(found.names) == {1: "sacrum"}
    assert dict(read_labels(tmp_path / "l.nii.gz").names) == {1: "sacrum"}
    mask = labels.mask("sacrum")
    assert read_nifti(write_nifti(mask, tmp_path / "m.nii.gz"), Mask).volume_ml == mask.volume_ml
    with pytest.raises(InputError, match="not a Mask"):
        read_nifti(tmp_path / "l.nii.gz", Mask)


def test_same_image_same_bytes(tmp_path: Path) -> None:
    ct = small_ct()
    for ending in ("nii.gz", "nrrd"):
        write = write_nifti if ending == "nii.gz" else write_nrrd
        first, second = (write(ct, tmp_path / f"{n}.{ending}").read_bytes() for n in "ab")
        assert first == second


def test_nrrd_and_slicer_segments_come_back(tmp_path: Path) -> None:
    ct = small_ct()
    scan = read_series(write_nrrd(ct, tmp_path / "ct.nrrd"), modality="CT")
    np.testing.assert_array_equal(scan.volume.array, ct.array)
    assert scan.volume.grid.same_as(ct.grid)
    labels = LabelMap((ct.array > 300).astype(np.uint8) * 7, ct.grid, {7: "sacrum"})
    found = read_labels(write_nrrd(labels, tmp_path / "l.seg.nrrd"))
    assert dict(found.names) == {7: "sacrum"}
    np.testing.assert_array_equal(found.array, labels.array)


def test_labels_from_a_folder_and_from_tables(tmp_path: Path) -> None:
    ct = small_ct()
    sacrum, body = Mask(ct.array > 300, ct.grid), Mask((ct.array > -300) & (ct.array < 300), ct.grid)
    folder = tmp_path / "classes"
    write_nifti(sacrum, folder / "sacrum.nii.gz")
    write_nifti(body, folder / "body.nii.gz")
    labels = read_labels(folder)
    assert dict(labels.names) == {1: "body", 2: "sacrum"}
    np.testing.assert_array_equal(labels.mask("sacrum").array, sacrum.array)
    write_nifti(body, folder / "copy.nii.gz")
    with pytest.raises(GeometryError, match="overlap"):
        read_labels(folder)
    nameless = nib.Nifti1Image(np.asarray(sacrum.array, dtype=np.uint8) * 25, np.diag([2.0, 2, 2, 1]))
    nameless.header.set_xyzt_units("mm")
    nib.save(nameless, tmp_path / "multi.nii.gz")
    with pytest.raises(InputError, match=r"labels\.txt"):
        read_labels(tmp_path / "multi.nii.gz")
    assert read_labels(tmp_path / "multi.nii.gz", names="totalsegmentator-v2").has("sacrum")
    (tmp_path / "labels.txt").write_text("25 sacrum\n", encoding="utf-8")
    assert read_labels(tmp_path / "multi.nii.gz").has("sacrum")


@pytest.mark.hazard("H07")
@pytest.mark.hazard("H08")
def test_mask_must_lie_on_the_grid(tmp_path: Path) -> None:
    ct = small_ct()
    mask = Mask(ct.array > 300, ct.grid)
    assert (
        require_mask_on_grid(read_mask(write_nifti(mask, tmp_path / "m.nii.gz")), ct.grid).volume_ml == mask.volume_ml
    )
    box = ct.grid.box_around(mask.points_mm(), 4.0)
    np.testing.assert_array_equal(require_mask_on_grid(mask.cropped(box), ct.grid).array, mask.array)
    coarse = mask.resampled(ct.grid.resized(3.0))
    with pytest.raises(GeometryError, match="another grid"):
        require_mask_on_grid(coarse, ct.grid)
    assert require_mask_on_grid(coarse, ct.grid, resample=True).volume_ml == pytest.approx(coarse.volume_ml, rel=0.02)
    identity = Mask(mask.array, Grid.from_affine(ct.grid.shape, np.eye(4)))
    with pytest.raises(GeometryError, match="another grid"):
        require_mask_on_grid(identity, ct.grid)
    with pytest.raises(GeometryError, match="outside the CT"):
        require_mask_on_grid(identity, ct.grid, resample=True)
    elsewhere = Mask(mask.array, Grid(ct.grid.shape, ct.grid.patient_from_voxel, "1.2.3"))
    there = Grid(ct.grid.shape, ct.grid.patient_from_voxel, "1.2.4")
    with pytest.raises(GeometryError, match="frames of reference"):
        require_mask_on_grid(elsewhere, there)
    with pytest.raises(GeometryError, match="in air"):
        require_mask_on_grid(Mask(ct.array < -900, ct.grid), ct.grid, ct=ct)


@pytest.mark.hazard("H08")
def test_odd_masks_are_refused(tmp_path: Path) -> None:
    ct = small_ct()
    empty = write_nifti(Mask(ct.array > 5000, ct.grid), tmp_path / "empty.nii.gz")
    with pytest.raises(GeometryError, match="empty"):
        read_mask(empty)
    several = write_nifti(
        LabelMap((ct.array > -300).astype(np.uint8) + (ct.array > 300), ct.grid), tmp_path / "s.nii.gz"
    )
    with pytest.raises(GeometryError, match="several label values"):
        read_mask(several)
    assert read_mask(several, label=2).volume_ml == Mask(ct.array > 300, ct.grid).volume_ml
    soft = write_nifti(Volume((ct.array > 300).astype(np.float32) * 0.4, ct.grid), tmp_path / "soft.nii.gz")
    with pytest.raises(GeometryError, match="whole numbers"):
        read_mask(soft)
