"""Openings of the enclosed lumen: where canal and root tunnels end at the ventral or dorsal face of the sacrum.

A voxel belongs to the lumen when bone blocks most directions from it and it hangs together with the canal. The faces
between the lumen and the outside form patches; the vectors of a patch's faces give its centre, axis and size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sacroplasty.anatomy.canal import CanalPath
from sacroplasty.anatomy.lumen import occlusion
from sacroplasty.anatomy.mouth import rim_plane
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.signed_distance import BoolArray, FloatArray
from sacroplasty.anatomy.structures import Face, SacralFrame
from sacroplasty.anatomy.unrolled import UnrolledSurface
from sacroplasty.errors import AnatomyError
from sacroplasty.plan import Side
from sacroplasty.space import Points

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Share of directions blocked within the range that makes a voxel enclosed (swept on phantoms and real shapes).
ENCLOSED_SHARE = 0.68
OCCLUSION_RANGE_MM = 18.0
# How far outside the closed hull lumens and the outside are followed.
LUMEN_REACH_MM, OUTSIDE_REACH_MM = 3.0, 9.0
SMALLEST_PATCH_MM2 = 4.0
# The enclosed surface lies inside the rim by about this share of the diameter.
RIM_SHARE = 0.2
# What a sacral foramen can be: distance from the midline, arc length, equivalent diameter.
LATERAL_MM = (8.0, 34.0)
LEAST_ARC_MM = 8.0
LARGEST_MM = {Face.ANTERIOR: 22.0, Face.POSTERIOR: 18.0}
BELOW_APEX_MM = 22.0
# Bars of bone between the anterior foramina: where they lie beside the midline, how deep behind the ventral cortex, and
# how much more bone there is at a bar than in the foramina beside it.
BAR_LATERAL_MM, BAR_DEPTH_MM, BAR_STEP_MM = (14.0, 28.0), 18.0, 2.0
BAR_PROMINENCE = 0.2
# The axis must climb the plane of the bone around an opening and may not be followed for long.
LEAST_CLIMB = 0.3
LONGEST_WAY_MM = 6.0


@dataclass(frozen=True, eq=False)
class LumenSystem:
    """Canal and tunnels as one lumen: enclosed voxels, the free outside around them, the bone that bounds them (mask
    less filled canal) and the distance to that bone, mm.
    """

    lumen: BoolArray
    outside: BoolArray
    bone: BoolArray
    room_mm: FloatArray
    canal_voxels: IntArray


@dataclass(frozen=True, eq=False)
class Opening:
    """A patch where the lumen meets the outside: centre on the rim, outward axis (LPS), area, width across and height
    along, sacral coordinates (s, x, d) of the centre, and the lumen's voxel behind it.
    """

    face: Face
    centre_mm: Points
    axis: Points
    area_mm2: float
    width_mm: float
    height_mm: float
    coordinates: Points
    voxel: tuple[int, int, int]
    border: bool = field(default=False)

    @property
    def diameter_mm(self) -> float:
        """Diameter of the circle of equal area."""
        return float(2 * np.sqrt(self.area_mm2 / np.pi))

    @property
    def side(self) -> Side:
        """The patient's side."""
        return Side.LEFT if self.coordinates[1] > 0 else Side.RIGHT


def lumen_system(field: SacrumField, bone: BoolArray, path: CanalPath) -> LumenSystem:
    """The enclosed voxels that hang together with the canal's path; AnatomyError where the path is nowhere enclosed."""
    domain = ~bone & (field.hull_mm > -OUTSIDE_REACH_MM) & field.below_endplate
    domain &= field.s_mm < field.length_mm + 2
    signed = np.where(bone, np.maximum(field.signed_mm, 0.3), np.minimum(field.signed_mm, -0.3)).astype(np.float32)
    candidates = np.argwhere(domain & (field.hull_mm > -LUMEN_REACH_MM))
    enclosed = np.zeros(field.grid.shape, dtype=bool)
    shares = occlusion(signed, candidates, field.spacing_mm, OCCLUSION_RANGE_MM, enough=ENCLOSED_SHARE)
    enclosed[tuple(candidates[shares >= ENCLOSED_SHARE].T)] = True
    pieces = cc3d.connected_components(enclosed.astype(np.uint8), connectivity=6)
    on_path = _voxels(field, path.points_mm[: path.last_closed + 1])
    names = np.unique(pieces[tuple(on_path.T)])
    names = names[names > 0]
    if not len(names):
        raise AnatomyError("The canal is nowhere enclosed by bone", remedy="Check the sacrum's mask")
    lumen = np.isin(pieces, names)
    spacing = (field.spacing_mm,) * 3
    room = edt.edt(np.ascontiguousarray(~bone, dtype=np.uint8), anisotropy=spacing, parallel=2)
    return LumenSystem(lumen, domain & ~lumen, bone, room, on_path[lumen[tuple(on_path.T)]])


