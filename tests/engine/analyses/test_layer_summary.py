"""Layers of the matches, best layers with and without choosing on the same data, depth over networks."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import engine
from engine.analyses.layer_summary import compute, depth_over_networks, medians, missing, region_layers, v4_before_it
from engine.analyses.random_control import best_r
from engine.errors import SettingsError
from tests.engine.worked_example import planted_recording, tiny_network

REGION = ["V4", "V4", "IT", "V4", "IT", "V4", "V4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3, region=REGION)
    recording.data["response"][:5, 6] = np.nan
    return engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def found(run):
    return compute(run)


def without_matches(run, sites):
    """The run as it is where some sites do not vary."""
    matches, profile = run.dataset("matches"), run.dataset("layer_profile")
    varies = ~matches["site"].isin(sites)
    lost = {
        "matches": matches.assign(
            correlation=matches["correlation"].where(varies),
            held_out=matches["held_out"].where(varies),
            layer=matches["layer"].where(varies, ""),
            site_status=matches["site_status"].where(varies, "constant"),
        ),
        "layer_profile": profile.where(varies),
    }
    return SimpleNamespace(
        dataset=lambda name: lost[name] if name in lost else run.dataset(name), recording="planted", network="tiny"
    )


def test_every_match_is_counted_in_its_layer(run, found):
    assert (found["n_matches"].sum("layer") == found["n_sites"] - found["n_left_out"]).all()
    matched = run.dataset("matches")["layer"].isel(rank=0)
    of_v4 = matched.sel(site=[f"site{i}" for i, name in enumerate(REGION) if name == "V4"]).values
    for layer in found["layer"].values:
        assert found["n_matches"].sel(region="V4", layer=layer) == (of_v4 == layer).sum()


def test_depth_is_the_index_over_the_number_of_layers_less_one(run, found):
    names = run.dataset("layers")["layer"].values.tolist()
    expected = [names.index(name) / (len(names) - 1) for name in run.dataset("matches")["layer"].isel(rank=0).values]
    np.testing.assert_allclose(found["depth"], expected)


def test_no_layer_exceeds_the_whole_network_at_any_site(run, found):
    profile = run.dataset("layer_profile")["correlation"]
    assert (profile <= found["correlation"] + 1e-12).all()
    assert (found["best_correlation"] <= found["network_correlation"]).all()


def test_the_best_layer_is_that_of_the_highest_median(run, found):
    profile = run.dataset("layer_profile")
    for region in ("V4", "IT"):
        sites = [f"site{i}" for i, name in enumerate(REGION) if name == region]
        median = np.median(profile["correlation"].sel(site=sites), axis=1)
        one = found.sel(region=region)
        np.testing.assert_allclose(one["median_correlation"], median)
        assert one["best_layer"] == profile["layer"].values[median.argmax()]
        assert one["best_layer_index"] == median.argmax()
        best = profile["held_out"].sel(site=sites).isel(layer=median.argmax())
        assert float(one["best_held_out"]) == pytest.approx(float(best.median()))


def test_a_layer_chosen_on_the_other_sites_does_not_see_the_site(run, found):
    held_out = run.dataset("layer_profile")["held_out"].values
    region = np.array(REGION)
    expected = []
    for site, own in enumerate(region):
        others = [i for i in range(7) if i != site and region[i] == own]
        layer = np.argmax([np.median(row[others]) for row in held_out])
        expected.append(held_out[layer, site])
    np.testing.assert_allclose(found["held_out_in_layer_of_others"], expected)
    for name in ("V4", "IT"):
        chosen = np.array(expected)[region == name]
        assert float(found["others_held_out"].sel(region=name)) == pytest.approx(np.median(chosen))


def test_the_control_is_the_closed_form_for_the_units_and_the_stimuli(run, found):
    n_ok = run.dataset("layers")["n_ok"]
    for layer in found["layer"].values:
        assert float(found["median_control"].sel(region="IT", layer=layer)) == pytest.approx(
            best_r(60, int(n_ok.sel(layer=layer)))
        )
    assert float(found["network_control"].sel(region="IT")) == pytest.approx(best_r(60, int(n_ok.sum())))


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ({"V4": 3, "IT": 7}, "yes"),
        ({"IT": 2, "V4": 3}, "no"),
        ({"V4": 3, "IT": 3}, "same layer"),
        ({"V4": 3}, "not available: no best layer for IT"),
        ({"V4": -1, "IT": 2, "V1": 0}, "not available: no best layer for V4"),
        ({"V1": 0}, "not available: no best layer for V4 and IT"),
    ],
)
def test_whether_v4_precedes_it_follows_from_the_layers(index, told):
    summary = xr.Dataset({"best_layer_index": ("region", list(index.values()))}, {"region": list(index)})
    assert v4_before_it(summary) == told


def test_v4_sites_planted_in_earlier_layers_precede_it_sites(found):
    assert str(found["v4_before_it"].values) == "yes"
    assert found["best_layer"].sel(region="IT") == "fc"


def test_a_site_that_does_not_vary_is_left_out_and_counted(run):
    found = compute(without_matches(run, ["site6"])).sel(region="V4")
    assert (int(found["n_sites"]), int(found["n_left_out"]), int(found["n_matches"].sum())) == (5, 1, 4)
    assert np.isnan(found["depth"].sel(site="site6"))
    assert found["layer_index"].sel(site="site6") == -1
    kept = run.dataset("matches")["correlation"].isel(rank=0, site=[0, 1, 3, 5])
    assert float(found["network_correlation"]) == pytest.approx(float(kept.median()))


def test_without_any_match_it_says_what_is_needed(run):
    none = without_matches(run, run.dataset("matches")["site"].values)
    told = (
        "no site of planted has a match (constant); responses to at least 3 stimuli, and units, that differ between "
        "stimuli are needed."
    )
    assert missing(none) == told
    with pytest.raises(SettingsError, match="there is no best layer: no site of planted"):
        region_layers(none)


def test_a_layer_can_be_named_and_an_unknown_one_is_refused(run):
    assert missing(run) is None
    assert region_layers(run, "conv2") == {"IT": "conv2", "V4": "conv2"}
    with pytest.raises(
        SettingsError, match=r"layer 'conv9' is not among the 4 layers of tiny: conv1, relu1, conv2, fc\. Name one"
    ):
        region_layers(run, "conv9")


def test_depth_over_networks_is_a_median_and_an_sd_over_networks(found):
    other = found.assign(depth=found["depth"] * 0.5).isel(site=slice(None, None, -1))
    third = found.assign(depth=found["depth"].where(found["site"] != "site2"))
    over = depth_over_networks({"a": found, "b": other, "c": third})
    depth = np.stack([found["depth"], 0.5 * found["depth"], third["depth"]])
    np.testing.assert_allclose(over["depth"], depth)
    np.testing.assert_allclose(over["depth_median"], np.nanmedian(depth, axis=0))
    np.testing.assert_allclose(over["depth_sd"], np.nanstd(depth, axis=0, ddof=1))
    assert over["n_networks"].values.tolist() == [3, 3, 2, 3, 3, 3, 3]
    assert np.isnan(depth_over_networks({"a": found})["depth_sd"]).all()


def test_depth_is_never_paired_across_recordings(found):
    with pytest.raises(SettingsError, match=r"no run was given\. Match a network"):
        depth_over_networks({})
    with pytest.raises(
        SettingsError, match="one and two were matched against different recordings: 1 sites are on one "
    ):
        depth_over_networks({"one": found, "two": found.isel(site=slice(6))})
    alike = found.assign_attrs(digests={"responses": "ab"})
    with pytest.raises(
        SettingsError, match=r"different recordings: responses differ\. Sites are paired across networks"
    ):
        depth_over_networks({"one": found, "two": alike})


def test_medians_leave_out_what_is_not_known():
    np.testing.assert_array_equal(medians(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])), [2.0, np.nan])
    assert medians(np.empty((2, 0))).tolist() == pytest.approx([np.nan] * 2, nan_ok=True)


def test_it_is_stored_with_the_run(run, found):
    stored = engine.store.add_group(run, "layer_summary", found, {"key": "a"})
    np.testing.assert_array_equal(stored["layer_of_match"], found["layer_of_match"])
    assert str(stored["v4_before_it"].values) == str(found["v4_before_it"].values)
