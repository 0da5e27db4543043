"""MRI laid on the CT: a known displacement is found again, a foreign image is refused, a drawing is carried over."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.anatomy import MRRegistration, register_mr, with_thecal_sac_end
from sacroplasty.anatomy.pose import turn
from sacroplasty.errors import AnatomyError, InputError
from sacroplasty.phantom import Phantom, build_phantom
from sacroplasty.plan import Level, State
from sacroplasty.space import Frame, Grid, Mask, Transform, Volume

FIELD = ((-70.0, -40.0, -110.0), (70.0, 80.0, 30.0))


@pytest.fixture(scope="module")
def norm() -> Phantom:
    return build_phantom(spacing_mm=1.5, field_of_view_mm=FIELD, truth_spacing_mm=1.5)


def simulated_mr(phantom: Phantom, moved: Transform) -> Volume:
    """A sagittal stack as T1 shows tissue (fat bright, cortex and air dark), lying elsewhere by `moved`."""
    affine = np.eye(4)
    affine[:3, :3] = turn((4.0, -3.0, 5.0)) @ np.diag([4.0, 1.2, 1.2])
    affine[:3, 3] = affine[:3, :3] @ [-9.0, -40.0, -85.0] + np.array([500.0, 40.0, -300.0])
    grid = Grid.from_affine((19, 105, 115), affine, "mr")
    hu = phantom.ct.sampled(moved.inverse.points(grid.centres_mm()))
    brightness = np.interp(hu, [-1000, -200, -100, 0, 60, 200, 500], [0, 700, 900, 350, 300, 450, 30])
    noise = np.random.default_rng(5).normal(0, 25, hu.shape)
    return Volume((brightness + noise).astype(np.float32), grid, "1")


def known_move() -> Transform:
    matrix = np.eye(4)
    matrix[:3, :3] = turn((8.0, -4.0, 3.0))
    matrix[:3, 3] = (503.0, 42.0, -297.0)
    return Transform(Frame.PATIENT, Frame.PATIENT, matrix, target_id="mr", source_id="")


def test_a_known_displacement_is_found_again_and_a_drawing_carried_over(norm: Phantom) -> None:
    pytest.importorskip("SimpleITK")
    move = known_move()
    sacrum = norm.anatomy.labels.mask("sacrum")
    mr = simulated_mr(norm, move)
    found = register_mr(norm.ct, mr, sacrum)
    corners = Grid.aligned(sacrum.points_mm().min(axis=0), sacrum.points_mm().max(axis=0), 60.0).corners_mm
    error = np.linalg.norm(found.ct_from_mr.points(move.points(corners)) - corners, axis=1)
    assert error.max() < 2.0
    assert found.prominence > 0.15
    s2 = norm.anatomy.require_level(Level.S2).body_centre_mm
    drawn = Mask(np.linalg.norm(mr.grid.centres_mm() - move.points(s2), axis=-1) < 8, mr.grid)
    carried = found.carried(drawn, norm.ct.grid)
    assert np.linalg.norm(carried.centroid_mm() - np.asarray(s2)) < 2.0
    assert carried.volume_ml == pytest.approx(drawn.volume_ml, rel=0.15)
    assert found.finding.code == "SAC-A140"


def test_noise_is_refused(norm: Phantom) -> None:
    pytest.importorskip("SimpleITK")
    mr = simulated_mr(norm, known_move())
    noise = np.random.default_rng(0).gamma(2.0, 100.0, mr.grid.shape).astype(np.float32)
    with pytest.raises(AnatomyError, match="could not be laid on the CT"):
        register_mr(norm.ct, Volume(noise, mr.grid, "1"), norm.anatomy.labels.mask("sacrum"))


def test_without_simpleitk_the_remedy_is_named(norm: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"sacroplasty\[register\]"):
        register_mr(norm.ct, norm.ct, norm.anatomy.labels.mask("sacrum"))


def test_the_end_of_the_sac_is_taken_from_mri_and_refused_outside_the_canal(norm: Phantom) -> None:
    canal = norm.anatomy.canal
    assert canal is not None
    arcs = norm.anatomy.frame.coordinates(canal.centreline_mm)[:, 0]
    s1 = norm.anatomy.require_level(Level.S1)
    end = canal.centreline_mm[int(np.argmin(np.abs(arcs - 0.7 * s1.lower_arc_mm)))]
    a, b, c = (float(v) for v in end)
    given = with_thecal_sac_end(norm.anatomy, (a, b, c), 1.5)
    assert given.thecal_sac is not None
    assert given.thecal_sac.state is State.GIVEN
    assert given.thecal_sac.end_level is Level.S1
    assert given.thecal_sac.uncertainty_mm == 1.5
    twice = with_thecal_sac_end(given, (a, b, c))
    assert sum(f.code == "SAC-A341" for f in twice.findings) == 1
    with pytest.raises(AnatomyError, match="does not lie in the sacral canal"):
        with_thecal_sac_end(norm.anatomy, (a + 40.0, b, c))


def test_a_drawing_outside_the_ct_is_carried_to_nothing(norm: Phantom) -> None:
    nowhere = Transform(Frame.PATIENT, Frame.PATIENT, np.eye(4))
    still = MRRegistration(nowhere, 0.4, 0.5, 1.0, 1.0, 0.7)
    mask = Mask(np.ones((3, 3, 3), bool), norm.ct.grid.cropped((slice(0, 3), slice(0, 3), slice(0, 3))))
    assert still.carried(mask, norm.ct.grid).array[:3, :3, :3].all()
