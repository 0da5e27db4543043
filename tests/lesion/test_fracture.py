"""Fracture planes: alar and transverse gaps found where they are, nothing found in sound bone."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.errors import AnatomyError
from sacroplasty.lesion import FractureKind, LesionKind, find_fractures, lesion_from_mask
from sacroplasty.phantom import FracturePlane, LesionShape, Phantom, build_phantom, insert_lesion
from sacroplasty.plan import Level, Side, as_point
from sacroplasty.space import LabelMap
from tests.data import real

FIELD = ((-72.0, -45.0, -130.0), (72.0, 75.0, 22.0))
SMALL = (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def pelvis() -> Phantom:
    return build_phantom(spacing_mm=1.0, field_of_view_mm=FIELD, seed=5)


def cracked(pelvis: Phantom, arc: float, x: float, normal: np.ndarray, gap_mm: float = 2.0):
    """The phantom's CT with a gap through the sacrum and a small sclerotic lesion far from it, with that mask."""
    frame = pelvis.anatomy.frame
    plane = FracturePlane(as_point(frame.points((arc, x, 12.0))), as_point(normal), gap_mm)
    centre = as_point(frame.points((40.0, 2.0, 10.0)))
    return insert_lesion(pelvis.ct, pelvis.anatomy, LesionShape(LesionKind.SCLEROTIC, centre, SMALL, fracture=plane))


def angle_deg(a, b) -> float:
    return float(np.degrees(np.arccos(min(1.0, abs(np.dot(a, b)) / np.linalg.norm(b)))))


@pytest.mark.parametrize(("x", "side"), [(30.0, Side.LEFT), (-28.0, Side.RIGHT)])
def test_an_alar_plane_is_found_on_its_side(pelvis: Phantom, x: float, side: Side) -> None:
    normal = np.array([1.0, 0.2, 0.1])
    ct, _ = cracked(pelvis, 22.0, x, normal)
    fracture = find_fractures(ct, pelvis.anatomy)[0]
    assert fracture.kind is FractureKind.ALAR
    assert fracture.side is side
    assert angle_deg(fracture.normal, normal) < 6
    assert fracture.area_mm2 > 300
    assert Level.S1 in fracture.levels
    assert side.value in fracture.sentence


def test_a_transverse_plane_is_found_and_belongs_to_its_lesion(pelvis: Phantom) -> None:
    level = pelvis.anatomy.require_level(Level.S2)
    arc = (level.upper_arc_mm + level.lower_arc_mm) / 2
    normal = pelvis.anatomy.frame.tangent_at(arc)
    ct, mask = cracked(pelvis, arc, 0.0, np.asarray(normal))
    lesion = lesion_from_mask(ct, pelvis.anatomy, mask)
    fracture = lesion.fractures[0]
    assert fracture.kind is FractureKind.TRANSVERSE
    assert fracture.side is None
    assert angle_deg(fracture.normal, np.asarray(normal)) < 6
    assert fracture.levels == (Level.S2,)
    assert any(finding.code == "fracture" for finding in lesion.findings)
    assert fracture.lesion_gap_mm is not None


def test_sound_bone_and_a_disc_remnant_have_none(pelvis: Phantom) -> None:
    assert find_fractures(pelvis.ct, pelvis.anatomy) == ()
    arc = pelvis.anatomy.require_level(Level.S1).lower_arc_mm
    ct, _ = cracked(pelvis, arc, 0.0, np.asarray(pelvis.anatomy.frame.tangent_at(arc)), gap_mm=2.5)
    central = [f for f in find_fractures(ct, pelvis.anatomy) if f.zone.value == 3]
    assert central == []


@pytest.mark.real
@pytest.mark.slow
def test_a_real_sound_sacrum_has_none() -> None:
    from sacroplasty.anatomy import segment
    from sacroplasty.io import read_ct, read_labels

    ct = read_ct(real("totalsegmentator/ct_3mm.nii.gz"), acknowledge=["SAC-G026", "SAC-G042"])
    anatomy = segment(ct, read_labels(real("totalsegmentator/labels_3mm.nii.gz")))
    assert find_fractures(ct, anatomy) == ()


def test_no_sacrum_is_refused(pelvis: Phantom) -> None:
    from dataclasses import replace

    labels = pelvis.anatomy.labels
    empty = LabelMap(np.zeros_like(labels.array), labels.grid, labels.names)
    with pytest.raises(AnatomyError, match="sacrum"):
        find_fractures(pelvis.ct, replace(pelvis.anatomy, labels=empty))
