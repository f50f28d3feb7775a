"""Every way to match gives the same result, in the bad cases too: odd counts, one of anything, NaN, half precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import engine
from engine.blocks import Arena
from engine.errors import MemoryBudgetError, RecordingError
from engine.exact import correlate_exactly
from engine.folds import assign_folds
from engine.matching import Matching, halving
from engine.parts import Parts
from engine.pipeline import Job
from engine.planning import Plan
from engine.rescoring import collect_responses
from engine.schema import RUN_SCHEMAS
from engine.targets import make_targets
from tests.engine.worked_example import images, planted_recording, tiny_network, to_input

CPU = torch.device("cpu")
WAYS = ("held", "summed")
ROUNDED = 5e-6
"""Between batches of another size, in which float32 convolutions add up in another order."""


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def matching_of(network, recording, *, folds=2, top=100, shuffles=2, keeps_inputs=False) -> Matching:
    fold = assign_folds(recording.data, folds, 0)
    targets = make_targets(recording.data, fold, shuffles=shuffles, seed=0)
    return Matching(
        network,
        recording.stimuli,
        targets,
        top=top,
        device=CPU,
        keeps_inputs=keeps_inputs,
        progress=lambda step, done, total: None,
    )


def results(network, recording, way, **settings):
    matching = matching_of(network, recording, **settings)
    layers = network.layers["name"].tolist()
    if way == "summed":
        return dict(matching.stream(layers, 7))
    n_units = network.layers["units"].tolist()
    arena = Arena(sum(Arena.bytes_for(len(recording.stimuli.ids), n) for n in n_units), CPU)
    return dict(matching.hold(layers, arena))


def best_r(result, n_sites: int) -> np.ndarray:
    """(site,) the best r over all stimuli; NaN where there is none."""
    best = np.full(n_sites, np.nan)
    chosen = result["split"].values == 0
    np.fmax.at(best, result["column"].values[chosen], result["r"].values[chosen])
    return best


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("folds", [1, 3])
def test_held_and_summed_layers_have_the_same_result(network, folds, missing):
    recording = planted_recording(network, noise=0.7, missing=missing)
    held, summed = (results(network, recording, way, folds=folds) for way in WAYS)
    for name in network.layers["name"]:
        one, other = held[name], summed[name]
        assert one.attrs == other.attrs
        for variable in ("map_r", "null_r", "null_left_out_r"):
            np.testing.assert_allclose(one[variable], other[variable], atol=ROUNDED, err_msg=variable)
        assert np.abs(one["count"].cumsum("r_bin") - other["count"].cumsum("r_bin")).max() <= 1
        np.testing.assert_allclose(best_r(one, 7), best_r(other, 7), atol=ROUNDED)


def test_a_held_layer_keeps_the_activations_of_whatever_may_be_among_the_best(network):
    recording = planted_recording(network, noise=0.7)
    matches = engine.match(network, recording, batch=60, progress=False).dataset("matches")
    held = results(network, recording, "held")
    for layer, unit in zip(matches["layer"].values.ravel(), matches["unit"].values.ravel(), strict=True):
        assert unit in held[layer]["kept"].values


def test_the_best_r_of_a_held_layer_is_that_of_float64(network):
    recording = planted_recording(network, noise=0.7)
    matching = matching_of(network, recording)
    for layer, result in results(network, recording, "held").items():
        chosen = result["split"].values == 0
        column, unit, r = (result[name].values[chosen] for name in ("column", "unit", "r"))
        for site in range(7):
            own = np.flatnonzero(column == site)
            best = own[np.argmax(r[own])]
            activation = collect_responses(matching, {layer: unit[best : best + 1]})[layer]
            assert r[best] == correlate_exactly(activation, matching.targets.response[:, site])[0]


def test_activations_that_were_kept_are_not_read_again_where_there_is_memory(network, tmp_path, monkeypatch):
    recording = planted_recording(network, noise=0.7)
    n_read = []

    def read(self: Parts, name: str) -> object:
        n_read.append(name)
        return whole(self, name)

    whole = Parts.read
    monkeypatch.setattr(Parts, "read", read)
    others = []
    monkeypatch.setattr("engine.pipeline.collect_responses", lambda matching, units: others.append(units) or {})
    ample = engine.match(network, recording, top=1, memory="8GiB", store=tmp_path / "ample", progress=False)
    assert n_read == []
    planned = Job.plan

    def full(job: Job, layers: list[str]) -> Plan:
        plan = planned(job, layers)
        return replace(plan, memory=plan.peak)

    monkeypatch.setattr(Job, "plan", full)
    tight = engine.match(network, recording, top=1, memory="8GiB", store=tmp_path / "tight", progress=False)
    assert n_read != []
    assert others == [{}, {}], "another pass collected what a layer should have kept"
    for name in RUN_SCHEMAS:
        xr.testing.assert_identical(tight.dataset(name), ample.dataset(name))


def test_kept_inputs_give_the_same_pass_again(network):
    recording = planted_recording(network)
    matching = matching_of(network, recording, keeps_inputs=True)
    first = [(start, inputs.clone()) for start, inputs in matching.inputs(7, "matching")]
    recording.stimuli.pixels = None
    for (start, inputs), (again, same) in zip(first, matching.inputs(7, "matching"), strict=True):
        assert start == again
        assert torch.equal(inputs, same)


def test_one_image_is_refused_by_name():
    with pytest.raises(RecordingError, match=r"2 of 2 sites have fewer than 3 responses, .* with 1 of 1 stimuli"):
        engine.Recording.from_arrays(np.ones((1, 2)), images(1), stimulus_ids=["only"])


@pytest.mark.parametrize(("n_images", "n_sites"), [(33, 1), (9, 40)])
def test_one_site_and_more_sites_than_images(network, n_images, n_sites):
    rng = np.random.default_rng(0)
    response = rng.gamma(2, 5, size=(n_images, n_sites))
    ids = [f"i{k:02d}" for k in range(n_images)]
    recording = engine.Recording.from_arrays(response, images(n_images), stimulus_ids=ids)
    run = engine.match(network, recording, folds=1, shuffles=0, progress=False)
    module = network.module
    with torch.inference_mode():
        conv1 = module.conv1(torch.stack([to_input(picture) for picture in images(n_images)]))
    flat = conv1.reshape(n_images, -1).double().numpy()
    r = np.corrcoef(flat.T, response.T)[: flat.shape[1], flat.shape[1] :]
    profile = run.dataset("layer_profile")["correlation"].sel(layer="conv1").values
    np.testing.assert_allclose(profile, np.nanmax(r, axis=0), atol=1e-6)


class Broken(nn.Module):
    """A convolution, and one unit that is NaN where the first pixel is 255."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 3)
        self.one = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_white = x[:, :1, 0, 0] == 1
        return self.one(self.maps(x).mean((2, 3)).masked_fill(is_white, torch.nan))


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_that_gives_nan_for_one_image_is_counted_and_named(way):
    pictures = images(40)
    pictures[:, 0, 0, 0] = 7
    network = engine.Network.from_module(Broken(), to_input, name="broken", image_size=(20, 20))
    pictures[23, 0, 0, 0] = 255
    ids = [f"i{k:02d}" for k in range(40)]
    response = np.random.default_rng(0).gamma(2, 5, size=(40, 2))
    recording = engine.Recording.from_arrays(response, pictures, stimulus_ids=ids)
    found = results(network, recording, way)
    assert found["maps"].attrs["n_nonfinite"] == 0
    assert found["one"].attrs["n_nonfinite"] == 1
    assert found["one"].attrs["first_nonfinite"] == "i23"
    assert len(found["one"]["r"]) == 0
    assert np.isfinite(best_r(found["maps"], 2)).all()


