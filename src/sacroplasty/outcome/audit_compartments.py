"""Where cement lies: every hard voxel named, clusters told from the edge of a deposit, sites weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from sacroplasty.anatomy import Anatomy
from sacroplasty.cement.tissue import TRACK_MM, VALUE, VESSELS, cylinder
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from sacroplasty.outcome.audit_cement import Cement
from sacroplasty.outcome.leak import NEURAL, LeakClass, LeakSite, Modality
from sacroplasty.plan import Level, NeedlePlan, Side, as_point
from sacroplasty.space import Mask, Points

Array = npt.NDArray[Any]

LESION, SACRUM = "lesion", "sacrum"
# Nearer to the midline a leak has no side, mm.
MIDLINE_MM = 5.0
# A cluster is tubular where it is this long and this many times longer than wide.
TUBE_LENGTH_MM, TUBE_RATIO = 8.0, 3.0
# A body along the needle: within this of the planned axis, turned no more than this.
TRACK_REACH_MM, TRACK_TURN_DEG = 15.0, 25.0

CLASSES: tuple[tuple[str, LeakClass], ...] = (
    ("tumour", LeakClass.TUMOUR), ("needle track", LeakClass.TRACK), ("iliac vein", LeakClass.VEIN),
    ("vena cava", LeakClass.VEIN), ("iliac artery", LeakClass.ARTERY), ("aorta", LeakClass.ARTERY),
    ("presacral", LeakClass.PRESACRAL), ("posterior soft tissue", LeakClass.SOFT_TISSUE),
    ("anterior foramen", LeakClass.FORAMEN_ANTERIOR), ("posterior foramen", LeakClass.FORAMEN_POSTERIOR),
    ("root tunnel", LeakClass.FORAMEN_ANTERIOR), ("canal", LeakClass.CANAL), ("SI joint", LeakClass.SI_JOINT),
    ("L5-S1 disc", LeakClass.DISC), ("iliac track", LeakClass.ILIUM), ("L5", LeakClass.L5),
)  # fmt: skip


def class_of(compartment: str) -> LeakClass:
    """The class of a compartment by its name; InputError for a name of no compartment."""
    for word, kind in CLASSES:
        if word in compartment:
            return kind
    raise InputError("There is no such compartment", got=compartment, remedy=f"Use {', '.join(w for w, _ in CLASSES)}")


@dataclass(frozen=True, eq=False)
class Places:
    """Names of all compartments met, and the number of the one each hard voxel lies in."""

    names: tuple[str, ...]
    numbers: Array
    depth_mm: Array


def name_places(anatomy: Anatomy, lesion: Mask | None, cement: Cement, needles: tuple[NeedlePlan, ...]) -> Places:
    """The compartment of every hard voxel, in the order of np.argwhere(cement.hard), as `cement` names them."""
    grid = cement.hard.grid
    index = np.argwhere(cement.hard.array)
    points = grid.patient_from_voxel.points(index)
    wanted = _wanted(anatomy, lesion, cement)
    outside = ndimage.distance_transform_edt(~wanted, sampling=grid.spacing_mm)
    depth = outside[tuple(index.T)]
    labels = anatomy.labels.at(points).astype(int)
    bony = np.isin(labels, [VALUE["sacrum"], VALUE["coccyx"]]) | (depth <= 0)
    in_lesion = np.zeros(len(points), bool) if lesion is None else lesion.contains(points)
    names: list[str] = [SACRUM, LESION]
    numbers = np.zeros(len(points), dtype=np.int64)

    def put(name: str, where: Array) -> None:
        if where.any():
            if name not in names:
                names.append(name)
            numbers[where] = names.index(name)

    soft = np.isin(labels, [0, VALUE["colon"], VALUE["bladder"], VALUE["metal"]]) & ~bony
    dorsal = anatomy.frame.coordinates(points)[:, 2] > 0
    put("presacral", soft & ~dorsal)
    put("posterior soft tissue", soft & dorsal)
    for name in VESSELS:
        put(name.replace("_", " "), labels == VALUE[name])
    put("L5", np.isin(labels, [VALUE["l5"], VALUE["l4"]]))
    for side in ("left", "right"):
        put(f"iliac track {side}", np.isin(labels, [VALUE[f"hip_{side}"], VALUE[f"femur_{side}"]]))
        put(f"SI joint {side}", labels == VALUE[f"si_joint_{side}"])
    put("L5-S1 disc", labels == VALUE["disc_l5_s1"])
    put("canal", labels == VALUE["canal"])
    _put_foramina(anatomy, points, labels == VALUE["root_tunnel"], put)
    put("tumour outside bone", in_lesion & soft)
    put("needle track", soft & _along(points, needles))
    put(SACRUM, bony)
    put(LESION, in_lesion & bony)
    return Places(tuple(names), numbers, depth)


def _wanted(anatomy: Anatomy, lesion: Mask | None, cement: Cement) -> Array:
    """Where cement is meant to be, on the cement's grid: sacrum, and lesion as far as it lies in it."""
    bone = np.isin(anatomy.labels.array, [VALUE["sacrum"], VALUE["coccyx"]])
    return np.asarray(Mask(bone, anatomy.labels.grid).resampled(cement.hard.grid).array)


