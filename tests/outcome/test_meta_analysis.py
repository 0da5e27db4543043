"""Pooling against statsmodels, closed forms and its own symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sacroplasty.errors import InputError
from sacroplasty.outcome.meta_analysis import Method, exact_interval, logit_rate, pool

STUDIES = st.lists(st.tuples(st.floats(-5, 5), st.floats(0.05, 3)), min_size=3, max_size=12)


@settings(deadline=None, max_examples=60)
@given(STUDIES)
def test_it_equals_statsmodels(studies: list[tuple[float, float]]) -> None:
    combine = pytest.importorskip("statsmodels.stats.meta_analysis").combine_effects
    y, v = (np.array(column) for column in zip(*studies, strict=True))
    with np.errstate(all="ignore"):
        oracle = combine(y, v, method_re="dl", use_t=True)
    ours = pool(y, v, Method.DERSIMONIAN_LAIRD)
    assert pool(y, v, Method.FIXED).effect == pytest.approx(oracle.mean_effect_fe, abs=1e-9)
    if oracle.tau2 <= 0:
        # statsmodels keeps a negative variance between studies; the method's authors cut it at zero, as we do.
        assert ours.tau2 == 0
        return
    assert ours.tau2 == pytest.approx(oracle.tau2, abs=1e-9)
    assert ours.effect == pytest.approx(oracle.mean_effect_re, abs=1e-9)
    assert ours.standard_error == pytest.approx(oracle.sd_eff_w_re_hksj, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(STUDIES)
def test_reml_is_the_maximum(studies: list[tuple[float, float]]) -> None:
    from sacroplasty.outcome.meta_analysis import _negative_restricted_likelihood as likelihood

    y, v = (np.array(column) for column in zip(*studies, strict=True))
    found = pool(y, v, Method.REML).tau2
    grid = np.linspace(0, 3 * (np.var(y) + v.max()), 400)
    assert likelihood(found, y, v) <= min(likelihood(t, y, v) for t in grid) + 1e-8


@given(STUDIES, st.floats(-10, 10))
@settings(deadline=None, max_examples=40)
def test_shifting_every_study_shifts_the_mean_alone(studies: list[tuple[float, float]], shift: float) -> None:
    y, v = (np.array(column) for column in zip(*studies, strict=True))
    before, after = pool(y, v, Method.DERSIMONIAN_LAIRD), pool(y + shift, v, Method.DERSIMONIAN_LAIRD)
    assert after.effect == pytest.approx(before.effect + shift, abs=1e-6)
    assert after.tau2 == pytest.approx(before.tau2, abs=1e-6)


def test_equal_studies_have_no_heterogeneity() -> None:
    found = pool([2.0, 2.0, 2.0], [0.1, 0.2, 0.3])
    assert (found.tau2, found.i2) == (0.0, 0.0)
    assert found.effect == pytest.approx(2.0)


@pytest.mark.parametrize(("effects", "variances"), [([1.0], [1.0]), ([1, 2], [1, 0]), ([1, 2], [1, math.nan])])
def test_bad_studies_are_refused(effects: list[float], variances: list[float]) -> None:
    with pytest.raises(InputError):
        pool(effects, variances)


def test_exact_intervals_of_known_rates() -> None:
    """Tian 2019: three leaks in ten."""
    low, high = exact_interval(3, 10)
    assert (round(low, 4), round(high, 4)) == (0.0667, 0.6525)
    assert exact_interval(0, 25)[0] == 0.0
    with pytest.raises(InputError):
        exact_interval(3, 2)


def test_a_rate_of_nothing_still_has_a_variance() -> None:
    logit, variance = logit_rate(0, 25)
    assert logit < 0
    assert variance > 0
