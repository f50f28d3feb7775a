"""Site by site correlations against numpy, pandas and closed forms; orders; noise-corrected values."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.analyses.site_correlations import compute, correlations, leaf_order, missing, noise_corrected
from tests.engine.worked_example import planted_recording, tiny_network

REGION = ["V4", "IT", "V4", "IT", "V4", "V4", "IT"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3, region=REGION)
    recording.data["response"][:, 5] = 2.0
    return engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def found(run):
    return compute(run)


def altered(run, **groups):
    """The run with other groups in the place of its own."""
    return SimpleNamespace(
        dataset=lambda name: groups[name] if name in groups else run.dataset(name),
        names=[*run.names, *groups],
        recording=run.recording,
    )


def test_it_is_numpys_correlation_matrix(run, found):
    response = run.dataset("recording")["response"].sel(site=found["site"]).values
    np.testing.assert_allclose(found["correlation"], np.corrcoef(response.T), atol=1e-12)
    assert (found["n_stimuli"] == 60).all()


def test_a_site_that_does_not_vary_is_left_out_and_counted(found):
    assert int(found["n_left_out"]) == 1
    assert "site5" not in found["site"].values


@given(st.integers(0, 2**16), st.integers(2, 8), st.integers(3, 40), st.floats(0, 1e6))
def test_without_gaps_it_is_symmetric_positive_semidefinite_and_one_on_the_diagonal(seed, n_sites, n, offset):
    r, _ = correlations(np.random.default_rng(seed).gamma(2, 5, (n, n_sites)) + offset)
    np.testing.assert_array_equal(r, r.T)
    np.testing.assert_array_equal(np.diag(r), 1)
    assert np.linalg.eigvalsh(r).min() > -1e-9


def test_with_gaps_every_pair_is_correlated_over_its_common_stimuli():
    rng = np.random.default_rng(0)
    response = rng.gamma(2, 5, (40, 6))
    response[rng.random(response.shape) < 0.3] = np.nan
    r, n = correlations(response)
    np.testing.assert_allclose(r, pd.DataFrame(response).corr(), atol=1e-12)
    assert n[0, 1] == np.isfinite(response[:, :2]).all(axis=1).sum()


def test_too_few_common_stimuli_and_a_constant_on_them_give_no_r():
    response = np.arange(12.0).reshape(6, 2) ** 2
    response[:4, 0] = np.nan
    r, n = correlations(response)
    assert np.isnan(r[0, 1])
    assert n[0, 1] == 2
    assert r[1, 1] == 1
    steady = np.column_stack([np.r_[np.full(5, 0.1), 9.0], np.arange(6.0)])
    steady[5, 1] = np.nan
    assert np.isnan(correlations(steady)[0][0, 1])


def test_noise_correction_undoes_independent_noise():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(20_000, 2)) @ np.array([[1, 0.6], [0, 0.8]])
    noisy = signal + rng.normal(size=signal.shape) * [0.5, 1.0]
    r, _ = correlations(noisy)
    corrected = noise_corrected(r, np.array([1 / 1.25, 1 / 2]))
    assert corrected[0, 1] == pytest.approx(0.6, abs=0.02)
    assert r[0, 1] < 0.45
    np.testing.assert_array_equal(np.diag(corrected), 1)


def test_an_unknown_or_vanishing_reliability_corrects_nothing():
    corrected = noise_corrected(np.full((3, 3), 0.5), np.array([0.25, np.nan, 0.0]))
    assert np.isfinite(corrected).sum() == 1


def test_reliability_is_named_and_unknown_without_trials(found):
    assert found.attrs["reliability_method"] == "not available: no trials"
    assert np.isnan(found["noise_corrected"]).all()


def test_reliability_of_the_run_is_taken_where_it_has_one(run):
    reliability = np.linspace(0.4, 0.9, 7)
    held = xr.Dataset(
        {"reliability": ("site", reliability)}, {"site": run.dataset("matches")["site"]}, {"method": "told"}
    )
    found = compute(altered(run, reliability=held))
    assert found.attrs["reliability_method"] == "told"
    expected = found["correlation"].values[0, 1] / np.sqrt(reliability[0] * reliability[1])
    assert found["noise_corrected"].values[0, 1] == pytest.approx(expected)


def test_both_orders_keep_regions_together(found):
    region = found["region"].values
    for name in ("recording_order", "cluster_order"):
        place = found[name].values
        assert sorted(place.tolist()) == list(range(6))
        assert region[np.argsort(place)].tolist() == ["V4"] * 3 + ["IT"] * 3
    assert found["site"].values[np.argsort(found["recording_order"].values)].tolist() == [
        f"site{i}" for i in (0, 2, 4, 1, 3, 6)
    ]


def test_clustering_brings_planted_groups_together():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat([0, 1, 2], 5))
    response = rng.normal(size=(200, 3))[:, group] + 0.5 * rng.normal(size=(200, 15))
    order = leaf_order(correlations(response)[0])
    assert sorted(order.tolist()) == list(range(15))
    assert (np.diff(group[order]) != 0).sum() == 2
    assert leaf_order(np.eye(2)).tolist() == [0, 1]


def test_with_a_single_site_it_says_what_is_needed(run):
    assert missing(run) is None
    matches = run.dataset("matches")
    status = matches["site_status"].where(matches["site"] == "site0", "constant")
    told = missing(altered(run, matches=matches.assign(site_status=status)))
    assert told == "1 of the sites of planted vary over at least 3 stimuli; two or more are needed to correlate them."
