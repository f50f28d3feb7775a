"""Medians over sites and their intervals."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

import engine
from engine.analyses.neural_correlation import _median, _resampled_medians
from engine.errors import SettingsError
from tests.engine.worked_example import planted_recording, tiny_network


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def test_it_is_the_median_over_the_sites_of_a_region(network):
    run = engine.match(network, planted_recording(network, noise=0.7), progress=False)
    scores, best = run.dataset("neural_correlation"), run.dataset("matches")["correlation"][:, 0].values
    assert scores["region"].values.tolist() == ["IT", "V4"]
    np.testing.assert_allclose(scores["correlation"].sel(layer="").values, [np.median(best[4:]), np.median(best[:4])])
    profile = run.dataset("layer_profile")
    for layer in profile["layer"].values:
        np.testing.assert_allclose(
            scores["held_out"].sel(layer=layer, region="V4"), profile["held_out"].sel(layer=layer)[:4].median()
        )


def test_intervals_agree_with_scipys_percentile_bootstrap(network):
    recording = planted_recording(network, noise=0.7, region=["V4"] * 7)
    run = engine.match(network, recording, progress=False)
    row = run.dataset("neural_correlation").sel(layer="", region="V4")
    best = run.dataset("matches")["correlation"][:, 0].values
    expected = bootstrap((best,), np.median, method="percentile", n_resamples=5000, rng=np.random.default_rng(0))
    interval = [float(row["correlation_low"]), float(row["correlation_high"])]
    np.testing.assert_allclose(interval, expected.confidence_interval, atol=0.03)


def test_an_analysis_is_computed_once_and_again_for_another_seed(network, monkeypatch):
    def refuse(run, *, seed=0):
        raise AssertionError("computed")

    run = engine.match(network, planted_recording(network, noise=0.7), progress=False)
    first = engine.analyse(run, "neural_correlation", seed=5)
    with monkeypatch.context() as patch:
        patch.setattr("engine.analyses.neural_correlation.compute", refuse)
        assert engine.analyse(run, "neural_correlation", seed=5).identical(first)
        with pytest.raises(AssertionError, match="computed"):
            engine.analyse(run, "neural_correlation", seed=6)
    assert engine.analyse(run, "neural_correlation", seed=6).attrs["seed"] == 6


def test_unknown_analyses_and_settings_are_refused_by_name(network):
    run = engine.match(network, planted_recording(network), progress=False)
    with pytest.raises(SettingsError, match=r"no analysis 'decodign'. There are: neural_correlation, reliability"):
        engine.analyse(run, "decodign")
    with pytest.raises(SettingsError, match="reliability has no setting 'sites'; it has seed=0"):
        engine.analyse(run, "reliability", sites=3)


@given(n=st.integers(1, 700), seed=st.integers(0, 2**16), share=st.sampled_from([0.0, 0.02, 1.0]))
@settings(max_examples=60, deadline=None)
def test_medians_are_those_of_numpy_whatever_is_missing(n, seed, share):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, 2, n)).round(1)
    values[rng.random(values.shape) < share] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of all-NaN slices
        np.testing.assert_array_equal(_median(values), np.nanmedian(values, axis=-1))


@given(n=st.integers(1, 400), seed=st.integers(0, 2**16), share=st.sampled_from([0.0, 0.02, 1.0]))
@settings(max_examples=60, deadline=None)
def test_medians_of_resampled_sites_are_those_of_their_values(n, seed, share):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n).round(1)
    values[rng.random(n) < share] = np.nan
    resampled = rng.integers(0, n, size=(30, n))
    np.testing.assert_array_equal(_resampled_medians(values, resampled), _median(values[resampled]))
