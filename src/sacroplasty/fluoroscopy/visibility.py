"""What can be seen in a view: foramina, canal walls and ventral cortex against the clutter of everything else.

A structure is what it adds to or takes from the line integrals: its edges are the pattern an observer looks for. It is
seen where the image answers that pattern at the structure's own place more than at places around it, noise included
(a matched filter on edges, which is how a foramen is told: by its rim, not by a brighter patch).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from sacroplasty.anatomy import Anatomy, Foramen
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.display import Contour
from sacroplasty.fluoroscopy.material import ENERGIES_KEV, attenuation_per_mm, mass_attenuation_cm2_g
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import Image, line_integrals
from sacroplasty.fluoroscopy.radiograph import Radiograph, Seen, Visibility
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import Finding, Level, Severity
from sacroplasty.space import Mask, Points, Volume

# Detectors used to judge a view: 0.75 mm at the isocentre of a mobile machine, the width of a rim.
JUDGING_PIXELS = 256
# Sizes of edges, mm at the isocentre: noise blurs out below the first, slow shades drop out above the second.
_FINE_MM, _SLOW_MM = 0.8, 3.0
# Where the pattern is looked for besides its own place, mm: as far as a mistake is made, short of the next level.
_NEAREST_MM, _FARTHEST_MM = 8.0, 22.0
# Places where the pattern still answers itself by this share are its own: a cortex moved along itself.
_SAME = 0.3
_ENERGY_KEV = 60.0
# Below this inside the body is gas. It moves between scan and procedure, so no view is chosen by it.
_GAS_HU = -200


@dataclass(frozen=True, eq=False)
class Target:
    """A structure to be seen: the size of the change of attenuation in 1/mm it makes, on its own small grid.

    `adds` is True for bone, False for an opening in it.
    """

    name: str
    packed: PackedVolume
    points_mm: Points
    adds: bool


@dataclass(frozen=True, eq=False)
class Stage:
    """A CT prepared for judging views: its attenuation, and the structures to look for."""

    whole: PackedVolume
    targets: tuple[Target, ...]

    @staticmethod
    def of(ct: Volume, anatomy: Anatomy) -> Stage:
        """The CT on the anatomy's grid at about 1.5 mm; every known foramen, the canal's walls, the ventral cortex."""
        grid = anatomy.labels.grid
        grid = grid.resized(max(1.5, max(grid.spacing_mm)))
        whole = attenuation_per_mm(without_gas(ct.resampled(grid), anatomy.body), _ENERGY_KEV)
        bone = _bone_level(whole, anatomy)
        targets = [_target(f.name, _tunnel_near(anatomy, f), bone, False) for f in anatomy.foramina if f.state.known]
        targets += [_target(name, wall, bone, True) for name, wall in _canal_walls(anatomy)]
        targets.append(_target("ventral cortex", _ventral_shell(anatomy), bone, True))
        return Stage(PackedVolume.of(whole), tuple(t for t in targets if t is not None))

    def named(self, words: Iterable[str]) -> tuple[Target, ...]:
        """Targets whose name holds every word."""
        wanted = list(words)
        return tuple(t for t in self.targets if all(w in t.name for w in wanted))


def _bone_level(whole: Volume, anatomy: Anatomy) -> float:
    """How much more the sacrum attenuates than soft tissue, 1/mm."""
    sacrum = anatomy.labels.mask("sacrum").require_any("sacrum")
    values = whole.sampled(sacrum.points_mm()[::7], outside=0.0)
    soft = np.interp(_ENERGY_KEV, ENERGIES_KEV, mass_attenuation_cm2_g("water")) / 10
    return max(float(np.mean(values)) - float(soft), 1e-4)


def _target(name: str, mask: Mask, change: float, adds: bool) -> Target | None:
    if mask.is_empty():
        return None
    box = mask.grid.box_around(mask.points_mm(), 2.0)
    part = mask.cropped(box)
    density = Volume(part.array.astype(np.float32) * np.float32(change), part.grid, "1/mm")
    return Target(name, PackedVolume.of(density), part.points_mm(), adds)


def _tunnel_near(anatomy: Anatomy, foramen: Foramen) -> Mask:
    """The part of the root tunnels (and what lies in the opening) that belongs to one foramen."""
    labels = anatomy.labels
    reach = foramen.radius_mm + value("assumptions.foramen_tunnel_depth")
    box = labels.grid.box_around([foramen.centre_mm], reach + 2)
    part = labels.cropped(box)
    offset = part.grid.centres_mm() - np.asarray(foramen.centre_mm)
    along = offset @ np.asarray(foramen.axis)
    across = np.linalg.norm(offset - along[..., None] * np.asarray(foramen.axis), axis=-1)
    tunnel = part.values.get("root_tunnel", -1)
    near = (across < foramen.radius_mm + 2) & (along < 2) & (along > -value("assumptions.foramen_tunnel_depth"))
    inside = near & (part.array == tunnel)
    if not inside.any():  # labels without tunnels: the opening itself, as a cylinder
        inside = near & (across < foramen.radius_mm)
    return Mask(inside, part.grid)


def _canal_walls(anatomy: Anatomy) -> list[tuple[str, Mask]]:
    """Bone around the sacral canal, in its ventral, dorsal, left and right wall; none where it is not known."""
    if anatomy.canal is None or not anatomy.labels.has("canal"):
        return []
    labels = anatomy.labels
    part = labels.cropped(labels.grid.box_around(anatomy.canal.centreline_mm, 25.0))
    lumen = part.array == part.values["canal"]
    thickness = max(1, round(2.5 / min(part.grid.spacing_mm)))
    around = ndimage.binary_dilation(lumen, iterations=thickness) & (part.array == part.values["sacrum"])
    index = np.argwhere(around)
    arc, across, depth = anatomy.frame.coordinates(part.grid.patient_from_voxel.points(index)).T
    middle = anatomy.frame.coordinates(anatomy.canal.centreline_mm)
    middle = middle[np.argsort(middle[:, 0])]
    x = across - np.interp(arc, middle[:, 0], middle[:, 1])
    d = depth - np.interp(arc, middle[:, 0], middle[:, 2])
    facing = np.abs(d) > np.abs(x)
    walls = []
    for name, kept in (
        ("ventral", facing & (d < 0)),
        ("dorsal", facing & (d > 0)),
        ("left", ~facing & (x > 0)),
        ("right", ~facing & (x < 0)),
    ):
        wall = np.zeros(around.shape, dtype=np.bool_)
        wall[tuple(index[kept].T)] = True
        walls.append((f"{name} canal wall", Mask(wall, part.grid)))
    return walls


def _ventral_shell(anatomy: Anatomy) -> Mask:
    """The ventral cortex of the sacrum: bone within two voxels of the front of the bodies, between the foramina."""
    labels = anatomy.labels
    curve = anatomy.frame.ventral_curve_mm
    box = labels.grid.box_around(curve, 25.0)
    part = labels.cropped(box)
    bone = part.array == part.values["sacrum"]
    offset = np.argwhere(bone)
    points = part.grid.patient_from_voxel.points(offset)
    local = anatomy.frame.coordinates(points)
    thickness = max(2.0, 1.5 * max(part.grid.spacing_mm))
    kept = (np.abs(local[:, 1]) < 15) & (np.abs(local[:, 2]) < thickness) & (local[:, 0] > 0)
    shell = np.zeros(bone.shape, dtype=np.bool_)
    shell[tuple(offset[kept].T)] = True
    return Mask(shell, part.grid)


def without_gas(ct: Volume, body: Mask) -> Volume:
    """A CT in HU whose gas inside the body is water; near the skin it is left as it is."""
    place = np.rint(body.grid.voxel_from_patient.points(ct.grid.centres_mm().reshape(-1, 3))).astype(np.int64)
    inner = ndimage.binary_erosion(body.array, iterations=max(1, round(6.0 / max(body.grid.spacing_mm))))
    within = ((place >= 0) & (place < body.array.shape)).all(axis=1)
    inside = np.zeros(len(place), dtype=np.bool_)
    inside[within] = inner[tuple(place[within].T)]
    array = np.array(ct.array)
    array[inside.reshape(array.shape) & (array < _GAS_HU)] = 0
    return Volume(array, ct.grid)


def _banded(image: Image, pixel_mm: float) -> Image:
    fine = ndimage.gaussian_filter(image, _FINE_MM / pixel_mm, mode="nearest")
    return np.asarray(fine - ndimage.gaussian_filter(image, _SLOW_MM / pixel_mm, mode="nearest"))


class _Scenery:
    """The edges of a whole image, ready to be searched for the pattern of one structure."""

    def __init__(self, image: Image, pixel_mm: float, noise: float) -> None:
        self.pixel_mm, self.noise = pixel_mm, noise
        self.shape = [fft.next_fast_len(n + int(_FARTHEST_MM / pixel_mm) + 1, real=True) for n in image.shape]
        self.edges = fft.rfft2(_banded(image, pixel_mm), self.shape)
        away = [fft.fftfreq(n, 1 / (n * pixel_mm)) for n in self.shape]
        distance = np.hypot(away[0][:, None], away[1][None, :])
        self.around = (distance > _NEAREST_MM) & (distance < _FARTHEST_MM)

    def stands_out(self, change: Image) -> float:
        """By how many standard deviations of the answers around the pattern is answered more at its own place."""
        pattern = _banded(change, self.pixel_mm)
        wanted = fft.rfft2(pattern, self.shape)
        itself = fft.irfft2(np.abs(wanted) ** 2, self.shape)
        answer = fft.irfft2(self.edges * wanted.conj(), self.shape)
        others = answer[self.around & (itself < _SAME * itself[0, 0])]
        if itself[0, 0] <= 0 or len(others) < 2:
            return 0.0
        noise = self.noise * float(np.linalg.norm(_banded(pattern, self.pixel_mm)))
        return max(0.0, float(answer[0, 0] - others.mean()) / float(np.hypot(others.std(), noise)))


def judged(stage: Stage, view: View, targets: Sequence[Target] | None = None) -> tuple[Visibility, ...]:
    """How well each structure can be seen in a view."""
    small = view.with_(carm=view.carm.with_pixels(JUDGING_PIXELS))
    pixel = small.carm.isocentre_pixel_mm
    noise = value("assumptions.fluoroscopy_quanta_per_pixel") ** -0.5 * view.carm.isocentre_pixel_mm / pixel
    scenery = _Scenery(line_integrals(stage.whole, small, 1.0), pixel, noise)
    return tuple(_judged_one(target, scenery, small) for target in targets or stage.targets)


def _judged_one(target: Target, scenery: _Scenery, view: View) -> Visibility:
    if not view.sees(target.points_mm).mean() > 0.8:
        return Visibility(target.name, 0.0, Seen.NOT_SEEN)
    change = line_integrals(target.packed, view, 1.0)
    found = scenery.stands_out(change if target.adds else -change)
    if found >= value("assumptions.visibility_seen"):
        seen = Seen.SEEN
    else:
        seen = Seen.FAINT if found >= value("assumptions.visibility_faint") else Seen.NOT_SEEN
    return Visibility(target.name, found, seen)


_COLOURS = {Seen.SEEN: (90, 255, 90), Seen.FAINT: (255, 200, 60), Seen.NOT_SEEN: (255, 90, 90)}


def contours(
    anatomy: Anatomy, view: View, seen: Sequence[Visibility] = (), levels: Sequence[Level] = ()
) -> tuple[Contour, ...]:
    """Outlines to lay over a radiograph: foramina, canal centreline and ventral cortex, coloured by visibility.

    Green is seen, amber faint, red not seen, white not judged; a structure whose place is inferred is dashed. The
    canal's centreline has the colour of its best seen wall.
    """
    known = {v.structure: v.seen for v in seen}
    walls = [v for v in seen if v.structure.endswith("canal wall")]
    if walls:
        known["sacral canal"] = max(walls, key=lambda v: v.detectability).seen
    drawn = []
    for foramen in anatomy.foramina:
        if foramen.state.known and (not levels or foramen.level in levels):
            uv = view.detector_from_patient.points(foramen_rim(foramen))
            colour = _COLOURS[known[foramen.name]] if foramen.name in known else (255, 255, 255)
            label = f"{foramen.level}{foramen.face.value[0]}"
            drawn.append(Contour(uv, colour, label, dashed=foramen.state.value != "measured"))
    lines = [("ventral cortex", anatomy.frame.ventral_curve_mm)]
    if anatomy.canal is not None:
        lines.append(("sacral canal", anatomy.canal.centreline_mm))
    for name, line in lines:
        colour = _COLOURS[known[name]] if name in known else (255, 255, 255)
        drawn.append(Contour(view.detector_from_patient.points(line), colour, name, dashed=name == "sacral canal"))
    return tuple(drawn)


def foramen_rim(foramen: Foramen, count: int = 33) -> Points:
    """Closed outline (count, 3) of a foramen's opening, LPS mm: width across the patient, height along the sacrum."""
    axis = np.asarray(foramen.axis) / np.linalg.norm(foramen.axis)
    across = np.array([1.0, 0.0, 0.0]) - axis[0] * axis
    across /= np.linalg.norm(across)
    along = np.cross(axis, across)
    turn = np.linspace(0, 2 * np.pi, count)[:, None]
    ring = np.cos(turn) * across * foramen.width_mm / 2 + np.sin(turn) * along * foramen.height_mm / 2
    return np.asarray(np.asarray(foramen.centre_mm) + ring)


