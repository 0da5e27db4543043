"""The teaching measure: time from leak to stop, in a patient who leaks for certain."""

from __future__ import annotations

import numpy as np
import pytest

from sacroplasty.cement import CementResult, simulate_injection, time_leak_to_stop
from sacroplasty.cement.ledger import Amount, Entry, Ledger
from sacroplasty.errors import InputError
from sacroplasty.evidence import value
from tests.cement.patient import patient


@pytest.fixture(scope="module")
def leaking() -> CementResult:
    p = patient(breach=True, volume_ml=5.0)
    return simulate_injection(p.ct, p.anatomy, p.lesion, p.plan, lesion_model="void", spacing_mm=2.0, updates=8)


def test_time_from_leak_to_stop_and_what_it_cost(leaking: CementResult) -> None:
    times = np.array([0.0, *(m.time_s for m in leaking.moments)])
    outside = np.array([0.0, *(m.leaked_ml for m in leaking.moments)])
    least = value("assumptions.cement_leak_threshold")
    late = time_leak_to_stop(leaking, float(times[-1]))
    assert late.leak_s is not None
    assert np.interp(late.leak_s, times, outside) == pytest.approx(least, rel=1e-6)
    assert late.leak_to_stop_s == pytest.approx(times[-1] - late.leak_s)
    assert late.leaked_ml == pytest.approx(outside[-1])
    assert late.spared_ml == pytest.approx(0.0)
    prompt = time_leak_to_stop(leaking, late.leak_s + 5.0)
    assert prompt.leak_to_stop_s == pytest.approx(5.0)
    assert 0 < prompt.avoidable_ml < late.avoidable_ml
    assert prompt.leaked_ml + prompt.spared_ml == pytest.approx(late.leaked_ml)
    early = time_leak_to_stop(leaking, late.leak_s - 10.0)
    assert early.leak_to_stop_s == pytest.approx(-10.0)
    assert early.avoidable_ml == 0.0


def test_the_ledgers_alarm_splits_the_time(leaking: CementResult) -> None:
    some = Amount(0.1, 0.05, 0.2)
    leak = time_leak_to_stop(leaking, 0.0).leak_s
    assert leak is not None
    ledger = Ledger(tuple(Entry(leak + t, some, some, some, some, t > 0) for t in (-4.0, 6.0)))
    timed = time_leak_to_stop(leaking, leak + 9.0, ledger=ledger)
    assert timed.leak_to_alarm_s == pytest.approx(6.0)
    assert timed.alarm_to_stop_s == pytest.approx(3.0)
    deaf = time_leak_to_stop(leaking, leak + 9.0, ledger=Ledger(ledger.entries[:1]))
    assert deaf.alarm_s is None
    assert deaf.alarm_to_stop_s is None


def test_without_a_leak_there_is_no_time() -> None:
    p = patient()
    calm = simulate_injection(p.ct, p.anatomy, p.lesion, p.plan, spacing_mm=2.0, updates=8)
    timed = time_leak_to_stop(calm, 30.0)
    assert timed.leak_to_stop_s is None
    assert timed.leaked_ml < value("assumptions.cement_leak_threshold")
    with pytest.raises(InputError, match="stop"):
        time_leak_to_stop(calm, -1.0)
