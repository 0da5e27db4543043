"""From CT values and structures to permeability, porosity, thin walls and yield: the block cement flows through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sacroplasty.cement.medium import Medium
from sacroplasty.cement.tissue import VALUE, VESSELS, Tissue, cylinder
from sacroplasty.cement.veins import VEINS
from sacroplasty.evidence import value
from sacroplasty.lesion import Lesion, LesionKind
from sacroplasty.plan import NeedlePlan

Array = npt.NDArray[Any]

# Permeability bounds of bone, m²: beyond them the pressure equation gains nothing but stiffness.
LOWEST_M2, HIGHEST_M2 = 1e-14, 1e-7
# Porosity at which the prior of permeability is stated.
REFERENCE_POROSITY = 0.85
# A wall is summed over this many voxels inwards and one outwards, mm.
WALL_REACH_MM = 3.0


class LesionModel(StrEnum):
    """How the lesion takes cement: an empty void, soft tumour pushed aside from a yield pressure, or rigid filling."""

    VOID = "void"
    SOFT = "soft"
    RIGID = "rigid"


@dataclass(frozen=True)
class Material:
    """The uncertain choices behind a block; the defaults are evidence or assumptions, ensembles draw others."""

    log10_permeability: float
    log10_cortex_permeability: float
    cortex_open_below_mm: float
    cortex_factor: float
    lesion_model: LesionModel
    soft_yield_kpa: float
    track_gap_mm: float
    drainage_length_mm: float
    tail_share: float

    @staticmethod
    def nominal(lesion: Lesion, model: LesionModel | None = None) -> Material:
        """The central choices for a lesion; the model follows its kind where none is given."""
        kind = LesionModel.RIGID if lesion.kind is LesionKind.SCLEROTIC else LesionModel.SOFT
        return Material(
            log10_permeability=value("assumptions.cement_log10_permeability"),
            log10_cortex_permeability=value("assumptions.cement_log10_cortex_permeability"),
            cortex_open_below_mm=value("assumptions.cement_cortex_open_below"),
            cortex_factor=1.0,
            lesion_model=kind if model is None else model,
            soft_yield_kpa=value("assumptions.cement_soft_yield"),
            track_gap_mm=value("assumptions.cement_track_gap"),
            drainage_length_mm=value("assumptions.cement_drainage_length"),
            tail_share=value("assumptions.cement_tail_share"),
        )

    def with_(self, **changes: object) -> Self:
        """A copy with fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


def bone_porosity(hu: Array) -> Array:
    """Marrow share of bone from its CT value, 0.05 to 0.98: density over that of solid bone tissue."""
    density = value("cement.bone_mineral_slope") * hu + value("cement.bone_mineral_offset")
    return np.clip(1.0 - density / value("assumptions.cement_bone_tissue_mineral"), 0.05, 0.98)


def bone_permeability(porosity: Array, log10_at_reference: float) -> Array:
    """Kozeny and Carman's law, m², through the prior at the reference porosity (Widmer and Ferguson 2013)."""
    law = porosity**3 / (1.0 - porosity) ** 2
    reference = REFERENCE_POROSITY**3 / (1.0 - REFERENCE_POROSITY) ** 2
    return np.clip(10.0**log10_at_reference * law / reference, LOWEST_M2, HIGHEST_M2)


def cortex_mm(tissue: Tissue) -> Array:
    """Thickness of cortex (i, j, k, 3) on the face before each voxel along each axis, 0 away from a bone's surface.

    The CT's excess over marrow is summed across the surface, so that a cortex thinner than a voxel keeps its mass.
    """
    h = tissue.grid.spacing_mm[0]
    marrow = value("assumptions.cement_marrow_hu")
    part = np.clip((tissue.hu - marrow) / (value("assumptions.cement_cortex_hu") - marrow), 0.0, 1.0)
    bone = tissue.bone
    reach = max(1, round(WALL_REACH_MM / h))
    result = np.zeros((*bone.shape, 3), np.float32)
    for axis in range(3):
        here, before = bone, _shifted(bone, 1, axis)
        inwards_up = sum(_shifted(part, -n, axis) for n in range(-1, reach))
        inwards_down = sum(_shifted(part, n, axis) for n in range(reach + 1))
        face = np.where(here & ~before, inwards_up, np.where(before & ~here, inwards_down, 0.0))
        result[..., axis] = face * h
    return result


def _shifted(array: Array, steps: int, axis: int) -> Array:
    """array[i - steps] at i, zero where that lies outside."""
    result = np.zeros_like(array)
    size = array.shape[axis]
    to = [slice(None)] * array.ndim
    of = [slice(None)] * array.ndim
    to[axis] = slice(max(steps, 0), size + min(steps, 0))
    of[axis] = slice(max(-steps, 0), size - max(steps, 0))
    result[tuple(to)] = array[tuple(of)]
    return result


@dataclass(frozen=True, eq=False)
class NeedleInPlace:
    """A needle with its tip at a depth, and the depth its tip had reached before: between them the track is open."""

    needle: NeedlePlan
    tip_depth_mm: float
    deepest_mm: float


