"""Every unit in a cell: counts that add up, the match where it is, the unit that was tapped, closer views."""

import numpy as np
import pytest
import xarray as xr

from dashboard.figures import unit_correlations
from dashboard.figures.layer_strips import View
from tests.dashboard.figures import explored

SITE = "site03"


@pytest.fixture(scope="module")
def correlations(run_datasets) -> xr.Dataset:
    return explored.unit_correlations(run_datasets, SITE)


@pytest.fixture(scope="module")
def groups(run_datasets, correlations) -> list[xr.Dataset]:
    return [correlations, *(run_datasets[name] for name in ("layers", "matches", "null", "recording"))]


def test_every_unit_with_an_r_is_in_one_cell_of_its_layer_and_its_r(groups, correlations, run_datasets):
    found = unit_correlations.data(*groups, SITE)
    r = correlations["correlation"].values[0]
    assert found["count"].sum() == np.isfinite(r).sum()
    units = run_datasets["layers"]["units"].to_series()
    edges = np.concatenate([[0], np.cumsum(units)])
    for k, layer in enumerate(units.index):
        own = r[edges[k] : edges[k + 1]]
        cells = found[found["layer"] == layer]
        assert cells["count"].sum() == np.isfinite(own).sum()
        assert cells["r_low"].min() <= np.nanmin(own)
        assert cells["r_high"].max() >= np.nanmax(own)
    assert found["last_map"].max() < run_datasets["layers"]["channels"].max()


def test_a_closer_view_counts_what_is_seen(groups, correlations):
    told = unit_correlations.about(*groups[1:], SITE)
    r = correlations["correlation"].values[0]
    view = View((1.0, 2.0), (0.0, 0.2), 400, 200)
    found = unit_correlations.cells(r, told, view)
    own = r[unit_correlations.strips_of(told).between(1.0, 2.0)]
    assert found["count"].sum() == ((own >= 0) & (own <= 0.2)).sum()
    assert set(found["layer"].astype(str)) == {told["layers"][1]}
    assert found.attrs["grid"] == [200 // 6, 400 // 6]  # few units: cells in which a single one is seen


def test_the_match_the_selected_unit_and_chance_are_marked(groups):
    found = unit_correlations.data(*groups, SITE)
    about, strips = found.attrs, unit_correlations.strips_of(found.attrs)
    drawing = unit_correlations.describe(found, rank=2, layer=about["layers"][1])
    match, ring = (drawing.marks_of(role).columns for role in ("UnitMatch", "Selection"))
    assert match["y"][0] == about["ranked_r"][0]
    assert match["x"][0] == strips.at(about["ranked_layer"][0], about["ranked_unit"][0])
    assert ring["y"][0] == about["ranked_r"][2]
    named = [*drawing.marks_of("UnitName").columns["text"], *drawing.marks_of("UnitNameLeft").columns["text"]]
    assert named[0].startswith("rank 2: ")
    assert named[0].endswith(f"r {about['ranked_r'][2]:.2f}")
    assert drawing.marks_of("Chance").columns["top"][0] == about["chance"]
    assert drawing.marks_of("SelectedLayer").columns["left"][0] == 1
    image = drawing.marks_of("UnitDensity").columns["image"]
    np.testing.assert_allclose(np.nansum(10**image), found["count"].sum(), rtol=1e-5)
    assert drawing.axes.ylabel == f"r with {SITE}"


def test_the_unit_nearest_to_a_tap_is_found_and_none_far_from_all(groups, correlations):
    found = unit_correlations.data(*groups, SITE)
    about, r = found.attrs, correlations["correlation"].values[0]
    view = View(tuple(about["x"]), tuple(about["y"]), *about["size"])
    layer, unit, best = about["ranked_layer"][0], about["ranked_unit"][0], about["ranked_r"][0]
    x = float(unit_correlations.strips_of(about).at(layer, unit))
    near = unit_correlations.nearest(r, about, view, x + 0.005, best + 0.005)
    assert near[:2] == (layer, unit)
    assert near[2] == pytest.approx(best, abs=1e-6)
    assert unit_correlations.nearest(r, about, view, x, about["y"][1] + 5) is None
    drawing = unit_correlations.describe(found, unit=(0, 7, 0.125))
    height, width = about["heights"][0], about["widths"][0]
    assert f"map {7 // (height * width)}" in drawing.marks_of("UnitName").columns["text"][0]
    assert drawing.marks_of("UnitName").columns["text"][0].startswith("not ranked: ")


def test_caption_counts_units_and_those_without_r_and_ticks_follow_the_view(groups, correlations):
    found = unit_correlations.data(*groups, SITE)
    assert unit_correlations.caption(found).split(" units")[0] == str(found.attrs["n_units"])
    close = unit_correlations.cells(correlations["correlation"].values[0], found.attrs, View((0, 1), (0.011, 0.019)))
    assert [text for _, text in unit_correlations.describe(close).axes.yticks] == ["0.012", "0.014", "0.016", "0.018"]
    blank = unit_correlations.blank(found.attrs, View((0, 4), (-1, 1)))
    assert blank.empty
    assert np.isnan(unit_correlations.describe(blank).marks_of("UnitDensity").columns["image"]).all()
