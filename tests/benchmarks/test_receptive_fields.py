"""How much faster than a plain loop are the gradients of the matches of 89 sites, by layer? And how exact?"""

import os
import time
from functools import cache

import numpy as np
import pytest
import torch

import engine
from engine.crops import Crop, find_crops
from engine.gradients import receptive_fields
from engine.starts import N_STARTS, Starts

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

REPEATS = int(os.environ.get("REPEATS", 3))
PLAIN_BATCH = 64
QUICKEST_BATCH = 8
"""At which freed memory stays in the process, which makes the plain loop quickest."""

MEASURED: list[tuple[float, float, float]] = []
"""Seconds of each layer: plain loop, plain loop of the quickest batch, ours."""

MATCHES = {
    "conv1": [627673, 277276, 13518],
    "pool1": [101565],
    "fire2": [45413, 136167],
    "fire3": [365555],
    "pool3": [10456, 86304, 23885, 7709, 65101],
    "fire4.squeeze": [11360],
    "fire4": [150944, 143774, 68238, 11477],
    "fire5.squeeze": [23038, 10585, 10690],
    "fire5": [179349, 152703, 140264],
    "pool5": [
        *(14218, 2738, 3346, 6006, 18794, 6166, 2748, 621, 14764, 29788, 4112, 2761, 20155, 32490, 2761, 4829, 20677),
        *(12080, 20703, 5966, 4140, 10873, 4099, 6126, 12562, 2591, 4085, 21167, 2746, 16264, 12562, 12053, 12574),
    ],
    "fire6.squeeze": [681, 2376, 3943, 6645, 759, 1077, 1406, 6658],
    "fire6": [6349, 45565, 15409, 63190, 6834, 55038, 29757, 2409],
    "fire7.squeeze": [2234, 2286, 6464, 6139],
    "fire8.squeeze": [9464, 10795],
    "fire8": [81314, 61383, 58015, 53253, 10534, 44690],
    "fire9.squeeze": [1698, 96, 70, 95, 3777],
}
"""Units at rank 0 of SqueezeNet 1.1 for the sites of cowley-v4/190923 (33), 210225 (55) and the first of 210325."""


EFFICIENTNET = ("stem", "block3.expand", "block5.depthwise", "block8.expand", "block10.depthwise", "block13.expand")
"""Layers of EfficientNet-Lite0, of which units at the border are looked at."""


class ForwardEndError(Exception):
    pass


def plain_loop(network, layer: str, unit: int, starts: Starts, batch: int) -> torch.Tensor:
    """Gradients to the pixels at every start, on full images, with torch as it comes; stops behind the layer."""
    held, gradients = [], []

    def hold(module, args, output):
        held.append(output)
        raise ForwardEndError

    handle = network.module.get_submodule(layer).register_forward_hook(hold)
    for first in range(0, len(starts), batch):
        pixels = starts.images[first : first + batch].clone().requires_grad_(True)
        with pytest.raises(ForwardEndError):
            network.module(network.preprocess.from_pixels(pixels))
        gradients.append(torch.autograd.grad(held.pop().flatten(1)[:, unit].sum(), pixels)[0])
    handle.remove()
    return torch.cat(gradients)


def seconds(work) -> float:
    """Processor time on one thread, which other jobs on the machine disturb least; median."""
    times, n_threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    torch.set_num_threads(n_threads)
    return float(np.median(times))


def error(found, expected) -> float:
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


@cache
def loaded(name: str) -> engine.Network:
    network = engine.load_network(name)
    network.module.requires_grad_(False)
    return network


def noise() -> Starts:
    """Stimuli of the size of the V4 recordings', with about their mean and SD."""
    images = torch.randn((N_STARTS, 3, 112, 112), generator=torch.Generator().manual_seed(0))
    return Starts(110 + 60 * images, True, "noise")


