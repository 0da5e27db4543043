"""2D/3D registration and the needle's tip, on synthetic bone whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy import Radiograph, Tissues, View, alignment, render
from sacroplasty.fluoroscopy.alignment import Alignment, Unknown, rigid
from sacroplasty.fluoroscopy.landmarks import pose_from_landmarks
from sacroplasty.fluoroscopy.registration import bone_volume, register
from sacroplasty.fluoroscopy.search import Search, minimised
from sacroplasty.fluoroscopy.sighting import Sighting, detected, fall_beyond_tip, sighted
from sacroplasty.fluoroscopy.similarity import Likeness
from sacroplasty.fluoroscopy.sketch import Sketch
from sacroplasty.fluoroscopy.tip import Advice, deviation, triangulated
from sacroplasty.space import Grid, Mask, Volume
from tests.fluoroscopy.scene import AP, ARM, LEFT_LATERAL, needle, view

CENTRE = (0.0, 0.0, 0.0)
FINE = ARM.with_pixels(256)
NOMINAL = (View(FINE, *AP, CENTRE, name="AP"), View(FINE, *LEFT_LATERAL, CENTRE, name="lateral"))
GRID_POINTS = np.stack(np.meshgrid(*[[-40.0, 0.0, 40.0]] * 3), axis=-1).reshape(-1, 3)


def bony(seed=4):
    """A body of water with rods and shells of bone, HU."""
    grid = Grid.aligned([-90, -70, -80], [90, 70, 80], 3.0)
    points = grid.centres_mm()
    hu = np.where((points[..., 0] / 88) ** 2 + (points[..., 1] / 68) ** 2 < 1, 20.0, -1000.0)
    rng = np.random.default_rng(seed)
    for _ in range(14):
        centre, radii = rng.uniform(-45, 45, 3), rng.uniform(8, 22, 3)
        distance = np.sqrt((((points - centre) / radii) ** 2).sum(axis=-1))
        hu = np.where(distance < 1, 250.0, hu)
        hu = np.where(np.abs(distance - 1) < 0.15, 900.0, hu)
    return Volume(hu.astype(np.float32), grid)


@pytest.fixture(scope="module")
def tissues():
    return Tissues.of(bony())


def taken(tissues, truth, placed=(), nominal=NOMINAL, seed=1):
    """Shots of a patient who lies at `truth`, carrying the nominal views."""
    shots = []
    for n, posed in enumerate(nominal):
        image = render(tissues, posed.registered(truth), placed, seed=seed + n)
        shots.append(Radiograph(image.signal, posed))
    return shots


def target_error(found, truth):
    return float(np.linalg.norm(found.points(GRID_POINTS) - truth.points(GRID_POINTS), axis=1).mean())


@pytest.mark.slow
def test_two_shots_with_a_needle_find_the_patient(tissues):
    truth = rigid([4.0, -5.0, 3.0, 9.0, -7.0, 6.0], CENTRE)
    shots = taken(tissues, truth, [needle((5.0, 0.0, 0.0), (50.0, 80.0, 20.0))])
    found = register(bone_volume(bony(), CENTRE), shots)
    assert found.accepted
    assert target_error(found.rig_from_patient, truth) < 1.0
    assert "accepted" in found.sentence
    error = found.rig_from_patient.points(CENTRE) - truth.points(CENTRE)
    assert error @ np.linalg.solve(found.covariance_at(CENTRE), error) < 25


@pytest.mark.slow
def test_the_gate_refuses_another_patient(tissues):
    shots = taken(Tissues.of(bony(seed=77)), rigid([0, 0, 0, 0, 0, 0], CENTRE))
    found = register(bone_volume(bony(), CENTRE), shots, restarts=0)
    assert not found.accepted
    assert "do not use" in found.sentence


def test_landmarks_give_the_first_pose():
    truth = rigid([12.0, -20.0, 8.0, 30.0, -25.0, 14.0], CENTRE)
    points = np.array([[30.0, 10, 20], [-30, 12, 25], [0, 40, -30], [5, -30, 0]])
    clicks = [v.registered(truth).detector_from_patient.points(points) for v in NOMINAL]
    clicks[0][3] = np.nan
    found = pose_from_landmarks(NOMINAL, points, clicks)
    assert target_error(found, truth) < 0.01
    with pytest.raises(InputError, match="Three clicked"):
        pose_from_landmarks(NOMINAL, points[:2], [c[:2] for c in clicks])
    with pytest.raises(InputError, match="one click"):
        pose_from_landmarks(NOMINAL, points, clicks[:1])


def test_search_finds_a_tilted_valley_and_repeats():
    def cost(x):
        return float((x[0] - 2) ** 2 + 30 * (x[1] - 0.5 * x[0]) ** 2)

    first, second = (minimised(cost, np.zeros(2), Search(np.full(2, 2.0), iterations=60), 3) for _ in range(2))
    assert first[1] == pytest.approx([2.0, 1.0], abs=0.1)
    assert np.array_equal(first[1], second[1])


def test_likeness_is_zero_for_itself_and_blind_to_gain_and_slow_haze():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.standard_normal((96, 96)), 2).astype(np.float32)
    like = Likeness(image)
    assert like.mismatch(image) < 1e-6
    haze = np.linspace(0, 0.02, 96, dtype=np.float32)[None, :]
    assert like.mismatch(1.7 * image + haze) < 0.02
    other = ndimage.gaussian_filter(rng.standard_normal((96, 96)), 2).astype(np.float32)
    assert like.mismatch(other) > 0.8


def test_agreement_tells_a_shift_of_three_pixels_from_clutter():
    rng = np.random.default_rng(0)
    image, clutter, other = (
        ndimage.gaussian_filter(rng.standard_normal((128, 128)), 2).astype(np.float32) for _ in range(3)
    )
    like = Likeness(image + 0.7 * clutter)
    assert like.agreement(image) > 0.8
    assert like.agreement(np.roll(image, 3, axis=1)) < 0.2
    assert like.agreement(other) < 0.35
    assert Likeness(np.ones((20, 20), np.float32)).agreement(np.ones((20, 20), np.float32)) == 0.0


@pytest.mark.parametrize("scale", [False, True])
def test_the_sketch_of_the_search_shows_what_the_projector_shows(tissues, scale):
    shots = [Radiograph(np.ones((128, 128), np.float32), v.with_(carm=ARM)) for v in NOMINAL]
    start = rigid([2.0, 1.0, -3.0, 4.0, -2.0, 1.0], CENTRE)
    level = Alignment(bone_volume(bony(), CENTRE), shots, start, CENTRE, pixels=64, unknown=Unknown(scale=scale))
    p = np.array([3.0, -2.0, 4.0, 5.0, 6.0, -7.0, 0.04])[: level.count]
    for n, image in enumerate(Sketch(level).images(p)):
        exact = level.image(p, n)
        assert np.corrcoef(image.ravel(), exact.ravel())[0, 1] > 0.999


def test_a_step_tried_too_far_is_a_machine_still():
    """Least squares may try a distance below nothing; it must cost much, not end the registration."""
    scaled = Unknown(scale=True)
    start = rigid(np.zeros(6), CENTRE)
    far = alignment.posed(np.array([0, 0, 0, 0, 0, 0, -2.0]), NOMINAL[0], 0, scaled, start, CENTRE)
    assert far.carm.source_detector_mm > far.carm.source_isocentre_mm
    near = alignment.posed(np.array([0, 0, 0, 0, 0, 0, -0.05]), NOMINAL[0], 0, scaled, start, CENTRE)
    assert near.carm.source_detector_mm == pytest.approx(0.95 * FINE.source_detector_mm)


@pytest.mark.slow
def test_a_wrong_source_detector_distance_is_found(tissues):
    """Five per cent off moves a point 30 mm from the middle by 1.5 mm; most of it is found, held back by its prior."""
    wrong = [v.with_(carm=replace(FINE, source_detector_mm=FINE.source_detector_mm * 0.95)) for v in NOMINAL]
    truth = rigid([3.0, -2.0, 4.0, 6.0, -5.0, 8.0], CENTRE)
    shots = [
        Radiograph(render(tissues, v.registered(truth), seed=n).signal, w)
        for n, (v, w) in enumerate(zip(NOMINAL, wrong, strict=True))
    ]
    found = register(bone_volume(bony(), CENTRE), shots, calibrated=False)
    assert found.accepted
    for one, true in zip(found.views, NOMINAL, strict=True):
        left_mm = abs(one.carm.source_detector_mm - FINE.source_detector_mm)
        assert left_mm < 0.3 * abs(wrong[0].carm.source_detector_mm - FINE.source_detector_mm)
        seen = one.detector_from_patient.points(GRID_POINTS)
        drawn = true.registered(truth).detector_from_patient.points(GRID_POINTS)
        assert np.linalg.norm(seen - drawn, axis=1).max() * FINE.isocentre_pixel_mm < 0.7


TRUE_NEEDLE = needle((4.0, -6.0, 9.0), (38.0, 62.0, 26.0))


def clicks_on(posed, placed, miss=(1.5, -1.0)):
    uv = posed.detector_from_patient.points(
        [placed.tip_mm, placed.trajectory.point_at(placed.trajectory.length_mm - 35)]
    )
    return uv[0] + miss, uv[1] - miss


@pytest.mark.parametrize("auto", [False, True])
def test_tip_from_two_shots_is_found_to_a_millimetre(tissues, auto):
    sightings = []
    for posed in (v.with_(carm=ARM.with_pixels(512)) for v in NOMINAL):
        shot = render(tissues, posed, [TRUE_NEEDLE], seed=9)
        sighting = (
            detected(shot, needle((8.0, -2.0, 6.0), (40.0, 60.0, 30.0)))
            if auto
            else sighted(shot, *clicks_on(posed, TRUE_NEEDLE))
        )
        assert sighting is not None
        sightings.append(sighting)
    pose = triangulated(sightings, expected=TRUE_NEEDLE)
    error = np.linalg.norm(np.subtract(pose.tip_mm, TRUE_NEEDLE.tip_mm))
    assert error < 0.5
    assert pose.covers(TRUE_NEEDLE.tip_mm)
    assert np.degrees(np.arccos(np.dot(pose.direction, TRUE_NEEDLE.trajectory.direction))) < 1.0
    assert 0.2 < pose.radius_95_mm < 3


def test_darkness_reaches_beyond_an_end_seen_obliquely():
    """None across the beam; the more the needle points along it, the farther, up to the width of its face."""
    posed = View(ARM.with_pixels(512), *AP, CENTRE)
    across, oblique, steep = (needle((0.0, 0.0, 0.0), entry) for entry in ((80, 0, 5), (60, 60, 0), (35, 80, 0)))
    found = [fall_beyond_tip(posed, placed) * posed.carm.isocentre_pixel_mm for placed in (across, oblique, steep)]
    assert abs(found[0]) < 0.1
    assert found[0] + 0.1 < found[1] < found[2] < TRUE_NEEDLE.needle.radius_mm
    assert fall_beyond_tip(posed, needle((0.0, 0.0, 0.0), (0.5, 80.0, 0.0))) == 0.0


def test_no_needle_is_no_sighting(tissues):
    for posed in NOMINAL:
        assert detected(render(tissues, posed, seed=2), TRUE_NEEDLE) is None


def test_covariance_covers_what_it_says():
    """Gaussian pixel errors of the stated size: the 95 % ellipsoid holds the truth in 93 to 97 % of draws."""
    rng = np.random.default_rng(1)
    inside = 0
    count = 2000
    for _ in range(count):
        sightings = []
        for posed in NOMINAL:
            tip, shaft = posed.detector_from_patient.points([TRUE_NEEDLE.tip_mm, TRUE_NEEDLE.trajectory.point_at(20)])
            along = (shaft - tip) / np.linalg.norm(shaft - tip)
            wrong = rng.normal(0, 1.2) * along + rng.normal(0, 0.4) * np.array([-along[1], along[0]])
            sightings.append(Sighting(posed, tuple(tip + wrong), tuple(shaft), 1.2, 0.4))
        pose = triangulated(sightings)
        moved = np.asarray(TRUE_NEEDLE.tip_mm) + rng.normal(0, 0.15, 3)  # the geometry term
        inside += pose.covers(moved)
    assert 0.93 < inside / count < 0.97


def test_alike_views_and_single_views_are_refused():
    near = NOMINAL[0].turned(primary_deg=5)
    sightings = [Sighting(v, (10.0, 10.0), (40.0, 40.0), 1.0, 1.0) for v in (NOMINAL[0], near)]
    with pytest.raises(InputError, match="too alike"):
        triangulated(sightings)
    with pytest.raises(InputError, match="two views"):
        triangulated(sightings[:1])
    with pytest.raises(InputError, match="too near"):
        sighted(Radiograph(np.ones((128, 128), np.float32), view(AP)), (3, 3), (5, 5))
    with pytest.raises(InputError, match="one shot"):
        register(bony(), [])


def exact(placed):
    sightings = []
    for posed in NOMINAL:
        tip, shaft = posed.detector_from_patient.points([placed.tip_mm, placed.trajectory.point_at(20)])
        sightings.append(Sighting(posed, tuple(tip), tuple(shaft), 0.3, 0.3))
    return triangulated(sightings)


def test_deviation_speaks_and_lesion_counts_in_every_view():
    plan = needle((4.0, -6.0, 9.0), (38.0, 62.0, 26.0))
    path = plan.trajectory
    half_way = exact(needle(tuple(path.point_at(50.0)), path.entry_mm))
    on_way = deviation(half_way, plan)
    assert on_way.advice is Advice.CONTINUE
    assert on_way.remaining_mm == pytest.approx(path.length_mm - 50, abs=0.01)
    aside = exact(
        needle(tuple(path.point_at(50.0) + np.array([8.0, 0, 0])), tuple(path.point_at(0.0) + np.array([8.0, 0, 0])))
    )
    assert deviation(aside, plan).advice is Advice.CORRECT
    assert deviation(aside, plan).lateral_mm > 5
    deep = exact(needle(tuple(path.point_at(path.length_mm + 6)), path.entry_mm))
    assert deviation(deep, plan).sentence.startswith("Stop: the tip is beyond")
    near = deviation(half_way, plan, clearance=lambda points: (1.5, "S1 root right"))
    assert near.advice is Advice.STOP
    assert "S1 root right" in near.sentence
    assert near.clearance_bound_mm < near.clearance_mm
    grid = Grid.aligned([-20] * 3, [20] * 3, 1.0)
    ball = Mask(np.linalg.norm(grid.centres_mm() - np.array(path.target_mm), axis=-1) < 8, grid)
    arrived = deviation(exact(plan), plan, lesion=ball, views=NOMINAL)
    assert arrived.inside_lesion
    assert "every view" in arrived.sentence
    assert deviation(half_way, plan, lesion=ball, views=NOMINAL).inside_lesion is False
