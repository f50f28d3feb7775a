"""Rotations of a real, small network's layers: against its activations rotated in float64, and against the match."""

import numpy as np
import pytest
import torch
import xarray as xr

import engine
from engine import rotations
from engine.analyses.rotation import random_rotation, rotate
from engine.bases import SiteColumns
from engine.errors import LayerError, MemoryBudgetError, SettingsError, StimulusMismatchError
from engine.folds import assign_folds
from engine.rotations import compute_rotations
from tests.engine.worked_example import activations, images, planted_recording, tiny_network

SHAPES = {"conv1": (8, 18, 18), "conv2": (6, 8, 8), "fc": (10, 1, 1)}


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("layer", SHAPES)
def test_every_best_r_equals_rotating_the_activations_in_float64(layer, missing):
    network, recording = tiny_network(), planted_recording(tiny_network(), noise=0.5, missing=missing)
    found = compute_rotations(network, recording, layer, rotations=3, seed=5)
    raw = activations(network, images())[layer].reshape(-1, *SHAPES[layer])
    kernel_sd = raw.std(axis=(0, 2, 3), keepdims=True)
    rng = np.random.default_rng(5)
    for rotation in range(3):
        q = random_rotation(SHAPES[layer][0], rng)
        for scaling, x in (("raw", raw), ("standardised", (raw - raw.mean((0, 2, 3), keepdims=True)) / kernel_sd)):
            units = rotate(x, q).reshape(len(x), -1).T
            for site, y in enumerate(recording.data["response"].values.T):
                seen = np.isfinite(y)
                r = np.corrcoef(units[:, seen], y[seen])[-1, :-1]
                one = found.sel(scaling=scaling).isel(rotation=rotation, site=site)
                assert float(one["correlation"]) == pytest.approx(r.max(), abs=1e-6)
                assert r[int(one["unit"])] == pytest.approx(r.max(), abs=1e-6)


@pytest.mark.parametrize(("folds", "missing"), [(1, 0.0), (2, 0.0), (3, 0.1)])
def test_the_natural_basis_is_the_match(folds, missing):
    network, recording = tiny_network(), planted_recording(tiny_network(), noise=0.5, missing=missing)
    run = engine.match(network, recording, folds=folds, progress=False)
    for layer in ("conv1", "fc"):
        found = compute_rotations(network, recording, layer, rotations=1, folds=run.dataset("folds")["fold"])
        matched = run.dataset("layer_profile").sel(layer=layer)
        np.testing.assert_allclose(found["natural"], matched["correlation"], atol=1e-6)
        np.testing.assert_allclose(found["natural_held_out"], matched["held_out"], atol=1e-6)
        np.testing.assert_array_equal(found["natural_unit"], matched["unit"])


def test_a_site_that_copies_a_unit_loses_it_under_rotation():
    network = tiny_network()
    found = compute_rotations(network, planted_recording(network), "conv2")
    copy = found.sel(site="site1")
    assert float(copy["natural"]) == pytest.approx(1, abs=1e-6)
    assert int(copy["natural_unit"]) == 100
    assert float(copy["correlation"].max()) < 0.98


def test_without_rotation_nothing_changes(monkeypatch):
    monkeypatch.setattr(rotations, "random_rotation", lambda n, rng: np.eye(n))
    network, recording = tiny_network(), planted_recording(tiny_network(), noise=0.5)
    found = compute_rotations(network, recording, "conv2", rotations=1, folds=assign_folds(recording.data, 2, 0))
    for name, natural in (("correlation", "natural"), ("held_out", "natural_held_out"), ("unit", "natural_unit")):
        np.testing.assert_array_equal(found[name].sel(scaling="raw")[0], found[natural])
    np.testing.assert_allclose(found["correlation"].sel(scaling="standardised")[0], found["natural"], atol=1e-12)


def test_the_seed_draws_the_rotations():
    network, recording = tiny_network(), planted_recording(tiny_network(), noise=0.5)
    one, same, other = (compute_rotations(network, recording, "fc", rotations=2, seed=seed) for seed in (0, 0, 1))
    xr.testing.assert_identical(one, same)
    assert np.abs(one["correlation"] - other["correlation"]).max() > 1e-3
    np.testing.assert_array_equal(one["natural"], other["natural"])


