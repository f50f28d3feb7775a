"""Ten random bases of the best layer: against the time of the match, against float64, and within their memory."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import engine
from engine import rotations
from engine.activations import input_batches, recorded
from engine.analyses.rotation import best_layers, random_rotation, rotate
from engine.rotations import BATCH, compute_rotations

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

SESSIONS = ("190923", "210325")

MEASURED = """
import json, sys
import numpy as np, torch
import engine
from engine.rotations import compute_rotations

def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) * 1024

layer, memory = sys.argv[1:]
rng = np.random.default_rng(0)
ids = [f"i{k:04d}" for k in range(640)]
pictures = rng.integers(0, 256, (640, 32, 32, 3), dtype=np.uint8)
recording = engine.Recording.from_arrays(rng.gamma(2, 5, (640, 50)), pictures, stimulus_ids=ids)
network = engine.load_network("squeezenet1_1")
with torch.inference_mode():
    network.module(network.inputs(recording.stimuli, ids[:1]))
base = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
passes = compute_rotations(network, recording, layer, rotations=2, memory=memory).attrs["passes"]
print(json.dumps({"peak": status("VmHWM") - base, "passes": passes}))
"""


@pytest.fixture(scope="module")
def recordings(cowley_dir, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITSCOPE_DATA", str(tmp_path_factory.mktemp("data")))
        engine.fetch("cowley-v4", list(SESSIONS), source=cowley_dir, progress=False)
        return {session: engine.open_recording(f"cowley-v4/{session}") for session in SESSIONS}


@pytest.mark.real_data
@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("name", ["squeezenet1_1", "efficientnet_lite0"])
def test_ten_rotations_of_the_best_layer_cost_less_than_the_match(
    recordings, name, session, tmp_path, monkeypatch, capsys
):
    recording, network = recordings[session], engine.load_network(name)
    start = time.perf_counter()
    run = engine.match(network, recording, store=tmp_path, progress=False)
    match_s = time.perf_counter() - start
    passes_s = []
    hold = rotations._Job.hold

    def timed(*arguments):
        start = time.perf_counter()
        result = hold(*arguments)
        passes_s.append(time.perf_counter() - start)
        return result

    monkeypatch.setattr(rotations._Job, "hold", timed)
    layer = best_layers(run)["V4"]
    start = time.perf_counter()
    found = compute_rotations(network, recording, layer, folds=run.dataset("folds")["fold"])
    rotation_s = time.perf_counter() - start
    with capsys.disabled():
        print(
            f"\n{name} @ {session}, {layer} ({found.attrs['n_channels']} x {found.attrs['n_positions']}): match "
            f"{match_s:.1f} s, rotations {rotation_s:.1f} s = {rotation_s / match_s:.2f} x, of which one pass "
            f"{sum(passes_s):.1f} s; natural {float(found['natural'].median()):.4f}, rotated "
            f"{found['correlation'].median('site').mean('rotation').values.round(4).tolist()}"
        )
    assert len(passes_s) == found.attrs["passes"] == 1
    assert rotation_s < match_s


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "session", "layer"),
    [
        ("squeezenet1_1", "210325", "fire9.squeeze"),
        ("squeezenet1_1", "190923", "pool5"),
        ("efficientnet_lite0", "210325", "block13.expand"),
    ],
)
def test_every_best_r_is_within_a_millionth_of_float64(recordings, name, session, layer, capsys):
    recording, network = recordings[session], engine.load_network(name)
    found = compute_rotations(network, recording, layer, seed=1)
    raw = activations(network, recording, layer)
    y = recording.data["response"].transpose("stimulus", "site").values
    y = (y - y.mean(0)) / np.sqrt(((y - y.mean(0)) ** 2).sum(0))
    kernel_sd = raw.std(axis=(0, 2), keepdims=True)
    standardised = np.divide(raw, kernel_sd, out=np.zeros_like(raw), where=kernel_sd > 0)
    rng, worst = np.random.default_rng(1), 0.0
    for rotation in range(found.sizes["rotation"]):
        q = random_rotation(raw.shape[1], rng)
        for scaling, x in (("raw", raw), ("standardised", standardised)):
            units = rotate(x, q).reshape(len(x), -1)
            units -= units.mean(0)
            norm = np.sqrt((units**2).sum(0))
            r = (y.T @ units)[:, norm > 0] / norm[norm > 0]
            one = found["correlation"].sel(scaling=scaling)[rotation].values
            worst = max(worst, float(np.abs(one - r.max(axis=1)).max()))
    with capsys.disabled():
        print(f"\n{name} @ {session}, {layer}: max |r - float64| = {worst:.1e}")
    assert worst <= 1e-6


def activations(network, recording, layer: str) -> np.ndarray:
    """(stimulus, channel, position) float64."""
    ids = recording.data["stimulus"].values.astype(str)
    n_channels = int(network.layers.set_index("name").loc[layer, "channels"])
    parts: list[np.ndarray] = []
    with recorded(network, [layer], lambda _, a: parts.append(a.double().numpy())) as run_forward:
        spans = [slice(first, first + BATCH) for first in range(0, len(ids), BATCH)]
        for _, inputs in input_batches(network, recording.stimuli, ids, spans):
            run_forward(inputs)
    return np.concatenate(parts).reshape(len(ids), n_channels, -1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(("layer", "mib"), [("fire2", 600), ("fire2", 1000), ("fire2", 4096), ("fire9", 600)])
def test_peak_memory_stays_within_the_budget(layer, mib, capsys):
    command = [sys.executable, "-c", MEASURED, layer, f"{mib}MiB"]
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    share = measured["peak"] / (mib * 2**20)
    with capsys.disabled():
        print(f"\n{layer}, 640 images, {mib} MiB: peak {share:.0%}, {measured['passes']} passes")
    assert share <= 1.0
