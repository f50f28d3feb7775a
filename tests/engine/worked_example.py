"""A small network and recording with a known answer, matched for real; shared by tests of matching and of the page."""

import numpy as np
import torch
from torch import nn

from engine import Network, Recording

IMAGE = 20
N_STIMULI = 60


class Tiny(nn.Module):
    """Four layers: a convolution, a ReLU that works in place, a convolution with stride, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 6, 3, stride=2)
        self.fc = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv2(self.relu1(self.conv1(x))).mean((2, 3)))


def to_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def tiny_network(seed: int = 0, name: str = "tiny") -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Tiny()
    return Network.from_module(module, to_input, name=name, image_size=(IMAGE, IMAGE))


def images(n: int = N_STIMULI, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, IMAGE, IMAGE, 3), dtype=np.uint8)


def activations(network: Network, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """(stimulus, unit) float64 of every layer, by plain forward passes of the parts, without hooks."""
    module = network.module
    with torch.inference_mode():
        x = torch.stack([to_input(p) for p in pictures])
        conv1 = module.conv1(x)
        relu1 = torch.relu(conv1)
        conv2 = module.conv2(relu1)
        fc = module.fc(conv2.mean((2, 3)))
    outputs = {"conv1": conv1, "relu1": relu1, "conv2": conv2, "fc": fc}
    return {name: value.reshape(len(pictures), -1).numpy().astype(np.float64) for name, value in outputs.items()}


def planted_recording(
    network: Network, *, n: int = N_STIMULI, seed: int = 0, noise: float = 0.0, missing: float = 0.0, **about: object
) -> Recording:
    """Seven sites: 0 to 4 are copies of units (with noise), 5 and 6 respond at random."""
    rng = np.random.default_rng(seed)
    pictures = images(n, seed)
    units = activations(network, pictures)
    chosen = [
        units["relu1"][:, 700],
        units["conv2"][:, 100],
        units["fc"][:, 3],
        units["conv1"][:, 5],
        units["fc"][:, 0],
    ]
    sites = np.stack([(c - c.mean()) / c.std() for c in chosen], 1)
    sites = np.concatenate([sites, rng.normal(size=(n, 2))], 1) + noise * rng.normal(size=(n, 7))
    responses = np.maximum(10 + 3 * sites, 0) if noise else 10 + 3 * sites
    responses[rng.random(responses.shape) < missing] = np.nan
    settings = {
        "stimulus_ids": [f"image{i:03d}" for i in range(n)],
        "site_ids": [f"site{i}" for i in range(7)],
        "region": ["V4"] * 4 + ["IT"] * 3,
        "size_deg": 8.0,
        "name": "planted",
        **about,
    }
    return Recording.from_arrays(responses, pictures, **settings)