def test_one_pass_ends_at_the_layer():
    network, recording = tiny_network(), planted_recording(tiny_network())
    seen = {"conv2": 0, "fc": 0}
    for name in seen:
        network.module.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: seen[name] + len(inputs[0])})
        )
    told = []
    found = compute_rotations(network, recording, "conv2", progress=lambda *step: told.append(step))
    assert seen == {"conv2": 60, "fc": 0}
    assert (found.attrs["passes"], told[-1]) == (1, ("rotating", 60, 60))


def test_several_passes_give_what_one_gives(monkeypatch):
    network, recording = tiny_network(), planted_recording(tiny_network(), noise=0.5)
    folds = assign_folds(recording.data, 2, 0)
    once = compute_rotations(network, recording, "conv2", folds=folds)
    monkeypatch.setattr(rotations._Job, "spans", lambda *_: [slice(0, 20), slice(20, 21), slice(21, 64)])
    told = []
    thrice = compute_rotations(network, recording, "conv2", folds=folds, progress=lambda *step: told.append(step))
    assert (thrice.attrs["passes"], told[-1]) == (3, ("rotating", 180, 180))
    for name in once:
        np.testing.assert_allclose(once[name], thrice[name], atol=1e-12)


@pytest.mark.parametrize("mib", [340, 500, 1000, 4096])
def test_passes_cover_every_position_and_fit_the_memory(mib):
    network = engine.load_network("squeezenet1_1", weights="random")
    columns = SiteColumns.of(np.random.default_rng(0).random((640, 50)), np.arange(640) % 2, torch.device("cpu"))
    job = rotations._Job(network, None, "fire2", 128, 3025, torch.device("cpu"))
    spans = job.spans(columns, 10, mib * 2**20)
    assert np.concatenate([np.arange(3025)[span] for span in spans]).tolist() == list(range(3025))
    assert max(span.stop - span.start for span in spans) * 4 * 640 * 128 < mib * 2**20
    assert (len(spans) == 1) == (mib > 1300)


def test_a_rotation_of_nothing_is_refused():
    network, recording = tiny_network(), planted_recording(tiny_network())
    with pytest.raises(SettingsError, match=r"^rotations=0: a whole number of at least 1 is needed\.$"):
        compute_rotations(network, recording, "fc", rotations=0)
    with pytest.raises(LayerError, match="layer 'fd' is not among the 4 known ones; closest: 'fc'"):
        compute_rotations(network, recording, "fd")


def test_too_little_memory_is_refused_with_the_least_that_does():
    network, recording = tiny_network(), planted_recording(tiny_network())
    with pytest.raises(
        MemoryBudgetError, match="too little to rotate layer 'conv2' of 6 channels over 60 stimuli: at least"
    ) as e:
        compute_rotations(network, recording, "conv2", memory="1MiB")
    enough = str(e.value).split("Give memory=")[1].split(" or more")[0]
    assert compute_rotations(network, recording, "conv2", rotations=1, memory=enough).attrs["passes"] == 1


def test_folds_of_other_stimuli_are_refused():
    network, recording = tiny_network(), planted_recording(tiny_network())
    folds = assign_folds(recording.data, 2, 0)
    with pytest.raises(
        StimulusMismatchError, match="folds cover 59 stimuli, planted has 60; 1 of these have no fold, first 'image007'"
    ):
        compute_rotations(network, recording, "fc", folds=folds.drop_sel(stimulus="image007"))
    shuffled = folds.isel(stimulus=np.random.default_rng(0).permutation(60))
    xr.testing.assert_identical(
        compute_rotations(network, recording, "fc", folds=folds),
        compute_rotations(network, recording, "fc", folds=shuffled),
    )


@pytest.mark.gpu
def test_a_gpu_gives_what_the_processor_gives():
    network, recording = tiny_network(), planted_recording(tiny_network(), noise=0.5, missing=0.1)
    folds = assign_folds(recording.data, 2, 0)
    one, other = (compute_rotations(network, recording, "conv2", folds=folds, device=d) for d in ("cpu", "cuda"))
    for name in ("correlation", "held_out", "natural", "natural_held_out"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)
