"""Signs and geometry of a view, told by anatomical sides."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacroplasty.errors import InputError
from sacroplasty.fluoroscopy import CArm, PatientPosition, View, angles_of, console_angles, view_from_console
from sacroplasty.fluoroscopy.view import direction_of
from sacroplasty.space import Frame, Transform
from tests.fluoroscopy.scene import ARM, POSES, view

LEFT, BACK, HEAD = np.eye(3) * 30.0


@pytest.mark.parametrize(
    ("angles", "towards"),
    [((0, 0), -BACK), ((90, 0), LEFT), ((-90, 0), -LEFT), ((180, 0), BACK), ((0, 80), HEAD), ((0, -80), -HEAD)],
)
def test_detector_stands_on_the_named_side_of_the_patient(angles, towards):
    ahead = view(angles).ahead
    assert ahead @ towards / 30 == pytest.approx(math.cos(math.radians(10 if angles[1] else 0)), abs=1e-9)


def test_ap_of_a_prone_patient_shows_left_on_the_right_of_the_source_and_head_up():
    uv = view((180, 0)).detector_from_patient.points([[0, 0, 0], LEFT, HEAD])
    assert uv[1, 0] > uv[0, 0] + 10
    assert uv[2, 1] < uv[0, 1] - 10
    assert uv[0] == pytest.approx([(ARM.columns - 1) / 2, (ARM.rows - 1) / 2])


def test_lateral_magnifies_the_side_of_the_source():
    """Detector at the patient's left: a right-sided needle looks larger than a left-sided one."""
    lateral = view((90, 0))
    width = [np.ptp(lateral.detector_from_patient.points([side - BACK, side + BACK])[:, 0]) for side in (LEFT, -LEFT)]
    assert width[1] > width[0] * 1.05


def test_cranial_tilt_throws_what_is_dorsal_towards_the_feet():
    """Prone, detector tilted to the head (outlet): the ray climbs, so a dorsal point looks lower than a ventral one."""
    outlet = view((180, 40)).detector_from_patient.points([-BACK, BACK])
    inlet = view((180, -25)).detector_from_patient.points([-BACK, BACK])
    assert outlet[1, 1] > outlet[0, 1]
    assert inlet[1, 1] < inlet[0, 1]


def test_oblique_towards_the_left_separates_by_depth():
    """Detector behind and to the left (prone): the ray runs left as it runs back."""
    uv = view((150, 0)).detector_from_patient.points([-BACK, BACK])
    assert uv[1, 0] < uv[0, 0]


@pytest.mark.parametrize(
    ("position", "detector", "label"),
    [
        ("HFS", (12, 28), "LAO 12 / CRA 28 (patient supine, head first)"),
        ("HFP", (180 + 12, 28), "LAO 12 / CRA 28 (patient prone, head first)"),
        ("HFP", (180, 0), "LAO 0 / CRA 0 (patient prone, head first)"),
        ("HFP", (90, 0), "RAO 90 / CRA 0 (patient prone, head first)"),
        ("FFP", (180, 30), "LAO 0 / CAU 30 (patient prone, feet first)"),
        ("FFS", (12, 0), "RAO 12 / CRA 0 (patient supine, feet first)"),
        ("HFDR", (90, 0), "LAO 0 / CRA 0 (patient right side down, head first)"),
        ("HFDL", (-90, 0), "LAO 0 / CRA 0 (patient left side down, head first)"),
    ],
)
def test_console_shows_what_the_machine_counts(position, detector, label):
    assert View(ARM, *detector, (0, 0, 0), PatientPosition(position)).angles_label == label


def test_prone_console_lao_leans_over_the_patients_right():
    prone = view_from_console(ARM, 30, 0, (0, 0, 0), PatientPosition.HFP)
    assert prone.ahead @ LEFT < -10
    assert prone.ahead @ BACK > 10
    assert "right" in prone.tilt_words
    assert "back" in prone.tilt_words


@pytest.mark.parametrize(
    ("console", "words"),
    [
        ((0, 0), "detector at the patient's back"),
        ((90, 0), "detector at the patient's right"),
        ((20, 10), "detector at the patient's back, leaning 20° towards the right and 10° towards the head"),
        ((0, -30), "detector at the patient's back, leaning 30° towards the feet"),
    ],
)
def test_the_tilt_is_a_sentence(console, words):
    assert view_from_console(ARM, *console, (0, 0, 0), PatientPosition.HFP).tilt_words == words


