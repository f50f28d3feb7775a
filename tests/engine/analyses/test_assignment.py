"""One-to-one assignment against brute force, its guarantee, and what it says of a real small run."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.analyses.assignment import compute, expected_seconds, missing, one_to_one
from engine.exact import correlate_exactly
from engine.store import add_group
from tests.engine.analyses.two_runs import two_runs


@pytest.fixture(scope="module")
def run():
    return two_runs()[0]


@pytest.fixture(scope="module")
def found(run):
    return compute(run)


@given(seed=st.integers(0, 2**16), n_sites=st.integers(1, 5), n_more=st.integers(0, 2))
def test_the_sum_of_r_is_the_largest_of_all_assignments(seed, n_sites, n_more):
    r = np.random.default_rng(seed).uniform(-1, 1, size=(n_sites, n_sites + n_more))
    chosen = one_to_one(r)
    site = np.arange(n_sites)
    best = max(r[site, list(units)].sum() for units in permutations(range(n_sites + n_more), n_sites))
    assert len(set(chosen.tolist())) == n_sites
    assert r[site, chosen].sum() == pytest.approx(best, abs=1e-12)


@given(seed=st.integers(0, 2**16), n_sites=st.integers(1, 6))
@settings(max_examples=50)
def test_as_many_ranks_as_sites_lose_nothing(seed, n_sites):
    rng = np.random.default_rng(seed)
    r = rng.uniform(-1, 1, size=(n_sites, 30)) + rng.uniform(-1, 1, size=30)
    r /= 4
    ranks = np.argsort(-r, axis=1)[:, :n_sites]
    shortlisted = np.full_like(r, np.nan)
    np.put_along_axis(shortlisted, ranks, np.take_along_axis(r, ranks, 1), 1)
    site = np.arange(n_sites)
    assert r[site, one_to_one(shortlisted)].sum() == pytest.approx(r[site, one_to_one(r)].sum(), abs=1e-12)


def test_a_site_without_any_unit_left_has_none_and_the_others_keep_theirs():
    r = np.array([[0.9, np.nan], [0.8, np.nan], [np.nan, np.nan]])
    assert one_to_one(r).tolist() == [0, -1, -1]
    assert one_to_one(np.array([[0.1, np.nan], [0.9, 0.8]])).tolist() == [0, 1]
    assert one_to_one(np.empty((2, 0))).tolist() == [-1, -1]


def test_units_are_distinct_and_their_r_is_exact(found, run):
    kept, response = run.dataset("match_responses"), run.dataset("recording")["response"]
    assert found["is_exact"].all()
    for region in ("V4", "IT"):
        sites = found["site"].values[found["region_of_site"] == region]
        named = {(str(found["layer"].sel(site=s).item()), int(found["unit"].sel(site=s))) for s in sites}
        assert len(named) == len(sites) == found["n_assigned"].sel(region=region)
    for site in found["site"].values:
        one = found.sel(site=site)
        row = np.flatnonzero((kept["layer"] == one["layer"].item()) & (kept["unit"] == one["unit"].item()))
        r = correlate_exactly(kept["activation"].values[row], response.sel(site=site).values)
        assert float(one["one_to_one"]) == pytest.approx(r[0], abs=1e-12)


def test_nobody_gains_and_who_keeps_the_best_unit_keeps_its_values(found, run):
    assert (found["one_to_one"] <= found["greedy"] + 1e-12).all()
    kept = found["rank"] == 0
    np.testing.assert_allclose(found["one_to_one"][kept], found["greedy"][kept], atol=1e-12)
    assert found["n_changed"].sum() == (~kept).sum()
    np.testing.assert_array_equal(found["greedy_held_out"], run.dataset("matches")["held_out"][:, 0])


def test_shared_units_are_counted_by_hand(found, run):
    best = run.dataset("matches").isel(rank=0)
    region = found["region_of_site"].values
    for variables, name in ((("layer", "unit"), "n_sharing"), (("layer", "channel"), "n_sharing_map")):
        keys = list(zip(region, *(best[v].values.tolist() for v in variables), strict=True))
        assert found[name].values.tolist() == [keys.count(key) for key in keys]


def test_sites_that_are_copies_of_each_other_share_a_unit_and_are_told_apart(tmp_path):
    import engine
    from tests.engine.worked_example import images, planted_recording, tiny_network

    network = tiny_network()
    planted = planted_recording(network).data["response"].values
    copies = planted[:, [0, 0, 0, 2, 2, 6]]
    about = {"site_ids": [f"site{i}" for i in range(6)], "region": ["V4"] * 6, "size_deg": 8.0, "name": "copies"}
    about["stimulus_ids"] = [f"image{i:03d}" for i in range(len(planted))]
    recording = engine.Recording.from_arrays(copies, images(), **about)
    found = compute(engine.match(network, recording, store=tmp_path, progress=False)).sel(region="V4")
    assert found["n_sharing"].values.tolist() == [3, 3, 3, 2, 2, 1]
    assert (found["n_shared"], found["n_distinct"], found["n_changed"]) == (5, 3, 3)
    assert found["mean_one_to_one"] < found["mean_greedy"]
    assert sorted(found["rank"].values[:3].tolist())[0] == 0


def test_fewer_ranks_than_sites_give_a_lower_bound_and_say_so(run):
    assert not compute(_Cut(run, 2))["is_exact"].any()
    assert compute(_Cut(run, 4))["is_exact"].all()


def test_without_folds_there_is_no_held_out_value(run):
    cut = _Cut(run, 100, without=("fold_matches",))
    assert np.isnan(compute(cut)["one_to_one_held_out"]).all()
    assert np.isnan(compute(cut)["median_one_to_one_held_out"]).all()


def test_it_can_be_stored_and_says_the_time_before(run, found):
    assert add_group(run, "assignment", found)["n_shared"].equals(found["n_shared"])
    assert 0 < expected_seconds(run) < 5
    assert missing(run) is None


class _Cut:
    """A run with fewer ranks, or without a group."""

    def __init__(self, run, n_ranks, without=()):
        self.run, self.n_ranks = run, n_ranks
        self.names = [name for name in run.names if name not in without]

    def dataset(self, name):
        found = self.run.dataset(name)
        return found.isel(rank=slice(self.n_ranks)) if "rank" in found.dims else found
