"""The inside of the sacrum on phantoms with exact truth and on a real scan."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.anatomy import STRUCTURES, Anatomy, Face, fine_anatomy
from sacroplasty.anatomy.zones import zone_at
from sacroplasty.errors import AnatomyError, GeometryError
from sacroplasty.io import read_ct, read_labels
from sacroplasty.phantom import Phantom, build_phantom
from sacroplasty.plan import SACRAL_LEVELS, DenisZone, Level, Side, State
from sacroplasty.space import Grid, LabelMap, Mask, Volume
from tests.data import real

FIELD = ((-70.0, -35.0, -125.0), (70.0, 85.0, 30.0))
SHORT = ((-70.0, -35.0, -60.0), (70.0, 85.0, 30.0))


def network_labels(truth: Anatomy) -> tuple[LabelMap, Mask]:
    """The true sacrum as a network of 3 mm voxels makes it: small posterior foramina close."""
    spacing = np.asarray(truth.labels.grid.spacing_mm)
    blurred = ndimage.gaussian_filter(truth.labels.mask("sacrum").array.astype(np.float32), 1.0 / spacing)
    grid = Grid.aligned(*truth.labels.grid.bounds_mm, 3.0)
    array = np.asarray(Volume(blurred, truth.labels.grid, "1").resampled(grid, outside=0.0).array) > 0.5
    return LabelMap(array.astype(np.uint8), grid, STRUCTURES), Mask(np.ones(grid.shape, bool), grid)


@pytest.fixture(scope="module")
def norm() -> Phantom:
    return build_phantom(
        spacing_mm=(1.0, 1.0, 1.5), rotation_deg=(9.0, -6.0, 8.0), field_of_view_mm=FIELD, truth_spacing_mm=1.0
    )


@pytest.fixture(scope="module")
def found(norm: Phantom) -> Anatomy:
    labels, body = network_labels(norm.anatomy)
    return fine_anatomy(norm.ct, labels, body, source="a mask as of a 3 mm network")


@pytest.fixture(scope="module")
def cut() -> Anatomy:
    phantom = build_phantom(spacing_mm=1.2, field_of_view_mm=SHORT, truth_spacing_mm=1.2)
    return fine_anatomy(phantom.ct, phantom.anatomy.labels, phantom.anatomy.body, source="truth, cut below S2")


def test_every_anterior_foramen_is_found_at_its_level_and_side(norm: Phantom, found: Anatomy) -> None:
    for truth in norm.anatomy.foramina:
        if truth.face is not Face.ANTERIOR:
            continue
        own = found.foramen(truth.level, truth.side, truth.face)
        assert own is not None
        assert own.state is State.MEASURED
        assert np.linalg.norm(np.subtract(own.centre_mm, truth.centre_mm)) < 2.5, own.name
        assert np.dot(own.axis, truth.axis) > np.cos(np.deg2rad(30))


def test_posterior_foramina_of_the_upper_sacrum_are_not_guessed(norm: Phantom, found: Anatomy) -> None:
    for truth in norm.anatomy.foramina:
        if truth.face is Face.POSTERIOR and truth.level in {Level.S1, Level.S2}:
            own = found.foramen(truth.level, truth.side, truth.face)
            assert own is not None
            assert own.state in {State.MEASURED, State.REOPENED}
            assert np.linalg.norm(np.subtract(own.centre_mm, truth.centre_mm)) < 4.0, own.name


def test_sixteen_statements_none_on_the_wrong_side(found: Anatomy) -> None:
    assert len({f.name for f in found.foramina}) == 16
    for foramen in found.foramina:
        lateral = found.frame.coordinates(np.asarray(foramen.centre_mm))[1]
        assert bool(lateral > 0) is (foramen.side is Side.LEFT)


def test_frame_is_the_phantoms(norm: Phantom, found: Anatomy) -> None:
    truth = norm.anatomy.frame
    assert np.dot(found.frame.left, truth.left) > np.cos(np.deg2rad(1.0))
    assert np.linalg.norm(np.subtract(found.frame.origin_mm, truth.origin_mm)) < 4.0
    np.testing.assert_allclose(found.frame.axes @ found.frame.axes.T, np.eye(3), atol=1e-9)


def test_body_borders_follow_the_anterior_foramina(norm: Phantom, found: Anatomy) -> None:
    assert [level.level for level in found.levels] == list(SACRAL_LEVELS)
    for own, truth in zip(found.levels[:4], norm.anatomy.levels, strict=False):
        border = norm.anatomy.frame.points([truth.lower_arc_mm, 0.0, 0.0])
        assert found.frame.coordinates(border)[0] == pytest.approx(own.lower_arc_mm, abs=2.5)


def test_canal_hiatus_and_sac_lie_where_they_are(norm: Phantom, found: Anatomy) -> None:
    truth = norm.anatomy
    assert found.canal is not None
    assert found.hiatus is not None
    assert truth.hiatus is not None
    inside = truth.labels.mask("canal").contains(found.canal.centreline_mm[5:-3])
    assert inside.mean() > 0.95
    assert found.hiatus.state is State.MEASURED
    assert np.linalg.norm(np.subtract(found.hiatus.apex_mm, truth.hiatus.apex_mm)) < 5.0
    assert found.thecal_sac is not None
    assert found.thecal_sac.state is State.INFERRED
    assert found.labels.mask("canal").contains(np.asarray(found.thecal_sac.end_mm))


def test_lumens_are_taken_out_of_the_bone(found: Anatomy) -> None:
    for name in ("canal", "root_tunnel"):
        assert found.labels.mask(name).volume_ml > 2.0
    for course in found.roots:
        if course.level is Level.S1:
            labels = found.labels.at(course.points_mm[10:-20])
            assert np.isin(labels, [found.labels.values[n] for n in ("canal", "root_tunnel")]).mean() > 0.9


def test_roots_run_from_the_canal_through_their_foramen(found: Anatomy) -> None:
    assert {(r.level, r.side) for r in found.roots} >= {
        (level, side) for level in SACRAL_LEVELS[:4] for side in (Side.LEFT, Side.RIGHT)
    }
    for course in found.roots:
        if course.level is Level.L5:
            assert course.state is State.INFERRED
            continue
        foramen = found.foramen(course.level, course.side, Face.ANTERIOR)
        assert foramen is not None
        assert np.linalg.norm(course.points_mm - np.asarray(foramen.centre_mm), axis=1).min() < 2.5


def test_denis_zones_by_the_foramina(found: Anatomy) -> None:
    foramen = found.foramen(Level.S1, Side.LEFT, Face.ANTERIOR)
    assert foramen is not None
    arc, lateral, _ = found.frame.coordinates(np.asarray(foramen.centre_mm))
    places = found.frame.points([[arc, 0.0, 10.0], [arc, lateral, 5.0], [arc, -lateral - 14, 10.0]])
    assert zone_at(found, places).tolist() == [
        DenisZone.CENTRAL.value, DenisZone.FORAMINA.value, DenisZone.ALA.value,
    ]  # fmt: skip
    with pytest.raises(AnatomyError, match="Denis"):
        zone_at(found.with_(foramina=()), places)


def test_bone_maps_tell_cortex_and_marrow(found: Anatomy) -> None:
    density = np.asarray(found.maps["density_mg_cm3"].array)
    assert 20 < np.median(density[density > 0]) < 400
    assert found.measures["ventral_cortex_mm"] > 0


def test_a_cut_scan_says_so(cut: Anatomy) -> None:
    assert cut.hiatus is not None
    assert cut.hiatus.state is State.OUTSIDE
    codes = {finding.code for finding in cut.findings}
    assert {"SAC-A331", "SAC-A322"} <= codes
    for face in Face:
        foramen = cut.foramen(Level.S4, Side.LEFT, face)
        assert foramen is not None
        assert foramen.state is State.OUTSIDE
        assert foramen.confidence == 0.0
    s1 = cut.foramen(Level.S1, Side.RIGHT, Face.ANTERIOR)
    assert s1 is not None
    assert s1.state is State.MEASURED
    assert cut.require_level(Level.S1)
    with pytest.raises(AnatomyError, match="S5"):
        cut.require_level(Level.S5)


def test_nothing_that_is_no_sacrum_is_described() -> None:
    grid = Grid.aligned((0, 0, 0), (60, 60, 60), 1.5)
    ct = Volume(np.zeros(grid.shape, np.float32), grid)
    body = Mask(np.ones(grid.shape, bool), grid)
    with pytest.raises(AnatomyError, match="sacrum is empty"):
        fine_anatomy(ct, LabelMap(np.zeros(grid.shape, np.uint8), grid, STRUCTURES), body, source="")
    speck = np.zeros(grid.shape, np.uint8)
    speck[:9, :9, :9] = 1
    with pytest.raises(AnatomyError, match="too small"):
        fine_anatomy(ct, LabelMap(speck, grid, STRUCTURES), body, source="")
    ball = (np.linalg.norm(grid.centres_mm() - 30, axis=-1) < 24).astype(np.uint8)
    with pytest.raises(AnatomyError):
        fine_anatomy(ct, LabelMap(ball, grid, STRUCTURES), body, source="")
    other = Grid.aligned((0, 0, 0), (60, 60, 60), 2.0)
    with pytest.raises(GeometryError, match="one grid"):
        fine_anatomy(ct, LabelMap(ball, grid, STRUCTURES), Mask(np.ones(other.shape, bool), other), source="")


@pytest.mark.real
@pytest.mark.slow
def test_closed_foramina_of_a_network_label_are_reopened_from_the_scan() -> None:
    ct = read_ct(real("totalsegmentator/ct_3mm.nii.gz"), acknowledge=["SAC-G026", "SAC-G042"])
    given = read_labels(real("totalsegmentator/labels_3mm.nii.gz"))
    sacrum = Mask(np.asarray(given.array) == 14, given.grid)
    labels = LabelMap(sacrum.array.astype(np.uint8), given.grid, STRUCTURES)
    found = fine_anatomy(ct, labels, Mask(np.asarray(ct.array) > -300, ct.grid), source="TotalSegmentator label")
    states = {f.name: f.state for f in found.foramina}
    for side in (Side.LEFT, Side.RIGHT):
        assert states[f"S1 anterior foramen {side}"] is State.MEASURED
        assert states[f"S2 anterior foramen {side}"] is State.MEASURED
        assert states[f"S3 anterior foramen {side}"] is State.REOPENED
    # Read off the unrolled cortex of this scan by eye, to a voxel.
    s3 = found.foramen(Level.S3, Side.RIGHT, Face.ANTERIOR)
    assert s3 is not None
    np.testing.assert_allclose(found.frame.coordinates(np.asarray(s3.centre_mm))[:2], (78.5, -19.5), atol=3.0)