def at_borders(network, layer: str) -> list[int]:
    """Units of two channels, in a corner, at a side, and next to them."""
    shape = tuple(network.layers.set_index("name").loc[layer, ["channels", "height", "width"]].astype(int))
    places = [(0, 0), (shape[1] - 1, shape[2] // 2), (1, shape[2] - 1), (shape[1] // 2, shape[2] // 2)]
    return [int(np.ravel_multi_index((channel, *place), shape)) for channel in range(2) for place in places]


@cache
def all_crops() -> dict[str, Crop]:
    return find_crops(loaded("squeezenet1_1"), MATCHES)


@pytest.mark.parametrize("layer", MATCHES)
def test_time_of_a_layer(layer, capsys):
    network, starts, crops = loaded("squeezenet1_1"), noise(), all_crops()
    units = [(layer, unit) for unit in MATCHES[layer]]
    receptive_fields(network, units[:1], starts=starts, crops=crops)
    ours = seconds(lambda: receptive_fields(network, units, starts=starts, crops=crops))
    plain, quickest = (
        seconds(lambda batch=batch: plain_loop(network, *units[0], starts, batch)) * len(units)
        for batch in (PLAIN_BATCH, QUICKEST_BATCH)
    )
    MEASURED.append((plain, quickest, ours))
    size = " x ".join(map(str, crops[layer].size))
    with capsys.disabled():
        print(
            f"\n| {layer} | {len(units)} | {size} | {plain:.2f} | {quickest:.2f} | {ours:.2f} | {plain / ours:.1f} | "
            f"{quickest / ours:.1f} |",
            end="",
        )


def test_the_layers_measured_before_are_three_times_as_quick_with_the_finding_of_crops(capsys):
    finding = seconds(lambda: find_crops(loaded("squeezenet1_1"), MATCHES))
    plain, quickest, ours = map(sum, zip(*MEASURED, strict=True))
    with capsys.disabled():
        print(
            f"\nplain loop {plain:.1f} s, at its best batch {quickest:.1f} s, ours {ours:.1f} s + {finding:.1f} s for "
            f"crops: {plain / (ours + finding):.1f} and {quickest / (ours + finding):.1f} times as quick"
        )
    assert plain / (ours + finding) >= 3


@pytest.mark.parametrize(
    ("name", "layer"),
    [("squeezenet1_1", layer) for layer in MATCHES] + [("efficientnet_lite0", layer) for layer in EFFICIENTNET],
)
def test_they_are_those_of_autograd_one_by_one(name, layer, capsys):
    """A few starts may differ where a rectifier lies within rounding of its threshold: so does autograd from itself."""
    network = loaded(name)
    starts = noise()
    crops = find_crops(network, [layer])
    units = MATCHES[layer] if name == "squeezenet1_1" else at_borders(network, layer)
    live = receptive_fields(network, [(layer, unit) for unit in units], starts=starts, crops=crops)["live"].values
    unit = units[int(live.argmax())]
    alone, batched = (plain_loop(network, layer, unit, starts, batch).double() for batch in (1, PLAIN_BATCH))
    largest = alone.abs().amax((1, 2, 3)).clamp(min=1e-30)
    own = np.arange(len(starts))[:, None]
    single = receptive_fields(network, [(layer, unit)] * len(own), starts=starts, chosen=own, crops=crops)["gradient"]
    errors = (torch.from_numpy(single.values) - alone).abs().amax((1, 2, 3)) / largest
    its_own = (batched - alone).abs().amax((1, 2, 3)) / largest
    mean = receptive_fields(network, [(layer, unit)], starts=starts, crops=crops)["gradient"].values[0]
    with capsys.disabled():
        print(
            f"\n| {name} | {layer} | {int(live.max())} | {error(mean, alone.mean(0).numpy()):.1e} | "
            f"{float(errors.max()):.1e} | {int((errors > 1e-5).sum())} | {float(its_own.max()):.1e} | "
            f"{int((its_own > 1e-5).sum())} |",
            end="",
        )
    assert errors.quantile(0.75) <= 1e-5
