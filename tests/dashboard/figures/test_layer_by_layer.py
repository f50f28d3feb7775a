import numpy as np
import pytest

from dashboard.figures import chance, layer_by_layer


@pytest.fixture
def groups(run_datasets):
    return [run_datasets[name] for name in ("layer_profile", "null", "recording")]


def test_medians_and_quartiles_over_the_sites_of_the_region(groups):
    data = layer_by_layer.data(*groups, "V4")
    r = groups[0]["correlation"].isel(site=slice(0, 7)).values
    np.testing.assert_allclose(data["correlation"], np.median(r, axis=1))
    np.testing.assert_allclose(data["quartile_high"], np.percentile(r, 75, axis=1))
    assert data.attrs["n_sites"] == 7
    assert data["control"].isna().all()


def test_chance_is_the_median_of_the_null_within_the_layer(groups):
    data = layer_by_layer.data(*groups, "V4")
    np.testing.assert_allclose(data["chance_median"], chance.in_layers(groups[1], "V4", 50))
    assert (data["chance_median"] < chance.in_layers(groups[1], "V4")).all()


def test_a_control_with_the_same_layers_is_drawn_and_has_a_key(groups):
    data = layer_by_layer.data(*groups, "V4", control=groups[0] * 0.5)
    np.testing.assert_allclose(data["control"], data["correlation"] * 0.5)
    assert not layer_by_layer.describe(data).marks_of("ControlLine").is_empty
    assert "untrained" in [key.label for key in layer_by_layer.keys(data)]


def test_a_control_with_other_layers_is_left_out(groups, other_datasets):
    data = layer_by_layer.data(*groups, "V4", control=other_datasets["layer_profile"])
    assert data["control"].isna().all()
    assert "untrained" not in [key.label for key in layer_by_layer.keys(data)]


def test_a_layer_without_values_is_nan(groups):
    profile = groups[0].copy(deep=True)
    profile["correlation"][0] = np.nan
    data = layer_by_layer.data(profile, *groups[1:], "V4")
    assert np.isnan(data.loc[0, "correlation"])
    layer_by_layer.describe(data, layer="fc")


def test_the_caption_counts_the_sites(groups):
    assert layer_by_layer.caption(layer_by_layer.data(*groups, "IT")) == "median and quartiles of 5 IT sites"


def test_the_caption_tells_of_sites_without_any_r(groups):
    profile = groups[0].copy(deep=True)
    profile["correlation"].loc[{"site": "site08"}] = np.nan
    data = layer_by_layer.data(profile, *groups[1:], "IT")
    assert layer_by_layer.caption(data) == "median and quartiles of 4 of 5 IT sites"
