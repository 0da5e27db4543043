"""Planned views, visibility, reach and rehearsal on a phantom whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from sacroplasty.anatomy import Anatomy, Face
from sacroplasty.errors import GeometryError, InputError, PlanError
from sacroplasty.evidence import value
from sacroplasty.fluoroscopy import (
    CArm,
    PatientPosition,
    Seen,
    Stage,
    View,
    body_surface,
    bounding_views,
    contours,
    estimated_dose,
    judged,
    planned_views,
    reach,
    rehearsal,
    rehearsal_frames,
    sheet,
    view_from_dataset,
    views_for,
)
from sacroplasty.fluoroscopy.rim import foramen_rim
from sacroplasty.fluoroscopy.views import foramina_tilt
from sacroplasty.fluoroscopy.visibility import without_gas
from sacroplasty.phantom import build_phantom
from sacroplasty.plan import Approach, Crossing, Level, Needle, NeedlePlan, Plan, Side, Trajectory
from sacroplasty.space import Volume
from tests.fluoroscopy.scene import AP, ARM, view

TURN = (4.0, 3.0, 6.0)


@pytest.fixture(scope="module")
def phantom():
    return build_phantom(spacing_mm=2.5, truth_spacing_mm=2.0, rotation_deg=TURN)


@pytest.fixture(scope="module")
def plan(phantom):
    return a_plan(phantom.anatomy)


def a_plan(anatomy: Anatomy) -> Plan:
    tip = np.asarray(anatomy.require_level(Level.S1).body_centre_mm) + np.array([-12.0, 2.0, 0.0])
    path = Trajectory(tuple(tip + np.array([-75.0, 60.0, 10.0])), tuple(tip))
    crossings = (
        Crossing("ilium", 25.0, 55.0),
        Crossing("SI joint", 55.0, 58.0),
        Crossing("sacrum", 58.0, 96.0),
    )
    needle = NeedlePlan(Needle.gauge(13), path, crossings)
    return Plan(Approach.TRANS_SACROILIAC, Side.RIGHT, Level.S1, (needle,))


@pytest.fixture(scope="module")
def planned(phantom, plan):
    return {p.view.name: p for p in planned_views(plan, phantom.anatomy, phantom.ct)}


def test_every_view_is_there_and_centred_on_the_target(planned, plan):
    assert list(planned) == [
        "AP (S1 foramina)", "true lateral", "entry (down the needle)", "progress from behind",
        "progress from the side", "inlet (S1)", "outlet (S1)", "Ferguson", "ipsilateral oblique",
    ]  # fmt: skip
    for found in planned.values():
        uv = found.view.detector_from_patient.points(plan.first.tip_mm)
        assert np.allclose(uv, (found.view.carm.columns - 1) / 2)
        assert found.visibility
        assert found.view.patient_position is PatientPosition.HFP


def test_true_lateral_follows_the_turned_patient(planned, phantom):
    ahead = planned["true lateral"].view.ahead
    left = np.asarray(phantom.anatomy.frame.left)
    assert abs(ahead @ left) > 0.9999
    assert abs(ahead[0]) < 0.9999  # not the scanner's lateral


def test_entry_view_looks_down_the_needle(planned, plan):
    entry = planned["entry (down the needle)"]
    assert entry.measures["needle_angle_deg"] < 0.5
    uv = entry.view.detector_from_patient.points([plan.first.tip_mm, plan.first.trajectory.entry_mm])
    assert np.linalg.norm(uv[0] - uv[1]) < 1.5
    assert entry.measures["depth_per_pixel_mm"] > 20


def test_inlet_runs_along_the_ventral_cortex_and_outlet_across(planned, phantom):
    segment = phantom.anatomy.require_level(Level.S1)
    tangent = phantom.anatomy.frame.tangent_at((segment.upper_arc_mm + segment.lower_arc_mm) / 2)
    inlet, outlet = planned["inlet (S1)"].view, planned["outlet (S1)"].view
    assert inlet.ahead @ tangent > 0.99
    assert abs(outlet.ahead @ tangent) < 0.1
    assert inlet.secondary_deg < 0 < outlet.secondary_deg
    assert planned["inlet (S1)"].measures["depth_per_pixel_mm"] < 1


def test_progress_views_show_the_advance_and_stand_apart(planned):
    behind, side = planned["progress from behind"], planned["progress from the side"]
    for found in (behind, side):
        assert found.measures["needle_angle_deg"] > 40
        assert found.measures["separation_mm"] > 5
        apart = [found.measures[f"{name}_apart_mm"] for name in ("foramina", "canal", "ventral_wall")]
        assert found.measures["separation_mm"] == min(apart)
        assert found.measures["cement_apart_mm"] == found.measures["separation_mm"]  # no cement is planned
        assert found.reach.possible
    assert abs(behind.view.ahead @ side.view.ahead) < 0.8


def test_two_views_together_bound_the_tip(planned, plan):
    first, second, radius = bounding_views(list(planned.values()), plan.first.tip_mm)
    assert abs(first.view.ahead @ second.view.ahead) < 0.5
    assert min(first.measures["needle_angle_deg"], second.measures["needle_angle_deg"]) > 30
    assert 0.3 < radius < 2.0
    assert bounding_views(list(planned.values()), plan.first.tip_mm, sd_pixels=1.6)[2] == pytest.approx(2 * radius)
    with pytest.raises(PlanError, match="No two views"):
        bounding_views([planned["true lateral"]], plan.first.tip_mm)


def test_foramina_are_seen_from_behind_and_not_from_the_side(planned):
    def of(name, structure):
        return next(v for v in planned[name].visibility if v.structure == structure)

    for side in ("left", "right"):
        name = f"S1 anterior foramen {side}"
        assert of("AP (S1 foramina)", name).detectability > 2 * of("true lateral", name).detectability
        assert of("true lateral", name).seen is Seen.NOT_SEEN
        assert of("AP (S1 foramina)", name).seen is not Seen.NOT_SEEN
    cortex = "ventral cortex"
    assert of("inlet (S1)", cortex).detectability > 2 * of("AP (S1 foramina)", cortex).detectability
    assert of("true lateral", cortex).detectability > of("AP (S1 foramina)", cortex).detectability


def test_ap_tilt_is_no_worse_than_any_textbook_angle(planned, phantom):
    stage = Stage.of(phantom.ct, phantom.anatomy)
    targets = stage.named(["S1", "anterior foramen"])
    assert len(targets) == 2
    best = planned["AP (S1 foramina)"].measures["foramina_detectability"]
    for tilt in (0.0, 25.0, 45.0):
        textbook = planned["AP (S1 foramina)"].view.with_(primary_deg=180.0, secondary_deg=tilt)
        assert best >= 0.9 * np.mean([v.detectability for v in judged(stage, textbook, targets)])
    with pytest.raises(PlanError, match="No foramen"):
        foramina_tilt(stage, Level.L5, lambda tilt: view((180.0, tilt)), 0.0, 0.0)


def test_filled_foramen_is_no_longer_detected(phantom, planned):
    """A tunnel filled with bone has no rim any more: the score comes from the image, not from the outline's place."""
    stage = Stage.of(phantom.ct, phantom.anatomy)
    targets = stage.named(["S1 anterior foramen left"])
    view_ap = planned["AP (S1 foramina)"].view
    open_one = judged(stage, view_ap, targets)[0]
    array = np.array(phantom.ct.array)
    centres = phantom.ct.grid.centres_mm()
    foramen = phantom.anatomy.foramen(Level.S1, Side.LEFT, Face.ANTERIOR)
    bone = phantom.anatomy.labels.mask("sacrum").resampled(phantom.ct.grid).array
    tunnel = phantom.anatomy.labels.mask("root_tunnel").resampled(phantom.ct.grid).array
    mouth = np.linalg.norm(centres - np.asarray(foramen.centre_mm), axis=-1) < 20
    array[tunnel & mouth] = int(array[bone].mean())
    filled = Stage.of(Volume(array, phantom.ct.grid), phantom.anatomy)
    assert open_one.seen is Seen.SEEN
    assert judged(filled, view_ap, targets)[0].detectability < 0.5 * open_one.detectability
    off = view_ap.with_(isocentre_mm=(400.0, 0.0, 0.0))
    assert judged(stage, off, targets)[0].seen is Seen.NOT_SEEN


