"""The same best units in the same order, whatever the batch, threads, workers or precision that somebody set."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import engine
from tests.engine.worked_example import IMAGE, N_STIMULI, images, planted_recording, tiny_network

QUIET = {"progress": False, "memory": "1GiB"}
BATCHES = (1, 7, 32, N_STIMULI)


class Tied(nn.Module):
    """Whole numbers throughout, so that float32 is exact in any order; every channel twice, few levels at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.levels = nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.Hardtanh(-2, 2)
        kernels = np.random.default_rng(1).integers(-1, 2, (4, 3, 3, 3)).repeat(2, 0)
        self.conv.weight = nn.Parameter(torch.tensor(kernels, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.levels(self.conv(x).div(64, rounding_mode="floor"))


def to_integers(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float()


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def tied_network() -> engine.Network:
    return engine.Network.from_module(Tied(), to_integers, name="tied", image_size=(IMAGE, IMAGE))


def tied_recording() -> engine.Recording:
    counts = np.random.default_rng(0).poisson(3, (N_STIMULI, 4)).astype(float)
    return engine.Recording.from_arrays(counts, images(), stimulus_ids=[f"im{k:02d}" for k in range(N_STIMULI)])


def brute_force(network: engine.Network, recording: engine.Recording) -> np.ndarray:
    """(site, rank) the 100 largest r of each site: numpy in float64."""
    x = torch.stack([to_integers(picture) for picture in images()])
    with torch.inference_mode():
        conv = network.module.conv(x)
        found = [conv, conv.div(64, rounding_mode="floor").clamp(-2, 2)]
    values = np.concatenate([value.flatten(1).double().numpy() for value in found], 1)
    response = recording.data["response"].transpose("stimulus", "site").values
    centred, sites = values - values.mean(0), response - response.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (sites.T @ centred) / np.outer(np.linalg.norm(sites, axis=0), np.linalg.norm(centred, axis=0))
    return -np.sort(-np.nan_to_num(r, nan=-2), axis=1)[:, :100]


def ranking(run: engine.Run) -> list[list[tuple[str, int]]]:
    matches = run.dataset("matches")
    rows = zip(matches["layer"].values, matches["unit"].values, strict=True)
    return [list(zip(map(str, layers), map(int, units), strict=True)) for layers, units in rows]


def tied_run(store, **settings) -> engine.Run:
    return engine.match(tied_network(), tied_recording(), folds=1, shuffles=0, store=store, **QUIET, **settings)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list[list[tuple[str, int]]]:
    """The ranking of a run with ties that holds its activations; equal units stand in it by layer and index."""
    run = tied_run(tmp_path_factory.mktemp("expected"))
    matches, found = run.dataset("matches"), ranking(run)
    assert matches["tied"].values.mean() > 0.9
    np.testing.assert_allclose(matches["correlation"], brute_force(tied_network(), tied_recording()), atol=1e-12)
    for row in found:
        copies = [(row[k], row[k + 1]) for k in range(99) if row[k][1] // 81 % 2 == 0]  # a channel and its copy
        ordered = [one[0] == other[0] and one[1] < other[1] for one, other in copies if abs(one[1] - other[1]) == 81]
        assert len(ordered) > 5
        assert all(ordered)
    return found


@pytest.mark.parametrize("batch", BATCHES)
def test_countless_ties_have_one_order_at_every_batch_and_number_of_threads(batch, threads, expected, tmp_path):
    assert ranking(tied_run(tmp_path, batch=batch)) == expected


def test_rankings_of_a_network_with_rounding_are_the_same_at_every_batch_and_number_of_threads(tmp_path, threads):
    network = tiny_network()
    recording = planted_recording(network, noise=0.7)
    default = engine.match(network, recording, store=tmp_path / "default", **QUIET)
    for batch in BATCHES[1:]:
        run = engine.match(network, recording, batch=batch, store=tmp_path / str(batch), **QUIET)
        assert ranking(run) == ranking(default)
        xr.testing.assert_allclose(run.dataset("matches")["correlation"], default.dataset("matches")["correlation"])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_countless_ties_have_one_order_at_every_number_of_workers(tmp_path, workers, expected):
    pytest.importorskip("distributed")
    assert ranking(tied_run(tmp_path, workers=workers)) == expected


PRECISION = """
import sys
import torch
import engine
from tests.engine.worked_example import planted_recording, tiny_network
network = tiny_network()
recording = planted_recording(network, noise=0.7)
exec(sys.argv[1])
run = engine.match(network, recording, device=sys.argv[2], store=sys.argv[3], progress=False, memory="1GiB")
print(run.path)
"""

CHANGES = (
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True",
    "torch.autocast(sys.argv[2], dtype=torch.bfloat16).__enter__()",
)


def matched_after(change: str, device: str, folder) -> xr.DataArray:
    """r of the 100 best units of every site, in a process whose user had set that before."""
    command = [sys.executable, "-W", "ignore", "-c", PRECISION, change, device, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return engine.open_run(done.stdout.split()[-1]).dataset("matches")["correlation"]


def largest_difference(change: str, device: str, tmp_path) -> float:
    network = tiny_network()
    expected = engine.match(
        network, planted_recording(network, noise=0.7), device="cpu", store=tmp_path / "own", **QUIET
    )
    found = matched_after(change, device, tmp_path / "other")
    return float(np.abs(found - expected.dataset("matches")["correlation"]).max())


@pytest.mark.parametrize(
    "change", [CHANGES[0], CHANGES[-1], *(pytest.param(change, marks=pytest.mark.slow) for change in CHANGES[1:-1])]
)
def test_lower_precision_that_the_user_had_set_changes_no_r(change, tmp_path):
    assert largest_difference(change, "cpu", tmp_path) <= 2e-6


@pytest.mark.gpu
@pytest.mark.parametrize("change", CHANGES)
def test_a_gpu_on_which_the_user_allows_tf32_gives_the_r_of_the_processor(change, tmp_path):
    assert largest_difference(change, "cuda", tmp_path) <= 2e-6


def test_lower_precision_would_change_r_by_more_than_we_allow():
    network = tiny_network()
    x = torch.stack([to_integers(picture) / 255 for picture in images()])
    with torch.inference_mode():
        exact = network.module(x).double().numpy()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network.module(x).double().numpy()
    site = np.random.default_rng(0).normal(size=len(x))
    r = [np.corrcoef(site, values[:, 0])[0, 1] for values in (exact, rough)]
    assert abs(r[0] - r[1]) > 2e-6
