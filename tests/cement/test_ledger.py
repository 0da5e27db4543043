"""The ledger against clouds whose volume in every part is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.cement import AttenuationCurve, CementProjection, keep_ledger
from sacroplasty.errors import InputError
from sacroplasty.space import Frame, Grid, Mask, Projection

FOCAL, SOURCE, PIXEL = 1000.0, 650.0, 0.6
COUNT = 200


def view(direction: int) -> tuple[Projection, np.ndarray]:
    """A cone-beam view along +y (AP) or +x (lateral) through the origin."""
    source = np.zeros(3)
    source[direction] = -SOURCE
    rows = {1: ([1, 0, 0], [0, 0, -1], [0, 1, 0]), 0: ([0, 1, 0], [0, 0, -1], [1, 0, 0])}[direction]
    turn = np.array(rows, dtype=np.float64)
    inner = np.array([[FOCAL / PIXEL, 0, COUNT / 2], [0, FOCAL / PIXEL, COUNT / 2], [0, 0, 1]])
    return Projection(Frame.PATIENT, inner @ np.column_stack([turn, -turn @ source])), source


def projected(
    balls: list[tuple[tuple[float, float, float], float]], noise_mm: float, seed: int
) -> list[CementProjection]:
    """Exact path lengths through solid balls (disjoint), with noise, in both views."""
    rng = np.random.default_rng(seed)
    views = []
    for direction in (1, 0):
        projection, source = view(direction)
        u, v = np.meshgrid(np.arange(COUNT), np.arange(COUNT))
        offset_u, offset_v = (u - COUNT / 2) * PIXEL, (v - COUNT / 2) * PIXEL
        along = np.zeros((COUNT, COUNT, 3))
        along[..., direction] = FOCAL
        along[..., 1 - direction] = offset_u
        along[..., 2] = -offset_v
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        path = np.zeros((COUNT, COUNT))
        for centre, radius in balls:
            to = np.asarray(centre) - source
            nearest = np.linalg.norm(np.cross(along, to), axis=-1)
            path += 2 * np.sqrt(np.maximum(radius**2 - nearest**2, 0.0))
        path += noise_mm * rng.standard_normal(path.shape)
        views.append(CementProjection(path, projection, source, PIXEL, FOCAL))
    return views


def volume_ml(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3 / 1000


@pytest.fixture(scope="module")
def masks() -> tuple[Mask, Mask]:
    grid = Grid.aligned((-24, -24, -24), (24, 24, 24), 2.0)
    far = np.linalg.norm(grid.centres_mm(), axis=-1)
    return Mask(far < 9, grid), Mask(np.abs(grid.centres_mm()).max(axis=-1) < 15, grid)


def test_volumes_by_part_are_within_a_few_percent_and_the_leak_is_called(masks: tuple[Mask, Mask]) -> None:
    lesion, bone = masks
    frames = [
        (0.0, projected([((0, 0, 0), 4.0)], 0.3, 1)),
        (10.0, projected([((0, 0, 0), 6.0)], 0.3, 2)),
        (20.0, projected([((0, 0, 0), 7.0), ((0, -19, 6), 3.5)], 0.3, 3)),
    ]
    ledger = keep_ledger(frames, lesion, bone, (0, 0, 0))
    for entry, radius in zip(ledger.entries[:2], (4.0, 6.0), strict=True):
        assert entry.total.ml == pytest.approx(volume_ml(radius), rel=0.053)
        assert entry.lesion.ml == pytest.approx(volume_ml(radius), rel=0.1)
        # The range also holds a wrong scale.
        assert entry.total.low_ml <= 0.71 * entry.total.ml
        assert entry.total.high_ml >= 1.29 * entry.total.ml
        assert not entry.alarm
    last = ledger.entries[2]
    assert last.total.ml == pytest.approx(volume_ml(7.0) + volume_ml(3.5), rel=0.053)
    assert last.outside.ml == pytest.approx(volume_ml(3.5), rel=0.25)
    assert last.outside.low_ml <= volume_ml(3.5) * 1.1
    assert last.alarm
    assert ledger.first_alarm_s == 20.0
    assert ledger.latency_s(12.0) == 8.0
    assert ledger.latency_s(25.0) is None


def test_attenuation_becomes_path_length() -> None:
    # A disc of cement, and beside it a slow loss of scatter over the whole picture.
    v, u = np.mgrid[:120, :120] - 60.0
    disc = np.hypot(u, v) < 8
    path = np.where(disc, 8.0, 0.0)
    drift = 0.04 * np.exp(-(u**2 + v**2) / 2 / 70**2)
    before = np.full(path.shape, 1000.0)
    after = before * np.exp(-0.05 * path - drift) * np.random.default_rng(0).normal(1.0, 0.005, path.shape)
    found = AttenuationCurve(20.0).path_mm(before, after)
    assert found[disc].mean() == pytest.approx(8.0, abs=0.1)
    assert abs(found[~disc].mean()) < 0.02
    with pytest.raises(InputError, match="darken"):
        AttenuationCurve(0.0)


def test_a_calibrated_curve_undoes_hardening() -> None:
    # A beam that hardens: thick cement darkens less than in proportion.
    def excess(path: np.ndarray) -> np.ndarray:
        return np.asarray((np.sqrt(1 + 4 * 0.4 * path / 20.0) - 1) / (2 * 0.4))

    u = np.arange(-20.0, 20.0, 0.5)
    images = {r: 2 * np.sqrt(np.maximum(r**2 - u[:, None] ** 2 - u**2, 0.0)) for r in (4.0, 7.0, 11.0)}
    thin = AttenuationCurve(4.0 / float(excess(np.array(4.0))))
    both = AttenuationCurve.calibrated([excess(images[r]) for r in (4.0, 11.0)], [images[r] for r in (4.0, 11.0)])
    seen = np.pad(np.exp(-excess(images[7.0])), 60, constant_values=1.0)
    errors = [abs(c.path_mm(np.ones_like(seen), seen).sum() / images[7.0].sum() - 1) for c in (thin, both)]
    assert errors[0] > 0.05
    assert errors[1] < 0.01
    with pytest.raises(InputError, match="known paths"):
        AttenuationCurve.calibrated([], [])


def test_blur_at_the_bones_edge_raises_no_alarm(masks: tuple[Mask, Mask]) -> None:
    lesion, bone = masks
    inside = keep_ledger([(0.0, projected([((0, -9.5, 0), 5.0)], 0.3, 4))], lesion, bone, (0, 0, 0))
    beyond = keep_ledger([(0.0, projected([((0, -20.0, 0), 3.5)], 0.3, 5))], lesion, bone, (0, 0, 0))
    assert not inside.entries[0].alarm
    assert beyond.entries[0].alarm


def test_what_a_needle_hides_is_left_to_the_rest(masks: tuple[Mask, Mask]) -> None:
    lesion, bone = masks
    open_ = projected([((0, 0, 0), 7.0)], 0.2, 6)
    hidden = np.zeros((COUNT, COUNT), np.bool_)
    hidden[COUNT // 2 - 2 : COUNT // 2 + 3] = True
    blind = [
        CementProjection(np.where(hidden, 0.0, v.path_mm), v.detector_from_patient, v.source_mm, PIXEL, FOCAL, where)
        for v in open_
        for where in (hidden,)
    ]
    fooled = [CementProjection(v.path_mm, v.detector_from_patient, v.source_mm, PIXEL, FOCAL) for v in blind]
    told, untold = (keep_ledger([(0.0, v)], lesion, bone, (0, 0, 0)).entries[0].total.ml for v in (blind, fooled))
    assert untold < 0.85 * volume_ml(7.0)
    assert told == pytest.approx(volume_ml(7.0), rel=0.06)


def test_guards_fire(masks: tuple[Mask, Mask]) -> None:
    lesion, bone = masks
    with pytest.raises(InputError, match="at least one"):
        keep_ledger([], lesion, bone, (0, 0, 0))
    projection, source = view(1)
    with pytest.raises(InputError, match="finite image"):
        CementProjection(np.full((3, 3), np.nan), projection, source, 1.0, 1000.0)
