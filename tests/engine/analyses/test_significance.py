"""The null is calibrated, p is a count, and matches that are real stand out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import engine
from engine.analyses import significance
from engine.analyses.random_control import best_r
from engine.analyses.significance import (
    discovery_rate,
    effective_units,
    exchange,
    pooled_p,
    threshold_r,
)
from engine.errors import SettingsError
from engine.store import add_group
from tests.engine.worked_example import to_input

N_STIMULI, N_UNITS, N_NULL = 60, 1500, 120


class Projections(nn.Module):
    """Random projections of the image: on images of noise, independent Gaussian units."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Linear(3 * 20 * 20, N_UNITS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.units(images.flatten(1))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """120 sites that answer at random, and three that answer like a unit, in a region of their own."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (N_STIMULI, 20, 20, 3), dtype=np.uint8)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        module = Projections()
        units = module(torch.stack([to_input(picture) for picture in pictures])).numpy()
    real = units[:, [3, 70, 900]] + 0.2 * units.std() * rng.normal(size=(N_STIMULI, 3))
    responses = np.concatenate([rng.normal(size=(N_STIMULI, N_NULL)), real, np.full((N_STIMULI, 1), 2.0)], axis=1)
    recording = engine.Recording.from_arrays(
        responses,
        pictures,
        stimulus_ids=[f"i{k:02d}" for k in range(N_STIMULI)],
        region=["null"] * N_NULL + ["real"] * 4,
        stimulus_coords={"category": np.arange(N_STIMULI) % 4},
        name="planted",
    )
    network = engine.Network.from_module(module, to_input, name="random", image_size=(20, 20))
    run = engine.match(network, recording, top=1, progress=False, store=tmp_path_factory.mktemp("store"))
    return run, SimpleNamespace(network=network, recording=recording, device="cpu", memory="2GiB", progress=None)


@pytest.fixture(scope="module", params=["all", "category"])
def computed(planted, request):
    return significance.compute(*planted, permutations=10, null=request.param)


def test_p_of_sites_without_a_match_is_uniform(computed):
    for name in ("p", "held_out_p"):
        assert stats.kstest(computed[name].values[:N_NULL], "uniform").pvalue > 0.01
    assert computed["n_significant"].sel(region="null") == 0
    assert computed["n_held_out_significant"].sel(region="null") == 0


def test_planted_sites_are_significant_even_held_out(computed):
    of_region = computed.sel(region="real")
    assert computed["p"].values[N_NULL:-1].tolist() == [pytest.approx(1 / 31)] * 3
    assert (int(of_region["n_significant"]), int(of_region["n_held_out_significant"])) == (3, 3)
    assert (int(of_region["n_sites"]), int(of_region["n_left_out"])) == (3, 1)
    assert np.isnan(computed["q"].values[-1])
    assert (computed["null_region"] == "real").sum() == 30


def test_images_exchanged_among_all_give_the_closed_form_of_independent_units(planted):
    found = significance.compute(*planted, permutations=10, null="all").sel(region="null")
    assert float(found["null_median"]) == pytest.approx(best_r(N_STIMULI, N_UNITS), abs=0.01)
    assert float(found["threshold"]) == pytest.approx(best_r(N_STIMULI, N_UNITS, quantile=0.95), abs=0.02)
    assert 0.5 * N_UNITS < float(found["effective_units"]) < 2 * N_UNITS
    assert float(found["closed_form_95"]) == best_r(N_STIMULI, N_UNITS, quantile=0.95)


def test_the_null_is_numpys_best_r_of_permuted_responses(planted):
    run, source = planted
    columns = significance._columns(run, 2, np.random.default_rng(0), within_category=True)
    found = significance.compute(run, source, permutations=2)
    with torch.inference_mode():
        pictures = [source.recording.stimuli.pixels(name) for name in columns["stimulus"].values]
        units = source.network.module(torch.stack([to_input(picture) for picture in pictures])).numpy()
    r = np.corrcoef(units.T, columns["response"].values[:, :4].T)[N_UNITS:, :N_UNITS]
    np.testing.assert_allclose(found["null_correlation"][:4], r.max(axis=1), atol=2e-6)
    fold = run.dataset("folds")["fold"].sel(stimulus=columns["stimulus"]).values
    for column in range(4):
        y, held_out = columns["response"].values[:, column], []
        for out in (0, 1):
            chosen, left = fold != out, fold == out
            best = np.corrcoef(units[chosen].T, y[chosen])[-1, :-1].argmax()
            held_out.append(np.corrcoef(units[left, best], y[left])[0, 1])
        assert float(found["null_held_out"][column]) == pytest.approx(np.mean(held_out), abs=2e-6)


