"""The published series: nothing is pooled that must not be, the pool equals other programs, reviews are explained."""

from __future__ import annotations

import csv
import math
from importlib import resources

import numpy as np
import pytest

from sacroplasty.errors import InputError
from sacroplasty.outcome import Method, pool
from sacroplasty.outcome.reproduction import comparisons
from sacroplasty.outcome.series import (
    early_band,
    early_series,
    later_band,
    later_scores,
    pooled_change,
    published_series,
)

ROWS = {one.series: one for one in published_series()}


def test_every_row_has_a_source_and_overlaps_name_a_row() -> None:
    assert len(ROWS) == len(published_series()) >= 36
    for one in published_series():
        assert one.source
        assert not one.overlaps or one.overlaps in ROWS
    assert {score.series for score in later_scores()} <= set(ROWS)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bayley-2009", "review"), ("chandra-2019", "review"), ("tarawneh-2020", "review"),
        ("ortiz-2012", "patients of kortman-2013-lesion"), ("gupta-2014", "medians"), ("dougherty-2014", "medians"),
        ("pelvic-2019", "not of the sacrum"), ("yeo-2024", "case report"), ("zhang-2008", "case report"),
        ("moussazadeh-2015", "no standard deviations"), ("andresen-2017-balloon", "how many were scored"),
    ],
)  # fmt: skip
def test_what_must_not_be_pooled_is_left_out_with_its_reason(name: str, reason: str) -> None:
    assert reason in ROWS[name].poolable
    with pytest.raises(InputError, match="cannot be pooled"):
        _ = ROWS[name].change
    left_out = dict(pooled_change().left_out)
    assert reason in left_out[name]


def test_every_row_is_either_pooled_or_left_out() -> None:
    found = pooled_change()
    assert {one.series for one in found.rows} | {name for name, _ in found.left_out} == set(ROWS)
    assert not {one.series for one in found.rows} & {name for name, _ in found.left_out}


def test_the_sacroplastys_part_of_yeos_relief_is_in_the_table() -> None:
    """NRS 10 to 6 was the caudal block."""
    assert (ROWS["yeo-2024"].before, ROWS["yeo-2024"].after) == (6, 2)


def test_counts_and_printed_percentages_are_both_kept() -> None:
    review = ROWS["tarawneh-2020"]
    assert (review.leaks, review.leak_total, review.leak_printed_percent) == (26, 107, 25.4)


@pytest.mark.parametrize("method", [Method.FIXED, Method.DERSIMONIAN_LAIRD, Method.REML])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_pool_of_the_table_equals_pymare(method: Method, correlation: float) -> None:
    pymare = pytest.importorskip("pymare")
    estimators = pytest.importorskip("pymare.estimators")
    found = pooled_change(method, correlation=correlation)
    dataset = pymare.Dataset(y=np.array(found.effects)[:, None], v=np.array(found.variances)[:, None])
    oracle = {
        Method.FIXED: lambda: estimators.WeightedLeastSquares(tau2=0.0),
        Method.DERSIMONIAN_LAIRD: estimators.DerSimonianLaird,
        Method.REML: lambda: estimators.VarianceBasedLikelihoodEstimator(method="REML"),
    }[method]()
    summary = oracle.fit_dataset(dataset).summary()
    fixed = summary.get_fe_stats()
    assert found.pooled.effect == pytest.approx(float(np.ravel(fixed["est"])[0]), abs=1e-6)
    assert found.pooled.standard_error == pytest.approx(float(np.ravel(fixed["se"])[0]), abs=1e-6)
    if method is not Method.FIXED:
        assert found.pooled.tau2 == pytest.approx(float(np.ravel(summary.tau2)[0]), abs=1e-5)
        heterogeneity = summary.get_heterogeneity_stats()
        assert found.pooled.q == pytest.approx(float(np.ravel(heterogeneity["Q"])[0]), abs=1e-6)
        assert found.pooled.i2 == pytest.approx(float(np.ravel(heterogeneity["I^2"])[0]) / 100, abs=1e-6)


def test_the_pool_of_the_table_equals_statsmodels() -> None:
    combine = pytest.importorskip("statsmodels.stats.meta_analysis").combine_effects
    found = pooled_change(Method.DERSIMONIAN_LAIRD)
    oracle = combine(np.array(found.effects), np.array(found.variances), method_re="dl", use_t=True)
    frame = oracle.summary_frame()
    row = frame.loc["random effect wls"]
    assert found.pooled.effect == pytest.approx(row["eff"], abs=1e-6)
    assert (found.pooled.low, found.pooled.high) == pytest.approx((row["ci_low"], row["ci_upp"]), abs=1e-6)
    assert found.pooled.i2 == pytest.approx(oracle.i2, abs=1e-6)


def test_the_prediction_interval_is_higgins() -> None:
    """Mean plus or minus t with k - 2 degrees of freedom times the root of tau2 plus the mean's variance."""
    from scipy import stats

    found = pool([-6.0, -7.3, -6.4, -3.6], [0.19, 0.01, 0.11, 0.06], Method.REML)
    half = stats.t.ppf(0.975, 2) * math.sqrt(found.tau2 + found.standard_error**2)
    assert found.prediction_high - found.effect == pytest.approx(half)
    assert math.isnan(pool([1.0, 2.0], [0.1, 0.1]).prediction_low)


def test_the_assumed_correlation_hardly_moves_the_pool() -> None:
    effects = [pooled_change(correlation=r).pooled.effect for r in (0.0, 0.5, 0.8)]
    assert max(effects) - min(effects) < 0.05
    with pytest.raises(InputError, match="between -1 and 1"):
        pooled_change(correlation=1.0)


def test_rows_of_unknown_time_come_in_only_when_asked_for() -> None:
    known, more = set(early_series()), set(early_series(with_unknown_time=True))
    assert known < more
    assert {one.series for one in more - known} == {"pmid-25681131-ct", "pmid-25681131-c-arm", "tian-2019"}


def test_bands_are_the_printed_means() -> None:
    assert early_band() == (1.7, 4.1)
    assert later_band(182) == (1.48, 2.4)
    assert math.isnan(later_band(5000)[0])


def test_the_two_reviews_are_reproduced_or_explained() -> None:
    found = {(one.review, one.measure): one for one in comparisons()}
    assert found["chandra-2019", "pain before"].reproduced
    assert "cannot have a standard error below 0.33" in found["chandra-2019", "pain before"].why.replace("\n", " ")
    for measure in ("pain before", "pain after"):
        assert found["tarawneh-2020", measure].reproduced
    leaks = found["tarawneh-2020", "leaks, per cent"]
    assert not leaks.reproduced
    assert round(leaks.ours, 1) == 24.3
    # The sentence about whole numbers of patients, checked.
    assert not [n for n in range(95, 110) if round(100 * 26 / n, 1) == 25.4]


def test_the_table_on_disk_is_what_is_read() -> None:
    text = resources.files("sacroplasty.evidence").joinpath("series.csv").read_text(encoding="utf-8")
    lines = list(csv.DictReader(text.splitlines()))
    assert [line["series"] for line in lines] == [one.series for one in published_series()]
    assert all(None not in line for line in lines)
