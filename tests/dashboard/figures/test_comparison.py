"""The figure of two networks, from planted values of the analysis."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import chance, comparison
from dashboard.figures.drawing import Shown, paper


def analysed() -> xr.Dataset:
    run, other = np.array([0.5, 0.4, 0.3]), np.array([0.4, 0.45, 0.25])
    values = {"correlation": np.stack([run, other]), "held_out": np.stack([run, other]) - 0.1}
    variables: dict = {}
    for name, value in values.items():
        variables[name] = (("run", "site"), value)
        for end, shift in (("", 0), ("_low", -0.03), ("_high", 0.03)):
            variables[f"{name}_difference{end}"] = ("site", value[0] - value[1] + shift)
            of = ("region", [0.05]) if not end else (("region", "resampled"), [[0.05 + shift] * 3])
            variables[f"median_{name}_difference{end}"] = of
        variables |= {f"p_{name}": ("region", [0.00004]), f"n_{name}": ("region", [3])}
    variables |= {"n_better": ("region", [2]), "n_better_held_out": ("region", [1])}
    coords = {
        "site": ["site00", "site01", "site02"],
        "region_of_site": ("site", ["V4"] * 3),
        "region": ["V4"],
        "network": ("run", ["a", "b"]),
        "resampled": ["stimuli", "sites", "both"],
    }
    return xr.Dataset(variables, coords, {"n_stimuli": 120, "n_resamples": 2000, "held_out_status": "ok"})


@pytest.fixture
def data(run_datasets, other_datasets):
    nulls = run_datasets["null"], other_datasets["null"]
    return comparison.data(analysed(), "V4", titles=("Net A", "Net B"), nulls=nulls)


def test_the_first_run_stands_on_the_vertical_axis(data):
    drawing = comparison.describe(data)
    assert drawing.marks_of("Site").columns["y"].tolist() == [0.5, 0.4, 0.3]
    assert (drawing.axes.xlabel, drawing.axes.ylabel) == ("r, Net B", "r, Net A")


def test_the_text_gives_the_interval_and_the_test(data):
    texts = [mark.columns["text"][0] for mark in comparison.describe(data).marks if mark.role.startswith("Note")]
    assert texts == ["2 of 3 sites above the line, p = 4e−5", "median difference +0.050 (+0.020 to +0.080)"]


def test_held_out_values_are_open_and_stand_alone(data):
    drawing = comparison.describe(data, score="held_out", site="site01")
    assert drawing.marks_of("HeldOut").columns["y"].tolist() == pytest.approx([0.4, 0.3, 0.2])
    assert drawing.axes.xlabel == "held-out r, Net B"
    assert not any(mark.role == "Site" for mark in drawing.marks)
    assert [key.shape for key in comparison.keys(data, score="held_out")] == ["open", "ring", "box"]
    assert Shown(drawing, width=400).key_at(0.35, 0.3) == "site01"


def test_each_axis_has_the_chance_of_its_network_and_of_its_kind_of_r(data, run_datasets, other_datasets):
    for score, percentile in (("correlation", chance.best_of_all), ("held_out", chance.held_out)):
        across, upwards = comparison.describe(data, score=score).marks[:2]
        assert across.role == {"correlation": "ChanceX", "held_out": "ChanceHeldOut"}[score]
        assert across.columns["right"][0] == percentile(other_datasets["null"], "V4")
        assert upwards.columns["top"][0] == percentile(run_datasets["null"], "V4")
    without = comparison.describe(comparison.data(analysed(), "V4"))
    assert without.marks_of("ChanceX").is_empty


def test_the_caption_says_what_cannot_be_compared(data):
    assert comparison.caption(data) == "3 V4 sites, 120 images, 2,000 resamples"
    data.attrs["held_out_status"] = "not compared: the runs split the stimuli in different ways"
    assert comparison.caption(data).endswith("held-out r not compared: the runs split the stimuli in different ways")


def test_it_draws_on_paper(data):
    assert paper(comparison.describe(data, site="site00")).axes
