"""Decoding's three figures: their data are those of the analysis, and they draw."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import decoding, decoding_confusions, decoding_similarity
from dashboard.figures.paper import paper

CATEGORIES = ["animals", "boats", "cars", "chairs"]
DIMS = ("images", "condition", "region", "population")


def analysis(seed=0, is_random=True):
    rng = np.random.default_rng(seed)
    accuracy = rng.uniform(0.1, 0.6, (2, 3, 2, 4, 10))
    accuracy[0, 1:, ..., 5:] = np.nan
    accuracy[..., 2, :] = accuracy[..., 2, :] if is_random else np.nan
    shares = rng.random((2, 3, 2, 4, 4, 4))
    shares[0, 0, 0, 0, 1, 2] = 0
    values = {
        "accuracy": ((*DIMS, "run"), accuracy),
        "mean_accuracy": (DIMS, accuracy[..., :5].mean(axis=-1)),
        "sd_accuracy": (DIMS, accuracy[..., :5].std(axis=-1, ddof=1)),
        "confusion": ((*DIMS, "category", "predicted"), shares / shares.sum(axis=-1, keepdims=True)),
        "similarity": (DIMS, rng.uniform(-0.2, 0.8, (2, 3, 2, 4))),
        "similarity_p": (DIMS, rng.uniform(0.0001, 1, (2, 3, 2, 4))),
        "n_stimuli": ("region", [640, 630]),
        "n_sites": ("region", [40, 48]),
        "region_status": ("region", np.array(["ok", "ok"], dtype=object)),
    }
    coords = {
        "images": ["shared", "disjoint"],
        "condition": ["within", "to_neural", "from_neural"],
        "region": ["IT", "V4"],
        "population": ["neural", "matched", "random", "pixels"],
        "category": CATEGORIES,
        "predicted": CATEGORIES,
    }
    return xr.Dataset(values, coords, {"chance": 0.25})


@pytest.fixture(scope="module")
def found():
    return {"A": analysis(), "B": analysis(1, is_random=False)}


def failed(dataset, region):
    status = dataset["region_status"].copy()
    status.loc[{"region": region}] = "no"
    return dataset.assign(region_status=status)


def test_bars_are_the_means_of_the_analysis(found):
    data = decoding.data(found, "V4")
    assert list(data["group"]) == ["Sites", *["A"] * 3, *["B"] * 3, *["Best pixels"] * 3]
    assert list(data["condition"]) == ["i", *["i", "ii", "iii"] * 3]
    mean = found["B"]["mean_accuracy"].sel(region="V4", population="matched")
    assert data.loc[5, "accuracy"] == mean.sel(images="shared", condition="to_neural")
    assert data.loc[5, "disjoint"] == mean.sel(images="disjoint", condition="to_neural")
    assert data.loc[1, "random"] == found["A"]["mean_accuracy"].sel(
        region="V4", population="random", images="shared", condition="within"
    )
    assert data.loc[[0, 4, 5, 6, 7], "random"].isna().all()
    assert data.loc[[0, 2], "n_runs"].tolist() == [10, 5]
    assert decoding.caption(data) == "4 categories, 630 images, 48 V4 sites; chance 0.250"


def test_bars_stand_apart_and_the_controls_in_front_of_them(found):
    drawing = decoding.describe(decoding.data(found, "V4"), regions=["IT", "V4"])
    bars, insets = (drawing.marks_of(role).columns for role in ("NetworkBar", "BarInset"))
    assert (bars["left"][1:] > bars["right"][:-1]).all()
    assert len(insets["left"]) == 3
    dots = drawing.marks_of("NetworkLayerHeldOut").columns["x"]
    assert (dots > bars["right"]).all()
    assert (dots[:-1] < bars["left"][1:]).all()
    assert drawing.marks_of("ChanceEdge").columns["y"].tolist() == [0.25, 0.25]
    assert list(bars["token"]) == ["V4", *["network1"] * 3, *["network2"] * 3, *["control"] * 3]
    paper(drawing)


def test_a_region_that_could_not_be_decoded_says_why(found):
    data = decoding.data({"A": failed(found["A"], "IT")}, "IT")
    assert decoding.caption(data) == "no"
    paper(decoding.describe(data))
    assert decoding.caption(decoding.data({}, "IT")) == "no network was decoded"


def test_confusions_keep_rows_and_columns_and_a_fixed_scale(found):
    data = decoding_confusions.data(found, "IT")
    assert len(data) == 7 * 16
    one = data[(data["network"] == "A") & (data["panel"] == "units → sites (ii)")]
    shares = found["A"]["confusion"].sel(images="shared", condition="to_neural", region="IT", population="matched")
    np.testing.assert_array_equal(one["share"].to_numpy().reshape(4, 4), shares)
    assert list(one["category"][:4]) == ["animals"] * 4
    assert list(one["predicted"][:4]) == CATEGORIES
    drawing = decoding_confusions.describe(data, regions=["IT", "V4"])
    panels = [mark for mark in drawing.marks if mark.role == "Counts"]
    assert [mark.token for mark in panels] == ["IT", *["network1"] * 3, *["network2"] * 3]
    assert {mark.limits for mark in panels} == {(0, 1)}
    sites = panels[0].columns["image"]
    assert np.isnan(sites[::-1][1, 2])  # never happened: transparent
    assert sites[::-1][0, 3] == data.iloc[3]["share"]
    paper(drawing)


def test_confusions_on_disjoint_images_say_so(found):
    data = decoding_confusions.data(found, "V4", images="disjoint")
    assert decoding_confusions.caption(data) == "630 images, 48 V4 sites; disjoint images; number: share decoded"
    paper(decoding_confusions.describe(decoding_confusions.data({}, "V4")))


def test_a_tap_on_a_cell_names_both_categories(found):
    hit = decoding_confusions.describe(decoding_confusions.data(found, "IT")).marks_of("Hit").columns
    assert (hit["key"][0], hit["category"][1], hit["predicted"][1]) == ("sites", "animals", "boats")
    assert len(hit["left"]) == 7 * 16


def test_similarities_are_those_of_the_analysis(found):
    data = decoding_similarity.data(found, "V4")
    r = found["A"]["similarity"].sel(region="V4", condition="from_neural")
    row = data.iloc[2]
    assert (row["network"], row["condition"]) == ("A", "sites → units (iii)")
    assert row["r"] == r.sel(images="shared", population="matched")
    assert row["disjoint_r"] == r.sel(images="disjoint", population="matched")
    assert row["random_r"] == r.sel(images="shared", population="random")
    assert decoding_similarity.caption(data) == "12 cells off the diagonal; 630 images, 48 V4 sites"
    drawing = decoding_similarity.describe(data, regions=["IT", "V4"])
    hit = drawing.marks_of("Hit").columns
    assert (hit["top"][1:] <= hit["bottom"][:-1] + 1e-9).all()
    paper(drawing)
    paper(decoding_similarity.describe(decoding_similarity.data({}, "V4")))


def test_small_p_are_no_zeros(found):
    small = found["A"].assign(similarity_p=found["A"]["similarity_p"] * 0 + 0.0001)
    numbers = decoding_similarity.describe(decoding_similarity.data({"A": small}, "V4")).marks_of("Numbers")
    assert numbers.columns["text"][0].endswith(" · < 0.001")
