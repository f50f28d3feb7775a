from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.figures import layers_depth
from engine.analyses import layer_summary


@pytest.fixture(scope="module")
def found(run_datasets):
    one = layer_summary.compute(SimpleNamespace(dataset=run_datasets.__getitem__))
    return {
        "A": one,
        "B": one.assign(depth=one["depth"] ** 2),
        "C": one.assign(depth=one["depth"].where(one["depth"] < 1)),
    }


@pytest.fixture
def data(found, run_datasets):
    return layers_depth.data(found, run_datasets["recording"])


def test_median_and_sd_are_over_the_networks_that_match_the_site(data):
    depths = data[["depth of A", "depth of B", "depth of C"]].to_numpy()
    np.testing.assert_allclose(data["depth_median"], np.nanmedian(depths, axis=1))
    np.testing.assert_allclose(data["depth_sd"], np.nanstd(depths, axis=1, ddof=1))
    assert set(data["n_networks"]) == {2, 3}


def test_sites_are_sorted_by_their_median_whatever_their_region(data):
    assert data["depth_median"].is_monotonic_increasing
    drawing = layers_depth.describe(data, site=data["site"].iloc[2])
    assert drawing.marks_of("MatchDense").columns["y"].tolist() == list(range(12))
    assert drawing.marks_of("Selection").columns["y"].tolist() == [2]
    bars = drawing.marks_of("MatchToHeldOut").columns
    np.testing.assert_allclose(bars["x1"] - bars["x0"], 2 * data["depth_sd"])
    assert drawing.axes.xlim[0] < bars["x0"].min()


def test_a_single_network_has_no_sd(found, run_datasets):
    data = layers_depth.data({"A": found["A"]}, run_datasets["recording"])
    assert data["depth_sd"].isna().all()
    assert layers_depth.caption(data) == "12 sites, A; one network has no SD"
    assert "SD over networks" not in [key.label for key in layers_depth.keys(data)]
    layers_depth.describe(data)


def test_the_caption_names_or_counts_the_networks(data):
    assert layers_depth.caption(data) == "12 sites, 3 networks"
    assert layers_depth.keys(data)[-1].label == "SD over networks"


def test_ids_are_thinned_in_a_low_figure(data):
    assert len(layers_depth.describe(data).axes.yticks) == 12
    assert len(layers_depth.describe(data, height=120).axes.yticks) < 12


def test_a_recording_without_any_match_draws_an_empty_frame(found, run_datasets):
    lost = found["A"].assign(depth=found["A"]["depth"] * np.nan)
    data = layers_depth.data({"A": lost}, run_datasets["recording"])
    assert layers_depth.describe(data).marks_of("MatchDense").is_empty
