"""Triangle surfaces against voxel grids: normals, profiles along them, and the inside of closed surfaces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sacroplasty.space import Grid, Points, Volume

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Rays through a voxel centre must not graze a vertex: a shift far below any accuracy, different per axis.
_OFF_LATTICE_MM = np.array([1.234e-4, 1.871e-4, 1.553e-4])


@njit(cache=True)
def _vertex_normals(vertices: Points, faces: Indices) -> Points:
    result = np.zeros_like(vertices)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        u, v = vertices[b] - vertices[a], vertices[c] - vertices[a]
        for corner in (a, b, c):
            result[corner, 0] += u[1] * v[2] - u[2] * v[1]
            result[corner, 1] += u[2] * v[0] - u[0] * v[2]
            result[corner, 2] += u[0] * v[1] - u[1] * v[0]
    for n in range(vertices.shape[0]):
        length = np.sqrt((result[n] ** 2).sum()) + 1e-12
        for axis in range(3):
            result[n, axis] /= length
    return result


def vertex_normals(vertices_mm: Points, faces: Indices) -> Points:
    """Outward unit normals (n, 3) of a surface with outward faces, weighted by area."""
    return np.asarray(_vertex_normals(np.ascontiguousarray(vertices_mm, dtype=np.float64), faces))


@njit(cache=True, parallel=True)
def _profiles(array: Floats, start: Points, step: Points, first: int, count: int, outside: float) -> Floats:
    points = start.shape[0]
    result = np.empty((points, count), np.float32)
    n0, n1, n2 = array.shape
    for p in prange(points):
        for s in range(count):
            x = start[p, 0] + (first + s) * step[p, 0]
            y = start[p, 1] + (first + s) * step[p, 1]
            z = start[p, 2] + (first + s) * step[p, 2]
            if x < 0 or y < 0 or z < 0 or x > n0 - 1 or y > n1 - 1 or z > n2 - 1:
                result[p, s] = outside
                continue
            i, j, k = min(int(x), n0 - 2), min(int(y), n1 - 2), min(int(z), n2 - 2)
            u, v, w = x - i, y - j, z - k
            low = (array[i, j, k] * (1 - u) + array[i + 1, j, k] * u) * (1 - v)
            low += (array[i, j + 1, k] * (1 - u) + array[i + 1, j + 1, k] * u) * v
            high = (array[i, j, k + 1] * (1 - u) + array[i + 1, j, k + 1] * u) * (1 - v)
            high += (array[i, j + 1, k + 1] * (1 - u) + array[i + 1, j + 1, k + 1] * u) * v
            result[p, s] = low * (1 - w) + high * w
    return result


def profiles(volume: Volume, points_mm: Points, normals: Points, reach_mm: float, step_mm: float) -> Floats:
    """Trilinear values (n, 2m + 1) along `normals` (n, 3) through `points_mm`, from -reach to +reach; -1024 outside."""
    half = round(reach_mm / step_mm)
    voxel = volume.grid.voxel_from_patient
    array = np.asarray(volume.array, dtype=np.float32)
    return np.asarray(
        _profiles(array, voxel.points(points_mm), voxel.vectors(normals * step_mm), -half, 2 * half + 1, -1024.0)
    )


@njit(cache=True)
def _filled_along_last(vertices: Points, faces: Indices, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    crossings = np.zeros((shape[0], shape[1], shape[2] + 1), np.uint8)
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if abs(area) < 1e-12:
            continue
        first_x = max(0, int(np.ceil(min(a[0], b[0], c[0]))))
        last_x = min(shape[0] - 1, int(np.floor(max(a[0], b[0], c[0]))))
        first_y = max(0, int(np.ceil(min(a[1], b[1], c[1]))))
        last_y = min(shape[1] - 1, int(np.floor(max(a[1], b[1], c[1]))))
        for x in range(first_x, last_x + 1):
            for y in range(first_y, last_y + 1):
                u = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
                v = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                k = max(0, int(np.ceil(a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2]))))
                if k <= shape[2]:
                    crossings[x, y, k] ^= 1
    result = np.zeros(shape, np.uint8)
    for x in range(shape[0]):
        for y in range(shape[1]):
            inside = 0
            for k in range(shape[2]):
                inside ^= crossings[x, y, k]
                result[x, y, k] = inside
    return result


def filled(vertices_mm: Points, faces: Indices, grid: Grid) -> npt.NDArray[np.bool_]:
    """True (i, j, k) at voxel centres inside a closed surface: majority of parity fills along three axes.

    The majority tolerates small holes and self-intersections of statistical surfaces.
    """
    index = np.ascontiguousarray(grid.voxel_from_patient.points(vertices_mm + _OFF_LATTICE_MM))
    votes = np.zeros(grid.shape, np.uint8)
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        shape = (grid.shape[order[0]], grid.shape[order[1]], grid.shape[order[2]])
        along = _filled_along_last(np.ascontiguousarray(index[:, order]), faces, shape)
        votes += along.transpose(np.argsort(order))
    return np.asarray(votes >= 2)
