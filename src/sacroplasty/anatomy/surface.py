"""Triangle surfaces against voxel grids: normals, profiles along them, and the inside of closed surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from sacroplasty.space import Grid, Points, Volume, threaded

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Rays through a voxel centre must not graze a vertex: a shift far below any accuracy, different per axis.
_OFF_LATTICE_MM = np.array([1.234e-4, 1.871e-4, 1.553e-4])


@njit(cache=True)
def _vertex_normals(vertices: Points, faces: Indices) -> Points:
    result = np.zeros_like(vertices)
    for f in range(faces.shape[0]):
        a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            result[corner, 0] += nx
            result[corner, 1] += ny
            result[corner, 2] += nz
    for n in range(vertices.shape[0]):
        length = np.sqrt(result[n, 0] ** 2 + result[n, 1] ** 2 + result[n, 2] ** 2) + 1e-12
        for axis in range(3):
            result[n, axis] /= length
    return result


def vertex_normals(vertices_mm: Points, faces: Indices) -> Points:
    """Outward unit normals (n, 3) of a surface with outward faces, weighted by area."""
    return np.asarray(_vertex_normals(np.ascontiguousarray(vertices_mm, dtype=np.float64), faces))


# Standard deviation of the smoothing under the derivative along a profile, and half the window of its brightest, mm.
SMOOTHING_MM, BRIGHT_MM = 1.0, 4.0
POINTS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Profiles:
    """Profiles along normals: `s_mm` (m,) outwards; per point and place (n, m) the `drop` of brightness (HU/mm) and the
    `brightest` HU within 4 mm; `steepest` (n,) the largest drop, `peak_hu` (n,) the brightest HU of each profile;
    `seen` (n,) where it lies in the field.
    """

    s_mm: Points
    drop: Floats
    brightest: Floats
    steepest: Floats
    peak_hu: Floats
    seen: npt.NDArray[np.bool_]


def profiles(
    volume: Volume, points_mm: Points, normals: Points, reach_mm: float, step_mm: float, low_hu: float, high_hu: float
) -> Profiles:
    """Trilinear profiles along `normals` (n, 3) through `points_mm`, from -reach to +reach, HU clipped to two bounds.

    A point counts as seen where more than four fifths of its profile are above -400 HU.
    """
    half = round(reach_mm / step_mm)
    count = 2 * half + 1
    voxel = volume.grid.voxel_from_patient
    array = np.ascontiguousarray(volume.array, dtype=np.float32)
    flat = array.ravel()
    start, step = voxel.points(points_mm), voxel.vectors(normals * step_mm)
    kernel = _derivative(SMOOTHING_MM / step_mm) / np.float32(step_mm)
    shape = (len(points_mm), count)
    found = Profiles(
        np.asarray((np.arange(count) - half) * step_mm, np.float64),
        np.empty(shape, np.float32), np.empty(shape, np.float32),
        np.empty(shape[0], np.float32), np.empty(shape[0], np.float32), np.empty(shape[0], np.bool_),
    )  # fmt: skip
    window, bounds = int(BRIGHT_MM / step_mm), (np.float32(low_hu), np.float32(high_hu))

    def work(first: int, last: int) -> None:
        _profiled(flat, array.shape, start, step, half, kernel, window, bounds, found.drop, found.brightest,
                  found.steepest, found.peak_hu, found.seen, first, last)  # fmt: skip

    threaded(work, shape[0], POINTS_AT_ONCE)
    return found


def _derivative(sigma: float) -> Points:
    """Weights of minus the derivative of a Gaussian, cut at four standard deviations."""
    offset = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    bell = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.asarray(-offset / sigma**2 * bell / bell.sum(), dtype=np.float32)


@njit(cache=True, nogil=True, inline="always")
def _trilinear(flat, n0, n1, n2, x, y, z):  # type: ignore[no-untyped-def]
    """The value at voxel coordinates of an array laid out flat, of at least two voxels a side; -1024 outside."""
    if x < 0 or y < 0 or z < 0 or x > n0 - 1 or y > n1 - 1 or z > n2 - 1:
        return np.float32(-1024.0)
    i, j, k = min(int(x), n0 - 2), min(int(y), n1 - 2), min(int(z), n2 - 2)
    u, v, w = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    # Unsigned, so that no place is taken for one counted from the end.
    here, one = np.uintp((i * n1 + j) * n2 + k), np.uintp(1)
    right, over = here + np.uintp(n2), here + np.uintp(n1 * n2)
    both = over + np.uintp(n2)
    a = flat[here] + w * (flat[here + one] - flat[here])
    b = flat[right] + w * (flat[right + one] - flat[right])
    c = flat[over] + w * (flat[over + one] - flat[over])
    d = flat[both] + w * (flat[both + one] - flat[both])
    a, c = a + v * (b - a), c + v * (d - c)
    return a + u * (c - a)


@njit(cache=True, nogil=True)
def _profiled(  # type: ignore[no-untyped-def]
    flat, shape, start, step, half, kernel, window, bounds, drop, brightest, steepest, peak, seen, first, last
):
    count, (n0, n1, n2) = drop.shape[1], shape
    radius = len(kernel) // 2
    margin = max(radius, window)
    # Beyond its ends a profile is mirrored: nothing new comes in for the derivative or for the brightest place.
    padded = np.empty(count + 2 * margin, np.float32)
    for p in range(first, last):
        inside, x, y, z = 0, start[p, 0], start[p, 1], start[p, 2]
        for s in range(count):
            along = s - half
            value = _trilinear(flat, n0, n1, n2, x + along * step[p, 0], y + along * step[p, 1], z + along * step[p, 2])
            inside += value > -400
            padded[margin + s] = min(max(value, bounds[0]), bounds[1])
        seen[p] = inside > 0.8 * count
        peak[p] = padded[margin : margin + count].max()
        for n in range(margin):
            padded[margin - 1 - n] = padded[margin + n]
            padded[margin + count + n] = padded[margin + count - 1 - n]
        _windowed(padded, kernel, window, margin, drop[p], brightest[p])
        steepest[p] = drop[p].max()


@njit(cache=True, nogil=True, fastmath=True)
def _windowed(padded, kernel, window, margin, drop, brightest):  # type: ignore[no-untyped-def]
    """Weighted sum and maximum of the values around every place of one mirrored profile."""
    count, radius = len(drop), len(kernel) // 2
    drop[:] = 0.0
    for n in range(len(kernel)):
        weight = kernel[n]
        shifted = padded[margin - radius + n : margin - radius + n + count]
        for s in range(count):
            drop[s] += weight * shifted[s]
    brightest[:] = padded[margin : margin + count]
    for n in range(-window, window + 1):
        shifted = padded[margin + n : margin + n + count]
        for s in range(count):
            brightest[s] = max(brightest[s], shifted[s])


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
