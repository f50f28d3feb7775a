import numpy as np
import pytest

from dashboard.figures import every_site

GROUPS = ("matches", "recording", "null", "reliability")


@pytest.fixture
def data(run_datasets, other_datasets):
    groups = [run_datasets[name] for name in GROUPS]
    return every_site.data(*groups, region="V4", control=other_datasets["matches"])


def test_the_control_is_paired_by_site(data, other_datasets):
    row = data.set_index("site").loc["site05"]
    assert row["control"] == other_datasets["matches"]["correlation"].sel(site="site05", rank=0)


def test_stems_reach_from_r_to_the_ceiling(data):
    stems = every_site.describe(data).marks_of("CeilingStem").columns
    np.testing.assert_array_equal(stems["y0"], data["correlation"])
    np.testing.assert_array_equal(stems["y1"], data["noise_ceiling"])


def test_the_axis_holds_negative_held_out_values_and_one(data):
    data.loc[2, "held_out"] = -0.13
    low, high = every_site.describe(data).axes.ylim
    assert low <= -0.13
    assert high >= 1


def test_both_strips_of_a_single_site_are_there(data):
    drawing = every_site.describe(data)
    assert drawing.marks_of("Chance").columns["top"][0] == data["chance"][0]
    assert drawing.marks_of("ChanceHeldOut").columns["top"][0] == data["chance_held_out"][0]


def test_the_caption_names_the_method_of_the_ceiling(data, run_datasets):
    assert every_site.caption(data) == "7 V4 sites, ceiling: split half"
    without = every_site.data(*(run_datasets[name] for name in GROUPS[:3]), region="V4")
    assert every_site.caption(without) == "7 V4 sites, no noise ceiling"
    assert [key.label for key in every_site.keys(without)] == ["r", "held-out r"]


@pytest.mark.parametrize(("value", "low"), [(0.3, 0.0), (np.nan, 0.0), (-0.13, -0.2)])
def test_the_axis_begins_below_zero_only_where_a_value_does(data, value, low):
    data["held_out"] = value
    data["correlation"] = np.abs(data["correlation"]) if np.isfinite(value) else np.nan
    assert every_site.describe(data).axes.ylim[0] == pytest.approx(low)
