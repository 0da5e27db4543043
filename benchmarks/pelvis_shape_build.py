"""Build the statistical pelvis shape that `anatomy/pelvis_shape.npz` holds, from the 32-pelvis atlas.

Sources: 32 corresponded pelves (sacrum S1 to S3 and both hip bones), Han et al. 2019, CC BY 4.0; the caudal sacrum
(S4 to S5) follows the outline of the Visible Human female sacrum, Andreassen 2022, CC BY 4.0. The result holds only the
mean, the modes and indices, never a subject.

    python benchmarks/pelvis_shape_build.py src/sacroplasty/anatomy/pelvis_shape.npz
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import trimesh
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

PER_BONE = 5000
SACRUM, HIP_LEFT, HIP_RIGHT, CAUDAL = range(4)
# Displacement step of the stored modes at one standard deviation; all modes together then err by 0.2 mm RMS.
MODE_STEP_MM = 0.1
# Vertices of the dense donor closer than this are merged; a merged closed surface stays closed for a parity fill.
DONOR_MERGE_MM = 2.2


def data_root() -> Path:
    """SACROPLASTY_DATA, else shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SACROPLASTY_DATA", beside))


def rigid(source, target, scale=False):
    """Least-squares linear part and shift (row vectors: x @ linear.T + shift) of corresponding points."""
    a, b = source.mean(0), target.mean(0)
    u, s, vt = np.linalg.svd((source - a).T @ (target - b))
    flip = np.diag([1, 1, np.linalg.det(u @ vt)])
    linear = (u @ flip @ vt).T
    if scale:
        linear = linear * (s * np.diag(flip)).sum() / ((source - a) ** 2).sum()
    return linear, b - linear @ a


def aligned_subjects(subjects):
    """Subjects (n, points, 3) rigidly aligned to their mean, lying as the patients lay on average; and the mean."""
    mean = subjects[0] - subjects[0].mean(0)
    for _ in range(4):
        moved = np.array([x @ r.T + t for x in subjects for r, t in (rigid(x, mean),)])
        mean = moved.mean(0)
    average = np.mean([rigid(mean, x)[0] for x in subjects], axis=0)
    u, _, vt = np.linalg.svd(average)
    turn, centre = u @ vt, mean.mean(0)
    return (moved - centre) @ turn.T, (mean - centre) @ turn.T


def outward(vertices, faces):
    """Faces turned so that the enclosed volume is positive."""
    p = vertices[faces]
    volume = np.einsum("ij,ij->", p[:, 0], np.cross(p[:, 1], p[:, 2]))
    return faces if volume > 0 else faces[:, ::-1].copy()


def normals(vertices, faces):
    """Unit vertex normals, area weighted."""
    p = vertices[faces]
    face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    result = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(result, faces[:, corner], face)
    return result / (np.linalg.norm(result, axis=1, keepdims=True) + 1e-9)


def fitted_donor(sacrum, donor):
    """The donor sacrum's vertices laid onto the mean S1-S3 sacrum: similarity by trimmed closest points, then RBF."""
    tree, best = cKDTree(sacrum), None
    start = donor - donor.mean(0) + sacrum.mean(0) + [0, 8, -14]
    for angle in np.radians(np.arange(-40, 41, 20)):
        c, s = np.cos(angle), np.sin(angle)
        w = (start - start.mean(0)) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T + start.mean(0)
        for _ in range(60):
            distance, near = tree.query(w[::5])
            ok = distance < np.quantile(distance, 0.7)
            linear, shift = rigid(w[::5][ok], sacrum[near[ok]], scale=True)
            w = w @ linear.T + shift
        error = np.sort(tree.query(w[::5])[0])[: int(0.13 * len(w))].mean()
        error += cKDTree(w).query(sacrum[::5])[0].mean()
        if best is None or error < best[0]:
            best = (error, w)
    w = best[1]
    distance, near = cKDTree(w).query(sacrum[::10])
    ok = distance < 8
    residual = RBFInterpolator(w[near[ok]], sacrum[::10][ok] - w[near[ok]], neighbors=60, kernel="linear", smoothing=5)
    fade = np.exp(-np.maximum(tree.query(w)[0] - 8, 0) / 8)[:, None]
    return w + residual(w) * fade


