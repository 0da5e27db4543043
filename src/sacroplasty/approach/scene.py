"""One patient prepared for planning: tissues, distance fields of the structures at risk, root and foramen tubes, skin.

Built once per CT, anatomy and lesion; every path is then judged in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy import Anatomy, Foramen, RootCourse
from sacroplasty.approach.distance import VOXEL_BOUND, Field, signed_distance_mm
from sacroplasty.approach.skin import MIDLINE_CELL_MM, MIDLINE_MM, skin_normals, skin_points, whole_skin
from sacroplasty.approach.tissue import Tissue, canal_half_width_mm, tissue_map
from sacroplasty.errors import AnatomyError, GeometryError
from sacroplasty.lesion import Lesion
from sacroplasty.plan import Level, Side, State
from sacroplasty.space import Box, Grid, Points, Volume

# The fields cover the sacrum with these margins to left and right, front and back, foot and head, mm: beyond them a
# needle meets only skin, muscle and the ilium's flank, which the crossing grammar judges.
_MARGIN_MM = (60.0, 30.0, 25.0)
# A foramen's keep-out is a short thick tube: this far into the bone and out of it from its rim, mm.
_FORAMEN_INWARD_MM, _FORAMEN_OUTWARD_MM = 3.0, 1.0

VENTRAL, CANAL, TUNNELS, DISC, JOINT = "ventral cortex", "sacral canal", "root tunnels", "L5-S1 disc", "SI joint"
VESSELS, BOWEL, SAC, METAL = "vessels", "bowel and bladder", "thecal sac", "metal"
ROOTS, FORAMINA = "nerve roots", "foramina"


@dataclass(frozen=True, eq=False)
class Tube:
    """A root or foramen: polyline (n, 3) LPS mm, radius, uncertainty of its place; `group` is its kind.

    `seen` is False where the place is inferred or re-opened, not measured.
    """

    name: str
    group: str
    points_mm: Points
    radius_mm: float
    uncertainty_mm: float
    level: Level
    side: Side
    seen: bool

    def keep_out_mm(self, through_canal: bool) -> float:
        """Radius of what a needle must not enter: widened by the uncertainty.

        On the way through the canal a root that nobody saw counts where it most likely runs: its place is uncertain by
        more than the canal is wide, and the uncertainty goes into the probability of touching it instead.
        """
        return self.radius_mm + (0.0 if through_canal and not self.seen else self.uncertainty_mm)


@dataclass(frozen=True, eq=False)
class Scene:
    """What the planner reads.

    tissue: (i, j, k) of the anatomy's grid; fields: signed centre distances in mm on the crop `box`, by keep-out name;
    widening_mm: uncertainty of a field's structure, added to its required distance; skin_mm: entry candidates (n, 3)
    with their outward normals; beyond_mm: voxel centres (n, 3) of vessels, bowel and metal outside that crop, by
    keep-out name, for the finalists' exact check; midline_mm: entry candidates of the midline strip, closer together,
    because its way is narrow.
    """

    ct: Volume
    anatomy: Anatomy
    lesion: Lesion
    tissue: npt.NDArray[np.uint8]
    box: Box
    fields: Mapping[str, Field]
    widening_mm: Mapping[str, float]
    beyond_mm: Mapping[str, Points]
    tubes: tuple[Tube, ...]
    skin_mm: Points
    skin_normals: Points
    midline_mm: Points
    midline_normals: Points

    @property
    def grid(self) -> Grid:
        """The anatomy's grid."""
        return self.anatomy.labels.grid

    @property
    def spacing_mm(self) -> float:
        """Edge of the isotropic voxel."""
        return self.grid.spacing_mm[0]

    @property
    def bound_mm(self) -> float:
        """What is taken off a field distance so that it is never too large."""
        return VOXEL_BOUND * self.spacing_mm

    @property
    def offset(self) -> npt.NDArray[np.float64]:
        """Voxel index (3,) of the crop's first voxel."""
        return np.array([part.start for part in self.box], dtype=np.float64)

    def voxels(self, points_mm: npt.ArrayLike) -> Points:
        """Fractional voxel indices (..., 3) of LPS positions in the whole grid."""
        return self.grid.voxel_from_patient.points(points_mm)

    def tissue_at(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Tissue (...) at LPS positions (..., 3); OUTSIDE beyond the grid."""
        index = np.rint(self.voxels(points_mm)).astype(np.int64)
        inside = ((index >= 0) & (index < np.asarray(self.grid.shape))).all(axis=-1)
        clipped = np.clip(index, 0, np.asarray(self.grid.shape) - 1)
        return np.where(inside, self.tissue[clipped[..., 0], clipped[..., 1], clipped[..., 2]], 0).astype(np.uint8)


@lru_cache(maxsize=2)
def scene_of(ct: Volume, anatomy: Anatomy, lesion: Lesion) -> Scene:
    """The prepared scene, kept for the two latest patients: GeometryError unless the grid is isotropic along LPS."""
    grid = anatomy.labels.grid
    _require_patient_axes(grid)
    grid.require_same(lesion.mask.grid, "The anatomy and the lesion")
    tissue = tissue_map(anatomy, lesion)
    tissue.flags.writeable = False
    box = _crop(anatomy, grid)
    part = tissue[box]
    masks = {
        VENTRAL: np.isin(part, (Tissue.PELVIC, Tissue.VESSEL, Tissue.BOWEL)),
        CANAL: part == Tissue.CANAL,
        TUNNELS: part == Tissue.TUNNEL,
        DISC: np.isin(part, (Tissue.DISC, Tissue.SPINE)),
        JOINT: part == Tissue.SI_JOINT,
        VESSELS: part == Tissue.VESSEL,
        BOWEL: part == Tissue.BOWEL,
        METAL: part == Tissue.METAL,
        SAC: _sac_mask(anatomy, part, grid.cropped(box)),
    }
    fields = {name: signed_distance_mm(mask, grid.spacing_mm) for name, mask in masks.items() if mask.any()}
    for field in fields.values():
        field.flags.writeable = False
    widening = {CANAL: anatomy.canal.uncertainty_mm if anatomy.canal is not None else 0.0}
    skin, fine = (
        points[whole_skin(anatomy, points)]
        for points in (
            skin_points(anatomy.body, anatomy.frame),
            skin_points(anatomy.body, anatomy.frame, MIDLINE_CELL_MM, MIDLINE_MM),
        )
    )
    normals = (skin_normals(anatomy.body, points, anatomy.frame) for points in (skin, fine))
    return Scene(
        ct, anatomy, lesion, tissue, box, MappingProxyType(fields), widening, _beyond(tissue, box, grid),
        _tubes(anatomy), skin, next(normals), fine, next(normals),
    )  # fmt: skip


def _require_patient_axes(grid: Grid) -> None:
    spacing = np.asarray(grid.spacing_mm)
    linear = np.asarray(grid.affine_lps[:3, :3]) / spacing
    if np.ptp(spacing) > 1e-3 * spacing.mean() or np.linalg.norm(linear - np.eye(3)) > 0.5:
        raise GeometryError(
            "Planning needs an anatomy on an isotropic grid near the patient's axes",
            got=grid.describe(),
            remedy="Segment the CT anew: segment() gives such a grid",
        )


def _crop(anatomy: Anatomy, grid: Grid) -> Box:
    sacrum = anatomy.labels.mask("sacrum").array
    if not sacrum.any():
        raise AnatomyError("There is no sacrum to plan for", remedy="Segment a scan that shows it")
    box = []
    for axis in range(3):
        along = np.flatnonzero(sacrum.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(_MARGIN_MM[axis] / grid.spacing_mm[axis]))
        box.append(slice(max(int(along[0]) - margin, 0), min(int(along[-1]) + margin + 1, grid.shape[axis])))
    return box[0], box[1], box[2]


def _beyond(tissue: npt.NDArray[np.uint8], box: Box, grid: Grid) -> Mapping[str, Points]:
    """Surface voxel centres (n, 3) of what a needle must keep off outside the crop of the fields."""
    found = {}
    for name, kind in ((VESSELS, Tissue.VESSEL), (BOWEL, Tissue.BOWEL), (METAL, Tissue.METAL)):
        mask = tissue == kind
        if mask.any():
            mask &= ~ndimage.binary_erosion(mask)
            mask[box] = False
            found[name] = grid.patient_from_voxel.points(np.argwhere(mask))
    return MappingProxyType({name: points for name, points in found.items() if len(points)})


def _sac_mask(anatomy: Anatomy, part: npt.NDArray[np.uint8], grid: Grid) -> npt.NDArray[np.bool_]:
    """Canal voxels cranial of the sac's end, moved caudally by its uncertainty; all False where the end is unknown."""
    mask = np.zeros(part.shape, dtype=bool)
    sac = anatomy.thecal_sac
    voxels = np.argwhere(part == Tissue.CANAL)
    if sac is None or not sac.state.known or not len(voxels):
        return mask
    end = anatomy.frame.coordinates(np.asarray(sac.end_mm))[0] + sac.uncertainty_mm
    arcs = anatomy.frame.coordinates(grid.patient_from_voxel.points(voxels))[:, 0]
    mask[tuple(voxels[arcs < end].T)] = True
    return mask


def _tubes(anatomy: Anatomy) -> tuple[Tube, ...]:
    roots = (_root_tube(root, anatomy) for root in anatomy.roots if root.state.known)
    foramina = (_foramen_tube(foramen) for foramen in anatomy.foramina if foramen.state.known)
    return (*(tube for tube in roots if tube is not None), *foramina)


def _root_tube(root: RootCourse, anatomy: Anatomy) -> Tube | None:
    """A root from where it leaves the canal (inside, the canal itself is the keep-out); None where it never does."""
    points = np.asarray(root.points_mm)
    outside = np.flatnonzero(~_in_canal(points, anatomy))
    if not len(outside):
        return None
    first = int(outside[0])
    if first:
        steps = np.linspace(0.0, 1.0, 64)[:, None]
        leaving = points[first - 1] + steps * (points[first] - points[first - 1])
        wall = leaving[int(np.argmax(~_in_canal(leaving, anatomy)))]
        points = np.concatenate([wall[None], points[first:]])
    seen = root.state is not State.INFERRED and root.state is not State.REOPENED
    return Tube(root.name, ROOTS, points, root.radius_mm, root.uncertainty_mm, root.level, root.side, seen)


def _in_canal(points: Points, anatomy: Anatomy) -> npt.NDArray[np.bool_]:
    """Whether positions (n, 3) of a root's course lie in the labelled canal, or between its walls."""
    labelled = anatomy.labels.at(points) == anatomy.labels.values.get("canal", -1)
    return np.asarray(labelled | (np.abs(anatomy.frame.coordinates(points)[:, 1]) < canal_half_width_mm(anatomy)))


def _foramen_tube(foramen: Foramen) -> Tube:
    """A foramen as a short tube of its larger half-axis."""
    centre, axis = np.asarray(foramen.centre_mm), np.asarray(foramen.axis)
    ends = np.stack([centre - _FORAMEN_INWARD_MM * axis, centre + _FORAMEN_OUTWARD_MM * axis])
    radius = max(foramen.width_mm, foramen.height_mm) / 2
    seen = foramen.state is not State.INFERRED and foramen.state is not State.REOPENED
    return Tube(foramen.name, FORAMINA, ends, radius, foramen.uncertainty_mm, foramen.level, foramen.side, seen)
