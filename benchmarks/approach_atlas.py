"""Trans-sacroiliac plans on atlas pelves against the experts' corridors. Writes benchmarks/approach_atlas.csv.

PelvisAtlas (Han et al. 2019, CC BY 4.0): surfaces of real pelves and the corridors that experts drew in some of them.
Three sets: `seen`, the S1 corridors of 11 pelves, on which the width of the approach's course was corrected; `s2`, the
S2 corridors that experts drew; `transferred`, pelves without a corridor of their own, to which all eleven expert S1
axes are carried by point correspondence and the one with most room counts. On the last two nothing was chosen.

Each pelvis is voxelised; gaps inside the sacrum (canal, foramina) become keep-outs; a ball in the body, at a place of
the sacral frame that is the same for all, is the made-up target. The waist clearance of a line is its least distance to
the sacrum's surface between 12 mm behind the SI joint and the midline or the tip; the expert's line is the axis of the
corridor, on its better side.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from pathlib import Path

import numpy as np
from numba import njit
from scipy import ndimage
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data import data_root  # noqa: E402

from sacroplasty.anatomy import Anatomy, SacralFrame, SacralLevel  # noqa: E402
from sacroplasty.approach import plan_trajectories  # noqa: E402
from sacroplasty.lesion import Lesion, LesionKind  # noqa: E402
from sacroplasty.plan import Approach, Level  # noqa: E402
from sacroplasty.space import Grid, LabelMap, Mask, Volume  # noqa: E402

SPACING_MM, SKIN_MM, NEAR_JOINT_MM = 1.25, 35.0, 12.0
# The target by level: arc length and depth of its centre in sacral coordinates, and its radius, mm.
S2_TARGET = (45.0, 12.0, 7.0)
S1_BALL_MM = 9.0
TRANSFERRED = 6
NAMES = {1: "sacrum", 4: "hip_left", 5: "hip_right", 10: "canal", 12: "si_joint_left", 13: "si_joint_right"}


@njit(cache=True)
def _crossings(corners, shape):
    """Parity of the surface crossings below each voxel centre along the last axis (corners in voxel coordinates)."""
    inside = np.zeros(shape, np.uint8)
    for t in range(len(corners)):
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        det = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if abs(det) < 1e-12:
            continue
        for i in range(max(int(np.ceil(min(a[0], b[0], c[0]))), 0), min(int(max(a[0], b[0], c[0])) + 1, shape[0])):
            for j in range(max(int(np.ceil(min(a[1], b[1], c[1]))), 0), min(int(max(a[1], b[1], c[1])) + 1, shape[1])):
                u = ((i - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (j - a[1])) / det
                v = ((b[0] - a[0]) * (j - a[1]) - (i - a[0]) * (b[1] - a[1])) / det
                if u >= 0 and v >= 0 and u + v < 1:
                    z = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                    for k in range(max(int(np.ceil(z)), 0), shape[2]):
                        inside[i, j, k] ^= 1
    return inside


def voxelised(vertices, faces, grid: Grid) -> np.ndarray:
    """Inside of a surface by majority of three ray directions, which heals small gaps."""
    corners = grid.voxel_from_patient.points(vertices)[faces] + 1e-4
    votes = np.zeros(grid.shape, np.uint8)
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        shape = tuple(grid.shape[a] for a in order)
        found = _crossings(np.ascontiguousarray(corners[:, :, list(order)]), shape)
        votes += np.transpose(found, np.argsort(order))
    return votes >= 2


def frame_of(sacrum, left, right) -> SacralFrame:
    """Axes from the hips and the ventral midline of the sacrum."""
    x = left.mean(axis=0) - right.mean(axis=0)
    x /= np.linalg.norm(x)
    middle = (left.mean(axis=0) + right.mean(axis=0)) / 2
    line = sacrum[np.abs((sacrum - middle) @ x) < 4.0]
    z = line[:, 2]
    edges = np.arange(z.min(), z.max(), 3.0)
    slices = [line[(z >= e) & (z < e + 3.0)] for e in edges]
    ventral = np.array([s[s[:, 1].argmin()] for s in slices if len(s)])[::-1]
    ventral = ventral[int(ventral[:, 1].argmin()) :]
    down = np.linalg.svd(ventral - ventral.mean(axis=0))[2][0]
    up = down * np.sign(down[2])
    up -= (up @ x) * x
    up /= np.linalg.norm(up)
    curve = ventral - ((ventral - middle) @ x)[:, None] * x
    dense = np.linspace(0, len(curve) - 1, 60)
    curve = np.stack([np.interp(dense, np.arange(len(curve)), curve[:, a]) for a in range(3)], axis=1)
    dorsal = np.cross(up, x)
    dorsal *= np.sign(dorsal[1])
    return SacralFrame(tuple(curve[0]), tuple(x), tuple(dorsal), tuple(up), curve, 0.0)


def corridor_axis(corridor, frame: SacralFrame):
    """Where the axis of a corridor (n, 3) meets the midline, and its direction."""
    middle = corridor.mean(axis=0)
    axis = np.linalg.svd(corridor - middle, full_matrices=False)[2][0]
    left = np.asarray(frame.left)
    return middle + ((np.asarray(frame.origin_mm) - middle) @ left) / (axis @ left) * axis, axis


def carried(source, target, points):
    """Points (n, 3) moved as the similarity that fits corresponding vertices of one surface to another's moves them."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    scale = s.sum() / (a * a).sum()
    return scale * (points - source.mean(axis=0)) @ turn + target.mean(axis=0)


