"""Do the walls around the lesion still hold? Cortex measured along the surface against the patient's own cortex.

Every voxel on the sacrum's surface belongs to one wall (canal, a named foramen, endplate, SI joint, ventral, dorsal)
and carries the peak density along its normal. Where the peak falls towards soft tissue, in a patch larger than noise
makes, the wall is breached. What healthy cortex shows in this scan, far from the lesion, is the yardstick: blur of
thick slices and osteoporosis lower both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from sacroplasty.anatomy import Anatomy, Face, Foramen
from sacroplasty.errors import AnatomyError
from sacroplasty.evidence import value
from sacroplasty.lesion.lesion import Integrity, Wall
from sacroplasty.lesion.region import Bools, Region, region_of, shifted, within_mm
from sacroplasty.plan import Point, as_point
from sacroplasty.space import Mask, Points, Volume

# The normal is that of the surface smoothed over about its cortex.
NORMAL_SIGMA_MM = 1.5
# Cortex is sought from this far inside to this far outside the labelled surface: half-voxel and label errors.
INSIDE_MM, OUTSIDE_MM, STEP_MM = 3.0, 1.5, 0.5
# What a wall parts is looked for beside it and this far out: labels of bone and lumen may leave a gap.
BEYOND_MM = (1.5, 2.5)
# Peaks are averaged over a disc of about this radius, so that noise alone makes no hole.
AVERAGE_MM = 0.9
# Healthy cortex for the yardstick keeps this distance from the lesion.
AWAY_MM = 8.0
# Walls that are always named, so that "the lesion does not reach it" is said.
MAIN_WALLS = ("ventral", "dorsal", "canal")
WORST_FIRST = (
    Integrity.BREACHED, Integrity.UNCLEAR, Integrity.THINNED, Integrity.INTACT, Integrity.NOT_ADJACENT,
)  # fmt: skip
# Normals less than 60 degrees apart face the same way.
SAME_WAY = 0.5
# A yardstick needs this many surface voxels.
FEW_VOXELS = 100
# Steps to the voxels that share a face: before and after along i, j, k.
NEIGHBOURS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface voxels (n): index, position mm, outward normal, area mm², wall name, peak cortex HU.

    `kinds` is the wall's name, or for foramina what all of a face share.
    """

    index: npt.NDArray[np.int64]
    points_mm: Points
    normals: Points
    areas_mm2: npt.NDArray[np.float64]
    walls: npt.NDArray[np.str_]
    kinds: npt.NDArray[np.str_]
    peak_hu: npt.NDArray[np.float64]


def assess_walls(ct: Volume, anatomy: Anatomy, mask: Mask) -> tuple[Wall, ...]:
    """The state of every wall that a lesion mask on the anatomy's grid abuts, worst first; see `walls_of`."""
    mask.grid.require_same(anatomy.labels.grid, "The lesion mask and the anatomy")
    points = mask.require_any("lesion mask").points_mm()
    region = region_of(ct, anatomy, [points.min(axis=0), points.max(axis=0)])
    return walls_of(region, np.asarray(mask.array[region.box]))


def walls_of(region: Region, lesion: Bools) -> tuple[Wall, ...]:
    """The state of every wall that a lesion abuts, worst first; `lesion` (i, j, k) is on the region's grid.

    A wall is breached from `assumptions.breach_area` mm² on of cortex gone in one patch that is at least a slice wide;
    thinned where the abutted part is clearly below the yardstick; unclear where the patch is smaller than a slice could
    show or, in the canal's wall, not clearly larger than that wall's gaps elsewhere (the basivertebral veins leave
    through its front), and where even healthy cortex cannot be told from soft tissue in this scan. Raises AnatomyError
    where there is no surface.
    """
    surface = surface_of(region)
    reach = value("assumptions.wall_reach_mm")
    place = tuple(surface.index.T)
    near = within_mm(lesion, region.spacing_mm, reach)[place]
    away = ~within_mm(lesion, region.spacing_mm, AWAY_MM)[place]
    walls = [_wall(region, surface, str(name), near, away) for name in np.unique(surface.walls[near])]
    walls += [Wall(name, Integrity.NOT_ADJACENT) for name in MAIN_WALLS if name not in {w.name for w in walls}]
    order = list(WORST_FIRST)
    return tuple(
        sorted(walls, key=lambda w: (order.index(w.integrity), -w.breach_area_mm2, -w.adjacent_area_mm2, w.name))
    )


