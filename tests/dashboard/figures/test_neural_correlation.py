import numpy as np
import pytest

from dashboard.figures import chance, neural_correlation


@pytest.fixture
def found(run_datasets, other_datasets):
    return {"A": run_datasets["neural_correlation"], "B": other_datasets["neural_correlation"]}


def test_one_network_shows_its_layers_several_fold_them_away(found):
    alone = neural_correlation.data({"A": found["A"]}, "V4")
    assert list(alone["layer"]) == ["", "conv1", "fire2", "fire3", "fc"]
    assert list(neural_correlation.data(found, "V4")["layer"]) == ["", ""]
    both = neural_correlation.data(found, "V4", expanded=["B"])
    assert list(zip(both["network"], both["layer"], strict=True)) == [
        ("A", ""),
        ("B", ""),
        ("B", "block1"),
        ("B", "block2"),
    ]


def test_a_control_does_not_fold_the_layers_and_is_grey(found):
    data = neural_correlation.data(found, "V4", controls=["B"])
    assert list(data["layer"]) == ["", "conv1", "fire2", "fire3", "fc", ""]
    assert list(data["token"]) == ["network1"] * 5 + ["control"]


def test_values_are_those_of_the_analysis(found):
    row = neural_correlation.data(found, "IT").iloc[1]
    assert row["correlation"] == found["B"]["correlation"].sel(region="IT", layer="")
    assert row["held_out_low"] == found["B"]["held_out_low"].sel(region="IT", layer="")


def test_a_median_is_judged_against_the_median_of_the_null_and_not_one_sites_level(found, run_datasets):
    data = neural_correlation.data(found, "V4")
    zone = neural_correlation.describe(data).marks_of("Chance").columns["right"][0]
    assert zone == chance.median_over_sites(run_datasets["null"], "V4")
    assert zone < chance.best_of_all(run_datasets["null"], "V4")


def test_a_network_without_the_region_is_left_out(found):
    data = neural_correlation.data({"A": found["A"].sel(region=["IT"]), "B": found["B"]}, "V4")
    assert set(data["network"]) == {"B"}


def test_without_any_network_the_caption_says_so():
    data = neural_correlation.data({}, "V4")
    assert neural_correlation.caption(data) == "no network was run on V4 yet"
    neural_correlation.describe(data)


def test_rows_do_not_overlap_and_a_tap_gives_the_network(found):
    drawing = neural_correlation.describe(neural_correlation.data(found, "V4", expanded=["A"]))
    hit = drawing.marks_of("Hit").columns
    assert list(hit["key"]) == ["A"] * 5 + ["B"]
    assert (hit["top"][1:] <= hit["bottom"][:-1] + 1e-9).all()
    numbers = drawing.marks_of("Numbers").columns["text"]
    assert numbers[-1] == "r · held-out r"
    assert " · " in numbers[0]


def test_the_label_counts_the_sites(found):
    data = neural_correlation.data(found, "V4", n_sites=7)
    assert neural_correlation.describe(data).axes.xlabel == "Neural correlation, median over 7 V4 sites"


def test_the_label_counts_the_sites_that_have_a_value(found):
    dims = ("region", "layer")
    told = [
        run.assign(n_correlation=(dims, np.full(run["correlation"].shape, n)))
        for run, n in zip(found.values(), (6, 5), strict=True)
    ]
    held_out = told[0].assign(n_held_out=(dims, np.full(told[0]["correlation"].shape, 4)))
    two = neural_correlation.data(dict(zip("AB", told, strict=True)), "V4", n_sites=7)
    assert neural_correlation.describe(two).axes.xlabel == "Neural correlation, median over 5–6 of 7 V4 sites"
    one = neural_correlation.data({"A": held_out}, "V4", n_sites=7)
    label = "Neural correlation, median over 6 of 7 V4 sites (held-out: 4)"
    assert neural_correlation.describe(one).axes.xlabel == label
