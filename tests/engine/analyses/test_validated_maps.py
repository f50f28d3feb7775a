"""Best r of each map, thresholds corrected for maps x sites, and what each of the two does under its own null."""

import numpy as np
import pytest
from scipy import stats

import engine
from engine.analyses.layer_summary import region_layers
from engine.analyses.random_control import best_r
from engine.analyses.validated_maps import THRESHOLDS, closed_form_p, compute, gumbel_of
from engine.errors import SettingsError
from tests.engine.worked_example import activations, images, planted_recording, tiny_network

REGION = ["V4"] * 4 + ["IT"] * 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3, region=REGION)
    recording.data["response"][:4, 4] = np.nan
    return engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def judged(run):
    return compute(run, layer="conv2")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A run without shuffles, of a network whose map 2 of conv2 is silent."""
    network = tiny_network()
    network.module.conv2.weight.data[2] = 0
    network.module.conv2.bias.data[2] = 0
    store = tmp_path_factory.mktemp("store")
    return engine.match(network, planted_recording(network, noise=0.3), shuffles=0, progress=False, store=store)


def of(judged, region):
    return judged.isel(feature_map=np.flatnonzero(judged["map_region"].values == region))


def test_the_best_r_of_a_map_is_over_all_its_positions_and_the_sites_of_the_region(run, judged):
    units = activations(tiny_network(), images())["conv2"].reshape(60, 6, 64)
    response = run.dataset("recording")["response"].values[:, :4]
    r = np.array([[np.corrcoef(np.c_[y, units[:, c]].T)[0, 1:] for c in range(6)] for y in response.T])
    found = of(judged, "V4")
    np.testing.assert_allclose(found["best"], r.max(axis=(0, 2)), atol=1e-6)
    flat = r.transpose(1, 0, 2).reshape(6, -1).argmax(axis=1)
    assert found["best_site"].values.tolist() == [f"site{i}" for i in flat // 64]
    np.testing.assert_array_equal(found["y"], flat % 64 // 8)
    np.testing.assert_array_equal(found["x"], flat % 8)
    above = (r.max(axis=2).T[:, :, None] > np.array(THRESHOLDS)).sum(axis=1)
    np.testing.assert_array_equal(found["n_above"], above)


def test_counts_above_thresholds_never_rise_and_stay_within_the_sites(judged):
    n_above = judged["n_above"].transpose("feature_map", "threshold_of_r").values
    assert (np.diff(n_above, axis=1) <= 0).all()
    assert n_above[judged["map_region"].values == "IT"].max() <= 3
    assert n_above[judged["map_region"].values == "V4"].max() == 4


def test_a_map_is_validated_if_it_passes_the_larger_threshold(run, judged):
    one = judged.sel(region="V4")
    threshold = max(float(one["threshold_closed_form"]), float(one["threshold_shuffles"]))
    assert float(one["threshold"]) == threshold
    n_ok = int(run.dataset("layers")["n_ok"].sel(layer="conv2"))
    assert float(one["threshold_closed_form"]) == pytest.approx(best_r(60, 4 * n_ok, quantile=0.95))
    assert float(judged["threshold_closed_form"].sel(region="IT")) == pytest.approx(best_r(56, 3 * n_ok, quantile=0.95))
    found = of(judged, "V4")
    is_valid = found["status"].values == "validated"
    np.testing.assert_array_equal(is_valid, found["best"].values > threshold)
    np.testing.assert_array_equal(is_valid, found["p_value"].values < 0.05)
    assert int(one["n_validated"]) == is_valid.sum() > 0
    assert not is_valid.all()


def test_p_of_the_closed_form_is_the_level_at_the_threshold():
    for n_stimuli, n_units in ((60, 1e3), (2560, 1e7)):
        limit = best_r(n_stimuli, n_units, quantile=0.95)
        assert float(closed_form_p(np.array(limit), n_stimuli, n_units)) == pytest.approx(0.05, rel=1e-3)
    assert closed_form_p(np.array([1.0, -1.0]), 60, 100).tolist() == [0, 1]


def test_under_a_true_null_one_layer_in_twenty_has_a_map_above_the_closed_form():
    rng = np.random.default_rng(0)
    n, n_units, n_sites = 30, 40, 5
    limit = best_r(n, n_units * n_sites, quantile=0.95)
    draws = 2000
    x, y = (stats.zscore(rng.normal(size=(draws, n, k)), axis=1) for k in (n_units, n_sites))
    share = ((x.transpose(0, 2, 1) @ y / n).max(axis=(1, 2)) > limit).mean()
    assert share == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / draws))


def test_the_gumbel_of_single_sites_is_moved_to_the_best_of_many():
    rng = np.random.default_rng(1)
    single = np.tanh(stats.gumbel_r.rvs(0.2, 0.01, size=4000, random_state=rng))
    location, scale = gumbel_of(single, 50)
    assert scale == pytest.approx(0.01, rel=0.05)
    of_many = np.arctanh(rng.choice(single, (4000, 50))).max(axis=1)
    assert stats.gumbel_r.isf(0.05, location, scale) == pytest.approx(np.quantile(of_many, 0.95), abs=0.01)


def test_few_shuffles_leave_the_closed_form_alone(bare):
    assert gumbel_of(np.full(9, 0.2) + np.arange(9) / 100, 5) is None
    assert gumbel_of(np.full(30, 0.2), 5) is None
    one = compute(bare, layer="conv2").sel(region="V4")
    assert np.isnan(one["threshold_shuffles"])
    assert one["threshold"] == one["threshold_closed_form"]
    assert one["n_shuffles"] == 0


def test_a_map_without_a_unit_is_neither(bare):
    found = of(compute(bare, layer="conv2"), "V4").isel(feature_map=2)
    assert str(found["status"].values) == "no unit"
    assert str(found["best_site"].values) == ""
    assert np.isnan(found["best"])
    assert np.isnan(found["p_value"])
    assert (int(found["y"]), int(found["n_above"].sum())) == (-1, 0)


def test_each_region_is_judged_in_its_best_layer(run):
    judged = compute(run)
    layers = dict(zip(judged["region"].values.tolist(), judged["layer"].values.tolist(), strict=True))
    assert layers == region_layers(run)
    for region, layer in layers.items():
        assert set(of(judged, region)["map_layer"].values) == {layer}


@pytest.mark.parametrize("level", [0, 1, -0.1])
def test_a_level_that_is_no_probability_is_refused(run, level):
    with pytest.raises(
        SettingsError, match=rf"level={level}: a probability between 0 and 1 is needed, such as 0\.05\."
    ):
        compute(run, level=level)
