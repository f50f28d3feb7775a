"""Floor, match and peers: do they measure what they say, do the peers find what the match finds, what is refused?"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import nn

import engine
from engine.bench import BenchSettings, bench, peers
from engine.bench.apart import measure_apart
from engine.bench.floor import AS_IT_COMES, CHANNELS_LAST, Floor, FloorMeter
from engine.bench.peers import PeerTask, peer_problem, run_peer
from engine.bench.settings import simulated_recording
from engine.bench.traffic import TrafficCounter
from engine.errors import EngineError, MemoryBudgetError, SettingsError
from tests.engine.worked_example import activations, images, planted_recording, tiny_network

NETWORK = "tests.engine.worked_example:tiny_network"
SMALL = BenchSettings(NETWORK, images=24, sites=5, repeats=2)


@pytest.fixture(scope="module")
def measured():
    steps: list[str] = []
    return bench(replace(SMALL, peers=("numpy", "hooks", "thingsvision")), progress=steps.append), steps


@pytest.fixture(params=["numpy", "hooks", "faiss", "thingsvision"])
def peer(request):
    problem = peer_problem(request.param, tiny_network(), planted_recording(tiny_network()))
    return request.param if problem is None else pytest.skip(problem)


def test_a_peer_finds_the_best_units_that_numpy_finds(peer):
    network = tiny_network()
    recording = planted_recording(network, noise=0.5)
    run = run_peer(peer, PeerTask.of(network, recording, SMALL))
    units = np.concatenate(list(activations(network, images()).values()), 1)
    varies = units[:, units.std(0) > 1e-6]
    r = 1 - cdist(recording.data["response"].values.T, varies.T, "correlation")
    np.testing.assert_allclose(run.r, -np.sort(-r)[:, :100], atol=1e-6)
    assert run.passes == 1


def test_a_peer_names_the_planted_units(peer):
    network = tiny_network()
    run = run_peer(peer, PeerTask.of(network, planted_recording(network), SMALL))
    found = list(zip(run.layer[:, 0].tolist(), run.unit[:, 0].tolist(), strict=True))
    assert found[1:3] == [("conv2", 100), ("fc", 3)]
    np.testing.assert_allclose(run.r[:5, 0], 1, atol=1e-6)


def test_a_peer_with_little_memory_goes_by_groups_of_layers_and_finds_the_same(peer):
    network = tiny_network()
    recording = planted_recording(network, noise=0.5)
    task = PeerTask.of(network, recording, SMALL)
    little = replace(task, memory=4 * 60 * 3 * int(network.layers["units"].max()))
    in_groups = run_peer(peer, little)
    np.testing.assert_allclose(in_groups.r, run_peer(peer, task).r, atol=1e-6)
    assert in_groups.passes == (1 if peer in ("hooks", "thingsvision") else 3)


def test_a_module_that_is_called_twice_is_two_layers_to_a_peer(peer):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 5), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.relu(self.conv(x)) - 0.1)

    torch.manual_seed(0)
    network = engine.Network.from_module(Twice(), tiny_network().preprocess, image_size=(20, 20))
    assert "relu@2" in network.layers["name"].tolist()
    recording = planted_recording(tiny_network(), noise=0.5)
    if peer == "thingsvision":
        assert peer_problem(peer, network, recording) == "not run: it cannot name the second call of a module"
        return
    run = run_peer(peer, PeerTask.of(network, recording, SMALL))
    matches = engine.match(network, recording, folds=1, shuffles=0, progress=False).dataset("matches")
    np.testing.assert_allclose(run.r, matches["correlation"], atol=1e-6)


def test_sites_with_missing_responses_are_left_to_the_match(peer):
    network = tiny_network()
    recording = planted_recording(network, noise=0.5)
    recording.data["response"][4, 2] = np.nan
    task = PeerTask.of(network, recording, SMALL)
    assert task.complete.tolist() == [True, True, False, True, True, True, True]
    assert run_peer(peer, task).r.shape == (6, 100)


def test_a_benchmark_measures_every_part_in_every_repeat(measured):
    found, steps = measured
    assert (len(found.floors), len(found.match_s)) == (2, 2)
    assert all(min(vars(floor).values()) > 0 for floor in found.floors)
    assert [len(p.seconds) for p in found.peers] == [2, 2, 0]
    assert [step.partition(": ")[2] for step in steps[-4:]] == [
        "floor",
        "engine.match",
        "numpy in memory",
        "hooks to disk, numpy",
    ]


def test_peers_agree_with_the_match(measured):
    assert max(p.max_difference for p in measured[0].peers if p.seconds) < 1e-6


def test_a_ratio_is_the_median_of_the_ratios_within_each_repeat(measured):
    floors = [Floor(1.0, 3.0, 1.0, 1.0), Floor(2.0, 6.0, 2.0, 2.0), Floor(1.0, 3.0, 4.0, 1.0)]
    found = replace(measured[0], floors=floors, match_s=[10.0, 10.0, 30.0])
    assert (found.match_ratio, found.best_match_ratio) == (2.0, pytest.approx(10 / 3))


def test_the_table_says_what_where_and_how(measured):
    text = measured[0].describe()
    assert "tiny: 4 layers, 5,578 units; 24 images x 5 sites of 'simulated 24 x 5' (SIMULATED" in text
    assert "folds=1, shuffles=0, memory=8GiB" in text
    assert f"torch {torch.__version__}" in text
    assert "counted, not measured" in text
    rows = measured[0].table().iloc[:, 0].tolist()
    assert rows[:9] == [
        "decode",
        "forward, as it comes",
        "forward, channels last",
        "product",
        "floor",
        "best floor",
        "engine.match, first",
        "engine.match",
        "numpy in memory",
    ]
    assert "THINGSvision to disk, numpy" in text
    assert "not installed: pip install thingsvision" in text


def test_the_json_holds_every_repeat_and_no_nan(measured):
    found = json.loads(measured[0].to_json())
    assert found["match_s"] == measured[0].match_s
    assert found["match_ratio"] == measured[0].match_ratio
    assert found["peers"][2]["max_difference"] is None
    assert found["settings"]["network"] == NETWORK


def test_peak_memory_is_positive_and_within_the_budget(measured):
    peak = measured[0].apart.peak_bytes
    assert np.isnan(peak) or 0 < peak < 8 * 2**30


def test_bytes_of_the_floor_are_those_counted_by_hand():
    network, recording = tiny_network(), simulated_recording(24, 5, (20, 20))
    meter = FloorMeter(network, recording)
    meter.batch = dict.fromkeys(meter.batch, 24)
    found = meter.count_bytes()
    units = [2592, 2592, 384, 10]
    product = sum(4 * (5 * 24 + 24 * n + 5 * n) for n in units)
    weights = [8 * 27 + 8, 6 * 72 + 6, 6 * 10 + 10]
    conv1 = 24 * (1200 + 2592) + weights[0]
    relu1 = 24 * 2 * 2592  # in place
    conv2 = 24 * (2592 + 384) + weights[1]
    mean, fc = 24 * (384 + 6), 24 * (6 + 10) + weights[2]
    assert found[AS_IT_COMES] == product + 4 * (conv1 + relu1 + conv2 + mean + fc)
    assert found[CHANNELS_LAST] == found[AS_IT_COMES] + 4 * 24 * 2 * 1200  # the images rearranged


def test_traffic_is_operands_read_and_results_written():
    a, b, one, rows = torch.ones(10, 20), torch.ones(20, 30), torch.ones(1), torch.tensor([1, 3])
    cases = {
        4 * (200 + 600 + 300): lambda: a @ b,
        4 * 400: lambda: a.add_(1),
        0: lambda: a.T.view(20, 2, 5)[3:].expand(17, 2, 5),
        4 * (1 + 200 + 200): lambda: one.expand(10, 20) + a,
        2 * 8 + 2 * (4 * 2 * 20): lambda: a[rows],
    }
    for expected, operation in cases.items():
        with TrafficCounter() as counter:
            operation()
        assert counter.n_bytes == expected


def test_simulated_recordings_are_the_same_every_time_and_no_two_pictures_alike():
    first, second = simulated_recording(9, 3, (32, 48)), simulated_recording(9, 3, (32, 48))
    assert first.stimuli.pixel_digests() == second.stimuli.pixel_digests()
    assert len(set(first.stimuli.pixel_digests().values())) == 9
    assert first.stimuli.pixels("image0000").shape == (32, 48, 3)
    assert first.data["response"].equals(second.data["response"])
    assert first.data.attrs["simulated"] == 1


def test_a_recording_opened_again_remembers_no_digest(tmp_path):
    saved = planted_recording(tiny_network(), noise=0.5).save(tmp_path / "planted")
    settings = BenchSettings(NETWORK, recording=str(saved))
    network = settings.load_network()
    recording = settings.open_recording(network)
    assert len(recording.stimuli) == 60
    assert settings.open_recording(network) is not recording
    few = settings.open_recording(network, warm_up=16)
    assert (len(few.stimuli), few.stimuli.pixels(few.stimuli.ids[0]).shape) == (16, (20, 20, 3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"peers": ("numpy", "matlab")}, "peer 'matlab' is unknown. Choose from numpy, hooks, faiss, thingsvision"),
        ({"recording": "builtin", "images": 8}, "decides how many images and sites there are. Leave out images and"),
        ({"images": 3}, "images=3: a whole number of at least 8 is needed"),
        ({"sites": 0}, "sites=0: a whole number of at least 1 is needed"),
        ({"repeats": 0}, "repeats=0: a whole number of at least 1 is needed"),
        ({"memory": "much"}, "memory='much' is no amount of memory"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        BenchSettings(NETWORK, **wrong)


def test_too_little_memory_is_refused_before_anything_is_measured():
    steps: list[str] = []
    with pytest.raises(MemoryBudgetError, match="memory="):
        bench(replace(SMALL, memory="2MiB"), progress=steps.append)
    assert steps == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("faiss", 'not installed: pip install faiss-cpu, or pip install "unitscope[bench]"'),
        ("thingsvision", "not installed: pip install thingsvision, in an environment of its own"),
    ],
)
def test_a_peer_that_is_not_installed_says_what_installs_it(monkeypatch, name, message):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert message in peer_problem(name, tiny_network(), planted_recording(tiny_network()))


def test_a_peer_that_cannot_run_says_why(monkeypatch):
    network = tiny_network()
    recording = planted_recording(network)
    monkeypatch.setattr(peers, "disk_usage", lambda folder: type("Usage", (), {"free": 2**20}))
    assert "it writes 1.28 MiB to" in peer_problem("hooks", network, recording)
    assert "1 MiB are free; set TMPDIR to a larger disk" in peer_problem("hooks", network, recording)
    recording.data["response"][4] = np.nan
    assert peer_problem("numpy", network, recording).startswith("not run: every site has missing responses")


def test_a_failure_in_the_other_process_is_told_with_its_last_words():
    with pytest.raises(EngineError, match=r"failed: .*NetworkError.*\. Does it run alone\? unitscope match no_such"):
        measure_apart(BenchSettings("no_such", images=8, sites=1))
