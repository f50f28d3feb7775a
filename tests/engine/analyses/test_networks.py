"""Several networks together, and the numbers that the paper printed."""

import numpy as np
import pytest
from scipy import stats

from engine.analyses import neural_correlation
from engine.analyses.networks import correlation_with_interval, gather
from engine.analyses.published import TABLE_1, TABLE_1_SOURCE, table_1
from engine.errors import SettingsError
from tests.engine.analyses.two_runs import two_runs


@pytest.fixture(scope="module")
def runs():
    return two_runs()


@pytest.fixture(scope="module")
def found(runs):
    return gather(runs)


def test_scores_are_those_of_the_neural_correlation_of_the_whole_network(found, runs):
    expected = neural_correlation.compute(runs[1]).sel(layer="")
    one = found.sel(network="other")
    for name in ("correlation", "correlation_low", "held_out_high", "chance_median"):
        np.testing.assert_array_equal(one[name].sel(region=["IT", "V4"]), expected[name].sel(region=["IT", "V4"]))
    assert found["n_sites"].sel(region="V4") == 4
    assert found["digest"].values.tolist() == [run.digest for run in runs]


def test_what_is_not_known_is_nan_and_takes_no_part(found):
    assert np.isnan(found["top1"]).all()
    assert np.isnan(found["top5"]).all()
    assert (found["units"] > 0).all()
    assert found["n_networks"].sel(quantity="top1").max() == 0
    assert found["n_networks"].sel(quantity="units").min() == 2
    assert np.isnan(found["association"]).all()


def test_correlations_over_networks_agree_with_scipy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    r, low, high = correlation_with_interval(x, y, "pearson")
    expected = stats.pearsonr(x, y)
    assert (r, low, high) == pytest.approx((expected.statistic, *expected.confidence_interval()))
    rho, rank_low, rank_high = correlation_with_interval(x, y, "spearman")
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert rank_low < rho < rank_high
    z = np.arctanh([rank_low, rho, rank_high])
    assert np.diff(z) == pytest.approx([1.959964 * np.sqrt((1 + rho**2 / 2) / 9)] * 2, rel=1e-6)


def test_under_four_networks_or_without_spread_there_is_no_correlation():
    for x in ([1.0, 2, 3], [1.0, 1, 1, 1]):
        assert np.isnan(correlation_with_interval(np.array(x), np.arange(len(x)) * 1.0, "pearson")).all()
    rho, *ends = correlation_with_interval(np.arange(4.0), np.arange(4.0) ** 3, "spearman")
    assert rho == 1
    assert np.isnan(ends).all()


def test_untrained_networks_and_sizes_in_logarithms(runs, monkeypatch):
    names = ["a", "b", "c", "d", "e (random weights, seed 0)"]
    many = [_Named(runs[i % 2], name, units=10.0 ** (i + 1), top1=50.0 + i) for i, name in enumerate(names)]
    found = gather(many)
    assert found["is_control"].values.tolist() == [False] * 4 + [True]
    assert (found["n_networks"].sel(quantity=["top1", "units"]) == 4).all()
    one = found.sel(score="correlation", region="V4", statistic="pearson")
    assert one["association"].sel(quantity="units") == pytest.approx(float(one["association"].sel(quantity="top1")))


def test_no_run_or_the_same_network_twice_is_refused(runs):
    with pytest.raises(SettingsError, match="over their runs, and there is none"):
        gather([])
    with pytest.raises(SettingsError, match=r"tiny comes twice among the runs: tiny, tiny. Give one run of each"):
        gather([runs[0], runs[0]])


def test_table_1_is_what_was_printed(runs):
    table = table_1(runs)
    assert table.sizes["network"] == 14
    assert table["top1"].sel(network="AlexNet") == 57.7
    assert table["top1"].sel(network="PNASNet-large") == 82.9
    assert table["correlation"].sel(network="NASNet-large").values.tolist() == [0.6224, 0.4337]
    assert np.isfinite(table["correlation"]).sum() == 2
    assert np.isnan(table["top5"]).all()
    assert np.isnan(table["units"]).all()
    assert set(table["top1_source"].values) == {TABLE_1_SOURCE}


@pytest.mark.parametrize("name", ["alexnet", "torchvision:alexnet", "timm:AlexNet"])
def test_a_run_of_a_network_of_the_table_gives_its_sizes(runs, name):
    table = table_1([runs[1], _Named(runs[0], name, units=650_000, parameters=61_100_840)]).sel(network="AlexNet")
    assert (table["units"], table["parameters"]) == (650_000, 61_100_840)
    assert table["computed_source"] == f"computed from {name}"
    untrained = table_1([_Named(runs[0], f"{name} (random weights, seed 0)", units=1)])
    assert np.isnan(untrained["units"]).all()


def test_every_network_has_names_of_its_own():
    names = [name for row in TABLE_1 for name in (row.network, *row.also)]
    assert len(set(names)) == len(names)


class _Named:
    """A run under the name of another network."""

    def __init__(self, run, name, **about):
        self.run, self.network, self.recording, self.names = run, name, run.recording, run.names
        self.digest, self.dataset = run.digest, run.dataset
        self.manifest = {**run.manifest, "network": {**run.manifest["network"], "name": name, **about}}