def caudal_part(sacrum, donor_vertices, donor_faces):
    """The donor below the atlas sacrum's cut, reaching 14 mm up into it, closed by a fan; vertices and faces."""
    tree = cKDTree(sacrum)
    keep = (tree.query(donor_vertices)[0] > 2) & (donor_vertices[:, 2] < sacrum[:, 2].min() + 14)
    faces = donor_faces[keep[donor_faces].all(1)]
    part = trimesh.Trimesh(donor_vertices, faces, process=False)
    part = max(part.split(only_watertight=False), key=lambda piece: len(piece.vertices))
    vertices, faces = np.asarray(part.vertices), np.asarray(part.faces)
    directed = {(int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3)}
    rim = [(a, b) for a, b in sorted(directed) if (b, a) not in directed]
    hub = len(vertices)
    vertices = np.vstack([vertices, vertices[sorted({a for a, _ in rim})].mean(0)])
    return merged(vertices, np.vstack([faces, [[b, a, hub] for a, b in rim]]))


def merged(vertices, faces):
    """The surface with vertices of one small cube merged into their mean, degenerate faces dropped."""
    _, cube = np.unique(np.floor(vertices / DONOR_MERGE_MM).astype(int), axis=0, return_inverse=True)
    cube = cube.ravel()
    count = np.bincount(cube)
    means = np.stack([np.bincount(cube, vertices[:, axis]) / count for axis in range(3)], axis=1)
    faces = cube[faces]
    corners = np.sort(faces, axis=1)
    return means, faces[(np.diff(corners, axis=1) > 0).all(1)]


def caudal_modes(mean, caudal):
    """Three modes at one standard deviation that the atlas cannot know: S4-S5 bent, stretched and turned sideways."""
    top = caudal[caudal[:, 2] > np.quantile(caudal[:, 2], 0.85)].mean(0)
    r = caudal - top
    ramp = np.clip(-r[:, 2] / 15, 0, 1)[:, None]
    bend = np.radians(10) * np.stack([np.zeros(len(r)), -r[:, 2], r[:, 1]], axis=1) * ramp
    stretch = 0.12 * r * ramp
    sideways = np.radians(4) * np.stack([-r[:, 2], np.zeros(len(r)), r[:, 0]], axis=1) * ramp
    result = np.zeros((len(mean), 3, 3))
    result[-len(caudal) :] = np.stack([bend, stretch, sideways], axis=2)
    return result


def edge_weights(mean, faces, part):
    """How far each vertex may carry a CT edge: 0 at cut faces, low at joints; and the S1 endplate and acetabula."""
    normal = normals(mean, faces)
    weight = np.ones(len(mean))
    sacrum, sacral_normal = mean[part == SACRUM], normal[part == SACRUM]
    cut = (sacral_normal[:, 2] < -0.6) & (sacrum[:, 2] < sacrum[:, 2].min() + 16)
    weight[:PER_BONE][cut] = 0
    near_middle = np.abs(sacrum[:, 0] - sacrum[:, 0].mean()) < 20
    front = (sacral_normal[:, 1] < -0.25) & (sacrum[:, 1] < sacrum[:, 1].min() + 27)
    endplate = np.flatnonzero(near_middle & (sacral_normal[:, 2] > 0.45) & front)
    for _ in range(3):
        q = sacrum[endplate] - sacrum[endplate].mean(0)
        across = np.linalg.svd(q, full_matrices=False)[2][2]
        endplate = endplate[np.abs(q @ across) < 3]
    trees = {k: cKDTree(mean[part == k]) for k in range(4)}
    hips = mean[PER_BONE : 3 * PER_BONE]
    joint = np.minimum(trees[HIP_LEFT].query(sacrum)[0], trees[HIP_RIGHT].query(sacrum)[0]) < 6
    weight[:PER_BONE][joint] *= 0.35
    weight[PER_BONE : 3 * PER_BONE][trees[SACRUM].query(hips)[0] < 6] *= 0.35
    for own, other in ((HIP_LEFT, HIP_RIGHT), (HIP_RIGHT, HIP_LEFT)):
        own_ids = np.flatnonzero(part == own)
        weight[own_ids[trees[other].query(mean[own_ids])[0] < 8]] *= 0.3
    sockets = [acetabulum(mean, normal, np.flatnonzero(part == k)) for k in (HIP_LEFT, HIP_RIGHT)]
    for ids in sockets:
        weight[ids] *= 0.3
    caudal = np.flatnonzero(part == CAUDAL)
    weight[caudal] = np.where(trees[SACRUM].query(mean[caudal])[0] < 3, 0, 0.6)
    weight[:PER_BONE][trees[CAUDAL].query(sacrum)[0] < 2.5] = 0
    return weight, endplate, sockets


