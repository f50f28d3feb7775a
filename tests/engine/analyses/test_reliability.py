"""Reliability against simulation, closed form, and the real trials."""

import numpy as np
import pytest

import engine
from engine.analyses.reliability import (
    NOT_AVAILABLE,
    POISSON,
    SPLIT_HALF,
    poisson_reliability,
    site_reliability,
    spearman_brown,
    split_half,
)
from engine.recordings import Recording


def recording(trials: np.ndarray, **attrs) -> Recording:
    n = len(trials)
    pictures = np.random.default_rng(0).integers(0, 255, (n, 4, 4, 3), dtype=np.uint8)
    return Recording.from_arrays(trials, pictures, stimulus_ids=[f"i{k}" for k in range(n)], attrs=attrs)


def test_split_half_recovers_the_simulated_reliability():
    rng = np.random.default_rng(0)
    signal, n_repeats = rng.normal(size=(12_000, 3, 1)), 10
    noise_sd = np.array([0.5, 1.0, 3.0])[None, :, None]
    trials = signal + noise_sd * rng.normal(size=(12_000, 3, n_repeats))
    expected = 1 / (1 + noise_sd.ravel() ** 2 / n_repeats)
    measured = spearman_brown(split_half(trials, n_splits=4, rng=rng))
    np.testing.assert_allclose(measured, expected, atol=0.02)


def test_repeats_that_were_not_shown_do_not_count():
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(2000, 2, 1)) + rng.normal(size=(2000, 2, 8))
    fewer = trials.copy()
    fewer[:, :, 4:] = np.nan
    few, cut = (split_half(t, n_splits=5, rng=np.random.default_rng(0)) for t in (trials[:, :, :4], fewer))
    np.testing.assert_allclose(few, cut, atol=0.03)


def test_poisson_estimate_recovers_the_simulated_reliability():
    rng = np.random.default_rng(0)
    rate = rng.gamma(3, 2, size=(20_000, 1))
    response = rng.poisson(rate[..., None], size=(20_000, 1, 6)).mean(axis=2)
    expected = rate.var() / (rate.var() + rate.mean() / 6)
    assert poisson_reliability(response, 6)[0] == pytest.approx(expected, abs=0.01)


def test_the_method_follows_from_what_the_recording_has():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(3, 2, size=(50, 2, 1)), size=(50, 2, 4)).astype(float)
    assert site_reliability(recording(counts).data).attrs["method"] == SPLIT_HALF
    averaged = recording(counts.mean(axis=2), response_unit="spike count per 100 ms", n_repeats=4)
    assert site_reliability(averaged.data).attrs["method"] == POISSON
    unknown = site_reliability(recording(counts.mean(axis=2)).data)
    assert unknown.attrs["method"] == NOT_AVAILABLE
    assert np.isnan(unknown["noise_ceiling"]).all()


@pytest.mark.real_data
def test_session_210325_has_the_published_split_half_reliability(cowley_dir):
    engine.fetch("cowley-v4", ["210325"], source=cowley_dir, progress=False)
    measured = site_reliability(engine.open_recording("cowley-v4/210325").data)
    assert float(measured["split_half"].median()) == pytest.approx(0.601, abs=0.005)
    assert float(measured["reliability"].median()) == pytest.approx(0.751, abs=0.005)
    assert float(measured["noise_ceiling"].median()) == pytest.approx(0.867, abs=0.005)