@given(
    st.floats(-179, 180),
    st.floats(-80, 80),
    st.sampled_from(list(PatientPosition)),
    st.tuples(*[st.floats(-200, 200)] * 3),
)
def test_console_round_trip(primary, secondary, position, isocentre):
    original = View(ARM, primary, secondary, isocentre, position)
    if abs(console_angles(original)[1]) > 84:
        return
    again = view_from_console(ARM, *console_angles(original), isocentre, position)
    assert np.allclose(again.ahead, original.ahead, atol=1e-9)
    assert np.allclose(angles_of(direction_of(primary, secondary)), (primary, secondary), atol=1e-6)


@given(st.floats(-179, 180), st.floats(-80, 80), st.tuples(*[st.floats(-60, 60)] * 3))
def test_camera_is_rigid_and_pixels_invert(primary, secondary, point):
    posed = view((primary, secondary), (5.0, -20.0, 300.0))
    rotation = posed.camera_from_patient.matrix[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    place = np.asarray(point) + np.array([5.0, -20.0, 300.0])
    uv = posed.detector_from_patient.points(place)
    ray = posed.rays(uv)
    offset = place - posed.source_mm
    assert np.linalg.norm(np.cross(offset, ray)) < 1e-6
    assert np.allclose(posed.detector_from_patient.points(posed.detector_points_mm(uv)), uv, atol=1e-6)


@pytest.mark.parametrize("angles", POSES)
def test_projection_agrees_with_an_independent_pinhole(angles):
    """Source, detector plane and in-plane axes built from Euler angles, not from the view."""
    p, s = np.radians(angles)
    turn = np.array([[math.cos(p), -math.sin(p), 0], [math.sin(p), math.cos(p), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, math.cos(s), math.sin(s)], [0, -math.sin(s), math.cos(s)]])
    ahead, right, down = (turn @ tilt @ np.array(axis) for axis in ((0, -1, 0), (-1, 0, 0), (0, 0, -1)))
    isocentre = np.array([3.0, 40.0, -900.0])
    source = isocentre - ARM.source_isocentre_mm * ahead
    for offset in itertools.product((-40, 25), repeat=3):
        point = isocentre + offset
        scale = ARM.source_detector_mm / ((point - source) @ ahead)
        hit = source + scale * (point - source) - (source + ARM.source_detector_mm * ahead)
        expected = np.array([hit @ right, hit @ down]) / ARM.pixel_mm + (ARM.columns - 1) / 2
        assert np.allclose(view(angles, isocentre).detector_from_patient.points(point), expected, atol=1e-6)


def test_registered_view_sees_the_moved_patient():
    moved = np.eye(4)
    moved[:3, 3] = 5, -3, 8
    rig = Transform(Frame.PATIENT, Frame.PATIENT, moved)
    nominal, found = view((180, 20)), view((180, 20)).registered(rig)
    point = np.array([4.0, 9.0, -7.0])
    assert np.allclose(
        found.detector_from_patient.points(point), nominal.detector_from_patient.points(point + moved[:3, 3])
    )


def test_pixel_size_grows_with_depth():
    posed = view((180, 0))
    near, iso = posed.pixel_mm_at([-BACK, 0 * BACK])
    assert near < iso == pytest.approx(ARM.isocentre_pixel_mm)
    assert posed.sees([0, 0, 0])
    assert not posed.sees([500, 0, 0])


def test_guards_fire():
    with pytest.raises(InputError, match="isocentre must lie between"):
        CArm.profile("mobile").__class__(**{**ARM.__dict__, "source_isocentre_mm": 2000.0})
    with pytest.raises(InputError, match="no such C-arm"):
        CArm.profile("hovering")
    with pytest.raises(InputError, match="does not divide"):
        ARM.binned(5)
    with pytest.raises(InputError, match="pixel size"):
        CArm(**{**ARM.__dict__, "pixel_mm": 0.0})
    with pytest.raises(InputError, match="lower end"):
        CArm(**{**ARM.__dict__, "primary_limits_deg": (10.0, -10.0)})
    with pytest.raises(InputError, match="along the body"):
        View(ARM, 0, 89, (0, 0, 0))
    with pytest.raises(InputError, match="patient to patient"):
        View(ARM, 0, 0, (0, 0, 0), rig_from_patient=Transform(Frame.CAMERA, Frame.PATIENT, np.eye(4)))
