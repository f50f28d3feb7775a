from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.figures import layers_best
from engine.analyses import layer_summary


@pytest.fixture(scope="module")
def found(run_datasets, other_datasets):
    runs = {"A": run_datasets, "B": other_datasets}
    return {name: layer_summary.compute(SimpleNamespace(dataset=run.__getitem__)) for name, run in runs.items()}


@pytest.fixture
def data(found, run_datasets):
    return layers_best.data({"A": found["A"]}, {"A": run_datasets["neural_correlation"]})


def test_each_region_has_the_whole_network_and_its_best_layer(data, found):
    assert list(zip(data["region"], data["kind"], strict=True)) == [
        (region, kind) for region in ("V4", "IT") for kind in ("whole network", "best layer")
    ]
    whole, best = data.iloc[0], data.iloc[1]
    one = found["A"].sel(region="V4")
    assert (whole["correlation"], best["correlation"]) == (one["network_correlation"], one["best_correlation"])
    assert whole["correlation"] >= best["correlation"]
    assert best["layer"] == str(one["best_layer"].values)


def test_the_held_out_value_of_a_best_layer_is_of_a_layer_chosen_on_other_sites(data, found):
    one = found["A"].sel(region="IT")
    best = data.iloc[3]
    assert best["held_out"] == float(one["others_held_out"])
    assert best["held_out_same_sites"] == float(one["best_held_out"])
    assert data.iloc[2]["held_out"] == float(one["network_held_out"])


def test_intervals_are_of_the_same_median_and_of_no_other(data, run_datasets):
    of_layer = run_datasets["neural_correlation"].sel(region="V4")
    assert data.loc[0, "held_out_low"] == float(of_layer["held_out_low"].sel(layer=""))
    assert data.loc[1, "correlation_high"] == float(of_layer["correlation_high"].sel(layer=data.loc[1, "layer"]))
    assert np.isnan(data.loc[1, "held_out_low"])


def test_bars_stand_apart_and_carry_control_and_held_out_marks(data):
    drawing = layers_best.describe(data)
    pale, solid = drawing.marks_of("Units").columns, drawing.marks_of("Match").columns
    assert pale["top"].tolist() == data["correlation"].tolist()[::2]
    assert solid["token"].tolist() == ["V4", "IT"]
    assert (solid["left"] > pale["right"]).all()
    np.testing.assert_array_equal(drawing.marks_of("ChanceEdge").columns["y0"], data["control"])
    np.testing.assert_array_equal(drawing.marks_of("HeldOut").columns["y"], data["held_out"])
    assert [name for _, name in drawing.axes.xticks] == [
        "V4, all",
        data.loc[1, "layer"],
        "IT, all",
        data.loc[3, "layer"],
    ]


def test_several_networks_are_named_below_their_bars_and_have_no_interval_without_one(found):
    data = layers_best.data(found)
    assert len(data) == 8
    assert data["correlation_low"].isna().all()
    drawing = layers_best.describe(data, width=900)
    assert [name for _, name in drawing.axes.xticks] == ["A, V4", "A, IT", "B, V4", "B, IT"]
    assert drawing.marks_of("Hit").columns["told"][1].startswith("V4, best layer")


def test_the_caption_says_what_is_optimistic(data):
    told = "median over 7 V4 sites and 5 IT sites; the best layer was chosen on the data that its bar scores"
    assert layers_best.caption(data) == told


def test_no_network_draws_an_empty_frame():
    data = layers_best.data({})
    assert layers_best.describe(data).marks_of("Hit").is_empty
