"""Paired change, responders, relief, rates and the mixed model against other programs and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sacroplasty.errors import InputError
from sacroplasty.outcome.mixed_model import BASELINE, Scored, pain_over_time
from sacroplasty.outcome.paired import paired_change
from sacroplasty.outcome.rates import Looked, leak_rates, pooled_leak_rate, responder_rates
from sacroplasty.outcome.relief import Followed, followed, relief_curve

PAIRS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=30)


@given(PAIRS)
@settings(deadline=None, max_examples=50)
def test_paired_change_equals_scipy(pairs: list[tuple[int, int]]) -> None:
    from scipy import stats

    found = paired_change([(float(b), float(a)) for b, a in pairs])
    before, after = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    assert found.mean_change == pytest.approx(after.mean() - before.mean())
    if np.ptp(after - before) > 0:
        interval = stats.ttest_rel(after, before).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_patient_has_a_change_without_interval() -> None:
    found = paired_change([(6.0, 2.0)])
    assert found.mean_change == -4
    assert math.isnan(found.low)
    with pytest.raises(InputError, match="at least one patient"):
        paired_change([])
    with pytest.raises(InputError, match="finite"):
        paired_change([(math.nan, 1.0)])


def test_responders_by_three_definitions() -> None:
    found = responder_rates([(10, 7), (10, 8.5), (4, 2), (5, 0), (0, 0)])
    assert (found.thirty_percent.events, found.two_points.events, found.complete.events) == (3, 3, 1)
    assert found.complete.total == 4
    with pytest.raises(InputError, match="pain before"):
        responder_rates([(0, 0)])


def test_leaks_are_counted_by_modality_and_never_together() -> None:
    """CT-guided balloon 0 of 25 and C-arm 8 of 21 (PMID 25681131), two that nobody could judge."""
    found = [Looked("posterior", "CT", False)] * 25 + [Looked("posterior", "fluoroscopy", n < 8) for n in range(21)]
    found += [Looked("trans-sacroiliac", "not assessable", None)] * 2
    rates = {one.group: one for one in leak_rates(found)}
    assert {name: (one.events, one.total) for name, one in rates.items()} == {"CT": (0, 25), "fluoroscopy": (8, 21)}
    assert rates["fluoroscopy"].sentence == "8 of 21, 38 % (95 % interval 18 to 62 %)"
    assert [one.group for one in leak_rates(found, by_approach=True)] == ["CT, posterior", "fluoroscopy, posterior"]
    with pytest.raises(InputError, match="not pooled"):
        pooled_leak_rate(found)
    with pytest.raises(InputError, match="not pooled"):
        pooled_leak_rate([Looked("posterior", "", True)])
    assert pooled_leak_rate(found[:25]).events == 0


TIMES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=40)


@given(TIMES)
@settings(deadline=None, max_examples=60)
def test_relief_curve_equals_statsmodels(times: list[tuple[int, bool]]) -> None:
    survival = pytest.importorskip("statsmodels.duration.survfunc")
    found = relief_curve([Followed(float(day), lost) for day, lost in times])
    oracle = survival.SurvfuncRight([day for day, _ in times], [int(lost) for _, lost in times])
    kept = np.asarray(oracle.n_events) > 0
    assert [step.day for step in found.steps] == pytest.approx(np.asarray(oracle.surv_times)[kept])
    assert [step.share for step in found.steps] == pytest.approx(np.asarray(oracle.surv_prob)[kept])
    assert [step.at_risk for step in found.steps] == list(np.asarray(oracle.n_risk)[kept])


def test_relief_interval_of_a_textbook_curve() -> None:
    """Log-log interval by hand: 10 watched, one loss on day 1: S = 0.9, Greenwood term 1/90."""
    step = relief_curve([Followed(1, True)] + [Followed(9, False)] * 9).steps[0]
    width = 1.959963984540054 * math.sqrt(1 / 90) / abs(math.log(0.9))
    assert (step.low, step.high) == pytest.approx((0.9 ** math.exp(width), 0.9 ** math.exp(-width)))
    assert math.isnan(relief_curve([Followed(5, False)]).median_days)
    assert relief_curve([Followed(5, True)]).median_days == 5
    with pytest.raises(InputError, match="at least one"):
        relief_curve([])
    with pytest.raises(InputError, match="zero or more"):
        relief_curve([Followed(-1, True)])


def test_relief_is_lost_where_a_later_score_is_too_high() -> None:
    assert followed(10, [(1, 3), (30, 4), (91, 8)]) == Followed(90, True)
    assert followed(10, [(1, 3), (91, 2)]) == Followed(90, False)
    assert followed(10, [(1, 9), (30, 3), (91, 3)]) == Followed(61, False)
    assert followed(10, [(1, 9)]) is None


def scores(patients: int, seed: int, drop: float, missing: float = 0.0) -> list[Scored]:
    random = np.random.default_rng(seed)
    found = []
    for n in range(patients):
        own = random.normal(0, 1.2)
        for time, shift in ((BASELINE, 0.0), ("day 1", -drop), ("1 month", -drop - 0.5)):
            nrs = 8 + own + shift + random.normal(0, 0.8)
            if time == BASELINE or random.random() >= missing:
                found.append(Scored(f"P{n:03d}", time, float(nrs)))
    return found


def test_mixed_model_of_two_times_is_the_paired_t_interval() -> None:
    """With everybody scored before and after, the model must say what the paired analysis says."""
    given_scores = [one for one in scores(12, 3, 4.0) if one.time != "1 month"]
    found = pain_over_time(given_scores)
    first = [one.nrs for one in given_scores if one.time == BASELINE]
    later = [one.nrs for one in given_scores if one.time == "day 1"]
    paired = paired_change(list(zip(first, later, strict=True)))
    effect = found.effects[0]
    assert (effect.change, effect.low, effect.high) == pytest.approx((paired.mean_change, paired.low, paired.high))
    assert found.baseline == pytest.approx(np.mean(first))


@pytest.mark.parametrize(("seed", "missing"), [(1, 0.0), (2, 0.3), (3, 0.5)])
def test_mixed_model_equals_statsmodels(seed: int, missing: float) -> None:
    mixed = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    given_scores = scores(40, seed, 4.0, missing)
    times = ["day 1", "1 month"]
    found = pain_over_time(given_scores, times)
    design = np.array([[1.0, *(float(one.time == time) for time in times)] for one in given_scores])
    model = mixed.MixedLM(np.array([one.nrs for one in given_scores]), design, [one.patient for one in given_scores])
    oracle = model.fit(reml=True)
    # Its search stops early; at our variances its own likelihood must be at least as high.
    ours = model.loglike(np.array([found.between_sd / found.within_sd]))
    assert ours >= model.loglike(np.sqrt(np.asarray(oracle.cov_re)[0] / oracle.scale)) - 1e-7
    assert [found.baseline, *(one.change for one in found.effects)] == pytest.approx(list(oracle.fe_params), abs=1e-3)
    assert found.between_sd**2 == pytest.approx(np.asarray(oracle.cov_re)[0, 0], abs=1e-3)
    assert found.within_sd**2 == pytest.approx(oracle.scale, abs=1e-3)


def test_mixed_model_finds_the_truth_through_missing_scores() -> None:
    found = pain_over_time(scores(300, 5, 4.0, missing=0.4), ["day 1", "1 month"])
    assert found.effects[0].low < -4.0 < found.effects[0].high
    assert found.effects[1].low < -4.5 < found.effects[1].high
    assert found.between_sd == pytest.approx(1.2, abs=0.15)
    assert found.within_sd == pytest.approx(0.8, abs=0.1)
    assert found.effects[1].patients < 300


def test_mixed_model_without_scatter_between_patients() -> None:
    random = np.random.default_rng(4)
    flat = [Scored(f"P{n}", time, 5 + float(random.normal())) for n in range(30) for time in (BASELINE, "day 1")]
    assert pain_over_time(flat).between_sd < 0.6
    same = [Scored(f"P{n}", time, 5.0) for n in range(4) for time in (BASELINE, "day 1")]
    assert pain_over_time(same).effects[0].change == pytest.approx(0.0)


def test_mixed_model_refuses_what_it_cannot_fit() -> None:
    with pytest.raises(InputError, match="three patients"):
        pain_over_time(scores(2, 1, 4.0))
    few = [Scored("A", BASELINE, 8), Scored("B", BASELINE, 7), Scored("C", BASELINE, 9), Scored("C", "day 1", 3)]
    with pytest.raises(InputError, match="too few scores"):
        pain_over_time(few)
    twice = [*scores(3, 1, 4.0), Scored("P000", BASELINE, 5.0)]
    with pytest.raises(InputError, match="two scores"):
        pain_over_time(twice)
