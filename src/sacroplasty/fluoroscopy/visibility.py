"""What can be seen in a view: foramina, canal walls and ventral cortex against the clutter of everything else.

A foramen is seen by its rim (`rim.py`): where the image is darker outside its opening's outline than inside, more than
at places around. A wall or cortex is what it adds to the line integrals: its edges are the pattern that is looked for,
and it is seen where the image answers them at its own place more than around (a matched filter on edges). Noise counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy.display import Contour
from sacroplasty.fluoroscopy.material import ENERGIES_KEV, attenuation_per_mm, mass_attenuation_cm2_g
from sacroplasty.fluoroscopy.packed import PackedVolume
from sacroplasty.fluoroscopy.projector import Image, line_integrals
from sacroplasty.fluoroscopy.radiograph import Radiograph, Seen, Visibility
from sacroplasty.fluoroscopy.rim import FARTHEST_MM, NEAREST_MM, foramen_rim, rim_stands_out
from sacroplasty.fluoroscopy.similarity import binned
from sacroplasty.fluoroscopy.view import View
from sacroplasty.plan import Finding, Level, Severity
from sacroplasty.space import Grid, Mask, Points, Volume

# Detector used to judge a view: 0.4 mm at the isocentre of a mobile machine for rims, twice that for broader edges.
JUDGING_PIXELS = 512
# Sizes of edges, mm at the isocentre: noise blurs out below the first, slow shades drop out above the second.
_FINE_MM, _SLOW_MM = 0.8, 3.0
# Places where the pattern still answers itself by this share are its own: a cortex moved along itself.
_SAME = 0.3
_ENERGY_KEV = 60.0
# Below this inside the body is gas. It moves between scan and procedure, so no view is chosen by it.
_GAS_HU = -200
_SKIN_MM = 6.0


@dataclass(frozen=True, eq=False)
class Target:
    """A structure to be seen: bone with what it adds to attenuation (1/mm), on its own small grid, or a foramen.

    `points_mm` (n, 3) are the bone's voxels or the closed outline of the foramen's opening, which has no `packed`.
    """

    name: str
    points_mm: Points
    packed: PackedVolume | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """A CT prepared for judging views: its attenuation, and the structures to look for."""

    whole: PackedVolume
    targets: tuple[Target, ...]

    @staticmethod
    def of(ct: Volume, anatomy: Anatomy) -> Stage:
        """The CT at about 1.5 mm, all of it; every known foramen, the canal's walls, the ventral cortex."""
        grid = ct.grid.resized(max(1.5, max(anatomy.labels.grid.spacing_mm)))
        whole = attenuation_per_mm(without_gas(ct.resampled(grid), anatomy.body), _ENERGY_KEV)
        bone = _bone_level(whole, anatomy)
        targets = [Target(f.name, foramen_rim(f)) for f in anatomy.foramina if f.state.known]
        parts = [*_canal_walls(anatomy), ("ventral cortex", _ventral_shell(anatomy))]
        targets += [_bone_target(name, mask, bone) for name, mask in parts if not mask.is_empty()]
        return Stage(PackedVolume.of(whole), tuple(targets))

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


def _bone_target(name: str, mask: Mask, change: float) -> Target:
    part = mask.cropped(mask.grid.box_around(mask.points_mm(), 2.0))
    density = Volume(part.array.astype(np.float32) * np.float32(change), part.grid, "1/mm")
    return Target(name, part.points_mm(), PackedVolume.of(density))


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
    """A CT in HU whose gas inside the body is water; near the skin it is left as it is.

    Where the body's mask ends short of the CT, gas is air that tissue encloses in its axial slice.
    """
    air = np.asarray(ct.array) < _GAS_HU
    depth = max(1, round(_SKIN_MM / max(body.grid.spacing_mm)))
    inner = Mask(ndimage.binary_erosion(body.array, iterations=depth, border_value=1), body.grid)
    known = Mask(np.ones(body.grid.shape, dtype=np.bool_), body.grid)
    inside = np.where(known.resampled(ct.grid).array, inner.resampled(ct.grid).array, _enclosed(air, ct.grid))
    return Volume(np.where(inside & air, ct.array.dtype.type(0), ct.array), ct.grid)


def _enclosed(air: npt.NDArray[np.bool_], grid: Grid) -> npt.NDArray[np.bool_]:
    """Air (i, j, k) that has no way to the image's edge within its axial slice."""
    axial = int(np.argmax(np.abs(grid.patient_from_voxel.vectors(np.eye(3))[:, 2]) / grid.spacing_mm))
    slices = np.moveaxis(air, axial, 0)
    within = np.zeros((3, 3, 3), dtype=np.bool_)
    within[1] = ndimage.generate_binary_structure(2, 1)
    pockets, count = ndimage.label(slices, structure=within)
    open_pockets = np.zeros(count + 1, dtype=np.bool_)
    for edge in (pockets[:, 0], pockets[:, -1], pockets[:, :, 0], pockets[:, :, -1]):
        open_pockets[edge] = True
    open_pockets[0] = True
    return np.moveaxis(~open_pockets[pockets], 0, axial)


def _banded(image: Image, pixel_mm: float) -> Image:
    fine = ndimage.gaussian_filter(image, _FINE_MM / pixel_mm, mode="nearest")
    return np.asarray(fine - ndimage.gaussian_filter(image, _SLOW_MM / pixel_mm, mode="nearest"))


class _Scenery:
    """The edges of a whole image, ready to be searched for the pattern of one structure."""

    def __init__(self, image: Image, pixel_mm: float, noise: float) -> None:
        self.pixel_mm, self.noise = pixel_mm, noise
        self.shape = [fft.next_fast_len(n + int(FARTHEST_MM / pixel_mm) + 1, real=True) for n in image.shape]
        self.edges = fft.rfft2(_banded(image, pixel_mm), self.shape)
        away = [fft.fftfreq(n, 1 / (n * pixel_mm)) for n in self.shape]
        distance = np.hypot(away[0][:, None], away[1][None, :])
        self.around = (distance > NEAREST_MM) & (distance < FARTHEST_MM)

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
    fine = view.with_(carm=view.carm.with_pixels(JUDGING_PIXELS))
    coarse = fine.with_(carm=fine.carm.binned(2))
    pixel = fine.carm.isocentre_pixel_mm
    noise = value("assumptions.fluoroscopy_quanta_per_pixel") ** -0.5 * view.carm.isocentre_pixel_mm / pixel
    image = line_integrals(stage.whole, fine, 1.0)
    wanted = stage.targets if targets is None else targets
    bones = any(t.packed is not None for t in wanted)
    scenery = _Scenery(binned(image, 2), 2 * pixel, noise / 2) if bones else None
    found = []
    for target in wanted:
        strength = 0.0
        if not view.sees(target.points_mm).mean() > 0.8:
            found.append(Visibility(target.name, strength, Seen.NOT_SEEN))
            continue
        if target.packed is None:
            outline = fine.detector_from_patient.points(target.points_mm)
            strength = max(0.0, rim_stands_out(image, outline, pixel, noise))
        elif scenery is not None:
            strength = scenery.stands_out(line_integrals(target.packed, coarse, 1.0))
        found.append(Visibility(target.name, strength, _grade(strength)))
    return tuple(found)


def _grade(strength: float) -> Seen:
    if strength >= value("assumptions.visibility_seen"):
        return Seen.SEEN
    return Seen.FAINT if strength >= value("assumptions.visibility_faint") else Seen.NOT_SEEN


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
