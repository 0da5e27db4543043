"""Bones and body: found in real scans, completed from given labels, refused where the input contradicts itself."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from sacroplasty.anatomy import Face, fine_anatomy, neighbour_levels
from sacroplasty.anatomy.body import coarse_body, field_findings, fine_body, isotropic
from sacroplasty.anatomy.bones import BoneSegmentation, segment_bones
from sacroplasty.anatomy.confidence import Signs, level_findings, with_symmetry
from sacroplasty.anatomy.given_labels import checked, mapped, structure_of
from sacroplasty.anatomy.joints import VALUE, bridged_share, with_clefts
from sacroplasty.anatomy.neighbour_levels import (
    VERTEBRA_MM,
    best_level,
    disc_above,
    displaced,
    sacral_score,
    separation,
)
from sacroplasty.anatomy.pose import muscle_hu, pose_hypotheses
from sacroplasty.anatomy.shape_fit import Fit, Images, Round, fitted_shape, started
from sacroplasty.anatomy.shape_model import CAUDAL, HIP_LEFT, HIP_RIGHT, SACRUM, pelvis_model
from sacroplasty.anatomy.surroundings import endplate_plane
from sacroplasty.errors import AnatomyError
from sacroplasty.phantom import named_case
from sacroplasty.plan import Level, Severity, Side, State
from sacroplasty.space import Grid, LabelMap, Volume
from tests.data import canal_runs_through, real


def lps_image(path: str) -> tuple[np.ndarray, Grid]:
    """Array with axes along +x left, +y posterior, +z superior and its grid."""
    image = nibabel.load(real(path))
    array = np.asarray(image.dataobj)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    for axis in range(3):
        if affine[axis, axis] < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return np.ascontiguousarray(array), Grid.from_affine(array.shape, affine)


def hip_prosthesis_ct() -> Volume:
    array, grid = lps_image("totalsegmentator/ct_3mm.nii.gz")
    return Volume(array.astype(np.int16), grid)


def hip_prosthesis_labels() -> LabelMap:
    array, grid = lps_image("totalsegmentator/labels_3mm.nii.gz")
    lines = real("totalsegmentator/labels.txt").read_text().split("\n")
    names = {int(value): name for value, name in (line.split(maxsplit=1) for line in lines if line.strip())}
    return LabelMap(array.astype(np.uint8), grid, names)


@pytest.fixture(scope="module")
def found() -> BoneSegmentation:
    return segment_bones(hip_prosthesis_ct())


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "value", "least"),
    [
        (("sacrum", "coccyx"), 14, 0.90),
        (("hip_left",), 8, 0.91),
        (("hip_right",), 9, 0.91),
        (("l5",), 17, 0.78),
    ],
)
def test_bones_of_a_bare_ct_agree_with_labels_that_the_method_never_saw(found, names, value, least):
    given = hip_prosthesis_labels()
    on_given = np.isin(found.labels.resampled(given.grid).array, [VALUE[name] for name in names])
    field = found.labels.grid.contains(given.grid.centres_mm())
    assert dice(on_given & field, (given.array == value) & field) > least


@pytest.mark.real
@pytest.mark.slow
def test_joints_of_a_bare_ct_are_open_and_metal_is_named(found):
    for other in ("hip_left", "hip_right", "l5"):
        assert bridged_share(found.labels.array, VALUE["sacrum"], VALUE[other]) < 0.02
    assert any(finding.code == "SAC-A106" for finding in found.findings)
    assert found.labels.has("si_joint_left")
    assert found.labels.has("si_joint_right")


@pytest.mark.real
@pytest.mark.slow
def test_anterior_foramina_of_a_deeply_curved_sacrum_do_not_run_together(found):
    """Arc lengths as read from the CT: between the foramina lie bars of bone at 50, 71 and 84 mm."""
    anatomy = fine_anatomy(hip_prosthesis_ct(), found.labels, found.body, source="bare CT")
    assert canal_runs_through(anatomy)
    for level, arc_mm in ((Level.S1, 41.0), (Level.S2, 60.0), (Level.S3, 77.0)):
        for side in (Side.LEFT, Side.RIGHT):
            foramen = anatomy.foramen(level, side, Face.ANTERIOR)
            assert foramen.state is State.MEASURED
            assert anatomy.frame.coordinates(np.asarray(foramen.centre_mm))[0] == pytest.approx(arc_mm, abs=4.0)


@pytest.mark.real
@pytest.mark.slow
def test_the_body_holds_the_bones_and_not_the_table(found):
    bones = np.isin(found.labels.array, [VALUE[n] for n in ("sacrum", "hip_left", "hip_right", "l5")])
    assert (bones & ~found.body.array).sum() == 0
    skin = np.flatnonzero(found.body.array.any(axis=(0, 2)))[-1]
    values = np.asarray(found.ct.array)[:, skin]
    assert values[found.body.array[:, skin]].mean() > -300


@pytest.mark.real
def test_given_labels_are_kept_and_completed():
    ct, given = hip_prosthesis_ct(), hip_prosthesis_labels()
    result = segment_bones(ct, given)
    assert result.source == "given labels"
    back = result.labels.resampled(given.grid).array
    field = result.labels.grid.contains(given.grid.centres_mm())
    assert dice((back == VALUE["sacrum"]) & field, (given.array == 14) & field) > 0.95
    assert bridged_share(result.labels.array, VALUE["sacrum"], VALUE["hip_left"]) < 0.02
    assert result.labels.has("iliac_vein_left")
    assert any(finding.code == "SAC-A110" for finding in result.findings)


@pytest.mark.real
def test_swapped_sides_are_refused():
    given = hip_prosthesis_labels()
    names = {**given.names, 8: "hip_right", 9: "hip_left"}
    with pytest.raises(AnatomyError, match="hip_left does not lie on the patient's left"):
        segment_bones(hip_prosthesis_ct(), LabelMap(given.array, given.grid, names))


@pytest.mark.real
def test_labels_shifted_off_the_bone_are_a_finding():
    given, ct = hip_prosthesis_labels(), hip_prosthesis_ct()
    affine = np.array(given.grid.affine_lps)
    affine[1, 3] -= 60.0
    moved = LabelMap(given.array, Grid.from_affine(given.grid.shape, affine), given.names)
    findings = checked(mapped(moved)[0], ct)
    assert {"sacrum"} <= {finding.structure for finding in findings if finding.code == "SAC-A111"}
    assert not checked(mapped(given)[0], ct)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("sacrum", "sacrum"),
        ("vertebrae_S1", "sacrum"),
        ("vertebrae_L5", "l5"),
        ("hip_left", "hip_left"),
        ("Left hip bone", "hip_left"),
        ("right hip", "hip_right"),
        ("iliac_vena_left", "iliac_vein_left"),
        ("iliac_artery_right", "iliac_artery_right"),
        ("urinary_bladder", "bladder"),
        ("inferior_vena_cava", "vena_cava"),
        ("L5 vertebra", "l5"),
        ("gluteus_maximus_left", None),
        ("hip", None),
        ("vertebrae_L3", None),
    ],
)
def test_names_of_other_programs(name, structure):
    assert structure_of(name) == structure


def test_labels_without_a_sacrum_are_refused():
    grid = Grid.from_affine((4, 4, 4), np.eye(4))
    with pytest.raises(AnatomyError, match="name no sacrum"):
        mapped(LabelMap(np.ones((4, 4, 4), np.uint8), grid, {1: "liver"}))
    with pytest.raises(AnatomyError, match="has no voxels"):
        mapped(LabelMap(np.zeros((4, 4, 4), np.uint8), grid, {1: "sacrum"}))


def test_a_box_without_a_body_is_refused():
    with pytest.raises(AnatomyError, match="No body"):
        segment_bones(
            Volume(np.full((40, 40, 40), -1000, np.int16), Grid.from_affine((40, 40, 40), np.diag([4.0, 4, 4, 1])))
        )


def test_a_body_without_a_pelvis_is_refused():
    array = np.full((80, 80, 80), -1000, np.int16)
    place = np.indices(array.shape) - 40
    array[(place**2).sum(axis=0) < 30**2] = 40
    array[(place[:2] ** 2).sum(axis=0) < 6**2] = 600
    with pytest.raises(AnatomyError, match="No pelvis"):
        segment_bones(Volume(array, Grid.from_affine(array.shape, np.diag([4.0, 4, 4, 1]))))


def test_touching_bones_are_parted_by_a_cleft():
    labels = np.zeros((30, 20, 20), np.uint8)
    labels[5:15] = VALUE["sacrum"]
    labels[15:25] = VALUE["hip_left"]
    parted = with_clefts(labels, 1.0)
    assert bridged_share(labels, VALUE["sacrum"], VALUE["hip_left"]) > 0.2
    assert bridged_share(parted, VALUE["sacrum"], VALUE["hip_left"]) == 0
    assert (parted[14] == VALUE["si_joint_left"]).all()
    assert (parted[15:25] == VALUE["hip_left"]).all()


def test_a_gap_between_bones_is_cleft_but_not_the_space_around():
    labels = np.zeros((40, 30, 30), np.uint8)
    labels[5:15, 5:25, 5:25] = VALUE["sacrum"]
    labels[18:28, 5:25, 5:25] = VALUE["hip_right"]
    parted = with_clefts(labels, 1.0)
    cleft = parted == VALUE["si_joint_right"]
    assert cleft[15:18, 6:24, 6:24].all()
    assert not cleft[:15].any()
    assert not cleft[28:].any()
    assert cleft[15:18].sum() == cleft.sum()


def test_the_pelvis_model_is_closed_and_on_its_sides():
    model = pelvis_model()
    assert model.mean_mm[model.part == HIP_LEFT, 0].mean() > 40
    assert model.mean_mm[model.part == HIP_RIGHT, 0].mean() < -40
    grid = Grid.aligned(model.mean_mm.min(axis=0) - 4, model.mean_mm.max(axis=0) + 4, 2.0)
    volume_ml = {part: model.part_mask(model.mean_mm, part, grid).sum() * 0.008 for part in range(4)}
    assert 90 < volume_ml[SACRUM] < 260
    assert 10 < volume_ml[CAUDAL] < 60
    assert 0.9 < volume_ml[HIP_LEFT] / volume_ml[HIP_RIGHT] < 1.1


def lying_body(pad_hu: int) -> tuple[np.ndarray, Grid]:
    """An elliptic body on a thin table in noisy air, with padding right of x = -90 mm; 3 mm voxels."""
    grid = Grid.aligned((-180, -120, 0), (180, 120, 60), 3.0)
    place = grid.centres_mm()
    noise = np.random.default_rng(0).normal(0, 8, grid.shape)
    inside = (place[..., 0] / 150) ** 2 + (place[..., 1] / 90) ** 2 < 1
    array = np.where(inside, 40.0, -1000.0) + noise
    array[(np.abs(place[..., 1] - 100) < 3) & (np.abs(place[..., 0]) < 120)] = 0
    array[place[..., 0] < -90] = pad_hu
    return np.clip(array, -1024, 3000).astype(np.int16), grid


def test_the_body_is_without_the_table_and_cut_where_nothing_was_scanned():
    array, grid = lying_body(pad_hu=-1024)
    body = coarse_body(Volume(array, grid))
    place = body.ct.grid.centres_mm()
    true = ((place[..., 0] / 150) ** 2 + (place[..., 1] / 90) ** 2 < 1) & (place[..., 0] >= -90)
    assert dice(body.inside, true) > 0.98
    assert not body.inside[place[..., 1] > 95].any()
    (finding,) = field_findings(body)
    assert finding.code == "SAC-A101"
    assert "the right side" in finding.message


def test_air_beside_the_body_is_not_a_cut_field():
    array, grid = lying_body(pad_hu=-1024)
    noise = np.random.default_rng(1).normal(-1000, 12, grid.shape)
    air = grid.centres_mm()[..., 0] < -90
    array = np.where(air, np.maximum(noise, -1024), array).astype(np.int16)
    body = coarse_body(Volume(array, grid))
    assert body.scanned.mean() > 0.99
    assert field_findings(body) == ()


def test_a_sheet_that_touches_the_skin_is_not_body():
    grid = Grid.aligned((-100, -80, 0), (100, 80, 44), 1.0)
    place = grid.centres_mm()
    true = (place[..., 0] / 90) ** 2 + (place[..., 1] / 60) ** 2 < 1
    array = np.where(true, 40, -1000).astype(np.int16)
    array[(place[..., 1] >= 59) & (place[..., 1] <= 62)] = -200
    ct = Volume(array, grid)
    found = fine_body(ct, coarse_body(ct))
    assert dice(found, true) > 0.99
    assert not found[:40].any(axis=(0, 2))[-22:].any()


def test_a_sacrum_laid_on_the_neighbouring_vertebra_is_not_believed():
    # A fit that hardly leads over the one a vertebra away, and one that leads clearly.
    wrong = Signs(marrow_contrast_hu=80.0, level_score=0.21, level_runner_up=0.20, l5_filled=1.0)
    right = Signs(marrow_contrast_hu=80.0, level_score=0.40, level_runner_up=0.21, l5_filled=1.0)
    assert wrong.level < 0.1
    assert right.level == 1.0
    assert [f.code for f in level_findings(wrong)] == ["SAC-A107"]
    assert level_findings(wrong)[0].severity is Severity.WARNING
    assert level_findings(right) == ()


def test_a_hollow_l5_is_said_to_be_none():
    (finding,) = level_findings(Signs(80.0, 0.6, 0.2, l5_filled=0.4))
    assert finding.code == "SAC-A108"
    assert finding.structure == "l5"


def test_uneven_halves_lower_the_sacrum_alone():
    before = {"sacrum": 1.0, "l5": 0.9}
    assert with_symmetry(before, 2.4) == before
    assert with_symmetry(before, 6.0) == {"sacrum": 0.5, "l5": 0.9}


@pytest.mark.parametrize("bone_hu", [250.0, 20.0])
def test_only_a_fit_with_bone_inside_and_none_around_is_well_separated(bone_hu):
    """Marrow darker than muscle tells the bone as well as bright marrow does."""
    model = pelvis_model()
    vertices = model.mean_mm
    grid = Grid.aligned(vertices.min(axis=0) - 20, vertices.max(axis=0) + 20, 2.0)
    array = np.random.default_rng(0).normal(60, 12, grid.shape).astype(np.float32)
    for part in (SACRUM, CAUDAL, HIP_LEFT, HIP_RIGHT):
        array[model.part_mask(vertices, part, grid)] += bone_hu - 60
    images = Images(Volume(array, grid), 60.0)
    right = separation(images, model, vertices)
    assert right > 0.4
    for shift in ((0, 0, VERTEBRA_MM), (0, 0, -VERTEBRA_MM), (0, 15, 0)):
        assert separation(images, model, vertices + shift) < 0.6 * right
    assert separation(images, model, vertices + np.array([0, 0, 900])) == 0.0


def test_a_disc_settles_the_height_but_not_the_doubt(monkeypatch):
    """Three heights that edges and brightness tell nothing about; only the lowest has a disc above it."""
    model = pelvis_model()
    start = Fit(model.mean_mm, 1.0, 1.0, np.zeros(model.mode_count), np.eye(3), np.zeros(3))
    centre, up = endplate_plane(model, start.vertices_mm)

    def height(vertices) -> float:
        return float((endplate_plane(model, vertices)[0] - centre) @ up)

    monkeypatch.setattr(neighbour_levels, "fitted_shape", lambda _images, _model, fit, *_: fit)
    monkeypatch.setattr(neighbour_levels, "level_score", lambda *_: 0.2)
    monkeypatch.setattr(neighbour_levels, "disc_above", lambda _images, _model, vertices: float(height(vertices) < -20))
    chosen = best_level(None, model, start)
    assert height(chosen.fit.vertices_mm) < -20
    assert chosen.score == chosen.runner_up == pytest.approx(0.2)


@pytest.fixture(scope="module")
def right_fit() -> tuple[Images, Fit]:
    """The scan with the prosthesis, and the pelvis laid into it as it should be."""
    ct, model = hip_prosthesis_ct(), pelvis_model()
    body = coarse_body(ct)
    images = Images(isotropic(ct, 2.0), muscle_hu(body))
    start = started(model, pose_hypotheses(body, images.muscle_hu, model, keep=1)[0])
    return images, fitted_shape(images, model, start)


@pytest.mark.real
def test_above_a_fit_one_vertebra_too_low_there_is_no_disc(right_fit):
    (images, right), model = right_fit, pelvis_model()
    low = displaced(model, right, -VERTEBRA_MM)
    assert disc_above(images, model, right.vertices_mm) > 0.9
    assert disc_above(images, model, low.vertices_mm) < 0.5
    assert disc_above(images, model, low.vertices_mm + np.array([0, 0, 900])) == 1.0


@pytest.mark.real
def test_a_fit_one_vertebra_too_high_is_found_out_and_put_right(right_fit):
    (images, right), model = right_fit, pelvis_model()
    high = fitted_shape(images, model, displaced(model, right, VERTEBRA_MM), (Round(10, 1.2, 5, 8, 2.0, 4),))
    assert sacral_score(images, model, high.vertices_mm) < 0.7 * sacral_score(images, model, right.vertices_mm)
    assert separation(images, model, high.vertices_mm) < 0.7 * separation(images, model, right.vertices_mm)
    chosen = best_level(images, model, high)
    centre, up = endplate_plane(model, right.vertices_mm)
    assert abs((endplate_plane(model, high.vertices_mm)[0] - centre) @ up) > 12
    assert abs((endplate_plane(model, chosen.fit.vertices_mm)[0] - centre) @ up) < 5
    assert chosen.runner_up < chosen.score


@pytest.mark.slow
def test_the_osteoporotic_case_is_found_from_its_bare_ct():
    case = named_case("yeo", spacing_mm=(0.8, 0.8, 1.0))
    bones = segment_bones(case.ct)
    truth = case.anatomy.labels.mask("sacrum").resampled(bones.labels.grid).array
    assert dice(np.isin(bones.labels.array, [VALUE["sacrum"], VALUE["coccyx"]]), truth) > 0.9
    # Porous bone in a field that cuts the ilia is found, but not called sure.
    assert bones.confidences["sacrum"] < 0.9
