from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.figures import site_correlations, site_correlations_clustered
from engine.analyses import site_correlations as analysis


@pytest.fixture(scope="module")
def found(run_datasets):
    run = SimpleNamespace(dataset=run_datasets.__getitem__, names=list(run_datasets))
    return analysis.compute(run)


def arms(drawing, n):
    warm, cool = (mark for mark in drawing.marks[:2])
    return np.nan_to_num(warm.columns["image"])[::-1], np.nan_to_num(cool.columns["image"])[::-1]


def test_cells_are_r_in_two_arms_that_part_at_zero(found):
    data = site_correlations.data(found)
    drawing = site_correlations.describe(data)
    warm, cool = arms(drawing, 12)
    np.testing.assert_allclose(warm - cool, found["correlation"])
    assert (warm * cool == 0).all()
    assert [mark.limits for mark in drawing.marks[:2]] == [(0, 1), (0, 1)]
    assert [mark.token for mark in drawing.marks[:2]] == ["V4", "IT"]


def test_the_diagonal_runs_from_the_upper_left(found):
    warm, _ = arms(site_correlations.describe(site_correlations.data(found)), 12)
    np.testing.assert_array_equal(np.diag(warm), 1)


def test_lines_part_the_regions_and_names_stand_above(found):
    drawing = site_correlations.describe(site_correlations.data(found))
    edges = drawing.marks_of("MatchLine").columns
    assert edges["x"].tolist()[:2] == [7, 7]
    assert edges["y"].tolist()[3:5] == [5, 5]
    names = drawing.marks_of("NoteInk").columns
    assert (names["text"].tolist(), names["x"].tolist()) == (["V4", "IT"], [0, 7])


def test_clustered_sites_stay_within_their_region(found):
    data = site_correlations.data(found, is_clustered=True)
    assert data["region"].tolist()[::12] == ["V4"] * 7 + ["IT"] * 5
    place = found["cluster_order"].values
    assert data.attrs["sites"] == found["site"].values[np.argsort(place)].tolist()
    one = data[(data["site"] == "site03") & (data["other_site"] == "site09")].iloc[0]
    assert one["correlation"] == float(found["correlation"].sel(site="site03", other_site="site09"))


def test_corrected_values_are_named_and_cut_at_one(found):
    data = site_correlations.data(found, is_corrected=True)
    data.loc[1, "noise_corrected"] = 1.4
    drawing = site_correlations.describe(data)
    assert arms(drawing, 12)[0][0, 1] == 1
    assert drawing.marks_of("Hit").columns["told"][1] == "1.40"
    assert "median noise-corrected r (split half)" in site_correlations.caption(data)


def test_one_region_alone_has_no_line(found):
    data = site_correlations.data(found, "IT")
    assert len(data) == 25
    assert np.isnan(site_correlations.describe(data).marks_of("MatchLine").columns["x"]).all()


def test_the_caption_says_order_sites_and_images(found):
    told = site_correlations.caption(site_correlations.data(found))
    assert told.startswith("12 sites, 120 images, in the order of the recording; median r ")
    lost = site_correlations.data(found.assign(n_left_out=2), is_clustered=True)
    assert site_correlations.caption(lost).startswith(
        "12 sites, 2 left out, 120 images, clustered within each region; "
    )
    assert [key.label for key in site_correlations.keys(lost)] == ["r above 0", "r below 0"]


def test_ids_are_thinned_in_a_small_figure(found):
    data = site_correlations.data(found)
    assert len(site_correlations.describe(data).axes.yticks) == 12
    assert len(site_correlations.describe(data, size=90).axes.yticks) < 12


def test_the_clustered_order_is_a_figure_of_its_own(found):
    data = site_correlations_clustered.data(found)
    assert data.attrs["sites"] == site_correlations.data(found, is_clustered=True).attrs["sites"]
    assert "clustered" in site_correlations_clustered.caption(data)


def test_of_too_many_sites_blocks_of_neighbours_are_drawn(found, monkeypatch):
    monkeypatch.setattr(site_correlations, "_MOST_ROWS", 5)
    data = site_correlations.data(found)
    assert data.attrs["sites"] == [f"site{k:02d}" for k in (0, 3, 6, 7, 10)]  # 7 of V4, 5 of IT, three a block
    r = found["correlation"].values
    one = data[(data["site"] == "site03") & (data["other_site"] == "site07")].iloc[0]
    assert (one["last_site"], one["other_last_site"]) == ("site05", "site09")
    np.testing.assert_allclose(one["correlation"], r[3:6, 7:10].mean())
    own = data[(data["site"] == "site00") & (data["other_site"] == "site00")].iloc[0]
    np.testing.assert_allclose(own["correlation"], r[:3, :3][~np.eye(3, dtype=bool)].mean())
    alone = data[(data["site"] == "site06") & (data["other_site"] == "site06")].iloc[0]
    assert np.isnan(alone["correlation"])
    drawing = site_correlations.describe(data)
    assert drawing.marks_of("MatchLine").columns["x"].tolist()[:2] == [3, 3]
    assert drawing.marks_of("Hit").columns["name"][[0, 10]].tolist() == ["site00 to site02", "site06"]
    told, whole = site_correlations.caption(data), np.median(r[~np.eye(12, dtype=bool)])
    assert told.startswith("12 sites, 120 images, in the order of the recording, a cell is the mean of up to 3 × 3")
    assert told.endswith(f"median r {whole:.2f}")
