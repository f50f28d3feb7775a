import numpy as np
import pytest

from dashboard.figures import site_rail


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


def test_only_the_selected_id_is_bold_and_each_id_is_written_once(data):
    drawing = site_rail.describe(data, site="site03")
    written = [*drawing.marks_of("RowLabel").columns["text"], *drawing.marks_of("RowLabelSelected").columns["text"]]
    assert sorted(written) == sorted(data["site"])


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
