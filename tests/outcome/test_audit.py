"""The audit of a later CT: registration with its gate, cement by mass, leaks by place, metal, old cement, migration."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from sacroplasty.errors import GeometryError, InputError
from sacroplasty.outcome.audit import CementAudit, audit_ct
from sacroplasty.outcome.audit_compartments import class_of
from sacroplasty.outcome.audit_dense import BodyKind
from sacroplasty.outcome.audit_migration import Change, migration
from sacroplasty.outcome.audit_pictures import audit_png
from sacroplasty.outcome.audit_registration import Registration, register, require_trusted
from sacroplasty.outcome.leak import (
    LeakClass,
    LeakRecord,
    LeakSite,
    Modality,
    Statement,
    fluoroscopy_record,
    leak_rates,
    require_one_modality,
)
from sacroplasty.plan import Level, Side
from sacroplasty.space import Volume
from tests.outcome.audit_patient import CENTRE, Ball, Patient, later_ct, moved, patient

MAIN = Ball((1.0, 14.0, 1.0), 7.5)
TUNNEL = Ball((13.0, 14.0, 2.0), 3.0)
VENTRAL = Ball((0.0, -5.0, -6.0), 3.5)
CANAL = Ball((1.0, 29.5, -8.0), 2.9)


@cache
def planned() -> Patient:
    return patient()


@cache
def audited(*balls: Ball, turn: tuple[float, float, float] = (6.0, -4.0, 5.0), slice_mm: float = 1.0) -> CementAudit:
    p = planned()
    ct = later_ct(balls, move=moved(turn), spacing_mm=(0.8, 0.8, slice_mm))
    return audit_ct(p.ct, p.anatomy, p.lesion, ct, plan=p.plan)


def ball_ml(ball: Ball) -> float:
    return 4.0 / 3.0 * np.pi * ball.radius_mm**3 / 1000.0


def test_another_position_is_found_to_a_fraction_of_a_voxel() -> None:
    p = planned()
    points = p.anatomy.labels.mask("sacrum").points_mm()[::50]
    for turn in ((6.0, -4.0, 5.0), (-21.0, 6.0, 14.0)):
        found = audited(MAIN, turn=turn).registration
        error = np.linalg.norm(found.later_from_plan.points(points) - moved(turn).points(points), axis=1)
        assert error.mean() < 0.5
        assert found.coverage == 1.0


def test_the_volume_is_that_of_the_cement_whatever_the_slices() -> None:
    for slice_mm in (1.0, 3.0):
        found = audited(VENTRAL, slice_mm=slice_mm)
        assert found.cement_ml == pytest.approx(ball_ml(VENTRAL), rel=0.05 if slice_mm < 2 else 0.1)
    assert "AUDIT-THICK-SLICES" in [f.code for f in found.findings]


def test_every_leak_is_named_and_measured() -> None:
    found = audited(MAIN, TUNNEL, VENTRAL, CANAL)
    sites = {site.compartment: site for site in found.leaks.sites}
    assert set(sites) == {"S1 anterior foramen left", "presacral", "canal"}
    for name, ball in (("presacral", VENTRAL), ("canal", CANAL), ("S1 anterior foramen left", TUNNEL)):
        assert sites[name].volume_ml == pytest.approx(ball_ml(ball), rel=0.12)
    tunnel = sites["S1 anterior foramen left"]
    assert (tunnel.side, tunnel.level, tunnel.nearest_root) == (Side.LEFT, Level.S1, "S1 root left")
    assert tunnel.significant
    assert not sites["presacral"].significant
    said = found.leaks.statements
    assert said[LeakClass.CANAL] is Statement.LEAK
    assert said[LeakClass.SI_JOINT] is Statement.NO_LEAK
    # The labels have no veins: nothing can be said of them.
    assert said[LeakClass.VEIN] is Statement.NOT_ASSESSABLE


def test_a_deposit_in_the_bone_is_no_leak() -> None:
    found = audited(MAIN)
    assert found.leaks.sites == ()
    assert found.filling > 0.8
    assert found.compartments.keys() <= {"lesion", "sacrum"}


def test_no_cement_is_none() -> None:
    found = audited()
    assert found.cement_ml == 0.0
    assert found.cement is None
    assert found.filling == 0.0


def test_old_cement_is_told_from_new() -> None:
    p = planned()
    old = Ball((-6.0, 16.0, -10.0), 3.5)
    before = later_ct((old,), move=moved((0, 0, 0), (0, 0, 0)), spacing_mm=(1.0, 1.0, 1.0))
    found = audit_ct(before, p.anatomy, p.lesion, later_ct((old, VENTRAL)), plan=p.plan)
    assert found.cement_ml == pytest.approx(ball_ml(VENTRAL), rel=0.1)
    assert [body.kind for body in found.bodies] == [BodyKind.OLD_CEMENT]
    assert "sacrum" in found.bodies[0].place


def test_a_needle_left_in_is_metal_and_gives_the_path() -> None:
    path = planned().plan.first.trajectory
    start = tuple(path.point_at(0.25 * path.length_mm) + np.array([0.0, 0.0, 3.0]))
    end = tuple(np.asarray(path.target_mm) + np.array([0.0, 0.0, 3.0]))
    found = audited(Ball(start, 1.3, end, hu=9000.0), VENTRAL)
    assert [body.kind for body in found.bodies] == [BodyKind.NEW_METAL]
    assert found.path is not None
    assert found.path.source == "needle in place"
    assert found.path.off_at_target_mm == pytest.approx(3.0, abs=0.7)
    assert found.path.tip_off_mm == pytest.approx(3.0, abs=1.5)
    assert found.cement_ml == pytest.approx(ball_ml(VENTRAL), rel=0.15)


def test_cement_in_the_track_beside_the_plan_gives_the_axis() -> None:
    path = planned().plan.first.trajectory
    start = tuple(path.point_at(4.0) + np.array([0.0, 0.0, 4.0]))
    end = tuple(path.point_at(20.0) + np.array([0.0, 0.0, 4.0]))
    found = audited(MAIN, Ball(start, 1.6, end))
    assert "needle track" in [site.compartment for site in found.leaks.sites]
    assert found.path is not None
    assert found.path.off_at_entry_mm == pytest.approx(4.0, abs=1.2)
    assert found.path.tip_mm is None


def test_migration_is_told_from_another_position_of_the_patient() -> None:
    first = audited(MAIN, VENTRAL)
    again = audited(MAIN, VENTRAL, turn=(-8.0, 3.0, -6.0))
    assert not migration(first, again).migrated
    gone = audited(MAIN, Ball((0.0, -5.0, 8.0), VENTRAL.radius_mm), turn=(-8.0, 3.0, -6.0))
    found = migration(first, gone)
    moved_body = next(body for body in found.bodies if body.change is Change.MOVED)
    assert moved_body.shift_mm == pytest.approx(14.0, abs=1.0)
    lost = migration(first, audited(MAIN))
    assert [b.change for b in lost.bodies if b.change is not Change.STAYED] == [Change.GONE]
    with pytest.raises(InputError, match="Neither scan"):
        migration(audited(), audited())


def test_another_body_is_refused() -> None:
    p = planned()
    ct = later_ct((MAIN,))
    rng = np.random.default_rng(0)
    noise = rng.normal(100.0, 200.0, ct.array.shape).astype(np.float32)
    with pytest.raises(GeometryError, match="does not match"):
        register(p.ct, p.anatomy, Volume(noise, ct.grid))


def test_a_mirrored_scan_is_refused() -> None:
    p = planned()
    ct = later_ct((), move=moved((0, 0, 0)))
    mirrored = Volume(np.asarray(ct.array)[::-1], ct.grid)
    with pytest.raises(GeometryError):
        register(p.ct, p.anatomy, mirrored)


def test_a_scan_of_a_part_is_refused() -> None:
    p = planned()
    ct = later_ct((MAIN,))
    part = ct.cropped((slice(None), slice(None), slice(0, ct.grid.shape[2] // 3)))
    with pytest.raises(GeometryError):
        register(p.ct, p.anatomy, part)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"coverage": 0.3}, "too little"), ({"correlation": 0.5}, "does not match"), ({"spread_mm": 4.0}, "do not agree"),
     ({"mirrored_correlation": 0.99}, "left and right")],
)  # fmt: skip
def test_each_limit_of_the_gate_fires(change: dict[str, float], words: str) -> None:
    good = {"coverage": 1.0, "correlation": 0.95, "spread_mm": 0.4, "mirrored_correlation": 0.9}
    values = {**good, **change}
    found = Registration(
        moved(), values["correlation"], values["coverage"], values["spread_mm"], values["mirrored_correlation"],
        1.0, 0.0, 5.0, 10.0,
    )  # fmt: skip
    with pytest.raises(GeometryError, match=words):
        require_trusted(found)


def test_a_look_without_ct_cannot_be_audited() -> None:
    p = planned()
    with pytest.raises(InputError, match="Only a CT"):
        audit_ct(p.ct, p.anatomy, None, p.ct, modality=Modality.FLUOROSCOPY)
    with pytest.raises(InputError, match="500 to 30000"):
        audit_ct(p.ct, p.anatomy, None, p.ct, cement_hu=20.0)


def site(kind: LeakClass, modality: Modality) -> LeakSite:
    return LeakSite(kind, str(kind), Side.RIGHT, Level.S1, modality)


def test_fluoroscopy_says_what_it_cannot_see() -> None:
    record = fluoroscopy_record([site(LeakClass.TRACK, Modality.FLUOROSCOPY)])
    assert record.statements[LeakClass.FORAMEN_ANTERIOR] is Statement.NOT_ASSESSABLE
    assert record.statements[LeakClass.CANAL] is Statement.NOT_ASSESSABLE
    assert record.statements[LeakClass.TRACK] is Statement.LEAK
    assert record.statements[LeakClass.PRESACRAL] is Statement.NO_LEAK
    assert record.leaked_ml is None
    with pytest.raises(InputError, match="projections"):
        fluoroscopy_record(modality=Modality.CT)


def test_rates_are_never_pooled_over_modalities() -> None:
    seen = fluoroscopy_record([site(LeakClass.PRESACRAL, Modality.FLUOROSCOPY)])
    ct = audited(MAIN, VENTRAL).leaks
    rates = leak_rates([seen, fluoroscopy_record(), ct])
    presacral = [r for r in rates if r.kind is LeakClass.PRESACRAL]
    assert [(r.modality, r.leaks, r.assessed) for r in presacral] == [(Modality.CT, 1, 1), (Modality.FLUOROSCOPY, 1, 2)]
    # Two looks that could not see the canal are no denominator.
    assert [(r.modality, r.assessed) for r in rates if r.kind is LeakClass.CANAL] == [(Modality.CT, 1)]
    with pytest.raises(InputError, match="pooled"):
        require_one_modality([seen, ct])
    assert require_one_modality([ct]) is Modality.CT
    with pytest.raises(InputError, match="one modality"):
        LeakRecord(Modality.CT, (site(LeakClass.TRACK, Modality.FLUOROSCOPY),), {LeakClass.TRACK: Statement.LEAK})
    with pytest.raises(InputError, match="needs the statement"):
        LeakRecord(Modality.CT, (site(LeakClass.TRACK, Modality.CT),))


def test_the_same_scan_gives_the_same_audit() -> None:
    p = planned()
    again = audit_ct(p.ct, p.anatomy, p.lesion, later_ct((MAIN, VENTRAL)), plan=p.plan)
    first = audited(MAIN, VENTRAL)
    assert again.cement_ml == first.cement_ml
    assert again.leaks == first.leaks
    picture = audit_png(p.ct, p.anatomy, p.lesion, later_ct((MAIN, VENTRAL)), again)
    assert picture == audit_png(p.ct, p.anatomy, p.lesion, later_ct((MAIN, VENTRAL)), first)
    assert np.allclose(np.asarray(p.lesion.centre_mm), CENTRE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("presacral tumour", "TUMOUR"), ("posterior tumour", "TUMOUR"), ("S1 anterior foramen left", "FORAMEN_ANTERIOR")],
)
def test_the_simulation_and_the_audit_class_leaks_alike(name: str, kind: str) -> None:
    assert class_of(name) is LeakClass[kind]


def test_a_name_of_no_compartment_is_refused() -> None:
    with pytest.raises(InputError, match="no such compartment"):
        class_of("spleen")
