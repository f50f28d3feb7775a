from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.figures import layers_median
from engine.analyses import layer_summary


@pytest.fixture(scope="module")
def summary(run_datasets):
    return layer_summary.compute(SimpleNamespace(dataset=run_datasets.__getitem__))


@pytest.fixture
def data(run_datasets, summary):
    return layers_median.data(run_datasets["layer_profile"], summary, run_datasets["recording"])


def test_dots_are_the_best_r_of_each_layer_and_site(data, run_datasets):
    profile = run_datasets["layer_profile"]["correlation"]
    assert len(data) == profile.size
    table = data.pivot_table(index="layer", columns="site", values="correlation", sort=False)
    np.testing.assert_allclose(table, profile.sel(layer=table.index, site=table.columns))


def test_lines_are_medians_over_the_sites_of_a_region(data, run_datasets):
    drawing = layers_median.describe(data)
    lines = [mark for mark in drawing.marks if mark.role == "MatchLine"]
    held_out = [mark for mark in drawing.marks if mark.role == "HeldOutLine"]
    assert [mark.token for mark in lines] == ["V4", "IT"]
    regions = run_datasets["recording"]["region"].values
    for i, region in enumerate(("V4", "IT")):
        of_region = run_datasets["layer_profile"].isel(site=np.flatnonzero(regions == region)).median("site")
        np.testing.assert_allclose(lines[i].columns["y"], of_region["correlation"])
        np.testing.assert_allclose(held_out[i].columns["y"], of_region["held_out"])


def test_the_control_is_a_dashed_line_for_each_region(data, summary):
    controls = [mark.columns["y"] for mark in layers_median.describe(data).marks if mark.role == "ChanceEdge"]
    np.testing.assert_allclose(controls, summary["median_control"].sel(region=["V4", "IT"]))


def test_one_region_alone_and_a_selected_layer(run_datasets, summary):
    data = layers_median.data(run_datasets["layer_profile"], summary, run_datasets["recording"], "IT")
    assert set(data["region"]) == {"IT"}
    drawing = layers_median.describe(data, layer="fire3")
    assert drawing.marks_of("SelectedRow").columns["left"].tolist() == [1.5]
    assert drawing.marks_of("Hit").columns["key"].tolist() == ["conv1", "fire2", "fire3", "fc"]
    assert drawing.marks_of("Hit").columns["told"][0].startswith("IT median r 0.")
    assert layers_median.caption(data) == "5 IT sites, 120 images, 4 layers"
    assert next(key.label for key in layers_median.keys(data)) == "IT median"


def test_sites_without_a_match_are_left_out_and_counted(run_datasets, summary):
    lost = summary.assign(correlation=summary["correlation"].where(summary["site"] != "site00"))
    data = layers_median.data(run_datasets["layer_profile"], lost, run_datasets["recording"])
    assert "site00" not in set(data["site"])
    assert layers_median.caption(data).startswith("6 of 7 V4 sites")


def test_many_layers_have_smaller_dots(run_datasets, summary):
    repeated = np.repeat(summary["layer"].values, 10)
    long = summary.sel(layer=repeated).assign_coords(layer=[f"block{i}" for i in range(40)])
    profile = run_datasets["layer_profile"].sel(layer=repeated).assign_coords(layer=long["layer"])
    drawing = layers_median.describe(layers_median.data(profile, long, run_datasets["recording"]))
    assert not drawing.marks_of("MatchDense").is_empty