def build_medium(tissue: Tissue, material: Material, needles: tuple[NeedleInPlace, ...], cortex: Array) -> Medium:
    """The block for one position of the needles; `cortex` is `cortex_mm(tissue)`, which does not change with them."""
    porosity, permeability = _bone_and_soft(tissue, material)
    yields, open_m2 = _lesion(tissue, material, porosity, permeability)
    # A void has no sinusoids of its own; soft tumour drains as little as it conducts.
    drained = tissue.bone
    if material.lesion_model is LesionModel.VOID:
        drained = drained & ~_lytic(tissue)
    drainage = np.where(drained, permeability / (material.drainage_length_mm * 1e-3) ** 2, 0.0)
    vein = tissue.compartment(VEINS)
    diameter_m = value("assumptions.cement_vein_diameter") * 1e-3
    share = min(np.pi / 4.0 * diameter_m**2 / (tissue.grid.spacing_mm[0] * 1e-3) ** 2, 1.0)
    permeability[vein], porosity[vein] = min(diameter_m**2 / 32.0 * share, HIGHEST_M2), share
    wall_m2 = 10.0**material.log10_cortex_permeability
    thickness = cortex * material.cortex_factor
    wall = np.where(thickness >= material.cortex_open_below_mm, thickness * 1e-3 / wall_m2, 0.0)
    wall[vein] = 0.0
    centres = tissue.grid.centres_mm()
    for placed in needles:
        _place(placed, centres, tissue, material, porosity, permeability, wall)
    return Medium(
        permeability,
        porosity,
        tissue.grid.spacing_mm[0],
        wall_per_m=wall,
        drainage_per_m2=np.where(permeability > 0, drainage, 0.0),
        yield_pa=yields,
        yielded_permeability_m2=open_m2,
    )


def _bone_and_soft(tissue: Tissue, material: Material) -> tuple[Array, Array]:
    """Porosity and permeability of everything but lesion and needles."""
    porosity = np.full(tissue.hu.shape, value("assumptions.cement_open_porosity"))
    permeability = np.full(tissue.hu.shape, value("assumptions.cement_soft_tissue_permeability"))
    bone = tissue.bone
    porosity[bone] = bone_porosity(tissue.hu[bone])
    permeability[bone] = bone_permeability(porosity[bone], material.log10_permeability)
    open_names = ("canal", "root_tunnel", "si_joint_left", "si_joint_right", *VESSELS)
    channels = np.isin(tissue.labels, [VALUE[name] for name in open_names])
    permeability[channels] = value("assumptions.cement_open_permeability")
    disc = tissue.labels == VALUE["disc_l5_s1"]
    permeability[disc] = value("assumptions.cement_disc_permeability")
    metal = tissue.labels == VALUE["metal"]
    permeability[metal] = 0.0
    return porosity, permeability


def _lytic(tissue: Tissue) -> Array:
    """The lesion's part without bone that carries."""
    return tissue.lesion & (tissue.hu < value("assumptions.cement_lysis_hu"))


def _lesion(tissue: Tissue, material: Material, porosity: Array, permeability: Array) -> tuple[Array | None, float]:
    """Fills in the lesion's soft part; its sclerotic part stays bone. Returns the yield pressures and what opens."""
    lytic = _lytic(tissue)
    open_m2 = value("assumptions.cement_void_permeability")
    if material.lesion_model is LesionModel.VOID:
        porosity[lytic], permeability[lytic] = value("assumptions.cement_void_porosity"), open_m2
        return None, 0.0
    if material.lesion_model is LesionModel.RIGID:
        permeability[lytic] = value("assumptions.cement_rigid_permeability")
        return None, 0.0
    porosity[lytic] = value("assumptions.cement_soft_porosity")
    permeability[lytic] = value("assumptions.cement_soft_permeability")
    return np.where(lytic, material.soft_yield_kpa * 1e3, 0.0), open_m2


def _place(
    placed: NeedleInPlace,
    centres: Array,
    tissue: Tissue,
    material: Material,
    porosity: Array,
    permeability: Array,
    wall: Array,
) -> None:
    """Closes the shaft, opens the track below a withdrawn tip, and leaves the annular gap where bone was pierced."""
    h = tissue.grid.spacing_mm[0]
    path, radius = placed.needle.trajectory, placed.needle.needle.radius_mm
    depth, off = cylinder(centres, path.entry_mm, path.direction)
    core = off <= max(radius, 0.5 * h)
    behind = depth <= placed.tip_depth_mm - 0.5 * h
    left = core & ~behind & (depth <= placed.deepest_mm) & (depth > placed.tip_depth_mm + 0.5 * h)
    porosity[left], permeability[left] = 1.0, value("assumptions.cement_open_permeability")
    wall[left] = 0.0
    shaft = core & behind
    porosity[shaft], permeability[shaft] = 0.0, 0.0
    ring = (off > radius) & (off <= radius + h) & behind
    gap = material.track_gap_mm
    if gap > 0:
        share = 2.0 * radius * gap / ((radius + h) ** 2 - radius**2)
        through = (gap * 1e-3) ** 2 / 12.0 * share
        thickness_m = max(material.cortex_open_below_mm, 1.0) * 1e-3
        wall[ring] = np.minimum(wall[ring], thickness_m / through)