class Half(nn.Module):
    """A network in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 4, 3)
        self.half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.maps(x.half())


@pytest.mark.parametrize("way", WAYS)
def test_a_float16_network_is_matched_as_it_answers(way):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = engine.Network.from_module(Half(), to_input, name="half", image_size=(20, 20))
    pictures, response = images(40), np.random.default_rng(0).gamma(2, 5, size=(40, 2))
    recording = engine.Recording.from_arrays(response, pictures, stimulus_ids=[f"i{k:02d}" for k in range(40)])
    with torch.inference_mode():
        flat = network.module(torch.stack([to_input(p) for p in pictures])).flatten(1).double().numpy()
    expected = np.nanmax(np.corrcoef(flat.T, response.T)[: flat.shape[1], flat.shape[1] :], axis=0)
    np.testing.assert_allclose(best_r(results(network, recording, way)["maps"], 2), expected, atol=1e-6)


class Wide(nn.Module):
    """A layer of ten million units, and one of one."""

    def __init__(self) -> None:
        super().__init__()
        self.many = nn.Conv2d(3, 25_000, 1, bias=False)
        self.one = nn.Flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(self.many(x)[:, :1, :1, :1])


@pytest.mark.slow
def test_a_layer_of_ten_million_units_and_one_of_one():
    network = engine.Network.from_module(Wide(), to_input, name="wide", image_size=(20, 20))
    assert sorted(network.layers["units"]) == [1, 10_000_000]
    recording = engine.Recording.from_arrays(
        np.random.default_rng(0).gamma(2, 5, size=(12, 2)), images(12), stimulus_ids=[f"i{k:02d}" for k in range(12)]
    )
    run = engine.match(network, recording, folds=1, shuffles=0, memory="6GiB", progress=False)
    assert run.dataset("unit_counts")["count"].sum("r_bin").sel(layer="many").values.tolist() == [10_000_000] * 2


def test_where_memory_is_not_enough_the_batch_is_halved_and_the_result_is_the_same(network, monkeypatch):
    recording = planted_recording(network, noise=0.7)
    expected = results(network, recording, "held")
    forward, sizes = type(network.module).forward, []

    def limited(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(module, x)

    monkeypatch.setattr(type(network.module), "forward", limited)
    for name, result in results(network, recording, "held").items():
        np.testing.assert_allclose(result["map_r"], expected[name]["map_r"], atol=ROUNDED)
    assert sizes[:3] == [16, 8, 4]


def test_a_gpu_without_room_for_one_stimulus_is_named():
    def full(batch: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(MemoryBudgetError, match=r"full with one stimulus at a time.*Give a smaller memory="):
        halving(full, 16)
