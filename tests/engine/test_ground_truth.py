"""Real V4 sites and the networks that were distilled for those very sites: each finds its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import engine
from engine.analyses.rotation import random_rotation
from engine.exact import correlate_exactly

pytestmark = [pytest.mark.real_data, pytest.mark.timeout(900)]

MEAN_RGB = (116.222, 109.270, 100.381)


@dataclass(frozen=True)
class Extent:
    """Which of the 33 sites, over how many images, and what was measured for them."""

    step: int
    n_images: int
    median_r: float
    least_r: float
    greatest_r: float
    lead: float
    rotated_r: float
    identified_by: Mapping[int, tuple[float, float, float]]
    """For a number of images: share of sites that are identified, r selected, r held out."""

    @property
    def sites(self) -> range:
        return range(0, 33, self.step)


THIRD = Extent(3, 200, 0.6241, 0.457, 0.763, 0.234, 0.3946, {25: (0.827, 0.641, 0.615), 100: (0.991, 0.637, 0.631)})
WHOLE = Extent(1, 600, 0.6354, 0.357, 0.831, 0.185, 0.4196, {25: (0.746, 0.664, 0.618), 100: (0.983, 0.654, 0.643)})


class CompactModel(nn.Module):
    """One site's model (Cowley et al. 2026): a 5x5 convolution, four separable ones of stride 2, 2, 1, 1, a readout."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = {key: value.float() for key, value in torch.load(weights, weights_only=True).items()}
        widths = [len(state[f"layers.layer{i}_bn.weight"]) for i in range(5)]
        layers: dict[str, nn.Module] = {"layer0_conv": nn.Conv2d(3, widths[0], 5, padding="same")}
        for i in range(1, 5):
            before = widths[i - 1]
            layers[f"layer{i}_conv_depth"] = nn.Conv2d(before, before, 5, 2 if i < 3 else 1, groups=before, bias=False)
            layers[f"layer{i}_conv_point"] = nn.Conv2d(before, widths[i], 1)
        layers |= {f"layer{i}_bn": nn.BatchNorm2d(width) for i, width in enumerate(widths)}
        layers["Beta"] = nn.Linear(28 * 28 * widths[4], 1)
        self.layers = nn.ModuleDict(layers)
        self.load_state_dict({key: state[key] for key in self.state_dict() if key in state}, strict=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.layers["layer0_bn"](self.layers["layer0_conv"](x)))
        for i in range(1, 5):
            x = functional.pad(x, (1, 3, 1, 3) if i < 3 else (2, 2, 2, 2))
            x = self.layers[f"layer{i}_conv_point"](self.layers[f"layer{i}_conv_depth"](x))
            x = functional.relu(self.layers[f"layer{i}_bn"](x))
        return self.layers["Beta"](x.permute(0, 2, 3, 1).flatten(1))  # the readout was trained on channels last


class AllModels(nn.Module):
    """The outputs of all models as the units of one layer."""

    def __init__(self, folder: Path, sites: range) -> None:
        super().__init__()
        self.models = nn.ModuleList(CompactModel(folder / f"compact_model_190923_neuron{i}.pt") for i in sites)
        self.outputs = nn.Identity()
        self.to(memory_format=torch.channels_last)  # depthwise convolutions run twice as fast

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return self.outputs(torch.cat([model(x) for model in self.models], dim=1))


def centred(image: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(image).float() - torch.tensor(MEAN_RGB)).permute(2, 0, 1)


@pytest.fixture(scope="module", params=[THIRD, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["third", "whole"])
def extent(request):
    return request.param


@pytest.fixture(scope="module")
def run(extent, cowley_dir, tmp_path_factory):
    responses = np.load(cowley_dir / "responses_repeat_averaged" / "responses_190923.npy").T
    names = [f"image{i + 1:04d}" for i in range(len(responses))]
    recording = engine.Recording.from_arrays(
        responses[:, extent.sites],
        cowley_dir / "images" / "images_190923.zip",
        stimulus_ids=names,
        region=["V4"] * len(extent.sites),
        size_deg=11.2,
    ).select(stimuli=names[600 : 600 + extent.n_images])
    module = AllModels(cowley_dir / "compact_models", extent.sites)
    network = engine.Network.from_module(module, centred, name="compact", layers=["outputs"], image_size=(112, 112))
    return engine.match(network, recording, top=33, store=tmp_path_factory.mktemp("store"), progress=False)


@pytest.fixture(scope="module")
def outputs(run):
    """Outputs of all models, (model, stimulus) float64, and the responses of all sites, (stimulus, site)."""
    responses = run.dataset("match_responses")
    x = responses["activation"].values[np.argsort(responses["unit"].values)].astype(np.float64)
    return x, run.dataset("recording")["response"].sel(stimulus=responses["stimulus"]).values


def test_every_site_finds_its_own_model(extent, run):
    matches = run.dataset("matches")
    assert matches["unit"].values[:, 0].tolist() == list(range(len(extent.sites)))
    best = matches["correlation"][:, 0]
    assert float(best.median()) == pytest.approx(extent.median_r, abs=0.002)
    assert float(best.min()) == pytest.approx(extent.least_r, abs=0.005)
    assert float(best.max()) == pytest.approx(extent.greatest_r, abs=0.005)
    assert float((best - matches["correlation"][:, 1]).median()) == pytest.approx(extent.lead, abs=0.005)


def test_the_basis_is_special(extent, outputs):
    x, response = outputs
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    rng = np.random.default_rng(0)
    medians = []
    for _ in range(10):
        rotated = random_rotation(len(x), rng) @ x
        medians.append(np.median([correlate_exactly(rotated, site).max() for site in response.T]))
    assert np.mean(medians) == pytest.approx(extent.rotated_r, abs=0.03)


@pytest.mark.parametrize("size", [25, 100])
def test_few_images_already_identify_a_site(extent, outputs, size):
    x, y = outputs
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(20):
        order = rng.permutation(extent.n_images)
        chosen, left_out = order[:size], order[extent.n_images // 2 :]
        r = np.stack([correlate_exactly(x[:, chosen], site[chosen]) for site in y.T])
        winner = np.nan_to_num(r, nan=-2).argmax(1)
        out = [correlate_exactly(x[[w]][:, left_out], site[left_out])[0] for w, site in zip(winner, y.T, strict=True)]
        rows.append([np.mean(winner == np.arange(len(x))), np.median(r.max(1)), np.median(out)])
    np.testing.assert_allclose(np.mean(rows, axis=0), extent.identified_by[size], atol=0.03)
