"""The figure of scores by number of candidates, from planted curves."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import pool_size
from dashboard.figures.drawing import Shown, paper


def analysed(n_units: int, slope: float) -> xr.Dataset:
    pool = np.append(10 ** np.arange(int(np.log10(n_units)) + 1), n_units)
    r = slope * np.log10(pool)
    held_out = np.where(pool >= n_units / 20, r - 0.05, np.nan)
    values = {"correlation": r, "rounding": 0.005 / pool, "held_out": held_out}
    dims = ("region", "pool")
    return xr.Dataset(
        {f"median_{name}": (dims, value[None]) for name, value in values.items()}
        | {"random": (dims, 0.02 * np.log10(pool)[None]), "n_sites": ("region", [7]), "n_matched": ("region", [6])},
        {"region": ["V4"], "pool": pool},
    )


@pytest.fixture
def data():
    networks = {"A": analysed(50_000, 0.1), "B": analysed(4_000_000, 0.08), "untrained": analysed(2_000_000, 0.05)}
    return pool_size.data(networks, "V4", controls=["untrained"])


def test_networks_are_compared_at_the_number_of_units_that_all_have(data):
    assert data.attrs["common"] == 50_000
    at = data.attrs["at_common"]
    assert at["A"] == pytest.approx((0.1 * np.log10(50_000), 0.1 * np.log10(50_000) - 0.05))
    assert at["B"][0] == pytest.approx(0.08 * np.log10(50_000))
    assert np.isnan(at["B"][1])
    notes = pool_size.describe(data).marks_of("Note").columns["text"]
    assert list(notes[:3]) == ["at 50,000 units", "A: r 0.47, held-out 0.42", "B: r 0.38, held-out n/a"]


def test_every_curve_has_its_colour_and_ends_at_its_whole_network(data):
    drawing = pool_size.describe(data)
    ends = drawing.marks_of("NetworkLayer").columns
    assert ends["x"] == pytest.approx(np.log10([50_000, 4_000_000, 2_000_000]))
    assert list(ends["token"]) == ["network1", "network2", "control"]
    lines = drawing.marks_of("NetworkLine").columns
    assert (np.diff(lines["x0"])[lines["token"][1:] == lines["token"][:-1]] > 0).all()
    assert len(lines["x0"]) == len(data) - 3


def test_any_number_of_networks_has_the_same_marks_so_that_a_swap_is_possible(data):
    shown = Shown(pool_size.describe(data), width=800)
    one = pool_size.data({"A": analysed(50_000, 0.1)}, "V4")
    shown.swap(pool_size.describe(one, selected="A"))
    assert np.isnan(shown.drawing.marks_of("Identity").columns["y"]).all()
    assert paper(shown.drawing).axes


def test_the_axis_is_in_powers_of_ten_and_the_caption_says_how_exact(data):
    axes = pool_size.describe(data).axes
    assert [text for _, text in axes.xticks] == ["1", "10", "100", "1k", "10k", "100k", "1M", "10M"]
    assert axes.ylabel == "Expected best r, median over V4 sites"
    assert pool_size.caption(data) == "6 of 7 V4 sites, 3 networks, error at 50,000 units under 0.0001"


def test_without_any_network_the_caption_says_so():
    data = pool_size.data({}, "V4")
    assert pool_size.caption(data) == "no network has this analysis for V4 yet"
    assert paper(pool_size.describe(data)).axes
