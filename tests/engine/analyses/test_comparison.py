"""Comparison of two networks: pairing, signs, intervals, and what cannot be compared."""

import numpy as np
import pytest
from scipy import stats

import engine
from engine.analyses.comparison import compare, compute, expected_seconds, missing, require_same_recording
from engine.errors import SettingsError, StimulusMismatchError
from engine.store import add_group
from tests.engine.analyses.two_runs import two_runs
from tests.engine.worked_example import planted_recording, tiny_network


@pytest.fixture(scope="module")
def runs():
    return two_runs()


@pytest.fixture(scope="module")
def found(runs):
    return compare(*runs, n_resamples=500)


def test_differences_are_of_the_first_less_the_second_at_each_site(found, runs):
    a, b = (run.dataset("matches")["correlation"][:, 0].values for run in runs)
    np.testing.assert_allclose(found["correlation_difference"], a - b)
    assert found["network"].values.tolist() == ["tiny", "other"]
    of_v4 = found["region_of_site"].values == "V4"
    assert found["median_correlation_difference"].sel(region="V4") == pytest.approx(np.median((a - b)[of_v4]))
    assert found["n_better"].sel(region="V4") == ((a - b)[of_v4] > 0).sum()
    assert found["p_correlation"].sel(region="V4") == pytest.approx(stats.wilcoxon((a - b)[of_v4]).pvalue)


def test_turned_round_every_difference_changes_its_sign(found, runs):
    turned = compare(*reversed(runs), n_resamples=500)
    for name in ("correlation_difference", "held_out_difference", "median_correlation_difference"):
        np.testing.assert_allclose(turned[name], -found[name], atol=1e-12)
    np.testing.assert_allclose(turned["correlation_difference_low"], -found["correlation_difference_high"], atol=1e-12)
    np.testing.assert_allclose(
        turned["median_correlation_difference_low"], -found["median_correlation_difference_high"]
    )


def test_the_interval_of_a_difference_is_narrower_than_of_unpaired_scores(found, runs):
    paired = found["correlation_difference_high"] - found["correlation_difference_low"]
    assert (paired > 0).all()
    assert (found["correlation_difference_low"] < found["correlation_difference"]).all()
    assert (found["correlation_difference"] < found["correlation_difference_high"]).all()


def test_the_planted_network_wins_where_its_units_were_planted(found):
    better = found["correlation_difference"].values[:5]
    assert (better > 0).all()
    assert float(found["median_correlation_difference_low"].sel(region="V4", resampled="stimuli")) > 0


def test_chance_is_that_of_the_shuffles_of_each_run_and_region(found, runs):
    assert found["title"].values.tolist() == ["tiny", "other"]
    for i, run in enumerate(runs):
        null = run.dataset("null")
        for score in ("correlation", "held_out"):
            of_v4 = null[f"network_{score}"].values[null["region"].values == "V4"]
            expected = np.nanpercentile(of_v4, 95)
            assert float(found[f"chance_{score}"].sel(region="V4")[i]) == pytest.approx(expected)


def test_without_shuffles_chance_is_unknown(tmp_path):
    network = tiny_network()
    recording = planted_recording(network, noise=0.7)
    one, other = (
        engine.match(net, recording, store=tmp_path, shuffles=0, progress=False)
        for net in (network, tiny_network(1, "other"))
    )
    assert np.isnan(compare(one, other, n_resamples=100)["chance_correlation"]).all()


def test_the_other_run_is_named_in_the_store_of_the_first(runs):
    found = compute(runs[0], other=runs[1].digest[:10], n_resamples=100)
    assert found.attrs["runs"] == [runs[0].digest, runs[1].digest]
    assert add_group(runs[0], "comparison", found)["p_held_out"].equals(found["p_held_out"])
    assert 0 < expected_seconds(runs[0]) < 5
    assert missing(runs[0]) is None


def test_no_other_run_or_the_same_one_is_refused(runs):
    with pytest.raises(SettingsError, match=r"tiny@planted needs another run beside it. Name it by other="):
        compute(runs[0], other="")
    with pytest.raises(SettingsError, match=r"tiny@planted is the same run as the other"):
        compare(runs[0], runs[0])


def test_another_recording_is_refused_by_what_differs_and_what_to_do(runs, tmp_path):
    recording = planted_recording(tiny_network(), noise=0.9, name="elsewhere")
    elsewhere = engine.match(tiny_network(), recording, store=tmp_path, progress=False)
    message = (
        r"tiny@planted \(responses [0-9a-f]{8}\) and tiny@elsewhere \(responses [0-9a-f]{8}\) have other responses. "
        r"Match both networks with the same recording: unitscope match tiny planted"
    )
    with pytest.raises(StimulusMismatchError, match=message):
        require_same_recording([*runs, elsewhere])


def test_held_out_values_of_other_splits_are_not_compared(runs, tmp_path):
    recording = planted_recording(tiny_network(), noise=0.7, missing=0.05)
    other = engine.match(tiny_network(1, "other"), recording, seed=3, store=tmp_path, progress=False)
    found = compare(runs[0], other, n_resamples=100)
    assert found.attrs["held_out_status"] == "not compared: the runs split the stimuli in different ways"
    assert np.isnan(found["held_out_difference"]).all()
    assert np.isnan(found["p_held_out"]).all()
    assert found["n_held_out"].sum() == 0
    assert np.isfinite(found["correlation_difference_low"]).all()


def test_two_runs_that_agree_everywhere_differ_by_nothing(runs, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(runs[0].path, copy)
    twin = engine.open_run(copy)
    twin.manifest["digest"] = "f" * 64
    object.__setattr__(twin, "dataset", runs[0].dataset)
    found = compare(runs[0], twin, n_resamples=100)
    assert (found["correlation_difference"] == 0).all()
    assert found["p_correlation"].values.tolist() == [1.0, 1.0]
    assert (found["median_correlation_difference_high"] == 0).all()
