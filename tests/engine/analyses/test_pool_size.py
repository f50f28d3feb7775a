"""Expected best r of fewer units against drawing them, counting all subsets, and the closed form of chance."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analyses.pool_size import compute, expected_best, expected_seconds, missing, none_drawn, pool_sizes
from engine.analyses.random_control import best_r
from engine.schema import R_EDGES
from engine.store import add_group
from tests.engine.analyses.two_runs import two_runs


@pytest.fixture(scope="module")
def run():
    return two_runs()[0]


@pytest.fixture(scope="module")
def found(run):
    return compute(run)


def known(r: np.ndarray, n_top: int) -> tuple[np.ndarray, np.ndarray]:
    """What a run keeps of the r of one site's units."""
    return -np.sort(-r)[None, :n_top], np.histogram(r, R_EDGES)[0][None]


@given(seed=st.integers(0, 2**16), n=st.integers(1, 9), n_top=st.integers(1, 9))
def test_it_is_the_mean_over_all_subsets_within_the_width_of_the_bins(seed, n, n_top):
    r = np.random.default_rng(seed).uniform(-0.9, 0.9, n)
    sizes = np.arange(1, n + 1)
    expected, rounding = expected_best(*known(r, n_top), sizes)
    brute = [np.mean([max(r[list(subset)]) for subset in combinations(range(n), m)]) for m in sizes]
    assert (np.abs(expected[0] - brute) <= rounding[0] + 1e-9).all()
    assert (rounding[0] <= 0.005 + 1e-12).all()
    if n_top >= n:
        np.testing.assert_allclose(expected[0], brute, atol=1e-9)


def test_it_agrees_with_drawing_units_at_random():
    rng = np.random.default_rng(0)
    r = np.concatenate([rng.normal(0, 0.08, 20_000), rng.normal(0.3, 0.05, 200)]).clip(-1, 1)
    sizes = np.array([1, 10, 100, 1000, 10_000])
    expected, rounding = expected_best(*known(r, 100), sizes)
    for m, value, error in zip(sizes, expected[0], rounding[0], strict=True):
        drawn = [rng.choice(r, m, replace=False).max() for _ in range(400)]
        assert abs(value - np.mean(drawn)) < error + 4 * np.std(drawn) / 20
    assert rounding[0, -1] < 1e-12


def test_units_of_pure_noise_follow_the_closed_form_of_chance():
    rng = np.random.default_rng(0)
    n_stimuli, n_units = 200, 100_000
    t = stats.t.rvs(n_stimuli - 2, size=n_units, random_state=rng)
    sizes = np.array([10, 100, 1000, 10_000])
    expected = expected_best(*known(t / np.sqrt(n_stimuli - 2 + t**2), 100), sizes)[0][0]
    mean_of_best = [np.mean([best_r(n_stimuli, m, quantile=q) for q in np.linspace(0.005, 0.995, 100)]) for m in sizes]
    np.testing.assert_allclose(expected, mean_of_best, atol=0.008)


def test_the_probability_to_draw_none_of_the_best_is_hypergeometric():
    a, m = np.array([0, 1, 5, 60]), np.array([1, 7, 50, 100])
    expected = stats.hypergeom.pmf(0, 100, a[None, :], m[:, None])
    np.testing.assert_allclose(none_drawn(100, a, m), expected, atol=1e-12)
    large = stats.hypergeom.pmf(0, 10_000_000, 100, 500_000)
    assert none_drawn(10_000_000, np.array([100]), np.array([500_000]))[0, 0] == pytest.approx(large, rel=1e-6)


def test_the_score_grows_with_the_pool_and_ends_at_the_match(found, run):
    r = found["correlation"].values
    assert (np.diff(r, axis=1) >= -1e-12).all()
    np.testing.assert_allclose(r[:, -1], run.dataset("matches")["correlation"][:, 0], atol=1e-9)
    np.testing.assert_allclose(r[:, 0], _means(run), atol=0.005)
    assert (found["rounding"][:, -1] == 0).all()


def test_the_held_out_value_ends_at_that_of_the_match_and_is_told_where_the_ranks_suffice(found, run):
    held_out, n = found["held_out"].values, int(found["n_units"].min())
    np.testing.assert_allclose(held_out[:, -1], run.dataset("matches")["held_out"][:, 0], atol=1e-9)
    told = np.isfinite(held_out).mean(axis=0)
    sizes = np.minimum(found["pool"].values, n)
    not_ranked = none_drawn(n, np.array([100]), sizes)[:, 0]
    assert (told[not_ranked > 0.02] == 0).all()
    assert (told[not_ranked < 0.005] > 0.7).all()  # some units do not vary on the left-out part


def test_medians_are_over_the_sites_of_a_region_and_chance_is_that_of_as_many_units(found, run):
    of_v4 = found["correlation"].values[found["region_of_site"].values == "V4"]
    np.testing.assert_allclose(found["median_correlation"].sel(region="V4"), np.median(of_v4, axis=0))
    response = run.dataset("recording")["response"]
    n_seen = int(np.median(np.isfinite(response.values[:, found["region_of_site"].values == "V4"]).sum(axis=0)))
    at = found.sel(region="V4").isel(pool=20)
    assert float(at["random"]) == pytest.approx(best_r(n_seen, int(at["pool"])))
    assert found["n_matched"].values.tolist() == [3, 4]


def test_numbers_of_candidates_are_the_same_in_every_run_but_for_the_last():
    small, large = pool_sizes(5000), pool_sizes(2_500_000)
    assert set(small[:-1]) < set(large)
    assert (small[-1], large[-1], small[0]) == (5000, 2_500_000, 1)
    assert pool_sizes(1).tolist() == [1]


def test_a_site_without_units_has_no_value():
    top, count = known(np.array([0.2, 0.1]), 2)
    empty = np.full_like(top, np.nan), np.zeros_like(count)
    expected, rounding = expected_best(
        np.concatenate([top, empty[0]]), np.concatenate([count, empty[1]]), np.array([1, 3])
    )
    assert expected[0].tolist() == pytest.approx([0.15, 0.2])
    assert np.isnan(expected[1]).all()
    assert np.isnan(rounding[1]).all()


def test_it_can_be_stored_and_says_the_time_before(run, found):
    assert add_group(run, "pool_size", found)["median_correlation"].equals(found["median_correlation"])
    assert 0 < expected_seconds(run) < 5
    assert missing(run) is None


def _means(run) -> np.ndarray:
    """Mean r over all units of each site, from the counts: what a single drawn unit is expected to reach."""
    counts = run.dataset("unit_counts")["count"].sum("layer").transpose("site", "r_bin").values
    return counts @ ((R_EDGES[:-1] + R_EDGES[1:]) / 2) / counts.sum(axis=1)
