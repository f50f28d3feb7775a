"""Intervals of real small runs: what they hold, where they come from, and what they cover."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import engine
from engine.analyses import intervals
from engine.analyses.resampling import Pairs, matched_pairs, resample_scores, stratified_weights
from engine.errors import SettingsError
from engine.exact import correlate_exactly
from tests.engine.analyses.two_runs import two_runs
from tests.engine.worked_example import N_STIMULI, planted_recording, tiny_network


@pytest.fixture(scope="module")
def run():
    return two_runs()[0]


@pytest.fixture(scope="module")
def found(run):
    return intervals.compute(run, n_resamples=400)


def test_r_of_the_pairs_is_that_of_the_run(run):
    pairs, matches = matched_pairs(run), run.dataset("matches")
    n_sites = matches.sizes["site"]
    scores = resample_scores(pairs, np.ones((N_STIMULI, 1)))
    np.testing.assert_allclose(scores.correlation[0], matches["correlation"][:, 0], atol=1e-12)
    np.testing.assert_allclose(scores.held_out[0], matches["held_out"][:, 0], atol=1e-9)
    assert pairs.is_stand_in.shape == (2, n_sites)


def test_the_pairs_follow_the_ids_that_are_asked_for(run):
    stimuli, sites = (run.dataset("recording")[name].values[::-1] for name in ("stimulus", "site"))
    pairs, turned = matched_pairs(run), matched_pairs(run, stimuli, sites)
    np.testing.assert_array_equal(turned.activation, pairs.activation[::-1, ::-1])
    np.testing.assert_array_equal(turned.response, pairs.response[::-1, ::-1])
    np.testing.assert_array_equal(turned.fold_held_out, pairs.fold_held_out[:, ::-1])


def test_a_stand_in_lends_its_moves_to_the_r_of_the_unit_it_stands_for():
    rng = np.random.default_rng(0)
    fold = np.repeat([0, 1], 500)
    y = rng.normal(size=(1000, 1))
    unit, other = (a * y + np.sqrt(1 - a**2) * rng.normal(size=y.shape) for a in (0.6, 0.5))
    r = np.array([[correlate_exactly(unit[fold == f].T, y[fold == f, 0])[0]] for f in (0, 1)])
    own = Pairs(y, unit, fold, np.stack([unit, unit]), r, np.zeros((2, 1), bool))
    lent = replace(own, fold_activation=np.stack([unit, other]), is_stand_in=np.array([[False], [True]]))
    exact = resample_scores(lent, np.ones((1000, 1))).held_out[0, 0]
    assert exact == pytest.approx(r.mean(), abs=1e-12)
    weights = stratified_weights(xr.Dataset(), fold, 2000, rng)[0]
    spread = [resample_scores(pairs, weights).held_out.std() for pairs in (own, lent)]
    assert spread[1] == pytest.approx(spread[0], rel=0.1)


def test_every_value_lies_in_its_interval_and_medians_are_over_the_sites_of_a_region(found, run):
    best = run.dataset("matches")["correlation"][:, 0]
    assert (
        (found["correlation_low"] < found["correlation"]) & (found["correlation"] < found["correlation_high"])
    ).all()
    assert found["median_correlation"].sel(region="V4") == np.median(best[:4])
    width = found["median_held_out_high"] - found["median_held_out_low"]
    assert (width > 0).all()
    assert found["n_sites"].sel(region="IT") == 3
    assert set(found["correlation_status"].values) == {"ok"}
    assert found.attrs["strata"] == ""


def test_the_seed_decides(run, found):
    assert intervals.compute(run, n_resamples=400).identical(found)
    assert not intervals.compute(run, n_resamples=400, seed=1).identical(found)


def test_it_can_be_stored_and_says_the_time_before(run, found):
    stored = engine.store.add_group(run, "intervals", found)
    assert stored["median_correlation_low"].equals(found["median_correlation_low"])
    assert 0 < intervals.expected_seconds(run) < 5
    assert intervals.missing(run) is None


def test_without_folds_there_is_no_held_out_interval_and_the_status_says_so(tmp_path):
    run = engine.match(
        tiny_network(), planted_recording(tiny_network(), noise=0.7), folds=1, store=tmp_path, progress=False
    )
    found = intervals.compute(run, n_resamples=100)
    assert np.isnan(found["held_out_low"]).all()
    assert set(found["held_out_status"].values) == {"no folds"}
    assert found["n_held_out"].sum() == 0
    assert np.isfinite(found["correlation_low"]).all()


def test_unreliable_sites_are_those_below_the_threshold(tmp_path):
    rng = np.random.default_rng(0)
    recording = planted_recording(tiny_network(), noise=0.3)
    averages = recording.data["response"].values[:, :, None]
    trials = averages + rng.normal(size=(N_STIMULI, 7, 4)) * np.array([0.5] * 5 + [40] * 2)[None, :, None]
    about = {"site_ids": recording.data["site"].values, "region": ["V4"] * 4 + ["IT"] * 3}
    pictures = rng.integers(0, 256, (N_STIMULI, 20, 20, 3), dtype=np.uint8)
    recording = engine.Recording.from_arrays(
        trials, pictures, stimulus_ids=[f"i{k}" for k in range(N_STIMULI)], size_deg=8.0, name="trials", **about
    )
    run = engine.match(tiny_network(), recording, store=tmp_path, progress=False)
    found = intervals.compute(run, n_resamples=100)
    assert found["is_unreliable"].values.tolist() == [False] * 5 + [True] * 2
    assert found["n_unreliable"].sel(region=["IT", "V4"]).values.tolist() == [2, 0]
    assert found.attrs["reliable_from"] == 0.3
    assert found.attrs["ceiling_method"] == "split half, Spearman-Brown"


def test_an_impossible_threshold_is_refused(run):
    with pytest.raises(SettingsError, match=r"reliable_from=30: a reliability lies between 0 and 1"):
        intervals.compute(run, reliable_from=30)


@pytest.mark.slow
def test_intervals_cover_the_true_r_about_as_often_as_they_say():
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(150, 1))
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=(150, 1))
        weights = np.stack([np.bincount(rng.integers(0, 150, 150), minlength=150) for _ in range(500)], 1)
        low, high = intervals.interval(intervals.resample_scores(_pairs(x, y), weights.astype(float)).correlation)
        covered.append(low[0] <= 0.5 <= high[0])
    assert 0.91 <= np.mean(covered) <= 0.985


def _pairs(x, y):
    none = np.empty((0, 1))
    return Pairs(y, x, np.zeros(len(x), int), np.empty((0, *x.shape)), none, none.astype(bool))
