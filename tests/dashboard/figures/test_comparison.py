"""The figure of two networks, from planted values of the analysis."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import comparison
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
    for name, limits in (("correlation", [0.21, 0.24]), ("held_out", [0.06, 0.07])):
        variables[f"chance_{name}"] = (("run", "region"), np.array(limits)[:, None])
    coords = {
        "site": ["site00", "site01", "site02"],
        "region_of_site": ("site", ["V4"] * 3),
        "region": ["V4"],
        "network": ("run", ["a", "b"]),
        "title": ("run", ["Net A", "Net B"]),
        "resampled": ["stimuli", "sites", "both"],
    }
    return xr.Dataset(variables, coords, {"n_stimuli": 120, "n_resamples": 2000, "held_out_status": "ok"})


def without_held_out() -> xr.Dataset:
    found = analysed()
    blank = {name: found[name] * np.nan for name in found if "held_out" in str(name) and str(name)[:2] != "n_"}
    return found.assign(blank).assign_attrs(held_out_status="not compared: the runs split the stimuli differently")


@pytest.fixture
def data():
    return comparison.data(analysed(), "V4")


def test_the_first_run_stands_on_the_vertical_axis(data):
    drawing = comparison.describe(data, tokens=("network3", "network5"))
    assert drawing.marks_of("Site").columns["y"].tolist() == [0.5, 0.4, 0.3]
    assert (drawing.axes.xlabel, drawing.axes.ylabel) == ("r, Net B", "r, Net A")
    assert (drawing.axes.x_token, drawing.axes.y_token) == ("network5", "network3")


def test_the_text_gives_the_intervals_and_the_tests(data):
    texts = [t for m in comparison.describe(data).marks if m.role.startswith("Note") for t in m.columns["text"]]
    assert texts == [
        "2 of 3 sites above the line, p = 4e−5",
        "median difference +0.050 (+0.020 to +0.080)",
        "held-out +0.050 (+0.020 to +0.080), p = 4e−5",
    ]


def test_held_out_values_are_open_beside_the_selected_ones(data):
    drawing = comparison.describe(data, site="site01")
    assert drawing.marks_of("HeldOutSmall").columns["y"].tolist() == pytest.approx([0.4, 0.3, 0.2])
    joined = drawing.marks_of("MatchToHeldOut").columns
    assert [float(joined[end][0]) for end in ("x0", "y0", "x1", "y1")] == pytest.approx([0.45, 0.4, 0.35, 0.3])
    assert Shown(drawing, width=400).key_at(0.45, 0.4) == "site01"


def test_each_axis_has_the_chance_of_its_network_and_of_its_kind_of_r(data):
    drawing = comparison.describe(data)
    assert drawing.marks_of("ChanceX").columns["right"].tolist() == [0.24]
    assert drawing.marks_of("ChanceY").columns["top"].tolist() == [0.21]
    of_held_out = [mark.columns for mark in drawing.marks if mark.role == "ChanceHeldOut"]
    assert (of_held_out[0]["right"][0], of_held_out[1]["top"][0]) == (0.07, 0.06)


def test_keys_name_only_what_is_drawn(data):
    assert comparison.keys(data) == list(comparison.KEYS)
    without = comparison.data(without_held_out(), "V4")
    assert [key.label for key in comparison.keys(without)] == ["site, r", "selected", "chance: r"]
    found = analysed()
    blank = {name: found[name] * np.nan for name in ("chance_correlation", "chance_held_out")}
    shown = comparison.data(found.assign(blank), "V4")
    assert [key.label for key in comparison.keys(shown)] == ["site, r", "held-out r", "selected"]
    assert comparison.describe(shown).marks_of("ChanceX").is_empty


def test_what_cannot_be_compared_is_said_and_not_drawn(data):
    assert comparison.caption(data) == "3 V4 sites, 120 images, 2,000 resamples"
    without = comparison.data(without_held_out(), "V4")
    assert comparison.caption(without).endswith("held-out r not compared: the runs split the stimuli differently")
    texts = [t for m in comparison.describe(without).marks if m.role.startswith("Note") for t in m.columns["text"]]
    assert len(texts) == 2


def test_it_draws_on_paper(data):
    assert paper(comparison.describe(data, site="site00")).axes
