"""Candidates per second, the time of a full plan and of an edit. Writes benchmarks/approach_speed.csv.

CPU seconds of all threads; "per second" is candidates by CPU second, that is by one core, so that a busy machine does
not flatter or blame. VTK and SimpleITK do the same test (does the line touch the obstacles?) in the interpreter that
SACROPLASTY_ORACLE_PYTHON names; they use one core.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from skimage.measure import marching_cubes

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from sacroplasty.approach import RULES, evaluate_path, plan_trajectories  # noqa: E402
from sacroplasty.approach.planner import task_of  # noqa: E402
from sacroplasty.approach.scene import scene_of  # noqa: E402
from sacroplasty.approach.search import field_of, margin_field, search_sides  # noqa: E402
from sacroplasty.approach.target import lesion_samples, tip_candidates  # noqa: E402
from sacroplasty.lesion import Lesion, LesionKind  # noqa: E402
from sacroplasty.phantom import build_phantom  # noqa: E402
from sacroplasty.plan import Approach  # noqa: E402
from sacroplasty.space import Mask  # noqa: E402

OTHERS = """
import sys, json, time, numpy as np, vtk, SimpleITK as sitk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
d = np.load(sys.argv[1])
points = vtk.vtkPoints(); points.SetData(numpy_to_vtk(d['vertices'], deep=1))
cells = np.hstack([np.full((len(d['faces']), 1), 3), d['faces']]).astype(np.int64).ravel()
array = vtk.vtkCellArray(); array.SetCells(len(d['faces']), numpy_to_vtkIdTypeArray(cells, deep=1))
mesh = vtk.vtkPolyData(); mesh.SetPoints(points); mesh.SetPolys(array)
tree = vtk.vtkModifiedBSPTree(); tree.SetDataSet(mesh); tree.BuildLocator()
n = len(d['starts']); t = time.process_time(); hit = vtk.vtkPoints(); ids = vtk.vtkIdList()
for a, b in zip(d['starts'], d['ends']):
    hit.Reset(); tree.IntersectWithLine(a, b, 1e-3, hit, ids)
vtk_rate = n / (time.process_time() - t)
image = sitk.GetImageFromArray(d['mask'].transpose(2, 1, 0).astype(np.uint8)); m = 40
t = time.process_time()
for a, b in zip(d['starts'][:m], d['ends'][:m]):
    for f in np.linspace(0, 1, 2000):
        i = image.TransformPhysicalPointToIndex([float(v) for v in a + f * (b - a)])
        if image[i]:
            break
print(json.dumps({"vtk": vtk_rate, "sitk": m / (time.process_time() - t)}))
"""


def phantom_case():
    """The phantom with a ball of 13 mm in the S1 body."""
    phantom = build_phantom(spacing_mm=1.0)
    anatomy = phantom.anatomy
    grid = anatomy.labels.grid
    centre = anatomy.levels[0].body_centre_mm
    ball = np.linalg.norm(grid.centres_mm() - np.asarray(centre), axis=-1) < 13.0
    mask = Mask(ball & anatomy.labels.mask("sacrum").array, grid)
    return phantom.ct, anatomy, Lesion(mask, centre, mask.volume_ml, LesionKind.LYTIC, synthetic=True)


def forget() -> None:
    """Drop every kept scene, as for a new patient."""
    for kept in (scene_of, lesion_samples, margin_field):
        kept.cache_clear()


def timed(action, repeats: int = 3):
    """The least CPU seconds of several runs, and the last result."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.process_time()
        result = action()
        best = min(best, time.process_time() - start)
    return best, result


def candidates(case) -> list[tuple[str, float, str]]:
    """Candidates judged per CPU second by each approach's own search."""
    task = task_of(*case, None, "fluoroscopy")
    rows = []
    count, seconds = 0, 0.0
    for rule in RULES.values():
        tips = tip_candidates(task.scene, task.samples, rule, task.needle.radius_mm)
        if len(tips):
            field_of(task.scene, rule)
            search_sides(task.scene, rule, task.needle, tips)
            spent, found = timed(lambda r=rule, t=tips: search_sides(task.scene, r, task.needle, t))
            n = sum(len(c.reason) for c in found)
            rows.append((f"search {rule.approach}", n / spent, "candidates per CPU second"))
            count, seconds = count + n, seconds + spent
    rows.append(("search, all approaches", count / seconds, "candidates per CPU second"))
    return rows


def other_programs(case) -> list[tuple[str, float, str]]:
    """The same yes-or-no test by VTK's BSP tree and by a SimpleITK point loop, one core each."""
    python = os.environ.get("SACROPLASTY_ORACLE_PYTHON")
    if not python:
        return []
    anatomy = case[1]
    mask = anatomy.labels.mask("canal", "root_tunnel").array
    vertices, faces, _, _ = marching_cubes(mask.astype(np.float32), 0.5)
    rng = np.random.default_rng(1)
    tips = np.argwhere(case[2].mask.array)[rng.integers(0, 2000, 2000)].astype(float)
    u = rng.normal(size=(2000, 3)) * (1, 0.5, 0.5) + (0, 1, 0)
    starts = np.clip(tips + 90 * u / np.linalg.norm(u, axis=1, keepdims=True), 1, np.array(mask.shape) - 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines.npz"
        np.savez(file, vertices=vertices.astype(float), faces=faces, starts=starts, ends=tips, mask=mask)
        done = subprocess.run([python, "-c", OTHERS, str(file)], check=True, capture_output=True, text=True)
    rates = json.loads(done.stdout)
    return [
        ("VTK ModifiedBSPTree line test", rates["vtk"], "candidates per CPU second"),
        ("SimpleITK point loop", rates["sitk"], "candidates per CPU second"),
    ]


def main() -> None:
    """Print the table and write the CSV."""
    case = phantom_case()
    plan_trajectories(*case)
    rows = candidates(case) + other_programs(case)

    def anew():
        forget()
        return plan_trajectories(*case)

    first, plans = timed(anew)
    again, same = timed(lambda: plan_trajectories(*case))
    path = plans[0].first.trajectory
    moved = iter([path.moved(target_mm=np.add(path.target_mm, (0.1 * k, 0, 0))) for k in range(200)])
    edit, _ = timed(lambda: evaluate_path(*case, Approach.TRANS_SACROILIAC, next(moved)), 60)
    rows += [
        ("full plan, new patient, all approaches", first, "CPU s"),
        ("full re-plan, all approaches", again, "CPU s"),
        ("edit of one end point, everything judged anew", 1000 * edit, "CPU ms"),
        ("byte-identical on repeat", float(pickle.dumps(plans) == pickle.dumps(same)), "1 = yes"),
    ]
    with (Path(__file__).with_suffix(".csv")).open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("what", "value", "unit"))
        writer.writerows((what, f"{number:.4g}", unit) for what, number, unit in rows)
    for what, number, unit in rows:
        print(f"{what:>50} {number:>14,.4g} {unit}")


if __name__ == "__main__":
    main()
