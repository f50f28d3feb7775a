"""How many times its floor does a match take? Decode once, one plain forward pass, one float32 product a layer."""

import time

import numpy as np
import pytest
import torch

import engine
from engine.activations import recorded

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

N_STIMULI, N_SITES, BATCH = 640, 50, 8


def floor_s(network, recording) -> float:
    """Seconds of the three steps, the product measured on activations of the first batch."""
    ids, z = list(recording.stimuli.ids), torch.randn(N_SITES, 64)
    held: dict[str, torch.Tensor] = {}
    with recorded(network, network.layers["name"].tolist(), lambda name, a: held.update({name: a.clone()})) as run:
        run(network.inputs(recording.stimuli, ids[:64]))
    start = time.perf_counter()
    for activation in held.values():
        z @ activation
    product = (time.perf_counter() - start) * N_STIMULI / 64
    held.clear()
    start = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, N_STIMULI, BATCH):
            network.module(network.inputs(recording.stimuli, ids[first : first + BATCH]))
    return product + time.perf_counter() - start


def test_a_match_stays_within_a_small_multiple_of_its_floor(tmp_path, capsys):
    rng = np.random.default_rng(0)
    ids = [f"i{k:04d}" for k in range(N_STIMULI)]
    pictures = rng.integers(0, 256, (N_STIMULI, 112, 112, 3), dtype=np.uint8)
    recording = engine.Recording.from_arrays(rng.gamma(2, 5, (N_STIMULI, N_SITES)), pictures, stimulus_ids=ids)
    network = engine.load_network("squeezenet1_1")
    floors, ratios = [], []
    for repeat in range(3):
        floors.append(floor_s(network, recording))
        start = time.perf_counter()
        engine.match(network, recording, shuffles=0, store=tmp_path / str(repeat), progress=False)
        ratios.append((time.perf_counter() - start) / floors[-1])
    with capsys.disabled():
        floor, ratio = np.median(floors), np.median(ratios)
        print(f"\nSqueezeNet, {N_STIMULI} x {N_SITES}, 2 folds: floor {floor:.1f} s, match {ratio:.2f} x")
    assert np.median(ratios) < 6
