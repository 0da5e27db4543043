"""Synthetic lesions, put into a phantom or into a real CT: bone loss, bone gain, broken walls, fracture planes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.evidence import value
from sacroplasty.lesion import LesionKind
from sacroplasty.phantom.tissue import textures_at
from sacroplasty.plan import Point
from sacroplasty.space import Box, Mask, Points, Volume

# Names of walls that are no foramen; a foramen's wall is named by Foramen.name, e.g. "S1 anterior foramen right".
WALLS = ("ventral", "dorsal", "canal", "lateral")
CORTEX_MM = 1.8  # depth of the compact layer that an intact wall keeps


@dataclass(frozen=True)
class FracturePlane:
    """A crack through bone: a point on it, its normal (LPS), and the width of the gap."""

    point_mm: Point
    normal: Point
    gap_mm: float = 1.5


@dataclass(frozen=True)
class LesionShape:
    """An ellipsoid with an irregular margin, LPS mm, along the patient's axes.

    `irregularity` is the margin's relief as a share of the radius, drawn with `seed`. `destroyed_walls` names the
    walls whose cortex is gone inside the ellipsoid (WALLS or a foramen's name); every other wall keeps its compact
    layer. `soft_tissue` lets the mass grow out of the bone, never into canal, tunnels or other bones.
    """

    kind: LesionKind
    centre_mm: Point
    radii_mm: tuple[float, float, float]
    irregularity: float = 0.15
    seed: int = 0
    destroyed_walls: tuple[str, ...] = ()
    soft_tissue: bool = False
    fracture: FracturePlane | None = None

    def __post_init__(self) -> None:
        if min(self.radii_mm) <= 0 or max(self.radii_mm) > 80:
            raise InputError("Lesion radii must lie between 0 and 80 mm", got=str(self.radii_mm))
        if not 0 <= self.irregularity <= 0.5:
            raise InputError("A margin's irregularity must be 0 to 0.5", got=str(self.irregularity))
        if self.kind is LesionKind.UNCLEAR:
            raise InputError("A lesion to insert must be lytic, mixed or sclerotic", got=str(self.kind))


def insert_lesion(ct: Volume, anatomy: Anatomy, shape: LesionShape) -> tuple[Volume, Mask]:
    """The CT with a synthetic lesion, and the lesion's mask on the anatomy's grid.

    Only the sacrum changes, and soft tissue in front of a destroyed wall where `soft_tissue` is set. Raises
    AnatomyError where the ellipsoid meets no sacral bone, or a named foramen is not known.
    """
    _require_walls(anatomy, shape)
    grid = anatomy.labels.grid
    reach = np.array([np.subtract(shape.centre_mm, shape.radii_mm), np.add(shape.centre_mm, shape.radii_mm)])
    box = grid.box_around(reach, margin_mm=0.5 * max(shape.radii_mm) + 6.0)
    share = _share(anatomy, shape, box)
    full = np.zeros(grid.shape, dtype=bool)
    full[box] = share >= 0.5
    mask = Mask(full, grid)
    if not (full & (anatomy.labels.array == anatomy.labels.values["sacrum"])).any():
        raise AnatomyError("The lesion meets no sacral bone", got=f"centre {shape.centre_mm}", remedy="Move its centre")
    field = Volume(share.astype(np.float32), grid.cropped(box), unit="1")
    return _painted(ct, field, shape, reach, anatomy), mask


def _require_walls(anatomy: Anatomy, shape: LesionShape) -> None:
    known = {*WALLS, *(f.name for f in anatomy.foramina if f.state.known)}
    missing = [name for name in shape.destroyed_walls if name not in known]
    if missing:
        raise AnatomyError("There is no such wall", got=", ".join(missing), remedy=f"Use one of {sorted(known)}")


def _inside(points: Points, shape: LesionShape) -> npt.NDArray[np.float64]:
    """Signed distance-like value (n,) of the ellipsoid with its irregular margin, mm, negative inside."""
    offset = (points - np.asarray(shape.centre_mm)) / np.asarray(shape.radii_mm)
    radial = np.linalg.norm(offset, axis=1)
    size = float(np.mean(shape.radii_mm))
    shifted = points + 97.0 * (shape.seed + 1)
    relief = 1.4 * textures_at(np.ascontiguousarray(shifted), 0.7 * size)
    return np.asarray((radial - 1.0 - shape.irregularity * relief) * float(min(shape.radii_mm)))


def _share(anatomy: Anatomy, shape: LesionShape, box: Box) -> npt.NDArray[np.float64]:
    """Share (0..1) of each voxel of the box that the lesion takes."""
    labels = anatomy.labels.cropped(box)
    points = labels.grid.centres_mm().reshape(-1, 3)
    step = labels.grid.spacing_mm[0]
    share = np.clip(0.5 - _inside(points, shape) / step, 0.0, 1.0).reshape(labels.grid.shape)
    names = labels.values
    bone = labels.array == names["sacrum"]
    depth = np.asarray(ndimage.distance_transform_edt(bone, sampling=step)) - 0.5 * step
    shell = bone & (depth < CORTEX_MM)
    near = np.flatnonzero((share > 0).ravel() & shell.ravel())
    keep = np.ones(share.size, dtype=bool)
    keep[near] = ~_destroyed(anatomy, shape, labels.array, bone, points, near)
    share[shell & keep.reshape(share.shape)] = 0.0
    free = (labels.array == 0) if shape.soft_tissue else np.zeros_like(bone)
    share[~(bone | free)] = 0.0
    if shape.fracture is not None:
        normal = np.asarray(shape.fracture.normal) / np.linalg.norm(shape.fracture.normal)
        away = np.abs((points - np.asarray(shape.fracture.point_mm)) @ normal).reshape(share.shape)
        share = np.where(bone, np.maximum(share, np.clip(0.5 - (away - shape.fracture.gap_mm / 2) / step, 0, 1)), share)
    return share


def _destroyed(
    anatomy: Anatomy, shape: LesionShape, labels: npt.NDArray[np.unsignedinteger], bone: npt.NDArray[np.bool_],
    points: Points, near: npt.NDArray[np.intp],
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Which of the `near` shell voxels belong to a wall that is destroyed."""
    gone = np.zeros(len(near), dtype=bool)
    if not len(near) or not shape.destroyed_walls:
        return gone
    nearest = ndimage.distance_transform_edt(bone, return_distances=False, return_indices=True)
    outside = labels[tuple(nearest)].ravel()[near]
    values = anatomy.labels.values
    place = points[near]
    foot = points.reshape(*bone.shape, 3)[tuple(nearest)].reshape(-1, 3)[near]
    outward = foot - place
    lumen = np.isin(outside, [values["canal"], values["root_tunnel"]])
    for name in shape.destroyed_walls:
        if name == "canal":
            gone |= outside == values["canal"]
        elif name == "lateral":
            left = np.asarray(anatomy.frame.left)
            gone |= ~lumen & (np.abs(outward @ left) > 0.8 * np.linalg.norm(outward, axis=1))
        elif name in ("ventral", "dorsal"):
            sign = -1.0 if name == "ventral" else 1.0
            dorsal = _local_dorsal(anatomy, place)
            gone |= ~lumen & (sign * np.sum(outward * dorsal, axis=1) > 0.5 * np.linalg.norm(outward, axis=1))
        else:
            foramen = next(f for f in anatomy.foramina if f.name == name)
            offset = place - np.asarray(foramen.centre_mm)
            along = offset @ np.asarray(foramen.axis)
            across = np.linalg.norm(offset - along[:, None] * np.asarray(foramen.axis), axis=1)
            gone |= (across < foramen.radius_mm + 4.0) & (along > -16.0) & (along < 6.0)
    return gone


def _local_dorsal(anatomy: Anatomy, points: Points) -> Points:
    """Unit vector across the ventral curve, dorsal positive, at each point."""
    arcs = anatomy.frame.coordinates(points)[:, 0]
    known = np.unique(np.round(arcs))
    dorsal = np.array([np.cross(anatomy.frame.tangent_at(float(s)), np.asarray(anatomy.frame.left)) for s in known])
    dorsal *= np.sign(dorsal @ np.asarray(anatomy.frame.dorsal))[:, None]
    return np.asarray(dorsal[np.searchsorted(known, np.round(arcs))])


def _painted(ct: Volume, field: Volume, shape: LesionShape, reach: Points, anatomy: Anatomy) -> Volume:
    """The CT with the lesion's HU mixed in by its share of each voxel."""
    box = ct.grid.box_around(field.grid.corners_mm)
    part = ct.grid.cropped(box)
    points = part.centres_mm()
    share = field.sampled(points, outside=0.0)
    old = np.asarray(ct.array[box], dtype=np.float32)
    flat = np.ascontiguousarray(points.reshape(-1, 3) + 31.0 * (shape.seed + 1))
    coarse = textures_at(flat, 7.0).reshape(old.shape)
    soft = value("assumptions.lytic_lesion_hu") + 12.0 * coarse
    dense = value("assumptions.sclerotic_lesion_hu") + 150.0 * coarse
    if shape.kind is LesionKind.LYTIC:
        hu = soft
    elif shape.kind is LesionKind.SCLEROTIC:
        hu = dense
    else:
        island = np.clip(0.5 + 4.0 * textures_at(flat, 6.0).reshape(old.shape), 0.0, 1.0)
        hu = soft + (dense - soft) * island
    outside = anatomy.labels.at(points) == 0
    hu = np.where(outside, soft, hu)
    # The scan's own noise stays: what is finer than 1.5 voxels is carried over.
    noise = old - ndimage.gaussian_filter(old, 1.5)
    quiet = np.clip(noise, -40.0, 40.0)
    result = np.array(ct.array, dtype=np.float32)
    result[box] = old * (1.0 - share) + (hu + quiet) * share
    if shape.fracture is not None:
        result = _cracked(result, ct, shape.fracture, anatomy)
    return replace(ct, array=result)


def _cracked(
    array: npt.NDArray[np.float32], ct: Volume, fracture: FracturePlane, anatomy: Anatomy
) -> npt.NDArray[np.float32]:
    """The array with a dark gap through the sacrum, by the share of each voxel that lies in it."""
    box = ct.grid.box_around(anatomy.labels.mask("sacrum").points_mm())
    points = ct.grid.cropped(box).centres_mm()
    normal = np.asarray(fracture.normal) / np.linalg.norm(fracture.normal)
    away = np.abs((points - np.asarray(fracture.point_mm)) @ normal)
    thick = float(np.abs(ct.grid.affine_lps[:3, :3].T @ normal).sum())
    share = np.clip((fracture.gap_mm / 2 - away) / thick + 0.5, 0.0, min(1.0, fracture.gap_mm / thick))
    share = share * (anatomy.labels.at(points) == anatomy.labels.values["sacrum"])
    array[box] = array[box] * (1.0 - share) + value("assumptions.fracture_gap_hu") * share
    return array
