import numpy as np
import pytest

from dashboard.figures import site_by_site


@pytest.fixture
def data(run_datasets, other_datasets):
    return site_by_site.data(
        run_datasets["matches"], other_datasets["matches"], run_datasets["recording"], "V4", names=("A", "B")
    )


def test_sites_are_paired_by_id(data, run_datasets, other_datasets):
    turned = other_datasets["matches"].isel(site=slice(None, None, -1))
    again = site_by_site.data(run_datasets["matches"], turned, run_datasets["recording"], "V4", names=("A", "B"))
    np.testing.assert_array_equal(data["second"], again["second"])
    assert list(data["site"]) == [f"site{i:02d}" for i in range(7)]


def test_a_site_on_one_side_only_is_left_out(run_datasets, other_datasets):
    fewer = other_datasets["matches"].isel(site=slice(1, None))
    data = site_by_site.data(run_datasets["matches"], fewer, run_datasets["recording"], "V4")
    assert list(data["site"]) == [f"site{i:02d}" for i in range(1, 7)]


def test_the_count_is_of_sites_above_the_diagonal_and_a_tie_is_not(data, run_datasets):
    assert data.attrs["n_better"] == (data["second"] > data["first"]).sum()
    same = site_by_site.data(run_datasets["matches"], run_datasets["matches"], run_datasets["recording"], "V4")
    assert same.attrs["n_better"] == 0
    assert same.attrs["difference"] == 0
    note = next(m for m in site_by_site.describe(same).marks if m.role.startswith("NoteInk")).columns["text"]
    assert note[0] == "0 of 7 sites above the line"


def test_both_axes_are_named_and_alike(data):
    axes = site_by_site.describe(data).axes
    assert (axes.xlabel, axes.ylabel) == ("r, A", "r, B")
    assert axes.xlim == axes.ylim
    assert axes.is_square


def test_the_selected_site_has_its_name(data):
    drawing = site_by_site.describe(data, site="site02")
    names = next(m.columns["text"] for m in drawing.marks if m.role.startswith("PointName"))
    assert list(names) == ["site02"]