def _put_foramina(anatomy: Anatomy, points: Points, tunnel: Array, put: Any) -> None:
    known = [f for f in anatomy.foramina if f.state.known]
    if not tunnel.any():
        return
    if not known:
        put("root tunnels", tunnel)
        return
    _, nearest = spatial.cKDTree([f.centre_mm for f in known]).query(points[tunnel])
    for n, foramen in enumerate(known):
        where = np.zeros(len(points), bool)
        where[tunnel] = nearest == n
        put(foramen.name, where)


def _along(points: Points, needles: tuple[NeedlePlan, ...]) -> Array:
    """Within the track of any planned needle, from the skin to its tip."""
    near = np.zeros(len(points), bool)
    for needle in needles:
        depth, radius = cylinder(points, needle.trajectory.entry_mm, needle.trajectory.direction)
        near |= (depth <= needle.trajectory.length_mm) & (radius <= needle.needle.radius_mm + TRACK_MM)
    return near


@dataclass(frozen=True, eq=False)
class Sorted:
    """Leak sites, mL by compartment (clusters that are only an edge counted where they belong), and the final number
    of every hard voxel among `names`."""

    sites: tuple[LeakSite, ...]
    volumes_ml: dict[str, float]
    names: tuple[str, ...]
    numbers: Array


def sort_cement(
    anatomy: Anatomy, cement: Cement, places: Places, needles: tuple[NeedlePlan, ...], modality: Modality
) -> Sorted:
    """Clusters of each compartment weighed: a site where they reach beyond the border's uncertainty, else an edge."""
    index = np.argwhere(cement.hard.array)
    points = cement.hard.grid.patient_from_voxel.points(index)
    names = list(places.names)
    numbers = np.array(places.numbers)
    border = max(value("assumptions.audit_border"), value("assumptions.audit_border_per_slice") * cement.slice_mm)
    amounts = cement.volumes_ml(np.arange(len(index)), len(index))
    for number, cluster in _clusters(cement, index, numbers):
        shallow = places.depth_mm[cluster].max() < border
        if shallow or amounts[cluster].sum() < value("assumptions.audit_smallest_leak"):
            numbers[cluster] = _edge_of(index, numbers, cluster)
        elif names[number] == "posterior soft tissue" and _is_track(points[cluster], needles):
            if "needle track" not in names:
                names.append("needle track")
            numbers[cluster] = names.index("needle track")
    sites = []
    for number, cluster in _clusters(cement, index, numbers, join_mm=6.0):
        sites.append(_site(anatomy, names[number], points[cluster], places.depth_mm[cluster],
                           float(amounts[cluster].sum()), modality))  # fmt: skip
    totals = np.bincount(numbers, weights=amounts, minlength=len(names))
    volumes = {name: float(totals[n]) for n, name in enumerate(names) if totals[n] > 0}
    order = sorted(sites, key=lambda site: (-(site.volume_ml or 0.0), site.compartment))
    return Sorted(tuple(order), volumes, tuple(names), numbers)


def _clusters(cement: Cement, index: Array, numbers: Array, join_mm: float = 0.0) -> list[tuple[int, Array]]:
    """Connected hard voxels of one compartment outside the bone, as (its number, indices into the hard voxels)."""
    spacing = cement.hard.grid.spacing_mm
    margin = int(np.ceil(join_mm / spacing[0])) + 1
    found = []
    for number in np.unique(numbers[numbers > 1]):
        members = np.flatnonzero(numbers == number)
        local = index[members] - index[members].min(axis=0) + margin
        own = np.zeros(local.max(axis=0) + margin + 1, dtype=bool)
        own[tuple(local.T)] = True
        if join_mm > 0:
            own = ndimage.distance_transform_edt(~own, sampling=spacing) <= join_mm / 2
        part = cc3d.connected_components(own, connectivity=26)[tuple(local.T)]
        found += [(int(number), members[part == n]) for n in np.unique(part)]
    return found


