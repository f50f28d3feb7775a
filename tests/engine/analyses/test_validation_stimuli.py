"""The stimuli that drive the units of unvalidated maps most and least, against plain forward passes."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import zscore

import engine
from engine.analyses import validated_maps
from engine.analyses.validation_stimuli import compute, extremes, missing, table
from engine.errors import SettingsError
from tests.engine.worked_example import activations, images, planted_recording, tiny_network


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3)
    run = engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))
    told: list[tuple[str, int, int]] = []
    source = SimpleNamespace(
        network=network, recording=recording, device="cpu", memory="1GiB", progress=lambda *step: told.append(step)
    )
    return run, source, told


@pytest.fixture(scope="module")
def found(made):
    return compute(made[0], made[1], layer="conv2", n=4)


def test_every_unvalidated_map_is_listed_and_no_other(made, found):
    judged = validated_maps.compute(made[0], layer="conv2")
    rows = judged["status"].values == "unvalidated"
    assert rows.sum() == found.sizes["feature_map"] > 0
    np.testing.assert_array_equal(found["channel"], judged["channel"].values[rows])
    np.testing.assert_array_equal(found["map_region"], judged["map_region"].values[rows])


def test_its_stimuli_are_the_extremes_of_a_plain_forward_pass(made, found):
    z = zscore(activations(made[1].network, images())["conv2"]).reshape(60, 6, 8, 8)
    ids = made[1].recording.data["stimulus"].values
    for one in (found.isel(feature_map=i) for i in range(found.sizes["feature_map"])):
        own = z[:, int(one["channel"]), int(one["y"]), int(one["x"])]
        order = np.argsort(own)
        assert one["shown"].sel(extreme="favourite").values.tolist() == ids[order[::-1][:4]].tolist()
        assert one["shown"].sel(extreme="least").values.tolist() == ids[order[:4]].tolist()
        np.testing.assert_allclose(one["z"].sel(extreme="favourite"), own[order[::-1][:4]], atol=1e-4)
        np.testing.assert_allclose(one["z"].sel(extreme="least"), own[order[:4]], atol=1e-4)


def test_progress_is_told_and_the_network_stays_where_it_was(made, found):
    assert made[2][-1] == ("recording", 60, 60)
    assert next(made[1].network.module.parameters()).device.type == "cpu"


def test_silent_stimuli_are_counted_and_drawn_by_the_seed():
    activation = np.array([[0, 0, 0, 0, 0, 0, 3, 9.0]], np.float32)
    ends, z, n_least = extremes(activation, 2, np.random.default_rng(0))
    assert ends[0, 0].tolist() == [7, 6]
    assert set(ends[0, 1].tolist()) < set(range(6))
    assert n_least.tolist() == [6]
    np.testing.assert_allclose(z[0, 0], zscore(activation[0])[[7, 6]])
    drawn = {tuple(extremes(activation, 2, np.random.default_rng(seed))[0][0, 1]) for seed in range(20)}
    assert len(drawn) > 5
    again = extremes(activation, 2, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(again, ends)


def test_the_table_has_a_row_for_every_map_and_stimulus(found):
    rows = table(found)
    assert len(rows) == found["z"].size
    first = rows.iloc[0]
    assert (first["kind"], first["place"], first["layer"]) == ("favourite", 1, "conv2")
    assert first["stimulus"] == str(found["shown"].values[0, 0, 0])
    fifth = rows.iloc[4]
    assert (fifth["kind"], fifth["place"]) == ("least", 1)
    assert fifth["z"] == float(found["z"].values[0, 1, 0])
    last = rows.iloc[-1]
    assert (last["feature_map"], last["region"]) == (int(found["channel"][-1]), str(found["map_region"].values[-1]))
    assert (rows["best_r"] <= rows["threshold"]).all()


def test_where_every_map_is_validated_the_list_is_empty(made):
    run, source, told = made
    before = len(told)
    found = compute(run, source, layer="relu1", level=0.999999)
    assert (
        found.sizes["feature_map"]
        == (validated_maps.compute(run, layer="relu1", level=0.999999)["status"] == "unvalidated").sum()
    )
    if found.sizes["feature_map"] == 0:
        assert len(told) == before
        assert table(found).empty


def test_the_number_of_stimuli_is_checked_before_the_pass(made):
    assert missing(made[0]) is None
    for n in (0, 31, 2.5, True):
        with pytest.raises(
            SettingsError, match=rf"n={n}: a whole number of stimuli from 1 to 30, half of them, is needed"
        ):
            compute(*made[:2], n=n)


def test_it_is_stored_with_the_run(made, found):
    stored = engine.store.add_group(made[0], "validation_stimuli", found, {"key": "a"})
    np.testing.assert_array_equal(stored["shown"], found["shown"])
