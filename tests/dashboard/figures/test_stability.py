import numpy as np
import pytest
import xarray as xr

from dashboard.figures import stability


def analysis(other=""):
    """What the analysis ``stability`` stores: three categories, four V4 sites (one without a match) and an IT site."""
    left_out = np.array([[0.1, 0.2, 0.3, np.nan, 0.5], [0.0, -0.1, 0.4, np.nan, 0.5], [0.2, 0.2, 0.2, np.nan, 0.5]])
    dims = ("region", "part")
    medians = {"left_out_median": np.nanmedian(left_out[:, :4], axis=1), "match_left_out_median": [0.3, 0.2, 0.4]}
    variables = {name: (dims, np.stack([value, [0.5] * 3])) for name, value in medians.items()}
    variables |= {name: (dims, [[0.67, 0.33, 1.0], [1.0] * 3]) for name in ("share_same", "share_same_layer")}
    variables |= {"similarity_median": (dims, [[0.9, 0.7, 1.0], [1.0] * 3]), "left_out": (("part", "site"), left_out)}
    variables |= {"n_stimuli": ("part", [80, 80, 80]), "n_sites": ("region", [3, 1]), "n_left_out": ("region", [1, 0])}
    if other:
        names = ("other_share_same_layer", "other_difference_median", "other_similarity_median")
        variables |= {name: ("region", [value, 1.0]) for name, value in zip(names, (0.6, -0.021, 0.55), strict=True)}
    coords = {"part": ["cars", "faces", "fruits"], "region": ["V4", "IT"], "site": list("abcde")}
    recording = xr.Dataset(coords={"site": list("edcba"), "region": ("site", ["IT", "V4", "V4", "V4", "V4"])})
    return xr.Dataset(variables, coords, {"left_out": "one category", "other": other}), recording


@pytest.fixture
def data():
    return stability.data(*analysis(), "V4")


def test_values_are_those_of_the_analysis_and_quartiles_of_the_region(data):
    row = data.set_index("part").loc["faces"]
    assert row["left_out"] == 0.0
    assert (row["left_out_low"], row["left_out_high"]) == (pytest.approx(-0.05), pytest.approx(0.2))
    assert row["match_left_out"] == 0.2


def test_what_was_chosen_without_the_images_is_open(data):
    drawing = stability.describe(data)
    np.testing.assert_array_equal(drawing.marks_of("HeldOutSmall").columns["x"], data["left_out"])
    np.testing.assert_array_equal(drawing.marks_of("Match").columns["x"], data["match_left_out"])
    assert drawing.marks_of("Note").columns["text"].tolist() == ["cars (80)", "faces (80)", "fruits (80)"]
    assert drawing.marks_of("Numbers").columns["text"].tolist() == [
        "67% · 0.90",
        "33% · 0.70",
        "100% · 1.00",
        "same unit · alike",
    ]
    assert drawing.axes.xlabel == "r on the images left out, median over 3 V4 sites"
    assert drawing.axes.height == 148


def test_the_caption_says_what_was_left_out_and_how_another_run_compares(data):
    told = "3 of 4 V4 sites, one category left out at a time, images in brackets"
    assert stability.caption(data) == told
    assert stability.title(data) == "Without one category"
    data.attrs["left_out"] = "one of seeded parts"
    assert stability.title(data) == "Without one part of the images"
    other = stability.data(*analysis("Tiny (seed 1)"), "V4")
    assert stability.caption(other) == (
        f"{told}; Tiny (seed 1): same layer for 60% of the sites, r −0.02, alike 0.55 (medians)"
    )
