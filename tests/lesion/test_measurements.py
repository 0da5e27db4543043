"""Distances that the loaf's own dimensions give by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.anatomy import Hiatus
from sacroplasty.errors import AnatomyError
from sacroplasty.lesion import (
    centre_offset,
    distances_to_nerves,
    hiatus_margin_mm,
    lesion_from_sphere,
    marrow_along,
    marrow_space,
    marrow_space_at_level,
    skin_to_lesion,
)
from sacroplasty.plan import Level, Needle, State, Trajectory
from tests.lesion.toy import CANAL_D, CANAL_R, DEPTH


@pytest.fixture(scope="module")
def found(loaf):
    return lesion_from_sphere(*loaf, (36.0, 18.0, -30.0), 5.0)


def test_skin_to_lesion_starts_at_the_skin_not_at_the_planned_entry(loaf, found):
    skin_y = float(loaf[1].body.points_mm()[:, 1].max()) + 0.5
    path = Trajectory((36.0, skin_y + 7.0, -30.0), (36.0, 18.0, -30.0))
    measured = skin_to_lesion(loaf[1], found, path)
    assert measured.value_mm == pytest.approx(skin_y - 18.0, abs=0.3)
    assert measured.start_mm[1] == pytest.approx(skin_y, abs=0.2)
    assert centre_offset(found, path).value_mm == pytest.approx(0.0, abs=0.1)
    assert centre_offset(found, path.moved(entry_mm=(41.0, 60.0, -30.0), target_mm=(41.0, 18.0, -30.0))).value_mm == (
        pytest.approx(5.0, abs=0.1)
    )


def test_no_skin_in_view_is_refused(loaf, found):
    with pytest.raises(AnatomyError, match="meets no skin"):
        skin_to_lesion(loaf[1], found, Trajectory((36.0, 18.0, -70.0), (36.0, 18.0, -30.0)))


def test_marrow_space(loaf, found):
    anatomy = loaf[1]
    body = marrow_space_at_level(anatomy, Level.S2)
    assert body.value_mm == pytest.approx(CANAL_D - CANAL_R, abs=1.1)
    assert sorted([body.start_mm[1], body.end_mm[1]]) == pytest.approx([0.0, CANAL_D - CANAL_R], abs=1.0)
    ala = marrow_space_at_level(anatomy, Level.S2, found.centre_mm)
    assert ala.value_mm == pytest.approx(DEPTH, abs=1.1)
    along = marrow_along(anatomy, found, Trajectory((70.0, 18.0, -30.0), (36.0, 18.0, -30.0)))
    assert along.value_mm == pytest.approx(90.0, abs=1.2), "between the foramina, from side to side"
    with pytest.raises(AnatomyError, match="no sacral bone"):
        marrow_space(anatomy, (0.0, -10.0, 0.0), (1.0, 0.0, 0.0))
    with pytest.raises(AnatomyError, match="L5"):
        marrow_space_at_level(anatomy, Level.L5)


def test_distances_to_nerves_are_sorted_and_end_on_the_structures(loaf, found):
    gaps = distances_to_nerves(loaf[1], found)
    assert [g.value_mm for g in gaps] == sorted(g.value_mm for g in gaps)
    canal = next(g for g in gaps if g.name == "lesion to canal")
    expected = np.hypot(36.0, 18.0 - CANAL_D) - 5.0 - CANAL_R
    assert canal.value_mm == pytest.approx(expected, abs=1.2)
    assert "left" in next(g for g in gaps if "foramen" in g.name).name


def test_hiatus_margin(loaf):
    anatomy, needle = loaf[1], Needle.gauge(13)
    assert hiatus_margin_mm(anatomy, needle) is None
    hiatus = Hiatus((0.0, 30.0, -90.0), Level.S5, 5.39, 12.0, 19.0)
    assert hiatus_margin_mm(anatomy.with_(hiatus=hiatus), needle) == pytest.approx(1.5, abs=0.02)
    closed = Hiatus((0.0, 30.0, -90.0), Level.S5, float("nan"), 0.0, 0.0, State.ABSENT)
    assert hiatus_margin_mm(anatomy.with_(hiatus=closed), needle) is None
