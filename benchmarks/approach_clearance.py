"""Clearances against closed forms and exact capsule-to-mesh distances. Writes benchmarks/approach_clearance.csv.

Closed forms: spheres, cylinders, slabs and foramen rings sampled on grids of 0.7 to 1.5 mm in random directions; the
published lower bound must never exceed the truth. Meshes: marching cubes of the phantom's canal, root tunnels and SI
joint, measured by an exact segment-to-triangle distance written here alone, and by VTK's implicit distance where
SACROPLASTY_ORACLE_PYTHON names an interpreter that has it.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numba import njit
from skimage.measure import marching_cubes

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from sacroplasty.approach.distance import (  # noqa: E402
    VOXEL_BIAS,
    VOXEL_BOUND,
    path_minimum,
    segments_distance,
    signed_distance_mm,
)
from sacroplasty.phantom import build_phantom  # noqa: E402

SPACINGS = (0.7, 1.0, 1.25, 1.5)
PATHS = 1500
SIZE_MM = 44.0
VTK = """
import sys, json, numpy as np, vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
d = np.load(sys.argv[1])
points = vtk.vtkPoints(); points.SetData(numpy_to_vtk(d['vertices'], deep=1))
cells = np.hstack([np.full((len(d['faces']), 1), 3), d['faces']]).astype(np.int64).ravel()
array = vtk.vtkCellArray(); array.SetCells(len(d['faces']), numpy_to_vtkIdTypeArray(cells, deep=1))
mesh = vtk.vtkPolyData(); mesh.SetPoints(points); mesh.SetPolys(array)
f = vtk.vtkImplicitPolyDataDistance(); f.SetInput(mesh)
out = [min(abs(f.EvaluateFunction(p)) for p in a + np.linspace(0, 1, 241)[:, None] * (b - a))
       for a, b in zip(d['starts'], d['ends'])]
