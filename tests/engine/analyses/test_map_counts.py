"""Counts by feature map and position sum to S and 100 S, and agree with counting one by one."""

import numpy as np
import pytest

import engine
from engine.analyses.map_counts import compute
from tests.engine.worked_example import planted_recording, tiny_network

REGION = ["V4"] * 4 + ["IT"] * 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3, region=REGION)
    recording.data["response"][:, 3] = 2.0
    return engine.match(network, recording, top=100, progress=False, store=tmp_path_factory.mktemp("store"))


def totals(counts, region):
    here, there = counts["map_region"] == region, counts["position_region"] == region
    return [
        int(counts[name][mask.values].sum())
        for name, mask in (("matches_in_map", here), ("units_in_map", here), ("matches_at", there), ("units_at", there))
    ]


def test_counts_sum_to_the_sites_and_to_a_hundred_times_the_sites(run):
    counts = compute(run, layer="conv1")
    assert totals(counts, "IT") == [3, 300, 3, 300]
    assert totals(counts, "V4") == [3, 300, 3, 300]  # four sites, one of which has no match
    assert counts["n_sites"].sel(region="V4") == 4
    assert counts["n_matched"].sel(region="V4") == 3
    assert counts["n_units"].sel(region="V4") == 300


def test_a_layer_with_fewer_units_than_ranks_says_so(run):
    counts = compute(run, layer="fc")
    assert totals(counts, "IT") == [3, 30, 3, 30]
    assert counts["n_units"].sel(region="IT") == 30


def test_each_region_is_counted_in_its_best_layer(run):
    counts, summary = compute(run), engine.analyses.layer_summary.compute(run)
    for region in ("V4", "IT"):
        assert counts["layer"].sel(region=region) == summary["best_layer"].sel(region=region)
        layer = str(counts["layer"].sel(region=region).values)
        assert set(counts["map_layer"].values[counts["map_region"].values == region]) == {layer}
        assert (counts["map_region"] == region).sum() == run.dataset("layers")["channels"].sel(layer=layer)


def test_counting_one_by_one_gives_the_same(run):
    counts = compute(run, layer="conv2")
    best = run.dataset("layer_matches").sel(layer="conv2")
    here, there = counts["map_region"].values == "IT", counts["position_region"].values == "IT"
    for rank, map_name, position_name in (
        (slice(0, 1), "matches_in_map", "matches_at"),
        (slice(None), "units_in_map", "units_at"),
    ):
        chosen = best.isel(rank=rank).sel(site=["site4", "site5", "site6"])
        maps, places = np.zeros(6, int), np.zeros((8, 8), int)
        for c, y, x in zip(*(chosen[name].values.ravel() for name in ("channel", "y", "x")), strict=True):
            maps[c] += 1
            places[y, x] += 1
        np.testing.assert_array_equal(counts[map_name].values[here], maps)
        np.testing.assert_array_equal(counts[position_name].values[there].reshape(8, 8), places)
    np.testing.assert_array_equal(counts["y"].values[there].reshape(8, 8)[:, 0], np.arange(8))


def test_the_expected_number_of_maps_is_that_of_random_draws(run):
    counts = compute(run, layer="conv2").sel(region="IT")
    draws = np.random.default_rng(0).integers(0, 6, (20_000, 3))
    simulated = np.mean([len(set(row)) for row in draws.tolist()])
    assert float(counts["n_maps_expected"]) == pytest.approx(simulated, abs=0.02)
    assert int(counts["n_maps_matched"]) <= 3
