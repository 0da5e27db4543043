"""CTs synthesised from atlas pelves, with their exact bones: simulated images for benchmarks, not patients.

Bones are real surfaces (S1-S3 and hips of one atlas subject; S4-S5 follow the Visible Human's outline, bent and
stretched at random; L5 from a CT's labels); cortex, marrow, muscle, fat, bowel, vessels, noise and slices are made up.
"""

from __future__ import annotations

from dataclasses import dataclass

import edt
import nibabel
import numpy as np
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from pelvis_shape_build import HIP_LEFT, HIP_RIGHT, PER_BONE, build, data_root
from sacroplasty.anatomy.joints import VALUE
from sacroplasty.anatomy.pose import turn
from sacroplasty.anatomy.shape_model import CAUDAL, SACRUM, PelvisModel, model_from_arrays
from sacroplasty.anatomy.structures import STRUCTURES
from sacroplasty.anatomy.surface import filled
from sacroplasty.anatomy.surroundings import endplate_plane, femoral_head
from sacroplasty.space import Grid, LabelMap, Volume


@dataclass(frozen=True)
class Scan:
    """How a subject is imaged: slice thickness, turn about x, y, z (deg), noise (HU), porous bone, contrast, metal."""

    slice_mm: float = 1.0
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_hu: float = 18.0
    osteoporotic: bool = False
    contrast: bool = True
    metal: bool = False


def full_model() -> PelvisModel:
    """The model of all subjects: only its landmarks and the caudal outline serve here."""
    return model_from_arrays(build())


def _noise(shape, sigma, rng):
    coarse = 4 if sigma > 6 else 1
    small = [max(2, int(np.ceil(n / coarse))) for n in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(small, dtype=np.float32), sigma / coarse)
    field /= field.std() + 1e-9
    if coarse > 1:
        field = ndimage.zoom(field, [n / s for n, s in zip(shape, small, strict=True)], order=1)
    return field


def _caudal(model, sacrum, rng):
    """S4-S5 of a subject: the model's outline carried along with its S1-S3, then bent and stretched at random."""
    rows = np.flatnonzero(model.part == SACRUM)[::9]
    own = RBFInterpolator(
        model.mean_mm[rows], sacrum[::9] - model.mean_mm[rows], kernel="linear", degree=0, smoothing=20
    )
    outline = model.mean_mm[model.part == CAUDAL]
    points = outline + own(outline)
    coefficients = np.zeros(model.mode_count)
    coefficients[-3:] = rng.uniform(-1.2, 1.2, 3)
    return points + (model.shape_mm(coefficients) - model.mean_mm)[model.part == CAUDAL]


def _lumbar_donor():
    """Surface of a labelled L5 and the centre and upward normal of its lower endplate."""
    image = nibabel.load(data_root() / "totalsegmentator" / "labels_3mm.nii.gz")
    affine = np.diag([-1, -1, 1, 1.0]) @ image.affine
    labels = np.asarray(image.dataobj)
    smooth = ndimage.gaussian_filter(ndimage.zoom(np.pad((labels == 17).astype(np.float32), 2), 3, order=1), 2.2)
    vertices, faces, _, _ = marching_cubes(smooth, 0.5)
    vertices = ((vertices - 1) / 3 - 2) @ affine[:3, :3].T + affine[:3, 3]
    sacrum = np.argwhere(labels == 14) @ affine[:3, :3].T + affine[:3, 3]
    distance = cKDTree(sacrum).query(vertices)[0]
    plate = vertices[(vertices[:, 1] < np.quantile(vertices[:, 1], 0.55)) & (distance < 11)]
    normal = np.linalg.svd(plate - plate.mean(0), full_matrices=False)[2][2]
    return vertices, faces.astype(np.int64), plate.mean(0), normal * np.sign(normal[2])


def _turn_onto(a, b):
    """Rotation that takes unit vector a to unit vector b."""
    axis, cosine = np.cross(a, b), float(a @ b)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-6:
        return np.eye(3)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]]) / sine
    return np.eye(3) + sine * k + (1 - cosine) * k @ k


def _bones(model, subject, grid, rng):
    """Labels (i, j, k) of sacrum, hips, L5, L4 and femora with open joints; and the S1 endplate."""
    h = grid.spacing_mm[0]
    vertices = np.concatenate([subject, _caudal(model, subject[:PER_BONE], rng)])
    part = [model.part_mask(vertices, p, grid) for p in range(4)]
    sacrum, left, right = part[SACRUM] | part[CAUDAL], part[HIP_LEFT], part[HIP_RIGHT]
    plate, up = endplate_plane(model, vertices)
    mesh, faces, centre, normal = _lumbar_donor()
    gap = rng.uniform(5, 10)
    l5 = filled((mesh - centre) @ _turn_onto(normal, up).T * rng.uniform(0.95, 1.1) + plate + up * gap, faces, grid)
    above = up * 0.6 + np.array([0, 0, 0.4])
    above /= np.linalg.norm(above)
    l4 = filled((mesh - centre) @ _turn_onto(normal, above).T + plate + up * gap + above * 37, faces, grid)
    to_sacrum = edt.edt(~sacrum) * h
    for hip in (left, right):
        hip &= to_sacrum >= rng.uniform(1.6, 2.6)
    l5 &= to_sacrum >= 1.2
    l4 &= edt.edt(~l5) * h >= 2
    femora = _femora(model, vertices, grid) & (edt.edt(~(left | right)) * h > 2.5)
    labels = np.zeros(grid.shape, np.uint8)
    middle = grid.centres_mm()[..., 0] < subject[:PER_BONE, 0].mean()
    for name, mask in (("l4", l4), ("l5", l5), ("hip_left", left), ("hip_right", right), ("sacrum", sacrum)):
        labels[mask] = VALUE[name]
    labels[femora & middle & (labels == 0)] = VALUE["femur_right"]
    labels[femora & ~middle & (labels == 0)] = VALUE["femur_left"]
    return labels, plate, up


