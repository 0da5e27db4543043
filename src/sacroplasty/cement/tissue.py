"""What lies where cement may go: CT values, structures and named compartments on one block of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from sacroplasty.anatomy import STRUCTURES, Anatomy
from sacroplasty.errors import InputError
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Plan
from sacroplasty.space import Grid, LabelMap, Volume

Array = npt.NDArray[Any]

VALUE = {name: value for value, name in STRUCTURES.items()}
BONES = ("sacrum", "coccyx", "l5", "hip_left", "hip_right", "l4", "femur_left", "femur_right")
VESSELS = ("iliac_artery_left", "iliac_artery_right", "iliac_vein_left", "iliac_vein_right", "aorta", "vena_cava")
# Compartments where cement is meant to be; everything else is a leak.
WANTED = ("lesion", "sacrum")
# Soft tissue this near to the needle's surface is its track.
TRACK_MM = 3.0
MIN_SPACING_MM, MAX_SPACING_MM = 0.4, 3.0
MAX_VOXELS = 4_000_000
# A voxel's CT value is averaged over at most this many samples per axis.
MAX_PARTS = 4


@dataclass(frozen=True, eq=False)
class Tissue:
    """CT values `hu`, structure values `labels` (STRUCTURES), lesion mask and compartments on `grid`, all (i, j, k)."""

    grid: Grid
    hu: Array
    labels: Array
    lesion: Array
    compartments: LabelMap

    @cached_property
    def wanted(self) -> Array:
        """True where cement is meant to be."""
        return np.isin(self.compartments.array, [self.compartments.values.get(name, -1) for name in WANTED])

    @cached_property
    def surface(self) -> Array:
        """Voxels (n, 3) of bone that touch what is not bone."""
        return np.argwhere(self.bone & ~ndimage.binary_erosion(self.bone))

    @cached_property
    def bone(self) -> Array:
        """True in any bone, and in the lesion as far as it replaces bone."""
        return np.isin(self.labels, [VALUE[name] for name in BONES])

    def compartment(self, name: str) -> Array:
        """True in a named compartment; nowhere where the block has none of that name."""
        number = self.compartments.values.get(name)
        return np.zeros(self.hu.shape, np.bool_) if number is None else self.compartments.array == number


def region_grid(lesion: Lesion, plan: Plan, spacing_mm: float, margin_mm: float) -> Grid:
    """The block along the patient's axes that holds the lesion and every tip with a margin."""
    if not MIN_SPACING_MM <= spacing_mm <= MAX_SPACING_MM:
        raise InputError(
            "The voxel spacing of the simulation is out of range",
            got=f"{spacing_mm} mm",
            remedy=f"Use {MIN_SPACING_MM} to {MAX_SPACING_MM} mm",
        )
    tips = [n.trajectory.point_at(i.tip_depth_mm) for n in plan.needles for i in n.injections]
    tips += [np.asarray(n.tip_mm) for n in plan.needles]
    points = np.vstack([lesion.mask.require_any("lesion").points_mm(), *tips])
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    grid = Grid.aligned(low, high, spacing_mm, lesion.mask.grid.frame_of_reference_uid)
    if np.prod(grid.shape) > MAX_VOXELS:
        raise InputError(
            "The block of the simulation is too large",
            got=grid.describe(),
            remedy="Use a coarser spacing or split the lesion",
        )
    return grid


def tissue_map(ct: Volume, anatomy: Anatomy, lesion: Lesion, plan: Plan, grid: Grid) -> Tissue:
    """Everything sampled onto the block, with its compartments named by structure, level and side."""
    hu = _averaged(ct, grid)
    labels = anatomy.labels.resampled(grid).array.astype(np.int32)
    inside = np.asarray(lesion.mask.resampled(grid).array)
    # A destroyed cortex may leave the bone's label; what the lesion fills next to bone still counts as its place.
    names, numbers = _compartments(anatomy, plan, grid, labels, inside)
    values = {number: name for name, number in names.items()}
    return Tissue(grid, hu, labels, inside, LabelMap(numbers.astype(np.uint8), grid, values))


def _averaged(ct: Volume, grid: Grid) -> Array:
    """CT values averaged over each voxel of the block, so that a thin cortex keeps its mass on a coarse grid."""
    h = grid.spacing_mm[0]
    parts = int(np.clip(np.ceil(h / min(ct.grid.spacing_mm) - 1e-6), 1, MAX_PARTS))
    if parts == 1:
        return np.asarray(ct.resampled(grid).array, dtype=np.float32)
    low, high = grid.bounds_mm
    shift = (h - h / parts) / 2
    fine = Grid.aligned(low - shift, high + shift, h / parts, grid.frame_of_reference_uid)
    a, b, c = grid.shape
    values = np.asarray(ct.resampled(fine).array, dtype=np.float32)[: a * parts, : b * parts, : c * parts]
    return np.asarray(values.reshape(a, parts, b, parts, c, parts).mean(axis=(1, 3, 5)))


