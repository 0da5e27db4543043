"""Pain belongs to the intervention before it; grades come from facts; appointments fall due."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacroplasty.errors import InputError
from sacroplasty.outcome.adverse_events import AdverseEvent, Sequelae, Therapy, cirse_2017, ctcae_5, grades
from sacroplasty.outcome.follow_up import SCHEDULES, overdue, schedule
from sacroplasty.outcome.pain import PainScore, Response, attributed, is_responder, response_of

YEO = (
    PainScore(date(2023, 9, 1), 10),
    PainScore(date(2023, 9, 10), 6, after="caudal epidural steroid injection"),
    PainScore(date(2023, 9, 20), 2, after="sacroplasty"),
    PainScore(date(2024, 1, 20), 2, after="sacroplasty"),
)


def test_each_drop_belongs_to_its_own_intervention() -> None:
    block, sacroplasty = attributed(YEO)
    assert (block.intervention, block.points) == ("caudal epidural steroid injection", -4)
    assert (sacroplasty.intervention, sacroplasty.points) == ("sacroplasty", -4)
    assert sacroplasty.response is Response.MUCH_BETTER


def test_the_order_of_entry_does_not_matter() -> None:
    assert attributed(tuple(reversed(YEO))) == attributed(YEO)


def test_words_are_kept_where_there_is_no_number() -> None:
    """Zhang's second patient had 'little pain' after 20 weeks."""
    scores = (
        PainScore(date(2007, 1, 1), None, "severe"),
        PainScore(date(2007, 6, 1), None, "little pain", "sacroplasty"),
    )
    assert attributed(scores)[0].response is Response.UNKNOWN
    with pytest.raises(InputError, match="number or words"):
        PainScore(date(2007, 1, 1), None)
    with pytest.raises(InputError, match="0 to 10"):
        PainScore(date(2007, 1, 1), 84)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10))
def test_more_relief_is_never_a_worse_response(before: float, after: float, less: float) -> None:
    order = [Response.WORSE, Response.UNCHANGED, Response.BETTER, Response.MUCH_BETTER, Response.COMPLETE]
    better = response_of(before, min(after, less))
    assert order.index(better) >= order.index(response_of(before, max(after, less)))


def test_a_responder_has_a_third_less() -> None:
    assert is_responder(10, 7)
    assert not is_responder(10, 7.5)
    assert not is_responder(0, 0)


def test_kortmans_decompression_is_grade_three_whatever_its_authors_call_it() -> None:
    """A patient who needed surgical decompression for radicular pain cannot be 'no major complication'."""
    event = AdverseEvent("radicular pain from cement", Therapy.MAJOR, extra_hospital_hours=72)
    assert cirse_2017(event).grade == "3"
    assert ctcae_5(event).grade == "3"


@given(st.sampled_from(Therapy), st.floats(0, 500), st.sampled_from(Sequelae))
def test_worse_facts_never_lower_a_grade(therapy: Therapy, hours: float, stays: Sequelae) -> None:
    event = AdverseEvent("event", therapy, hours, stays)
    worse = AdverseEvent("event", therapy, hours, Sequelae.DEATH)
    assert all(b.grade >= a.grade for a, b in zip(grades(event), grades(worse), strict=True))


def test_an_asymptomatic_leak_is_the_lowest_grade() -> None:
    assert [g.grade for g in grades(AdverseEvent("presacral leak", Therapy.NONE, symptomatic=False))] == ["1", "1", "A"]
    with pytest.raises(InputError):
        AdverseEvent("leak", Therapy.NONE, extra_hospital_hours=-1)


def test_schedules_run_forward_and_report_what_is_late() -> None:
    for name in SCHEDULES:
        days = [one.day for one in schedule(name)]
        assert days == sorted(days)
    late = overdue(date(2026, 1, 1), date(2026, 3, 1), {"day 1"})
    assert [one.name for one in late] == ["2 weeks", "1 month"]
    with pytest.raises(InputError, match="zhang-2008"):
        schedule("weekly")