def acetabulum(mean, normal, ids):
    """Vertices of the socket: the sphere that most inward-facing normals vote for."""
    vertices, inward, best = mean[ids], normal[ids], (0, None)
    for radius in (24, 27):
        centres = vertices + radius * inward
        votes = cKDTree(centres).query_ball_point(centres[::7], 4.0)
        most = max(votes, key=len)
        if len(most) > best[0]:
            best = (len(most), centres[most].mean(0))
    away = best[1] - vertices
    radius = np.linalg.norm(away, axis=1)
    return ids[(radius < 34) & ((away / radius[:, None] * inward).sum(1) > 0.75)]


def build(exclude=()):
    """The model as a dictionary of arrays, subjects in `exclude` (atlas ids) left out."""
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz")
    keep = ~np.isin(atlas["ids"], list(exclude))
    bones = ("sacrum", "left", "right")
    subjects, mean = aligned_subjects(np.concatenate([atlas[b][keep] for b in bones], 1).astype(float))
    faces = []
    for n, bone in enumerate(bones):
        faces.append(
            outward(mean[n * PER_BONE : (n + 1) * PER_BONE], atlas[f"{bone}_faces"].astype(np.int64)) + n * PER_BONE
        )
    donor = trimesh.load(data_root() / "visible_human" / "female_sacrum.stl")
    vertices = fitted_donor(mean[:PER_BONE], np.asarray(donor.vertices) * [-1, -1, 1])
    caudal, caudal_faces = caudal_part(mean[:PER_BONE], vertices, outward(vertices, np.asarray(donor.faces)))
    low = np.flatnonzero(mean[:PER_BONE, 2] < mean[:PER_BONE, 2].min() + 40)[::12]
    follow = [
        RBFInterpolator(mean[low], x[low] - mean[low], kernel="linear", degree=0, smoothing=20)(caudal)
        for x in subjects
    ]
    shift = np.concatenate([subjects - mean, np.array(follow)], axis=1)
    mean = np.concatenate([mean, caudal]) + shift.mean(0)
    shift = shift - shift.mean(0)
    _, s, vt = np.linalg.svd(shift.reshape(len(shift), -1), full_matrices=False)
    count = len(shift) - 1
    modes = vt[:count].reshape(count, -1, 3).transpose(1, 2, 0) * s[:count] / np.sqrt(count)
    # The sign of a singular vector is arbitrary: make the largest displacement positive, so that a rebuild is equal.
    flat = modes.reshape(-1, count)
    modes = modes * np.sign(flat[np.abs(flat).argmax(0), np.arange(count)])
    modes = np.concatenate([modes, caudal_modes(mean, caudal)], axis=2)
    part = np.repeat(np.arange(4), [PER_BONE, PER_BONE, PER_BONE, len(caudal)])
    all_faces = np.concatenate([*faces, caudal_faces + 3 * PER_BONE])
    weight, endplate, sockets = edge_weights(mean, all_faces, part)
    return {
        "mean_mm": mean.astype(np.float32),
        "modes_steps": np.rint(modes / MODE_STEP_MM).astype(np.int16),
        "mode_step_mm": np.float32(MODE_STEP_MM),
        "faces": all_faces.astype(np.uint16),
        "part": part.astype(np.uint8),
        "edge_weight": weight.astype(np.float16),
        "endplate": endplate.astype(np.uint16),
        "acetabulum_left": sockets[0].astype(np.uint16),
        "acetabulum_right": sockets[1].astype(np.uint16),
    }


def main():
    """Write the model file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--exclude", type=int, nargs="*", default=[])
    options = parser.parse_args()
    np.savez_compressed(options.out, **build(options.exclude))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
