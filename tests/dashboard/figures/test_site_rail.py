import numpy as np
import pytest

from dashboard.figures import site_rail
from dashboard.figures.marks import ROLES


def same(one, two):
    return all(np.array_equal(one[name], two[name]) for name in one)


@pytest.fixture
def data(run_datasets):
    return site_rail.data(*(run_datasets[n] for n in ("matches", "recording", "null", "reliability")), region="V4")


def test_every_site_of_the_region_has_a_row_best_first(data):
    assert sorted(data["site"]) == [f"site{i:02d}" for i in range(7)]
    assert data["correlation"].is_monotonic_decreasing


def test_values_belong_to_their_sites(data, run_datasets):
    row = data.set_index("site").loc["site04"]
    best = run_datasets["matches"].sel(site="site04").isel(rank=0)
    assert row["correlation"] == best["correlation"]
    assert row["held_out"] == best["held_out"]
    assert row["noise_ceiling"] == run_datasets["reliability"]["noise_ceiling"].sel(site="site04")


def test_other_orders(run_datasets):
    groups = [run_datasets[n] for n in ("matches", "recording", "null")]
    assert list(site_rail.data(*groups, region="IT", order="site")["site"]) == [f"site{i:02d}" for i in range(7, 12)]
    assert site_rail.data(*groups, region="IT", order="held_out")["held_out"].is_monotonic_decreasing


def test_two_kinds_of_chance(data):
    drawing = site_rail.describe(data)
    strips = [drawing.marks_of(role).columns["right"][0] for role in ("Chance", "ChanceHeldOut")]
    assert strips == [data["chance"][0], data["chance_held_out"][0]]
    assert strips[1] < strips[0]


def test_rows_are_14_px_and_the_first_is_on_top(data):
    drawing = site_rail.describe(data, site=data["site"][0])
    assert drawing.axes.height == site_rail.TOP_PX + 14 * 7
    assert drawing.axes.is_x_on_top
    assert drawing.marks_of("RowLabelSelected").columns["y"].tolist() == [7.0]
    assert drawing.marks_of("SelectedRow").columns["top"].tolist() == [7.5]
    assert drawing.marks_of("Hit").columns["key"][0] == data["site"][0]


def test_the_id_of_the_selected_row_is_covered_and_written_bold(data):
    drawing = site_rail.describe(data, site="site03")
    every, cover, bold = (drawing.marks_of(f"RowLabel{part}").columns for part in ("", "Cover", "Selected"))
    order = [mark.role for mark in drawing.marks]
    assert order.index("RowLabel") < order.index("RowLabelCover") < order.index("RowLabelSelected")
    assert list(every["text"]) == list(data["site"])
    assert list(bold["text"]) == ["site03"]
    at = int(np.flatnonzero(every["text"] == "site03")[0])
    assert cover["bottom"] < every["y"][at] < cover["top"]
    assert cover["right"] == every["x"][at]  # where ids end


def test_what_is_in_front_stays_off_the_edge_of_the_canvas(data):
    """Bokeh does not clear the outermost half px of that canvas, and rows that were left would stay there as a line."""
    drawing = site_rail.describe(data, site="site03")
    low, high = drawing.axes.xlim
    for role in ("RowLabelCover", "SelectedRow", "Hit"):  # a tap puts the selected row where it hit
        assert (drawing.marks_of(role).columns["left"] >= low + 0.99 * (high - low) / site_rail.WIDTH_PX).all()


def test_another_selected_site_moves_only_what_is_in_front(data):
    """The canvas of all rows is then not painted again."""
    first, second = (site_rail.describe(data, site=site) for site in ("site03", "site04"))
    moved = [one.role for one, two in zip(first.marks, second.marks, strict=True) if not same(one.columns, two.columns)]
    assert moved == ["RowLabelCover", "SelectedRow", "RowLabelSelected"]
    assert all(ROLES[role].is_in_front for role in moved)


def test_without_trials_there_is_no_ceiling_and_no_tick(run_datasets):
    data = site_rail.data(*(run_datasets[n] for n in ("matches", "recording", "null")), region="V4")
    assert data["noise_ceiling"].isna().all()
    drawing = site_rail.describe(data)
    assert drawing.marks_of("Hit").columns["ceiling"][0] == "n/a"


def test_labels_never_meet_a_mark_even_where_held_out_values_are_negative(data):
    data.loc[0, "held_out"] = -0.4
    drawing = site_rail.describe(data)
    assert drawing.marks_of("RowLabel").columns["x"].max() < -0.4
    assert drawing.axes.xlim[0] < -0.4


def test_an_empty_region_draws(run_datasets):
    data = site_rail.data(*(run_datasets[n] for n in ("matches", "recording", "null")), region="V1")
    assert site_rail.caption(data) == "V1 · 0 sites"
    assert np.isfinite(site_rail.describe(data).axes.xlim).all()