def test_the_quick_version_takes_the_runs_shuffles_and_no_network(planted):
    run, _ = planted
    found = significance.compute(run, None, null="stored")
    null = run.dataset("null")
    np.testing.assert_array_equal(found["null_correlation"], null["network_correlation"])
    np.testing.assert_array_equal(found["null_region"], null["region"])
    assert found.attrs["null"] == "among all images, the run's shuffles"
    assert significance.expected_seconds(run, null="stored") < significance.expected_seconds(run)
    stored = add_group(run, "significance", found, {"key": "1"})
    assert stored["null_site"].values.tolist() == null["site"].values.tolist()


def test_responses_are_exchanged_within_their_category_and_stay_missing():
    rng = np.random.default_rng(0)
    response, category = np.arange(40.0), np.arange(40) % 3
    response[[4, 5]] = np.nan
    exchanged = exchange(response, category, rng)
    assert np.isnan(exchanged[[4, 5]]).all()
    for label in range(3):
        own = category == label
        np.testing.assert_array_equal(np.sort(exchanged[own]), np.sort(response[own]))
    assert (exchanged != response)[np.isfinite(response)].mean() > 0.7


def test_p_counts_the_null_values_that_reach_it():
    null = np.array([0.1, 0.2, 0.2, np.nan, 0.4])
    np.testing.assert_allclose(pooled_p(np.array([0.5, 0.2, 0.05, np.nan]), null), [0.2, 0.8, 1, np.nan])


@pytest.mark.parametrize("n", [19, 20, 100, 1000])
def test_above_the_threshold_p_is_at_most_the_level(n):
    null = np.random.default_rng(0).normal(size=n)
    limit = threshold_r(null)
    above, at = pooled_p(np.array([limit + 1e-9, limit]), null)
    assert above <= 0.05 < at
    assert np.isnan(threshold_r(null[:18]))


def test_false_discovery_rates_are_the_largest_step_of_benjamini_and_hochberg():
    q = discovery_rate(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    np.testing.assert_allclose(q, [0.04, np.nan, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5])
    assert np.isnan(discovery_rate(np.array([np.nan]))).all()


def test_effective_units_undo_the_closed_form():
    assert effective_units(best_r(640, 12345), 640) == pytest.approx(12345, rel=1e-6)
    assert np.isnan(effective_units(-0.1, 640))


def test_settings_that_make_no_sense_are_named(planted):
    run, source = planted
    with pytest.raises(SettingsError, match=r"null='perm' is unknown. Choose one of 'category', 'all', 'stored'\."):
        significance.compute(run, source, null="perm")
    with pytest.raises(SettingsError, match="permutations=0: a whole number of at least 1 is needed"):
        significance.compute(run, source, permutations=0)


def test_a_run_without_shuffles_or_matches_says_so(planted):
    run, source = planted
    no_shuffles = {name: run.dataset(name) for name in ("recording", "matches", "layers")}
    no_shuffles["null"] = run.dataset("null").isel(shuffle=slice(0, 0))
    bare = SimpleNamespace(digest=run.digest, dataset=no_shuffles.get)
    with pytest.raises(SettingsError, match=r"was matched with shuffles=0. Choose null='category' or 'all'\."):
        significance.compute(bare, source, null="stored")
    assert significance.missing(run) is None
    nothing = run.dataset("matches").assign(site_status=("site", ["constant"] * (N_NULL + 4)))
    none = SimpleNamespace(recording="mine", network="net", dataset=lambda _: nothing)
    assert significance.missing(none) == (
        "no site of mine has a match with net; its responses or all units are constant."
    )