def _edge_of(index: Array, numbers: Array, cluster: Array) -> int:
    """The place in the bone that an edge belongs to: that of the nearest hard voxel there, else the sacrum."""
    inside = np.flatnonzero(numbers <= 1)
    if not inside.size:
        return 0
    _, nearest = spatial.cKDTree(index[inside]).query(index[cluster].mean(axis=0))
    return int(numbers[inside[nearest]])


def _is_track(points: Points, needles: tuple[NeedlePlan, ...]) -> bool:
    """A long, thin body that runs as a planned needle does, near it: the track of a needle that was placed beside."""
    length, _, axis = _extent(points)
    for needle in needles:
        turn = np.rad2deg(np.arccos(np.clip(abs(axis @ needle.trajectory.direction), 0.0, 1.0)))
        _, radius = cylinder(points, needle.trajectory.entry_mm, needle.trajectory.direction)
        if length > TUBE_LENGTH_MM and turn < TRACK_TURN_DEG and radius.min() < TRACK_REACH_MM and _tubular(points):
            return True
    return False


def _extent(points: Points) -> tuple[float, float, Points]:
    """Length and width of a body along its principal axes, and the long one."""
    if len(points) < 3:
        return 0.0, 0.0, np.array([0.0, 0.0, 1.0])
    centred = points - points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    return float(np.ptp(centred @ axes[0])), float(4.0 * sizes[1] / np.sqrt(len(points))), axes[0]


def _tubular(points: Points) -> bool:
    length, width, _ = _extent(points)
    return length >= TUBE_LENGTH_MM and length >= TUBE_RATIO * max(width, 1e-6)


def _site(anatomy: Anatomy, name: str, points: Points, depth: Array, volume_ml: float, modality: Modality) -> LeakSite:
    kind = class_of(name)
    centre = points.mean(axis=0)
    side, level = _side_and_level(anatomy, name, centre)
    root, distance = _nearest_root(anatomy, points)
    significant, reason = _weighed(kind, volume_ml, root, distance)
    return LeakSite(
        kind, name, side, level, modality, volume_ml, float(depth.max()), as_point(centre), _tubular(points),
        root, distance, significant, reason,
    )  # fmt: skip


def _side_and_level(anatomy: Anatomy, name: str, centre: Points) -> tuple[Side, Level | None]:
    foramen = next((f for f in anatomy.foramina if f.name == name), None)
    if foramen is not None:
        return foramen.side, foramen.level
    x = float(anatomy.frame.coordinates(centre)[1])
    side = Side.MIDLINE if abs(x) < MIDLINE_MM else (Side.LEFT if x > 0 else Side.RIGHT)
    if "disc" in name or name == "L5":
        return side, Level.L5 if name == "L5" else None
    return side, anatomy.levels_at(centre[None])[0]


def _nearest_root(anatomy: Anatomy, points: Points) -> tuple[str, float | None]:
    """The nerve root nearest to a body, and the gap to the root's surface (0 where they touch), within 20 mm."""
    best, name = 20.0, ""
    tree = spatial.cKDTree(points)
    for root in anatomy.roots:
        if not root.state.known:
            continue
        line = np.asarray(root.points_mm)
        steps = np.linspace(0.0, 1.0, 4)[:-1, None, None]
        dense = np.vstack([(line[:-1] + steps * np.diff(line, axis=0)).reshape(-1, 3), line[-1:]])
        gap = max(float(tree.query(dense)[0].min()) - root.radius_mm, 0.0)
        if gap < best:
            best, name = gap, root.name
    return name, best if name else None


def _weighed(kind: LeakClass, volume_ml: float, root: str, distance: float | None) -> tuple[bool, str]:
    """Whether a leak is significant by its place and volume, and why."""
    if kind in NEURAL:
        limit = value("assumptions.audit_significant_neural")
        if distance is not None and distance <= value("assumptions.audit_root_contact"):
            return True, f"touches the {root}"
    elif kind in (LeakClass.VEIN, LeakClass.ARTERY):
        return True, "in a vessel, may embolise"
    elif kind in (LeakClass.SI_JOINT, LeakClass.DISC):
        limit = value("assumptions.audit_significant_joint")
    else:
        limit = value("assumptions.audit_significant_soft")
    over = volume_ml >= limit
    return over, f"{'at least' if over else 'less than'} {limit:g} mL in this place"
