"""Every feature map with every site: the best of each cell in the right row, chance left empty, what a tap finds."""

import numpy as np
import pytest

from dashboard.figures import map_correlations
from dashboard.figures.layer_strips import View
from tests.dashboard.figures.explored import feature_maps

GROUPS = ("feature_maps", "layers", "matches", "null", "recording")


@pytest.fixture(scope="module")
def run(run_datasets):
    return {**run_datasets, "feature_maps": feature_maps(run_datasets)}


@pytest.fixture(scope="module")
def found(run):
    return map_correlations.data(*(run[name] for name in GROUPS), "V4")


def test_each_cell_has_the_best_r_of_its_maps_for_its_site(found, run):
    stored = run["feature_maps"]
    r = stored["correlation"].transpose("feature_map", "site").to_pandas()
    layer, channel = stored["layer"].values.astype(str), stored["channel"].values
    assert len(found) > 100
    for row in found.iloc[:: max(len(found) // 60, 1)].itertuples():
        own = (layer == row.layer) & (channel >= row.first_map) & (channel <= row.last_map)
        assert row.r == r[row.site].to_numpy()[own].max()
    seen = set(zip(found["layer"].astype(str), found["first_map"], strict=True))
    assert seen == set(zip(layer, channel, strict=True))


def test_sites_are_sorted_by_their_match_and_matches_are_marked(found, run_datasets):
    about = found.attrs
    best = run_datasets["matches"]["correlation"].isel(rank=0).to_series()
    assert about["sites"] == sorted(about["sites"], key=lambda site: -best[site])
    assert set(about["sites"]) == {f"site{k:02d}" for k in range(7)}
    drawing = map_correlations.describe(found, site=about["sites"][1], layer=about["layers"][2])
    marks = drawing.marks_of("MapMatch").columns
    match = run_datasets["matches"].sel(site=about["sites"][0]).isel(rank=0)
    position = about["layers"].index(str(match["layer"].item()))
    assert marks["x"][0] == map_correlations.strips_of(about).at(position, int(match["channel"]))
    assert marks["y"][0] == len(about["sites"]) - 0.5
    assert drawing.marks_of("RowFrame").columns["bottom"][0] == len(about["sites"]) - 2
    assert about["sites"][1] in [text for _, text in drawing.axes.yticks]


def test_what_is_not_above_chance_is_left_empty_and_counted(found):
    about = found.attrs
    image = map_correlations.describe(found).marks_of("MapCorrelation").columns["image"]
    assert np.nanmin(image) > about["chance"]
    assert np.isfinite(image).sum() == (found["r"] > about["chance"]).sum()
    assert f"{about['n_above']} of {about['n_pairs']} pairs above chance" in map_correlations.caption(found)
    assert (
        map_correlations.keys(found)[0].label
        == f"best r of a map, from chance {about['chance']:.2f} to {about['most']:.2f}"
    )


def test_a_tap_finds_site_layer_and_map_and_nothing_between_layers(found):
    strips, about = map_correlations.strips_of(found.attrs), found.attrs
    hit = map_correlations.hit(found, float(strips.at(1, 2)), 0.5)
    assert hit == {"site": about["sites"][-1], "layer": about["layers"][1], "channel": 2}
    assert map_correlations.hit(found, 1.0, 0.5) is None


def test_a_closer_view_shows_the_maps_of_one_layer(found, run):
    groups = [run[name] for name in GROUPS]
    close = map_correlations.data(*groups, "V4", view=View((2.0, 3.0), (0.0, 3.0), 600, 300))
    assert set(close["layer"].astype(str)) == {found.attrs["layers"][2]}
    assert close.attrs["n_above"] == found.attrs["n_above"]
    drawing = map_correlations.describe(close)
    assert len(drawing.axes.yticks) == 3
    assert drawing.axes.xlabel == f"Feature map of {found.attrs['layers'][2]}"
