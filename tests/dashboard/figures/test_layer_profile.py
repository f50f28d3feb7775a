import numpy as np
import pytest

from dashboard.figures import chance, layer_profile


@pytest.fixture
def data(run_datasets):
    return layer_profile.data(run_datasets["layer_profile"], run_datasets["null"], run_datasets["recording"], "site08")


def test_values_are_those_of_the_site(data, run_datasets):
    one = run_datasets["layer_profile"].sel(site="site08")
    np.testing.assert_array_equal(data["correlation"], one["correlation"])
    np.testing.assert_array_equal(data["held_out"], one["held_out"])
    assert list(data["layer"]) == ["conv1", "fire2", "fire3", "fc"]


def test_quartiles_are_over_the_sites_of_its_region(data, run_datasets):
    sites = run_datasets["recording"]["site"][run_datasets["recording"]["region"] == "IT"]
    neighbours = run_datasets["layer_profile"]["correlation"].sel(site=sites)
    assert data.attrs["n_sites"] == 5
    np.testing.assert_allclose(data["quartile_low"], np.percentile(neighbours, 25, axis=1))
    np.testing.assert_allclose(data["quartile_high"], np.percentile(neighbours, 75, axis=1))


def test_chance_of_r_and_of_held_out_r_are_two_strips(data, run_datasets):
    np.testing.assert_array_equal(data["chance"], chance.in_layers(run_datasets["null"], "IT"))
    assert (data["chance_held_out"] < data["chance"]).mean() >= 0.5
    drawing = layer_profile.describe(data)
    strips = [drawing.marks_of(role).columns["high"] for role in ("Chance", "ChanceHeldOut")]
    assert not np.allclose(*strips)
    assert len(strips[0]) == len(data) + 2  # to both edges of the frame


def test_the_axis_holds_negative_held_out_values(data):
    data.loc[1, "held_out"] = -0.31
    assert layer_profile.describe(data).axes.ylim[0] < -0.31


def test_the_selected_layer_has_a_ring(data):
    ring = layer_profile.describe(data, layer="fire3").marks_of("Selection").columns
    assert ring["x"].tolist() == [2.0]
    assert ring["y"][0] == data.loc[2, "correlation"]


def test_a_tap_anywhere_in_a_column_is_the_layer(data):
    hit = layer_profile.describe(data).marks_of("Hit").columns
    assert list(hit["key"]) == ["conv1", "fire2", "fire3", "fc"]
    assert hit["left"].tolist() == [-0.5, 0.5, 1.5, 2.5]


def test_a_layer_without_units_leaves_gaps_and_a_key_still_reads(data):
    data.loc[0, ["correlation", "held_out", "quartile_low", "quartile_high", "chance"]] = np.nan
    drawing = layer_profile.describe(data)
    assert len(drawing.marks_of("Quartiles").columns["x"]) == 3
    assert drawing.marks_of("Hit").columns["r"][0] == "n/a"
    assert layer_profile.keys(data)[2].label == "IT quartiles"


def test_in_a_deep_network_the_selected_layer_is_written_at_its_ring(data):
    deep = data.loc[[0] * 60].reset_index(drop=True)
    deep["layer"] = [f"_blocks.{i}._bn2" for i in range(60)]
    deep.attrs = data.attrs
    drawing = layer_profile.describe(deep, layer="_blocks.7._bn2")
    assert list(drawing.marks_of("LayerNote").columns["text"]) == ["_blocks.7._bn2"]
    assert len(drawing.axes.xticks) < 10


def test_the_caption_says_whose_profile_it_is(data):
    assert layer_profile.caption(data) == "site08, 4 layers"