def _femora(model, vertices, grid):
    centres, result = grid.centres_mm(), np.zeros(grid.shape, bool)
    for side, socket in zip((1, -1), model.acetabula, strict=True):
        head, radius = femoral_head(vertices[socket])
        axis = np.array([side * 0.75, 0.15, -0.62])
        axis /= np.linalg.norm(axis)
        away = centres - head
        distance, along = np.linalg.norm(away, axis=-1), away @ axis
        neck = (along > 0) & (along < 60) & (distance**2 - along**2 < 14**2)
        result |= (distance < min(radius, 28) - 2.5) | neck
    return result


def _tissue(labels, grid, plate, up, scan, rng):
    """Hounsfield units (i, j, k) of the body before the scanner sees it."""
    shape, h = labels.shape, grid.spacing_mm[0]
    centres = grid.centres_mm().astype(np.float32)
    low, high = grid.bounds_mm
    middle, half = (low + high) / 2, (high - low) / 2
    radius = np.hypot((centres[..., 0] - middle[0]) / (half[0] - 6), (centres[..., 1] - middle[1]) / (half[1] - 4))
    fat = (_noise(shape, 9, rng) > 0.35) | (radius > 0.88)
    hu = np.where(fat, -100.0, 50.0) + _noise(shape, 4, rng) * 10
    bowel = (_noise(shape, 14, rng) > 1.6) & (centres[..., 1] < middle[1] - 10) & (radius < 0.75)
    content = np.where(_noise(shape, 10, rng) > 0, -850.0, 260.0 if scan.contrast else 40.0)
    hu = np.where(bowel, content, hu)
    if scan.contrast:
        for side in (-1, 1):
            for size, level in ((5.0, 230.0), (6.5, 170.0)):
                x = plate[0] + side * (18 - 0.35 * (centres[..., 2] - plate[2]) + (size - 5) * 5)
                y = plate[1] - 28 + (size - 5) * 4
                hu = np.where(np.hypot(centres[..., 0] - x, centres[..., 1] - y) < size, level, hu)
    height = (centres - plate.astype(np.float32)) @ up.astype(np.float32)
    beside = np.sqrt(np.maximum(((centres - plate) ** 2).sum(-1) - height**2, 0))
    hu = np.where((np.abs(height - 4) < 8) & (beside < 24), 90.0, hu)
    hu = np.where(labels > 0, _bone(labels, h, scan, rng), hu)
    if scan.metal:
        hu = np.where(labels == VALUE["femur_left"], 3000.0, hu)
    return np.where(radius < 1, hu, -1000.0).astype(np.float32)


def _bone(labels, h, scan, rng):
    shape = labels.shape
    depth = edt.edt(labels, black_border=False) * h
    cortex = rng.uniform(450, 800) * (0.75 if scan.osteoporotic else 1)
    thickness = rng.uniform(1.0, 1.6) * (0.8 if scan.osteoporotic else 1) + 0.35 * _noise(shape, 8, rng)
    level = rng.uniform(-20, 50) if scan.osteoporotic else rng.uniform(110, 220)
    marrow = level + 35 * _noise(shape, 1.2, rng) + 35 * _noise(shape, 10, rng)
    inner = np.clip((depth - thickness) / 1.0, 0, 1)
    return cortex * (1 - inner) + marrow * inner


def synthetic_ct(
    model: PelvisModel, index: int, scan: Scan, seed: int, spacing_mm: float = 1.0
) -> tuple[Volume, LabelMap]:
    """A simulated CT of one atlas subject (0..31) and its true labels on a grid of that spacing; same seed, same image.

    Tissue texture is drawn per voxel: another spacing is another image, cheaper to make.
    """
    rng = np.random.default_rng(seed)
    atlas = np.load(data_root() / "pelvis_atlas" / "pelvis_atlas_32.npz")
    bones = np.concatenate([atlas[name] for name in ("sacrum", "left", "right")], axis=1).astype(float)
    subject = bones[index] - bones[index].mean(0)
    sacrum = subject[:PER_BONE]
    low, high = subject.min(0) - np.array([35, 45, 0]), subject.max(0) + np.array([35, 35, 0])
    low[2], high[2] = sacrum[:, 2].min() - 60, sacrum[:, 2].max() + 60
    grid = Grid.aligned(low, high, spacing_mm)
    labels, plate, up = _bones(model, subject, grid, rng)
    hu = _tissue(labels, grid, plate, up, scan, rng)
    hu = ndimage.gaussian_filter(hu, [0.6, 0.6, max(0.4, 0.35 * scan.slice_mm)])
    spacing = np.array([0.8 * spacing_mm, 0.8 * spacing_mm, scan.slice_mm])
    affine = np.eye(4)
    affine[:3, :3] = turn(scan.turn_deg) @ np.diag(spacing)
    counts = np.ceil((high - low) / spacing).astype(int)
    affine[:3, 3] = (low + high) / 2 - affine[:3, :3] @ ((counts - 1) / 2)
    stack = Grid.from_affine(tuple(counts), affine)
    seen = np.asarray(Volume(hu, grid).resampled(stack, outside=-1000.0).array)
    grain = ndimage.gaussian_filter(rng.standard_normal(seen.shape, dtype=np.float32), [0.7, 0.7, 0])
    seen = np.clip(seen + grain / grain.std() * scan.noise_hu, -1024, 3071)
    return Volume(np.rint(seen).astype(np.int16), stack), LabelMap(labels, grid, STRUCTURES)
