"""The best unit on any stimuli, scored on any others: against all of numpy's correlations."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr

import engine
from engine.errors import LayerError, MemoryBudgetError, SettingsError
from engine.holding import hold_layers
from engine.reselection import Selection, reselect, selection_of
from engine.targets import make_targets
from tests.engine.worked_example import N_STIMULI, activations, images, planted_recording, tiny_network

SPLITS = np.array([[True, False, False, False], [True, True, False, False], [False, True, True, False]])
OTHERS = np.array([[False, False, False, True], [False, False, True, True], [True, True, True, True]])


@dataclass
class Given:
    network: engine.Network
    recording: engine.Recording
    device: str = "cpu"
    memory: str | int = "4GiB"
    progress: object = None


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def parts(recording, seed=0, n=N_STIMULI) -> xr.DataArray:
    """Four parts of 9, 14 ... stimuli, of the first ``n``, at random."""
    ids = np.random.default_rng(seed).permutation(recording.data["stimulus"].values)[:n]
    return xr.DataArray(np.repeat(range(4), [9, 14, 20, n - 43]), {"stimulus": ids}, ("stimulus",))


def by_numpy(recording, units, fold, members) -> np.ndarray:
    """(unit, site) r over the stimuli of some parts; -2 where there is none."""
    rows = recording.data["stimulus"].to_index().get_indexer(fold["stimulus"].values[members[fold.values]])
    x, y = units[rows], recording.data["response"].values[rows]
    r = np.full((x.shape[1], y.shape[1]), -2.0)
    for site in range(y.shape[1]):
        seen = np.isfinite(y[:, site])
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b = x[seen] - x[seen].mean(0), y[seen, site] - y[seen, site].mean()
            found = a.T @ b / np.sqrt((a**2).sum(0) * (b**2).sum())
        varies = (np.ptp(x[seen], axis=0) > 0) & (np.ptp(y[seen, site]) > 0)
        r[varies, site] = found[varies]
    return r


def require_numpys_choice(recording, network, fold, found) -> None:
    of_layer = activations(network, images())
    units = np.concatenate(list(of_layer.values()), axis=1)
    start = dict(zip(of_layer, np.cumsum([0, *(len(a.T) for a in of_layer.values())]), strict=False))
    for split in range(len(SPLITS)):
        r = by_numpy(recording, units, fold, SPLITS[split])
        np.testing.assert_allclose(found["correlation"][split], r.max(axis=0), atol=2e-6)
        chosen = [
            start[str(layer)] + int(unit)
            for layer, unit in zip(found["layer"][split].values, found["unit"][split].values, strict=True)
        ]
        sites = np.arange(r.shape[1])
        np.testing.assert_allclose(r[chosen, sites], found["correlation"][split], atol=2e-6)
        scored = by_numpy(recording, units, fold, OTHERS[split])[chosen, sites]
        np.testing.assert_allclose(found["held_out"][split], np.where(scored > -2, scored, np.nan), atol=2e-6)


@pytest.mark.parametrize("memory", ["4GiB", "tight"])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_the_choice_on_any_stimuli_is_numpys(network, missing, memory):
    recording = planted_recording(network, noise=0.8, missing=missing)
    fold = parts(recording)
    selection = selection_of(recording.data, fold, SPLITS, {"held_out": OTHERS})
    source = Given(
        network, recording, memory=smallest_memory(network, recording, [selection]) if memory == "tight" else memory
    )
    (found,) = reselect(source, [selection])
    require_numpys_choice(recording, network, fold, found)


def smallest_memory(network, recording, selections) -> str:
    with pytest.raises(MemoryBudgetError) as caught:
        reselect(Given(network, recording, memory="1MiB"), selections)
    return str(caught.value).split("Give memory=")[1].split(" ")[0]


def test_several_selections_of_different_stimuli_share_the_passes(network):
    recording = planted_recording(network, noise=0.8)
    folds = [parts(recording, seed, n) for seed, n in ((1, 60), (2, 50))]
    told = []
    source = Given(network, recording, progress=lambda *step: told.append(step))
    results = reselect(source, [selection_of(recording.data, f, SPLITS, {"held_out": OTHERS}) for f in folds])
    for fold, found in zip(folds, results, strict=True):
        require_numpys_choice(recording, network, fold, found)
    assert told[-1] == ("passing", 60, 60)
    assert len(told) == 4


def test_channels_that_lie_side_by_side_change_nothing(network):
    recording = planted_recording(network, noise=0.8)
    selection = selection_of(recording.data, parts(recording), SPLITS, {"held_out": OTHERS})
    (expected,) = reselect(Given(network, recording), [selection])
    other = tiny_network()
    other.module.to(memory_format=torch.channels_last)
    (found,) = reselect(Given(other, recording), [selection])
    xr.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_column_or_network_that_does_not_vary_has_no_choice(network):
    recording = planted_recording(network, noise=0.8)
    recording.data["response"][:, 2] = 7.0
    fold = parts(recording)
    recording.data["response"].loc[{"stimulus": fold["stimulus"][:9], "site": "site4"}] = 1.0
    (found,) = reselect(Given(network, recording), [selection_of(recording.data, fold, SPLITS)])
    np.testing.assert_array_equal(found["unit"].values[:, 2], -1)
    assert found["unit"].values[0, 4] == -1
    assert found["layer"].values[0, 4] == ""
    assert np.isnan(found["correlation"].values[0, 4])
    assert np.isfinite(found["correlation"].values[1:, 4]).all()


def test_a_unit_that_is_silent_on_the_first_part_can_still_be_chosen_on_others(network):
    recording = planted_recording(network)
    fold = parts(recording)
    unit = activations(network, images())["relu1"][:, 700]
    first = recording.data["stimulus"].to_index().get_indexer(fold["stimulus"].values)
    order = np.argsort(unit[first])  # the part that chooses first holds the images to which the unit is silent
    fold = fold.assign_coords(stimulus=fold["stimulus"].values[order])
    assert not unit[first][order][:3].any()
    (found,) = reselect(Given(network, recording), [selection_of(recording.data, fold, SPLITS)])
    assert (found["layer"].values[1, 0], found["unit"].values[1, 0]) == ("relu1", 700)


def test_a_chosen_layer_is_held_alone_and_in_c_order(network):
    recording = planted_recording(network)
    ids = recording.data["stimulus"].values[[5, 3, 8]]
    (held,) = hold_layers(Given(network, recording), ids, layers=["conv2"])
    expected = activations(network, images())["conv2"][[5, 3, 8]].T
    assert (held.layer, held.index, held.first_unit, held.n_units) == ("conv2", 2, 0, len(expected))
    np.testing.assert_allclose(held.activation(np.arange(held.n_units)), expected, atol=1e-6)
    with pytest.raises(LayerError, match="layer 'conv9' is not among"):
        next(hold_layers(Given(network, recording), ids, layers=["conv9"]))


def test_too_little_memory_is_an_error_that_names_what_suffices(network):
    recording = planted_recording(network)
    with pytest.raises(MemoryBudgetError) as caught:
        next(hold_layers(Given(network, recording, memory="1MiB"), recording.data["stimulus"].values))
    message = str(caught.value)
    assert message.startswith("memory=1 MiB is too little to hold one feature map of layer 'conv1' for 60 stimuli: at ")
    assert message.endswith(" or more.")


def test_splits_must_fit_the_parts(network):
    recording = planted_recording(network)
    targets = make_targets(recording.data, parts(recording), shuffles=0, seed=0)
    with pytest.raises(SettingsError, match=r"selected: expected bool \(split, fold\) \(3, 4\), got bool \(3, 3\)\."):
        Selection(targets, SPLITS[:, :3])
    with pytest.raises(SettingsError, match=r"held_out: expected bool \(split, fold\) \(3, 4\), got int64 \(3, 4\)\."):
        Selection(targets, SPLITS, {"held_out": OTHERS.astype(int)})
    with pytest.raises(SettingsError, match="every split needs at least one part"):
        Selection(targets, ~np.ones_like(SPLITS))
