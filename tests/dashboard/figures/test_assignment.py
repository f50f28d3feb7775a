"""The figure of the one-to-one assignment, from planted values of the analysis."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import assignment, chance
from dashboard.figures.drawing import Shown, paper


def analysed() -> xr.Dataset:
    sites = {
        "greedy": [0.5, 0.4, 0.45, 0.3],
        "one_to_one": [0.5, 0.35, 0.45, np.nan],
        "greedy_held_out": [0.4, 0.3, 0.35, np.nan],
        "one_to_one_held_out": [0.4, 0.32, 0.3, np.nan],
        "rank": [0, 3, 0, -1],
        "n_sharing": [2, 2, 1, 1],
        "n_sharing_map": [3, 3, 3, 1],
    }
    counts = {"n_sites": 5, "n_matched": 4, "n_assigned": 3, "n_distinct": 3, "n_shared": 2, "n_shared_map": 3}
    medians = {"greedy": 0.425, "one_to_one": 0.4, "greedy_held_out": 0.35, "one_to_one_held_out": 0.32}
    return xr.Dataset(
        {name: ("site", values) for name, values in sites.items()}
        | {name: ("region", [value]) for name, value in {**counts, "n_changed": 1, "is_exact": True}.items()}
        | {f"median_{name}": ("region", [value]) for name, value in medians.items()},
        {"site": [f"site{i:02d}" for i in range(4)], "region_of_site": ("site", ["V4"] * 4), "region": ["V4"]},
    )


@pytest.fixture
def data(run_datasets):
    return assignment.data(analysed(), run_datasets["null"], "V4")


def test_sites_come_best_first(data):
    assert list(data["site"]) == ["site00", "site02", "site01", "site03"]
    assert data.loc[2, "one_to_one"] == 0.35


def test_only_what_changed_is_drawn_in_the_networks_colour_and_sharing_sites_have_a_ring(data):
    drawing = assignment.describe(data)
    assert drawing.marks_of("NetworkLayerDense").columns["x"].tolist() == [2.0]
    assert drawing.marks_of("NetworkLayerHeldOutDense").columns["x"].tolist() == [1.0, 2.0]
    assert drawing.marks_of("UnitFavourite").columns["x"].tolist() == [0.0, 2.0]
    assert drawing.marks_of("MatchDense").columns["y"].tolist() == [0.5, 0.45, 0.4, 0.3]


def test_the_text_counts_and_gives_the_cost(data):
    drawing = assignment.describe(data)
    assert drawing.marks_of("NoteInk").columns["text"][0] == (
        "2 of 4 sites share their best unit with another, 3 its feature map; 3 different units"
    )
    assert drawing.marks_of("Note").columns["text"][0] == (
        "one-to-one, 1 site with another unit: median r 0.425 to 0.400, held-out r 0.350 to 0.320"
    )
    assert assignment.caption(data) == "4 of 5 V4 sites, the best assignment, no unit left for 1 site"
    data.attrs |= {"is_exact": False, "n_assigned": 4, "median_greedy_held_out": np.nan}
    assert assignment.caption(data) == "4 of 5 V4 sites, a lower bound: more sites than ranks"
    assert "held-out" not in assignment.describe(data).marks_of("Note").columns["text"][0]


def test_two_kinds_of_chance(data, run_datasets):
    drawing = assignment.describe(data)
    assert drawing.marks_of("Chance").columns["top"][0] == chance.best_of_all(run_datasets["null"], "V4")
    assert drawing.marks_of("ChanceHeldOut").columns["top"][0] == chance.held_out(run_datasets["null"], "V4")


def test_it_draws_on_the_page_and_on_paper_and_a_tap_gives_the_site(data):
    drawing = assignment.describe(data, site="site02")
    assert Shown(drawing, width=900).key_at(2.1, 0.2) == "site01"
    assert paper(drawing).axes
