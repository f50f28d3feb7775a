"""Figures of several networks: against accuracy and size, and Table 1."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import networks, networks_table
from dashboard.figures.drawing import Shown, paper

TITLES = ["A", "B", "C", "D", "E (random weights, seed 0)"]


def gathered() -> xr.Dataset:
    n = len(TITLES)
    r = np.array([[0.3, 0.35, 0.4, 0.42, 0.2], [0.2, 0.25, 0.3, np.nan, 0.1]]).T
    dims = ("network", "region")
    scores = {"correlation": r, "correlation_low": r - 0.03, "correlation_high": r + 0.03, "held_out": r - 0.05}
    association = np.full((2, 2, 4, 2), np.nan)
    association[:, 1, [0, 2, 3]] = 0.9
    of = ("score", "region", "quantity", "statistic")
    coords = {
        "network": TITLES,
        "region": ["V4", "IT"],
        "score": ["correlation", "held_out"],
        "quantity": ["top1", "top5", "parameters", "units"],
        "statistic": ["spearman", "pearson"],
    }
    return xr.Dataset(
        {name: (dims, value) for name, value in {**scores, "chance_median": np.full((n, 2), 0.15)}.items()}
        | {
            "top1": ("network", [57.0, 65.0, 71.0, 76.0, np.nan]),
            "top5": ("network", [np.nan] * n),
            "parameters": ("network", 1e6 * np.arange(1, n + 1)),
            "units": ("network", 10.0 ** np.arange(5, 10)),
            "title": ("network", TITLES),
            "top1_source": ("network", ["maker"] * n),
            "is_control": ("network", [False] * 4 + [True]),
            "n_sites": ("region", [7, 5]),
            "n_networks": (of[:3], np.full((2, 2, 4), 4)),
            "association": (of, association[:, ::-1]),
            "association_low": (of, association[:, ::-1] - 0.5),
            "association_high": (of, association[:, ::-1] + 0.05),
        },
        coords,
    )


def test_a_network_without_the_value_is_left_out_and_counted():
    data = networks.data(gathered(), "V4")
    assert list(data["network"]) == ["A", "B", "C", "D"]
    assert networks.caption(data) == "4 networks, 7 V4 sites, 1 network left out: ImageNet top-1 accuracy not known"
    assert list(networks.data(gathered(), "IT", against="units")["network"]) == ["A", "B", "C", TITLES[4]]


def test_top_1_and_top_5_never_mix():
    assert networks.data(gathered(), "V4", against="top5").empty
    axes = networks.describe(networks.data(gathered(), "V4")).axes
    assert (axes.xlabel, axes.ylabel) == ("ImageNet top-1 accuracy (%)", "Neural correlation, V4")
    assert axes.y_token == "V4"


def test_sizes_are_on_a_logarithmic_axis_and_untrained_networks_grey():
    drawing = networks.describe(networks.data(gathered(), "V4", against="units"), selected="B")
    dots = drawing.marks_of("NetworkMatch").columns
    np.testing.assert_allclose(dots["x"], np.arange(5, 10))
    assert list(dots["token"]) == ["network1", "network2", "network3", "control", "control"]
    assert drawing.axes.xlabel == "Units (log)"
    assert 2 <= len(drawing.axes.xticks) <= 6
    assert drawing.marks_of("Selection").columns["x"].tolist() == [6.0]


def test_the_frame_gives_both_correlations_with_intervals_or_says_why_not():
    notes = networks.describe(networks.data(gathered(), "V4")).marks_of("Note").columns["text"]
    told = "Spearman 0.90 (0.40 to 0.95), Pearson 0.90 (0.40 to 0.95)"
    assert list(notes) == [f"r, 4 trained networks: {told}", f"held-out r, 4 trained networks: {told}"]
    few = networks.describe(networks.data(gathered(), "IT")).marks_of("Note").columns["text"]
    assert list(few) == ["4 trained networks with both values: a correlation takes four"]


@pytest.mark.parametrize("against", ["top1", "top5", "parameters", "units"])
def test_it_draws_on_the_page_and_on_paper(against):
    drawing = networks.describe(networks.data(gathered(), "V4", against=against))
    assert Shown(drawing, width=500).figure
    assert paper(drawing).axes
    assert np.isfinite([*drawing.axes.xlim, *drawing.axes.ylim]).all()


def test_the_table_has_the_papers_rows_then_those_of_the_store():
    published = xr.Dataset(
        {
            "top1": ("network", [57.7, 82.7]),
            "top5": ("network", [np.nan, np.nan]),
            "parameters": ("network", [6.1e7, np.nan]),
            "units": ("network", [6.5e5, np.nan]),
            "top1_source": ("network", ["Table 1", "Table 1"]),
            "correlation": (("region", "network"), [[np.nan, 0.6224], [np.nan, 0.4337]]),
        },
        {"network": ["AlexNet", "NASNet-large"], "region": ["V4", "IT"]},
    )
    data = networks_table.data(published, gathered())
    assert list(data["network"]) == ["AlexNet", "NASNet-large", *TITLES]
    assert data["source"].tolist() == ["Table 1"] * 2 + ["maker"] * 5
    assert data.loc[1, "r_V4"] == 0.6224
    assert networks_table.caption(data) == (
        "2 networks as printed in Arend et al. 2018, 1 of them run here, and 5 of this store"
    )
    drawing = networks_table.describe(data)
    assert drawing.axes.height == 22 * 8 + 12
    columns = [list(mark.columns["text"]) for mark in drawing.marks if mark.role == "Numbers"][1:]
    assert columns[0][:3] == ["57.7", "82.7", "57.0"]
    assert columns[1] == ["–"] * 7
    assert columns[2][0] == "61M"
    assert columns[4][1] == "0.622"
    assert paper(drawing).axes