def _voxels(field: SacrumField, points_mm: Points) -> IntArray:
    """Distinct voxels (n, 3) of positions inside the grid."""
    voxels = np.rint(field.grid.voxel_from_patient.points(points_mm)).astype(np.int64)
    inside = ((voxels >= 0) & (voxels < np.asarray(field.grid.shape))).all(axis=1)
    return np.unique(voxels[inside], axis=0)


def find_openings(field: SacrumField, system: LumenSystem) -> list[Opening]:
    """Every opening of the lumen, ventral and dorsal, of at least 4 mm².

    In a deep concavity the space before the bars of bone is enclosed as well and the anterior openings run together:
    what is larger than a foramen can be is parted at the bars.
    """
    found = []
    for face, outside in (
        (Face.ANTERIOR, system.outside & field.ventral),
        (Face.POSTERIOR, system.outside & ~field.ventral),
    ):
        for faces in _patches(_faces(system.lumen, outside), field.grid.shape):
            opening = _opening(field, face, faces)
            if opening is not None and face is Face.ANTERIOR and opening.diameter_mm >= LARGEST_MM[face]:
                found += [_opening(field, face, part) for part in _parted(field, faces, opening.side)]
            else:
                found.append(opening)
    return [opening for opening in found if opening is not None]


def _patches(faces: Array, shape: tuple[int, ...]) -> list[Array]:
    """Connected faces."""
    if not len(faces):
        return []
    rim = np.zeros(shape, dtype=np.uint8)
    inner = faces[:, 6:].astype(np.int64)
    rim[tuple(inner.T)] = 1
    patches = cc3d.connected_components(ndimage.binary_dilation(rim).astype(np.uint8), connectivity=26)
    patch_of = patches[tuple(inner.T)]
    return [faces[patch_of == patch] for patch in np.unique(patch_of)]


def _parted(field: SacrumField, faces: Array, side: Side) -> list[Array]:
    """The faces of a patch, cut at the bars of bone of its side."""
    arcs = field.frame.coordinates(field.grid.patient_from_voxel.points(faces[:, :3]))[:, 0]
    section = np.searchsorted(bone_bars(field, side), arcs)
    return [faces[section == n] for n in np.unique(section)]


def bone_bars(field: SacrumField, side: Side) -> Array:
    """Arc lengths (mm) of the bars of bone between the anterior foramina of one side."""
    lateral = field.x_mm * (1.0 if side is Side.LEFT else -1.0)
    strip = (lateral > BAR_LATERAL_MM[0]) & (lateral < BAR_LATERAL_MM[1]) & (field.d_mm < BAR_DEPTH_MM)
    strip &= field.hull_mm > 0
    edges = np.arange(0.0, field.length_mm + BAR_STEP_MM, BAR_STEP_MM)
    room = np.histogram(field.s_mm[strip], edges)[0]
    bone = np.histogram(field.s_mm[strip & field.bone], edges)[0]
    share = ndimage.gaussian_filter1d(bone / np.maximum(room, 1), 0.7)
    from scipy.signal import find_peaks  # here: it brings all of scipy.stats, a second of every program's start

    return np.asarray(edges[find_peaks(share, prominence=BAR_PROMINENCE)[0]] + 0.5 * BAR_STEP_MM)


