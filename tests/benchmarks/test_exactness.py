"""How far is streamed r from float64, for every unit, site and network? Does the batch size change the top 100?"""

import numpy as np
import pytest
import torch
import xarray as xr

import engine
from engine.activations import recorded
from engine.folds import assign_folds
from engine.moments import PairMoments, TargetSums, product_dtype
from engine.targets import make_targets

pytestmark = [pytest.mark.benchmark, pytest.mark.real_data, pytest.mark.timeout(3600)]

NETWORKS = [(name, weights) for name in ("squeezenet1_1", "efficientnet_lite0") for weights in ("pretrained", "random")]
SESSIONS = ("190923", "210225", "210325")
BATCH = 32
UNITS_AT_ONCE = 50_000
HELD_BYTES = 5 * 2**30


@pytest.fixture(scope="module")
def recordings(cowley_dir, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITSCOPE_DATA", str(tmp_path_factory.mktemp("data")))
        engine.fetch("cowley-v4", list(SESSIONS), source=cowley_dir, progress=False)
        return {session: engine.open_recording(f"cowley-v4/{session}") for session in SESSIONS}


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize(("name", "weights"), NETWORKS)
def test_streamed_r_is_within_a_millionth_of_float64(recordings, name, weights, session, capsys):
    recording, network = recordings[session], engine.load_network(name, weights=weights)
    targets = make_targets(recording.data, assign_folds(recording.data, 2, 0), shuffles=0, seed=0)
    y = targets.response - targets.response.mean(0)
    y /= np.sqrt((y**2).sum(0))
    worst = 0.0
    for layers in groups(network, len(targets.stimuli)):
        for held, moments in activations(network, recording, targets, layers).values():
            for first in range(0, moments.n_units, UNITS_AT_ONCE):
                chosen = slice(first, min(first + UNITS_AT_ONCE, moments.n_units))
                x = held[:, chosen].double()
                x -= x.mean(0)
                r = (torch.from_numpy(y).T @ x) / x.square().sum(0).sqrt()
                streamed = moments.correlation([0, 1], chosen)
                worst = max(worst, float((streamed - r).abs().nan_to_num(0).max()))
    with capsys.disabled():
        print(f"\n{network.name} @ {session}: max |r - float64| = {worst:.1e}")
    assert worst <= 1e-6


def groups(network, n_stimuli: int) -> list[list[str]]:
    """Consecutive layers whose activations fit into memory together."""
    found: list[list[str]] = [[]]
    held = 0
    for layer, units in zip(network.layers["name"], network.layers["units"], strict=True):
        held += 4 * n_stimuli * units
        if held > HELD_BYTES and found[-1]:
            found.append([])
            held = 4 * n_stimuli * units
        found[-1].append(layer)
    return found


def activations(network, recording, targets, layers: list[str]) -> dict[str, tuple[torch.Tensor, PairMoments]]:
    """Activations (stimulus, unit) and streamed sums of each layer, from one pass."""
    units = network.layers.set_index("name")["units"]
    sums, products = TargetSums(targets, torch.device("cpu")), product_dtype(targets, BATCH)
    held = {
        name: (torch.empty(len(targets.stimuli), int(units[name])), PairMoments(int(units[name]), sums, products))
        for name in layers
    }
    for fold in (0, 1):
        rows = np.flatnonzero(targets.fold == fold)
        for first in range(0, len(rows), BATCH):
            chosen = rows[first : first + BATCH]

            def add(name, activation, chosen=chosen, fold=fold):
                held[name][1].add(activation, int(chosen[0]), fold)
                held[name][0][chosen[0] : chosen[-1] + 1] = activation

            with recorded(network, layers, add) as run_forward:
                run_forward(network.inputs(recording.stimuli, targets.stimuli[chosen].tolist()))
    return held


def test_top_100_is_the_same_for_every_batch_size(recordings, tmp_path):
    recording, network = recordings["210325"], engine.load_network("squeezenet1_1")
    runs = [
        engine.match(
            network, recording, batch=batch, memory="12GiB", shuffles=0, store=tmp_path / str(batch), progress=False
        )
        for batch in (1, 7, 32, 640)
    ]
    first = runs[0].dataset("matches").drop_attrs()
    for run in runs[1:]:
        xr.testing.assert_identical(run.dataset("matches").drop_attrs(), first)
