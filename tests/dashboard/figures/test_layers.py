from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.figures import chance, layers
from engine.analyses import layer_summary


@pytest.fixture(scope="module")
def summary(run_datasets):
    return layer_summary.compute(SimpleNamespace(dataset=run_datasets.__getitem__))


@pytest.fixture
def data(run_datasets, summary):
    return layers.data(summary, *(run_datasets[name] for name in ("layers", "null", "recording")))


def test_a_row_is_a_site_at_the_layer_of_its_match(data, run_datasets):
    best = run_datasets["matches"].isel(rank=0)
    assert len(data) == 12
    for row in data.itertuples():
        one = best.sel(site=row.site)
        assert (row.layer, row.correlation) == (str(one["layer"].values), float(one["correlation"]))
        assert data.attrs["layers"][row.layer_index] == row.layer
        assert row.depth == row.layer_index / 3


def test_both_regions_are_drawn_early_one_first_in_their_colours(data):
    assert data.attrs["regions"] == ["V4", "IT"]
    drawing = layers.describe(data)
    assert drawing.marks_of("Site").columns["token"].tolist() == ["V4"] * 7 + ["IT"] * 5
    names = [(mark.columns["text"][0], mark.token) for mark in drawing.marks if mark.role == "Match"]
    assert names == [("V4, 7 sites", "V4"), ("IT, 5 sites", "IT")]


def test_dots_lie_in_the_lane_of_their_layer_and_region(data):
    x = layers.describe(data).marks_of("Site").columns["x"]
    offset = x - data["layer_index"]
    assert ((offset > -0.4) & (offset < 0)).to_numpy()[:7].all()
    assert ((offset > 0) & (offset < 0.4)).to_numpy()[7:].all()
    assert len(np.unique(x)) == 12


def test_bars_count_the_sites_of_each_layer(data):
    drawing = layers.describe(data)
    bars = drawing.marks_of("Units").columns
    height = bars["top"] - bars["bottom"]
    counts = data.groupby(["region", "layer_index"]).size()
    np.testing.assert_allclose(height / height.max(), counts / counts.max())
    assert drawing.marks_of("Note").columns["text"].tolist() == [str(counts.max())]


def test_both_kinds_of_chance_are_those_of_the_larger_region(data, run_datasets):
    null = run_datasets["null"]
    drawing = layers.describe(data)
    assert drawing.marks_of("Chance").columns["top"][0] == max(chance.best_of_all(null, r) for r in ("V4", "IT"))
    assert drawing.marks_of("ChanceHeldOut").columns["top"][0] == max(chance.held_out(null, r) for r in ("V4", "IT"))


def test_held_out_values_below_zero_are_in_the_frame(data):
    data.loc[2, "held_out"] = -0.3
    drawing = layers.describe(data, site="site03")
    assert drawing.axes.ylim[0] < -0.3
    assert drawing.marks_of("Selection").columns["y"].tolist() == [data.loc[3, "correlation"]]


@pytest.mark.parametrize(
    ("told", "caption"),
    [
        ("yes", "V4-like layer fire2 precedes IT-like layer fc"),
        ("no", "warning: V4-like layer fire2 follows IT-like layer fc"),
        ("same layer", "warning: fire2 is both the V4-like and the IT-like layer"),
        ("not available: no best layer for IT", ""),
    ],
)
def test_the_caption_warns_where_it_like_precedes_v4_like(data, told, caption):
    data.attrs |= {"v4_before_it": told, "best_layers": {"V4": "fire2", "IT": "fc"}}
    assert layers.caption(data) == "7 V4 sites and 5 IT sites, 120 images" + (f"; {caption}" if caption else "")


def test_a_site_without_a_match_is_not_drawn_but_counted(run_datasets, summary):
    lost = summary.assign(layer_index=summary["layer_index"].where(summary["site"] != "site01", -1))
    data = layers.data(lost, *(run_datasets[name] for name in ("layers", "null", "recording")))
    assert layers.caption(data).startswith("6 of 7 V4 sites and 5 IT sites")
    assert [key.label for key in layers.keys(data)][:2] == ["V4 site", "IT site"]


def test_without_any_match_the_frame_is_empty(run_datasets, summary):
    lost = summary.assign(layer_index=summary["layer_index"] * 0 - 1)
    data = layers.data(lost, *(run_datasets[name] for name in ("layers", "null", "recording")))
    assert layers.describe(data).marks_of("Site").is_empty