def _faces(lumen: BoolArray, outside: BoolArray) -> Array:
    """Voxel faces between lumen and outside: rows of position (voxel index), outward unit vector, lumen voxel."""
    rows = []
    for axis in range(3):
        low = tuple(slice(0, -1) if n == axis else slice(None) for n in range(3))
        high = tuple(slice(1, None) if n == axis else slice(None) for n in range(3))
        for sign, touching in ((1.0, lumen[low] & outside[high]), (-1.0, outside[low] & lumen[high])):
            voxel = np.argwhere(touching).astype(np.float64)
            outward = np.zeros_like(voxel)
            outward[:, axis] = sign
            position, inner = voxel.copy(), voxel.copy()
            position[:, axis] += 0.5
            inner[:, axis] += 0.0 if sign > 0 else 1.0
            rows.append(np.hstack([position, outward, inner]))
    return np.concatenate(rows)


def _opening(field: SacrumField, face: Face, faces: Array) -> Opening | None:
    """Centre, axis and size of one patch from the vectors of its faces; None where it is too small."""
    spacing = field.spacing_mm
    vector = faces[:, 3:6].sum(axis=0) * spacing**2
    area = float(np.linalg.norm(vector))
    if area < SMALLEST_PATCH_MM2:
        return None
    axis = vector / area
    places = field.grid.patient_from_voxel.points(faces[:, :3])
    centre = places.mean(axis=0)
    arc = float(field.frame.coordinates(centre)[0])
    along = field.frame.tangent_at(arc)
    along = along - (along @ axis) * axis
    along /= np.linalg.norm(along)
    across = np.cross(axis, along)
    spread = places - centre
    inner = faces[:, 6:].astype(np.int64)
    middle = inner[np.linalg.norm(faces[:, :3] - faces[:, :3].mean(axis=0), axis=1).argmin()]
    on_rim = centre + RIM_SHARE * 2 * np.sqrt(area / np.pi) * axis
    near = np.argwhere(~field.seen[tuple(slice(max(int(v) - 10, 0), int(v) + 11) for v in middle)])
    return Opening(
        face=face,
        centre_mm=on_rim,
        axis=axis,
        area_mm2=area,
        width_mm=float(4 * np.std(spread @ across)),
        height_mm=float(4 * np.std(spread @ along)),
        coordinates=field.frame.coordinates(on_rim),
        voxel=(int(middle[0]), int(middle[1]), int(middle[2])),
        border=bool(len(near)),
    )


def on_surface(opening: Opening, frame: SacralFrame, surface: UnrolledSurface) -> Opening:
    """The opening moved along its axis to the plane of the bone's surface around it; a tunnel that slants leaves the
    bone elsewhere than where it ceases to be enclosed. Unchanged where the surface around it is not flat enough.
    """
    start = opening.coordinates
    direction = frame.coordinates(opening.centre_mm + opening.axis) - start
    place, way = start, 0.0
    for _ in range(3):
        plane = rim_plane(surface, place, opening.diameter_mm / 2)
        if plane is None:
            return opening
        # Height above the plane d = level + slopes * (arc, lateral), and how fast the axis climbs it.
        height = start[2] - (plane[0] + plane[1:] @ (start[:2] - place[:2]))
        climb = direction[2] - plane[1:] @ direction[:2]
        if abs(climb) < LEAST_CLIMB:
            return opening
        way = float(np.clip(-height / climb, -LONGEST_WAY_MM, LONGEST_WAY_MM))
        place = start + way * direction
    centre = opening.centre_mm + way * opening.axis
    return replace(opening, centre_mm=centre, coordinates=frame.coordinates(centre))


def sacral_foramina(openings: list[Opening], apex_arc_mm: float) -> list[Opening]:
    """The openings that can be sacral foramina by place and size; the others are midline gaps or leaks."""
    return [
        opening
        for opening in openings
        if LATERAL_MM[0] < abs(opening.coordinates[1]) < LATERAL_MM[1]
        and LEAST_ARC_MM < opening.coordinates[0] < apex_arc_mm + BELOW_APEX_MM
        and opening.diameter_mm < LARGEST_MM[opening.face]
    ]