def test_gas_in_the_bowel_chooses_no_view(phantom):
    """Gas moves between scan and procedure: a CT with a bubble in front of the sacrum is judged as without."""
    array = np.array(phantom.ct.array)
    centre = np.asarray(phantom.anatomy.foramen(Level.S1, Side.LEFT, Face.ANTERIOR).centre_mm) + np.array([0, -30.0, 0])
    away = np.linalg.norm(phantom.ct.grid.centres_mm() - centre, axis=-1)
    soft = away < 10
    array[soft] = 0
    emptied = Volume(array, phantom.ct.grid)
    array = array.copy()
    array[soft] = -900
    gassy = Volume(array, phantom.ct.grid)
    same, other = (without_gas(ct, phantom.anatomy.body).array for ct in (gassy, emptied))
    assert (same[soft] == 0).all()
    assert np.array_equal(same, other)
    assert np.array_equal(same[0], gassy.array[0])  # the air beside the patient stays


def test_gas_beyond_the_mask_of_the_body_goes_too(phantom):
    """Labels often end short of the belly: a bubble that tissue encloses is gas there too, the room's air is not."""
    body = phantom.anatomy.body
    short = body.cropped((slice(None), slice(body.grid.shape[1] // 2, None), slice(None)))
    array = np.array(phantom.ct.array)
    place = np.unravel_index(
        np.argmin(np.linalg.norm(phantom.ct.grid.centres_mm() - in_the_belly(phantom), axis=-1)), array.shape
    )
    bubble = tuple(slice(i - 2, i + 3) for i in place)
    array[bubble] = -900
    cleaned = without_gas(Volume(array, phantom.ct.grid), short).array
    assert not short.contains(in_the_belly(phantom))
    assert (cleaned[bubble] == 0).all()
    assert (cleaned[:, 0] == array[:, 0]).all()


def in_the_belly(phantom) -> np.ndarray:
    """A place in front of the sacrum, well inside the body."""
    front = np.asarray(phantom.anatomy.require_level(Level.S1).body_centre_mm)
    inside = [front + np.array([0.0, -d, 0.0]) for d in range(20, 120, 2)]
    deep = [p for p in inside if phantom.anatomy.body.contains(p + np.array([0.0, -15.0, 0.0]))]
    return deep[-1]


def test_canal_walls_are_told_where_they_stand_on_edge(planned):
    """From behind the side walls stand on edge, from the side the dorsal wall does."""
    seen = {
        name: {v.structure: v.detectability for v in planned[name].visibility}
        for name in ("AP (S1 foramina)", "true lateral")
    }
    behind, side = seen.values()
    assert min(behind["left canal wall"], behind["right canal wall"]) > 1 > behind["dorsal canal wall"]
    assert side["dorsal canal wall"] > 2


def test_outlines_project_onto_what_they_outline(phantom, planned):
    view_ap = planned["AP (S1 foramina)"].view
    foramen = phantom.anatomy.foramen(Level.S1, Side.LEFT, Face.ANTERIOR)
    rim = foramen_rim(foramen)
    assert np.allclose(rim.mean(axis=0), foramen.centre_mm, atol=0.5)
    assert np.allclose((rim - np.asarray(foramen.centre_mm)) @ np.asarray(foramen.axis), 0, atol=1e-9)
    drawn = {c.label: c for c in contours(phantom.anatomy, view_ap, planned["AP (S1 foramina)"].visibility)}
    assert "S1a" in drawn
    assert "ventral cortex" in drawn
    assert len(contours(phantom.anatomy, view_ap, levels=[Level.S1])) == 4 + 2


def test_only_reachable_views_are_returned(phantom, plan):
    stiff = CArm(**{**CArm.profile().__dict__, "secondary_limits_deg": (-30.0, 30.0)})
    names = [v.name for v in views_for(plan, phantom.anatomy, phantom.ct, stiff)]
    assert "true lateral" in names
    every = planned_views(plan, phantom.anatomy, phantom.ct, stiff)
    assert {p.view.name for p in every} >= set(names)
    assert all(abs(p.view.secondary_deg) <= 33.001 for p in every if p.reach.possible)


def test_reach_knows_limits_patient_and_table(phantom):
    skin = body_surface(phantom.anatomy.body)
    assert reach(view(AP, (0, 60, -30)), skin).possible
    turned = reach(view((0.0, 0.0), (0, 60, -30)), skin)
    assert not turned.possible
    assert "orbit" in turned.reason
    steep = reach(view((180.0, 80.0), (0, 60, -30)), skin)
    assert not steep.possible
    assert "touch" in steep.reason
    tight = CArm(**{**ARM.__dict__, "source_detector_mm": 700.0})
    assert "touch the patient" in reach(View(tight, 180.0, 60.0, (0, 60, -30)), skin).reason
    assert reach(view(AP)).gap_mm == float("inf")


def test_rehearsal_names_every_wall_and_says_when_to_stop(phantom, plan, planned):
    views = [planned["AP (S1 foramina)"].view, planned["true lateral"].view]
    stops = rehearsal(plan.first, phantom.anatomy, views)
    assert [s.name for s in stops] == [
        "skin", "periosteum of the ilium", "entering SI joint", "entering sacrum",
        "pedicle: nearest to foramen and canal", "lesion centre, the target",
    ]  # fmt: skip
    depths = [s.depth_mm for s in stops]
    assert depths == sorted(depths)
    behind_the_canal = (
        Crossing("sacrum", 30.0, 33.0), Crossing("sacral canal", 33.0, 45.0), Crossing("sacrum", 45.0, 60.0),
    )  # fmt: skip
    through = rehearsal(replace(plan.first, crossings=behind_the_canal), phantom.anatomy, views)
    assert [s.name for s in through][1:4] == [
        "periosteum of the sacrum", "through the canal's roof", "canal floor, entering sacrum",
    ]  # fmt: skip
    assert all(len(s.shows) == 2 for s in stops)
    assert "stop" in stops[-1].action
    assert "advance 25 mm" in stops[0].action
    assert "right of" in stops[1].shows[0]
    assert "behind" in stops[0].shows[1]
    assert "ventral cortex" in stops[-1].breach
    small = [v.with_(carm=v.carm.with_pixels(128)) for v in views]
    frames = rehearsal_frames(phantom.ct, plan.first, phantom.anatomy, small, stops[:2])
    picture = sheet(frames)
    assert picture.shape == (2 * frames[0][0].rgb.shape[0], 2 * frames[0][0].rgb.shape[1], 3)
    with pytest.raises(InputError, match="needs views"):
        rehearsal(plan.first, phantom.anatomy, [])
    with pytest.raises(InputError, match="at least one frame"):
        sheet([])


def test_dose_grows_with_needles_and_nearness(planned):
    views = tuple(p.view for p in planned.values())
    one, two = estimated_dose(views), estimated_dose(views, 2)
    assert two.total_s == pytest.approx(2 * one.total_s)
    assert estimated_dose(views, skin_distance_mm=400.0).air_kerma_mgy > one.air_kerma_mgy
    assert "estimate" in one.sentence
    # Another series than those the estimate is scaled from: 140 patients with malignant fractures.
    assert value("fluoroscopy.malignant_dose") / 2 < one.air_kerma_mgy < 2 * value("fluoroscopy.malignant_dose")
    with pytest.raises(InputError, match="needs needles"):
        estimated_dose((), 1)
    with pytest.raises(InputError, match="focal spot"):
        estimated_dose(views, skin_distance_mm=10.0)


def xa(**changes: object) -> Dataset:
    dataset = Dataset()
    values = {
        "DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 700, "PositionerPrimaryAngle": 30,
        "PositionerSecondaryAngle": -20, "ImagerPixelSpacing": [0.4, 0.4], "Rows": 512, "Columns": 640,
        "PatientPosition": "HFS", **changes,
    }  # fmt: skip
    for name, given in values.items():
        if given is not None:
            setattr(dataset, name, given)
    return dataset


def test_header_gives_the_view():
    found = view_from_dataset(xa(), (1.0, 2.0, 3.0))
    assert (found.primary_deg, found.secondary_deg) == (30.0, -20.0)
    assert (found.carm.rows, found.carm.columns, found.carm.pixel_mm) == (512, 640, 0.4)
    assert found.carm.magnification == pytest.approx(1000 / 700)
    assert found.angles_label == "LAO 30 / CAU 20 (patient supine, head first)"
    assert found.ahead[0] > 0 > found.ahead[2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DistanceSourceToPatient": None}, "source-patient"),
        ({"ImagerPixelSpacing": [0.4, 0.5]}, "not square"),
        ({"PatientPosition": "LFS"}, "lying patient"),
        ({"PositionerPrimaryAngle": None}, "primary angle"),
    ],
)
def test_header_without_geometry_is_refused(changes, words):
    with pytest.raises(GeometryError, match=words):
        view_from_dataset(xa(**changes), (0, 0, 0))
