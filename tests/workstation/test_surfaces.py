"""Meshes of the 3D view stay where their masks are."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.report.surface import surface_of
from sacroplasty.space import Grid, Mask
from sacroplasty.workstation.surfaces import smooth_surface, smoothed

# Far from the origin, as scanners place their patients.
ORIGIN = np.array([-220.0, -90.0, -1300.0])


def mask_of(inside: np.ndarray) -> Mask:
    grid = Grid.aligned(ORIGIN, ORIGIN + np.array(inside.shape) - 1.0, 1.0)
    return Mask(inside, grid)


def sheet() -> Mask:
    """A bent sheet one voxel thick with holes and lone voxels, as a narrow joint is labelled."""
    i, j, k = np.indices((30, 40, 40))
    inside = np.abs(i - 12 - 4 * np.sin(j / 6) - k / 8) < 0.6
    inside &= np.random.default_rng(4).random(inside.shape) > 0.15
    return mask_of(inside & (i > 0) & (i < 29))


def ball() -> Mask:
    points = np.indices((30, 30, 30)) - 14.5
    return mask_of((points**2).sum(axis=0) < 12.0**2)


@pytest.mark.parametrize("made", [sheet, ball])
def test_no_vertex_leaves_its_mask_by_more_than_a_voxel(made) -> None:
    mask = made()
    vertices, _ = smooth_surface(mask)
    raw, _ = surface_of(mask)
    assert np.abs(vertices - raw).max() < 1.0
    places = mask.points_mm()
    assert (vertices.min(axis=0) > places.min(axis=0) - 1.0).all()
    assert (vertices.max(axis=0) < places.max(axis=0) + 1.0).all()


def test_steps_are_gone_and_the_size_stays() -> None:
    vertices, _ = smooth_surface(ball())
    distance = np.linalg.norm(vertices - ORIGIN - 14.5, axis=1)
    raw = np.linalg.norm(surface_of(ball())[0] - ORIGIN - 14.5, axis=1)
    assert distance.std() < 0.75 * raw.std()
    assert distance.mean() == pytest.approx(raw.mean(), abs=0.1)


def test_a_mesh_is_smoothed_alike_wherever_it_lies() -> None:
    vertices, faces = surface_of(sheet())
    there = smoothed(vertices + 1000.0, faces) - 1000.0
    np.testing.assert_allclose(there, smoothed(vertices, faces), atol=1e-8)
