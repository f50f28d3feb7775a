import numpy as np
import pytest
import xarray as xr

from dashboard.figures import significance


def analysis(held_out_limit=0.06):
    """What the analysis ``significance`` stores: six V4 sites, one of them without a match, and an IT site."""
    rng = np.random.default_rng(0)
    r = np.array([0.3, 0.5, 0.12, 0.4, 0.2, np.nan, 0.35])
    sites = dict.fromkeys(("p", "q", "held_out_p", "held_out_q"), ("site", np.where(np.isnan(r), np.nan, 0.01)))
    sites |= {"correlation": ("site", r), "held_out": ("site", r - 0.15)}
    regions = {
        "threshold": [0.18, 0.2],
        "held_out_threshold": [held_out_limit, 0.05],
        "null_median": [0.15, 0.16],
        "closed_form_median": [0.17, 0.17],
        "closed_form_95": [0.19, 0.19],
        "effective_units": [1e4, 2e4],
        "n_sites": [5, 1],
        "n_left_out": [1, 0],
        "n_significant": [4, 1],
        "n_held_out_significant": [3, 1],
    }
    null = {
        "null_correlation": ("shuffle", rng.uniform(0.1, 0.2, 120)),
        "null_held_out": ("shuffle", rng.normal(size=120) / 30),
    }
    null |= {"null_site": ("shuffle", ["a"] * 120), "null_region": ("shuffle", ["V4"] * 100 + ["IT"] * 20)}
    found = xr.Dataset(
        {**sites, **{name: ("region", value) for name, value in regions.items()}, **null},
        {"site": list("abcdefg"), "region": ["V4", "IT"]},
        {"null": "within category", "n_stimuli": 640, "level": 0.05},
    )
    recording = xr.Dataset(coords={"site": list("gabcdef"), "region": ("site", ["IT"] + ["V4"] * 6)})
    return found, recording


@pytest.fixture
def data():
    return significance.data(*analysis(), "V4")


def test_sites_are_those_of_the_region_that_have_a_match_best_first(data):
    sites = data[data["kind"] == "site"]
    assert sites["site"].tolist() == ["b", "d", "a", "e", "c"]
    assert (data["kind"] == "null").sum() == 100


def test_each_kind_of_r_has_its_own_strip(data):
    drawing = significance.describe(data)
    assert drawing.marks_of("Chance").columns["top"][0] == 0.18
    assert drawing.marks_of("ChanceHeldOut").columns["top"][0] == 0.06
    assert drawing.marks_of("Identity").columns["y0"][0] == 0.19
    assert [key.label for key in significance.keys(data)][-2:] == [
        "chance: r, p = .05 at 0.18",
        "chance: held-out, p = .05 at 0.06",
    ]


def test_without_held_out_values_their_key_and_strip_are_not_there():
    data = significance.data(*analysis(held_out_limit=np.nan), "V4")
    assert significance.describe(data).marks_of("ChanceHeldOut").is_empty
    assert not [key for key in significance.keys(data) if key.label.startswith("chance: held-out")]


def test_the_null_stands_beside_the_sites_and_counts_every_value(data):
    drawing = significance.describe(data)
    bars, dots = drawing.marks_of("Control").columns, drawing.marks_of("Match").columns
    assert bars["right"].max() <= 0 < dots["x"].min()
    _, counts = significance.histogram(data.loc[data["kind"] == "null", "correlation"], *drawing.axes.ylim)
    assert counts.sum() == 100


def test_the_caption_says_what_was_exchanged_and_how_often(data):
    assert significance.caption(data) == (
        "4 of 5 V4 sites at q ≤ 0.05 (3 held-out), 1 without a match left out; 640 images exchanged within category, "
        "100 times"
    )


def test_a_selected_site_has_a_ring(data):
    drawing = significance.describe(data, site="a")
    assert drawing.marks_of("Selection").columns["y"].tolist() == [0.3]
