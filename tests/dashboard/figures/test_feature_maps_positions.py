import numpy as np
import pytest
import xarray as xr

from dashboard.figures import feature_maps_positions, feature_maps_positions_runner_ups


def best_units(cells):
    """Sites a, b, ... of IT with their best unit of fire3 at (channel, y, x); and one without a unit."""
    columns = np.array([*cells, (-1, -1, -1)]).T
    sites = [chr(97 + i) for i in range(len(cells) + 1)]
    dims = ("layer", "site", "rank")
    values = {name: (dims, column[None, :, None]) for name, column in zip(("channel", "y", "x"), columns, strict=True)}
    r = np.append(np.linspace(0.4, 0.8, len(cells)), np.nan)
    values |= {"unit": (dims, columns[0][None, :, None]), "correlation": (dims, r[None, :, None])}
    values["held_out"] = values["correlation"]
    layer_matches = xr.Dataset(values, {"layer": ["fire3"], "site": sites})
    return layer_matches, xr.Dataset(coords={"site": sites, "region": ("site", ["IT"] * len(sites))})


NOBODY = best_units([])


def counts(matches, units=None):
    matches = np.array(matches)
    height, width = matches.shape
    units = matches * 10 if units is None else units
    n = int(matches.sum())
    totals = {"n_sites": n, "n_matched": n, "n_units": int(units.sum()), "n_maps_matched": 1, "n_maps_expected": 1.0}
    return xr.Dataset(
        {
            "matches_at": ("position", matches.ravel()),
            "units_at": ("position", units.ravel()),
            "layer": ("region", ["fire3"]),
            **{name: ("region", [value]) for name, value in totals.items()},
        },
        {
            "position_region": ("position", np.full(height * width, "IT")),
            "y": ("position", np.repeat(np.arange(height), width)),
            "x": ("position", np.tile(np.arange(width), height)),
            "region": ["IT"],
        },
    )


SITES = best_units([(5, 0, 0), (9, 0, 0), (5, 0, 2), (1, 2, 1), (1, 2, 1), (1, 2, 1), (2, 2, 1)])


@pytest.fixture
def data():
    return feature_maps_positions.data(counts([[2, 0, 1], [0, 0, 0], [0, 4, 0]]), *SITES, "IT")


def test_row_0_is_on_top_and_an_empty_position_transparent(data):
    cells = feature_maps_positions.describe(data).marks_of("Counts").columns["image"]
    np.testing.assert_array_equal(np.nan_to_num(cells[::-1]), [[2, 0, 1], [0, 0, 0], [0, 4, 0]])
    assert np.isnan(cells).sum() == 6
    assert np.nansum(cells) == data.attrs["n_matched"]


def test_marginals_are_sums_over_rows_and_columns(data):
    above, right = (mark.columns for mark in feature_maps_positions.describe(data).marks if mark.role == "Units")
    height = above["top"] - above["bottom"]
    np.testing.assert_allclose(height / height.max(), np.array([2, 4, 1]) / 4)
    width = right["right"] - right["left"]
    np.testing.assert_allclose(width / width.max(), np.array([3, 0, 4]) / 4)
    assert right["top"].tolist() == sorted(right["top"], reverse=True)


def test_counts_are_written_into_their_cells_where_they_fit(data):
    drawing = feature_maps_positions.describe(data)
    written = drawing.marks_of("NoteInkRight").columns
    assert written["text"].tolist() == ["2", "1", "4"]
    assert np.floor(written["x"]).tolist() == [0, 2, 1]
    assert written["y"].tolist() == [2.5, 2.5, 0.5]
    many = feature_maps_positions.data(counts(np.ones((60, 60), int)), *NOBODY, "IT")
    assert feature_maps_positions.describe(many).marks_of("NoteInkRight").is_empty


def test_all_best_units_are_another_count(data):
    cells = feature_maps_positions.describe(data, of="units").marks_of("Counts").columns["image"]
    assert np.nansum(cells) == data.attrs["n_units"] == 70


def test_a_tap_gives_the_position(data):
    hit = feature_maps_positions.describe(data).marks_of("Hit").columns
    assert (hit["key"][7], hit["left"][7], hit["bottom"][7]) == ("(2, 1)", 1, 0)
    assert hit["told"][[0, 1, 7]].tolist() == ["2 · b, a", "0", "4 · g, f, e, d"]


def test_a_position_names_its_sites_the_best_first_and_none_without_a_unit(data):
    assert data["sites"].tolist() == ["b, a", "", "c", "", "", "", "", "g, f, e, d", ""]


def test_the_cells_of_the_selected_site_and_map_are_framed(data):
    drawing = feature_maps_positions.describe(data, channel=5, site="b")
    own, of_map = (drawing.marks_of(role).columns for role in ("CellSelected", "CellMarked"))
    assert (own["left"].tolist(), own["bottom"].tolist()) == ([0], [2])
    assert sorted(of_map["left"].tolist()) == [0, 2]
    assert feature_maps_positions.describe(data, site="h").marks_of("CellSelected").is_empty


def test_the_frame_is_square_for_oblong_maps_too():
    data = feature_maps_positions.data(counts(np.ones((2, 5), int)), *NOBODY, "IT")
    axes = feature_maps_positions.describe(data).axes
    assert axes.xlim[1] - axes.xlim[0] == pytest.approx(axes.ylim[1] - axes.ylim[0])
    assert axes.is_square


def test_the_caption_says_that_a_dense_layer_has_no_positions(data):
    assert feature_maps_positions.caption(data) == "7 IT sites at 3 of 9 positions"
    dense = feature_maps_positions.data(counts([[3]]), *NOBODY, "IT")
    assert feature_maps_positions.caption(dense) == "3 IT sites; fire3 is a dense layer, its units have no position"
    feature_maps_positions.describe(dense)
    assert len(feature_maps_positions.keys(dense)) == 2


def test_runner_ups_are_a_figure_of_their_own(data):
    drawing = feature_maps_positions_runner_ups.describe(data)
    assert np.nansum(drawing.marks_of("Counts").columns["image"]) == data.attrs["n_units"]
    assert feature_maps_positions_runner_ups.caption(data) == "70 best units of 7 IT sites, at 3 of 9 positions"
    assert len(feature_maps_positions_runner_ups.keys(data)) == 2