def _compartments(
    anatomy: Anatomy, plan: Plan, grid: Grid, labels: Array, lesion: Array
) -> tuple[dict[str, int], Array]:
    names: dict[str, int] = {}
    numbers = np.zeros(labels.shape, np.int32)

    def put(name: str, where: Array) -> None:
        names.setdefault(name, len(names) + 1)
        numbers[where] = names[name]

    centres = grid.centres_mm()
    soft = np.isin(labels, [VALUE[n] for n in ("colon", "bladder")]) | (labels == 0)
    depth = np.full(labels.shape, 1.0)
    # The sacral frame is smooth: every second voxel is enough to tell ventral from dorsal.
    coarse = centres[::2, ::2, ::2]
    sampled = anatomy.frame.coordinates(coarse.reshape(-1, 3))[:, 2].reshape(coarse.shape[:3])
    depth = sampled.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(map(slice, labels.shape))]
    put("presacral", soft & (depth <= 0))
    put("posterior soft tissue", soft & (depth > 0))
    put("needle track", soft & _near_track(centres, plan))
    for name in VESSELS:
        put(name.replace("_", " "), labels == VALUE[name])
    put("sacrum", np.isin(labels, [VALUE["sacrum"], VALUE["coccyx"]]))
    put("L5", np.isin(labels, [VALUE["l5"], VALUE["l4"]]))
    for side in ("left", "right"):
        put(f"iliac track {side}", np.isin(labels, [VALUE[f"hip_{side}"], VALUE[f"femur_{side}"]]))
        put(f"SI joint {side}", labels == VALUE[f"si_joint_{side}"])
    put("L5-S1 disc", labels == VALUE["disc_l5_s1"])
    put("canal", labels == VALUE["canal"])
    _put_foramina(anatomy, labels, centres, put)
    bony = np.isin(labels, [VALUE[n] for n in BONES])
    put("lesion", lesion & bony)
    # Tumour that grew out of the bone in front lies where radiographs show presacral cement.
    put("presacral tumour", lesion & soft & (depth <= 0))
    put("posterior tumour", lesion & soft & (depth > 0))
    return names, numbers


def _put_foramina(anatomy: Anatomy, labels: Array, centres: Array, put: Any) -> None:
    """Root tunnels go to the nearest known foramen by level, face and side."""
    tunnel = labels == VALUE["root_tunnel"]
    known = [f for f in anatomy.foramina if f.state.known]
    if not tunnel.any():
        return
    if not known:
        put("root tunnels", tunnel)
        return
    _, nearest = spatial.cKDTree([f.centre_mm for f in known]).query(centres[tunnel])
    for n, foramen in enumerate(known):
        where = np.zeros(labels.shape, np.bool_)
        where[tunnel] = nearest == n
        if where.any():
            put(foramen.name, where)


def _near_track(centres: Array, plan: Plan) -> Array:
    """Within TRACK_MM of any needle's surface, from the skin to its tip."""
    near = np.zeros(centres.shape[:3], np.bool_)
    for needle in plan.needles:
        depth, radius = cylinder(centres, needle.trajectory.entry_mm, needle.trajectory.direction)
        near |= (depth <= needle.trajectory.length_mm) & (radius <= needle.needle.radius_mm + TRACK_MM)
    return near


def cylinder(points: Array, entry_mm: npt.ArrayLike, direction: Array) -> tuple[Array, Array]:
    """Depth along an axis and distance from it, mm, of points (..., 3)."""
    offset = points - np.asarray(entry_mm)
    depth = offset @ direction
    across = offset - depth[..., None] * direction
    return depth, np.sqrt((across**2).sum(axis=-1))


def signed_distance_mm(where: Array, spacing_mm: float) -> Array:
    """Distance to a structure's surface, negative inside, mm; infinite everywhere where there is none."""
    if not where.any():
        return np.full(where.shape, np.inf)
    outside = ndimage.distance_transform_edt(~where, sampling=spacing_mm)
    inside = ndimage.distance_transform_edt(where, sampling=spacing_mm)
    return np.where(where, -(inside - spacing_mm / 2), outside - spacing_mm / 2)
