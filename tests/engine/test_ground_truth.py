"""Real V4 sites and the networks that were distilled for those very sites: each finds its own."""

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

N_SITES = 33
MEAN_RGB = (116.222, 109.270, 100.381)


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

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.models = nn.ModuleList(CompactModel(folder / f"compact_model_190923_neuron{i}.pt") for i in range(N_SITES))
        self.outputs = nn.Identity()
        self.to(memory_format=torch.channels_last)  # depthwise convolutions run twice as fast

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return self.outputs(torch.cat([model(x) for model in self.models], dim=1))


def centred(image: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(image).float() - torch.tensor(MEAN_RGB)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def run(cowley_dir, tmp_path_factory):
    responses = np.load(cowley_dir / "responses_repeat_averaged" / "responses_190923.npy").T
    names = [f"image{i + 1:04d}" for i in range(len(responses))]
    recording = engine.Recording.from_arrays(
        responses,
        cowley_dir / "images" / "images_190923.zip",
        stimulus_ids=names,
        region=["V4"] * N_SITES,
        size_deg=11.2,
    ).select(stimuli=names[600:])
    module = AllModels(cowley_dir / "compact_models")
    network = engine.Network.from_module(module, centred, name="compact", layers=["outputs"], image_size=(112, 112))
    return engine.match(network, recording, top=33, batch=8, store=tmp_path_factory.mktemp("store"), progress=False)


def test_all_33_sites_find_their_own_model(run):
    matches = run.dataset("matches")
    assert (matches["unit"].values[:, 0] == np.arange(N_SITES)).sum() == N_SITES
    best = matches["correlation"][:, 0]
    assert float(best.median()) == pytest.approx(0.6354, abs=0.002)
    assert float(best.min()) == pytest.approx(0.357, abs=0.005)
    assert float(best.max()) == pytest.approx(0.831, abs=0.005)
    assert float((best - matches["correlation"][:, 1]).median()) == pytest.approx(0.185, abs=0.005)


def test_the_basis_is_special(run):
    responses = run.dataset("match_responses")
    x = responses["activation"].values[np.argsort(responses["unit"].values)].astype(np.float64)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    response = run.dataset("recording")["response"].sel(stimulus=responses["stimulus"]).values
    rng = np.random.default_rng(0)
    medians = []
    for _ in range(10):
        rotated = random_rotation(N_SITES, rng) @ x
        medians.append(np.median([correlate_exactly(rotated, site).max() for site in response.T]))
    assert np.mean(medians) == pytest.approx(0.4196, abs=0.03)


@pytest.mark.parametrize(
    ("size", "identified", "selected", "held_out"), [(25, 0.746, 0.664, 0.618), (100, 0.983, 0.654, 0.643)]
)
def test_few_images_already_identify_a_site(run, size, identified, selected, held_out):
    responses = run.dataset("match_responses")
    x = responses["activation"].values[np.argsort(responses["unit"].values)].astype(np.float64)
    y = run.dataset("recording")["response"].sel(stimulus=responses["stimulus"]).values
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(20):
        order = rng.permutation(600)
        chosen, left_out = order[:size], order[300:]
        r = np.stack([correlate_exactly(x[:, chosen], site[chosen]) for site in y.T])
        winner = np.nan_to_num(r, nan=-2).argmax(1)
        out = [correlate_exactly(x[[w]][:, left_out], site[left_out])[0] for w, site in zip(winner, y.T, strict=True)]
        rows.append([np.mean(winner == np.arange(N_SITES)), np.median(r.max(1)), np.median(out)])
    np.testing.assert_allclose(np.mean(rows, axis=0), [identified, selected, held_out], atol=0.03)
