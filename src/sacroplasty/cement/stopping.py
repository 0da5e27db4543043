"""How quickly a leak was answered: from leak to alarm, from alarm to stop, and what that time cost in cement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sacroplasty.cement.ensemble import leak_threshold_ml
from sacroplasty.cement.ledger import Ledger
from sacroplasty.cement.result import DISCLAIMER, CementResult
from sacroplasty.errors import InputError


@dataclass(frozen=True)
class StopTiming:
    """One rehearsed injection: seconds of leak, alarm and stop since its start, and mL outside at the stop.

    `leak_to_stop_s` is the teaching measure: negative where the trainee stopped before the leak, None where nothing
    leaked; `avoidable_ml` leaked between the leak's first sight and the stop, `spared_ml` would have leaked after it.
    """

    leak_s: float | None
    alarm_s: float | None
    stop_s: float
    leak_to_stop_s: float | None
    leak_to_alarm_s: float | None
    alarm_to_stop_s: float | None
    leaked_ml: float
    avoidable_ml: float
    spared_ml: float
    statement: str = DISCLAIMER


def time_leak_to_stop(result: CementResult, stop_s: float, *, ledger: Ledger | None = None) -> StopTiming:
    """Times a stop at `stop_s`, seconds since the simulated injection began, against the leak of `result`.

    A `ledger` of its frames adds when the ledger would have called. InputError for a stop before the injection.
    """
    if not (np.isfinite(stop_s) and stop_s >= 0):
        raise InputError("The stop must come after the injection's start", got=f"{stop_s} s")
    times = np.array([0.0, *(m.time_s for m in result.moments)])
    outside = np.array([0.0, *(m.leaked_ml for m in result.moments)])
    least = leak_threshold_ml()
    leak = _first_crossing(times, outside, least)
    at_stop = float(np.interp(stop_s, times, outside))
    alarm = None
    if ledger is not None and leak is not None:
        wait = ledger.latency_s(leak)
        alarm = None if wait is None else leak + wait
    return StopTiming(
        leak_s=leak,
        alarm_s=alarm,
        stop_s=stop_s,
        leak_to_stop_s=None if leak is None else stop_s - leak,
        leak_to_alarm_s=None if leak is None or alarm is None else alarm - leak,
        alarm_to_stop_s=None if alarm is None else stop_s - alarm,
        leaked_ml=at_stop,
        avoidable_ml=max(at_stop - least, 0.0),
        spared_ml=float(outside[-1]) - at_stop,
    )


def _first_crossing(times: np.ndarray, volumes: np.ndarray, least: float) -> float | None:
    """The time at which a growing volume first reaches `least`, between moments by proportion."""
    reached = np.flatnonzero(volumes >= least)
    if not len(reached):
        return None
    n = int(reached[0])
    share = (least - volumes[n - 1]) / (volumes[n] - volumes[n - 1])
    return float(times[n - 1] + share * (times[n] - times[n - 1]))