def case_of(atlas, place: int, level: Level = Level.S1):
    """CT of constant values, anatomy and target of one pelvis."""
    sacrum, left, right = (atlas[name][place].astype(float) for name in ("sacrum", "left", "right"))
    frame = frame_of(sacrum, left, right)
    low = sacrum.min(axis=0) - np.array([95.0, 30.0, 25.0])
    high = sacrum.max(axis=0) + np.array([95.0, 75.0, 25.0])
    grid = Grid.aligned(low, high, SPACING_MM)
    bone = voxelised(sacrum, atlas["sacrum_faces"], grid)
    hips = [voxelised(v, atlas[f], grid) for v, f in ((left, "left_faces"), (right, "right_faces"))]
    labels = np.zeros(grid.shape, np.uint8)
    reach = ndimage.distance_transform_edt(~bone, sampling=SPACING_MM)
    closed = ndimage.distance_transform_edt(reach < 9.0, sampling=SPACING_MM) > 9.0
    labels[closed & ~bone] = 10
    for n, hip in enumerate(hips):
        near = ndimage.distance_transform_edt(~hip, sampling=SPACING_MM) + reach < 8.0
        labels[near & ~bone & ~hip] = 12 + n
        labels[hip] = 4 + n
    labels[bone] = 1
    solid = np.isin(labels, (1, 4, 5, 10, 12, 13))
    body = ndimage.distance_transform_edt(~solid, sampling=SPACING_MM) < SKIN_MM
    body[:, : grid.shape[1] // 2] |= ndimage.binary_fill_holes(body[:, : grid.shape[1] // 2])
    arc = frame.arc_mm[-1]
    origin, dorsal, cranial = (np.array(v) for v in (frame.origin_mm, frame.dorsal, frame.cranial))
    centre = origin + 15.0 * dorsal - 14.0 * cranial
    levels = (
        SacralLevel(Level.S1, 0.0, min(30.0, arc / 2), tuple(centre)),
        SacralLevel(Level.S2, min(30.0, arc / 2), arc, tuple(centre - 25.0 * cranial)),
    )
    anatomy = Anatomy(LabelMap(labels, grid, NAMES), Mask(body, grid), frame, levels, source="PelvisAtlas")
    radius = S1_BALL_MM
    if level is Level.S2:
        centre, radius = frame.points([S2_TARGET[0], 0.0, S2_TARGET[1]]), S2_TARGET[2]
    ball = (np.linalg.norm(grid.centres_mm() - centre, axis=-1) < radius) & bone
    lesion = Lesion(Mask(ball, grid), tuple(centre), float(ball.sum()) * grid.voxel_volume_ml, LesionKind.LYTIC)
    ct = Volume(np.where(solid, 300, 40).astype(np.int16), grid)
    return ct, anatomy, lesion, cKDTree(_dense(sacrum, atlas["sacrum_faces"]))


def _dense(vertices, faces):
    """Points on a surface: vertices, edge middles and face centres."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.concatenate([vertices, (a + b) / 2, (b + c) / 2, (c + a) / 2, (a + b + c) / 3])


def waist_mm(anatomy, tree, start, end) -> float:
    """Least distance of a line to the sacrum's surface, from NEAR_JOINT_MM behind its first sacral bone to `end`."""
    length = float(np.linalg.norm(np.subtract(end, start)))
    line = np.asarray(start) + np.linspace(0, 1, int(length / 0.5) + 1)[:, None] * np.subtract(end, start)
    bone = np.flatnonzero(anatomy.labels.at(line) == 1)
    if not len(bone):
        return float("nan")
    first = bone[0] + int(NEAR_JOINT_MM / 0.5)
    return float(tree.query(line[first:])[0].min()) if first < len(line) else float("nan")


def expert_mm(corridor, anatomy, tree) -> float:
    """Waist clearance of the corridor's axis, on its better side."""
    end, axis = corridor_axis(corridor, anatomy.frame)
    return max(waist_mm(anatomy, tree, end + s * 130.0 * axis, end) for s in (-1.0, 1.0))


def drawn(atlas, level: str) -> dict[int, np.ndarray]:
    """The experts' corridors of a level by pelvis."""
    names = [k for k in atlas if k.startswith(f"corridor_{level}_") and k.endswith("_v")]
    return {int(k.split("_")[2]): atlas[k].astype(float) for k in names}


def tasks(atlas):
    """Set, pelvis, level, and the corridors that the plan is measured against."""
    ids = atlas["ids"].astype(int).tolist()
    s1, s2 = drawn(atlas, "S1"), drawn(atlas, "S2")
    for identifier in sorted(s2):
        yield "s2", identifier, Level.S2, [s2[identifier]]
    for identifier in [i for i in sorted(ids) if i not in s1][:TRANSFERRED]:
        target = atlas["sacrum"][ids.index(identifier)].astype(float)
        sources = {n: atlas["sacrum"][ids.index(n)].astype(float) for n in s1}
        yield "transferred", identifier, Level.S1, [carried(sources[n], target, s1[n]) for n in sorted(s1)]
    for identifier in sorted(s1):
        yield "seen", identifier, Level.S1, [s1[identifier]]


def row_of(atlas, kind: str, identifier: int, level: Level, corridors) -> tuple[object, ...]:
    """One line of the table."""
    place = int(np.flatnonzero(atlas["ids"].astype(int) == identifier)[0])
    ct, anatomy, lesion, tree = case_of(atlas, place, level)
    start = time.process_time()
    plans = plan_trajectories(ct, anatomy, lesion, approaches=(Approach.TRANS_SACROILIAC,))
    spent = time.process_time() - start
    expert = max(expert_mm(corridor, anatomy, tree) for corridor in corridors)
    paths = [plan.first.trajectory for plan in plans if plan.feasible]
    ours = [waist_mm(anatomy, tree, path.entry_mm, path.target_mm) for path in paths]
    lead = ours[0] if ours else float("nan")
    best = max(ours, default=float("nan"))
    medial = math.degrees(math.asin(abs(float(paths[0].direction @ anatomy.frame.left)))) if paths else float("nan")
    return kind, identifier, lead, best, expert, lead >= expert, medial, spent


def main() -> None:
    """Print the table and write the CSV."""
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz", allow_pickle=True)
    rows = []
    for task in tasks(atlas):
        rows.append(row_of(atlas, *task))
        print(*(f"{v:8.2f}" if isinstance(v, float) else f"{v!s:>6}" for v in rows[-1]), flush=True)
    with (Path(__file__).with_suffix(".csv")).open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("set", "pelvis", "plan_waist_mm", "best_alternative_waist_mm", "expert_axis_waist_mm",
                         "at_least", "medial_deg", "cpu_s"))  # fmt: skip
        writer.writerows((*r[:2], *(f"{v:.2f}" for v in r[2:5]), r[5], *(f"{v:.1f}" for v in r[6:])) for r in rows)
    for kind in ("seen", "s2", "transferred"):
        part = [r for r in rows if r[0] == kind]
        print(f"{kind}: at least the expert's waist clearance in {sum(bool(r[5]) for r in part)} of {len(part)} pelves")


if __name__ == "__main__":
    main()
