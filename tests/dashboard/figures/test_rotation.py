"""Figure 9: which bars there are, and that their heights, errors and chance are those of the analysis."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import chance, rotation
from dashboard.figures.drawing import Shown, paper
from dashboard.figures.marks import ROLES
from engine.analyses.rotation import region_medians


@pytest.fixture(scope="module")
def rotated(run_datasets):
    """An analysis of the small run: any values, medians as the engine takes them."""
    rng, recording = np.random.default_rng(0), run_datasets["recording"]
    sites, n = recording["site"].values, recording.sizes["site"]
    dims = ("scaling", "rotation", "site")
    drawn = {name: (dims, rng.uniform(0.1, 0.5, (2, 5, n))) for name in ("correlation", "held_out", "population")}
    own = {name: ("site", rng.uniform(0.2, 0.6, n)) for name in ("natural", "natural_held_out")}
    found = xr.Dataset({**drawn, **own}, {"scaling": ["raw", "standardised"], "site": sites})
    found = found.merge(region_medians(found, recording["region"].values))
    return found.assign(
        layer=("region", ["fc", "fire2"]),
        n_channels=("region", [12, 6]),
        n_sites=("region", [5, 7]),
        n_matched=("region", [4, 7]),
    )


@pytest.fixture(scope="module")
def data(rotated, run_datasets):
    return rotation.data(rotated, run_datasets["recording"], run_datasets["null"])


def test_each_region_has_its_population_first_then_its_layer_and_held_out_values_apart(data):
    first = data.iloc[::3]
    assert list(zip(first["region"], first["of"], first["layer"], first["split"], strict=True)) == [
        ("V4", "population", "", "all images"),
        ("V4", "layer", "fire2", "all images"),
        ("V4", "layer", "fire2", "held out"),
        ("IT", "population", "", "all images"),
        ("IT", "layer", "fc", "all images"),
        ("IT", "layer", "fc", "held out"),
    ]
    assert list(data["basis"]) == ["natural", "raw", "standardised"] * 6


def test_bars_are_medians_over_sites_and_errors_the_sd_over_rotations(data, rotated, run_datasets):
    is_v4 = (run_datasets["recording"]["region"] == "V4").values
    v4 = data[data["region"] == "V4"].set_index(["of", "split", "basis"])
    raw = np.median(rotated["correlation"].sel(scaling="raw").values[:, is_v4], axis=1)
    assert v4.loc[("layer", "all images", "raw"), "correlation"] == pytest.approx(raw.mean())
    assert v4.loc[("layer", "all images", "raw"), "sd"] == pytest.approx(raw.std(ddof=1))
    held_out = np.median(rotated["natural_held_out"].values[is_v4])
    assert v4.loc[("layer", "held out", "natural"), "correlation"] == pytest.approx(held_out)
    own = np.median(rotated["population"].sel(scaling="standardised").values[:, is_v4], axis=1)
    assert v4.loc[("population", "all images", "standardised"), "correlation"] == pytest.approx(own.mean())
    assert v4.loc[("population", "all images", "natural"), "correlation"] == 1


def test_chance_is_that_of_a_median_in_the_layer_and_lower_for_held_out_values(data, run_datasets):
    null = run_datasets["null"]
    v4 = data[data["region"] == "V4"].set_index(["of", "split", "basis"])["chance"]
    at = null["layer"].values.tolist().index("fire2")
    assert v4[("layer", "all images", "raw")] == chance.in_layers(null, "V4", 50)[at]
    assert v4[("layer", "held out", "raw")] == chance.held_out_in_layers(null, "V4", 50)[at]
    assert v4[("layer", "held out", "raw")] < v4[("layer", "all images", "raw")]
    assert np.isnan(v4[("population", "all images", "raw")])


def test_the_caption_counts_rotations_channels_sites_and_images(data):
    expected = "5 rotations of 6 (V4) and 12 (IT) channels; 7 V4 sites, 4 of 5 IT sites, 120 images"
    assert rotation.caption(data) == expected


def test_natural_bars_are_dark_rotated_ones_light_and_held_out_ones_open(data):
    drawing = rotation.describe(data, regions=("V4", "IT"))
    alpha = [ROLES[name].alpha[0] for name in ("Basis", "BasisRotated", "BasisStandardised")]
    assert alpha == sorted(alpha, reverse=True)
    assert alpha[0] == 1
    held_out = ("BasisHeldOut", "BasisRotatedHeldOut", "BasisStandardisedHeldOut")
    assert all(ROLES[name].fill == "paper" for name in held_out)
    bars = drawing.marks_of("Basis").columns
    assert list(bars["token"]) == ["V4", "V4", "IT", "IT"]
    natural = data[(data["basis"] == "natural") & (data["split"] == "all images")]["correlation"]
    np.testing.assert_array_equal(bars["top"], natural)
    assert drawing.axes.ylim[0] == 0
    assert [text for _, text in drawing.axes.xticks] == [
        "V4 population",
        "fire2",
        "held out",
        "IT population",
        "fc",
        "held out",
    ]


def test_bars_do_not_touch_each_other_and_regions_stand_apart(data):
    x, groups = rotation._places(data)
    assert (np.diff(x) >= 1).all()
    assert (groups["left"].to_numpy()[1:] > groups["right"].to_numpy()[:-1]).all()
    gaps = groups["left"].to_numpy()[1:] - groups["right"].to_numpy()[:-1]
    assert gaps[2] > gaps[0]


def test_a_run_without_shuffles_or_held_out_values_is_drawn_without_them(rotated, run_datasets):
    null = run_datasets["null"].isel(shuffle=slice(0, 0))
    without = rotated.copy()
    for name in ("median_natural_held_out", "mean_held_out", "sd_held_out", "sd_correlation"):
        without[name] = without[name] * np.nan
    data = rotation.data(without, run_datasets["recording"], null)
    drawing = rotation.describe(data)
    assert data["chance"].isna().all()
    assert drawing.marks_of("BasisHeldOut").is_empty
    assert drawing.marks_of("Chance").is_empty
    paper(drawing)


def test_it_is_drawn_on_page_and_paper(data):
    drawing = rotation.describe(data, regions=("V4", "IT"))
    assert Shown(drawing, width=660).figure.renderers
    assert paper(drawing, footer="planted").axes[0].patches or paper(drawing).axes[0].collections
