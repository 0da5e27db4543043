"""Frozen values survive JSON; numbers that are not finite never leave."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacroplasty.anatomy import Hiatus
from sacroplasty.case.codec import decode, encode, from_json, to_json
from sacroplasty.errors import CaseError, SacroplastyError
from sacroplasty.plan import (
    Approach,
    Clearance,
    Crossing,
    Finding,
    Injection,
    Level,
    Needle,
    NeedlePlan,
    Plan,
    Severity,
    Side,
    Trajectory,
)

POINTS = st.tuples(*[st.floats(-400, 400)] * 3)


def plan(entry: tuple[float, float, float] = (0, 100, 0)) -> Plan:
    needle = NeedlePlan(
        Needle.gauge(13),
        Trajectory(entry, (1, 2, 3.3)),
        (Crossing("ilium", 40.0, 55.5), Crossing("sacrum", 58, 90, permitted=False)),
        (Clearance("S1 root left", 3.2, 70.1, (1, 2, 3), 2.0, 0.01),),
        (Injection(95.0, 3.0, 0.05, "simplex-p"),),
        bevel_azimuth_deg=90.0,
    )
    finding = Finding(Severity.CAUTION, "SAC-F1", "near", "S1 root left", (1, 2, 3), ("needles.outer_diameter_13g",))
    return Plan(
        Approach.TRANS_SACROILIAC, Side.LEFT, Level.S1, (needle,), {"skin_to_lesion_mm": 1.5}, ("because",), (finding,)
    )


@given(POINTS.filter(lambda p: math.dist(p, (1, 2, 3.3)) > 1))
def test_a_plan_survives_bit_for_bit(entry: tuple[float, float, float]) -> None:
    one = plan(entry)
    assert decode(Plan, from_json(to_json(encode(one)), "plan")) == one


def test_not_measurable_becomes_null_and_comes_back() -> None:
    hiatus = Hiatus((0, 1, 2), Level.S4, math.nan, 12.0, 20.0)
    data = encode(hiatus)
    assert data["depth_mm"] is None
    assert math.isnan(decode(Hiatus, data).depth_mm)


@pytest.mark.hazard("H11")
def test_infinity_is_refused() -> None:
    with pytest.raises(CaseError, match="not finite"):
        encode({"a": math.inf})
    with pytest.raises(CaseError, match="not finite"):
        to_json({"a": math.nan})


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    data = {**encode(plan()), "field_of_tomorrow": 1}
    assert decode(Plan, data) == plan()


def test_old_cases_open_without_fields_that_came_later() -> None:
    data = encode(plan())
    del data["rank"]
    assert decode(Plan, data).rank == 1


def test_a_strange_value_is_refused() -> None:
    with pytest.raises(CaseError, match="cannot be stored"):
        encode(object())
    with pytest.raises(CaseError, match="cannot be written"):
        encode(np.zeros(5000))


def test_torn_text_is_refused() -> None:
    with pytest.raises(CaseError, match=r"case\.json is not readable"):
        from_json('{"a": ', "case.json")


@pytest.mark.parametrize(("path", "value"), [
    (("needles", 0, "needle"), {"name": "x"}), (("needles", 0, "trajectory", "entry_mm"), [0, 0]), (("needles",), 3),
    (("needles", 0, "trajectory", "entry_mm", 0), "left"), (("needles", 0, "trajectory", "entry_mm", 0), 1e999),
    (("needles", 0, "trajectory", "entry_mm", 0), "inf"), (("side",), "north"), (("rank",), 1.5),
    (("needles", 0), None),
])  # fmt: skip
def test_data_that_do_not_fit_are_a_sentence(path: tuple[str | int, ...], value: object) -> None:
    data = json.loads(json.dumps(encode(plan())))
    holder = data
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    with pytest.raises(SacroplastyError):
        decode(Plan, data)
