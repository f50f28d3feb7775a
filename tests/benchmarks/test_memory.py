"""Does the peak stay within ``memory``? Measured in a process of its own, for several budgets."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]

MEASURED = """
import json, sys
import numpy as np, torch
import engine
from engine.stimuli import Stimuli

def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) * 1024

name, n, sites, memory, store = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
rng = np.random.default_rng(0)
ids = [f"i{k:04d}" for k in range(n)]
pictures = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
recording = engine.Recording.from_arrays(rng.gamma(2, 5, (n, sites)), pictures, stimulus_ids=ids, region=["V4"] * sites)
network = engine.load_network(name, weights="random" if ":" in name else "pretrained")
with torch.inference_mode():
    network.module(network.inputs(recording.stimuli, ids[:1]))
base = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
run = engine.match(network, recording, memory=memory, store=store, progress=False)
print(json.dumps({"peak": status("VmHWM") - base, **run.manifest["compute"]}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("network", "n", "sites", "memory_mib"),
    [
        ("squeezenet1_1", 640, 50, 1500),
        ("squeezenet1_1", 640, 50, 2048),
        ("squeezenet1_1", 640, 50, 4096),
        ("squeezenet1_1", 1200, 89, 4096),
        ("torchvision:resnet50", 640, 256, 4096),  # 20.9 million units
    ],
)
def test_peak_memory_stays_within_the_budget(network, n, sites, memory_mib, tmp_path, capsys):
    if network.startswith("torchvision:") and find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    arguments = [network, str(n), str(sites), f"{memory_mib}MiB", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    share = measured["peak"] / (memory_mib * 2**20)
    with capsys.disabled():
        print(f"\n{network}, {n} images, {sites} sites: peak {share:.0%}, {measured['seconds']} s, {measured['plan']}")
    assert share <= 1.1
    assert np.isfinite(measured["seconds"])
