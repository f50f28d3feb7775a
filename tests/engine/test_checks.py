"""The self-check of a stored run: all holds of one that engine.match made, and every kind of damage is found."""

import numpy as np
import pytest

import engine
from engine.checks import CLAIMS, check_run, problems
from engine.store import add_group
from tests.dashboard.conftest import build_run
from tests.dashboard.stores import damage, put
from tests.engine.worked_example import planted_recording, tiny_network


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> engine.Run:
    """A run that engine.match made."""
    network = tiny_network()
    quiet = {"progress": False, "memory": "1GiB", "shuffles": 4}
    store = tmp_path_factory.mktemp("store")
    return engine.match(network, planted_recording(network, noise=0.6), store=store, **quiet)


@pytest.fixture(scope="module")
def planted() -> dict:
    return build_run(sites={"V4": 3}, n_stimuli=40, layers=(("one", 2, 2), ("two", 3, 1)), n_ranks=5, n_shuffles=3)


def changed(datasets: dict, group: str, variable: str, value: float, at: tuple = (0, 0)) -> dict:
    """The same run with one number changed before it was written: no checksum tells."""
    found = datasets[group].copy(deep=True)
    found[variable].values[at] = value
    return {**datasets, group: found}


def test_all_claims_hold_of_a_run_that_was_just_made(made):
    found = {check.name: check for check in check_run(made)}
    assert list(found) == list(CLAIMS)
    assert [name for name, check in found.items() if check.is_passed is False] == []
    assert {name for name, check in found.items() if check.is_passed is None} <= {"noise ceiling"}
    assert found["files"].found == f"{len(made.names)} groups"
    assert "matches, largest difference" in found["r of matches"].found


def test_a_claim_that_the_run_cannot_tell_of_is_said_to_be_unchecked(tmp_path, planted):
    lean = {name: dataset for name, dataset in planted.items() if name != "reliability"}
    found = {check.name: check for check in check_run(put(tmp_path, lean))}
    assert found["noise ceiling"].is_passed is None
    assert found["noise ceiling"].found == "not checked: the run has no group 'reliability'"


def test_a_flipped_bit_fails_with_the_file_and_what_to_do(tmp_path, planted):
    run = put(tmp_path, planted)
    file = damage(run, "unit_counts/count")
    failed = {check.name: check.found for check in problems(run)}
    assert str(file) in failed["files"]
    assert "Delete the run and compute it again" in failed["files"]
    assert failed["histograms"].startswith("cannot be read: ")
    assert "r of matches" not in failed


@pytest.mark.parametrize(
    ("group", "variable", "value", "claim", "told"),
    [
        ("unit_counts", "count", 10_000, "histograms", "first layer 'one' of site 'site00'"),
        ("matches", "correlation", -0.9, "ranking", "site 'site00' rises or has gaps"),
        ("layer_profile", "correlation", 0.99, "best unit", "matches of site 'site00', difference"),
        ("match_responses", "activation", 1000.0, "r of matches", "matches of site 'site0"),
        ("neural_correlation", "correlation", 0.123, "neural correlation", "V4: stored 0.123000, median of its sites"),
    ],
)
def test_a_wrong_number_that_no_checksum_tells_is_found(tmp_path, planted, group, variable, value, claim, told):
    failed = {check.name: check.found for check in problems(put(tmp_path, changed(planted, group, variable, value)))}
    assert "files" not in failed
    assert told in failed[claim]


def test_other_wrong_claims_are_found(tmp_path, planted):
    folds = planted["folds"].copy(deep=True)
    folds["fold"].values[:] = 0
    null = planted["null"].copy(deep=True)
    null["network_correlation"].values[0] += 0.01
    ceiling = planted["reliability"].copy(deep=True)
    ceiling["noise_ceiling"].values[0] *= 0.5
    run = put(tmp_path, {**planted, "folds": folds, "null": null, "reliability": ceiling})
    failed = {check.name: check.found for check in problems(run)}
    assert failed["folds"] == "folds of [40] stimuli where the settings say 2 folds"
    assert "differs by 1.0e-02" in failed["chance"]
    assert "ceiling squared and reliability differ" in failed["noise ceiling"]


def test_an_analysis_of_another_version_is_to_be_computed_again(tmp_path, planted):
    run = put(tmp_path, planted)
    add_group(run, "map_counts", planted["folds"], {"analysis_version": -1, "reads": {}})
    (failed,) = [check for check in problems(run) if check.name == "analyses"]
    assert failed.found.startswith("map_counts is of version -1, this unitscope computes version ")
    assert failed.found.endswith(": compute it again")


def test_the_number_of_units_is_that_of_ranked_ones(tmp_path, planted):
    few = planted["unit_counts"].copy(deep=True)
    few["count"].values[0, 1, np.argmax(few["count"].values[0, 1])] -= 1
    failed = {check.name: check.found for check in problems(put(tmp_path, {**planted, "unit_counts": few}))}
    assert "1 of 6 histograms, first layer 'one' of site 'site01'" in failed["histograms"]
