"""From a mask or a sphere to a lesion: levels, zones, kind, walls, soft-tissue part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sacroplasty.anatomy import Anatomy
from sacroplasty.errors import AnatomyError, GeometryError, InputError
from sacroplasty.lesion.density import expected_hu, kind_of
from sacroplasty.lesion.fracture import fractures_in, nearest_first
from sacroplasty.lesion.lesion import Fracture, Integrity, Lesion
from sacroplasty.lesion.region import Bools, Region, box_of, region_of
from sacroplasty.lesion.walls import walls_of
from sacroplasty.plan import DenisZone, Finding, Level, Severity, as_point
from sacroplasty.space import Mask, Volume


def lesion_from_mask(
    ct: Volume, anatomy: Anatomy, mask: Mask, *, resample: bool = False, synthetic: bool = False
) -> Lesion:
    """The lesion of a drawn or segmented mask (CT, or MR registered to it).

    The mask must lie on the anatomy's grid; `resample=True` says that another grid of the same frame of reference is
    meant. Raises GeometryError for another grid or frame, AnatomyError for an empty mask or one without bone in it.
    """
    grid = anatomy.labels.grid
    if not mask.grid.same_as(grid):
        if not resample:
            raise GeometryError(
                "The lesion mask lies on another grid than the anatomy",
                got=f"{mask.grid.describe()} against {grid.describe()}",
                remedy="Give resample=True if both lie in the same frame of reference, else register first",
            )
        _require_named_frame(mask, anatomy)
        mask = mask.resampled(grid)
    points = mask.require_any("lesion mask").points_mm()
    region = region_of(ct, anatomy, [points.min(axis=0), points.max(axis=0)])
    return lesion_in(region, np.asarray(mask.array[region.box]), synthetic=synthetic)


def _require_named_frame(mask: Mask, anatomy: Anatomy) -> None:
    """Two grids of which neither names its frame cannot be shown to belong together, but may; two different cannot."""
    ours, theirs = anatomy.labels.grid.frame_of_reference_uid, mask.grid.frame_of_reference_uid
    if ours and theirs and ours != theirs:
        raise GeometryError(
            "The lesion mask lies in another frame of reference",
            got=f"{theirs} against {ours}",
            remedy="Register the image it was drawn on to the CT first",
        )


def lesion_from_sphere(ct: Volume, anatomy: Anatomy, centre_mm: npt.ArrayLike, radius_mm: float) -> Lesion:
    """The lesion as a sphere, clipped to the sacrum's bone; centre in LPS mm.

    Raises InputError for a radius outside 1 to 60 mm, AnatomyError where the sphere holds no bone.
    """
    centre = np.asarray(as_point(centre_mm))
    if not 1.0 <= radius_mm <= 60.0:
        raise InputError("A lesion's radius must be 1 to 60 mm", got=f"{radius_mm} mm")
    region = region_of(ct, anatomy)
    inside = ((region.grid.centres_mm() - centre) ** 2).sum(axis=-1) <= radius_mm**2
    inside = inside & region.envelope
    if not inside.any():
        raise AnatomyError(
            "The sphere holds no bone of the sacrum",
            got=f"centre {tuple(round(float(v), 1) for v in centre)} mm, radius {radius_mm} mm",
            remedy="Place it in the sacrum",
        )
    return lesion_in(region, inside)


def lesion_in(region: Region, lesion: Bools, *, synthetic: bool = False) -> Lesion:
    """The lesion of a mask (i, j, k) on a region's grid; AnatomyError where it holds no bone of the sacrum."""
    return lesions_in(region, [lesion], synthetic=synthetic)[0]


def lesions_in(region: Region, masks: Sequence[Bools], *, synthetic: bool = False) -> tuple[Lesion, ...]:
    """The lesions of masks (i, j, k) on a region's grid, in their order; healthy is marrow that is in none of them.

    Raises AnatomyError where one holds no bone of the sacrum.
    """
    for mask in masks:
        if not (mask & region.envelope).any():
            middle = region.grid.patient_from_voxel.points(np.argwhere(mask).mean(axis=0))
            volume_ml = mask.sum() * region.grid.voxel_volume_ml
            raise AnatomyError(
                "The lesion lies outside the sacrum's bone",
                got=f"{volume_ml:.2f} mL around {tuple(np.round(middle, 1).tolist())} mm",
                remedy="Check that mask and CT belong together, and that the sacrum was found",
            )
    if not masks:
        return ()
    together = np.logical_or.reduce(masks)
    expected, scatter = expected_hu(region, together)
    fractures = fractures_in(region, together, expected)
    return tuple(_measured(region, mask, expected, scatter, fractures, synthetic) for mask in masks)


