"""Which openings can be the foramina they are taken for: by size, by place among the others, and parted if merged.

An opening that has run together with a recess, a defect or the space before a bar of bone has the wrong middle however
clearly it is seen. It is judged by the patient's own other foramina, not by the norm alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from sacroplasty.anatomy.expectation import Expected, Key, expected_foramina, improbable
from sacroplasty.anatomy.foramina import Opening
from sacroplasty.anatomy.mouth import Mouth, find_mouth, rim_plane
from sacroplasty.anatomy.reopening import Reopened
from sacroplasty.anatomy.roots import LumenWays
from sacroplasty.anatomy.sacrum_field import SacrumField
from sacroplasty.anatomy.structures import Face
from sacroplasty.anatomy.unrolled import UnrolledSurface, surface_depth_mm
from sacroplasty.evidence import value
from sacroplasty.plan import Side

Place = tuple[float, float]

# An opening wider or narrower than this share of the norm, scaled by the patient's other foramina, is not one foramen:
# sizes vary by 8 to 15 %, so that this is beyond three standard deviations.
LARGEST_RATIO, LEAST_RATIO = 1.4, 0.5
# How far the patient's own scale may lie from the norm.
SCALE = (0.8, 1.25)
# A mouth within this many standard deviations of the expected place is taken for the foramen expected there, if it
# lies this much nearer to that place than to any other level's.
NEAR_SD, LEAD_SD = 2.5, 1.5
# A gap narrower than this is looked at as if it were as wide.
LEAST_RADIUS_MM = 2.0


def place_of(opening: Opening) -> Place:
    """Arc length and distance from the midline, mm."""
    return float(opening.coordinates[0]), abs(float(opening.coordinates[1]))


def norm_diameter_mm(key: Key) -> float:
    """Diameter of a foramen by the norm."""
    level, _, face = key
    return value(f"anatomy.{level.lower()}_{face}_foramen_diameter")


def size_ratio(key: Key, opening: Opening) -> float:
    """Diameter of an opening, by how far its rim spreads, as a share of the norm. A posterior one leaves the bone
    aslant and is long along the sacrum: it has merged where it is wide across.
    """
    spread = np.sqrt(opening.width_mm * opening.height_mm)
    if opening.face is Face.POSTERIOR:
        spread = max(opening.width_mm, opening.diameter_mm)
    return float(spread) / norm_diameter_mm(key)


def merged(openings: Mapping[Key, Opening]) -> set[Key]:
    """Openings whose size is not that of one foramen of this patient, judged by the others of the same face."""
    ratios = {key: size_ratio(key, opening) for key, opening in openings.items()}
    found = set()
    for key, ratio in ratios.items():
        others = [r for other, r in ratios.items() if other[2] is key[2] and other != key]
        scale = float(np.clip(np.median(others), *SCALE)) if len(others) > 1 else 1.0
        if not LEAST_RATIO < ratio / scale < LARGEST_RATIO:
            found.add(key)
    return found


def away_sd(place: Place, expected: Expected) -> float:
    """Standard deviations of a place from the expected one, the larger of both directions."""
    arc, lateral = place
    return max(
        abs(arc - expected.arc_mm) / expected.arc_sd_mm, abs(lateral - expected.lateral_mm) / expected.lateral_sd_mm
    )


def believable(openings: Mapping[Key, Opening], loose: Iterable[Opening]) -> dict[Key, Opening]:
    """The openings without those of a size or place that no foramen has, given the others; loose ones that lie where a
    missing foramen is expected take its name.
    """
    sure = {key: openings[key] for key in openings if key not in merged(openings)}
    for key in improbable({key: place_of(opening) for key, opening in sure.items()}):
        del sure[key]
    expected = expected_foramina({key: place_of(opening) for key, opening in sure.items()})
    for opening in loose:
        own = {
            key: away_sd(place_of(opening), one)
            for key, one in expected.items()
            if key[1] is opening.side and key[2] is opening.face
        }
        first, second = sorted(own, key=lambda key: own[key])[:2]
        if first not in openings and own[first] < NEAR_SD and own[second] - own[first] > LEAD_SD:
            found = sure.get(first)
            if found is None and LEAST_RATIO < size_ratio(first, opening) < LARGEST_RATIO:
                sure[first] = opening
    return sure


def parted(
    field: SacrumField, surface: UnrolledSurface, ways: LumenWays, key: Key, expected: Expected
) -> Opening | None:
    """The foramen within an opening that has merged: the gap in the bone's surface at the expected place, of a size
    that a foramen has. None where there is none.
    """
    _, side, face = key
    lateral = expected.lateral_mm * (1.0 if side is Side.LEFT else -1.0)
    start = np.array([expected.arc_mm, lateral, surface_depth_mm(surface, expected.arc_mm, lateral)])
    norm = norm_diameter_mm(key)
    mouth = find_mouth(field, surface, face, start, norm / 2, dark_hu())
    if mouth is None or not LEAST_RATIO < mouth.diameter_mm / norm < LARGEST_RATIO:
        return None
    if away_sd((float(mouth.coordinates[0]), abs(float(mouth.coordinates[1]))), expected) > NEAR_SD:
        return None
    return _opening_at(field, ways, key, mouth)


def parted_at_gap(field: SacrumField, ways: LumenWays, key: Key, gap: Reopened) -> Opening | None:
    """The same where the mask is hollow beside the foramen and has no plane, but the CT shows a gap in the cortex: the
    lumen is open there, it only runs on. None where the gap has no foramen's size or the lumen does not reach it, and
    for posterior ones, whose gap in the cortex is a poor witness of the place.
    """
    if key[2] is Face.POSTERIOR or not LEAST_RATIO < gap.diameter_mm / norm_diameter_mm(key) < LARGEST_RATIO:
        return None
    return _opening_at(field, ways, key, Mouth(gap.coordinates, gap.diameter_mm))


def _opening_at(field: SacrumField, ways: LumenWays, key: Key, mouth: Mouth) -> Opening | None:
    """A mouth as an opening of the lumen behind it; None where the lumen does not reach it."""
    _, _, face = key
    centre = field.frame.points(mouth.coordinates)
    voxel, away = ways.nearest(centre)
    if away > mouth.diameter_mm:
        return None
    inwards = field.frame.coordinates(centre)
    inwards[2] += 5.0 if face is Face.ANTERIOR else -5.0
    axis = centre - field.frame.points(inwards)
    area = np.pi * mouth.diameter_mm**2 / 4
    return Opening(
        face, centre, axis / np.linalg.norm(axis), area, mouth.diameter_mm, mouth.diameter_mm, mouth.coordinates, voxel
    )


def dark_hu() -> float:
    """What is darker is rather lumen than bone."""
    return 0.5 * (value("anatomy.lumen_hu") + value("anatomy.roof_hu"))


def at_mouth(field: SacrumField, surface: UnrolledSurface, ways: LumenWays, opening: Opening) -> Opening:
    """A posterior opening moved to the middle of its mouth, with the axis of its tunnel; it leaves the bone aslant."""
    radius = min(opening.diameter_mm / 2, LARGEST_RATIO * 0.5 * value("anatomy.s1_posterior_foramen_diameter"))
    mouth = find_mouth(field, surface, opening.face, opening.coordinates, radius, dark_hu())
    moved = opening
    if mouth is not None and LEAST_RATIO < mouth.diameter_mm / opening.diameter_mm < 1 / LEAST_RATIO:
        moved = replace(
            opening, centre_mm=field.frame.points(mouth.coordinates), coordinates=np.asarray(mouth.coordinates)
        )
    return ways.along_tunnel(moved)


def gap_at_mouth(
    field: SacrumField, surface: UnrolledSurface, key: Key, expected: Expected, gap: Reopened
) -> Reopened | None:
    """A gap in the cortex moved to the middle of its mouth; None where it lies where no such foramen can."""
    mouth = find_mouth(field, surface, key[2], gap.coordinates, max(gap.diameter_mm / 2, LEAST_RADIUS_MM), dark_hu())
    norm = norm_diameter_mm(key)
    if mouth is not None and LEAST_RATIO < mouth.diameter_mm / norm < LARGEST_RATIO:
        moved = Reopened(mouth.coordinates, mouth.diameter_mm, gap.contrast_hu)
        if _near(moved, expected):
            return moved
    if not _near(gap, expected):
        return None
    plane = rim_plane(surface, gap.coordinates, norm / 2)
    if plane is None:
        return gap
    # The hull sags into a wide opening; the bone around it does not.
    return Reopened(np.array([*gap.coordinates[:2], plane[0]]), gap.diameter_mm, gap.contrast_hu)


def _near(gap: Reopened, expected: Expected) -> bool:
    arc, lateral, _ = gap.coordinates
    return away_sd((float(arc), abs(float(lateral))), expected) < NEAR_SD
