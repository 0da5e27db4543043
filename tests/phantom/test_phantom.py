"""The phantom's truth, sampling, variants, lesions and named cases."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.anatomy import Anatomy, Face
from sacroplasty.errors import AnatomyError, GeometryError, InputError
from sacroplasty.evidence import value
from sacroplasty.lesion import LesionKind
from sacroplasty.phantom import LesionShape, Phantom, PhantomShape, build_phantom, insert_lesion, named_case
from sacroplasty.phantom.geometry import geometry
from sacroplasty.phantom.solids import solids_at
from sacroplasty.phantom.tissue import tissues_at
from sacroplasty.plan import Approach, Level, Point, Side, State

SPACING = 2.0
SMALL = ((-70.0, -20.0, -130.0), (70.0, 100.0, 20.0))


@pytest.fixture(scope="module")
def norm() -> Phantom:
    return build_phantom(
        spacing_mm=SPACING, truth_spacing_mm=SPACING, field_of_view_mm=SMALL, noise_hu=0.0, blur_mm=0.0
    )


def test_foramina_lie_on_the_surface_at_the_published_places(norm: Phantom) -> None:
    assert len(norm.anatomy.foramina) == 16
    for foramen in norm.anatomy.foramina:
        assert abs(solids_at(np.array([foramen.centre_mm]), norm.geometry)[0, 2]) < 1e-3
        s, x, _ = norm.anatomy.frame.coordinates(foramen.centre_mm)
        assert np.sign(x) == (1 if foramen.side is Side.LEFT else -1)
        key = f"phantom.{foramen.level.value.lower()}_anterior"
        if foramen.face is Face.ANTERIOR:
            assert s == pytest.approx(value(f"{key}_arc"), abs=1.0)
            assert abs(x) == pytest.approx(value(f"{key}_lateral"), abs=1.0)


def test_posterior_s1_foramen_lies_ten_millimetres_more_caudal(norm: Phantom) -> None:
    found = [norm.anatomy.foramen(Level.S1, Side.LEFT, face) for face in (Face.ANTERIOR, Face.POSTERIOR)]
    arcs = [norm.anatomy.frame.coordinates(f.centre_mm)[0] for f in found if f is not None]
    assert arcs[1] - arcs[0] == pytest.approx(value("phantom.s1_posterior_caudal_offset"), abs=1.0)


def test_midline_of_canal_and_bodies_belong_to_their_structures(norm: Phantom) -> None:
    assert norm.anatomy.canal is not None
    codes, _ = tissues_at(np.ascontiguousarray(norm.anatomy.canal.centreline_mm[3:-3]), norm.geometry)
    assert set(codes) == {10.0}
    centres = np.array([level.body_centre_mm for level in norm.anatomy.levels])
    assert set(tissues_at(centres, norm.geometry)[0]) <= {1.0, 129.0}
    assert [str(level) for level in norm.anatomy.levels_at(centres)] == ["S1", "S2", "S3", "S4", "S5"]


def test_a_symmetric_shape_is_its_own_mirror_image() -> None:
    g = geometry(PhantomShape.norm(), prone=False, contrast=False, metal="none", table=False)
    points = np.random.default_rng(0).uniform((0.0, -20.0, -120.0), (60.0, 90.0, 20.0), (4000, 3))
    left, right = solids_at(points, g), solids_at(points * [-1.0, 1.0, 1.0], g)
    np.testing.assert_allclose(left, right, atol=1e-9)


def test_truth_and_bone_volume_do_not_depend_on_the_grid(norm: Phantom) -> None:
    fine = build_phantom(
        spacing_mm=4.0, truth_spacing_mm=1.5, field_of_view_mm=SMALL, noise_hu=0.0, blur_mm=0.0
    ).anatomy
    for one, other in zip(norm.anatomy.foramina, fine.foramina, strict=True):
        assert one == other
    for name, share in (("sacrum", 0.02), ("canal", 0.05), ("root_tunnel", 0.05)):
        volumes = [a.labels.mask(name).volume_ml for a in (norm.anatomy, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=share)


def test_partial_volume_keeps_the_mean_for_thick_slices(norm: Phantom) -> None:
    thick = build_phantom(
        spacing_mm=(SPACING, SPACING, 5.0), truth_spacing_mm=8.0, field_of_view_mm=SMALL, noise_hu=0.0, blur_mm=0.0
    )
    inner = np.s_[5:-5, 5:-5]
    z0, z1 = -60.0, -10.0  # whole slices of both stacks lie between
    thin_z = norm.ct.grid.affine_lps[2, 3] + SPACING * np.arange(norm.ct.grid.shape[2])
    thick_z = thick.ct.grid.affine_lps[2, 3] + 5.0 * np.arange(thick.ct.grid.shape[2])
    a = norm.ct.array[inner][:, :, (thin_z > z0) & (thin_z < z1)].mean()
    b = thick.ct.array[inner][:, :, (thick_z > z0) & (thick_z < z1)].mean()
    assert abs(a - b) < 15.0


def test_a_rotated_patient_is_the_same_patient() -> None:
    turn = (8.0, -5.0, 12.0)
    kwargs = {"spacing_mm": 12.0, "truth_spacing_mm": 2.5, "field_of_view_mm": SMALL, "noise_hu": 0.0}
    straight = build_phantom(**kwargs)  # type: ignore[arg-type]
    turned = build_phantom(rotation_deg=turn, **kwargs)  # type: ignore[arg-type]
    for a, b in zip(straight.anatomy.foramina, turned.anatomy.foramina, strict=True):
        np.testing.assert_allclose(turned.patient_from_phantom.points(a.centre_mm), b.centre_mm, atol=1e-6)
    sampled = straight.anatomy.labels.mask("sacrum").points_mm()
    moved = turned.patient_from_phantom.points(sampled)
    kept = turned.anatomy.labels.grid.contains(moved)
    assert turned.anatomy.labels.mask("sacrum").contains(moved[kept]).mean() > 0.9


def test_same_seed_same_bytes_other_seed_other_noise() -> None:
    one, two, other = (
        build_phantom(spacing_mm=12.0, truth_spacing_mm=8.0, field_of_view_mm=SMALL, seed=s) for s in (1, 1, 2)
    )
    assert one.ct.array.tobytes() == two.ct.array.tobytes()
    assert one.ct.array.tobytes() != other.ct.array.tobytes()


def test_hiatus_opens_at_its_apex_and_not_where_it_is_absent() -> None:
    for shape, is_open in ((PhantomShape.norm(), True), (PhantomShape.norm().absent_hiatus(), False)):
        built = build_phantom(shape, spacing_mm=12.0, truth_spacing_mm=8.0, field_of_view_mm=SMALL)
        hiatus = built.anatomy.hiatus
        assert hiatus is not None
        assert hiatus.state is (State.MEASURED if is_open else State.ABSENT)
        tangent = built.anatomy.frame.tangent_at(shape.hiatus_apex_arc_mm)
        roof = np.asarray(hiatus.apex_mm) + 8.0 * tangent + 1.2 * np.cross(tangent, (-1.0, 0.0, 0.0))
        roof_code = tissues_at(roof[None], built.geometry)[0][0] % 128
        assert (roof_code != 1.0) == is_open


def test_osteoporotic_bone_is_darker() -> None:
    body = np.array([[x, 22.0, -8.0] for x in np.linspace(-8, 8, 200)])
    hus = []
    for shape in (PhantomShape.norm(), PhantomShape.norm().osteoporotic(0.4)):
        g = geometry(shape, prone=False, contrast=False, metal="none", table=False)
        hus.append(tissues_at(body, g)[1].mean())
    assert abs(hus[0] - value("phantom.s1_body_hu")) < 60
    assert hus[1] < 0.5 * hus[0]


def _lesion(anatomy: Anatomy, **changes: object) -> LesionShape:
    centre: Point = anatomy.require_level(Level.S1).body_centre_mm
    plain: dict[str, object] = {"kind": LesionKind.LYTIC, "centre_mm": centre, "radii_mm": (10.0, 9.0, 8.0)}
    return LesionShape(**(plain | changes))  # type: ignore[arg-type]


def test_a_smooth_lesion_has_the_ellipsoids_volume_and_darkens_bone(norm: Phantom) -> None:
    ct, mask = insert_lesion(norm.ct, norm.anatomy, _lesion(norm.anatomy, irregularity=0.0))
    assert mask.volume_ml == pytest.approx(4 / 3 * np.pi * 10 * 9 * 8 / 1000, rel=0.08)
    inside = mask.resampled(ct.grid).array
    assert ct.array[inside].mean() < 120 < norm.ct.array[inside].mean()
    far = np.abs(ct.array - norm.ct.array) > 0
    assert far.sum() < 3 * inside.sum()


def test_only_destroyed_walls_lose_their_cortex(norm: Phantom) -> None:
    frame = norm.anatomy.frame
    centre = tuple(np.asarray(frame.ventral_curve_mm[18]) + 7.0 * np.asarray(frame.dorsal))
    kept = insert_lesion(norm.ct, norm.anatomy, _lesion(norm.anatomy, centre_mm=centre))[1]
    broken = insert_lesion(
        norm.ct, norm.anatomy, _lesion(norm.anatomy, centre_mm=centre, destroyed_walls=("ventral",))
    )[1]
    assert broken.volume_ml > kept.volume_ml
    assert (broken.array | ~kept.array).all()


def test_lesion_guards_fire(norm: Phantom) -> None:
    with pytest.raises(InputError):
        _lesion(norm.anatomy, radii_mm=(0.0, 1.0, 1.0))
    with pytest.raises(InputError):
        _lesion(norm.anatomy, irregularity=0.9)
    with pytest.raises(InputError):
        _lesion(norm.anatomy, kind=LesionKind.UNCLEAR)
    with pytest.raises(AnatomyError):
        insert_lesion(norm.ct, norm.anatomy, _lesion(norm.anatomy, destroyed_walls=("S9 wall",)))
    with pytest.raises(AnatomyError):
        insert_lesion(norm.ct, norm.anatomy, _lesion(norm.anatomy, centre_mm=(60.0, -15.0, 10.0)))


def test_build_guards_fire() -> None:
    with pytest.raises(GeometryError):
        build_phantom(spacing_mm=0.0)
    with pytest.raises(InputError):
        build_phantom(spacing_mm=8.0, slice_thickness_mm=-1.0)
    with pytest.raises(InputError):
        named_case("nobody")


@pytest.mark.parametrize(
    ("name", "approach", "volume", "age", "level", "kind"),
    [
        ("zhang-1", Approach.TRANS_SACROILIAC, 6.0, 62, Level.S1, LesionKind.MIXED),
        ("zhang-2", Approach.TRANS_SACROILIAC, None, 38, Level.S1, LesionKind.LYTIC),
        ("yeo", Approach.INTERPEDICULAR, 2.0, 74, Level.S3, LesionKind.LYTIC),
    ],
)
def test_named_cases_say_what_the_papers_say(
    name: str, approach: Approach, volume: float | None, age: int, level: Level, kind: LesionKind
) -> None:
    case = named_case(name, spacing_mm=3.0, truth_spacing_mm=2.5)
    assert (case.approach, case.volume_ml, case.facts["age_years"]) == (approach, volume, age)
    assert (case.needle.gauge_number, case.lesion_shape.kind) == (13, kind)
    found = case.anatomy.levels_at(case.lesion_mask.points_mm())
    assert max(set(found), key=found.count) is level
    assert bool(case.lesion_shape.destroyed_walls) == (name != "zhang-1")
