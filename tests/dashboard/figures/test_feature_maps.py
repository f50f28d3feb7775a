import numpy as np
import pytest
import xarray as xr

from dashboard.figures import feature_maps, feature_maps_runner_ups


def counts(matches, units, region="V4", layer="fire3"):
    n = len(matches)
    totals = {"n_sites": sum(matches) + 1, "n_matched": sum(matches), "n_units": sum(units)}
    totals |= {"n_maps_matched": sum(m > 0 for m in matches), "n_maps_expected": 3.7}
    return xr.Dataset(
        {
            "matches_in_map": ("feature_map", np.array(matches)),
            "units_in_map": ("feature_map", np.array(units)),
            "layer": ("region", [layer]),
            **{name: ("region", [value]) for name, value in totals.items()},
        },
        {
            "map_region": ("feature_map", np.full(n, region)),
            "channel": ("feature_map", np.arange(n)),
            "region": [region],
        },
    )


@pytest.fixture
def data():
    return feature_maps.data(counts([0, 3, 0, 1, 2], [20, 290, 5, 85, 200]), "V4")


def test_a_row_is_a_map_and_the_bars_sum_to_the_sites_and_their_units(data):
    assert data["channel"].tolist() == [0, 1, 2, 3, 4]
    bars = feature_maps.describe(data).marks_of("Match").columns
    assert bars["top"].tolist() == [3, 1, 2]
    assert bars["top"].sum() == data.attrs["n_matched"]
    assert feature_maps.describe(data, of="units").marks_of("Match").columns["top"].sum() == data.attrs["n_units"]


def test_bars_stand_at_their_map_or_sorted_by_count(data):
    bars = feature_maps.describe(data).marks_of("Match").columns
    np.testing.assert_allclose((bars["left"] + bars["right"]) / 2, [1, 3, 4])
    drawing = feature_maps.describe(data, is_sorted=True)
    assert drawing.marks_of("Match").columns["top"].tolist() == [3, 2, 1]
    assert drawing.axes.xticks == [(0.0, "1"), (1.0, "4"), (2.0, "3")]
    assert drawing.marks_of("Hit").columns["key"].tolist() == [1, 4, 3]


def test_sorted_maps_are_counted_where_their_names_do_not_fit():
    many = feature_maps.data(counts(list(range(1, 301)), [1] * 300), "V4")
    names = [name for _, name in feature_maps.describe(many, is_sorted=True).axes.xticks]
    assert names == ["1st", "50th", "100th", "150th", "200th", "250th", "300th"]


def test_names_of_sorted_maps_are_turned_where_they_do_not_fit_side_by_side():
    some = feature_maps.data(counts([1] * 40, [1] * 40), "V4")
    assert feature_maps.describe(some, is_sorted=True, width=660).axes.x_turn == 90
    assert feature_maps.describe(some, is_sorted=True, width=900).axes.x_turn == 0


def test_the_selected_map_is_drawn_in_ink_where_it_has_a_bar(data):
    bar = feature_maps.describe(data, is_sorted=True, channel=4).marks_of("MatchSelected").columns
    assert ((bar["left"] + bar["right"]) / 2, bar["top"]) == (1, 2)
    assert feature_maps.describe(data, is_sorted=True, channel=0).marks_of("MatchSelected").is_empty


def test_axes_name_the_layer_and_what_is_counted(data):
    axes = feature_maps.describe(data, of="units", is_sorted=True).axes
    assert (axes.xlabel, axes.ylabel) == ("Feature map of fire3, by count", "Best units per map")
    assert feature_maps.describe(data).axes.ylabel == "Sites per map"
    assert feature_maps.describe(data).marks_of("Hit").columns["told"].tolist()[1:4] == ["3 sites", "0 sites", "1 site"]


def test_the_caption_gives_what_random_maps_would_give(data):
    told = "6 of 7 V4 sites; 3 of 5 maps hold their best unit of the layer, 4 expected of random maps"
    assert feature_maps.caption(data) == told
    assert feature_maps.keys(data) == []


def test_a_layer_without_any_match_draws_an_empty_frame():
    data = feature_maps.data(counts([0, 0], [0, 0]), "V4")
    assert feature_maps.describe(data).marks_of("Match").is_empty
    feature_maps.describe(data, is_sorted=True)


@pytest.mark.parametrize(("top", "at"), [(1.0, [0, 1]), (8.5, [0, 2, 4, 6, 8]), (1300.0, [0, 500, 1000])])
def test_ticks_of_counts_are_whole(top, at):
    assert [place for place, _ in feature_maps.counts_ticks(top)] == at


def test_runner_ups_are_a_figure_of_their_own(data):
    drawing = feature_maps_runner_ups.describe(data)
    assert drawing.marks_of("Match").columns["top"].sum() == data.attrs["n_units"]
    assert feature_maps_runner_ups.caption(data) == "600 best units of 6 V4 sites, in 5 of 5 maps"
    assert feature_maps_runner_ups.keys(data) == []
    assert feature_maps_runner_ups.data(counts([1], [9]), "V4")["n_units"].tolist() == [9]
