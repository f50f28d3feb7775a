"""Resampling against numpy on repeated rows, scipy's bootstrap, and closed forms."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analyses.resampling import (
    interval,
    median,
    median_intervals,
    require_resamples,
    stratified_weights,
    weighted_correlation,
)
from engine.errors import SettingsError


@given(seed=st.integers(0, 2**16), missing=st.sampled_from([0.0, 0.2]))
def test_r_under_whole_weights_is_r_of_repeated_rows(seed, missing):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(5, 3, size=(2, 30, 4))
    y[rng.random(y.shape) < missing] = np.nan
    counts = rng.integers(0, 3, size=(30, 6))
    r = weighted_correlation(x, y, counts.astype(float))
    for b in range(6):
        rows = np.repeat(np.arange(30), counts[:, b])
        for pair in range(4):
            seen = rows[np.isfinite(y[rows, pair])]
            assert r[b, pair] == pytest.approx(np.corrcoef(x[seen, pair], y[seen, pair])[0, 1], abs=1e-12)


def test_a_side_that_does_not_vary_in_a_resample_has_no_r():
    x = np.array([[0.0], [0.0], [0.0], [7.0]])
    y = np.array([[1.0], [2.0], [4.0], [3.0]])
    weights = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    r = weighted_correlation(x, y, weights)
    assert np.isnan(r[0, 0])
    assert r[1, 0] == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1])


def test_intervals_of_one_site_agree_with_scipys_bootstrap_and_with_fishers_z():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = 0.6 * x + 0.8 * rng.normal(size=400)
    weights, _ = stratified_weights(xr.Dataset(coords={"stimulus": np.arange(400)}), np.zeros(400, int), 4000, rng)
    low, high = interval(weighted_correlation(x[:, None], y[:, None], weights))
    expected = stats.bootstrap(
        (x, y),
        lambda a, b, axis: stats.pearsonr(a, b, axis=axis).statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=2000,
        batch=500,
        rng=np.random.default_rng(1),
    ).confidence_interval
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=0.01)
    np.testing.assert_allclose([low[0], high[0]], stats.pearsonr(x, y).confidence_interval(), atol=0.02)


def test_strata_keep_their_shares_and_small_ones_their_variance():
    n_strata, k = 8, 5
    objects = np.repeat([f"o{i}" for i in range(n_strata)], k)
    recording = xr.Dataset(coords={"object": ("stimulus", objects)})
    weights, label = stratified_weights(recording, np.zeros(40, int), 20_000, np.random.default_rng(0))
    assert label == "object"
    np.testing.assert_allclose(weights.reshape(n_strata, k, -1).sum(axis=1), k)
    values = np.random.default_rng(1).normal(size=40) + np.repeat(np.arange(n_strata), k)
    textbook = values.reshape(n_strata, k).var(axis=1, ddof=1).sum() * k / 40**2
    assert (values @ weights / 40).var() == pytest.approx(textbook, rel=0.03)


@pytest.mark.parametrize(("size", "label"), [(8, "object"), (6, "category"), (2, "")])
def test_strata_are_as_fine_as_four_stimuli_in_each_fold_allow(size, label):
    n = 4 * size
    coords = {"object": np.arange(n) // size, "category": np.arange(n) // (2 * size)}
    recording = xr.Dataset(coords={name: ("stimulus", values.astype(str)) for name, values in coords.items()})
    fold = np.arange(n) % 2
    weights, found = stratified_weights(recording, fold, 50, np.random.default_rng(0))
    assert found == label
    for part in (0, 1):
        np.testing.assert_allclose(weights[fold == part].sum(axis=0), n / 2)


@given(seed=st.integers(0, 2**16), n=st.integers(1, 9))
def test_medians_pass_over_what_is_missing(seed, n):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(5, n))
    values[rng.random(values.shape) < 0.3] = np.nan
    expected = [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values]
    np.testing.assert_array_equal(median(values), expected)


def test_each_kind_of_interval_of_a_median_has_the_spread_of_what_it_resamples():
    rng = np.random.default_rng(0)
    observed = rng.normal(0.4, 0.1, size=41)
    same_shift = rng.normal(0, 0.05, size=(3000, 1))
    low, high = median_intervals(observed, observed + same_shift, np.random.default_rng(1))
    widths = high - low
    assert widths[0] == pytest.approx(2 * 1.96 * 0.05, rel=0.08)
    of_sites = stats.bootstrap((observed,), np.median, method="percentile", rng=np.random.default_rng(2))
    assert widths[1] == pytest.approx(np.diff(of_sites.confidence_interval)[0], rel=0.1)
    assert widths[2] == pytest.approx(np.hypot(widths[0], widths[1]), rel=0.15)


def test_no_site_and_no_resample_give_no_interval():
    low, high = median_intervals(np.full(3, np.nan), np.full((100, 3), np.nan), np.random.default_rng(0))
    assert np.isnan([low, high]).all()
    values = np.zeros((100, 2))
    values[:6, 1] = np.nan
    assert np.isnan(interval(values)[0]).tolist() == [False, True]


def test_too_few_resamples_are_refused_with_what_is_usual():
    with pytest.raises(SettingsError, match=r"n_resamples=20: the ends of a 95 % interval need at least 100 .* 2000"):
        require_resamples(20)