def _wall(region: Region, surface: Surface, name: str, near: Bools, away: Bools) -> Wall:
    own = surface.walls == name
    soft = value("assumptions.soft_tissue_hu")
    here = own & near
    like = _yardstick(surface, name, away, surface.normals[here].mean(axis=0))
    healthy = surface.peak_hu[like]
    middle = float(np.median(healthy)) - soft
    gone_below = soft + value("assumptions.breach_fraction") * middle
    thin_below = soft + value("assumptions.thinned_fraction") * middle
    area = float(surface.areas_mm2[here].sum())
    unsure = float((healthy < gone_below).mean()) > value("assumptions.wall_unclear_fraction")
    if unsure or middle < value("assumptions.lesion_contrast_hu"):
        return Wall(name, Integrity.UNCLEAR, 0.0, area, _worst(surface, here))
    smallest = value("assumptions.breach_area")
    missing = here & (surface.peak_hu < gone_below)
    natural = 0.0
    if name == "canal":
        gaps = _patch_areas(surface, like & own & (surface.peak_hu < gone_below))[1]
        natural = value("assumptions.canal_gap_factor") * float(gaps.max())
    gone = _patches(surface, missing, max(smallest, region.coarsest_mm**2, natural))
    lost = float(surface.areas_mm2[gone].sum())
    if lost > 0:
        return Wall(name, Integrity.BREACHED, lost, area, _worst(surface, gone), surface.points_mm[gone])
    doubtful = _patches(surface, missing, smallest)
    if doubtful.any():
        return Wall(name, Integrity.UNCLEAR, 0.0, area, _worst(surface, doubtful))
    thin = _patches(surface, here & (surface.peak_hu < thin_below), smallest)
    state = Integrity.THINNED if thin.any() else Integrity.INTACT
    return Wall(name, state, 0.0, area, _worst(surface, thin if thin.any() else here))


def _yardstick(surface: Surface, name: str, away: Bools, outward: Points) -> Bools:
    """Surface voxels of healthy cortex of the same wall that faces the same way (the canal's front wall is thinner than
    the laminae behind it), else of the whole wall, of its kind (all anterior foramina ...), of all walls."""
    own = surface.walls == name
    same_kind = surface.kinds == surface.kinds[own][0]
    alike = away & (surface.normals @ outward > SAME_WAY * np.linalg.norm(outward))
    for sample in (alike & own, alike & same_kind, away & own, away & same_kind, away, np.ones(len(away), np.bool_)):
        if sample.sum() >= FEW_VOXELS:
            break
    return sample


def _patches(surface: Surface, marked: Bools, smallest_mm2: float) -> Bools:
    """Those marked surface voxels that form connected patches of at least this area."""
    result = np.zeros(len(marked), np.bool_)
    part, areas = _patch_areas(surface, marked)
    result[marked] = (areas >= smallest_mm2)[part]
    return result


def _patch_areas(surface: Surface, marked: Bools) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The number of every marked surface voxel's connected patch, from 1 on, and area by number, mm²; 0 is none."""
    index = surface.index[marked]
    if not len(index):
        return np.zeros(0, np.int32), np.zeros(1)
    index = index - index.min(axis=0)
    grid = np.zeros(index.max(axis=0) + 1, np.bool_)
    grid[tuple(index.T)] = True
    parts, count = ndimage.label(grid, np.ones((3, 3, 3)))
    part = parts[tuple(index.T)]
    area = np.bincount(part, surface.areas_mm2[marked], minlength=count + 1)
    return part, np.asarray(area, dtype=np.float64)


def _worst(surface: Surface, where: Bools) -> Point | None:
    if not where.any():
        return None
    return as_point(surface.points_mm[where][np.argmin(surface.peak_hu[where])])


@lru_cache(maxsize=1)  # several lesions of one sacrum share it
def surface_of(region: Region) -> Surface:
    """The sacrum's surface with walls named and cortex measured; AnatomyError where there is none."""
    bone = region.envelope
    core = (slice(1, -1),) * 3
    rim = np.zeros(bone.shape, np.bool_)
    rim[core] = bone[core] & (region.hu[core] > -1000)
    rim[core] &= ~np.logical_and.reduce([shifted(bone, step)[core] for step in NEIGHBOURS])
    index = np.argwhere(rim)
    if not len(index):
        raise AnatomyError("The sacrum has no surface in this scan", remedy="Check the segmentation")
    sigma = NORMAL_SIGMA_MM / region.spacing_mm
    blurred = ndimage.gaussian_filter(bone.astype(np.float32), sigma)
    ends = [blurred[tuple((index + step).T)] for step in NEIGHBOURS]
    outward = np.stack([ends[n] - ends[n + 1] for n in (0, 2, 4)], axis=1, dtype=np.float64)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
    areas = region.spacing_mm**2 / np.maximum(np.abs(outward).max(axis=1), 0.5)
    peak = _averaged(region, index, _peaks(region, index, outward))
    points = region.grid.patient_from_voxel.points(index)
    normals = region.grid.patient_from_voxel.vectors(outward) / region.spacing_mm
    walls = _names(region, index, points, normals)
    names, place = np.unique(walls, return_inverse=True)
    return Surface(index, points, normals, areas, walls, np.array([_kind(str(n)) for n in names])[place], peak)


