"""Steps in their order, also on a machine whose clock is set back between two of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sacroplasty.workstation import checklist
from sacroplasty.workstation.refusals import Refused


def done_in(seconds: float) -> dict[str, dict[str, str]]:
    return {"incision": {"at": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}}


def test_a_clock_set_back_a_little_does_not_stop_the_next_step() -> None:
    done = done_in(30)
    at = checklist.moment(done, "needle_in")
    checklist.require_order(done, "needle_in", at)
    assert at == datetime.fromisoformat(done["incision"]["at"])


def test_an_earlier_step_in_the_far_future_still_stops_it() -> None:
    done = done_in(3600)
    with pytest.raises(Refused, match="cannot be earlier"):
        checklist.require_order(done, "needle_in", checklist.moment(done, "needle_in"))


def test_now_is_now() -> None:
    before = datetime.now(UTC)
    assert before <= checklist.moment(done_in(-60), "needle_in") <= datetime.now(UTC) + timedelta(seconds=1)
