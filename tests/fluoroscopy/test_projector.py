"""The fast projector against its ray-driven specification, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.errors import GeometryError
from sacroplasty.fluoroscopy import PackedVolume, line_integrals
from sacroplasty.fluoroscopy.joseph import line_integrals_by_ray
from sacroplasty.space import Grid, Volume
from tests.fluoroscopy.scene import AP, ARM, POSES, blobs, view


def relative_rms(image, reference):
    return float(np.sqrt(np.mean((image - reference) ** 2) / np.mean(reference**2)))


def trilinear(volume: Volume, posed, pixels, step_mm=0.1):
    """Brute force: samples every `step_mm` along each ray, the field falling to zero over one voxel past the rim."""
    padded = np.pad(np.asarray(volume.array, dtype=np.float64), 1)
    rays, sums = posed.rays(pixels), []
    distances = np.arange(300.0, 1000.0, step_mm)
    for ray in rays:
        index = volume.grid.voxel_from_patient.points(posed.source_mm + distances[:, None] * ray) + 1
        sums.append(ndimage.map_coordinates(padded, index.T, order=1, mode="constant").sum() * step_mm)
    return np.array(sums)


@pytest.mark.parametrize("angles", POSES)
def test_shear_warp_matches_joseph_to_the_rim(angles):
    volume = PackedVolume.of(blobs())
    posed = view(angles)
    fast, slow = line_integrals(volume, posed), line_integrals_by_ray(volume, posed)
    assert np.corrcoef(fast.ravel(), slow.ravel())[0, 1] > 0.99999
    assert relative_rms(fast, slow) < 2e-3


@pytest.mark.parametrize("angles", POSES)
def test_joseph_matches_brute_force(angles):
    blob = blobs()
    posed = view(angles)
    pixels = np.random.default_rng(0).uniform(0, 127, (40, 2)).round()
    truth = trilinear(blob, posed, pixels)
    image = line_integrals_by_ray(PackedVolume.of(blob), posed)
    got = image[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    assert np.abs(got - truth).max() < 0.01 * truth.max()


def test_centre_of_a_gaussian_has_its_closed_form():
    width, peak = 9.0, 0.02
    grid = Grid.aligned([-50] * 3, [50] * 3, 1.0)
    field = peak * np.exp(-(grid.centres_mm() ** 2).sum(axis=-1) / (2 * width**2))
    arm = ARM.with_pixels(129)  # odd: a pixel on the central ray
    for angles in POSES:
        image = line_integrals(PackedVolume.of(Volume(field.astype(np.float32), grid, "1/mm")), view(angles, arm=arm))
        assert image[64, 64] == pytest.approx(peak * width * np.sqrt(2 * np.pi), rel=2e-3)


def test_a_full_slab_keeps_its_edge_voxels():
    """A uniform box: the chord is the whole thickness, half a voxel beyond the outermost centres on either side."""
    grid = Grid.aligned([-40, -10, -40], [40, 10, 40], 2.0)
    box = PackedVolume.of(Volume(np.full(grid.shape, 0.02, np.float32), grid, "1/mm"))
    image = line_integrals(box, view(AP, arm=ARM.with_pixels(129)))
    assert image[64, 64] == pytest.approx(0.02 * 22.0, rel=1e-3)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_storage_order_does_not_change_the_image(order):
    blob = blobs()
    affine = np.array(blob.grid.affine_lps)
    affine[:, :3] = affine[:, list(order)]
    other = Volume(
        np.ascontiguousarray(blob.array.transpose(order)),
        Grid.from_affine(tuple(blob.grid.shape[a] for a in order), affine),
        "1/mm",
    )
    for angles in (AP, (150.0, 10.0)):
        first, second = (line_integrals(PackedVolume.of(v), view(angles)) for v in (blob, other))
        assert relative_rms(second, first) < 1e-5


def test_oblique_volume_projects_where_its_world_is():
    """An array whose axes are turned against the patient, its world unchanged: same picture."""
    blob = blobs()
    angle = np.radians(18)
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = turn[:3, :3] @ [-40.0, -40, -40]
    oblique = Grid.from_affine((54, 54, 54), affine)
    inside = Volume(np.where(np.linalg.norm(blob.grid.centres_mm(), axis=-1) < 30, blob.array, 0), blob.grid, "1/mm")
    turned = inside.resampled(oblique, outside=0.0)
    for angles in (AP, (150.0, 10.0)):
        first, second = (line_integrals(PackedVolume.of(v), view(angles)) for v in (inside, turned))
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.999


def test_only_what_lies_between_source_and_detector_counts():
    grid = Grid.aligned([-10, -900, -10], [10, 900, 10], 5.0)
    long = PackedVolume.of(Volume(np.full(grid.shape, 0.001, np.float32), grid, "1/mm"))
    for project in (line_integrals, line_integrals_by_ray):
        image = project(long, view(AP, arm=ARM.with_pixels(129)))
        assert image[64, 64] == pytest.approx(0.001 * ARM.source_detector_mm, rel=0.02)
    grid = Grid.aligned([-10, 700, -10], [10, 900, 10], 5.0)
    behind = PackedVolume.of(Volume(np.ones(grid.shape, np.float32), grid, "1/mm"))
    assert not line_integrals(behind, view(AP)).any()


def test_coarser_keeps_the_mass_and_the_place():
    grid = Grid.aligned([-40] * 3, [40] * 3, 2.0)
    field = np.exp(-((grid.centres_mm() - np.array([3.0, 5.0, -4.0])) ** 2).sum(axis=-1) / 128)
    packed = PackedVolume.of(Volume(field.astype(np.float32), grid, "1/mm"))
    posed = view((180, 10))
    fine, coarse = line_integrals(packed, posed), line_integrals(packed.coarser(2), posed, 2.0)
    assert coarse.sum() == pytest.approx(fine.sum(), rel=1e-3)
    v, u = np.mgrid[: ARM.rows, : ARM.columns]
    expected = posed.detector_from_patient.points([3.0, 5.0, -4.0])
    for image in (fine, coarse):
        centre = [(image * u).sum() / image.sum(), (image * v).sum() / image.sum()]
        assert np.allclose(centre, expected, atol=0.02)


def test_guards_fire():
    grid = Grid.aligned([0, 0, 0], [9, 9, 9], 3.0)
    with pytest.raises(GeometryError, match="must be finite"):
        PackedVolume.of(Volume(np.full(grid.shape, np.nan, np.float32), grid, "1/mm"))
    with pytest.raises(GeometryError, match="too small"):
        PackedVolume.of(Volume(np.ones(grid.shape, np.float32), grid, "1/mm")).coarser(3)
