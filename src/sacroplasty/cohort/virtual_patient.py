"""Virtual patients: who they are, drawn from published spreads, and their simulated CT."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sacroplasty.anatomy import Anatomy
from sacroplasty.evidence import evidence, value
from sacroplasty.lesion import Lesion, LesionKind, lesion_from_mask
from sacroplasty.phantom import LesionShape, PhantomShape, build_phantom, insert_lesion
from sacroplasty.plan import Level
from sacroplasty.space import Volume

# Voxels of the trial's CT and truth, mm. Clearances are lower bounds by a voxel: on 1.5 mm a narrow hiatus is lost.
SPACING_MM = 1.0
# Wide enough for the skin at the side of the hip, where the transiliac approach enters, and for all of the back's.
FIELD_OF_VIEW_MM = ((-165.0, -60.0, -140.0), (165.0, 150.0, 45.0))


class Place(StrEnum):
    """Where in its level a lesion lies."""

    BODY = "body"
    ALA_LEFT = "left ala"
    ALA_RIGHT = "right ala"


@dataclass(frozen=True)
class VirtualPatient:
    """A description from which the same CT is always built; lengths in mm, `lumbar_hu` the CT value of L1 to L3."""

    number: int
    seed: int
    tumour: bool
    kind: LesionKind
    level: Level
    place: Place
    radius_mm: float
    flattening: float
    ventral_destroyed: bool
    lumbar_hu: float
    bone_scale: float
    dysmorphic: bool
    hiatus_closed: bool


def described(number: int, trial_seed: int) -> VirtualPatient:
    """The virtual patient of a number in a trial; the same two numbers give the same patient."""
    rng = np.random.default_rng((trial_seed, number))
    tumour = bool(rng.random() < value("trial.tumour_share"))
    kind = _kind(rng) if tumour else LesionKind.LYTIC
    level = _level(rng)
    in_body = tumour and rng.random() < value("assumptions.trial_body")
    # Below S2 there is no ala to speak of.
    side = Place.ALA_LEFT if rng.random() < 0.5 else Place.ALA_RIGHT
    place = Place.BODY if in_body or level is Level.S3 else side
    radius = evidence("assumptions.trial_radius")
    spread = np.log((radius.high or radius.value) / (radius.low or radius.value)) / 2
    drawn = float(np.exp(rng.normal(np.log(radius.value), spread)))
    largest = {Level.S1: 15.0, Level.S2: 12.0}.get(level, 9.0)
    lumbar = _normal(rng, "trial.lumbar_hu" if tumour else "trial.lumbar_hu_fracture", 5.0)
    return VirtualPatient(
        number=number, seed=int(rng.integers(2**31)), tumour=tumour, kind=kind, level=level, place=place,
        radius_mm=round(float(np.clip(drawn, 5.0, largest)), 2), flattening=round(float(rng.uniform(0.7, 1.0)), 3),
        ventral_destroyed=bool(
            tumour and kind is LesionKind.LYTIC and rng.random() < value("assumptions.trial_destroyed_wall")
        ),
        lumbar_hu=round(lumbar, 1),
        bone_scale=round(float(np.clip(lumbar / value("trial.lumbar_hu"), 0.3, 1.4)), 3),
        dysmorphic=bool(rng.random() < value("assumptions.trial_dysmorphic")),
        hiatus_closed=bool(rng.random() < value("assumptions.trial_absent_hiatus")),
    )  # fmt: skip


def _kind(rng: np.random.Generator) -> LesionKind:
    if rng.random() < value("assumptions.trial_lytic"):
        return LesionKind.LYTIC
    return LesionKind.MIXED if rng.random() < 0.5 else LesionKind.SCLEROTIC


def _level(rng: np.random.Generator) -> Level:
    draw, s1 = rng.random(), value("assumptions.trial_level_s1")
    if draw < s1:
        return Level.S1
    return Level.S2 if draw < s1 + value("assumptions.trial_level_s2") else Level.S3


def _normal(rng: np.random.Generator, key: str, least: float) -> float:
    """A draw around an entry whose low and high are one standard deviation off."""
    entry = evidence(key)
    sd = ((entry.high or entry.value) - (entry.low or entry.value)) / 2
    return float(max(rng.normal(entry.value, sd), least))


def shape_of(patient: VirtualPatient) -> PhantomShape:
    """The patient's pelvis."""
    shape = PhantomShape.drawn(patient.seed).osteoporotic(patient.bone_scale)
    shape = shape.dysmorphic() if patient.dysmorphic else shape
    return shape.absent_hiatus() if patient.hiatus_closed else shape


def built(patient: VirtualPatient, spacing_mm: float = SPACING_MM) -> tuple[Volume, Anatomy, Lesion]:
    """The patient's simulated CT with lesion, exact anatomy, and the lesion as measured in that CT."""
    phantom = build_phantom(
        shape_of(patient),
        spacing_mm=spacing_mm,
        truth_spacing_mm=spacing_mm,
        seed=patient.seed,
        prone=True,
        field_of_view_mm=FIELD_OF_VIEW_MM,
    )
    anatomy = phantom.anatomy
    level = anatomy.require_level(patient.level)
    middle = (level.upper_arc_mm + level.lower_arc_mm) / 2
    depth = float(anatomy.frame.coordinates(np.asarray(level.body_centre_mm))[2])
    away = {Place.BODY: 0.0, Place.ALA_LEFT: 1.0, Place.ALA_RIGHT: -1.0}[patient.place]
    x, y, z = (float(v) for v in anatomy.frame.points([middle, away * _ala_mm(anatomy, patient), depth]))
    radius = patient.radius_mm
    shape = LesionShape(
        patient.kind, (x, y, z), (radius, radius * patient.flattening, radius * patient.flattening),
        seed=patient.seed % 10_000, destroyed_walls=("ventral",) if patient.ventral_destroyed else (),
    )  # fmt: skip
    ct, mask = insert_lesion(phantom.ct, anatomy, shape)
    return ct, anatomy, lesion_from_mask(ct, anatomy, mask)


def _ala_mm(anatomy: Anatomy, patient: VirtualPatient) -> float:
    """How far from the midline the middle of the ala lies: beyond the foramen by the lesion's own radius."""
    rims = [
        abs(float(anatomy.frame.coordinates(np.asarray(f.centre_mm))[1])) + f.width_mm / 2
        for f in anatomy.foramina if f.level is patient.level and f.face == "anterior"
    ]  # fmt: skip
    return max(rims, default=20.0) + 0.7 * patient.radius_mm