def _measured(
    region: Region, lesion: Bools, expected: npt.NDArray[np.float32], scatter: float,
    sacral_fractures: Sequence[Fracture], synthetic: bool,
) -> Lesion:  # fmt: skip
    anatomy = region.anatomy
    array = np.zeros(anatomy.labels.grid.shape, np.bool_)
    array[region.box] = lesion
    mask = Mask(array, anatomy.labels.grid)
    bony = lesion & region.envelope
    box = box_of(lesion, region.spacing_mm, 0.0)
    index = np.argwhere(lesion[box]) + [side.start for side in box]
    points = region.grid.patient_from_voxel.points(index)
    volume_ml = len(index) * mask.grid.voxel_volume_ml
    kind, numbers = kind_of(region, lesion, expected, scatter)
    walls = walls_of(region, lesion)
    fractures = nearest_first(sacral_fractures, points)
    soft_ml = float((lesion & ~region.envelope & ~region.lumen).sum()) * mask.grid.voxel_volume_ml
    return Lesion(
        mask=mask,
        centre_mm=as_point(points.mean(axis=0)),
        volume_ml=volume_ml,
        kind=kind,
        levels=_levels(region, bony),
        zones=_zones(region, bony),
        walls=walls,
        soft_tissue_ml=soft_ml,
        measures={**numbers, "bony_ml": float(bony.sum()) * mask.grid.voxel_volume_ml, **_shares(region, bony)},
        findings=_findings(region, index)
        + tuple(
            Finding(Severity.CAUTION, "wall-not-assessable", f"The {wall.name} wall cannot be judged on this CT")
            for wall in walls
            if wall.integrity is Integrity.UNCLEAR
        )
        + tuple(Finding(Severity.CAUTION, "fracture", f.sentence, where_mm=f.centre_mm) for f in fractures),
        synthetic=synthetic,
        fractures=fractures,
    )


def _levels(region: Region, bony: Bools) -> Mapping[Level, float]:
    index = region.level_index[bony]
    counts = {lv.level: int((index == n).sum()) for n, lv in enumerate(region.anatomy.levels)}
    return {level: count / len(index) for level, count in counts.items() if count}


def _zones(region: Region, bony: Bools) -> Mapping[DenisZone, float]:
    zone = region.zone[bony]
    return {z: float((zone == z.value).mean()) for z in DenisZone if (zone == z.value).any()}


def _shares(region: Region, bony: Bools) -> dict[str, float]:
    """Share that the lesion holds of each level's body, and of the main level's posterolateral elements by side."""
    own = np.bincount(region.element[bony] + 1, minlength=len(region.element_voxels))
    share = own / np.maximum(region.element_voxels, 1)
    shares = {
        f"body_involved_{level.level}": float(share[1 + 3 * n])
        for n, level in enumerate(region.anatomy.levels)
        if own[1 + 3 * n]
    }
    main = int(np.bincount(np.clip(region.level_index[bony], 0, None)).argmax())
    return shares | {f"posterolateral_{side}": float(share[m + 3 * main]) for m, side in ((2, "left"), (3, "right"))}


def _findings(region: Region, index: npt.NDArray[np.int64]) -> tuple[Finding, ...]:
    """Where the lesion's voxels (n, 3) leave the sacrum or the scan, and what is not known of the place."""
    found = []
    names = region.labels.array[tuple(index.T)]
    for name, code, text in (
        ("canal", "in-canal", "The lesion reaches into the sacral canal"),
        ("root_tunnel", "in-root-tunnel", "The lesion reaches into a root tunnel"),
        ("hip_left", "in-ilium", "The lesion reaches into the left ilium"),
        ("hip_right", "in-ilium", "The lesion reaches into the right ilium"),
        ("l5", "in-l5", "The lesion reaches into L5"),
    ):
        if region.labels.has(name):
            overlap = index[names == region.labels.values[name]]
            volume_ml = len(overlap) * region.grid.voxel_volume_ml
            if volume_ml > 0.02:
                where = as_point(region.grid.patient_from_voxel.points(overlap.mean(axis=0)))
                found.append(Finding(Severity.CAUTION, code, f"{text} ({volume_ml:.2f} mL)", name, where))
    at_edge = (index == 0) | (index == np.array(region.grid.shape) - 1)
    if at_edge.any() or (region.hu[tuple(index.T)] <= -1000).any():
        found.append(Finding(Severity.WARNING, "cut-off", "The lesion reaches the edge of the scan's data"))
    if not any(level.state.known for level in region.anatomy.levels):
        found.append(Finding(Severity.WARNING, "level-unknown", "No sacral level is known in this scan"))
    return tuple(found)
