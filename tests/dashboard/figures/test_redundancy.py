from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.figures import redundancy, runner_ups
from engine.analyses import redundancy as analysis

GROUPS = ("matches", "recording", "null")


@pytest.fixture(scope="module")
def found(run_datasets):
    return analysis.compute(SimpleNamespace(dataset=run_datasets.__getitem__), within=0.1)


@pytest.fixture
def data(run_datasets, found):
    return redundancy.data(*(run_datasets[name] for name in GROUPS), found, "V4")


def test_rows_are_those_of_the_runner_ups_with_two_numbers_for_each_site(data, run_datasets, found):
    base = runner_ups.data(*(run_datasets[name] for name in GROUPS), "V4")
    np.testing.assert_array_equal(data["count"], base["count"])
    for site, rows in data.groupby("site"):
        assert (rows["near_ties"] == int(found["near_ties"].sel(site=site))).all()
        assert (rows["effective_rank"] == float(found["effective_rank"].sel(site=site))).all()


def test_both_strips_stand_right_of_the_bins_row_by_row(data):
    drawing = redundancy.describe(data)
    base = runner_ups.describe(data)
    strips = [mark.columns for mark in drawing.marks if mark.role == "Match"]
    assert len(strips) == 2
    assert base.axes.xlim[1] < strips[0]["left"][0] < strips[1]["left"][0] < drawing.axes.xlim[1]
    for strip in strips:
        np.testing.assert_allclose((strip["top"] + strip["bottom"]) / 2, np.arange(7, 0, -1))
    np.testing.assert_allclose(strips[1]["right"] - strips[1]["left"], _ranks(data) * _per_rank(drawing, strips[1]))


def _ranks(data):
    return data.drop_duplicates("site")["effective_rank"].to_numpy()


def _per_rank(drawing, strip):
    at = {name: place for place, name in drawing.axes.xticks if place >= strip["left"][0]}
    return (at["100"] - at["0"]) / 100


def test_near_ties_have_a_logarithmic_scale_and_a_match_alone_a_sliver(data):
    sites = data["site"].unique()
    ties = dict(zip(sites, [1, 10, 100, 1, 1, 1, 1], strict=True))
    data["near_ties"] = data["near_ties_most"] = data["site"].map(ties)
    drawing = redundancy.describe(data)
    strip = drawing.marks_of("Match").columns
    length = strip["right"] - strip["left"]
    assert length[2] == pytest.approx(2 * length[1])
    assert 0 < length[0] < 0.1 * length[1]
    assert next(mark for mark in drawing.marks if mark.role == "Units").is_empty


def test_what_a_count_leaves_open_is_pale(data):
    data["near_ties_most"] = data["near_ties"] * 10
    pale, sure = (redundancy.describe(data).marks_of(role).columns for role in ("Units", "Match"))
    np.testing.assert_allclose(pale["left"], sure["right"])
    assert (pale["right"] > pale["left"]).all()


def test_headings_name_the_three_parts_and_a_tap_anywhere_gives_the_site(data):
    drawing = redundancy.describe(data, site=data["site"].iloc[0])
    assert drawing.marks_of("NoteInk").columns["text"].tolist() == [
        "100 best units",
        "units within 0.1",
        "effective rank",
    ]
    assert (drawing.marks_of("Hit").columns["right"] == drawing.axes.xlim[1]).all()
    assert drawing.marks_of("RowFrame").columns["right"].tolist() == [drawing.axes.xlim[1]]
    assert drawing.hit.role == drawing.marks[-1].role


def test_the_caption_says_how_many_counts_are_bounds(data):
    data["near_ties_status"] = np.where(data["site"] == "site01", "at least", "exact")
    told = redundancy.caption(data)
    assert told.startswith("7 V4 sites, 120 images; median of ")
    assert "near-ties within 0.1 (1 sites: at least), effective rank " in told
    assert redundancy.keys(data)[0].label == "match"


def test_a_region_without_sites_draws_an_empty_frame(run_datasets, found):
    data = redundancy.data(*(run_datasets[name] for name in GROUPS), found, "V1")
    assert redundancy.caption(data) == "no V1 site"
    assert redundancy.describe(data).marks_of("Hit").is_empty
