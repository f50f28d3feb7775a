"""How far is r from float64, in every way to compute it? Does the batch size change the top 100?"""

import numpy as np
import pytest
import torch
import xarray as xr

import engine
from engine.activations import recorded
from engine.blocks import Block
from engine.exact import correlate_pairs
from engine.folds import assign_folds
from engine.summaries import LayerSummary
from engine.targets import Targets, make_targets
from engine.tiling import Columns, TileSums, summarise_block, tile_threads

pytestmark = [pytest.mark.benchmark, pytest.mark.real_data, pytest.mark.timeout(3600)]

NETWORKS = [(name, weights) for name in ("squeezenet1_1", "efficientnet_lite0") for weights in ("pretrained", "random")]
SESSIONS = ("190923", "210225", "210325")
BATCH = 64
UNITS_AT_ONCE = 50_000
TOP = 1000
HELD_BYTES = 5 * 2**30


@pytest.fixture(scope="module")
def recordings(cowley_dir, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITSCOPE_DATA", str(tmp_path_factory.mktemp("data")))
        engine.fetch("cowley-v4", list(SESSIONS), source=cowley_dir, progress=False)
        return {session: engine.open_recording(f"cowley-v4/{session}") for session in SESSIONS}


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize(("name", "weights"), NETWORKS)
def test_r_is_within_a_millionth_of_float64_held_and_summed(recordings, name, weights, session, capsys):
    recording, network = recordings[session], engine.load_network(name, weights=weights)
    targets = make_targets(recording.data, assign_folds(recording.data, 2, 0), shuffles=0, seed=0)
    columns, worst = Columns(targets), {"held": 0.0, "summed": 0.0, "one fold, every unit": 0.0}
    for layers in groups(network, len(targets.stimuli)):
        for layer, (block, sums) in activations(network, recording, targets, columns, layers).items():
            for way, summary in (
                ("held", summarise_block(block, 0, TOP, columns, 2)()),
                ("summed", sums.summarise(0, TOP, 2)),
            ):
                worst[way] = max(worst[way], distance(summary, block, targets))
            worst["one fold, every unit"] = max(worst["one fold, every unit"], on_one_fold(sums, block, targets))
            assert layer in layers
    with capsys.disabled():
        print(f"\n{network.name} @ {session}: max |r - float64| " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    assert max(worst.values()) <= 1e-6


def distance(summary: LayerSummary, block: Block, targets: Targets) -> float:
    """Of the best r of every feature map, and of the ``TOP`` best units of every site over each split, from float64."""
    channel = np.arange(summary.map_r.shape[1])
    unit = channel * block.order.area + summary.map_position
    site = np.arange(targets.n_sites)[:, None] + 0 * unit
    lists = [(slice(None), site.ravel(), unit.ravel(), summary.map_r.ravel())]
    for split, found in enumerate(summary.candidates):
        lists.append((targets.fold != split - 1, found.column, found.unit, found.r))
    worst = 0.0
    for stimuli, column, units, r in lists:
        distinct = np.unique(units)
        rows = block.of_units(distinct)[:, stimuli]
        exact = correlate_pairs(rows, np.searchsorted(distinct, units), column, targets.response[stimuli])
        worst = max(worst, float(np.nanmax(np.abs(np.where(np.isfinite(r), r - exact, 0)), initial=0)))
    return worst


def on_one_fold(sums: TileSums, block: Block, targets: Targets) -> float:
    """Of every unit and site over the first fold, from float64."""
    here = targets.fold == 0
    y = targets.response[here] - targets.response[here].mean(0)
    y /= np.sqrt((y**2).sum(0))
    worst = 0.0
    for first in range(0, sums.n_units, UNITS_AT_ONCE):
        unit = np.arange(first, min(first + UNITS_AT_ONCE, sums.n_units))
        x = block.of_units(unit)[:, here].astype(np.float64)
        x -= x.mean(1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = y.T @ x.T / np.sqrt((x**2).sum(1))
        pairs = np.repeat(np.arange(targets.n_sites), len(unit)), np.tile(unit, targets.n_sites)
        summed = sums.left_out_r(0, *pairs).reshape(r.shape)
        worst = max(worst, float(np.nan_to_num(np.abs(summed - r), nan=0).max()))
    return worst


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


def activations(network, recording, targets, columns, layers: list[str]) -> dict[str, tuple[Block, TileSums]]:
    """Held activations and sums of each layer, from one pass."""
    shapes = network.layers.set_index("name")[["channels", "height", "width"]]
    shape = {name: tuple(map(int, shapes.loc[name])) for name in layers}
    n = len(targets.stimuli)
    found = {
        name: (
            Block(torch.empty(n, int(np.prod(shape[name]))), shape[name]),
            TileSums(shape[name], columns, np.float32),
        )
        for name in layers
    }
    with tile_threads(2) as in_threads:
        for fold in (0, 1):
            rows = np.flatnonzero(targets.fold == fold)
            for chosen in np.split(rows, range(BATCH, len(rows), BATCH)):

                def add(name, activation, chosen=chosen, fold=fold):
                    found[name][0].put(int(chosen[0]), activation)
                    found[name][1].add(activation, int(chosen[0]), fold, in_threads)

                with recorded(network, layers, add, channelwise=True) as run_forward:
                    run_forward(network.inputs(recording.stimuli, targets.stimuli[chosen].tolist()))
    return found


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
