"""The surface of a mask: closed, every edge between two triangles, normals outwards."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from sacroplasty.report.surface import surface_of
from sacroplasty.space import Grid, Mask


def mask_of(inside: np.ndarray) -> Mask:
    return Mask(inside, Grid.aligned((0, 0, 0), np.array(inside.shape) - 1.0, 1.0))


def closed(mask: Mask) -> bool:
    vertices, faces = surface_of(mask)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return bool(mesh.is_watertight and mesh.volume > 0)


@pytest.mark.parametrize("second", [(1, 1, 0), (1, 0, 1), (0, 1, 1), (1, -1, 0)])
def test_voxels_that_touch_along_an_edge_have_a_closed_surface(second: tuple[int, int, int]) -> None:
    inside = np.zeros((4, 4, 4), bool)
    inside[1, 2, 1] = inside[tuple(np.add((1, 2, 1), second))] = True
    assert closed(mask_of(inside))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_mask_has_a_closed_surface(seed: int) -> None:
    inside = np.random.default_rng(seed).random((5, 6, 4)) < 0.4
    inside[2, 2, 2] = True
    assert closed(mask_of(inside))
