"""A cement forecast in a plan's deposits."""

from __future__ import annotations

import pytest

from sacroplasty.errors import InputError
from sacroplasty.plan import (
    Approach,
    CementForecast,
    Injection,
    Level,
    Needle,
    NeedlePlan,
    Plan,
    Side,
    Trajectory,
    dosed,
)


def _plan(*volumes):
    deposits = tuple(Injection(60.0 - 10 * n, v, 0.05, "PMMA", n + 1) for n, v in enumerate(volumes))
    path = Trajectory((0.0, 60.0, 0.0), (0.0, 0.0, 0.0))
    needle = NeedlePlan(Needle.gauge(13), path, injections=deposits)
    return Plan(Approach.TRANS_SACROILIAC, Side.LEFT, Level.S1, (needle,), {"planned_volume_ml": sum(volumes)})


def test_shares_are_kept_where_the_forecast_names_none():
    plan = dosed(_plan(3.0, 1.0), CementForecast(2.0, 0.5, 0.1, "Simulated"))
    assert [i.volume_ml for i in plan.first.injections] == [1.5, 0.5]
    assert plan.measures["planned_volume_ml"] == 2.0
    assert plan.measures["predicted_fill_share"] == 0.5
    assert plan.measures["predicted_grave_leak_probability"] == 0.1
    assert "Simulated" in plan.reasons[-1]


def test_each_deposit_gets_its_own():
    plan = dosed(_plan(3.0, 1.0), CementForecast(2.5, 0.5, 0.1, "Simulated", (0.0, 2.5)))
    assert [(i.order, i.volume_ml) for i in plan.first.injections] == [(2, 2.5)]


def test_nothing_to_inject_warns():
    plan = dosed(_plan(3.0), CementForecast(0.0, 0.0, 0.6, "Simulated"))
    assert plan.total_volume_ml == 0.0
    assert plan.findings[-1].code == "PLAN-NO-DOSE"


@pytest.mark.parametrize(
    "values",
    [(-1.0, 0.5, 0.1), (1.0, 1.5, 0.1), (1.0, 0.5, -0.1), (float("nan"), 0.5, 0.1)],
)
def test_impossible_forecasts_are_refused(values):
    with pytest.raises(InputError, match="forecast"):
        CementForecast(*values, "Simulated")


def test_deposits_must_add_up():
    with pytest.raises(InputError, match="add up"):
        CementForecast(3.0, 0.5, 0.1, "Simulated", (1.0, 1.0))


def test_a_forecast_for_another_plan_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        dosed(_plan(3.0, 1.0), CementForecast(3.0, 0.5, 0.1, "Simulated", (3.0,)))
    with pytest.raises(InputError, match="does not fit"):
        dosed(_plan(), CementForecast(3.0, 0.5, 0.1, "Simulated"))