def landmark_findings(shots: Sequence[Radiograph]) -> tuple[Finding, ...]:
    """What no planned view shows plainly: the ventral cortex, the canal or a foramen, with the best view for it.

    The sacrum has few defined landmarks under fluoroscopy and its ventral cortex is hard to see (Yeo 2024): that is
    always said. Views that were rendered without a judgement of what they show add nothing.
    """
    found = [
        Finding(
            Severity.CAUTION,
            "few-landmarks",
            "The sacrum has few defined landmarks under fluoroscopy and its ventral cortex is hard to see (Yeo 2024): "
            "go on only while two views agree",
        )
    ]
    best: dict[str, tuple[float, Seen, str]] = {}
    for shot in shots:
        for one in shot.visibility:
            rated = (one.detectability, one.seen, shot.view.name)
            best[one.structure] = max(best.get(one.structure, rated), rated, key=lambda r: r[0])
    for grade, severity, told in (
        (Seen.NOT_SEEN, Severity.CAUTION, "Not seen plainly or faintly in any planned view"),
        (Seen.FAINT, Severity.INFO, "Only faint, best in the view named"),
    ):
        names = [
            structure.replace("_", " ") + ("" if grade is Seen.NOT_SEEN else f" ({view})")
            for structure, (_, seen, view) in sorted(best.items())
            if seen is grade
        ]
        if names:
            found.append(Finding(severity, "hard-to-see", f"{told}: {', '.join(names)}"))
    return tuple(found)