def _kind(name: str) -> str:
    """`anterior foramen` of `S1 anterior foramen right`; any other wall is a kind of its own."""
    return name.partition(" ")[2].rpartition(" ")[0] if "foramen" in name else name


def _peaks(region: Region, index: npt.NDArray[np.int64], outward: Points) -> npt.NDArray[np.float64]:
    depths = np.arange(-INSIDE_MM, OUTSIDE_MM + STEP_MM / 2, STEP_MM) / region.spacing_mm
    peak = np.full(len(index), -np.inf)
    for depth in depths:
        place = (index + depth * outward).T
        peak = np.maximum(peak, ndimage.map_coordinates(region.hu, place, order=1, mode="nearest"))
    return peak


def _averaged(region: Region, index: npt.NDArray[np.int64], peak: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Peaks averaged over the neighbouring surface with Gaussian weights."""
    sigma = AVERAGE_MM / region.spacing_mm
    index = index - index.min(axis=0)
    place, shape = tuple(index.T), index.max(axis=0) + 1
    weight, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    weight[place], total[place] = 1.0, peak
    weight, total = (ndimage.gaussian_filter(each, sigma, mode="constant") for each in (weight, total))
    return np.asarray(total[place] / np.maximum(weight[place], 1e-6), dtype=np.float64)


def _names(region: Region, index: npt.NDArray[np.int64], points: Points, normals: Points) -> npt.NDArray[np.str_]:
    """The wall of every surface voxel: by what lies beyond it, else ventral or dorsal by its normal."""
    coordinates = np.stack([c[tuple(index.T)] for c in region.coordinates], axis=1)
    names = np.where(_faces_dorsally(region.anatomy, coordinates, normals), "dorsal", "ventral").astype("U40")
    beyond = [np.rint(region.grid.voxel_from_patient.points(points + d * normals)).astype(int) for d in BEYOND_MM]
    last = np.array(region.grid.shape) - 1
    places = [*(index + step for step in NEIGHBOURS), *(np.clip(place, 0, last) for place in beyond)]
    beside = np.stack([region.labels.array[tuple(place.T)] for place in places], axis=1)
    for name, labels in (
        ("si_joint_left", ("si_joint_left", "hip_left")),
        ("si_joint_right", ("si_joint_right", "hip_right")),
        ("endplate", ("disc_l5_s1", "l5")),
        ("tunnel", ("root_tunnel",)),
        ("canal", ("canal",)),
    ):
        if set(labels) <= set(region.labels.values):
            names[np.isin(beside, [region.labels.values[label] for label in labels]).any(axis=1)] = name
    tunnel = names == "tunnel"
    names[tunnel] = _foramen_names(region.anatomy, points[tunnel])
    return names


def _faces_dorsally(anatomy: Anatomy, coordinates: Points, normals: Points) -> Bools:
    """The outward normal points dorsally of the local tangent of the ventral curve."""
    frame = anatomy.frame
    arcs = np.linspace(frame.arc_mm[0], frame.arc_mm[-1], 40)
    tangents = np.stack([frame.tangent_at(float(arc)) for arc in arcs])
    tangent = np.stack([np.interp(coordinates[:, 0], arcs, tangents[:, axis]) for axis in range(3)], axis=1)
    dorsal = np.cross(np.asarray(frame.left), tangent)
    return np.asarray((normals * dorsal).sum(axis=1) > 0)


def _foramen_names(anatomy: Anatomy, points: Points) -> npt.NDArray[np.str_]:
    """The nearest foramen of each position; `canal` where no foramen is known."""
    known: list[Foramen] = [f for f in anatomy.foramina if f.state.known and f.face in set(Face)]
    if not known or not len(points):
        return np.full(len(points), "canal", "U40")
    _, nearest = cKDTree([f.centre_mm for f in known]).query(points)
    return np.array([f.name for f in known], dtype="U40")[nearest]