print(json.dumps(out))
"""


def shapes(axis, centre):
    """Name and signed distance of each closed form."""

    def along(p):
        return (p - centre) @ axis

    def off(p):
        r = p - centre
        return np.linalg.norm(r - (r @ axis)[..., None] * axis, axis=-1)

    return {
        "sphere r 7": lambda p: np.linalg.norm(p - centre, axis=-1) - 7.0,
        "cylinder r 4": lambda p: off(p) - 4.0,
        "slab 6 mm": lambda p: np.abs(along(p)) - 3.0,
        "foramen ring r 9/3": lambda p: np.hypot(off(p) - 9.0, along(p)) - 3.0,
    }


def closed_forms(rng) -> list[dict[str, object]]:
    """Errors of bound and estimate, mm, positive = optimistic."""
    rows = []
    for spacing in SPACINGS:
        n = int(SIZE_MM / spacing) + 1
        grid = np.stack(np.meshgrid(*[np.arange(n) * spacing] * 3, indexing="ij"), axis=-1)
        errors: dict[str, list[float]] = {}
        for axis in [*np.eye(3), *_directions(rng, 9)]:
            centre = np.full(3, SIZE_MM / 2) + rng.uniform(-0.5, 0.5, 3) * spacing
            for name, form in shapes(axis, centre).items():
                field = signed_distance_mm(form(grid) < 0, (spacing,) * 3)
                for k in range(PATHS // 12):
                    middle, u = centre + rng.uniform(-12, 12, 3), _directions(rng, 1)[0]
                    u = u - (u @ axis) * axis * (k % 4 > 0)
                    u /= np.linalg.norm(u)
                    ends = np.stack([middle - 10 * u, middle + 10 * u]).clip(1.0, SIZE_MM - 2)
                    truth = form(ends[0] + np.linspace(0, 1, 1001)[:, None] * (ends[1] - ends[0])).min()
                    if truth > 0.1:
                        found = path_minimum(field, ends[0] / spacing, ends[1] / spacing, spacing)[0]
                        errors.setdefault(name, []).append(found - truth)
        rows += [_row("closed form", name, spacing, np.array(e)) for name, e in errors.items()]
    return rows


def _directions(rng, n):
    u = rng.normal(size=(n, 3))
    return u / np.linalg.norm(u, axis=1, keepdims=True)


def _row(truth: str, name: str, spacing: float, raw: np.ndarray) -> dict[str, object]:
    bound, estimate = raw - VOXEL_BOUND * spacing, raw - VOXEL_BIAS * spacing
    return {
        "truth": truth,
        "structure": name,
        "voxel_mm": spacing,
        "paths": len(raw),
        "plain_edt_max_optimism_mm": round(float(raw.max()), 3),
        "bound_max_optimism_mm": round(float(bound.max()), 3),
        "bound_median_mm": round(float(np.median(bound)), 3),
        "estimate_median_abs_error_mm": round(float(np.median(np.abs(estimate))), 3),
        "estimate_p95_abs_error_mm": round(float(np.quantile(np.abs(estimate), 0.95)), 3),
    }


@njit(cache=True)
def _point_triangle(p, a, b, c):
    """Distance from a point to a triangle (Ericson 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = np.dot(ab, ap), np.dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return np.linalg.norm(ap)
    bp = p - b
    d3, d4 = np.dot(ab, bp), np.dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return np.linalg.norm(bp)
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return np.linalg.norm(ap - d1 / (d1 - d3) * ab)
    cp = p - c
    d5, d6 = np.dot(ab, cp), np.dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return np.linalg.norm(cp)
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return np.linalg.norm(ap - d2 / (d2 - d6) * ac)
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        return np.linalg.norm(bp - (d4 - d3) / (d4 - d3 + d5 - d6) * (c - b))
    n = np.cross(ab, ac)
    return abs(np.dot(ap, n)) / np.linalg.norm(n)


@njit(cache=True)
def segment_mesh(p, q, corners):
    """Exact distance from a segment that does not pierce a mesh (n, 3, 3) to it."""
    best, middle, half = 1e9, 0.5 * (p + q), 0.5 * np.linalg.norm(q - p)
    for t in range(len(corners)):
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        if np.linalg.norm(a - middle) - half > best + 3.0:
            continue
        best = min(best, segments_distance(p, q, a, b)[0], segments_distance(p, q, b, c)[0])
        best = min(best, segments_distance(p, q, c, a)[0], _point_triangle(p, a, b, c), _point_triangle(q, a, b, c))
    return best


def meshes(rng) -> list[dict[str, object]]:
    """Clearances on the phantom against exact and VTK distances to marching-cubes meshes of the same masks."""
    anatomy = build_phantom(spacing_mm=2.0).anatomy
    spacing = anatomy.labels.grid.spacing_mm[0]
    rows = []
    for name in ("canal", "root_tunnel", "si_joint_left"):
        mask = anatomy.labels.mask(name)
        box = mask.grid.box_around(mask.points_mm(), 18.0)
        part = mask.array[box]
        field = signed_distance_mm(part, (spacing,) * 3)
        vertices, faces, _, _ = marching_cubes(part.astype(np.float32), 0.5)
        corners = np.ascontiguousarray(vertices[faces].astype(np.float64)) * spacing
        inside = np.argwhere(part)
        starts, ends, raw, exact = [], [], [], []
        while len(exact) < 250:
            middle = inside[rng.integers(len(inside))] + rng.uniform(-9, 9, 3)
            u = _directions(rng, 1)[0]
            p, q = (np.clip(middle + s * 9 * u, 1, np.array(part.shape) - 2.5) for s in (-1, 1))
            found = path_minimum(field, p, q, spacing)[0]
            if 1.0 < found < 15.0:
                starts.append(p * spacing)
                ends.append(q * spacing)
                raw.append(found)
                exact.append(segment_mesh(p * spacing, q * spacing, corners))
        rows.append(_row("exact segment-mesh", name, spacing, np.array(raw) - np.array(exact)))
        oracle = vtk_distances(vertices * spacing, faces, np.array(starts), np.array(ends))
        if oracle is not None:
            rows.append(_row("VTK implicit distance", name, spacing, np.array(raw) - oracle))
    return rows


def vtk_distances(vertices, faces, starts, ends):
    """Least |distance| along each segment by another program, or None where it is not there."""
    python = os.environ.get("SACROPLASTY_ORACLE_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.npz"
        np.savez(file, vertices=vertices.astype(np.float64), faces=faces, starts=starts, ends=ends)
        done = subprocess.run([python, "-c", VTK, str(file)], check=True, capture_output=True, text=True)
    return np.array(json.loads(done.stdout))


def main() -> None:
    """Print the table and write the CSV."""
    rng = np.random.default_rng(20261121)
    rows = closed_forms(rng) + meshes(rng)
    with (Path(__file__).with_suffix(".csv")).open("w", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("  ".join(f"{v!s:>22}" for v in row.values()))
    print("largest optimism of the bound:", max(float(str(r["bound_max_optimism_mm"])) for r in rows), "mm")


if __name__ == "__main__":
    main()
