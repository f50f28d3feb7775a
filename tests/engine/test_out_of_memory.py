"""Memory that runs out in the middle of a match: the batch halves and the result stays, or a sentence says why."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from engine.errors import MemoryBudgetError
from engine.matching import halving, is_out_of_memory
from tests.engine.test_matching import ROUNDED, results
from tests.engine.worked_example import planted_recording, tiny_network

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "5017600000 bytes. Error code 12 (Cannot allocate memory)"
)

ERRORS = {
    "a GPU's": torch.OutOfMemoryError("CUDA out of memory"),
    "torch's on the processor": RuntimeError(CPU_MESSAGE),
    "numpy's": MemoryError("Unable to allocate 4.67 GiB for an array"),
    "the system's": OSError(12, "Cannot allocate memory"),
}


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("way", ["held", "summed"])
@pytest.mark.parametrize("whose", ERRORS)
def test_an_error_at_the_nth_batch_halves_it_and_the_result_is_the_same(whose, way, nth, monkeypatch):
    network = tiny_network()
    recording = planted_recording(network, noise=0.7)
    expected = results(network, recording, way)
    forward, sizes = type(network.module).forward, []

    def failing(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(sizes) == nth:
            raise ERRORS[whose]
        return forward(module, x)

    monkeypatch.setattr(type(network.module), "forward", failing)
    found = results(network, recording, way)
    assert sizes[nth] == max(sizes[nth:]) == sizes[0] // 2
    for name in network.layers["name"]:
        np.testing.assert_allclose(found[name]["map_r"], expected[name]["map_r"], atol=ROUNDED)


def test_another_error_is_not_taken_for_a_full_memory():
    def wrong(batch: int) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        halving(wrong, 16)
    assert not is_out_of_memory(OSError(28, "No space left on device"))


def test_a_processor_without_room_for_one_stimulus_is_named():
    def full(batch: int) -> None:
        raise RuntimeError(CPU_MESSAGE)

    with pytest.raises(
        MemoryBudgetError, match=r"this machine's memory is full with one stimulus at a time.*ulimit -v"
    ):
        halving(full, 16)


LIMITED = """
import json, resource, sys, tempfile
import numpy as np, torch
import engine
from engine.errors import EngineError
torch.set_num_threads(1)

class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = torch.nn.Conv2d(3, 64, 3, padding=1)
        self.pool = torch.nn.AdaptiveAvgPool2d(4)
    def forward(self, x):
        sizes.append(len(x))
        return self.pool(self.maps(x))

sizes = []
with torch.random.fork_rng():
    torch.manual_seed(0)
    module = Wide()
network = engine.Network.from_module(
    module, lambda i: torch.from_numpy(i).permute(2, 0, 1).float(), layers=["pool"], image_size=(224, 224), version="1")
rng = np.random.default_rng(0)
pictures = rng.integers(0, 256, (40, 224, 224, 3), dtype=np.uint8)
names = [f"i{k:02d}" for k in range(40)]
recording = engine.Recording.from_arrays(rng.gamma(2, 5, (40, 3)), pictures, stimulus_ids=names)
options = dict(folds=1, shuffles=0, progress=False)
engine.match(network, recording, store=tempfile.mkdtemp(), **options)  # once without a limit: code is compiled
if sys.argv[1] != "none":
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]) * 2**20,) * 2)
sizes.clear()
try:
    run = engine.match(network, recording, store=tempfile.mkdtemp(), **options)
    print(json.dumps({"sizes": sizes, "r": run.dataset("matches")["correlation"].values.tolist()}))
except EngineError as error:
    print(json.dumps({"sizes": sizes, "error": str(error)}))
"""


def limited(mebibytes: str) -> dict:
    """A match in a process of its own that may take so much more address space, or any."""
    command = [sys.executable, "-c", LIMITED, mebibytes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space, and /proc")
def test_a_process_with_little_memory_matches_in_small_batches_or_says_that_it_cannot():
    with ThreadPoolExecutor() as pool:
        free, little, none = pool.map(limited, ("none", "320", "6"))
    assert free["sizes"].count(16) == 2  # of 40 images; the trials before are smaller
    assert little["sizes"].count(16) == 1  # which failed
    assert max(little["sizes"][little["sizes"].index(16) + 1 :]) <= 8
    np.testing.assert_allclose(little["r"], free["r"], atol=ROUNDED)
    assert none["error"].startswith("this machine's memory is full ")
