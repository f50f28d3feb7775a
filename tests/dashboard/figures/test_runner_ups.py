import numpy as np
import pytest

from dashboard.figures import runner_ups
from engine.analyses.runner_ups import count_by_r, shared_bins

GROUPS = ("matches", "recording", "null")


@pytest.fixture
def data(run_datasets):
    return runner_ups.data(*(run_datasets[name] for name in GROUPS), "V4")


def test_each_row_sums_to_100(data):
    assert (data.groupby("site")["count"].sum() == 100).all()
    assert len(data) == 7 * 100


def test_bins_are_equal_round_and_shared_by_the_regions(data, run_datasets):
    r = run_datasets["matches"]["correlation"].values
    low, high = data["r_low"].min(), data["r_high"].max()
    assert low == pytest.approx(np.floor(r.min() / 0.05) * 0.05)
    assert high == pytest.approx(np.ceil(r.max() / 0.05) * 0.05)
    np.testing.assert_allclose(data["r_high"] - data["r_low"], (high - low) / 100)
    other = runner_ups.data(*(run_datasets[name] for name in GROUPS), "IT")
    assert (other["r_low"].min(), other["r_high"].max()) == (low, high)


def test_sites_come_best_match_first(data):
    assert data.drop_duplicates("site")["correlation"].is_monotonic_decreasing


def test_an_empty_bin_is_transparent_and_the_first_site_on_top(data):
    cells = runner_ups.describe(data).marks_of("Counts").columns["image"]
    assert np.isnan(cells).sum() == (data["count"] == 0).sum()
    first = data["count"].to_numpy()[:100]
    np.testing.assert_array_equal(np.nan_to_num(cells[-1]), first)


def test_the_line_steps_through_the_matches(data):
    step = runner_ups.describe(data).marks_of("Step").columns
    r = data["correlation"].to_numpy()[::100]
    np.testing.assert_array_equal(step["x"][::2], r)
    assert (step["y"][0], step["y"][-1]) == (7.5, 0.5)


def test_the_selected_row_is_framed_and_a_tap_gives_the_site(data):
    drawing = runner_ups.describe(data, site=data["site"].iloc[0])
    frame = drawing.marks_of("RowFrame").columns
    assert (frame["bottom"].tolist(), frame["top"].tolist()) == ([6.5], [7.5])
    assert drawing.marks_of("Hit").columns["key"][0] == data["site"].iloc[0]


def test_both_kinds_of_chance_and_held_out_values_below_zero_are_in_the_frame(data):
    data["held_out"] = np.where(data["site"] == "site01", -0.2, data["held_out"])
    drawing = runner_ups.describe(data)
    assert drawing.axes.xlim[0] < -0.2
    strips = [drawing.marks_of(role).columns["right"][0] for role in ("Chance", "ChanceHeldOut")]
    assert strips == [data.attrs["chance"], data.attrs["chance_held_out"]]
    assert strips[1] < strips[0]


def test_fewer_than_100_units_are_fewer_counts(run_datasets):
    matches = run_datasets["matches"].copy(deep=True)
    matches["correlation"][0, 60:] = np.nan
    data = runner_ups.data(matches, *(run_datasets[name] for name in GROUPS[1:]), "V4")
    assert data.groupby("site")["count"].sum()["site00"] == 60


def test_ids_are_thinned_when_rows_are_lower_than_their_letters(data):
    assert len(runner_ups.describe(data, height=650).axes.yticks) == 7
    few = runner_ups.describe(data, height=90, site="site03").axes.yticks
    assert len(few) < 7
    assert "site03" in [text for _, text in few]


def test_keys_say_the_width_of_a_bin_and_the_level_of_chance(data):
    labels = [key.label for key in runner_ups.keys(data)]
    assert labels[2].startswith("units per bin of 0.00")
    assert labels[3] == f"chance: r {data.attrs['chance']:.2f}"


def test_a_region_without_sites_draws_an_empty_frame(run_datasets):
    data = runner_ups.data(*(run_datasets[name] for name in GROUPS), "V1")
    assert runner_ups.describe(data).marks_of("Hit").is_empty


@pytest.mark.parametrize(("top", "units"), [(20, "20 best units"), (1, "best unit")])
def test_a_run_with_fewer_ranks_says_how_many(run_datasets, top, units):
    matches = run_datasets["matches"].isel(rank=slice(top))
    data = runner_ups.data(matches, *(run_datasets[name] for name in GROUPS[1:]), "V4")
    assert runner_ups.title(data) == f"The {units} of every site"
    assert runner_ups.caption(data).startswith(f"a row is a site and sums to {top};")
    assert runner_ups.describe(data).axes.xlabel == f"r of the {units}"


def test_the_counts_are_those_of_the_engine(data, run_datasets):
    r = run_datasets["matches"]["correlation"].values
    edges = shared_bins(r)
    counts = dict(zip(run_datasets["matches"]["site"].values, count_by_r(r, edges), strict=True))
    for site, rows in data.groupby("site"):
        np.testing.assert_array_equal(rows["count"], counts[site])
        np.testing.assert_array_equal(rows["r_low"], edges[:-1])


def test_a_recording_without_any_match_draws_empty_rows(run_datasets):
    matches = run_datasets["matches"].copy(deep=True)
    matches["correlation"][:] = np.nan
    data = runner_ups.data(matches, *(run_datasets[name] for name in GROUPS[1:]), "V4")
    assert data["count"].sum() == 0
    runner_ups.describe(data)
