import numpy as np
import pytest

from dashboard.figures import v4_against_it


@pytest.fixture
def found(run_datasets, other_datasets):
    return {"A": run_datasets["neural_correlation"], "B": other_datasets["neural_correlation"]}


def test_one_row_a_network_with_both_regions(found):
    data = v4_against_it.data(found)
    assert list(data["network"]) == ["A", "B"]
    assert data.loc[1, "correlation_IT"] == found["B"]["correlation"].sel(region="IT", layer="")
    assert data.loc[0, "held_out_V4"] == found["A"]["held_out"].sel(region="V4", layer="")


def test_a_network_with_one_region_only_is_left_out(found):
    assert list(v4_against_it.data({"A": found["A"].sel(region=["V4"]), "B": found["B"]})["network"]) == ["B"]


def test_axes_are_alike_and_coloured_by_region(found):
    axes = v4_against_it.describe(v4_against_it.data(found)).axes
    assert axes.xlim == axes.ylim
    assert (axes.x_token, axes.y_token) == ("V4", "IT")
    assert axes.xlabel == "Neural correlation, V4"


def test_each_region_has_the_strip_of_its_own_median(found):
    data = v4_against_it.data(found)
    drawing = v4_against_it.describe(data)
    assert drawing.marks_of("ChanceX").columns["right"][0] == data["chance_median_V4"].max()
    assert drawing.marks_of("ChanceY").columns["top"][0] == data["chance_median_IT"].max()


def test_names_of_near_points_do_not_lie_on_each_other(found):
    near = {f"network {i}": found["A"] for i in range(4)}
    drawing = v4_against_it.describe(v4_against_it.data(near))
    y = np.sort(np.concatenate([m.columns["y"] for m in drawing.marks if m.role.startswith("PointName")]))
    low, high = drawing.axes.ylim
    assert (np.diff(y) > 0.045 * (high - low)).all()


def test_a_name_is_not_struck_through_by_its_interval(found):
    drawing = v4_against_it.describe(v4_against_it.data(found))
    low, high = drawing.axes.ylim
    names = np.concatenate([m.columns["y"] for m in drawing.marks if m.role.startswith("PointName")])
    apart = np.abs(names[:, None] - drawing.marks_of("IntervalX").columns["y0"])
    assert (apart.min(axis=1) > 0.025 * (high - low)).all()


def test_a_regions_name_is_no_markup_in_the_tooltip(found):
    renamed = {"A": found["A"].assign_coords(region=["<b>V4@key{x}", "IT"])}
    tooltip = v4_against_it.describe(v4_against_it.data(renamed, ("<b>V4@key{x}", "IT"))).hit.tooltip
    assert "&lt;b&gt;V4&#64;key&#123;x&#125;" in tooltip


def test_the_title_names_the_regions(found):
    assert v4_against_it.title(v4_against_it.data(found)) == "V4 against IT"
    assert v4_against_it.title(v4_against_it.data(found, ("IT", "V4"))) == "IT against V4"
