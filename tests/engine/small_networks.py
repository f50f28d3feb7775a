"""Small networks of every kind whose fields and crops are put to the test."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from engine.networks import Network
from engine.preprocessing import Preprocessing


def network_of(module: nn.Module, size: tuple[int, int] = (48, 48), layers: Sequence[str] | None = None) -> Network:
    preprocess = Preprocessing(resize=size, crop=None, scale=1 / 64, mean=(2.0,) * 3, sd=(1.0,) * 3)
    return Network.from_module(module, preprocess, layers=layers, image_size=size)


def seeded(make: type[nn.Module], *args, **settings) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return make(*args, **settings)


class Padded(nn.Module):
    """Asymmetric padding inside the forward, pools with and without ceil_mode, dilation: as SqueezeNet and worse."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.pool3 = nn.AvgPool2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.pool1(self.relu1(self.conv1(functional.pad(images, (0, 1, 0, 1)))))
        maps = functional.relu(self.conv2(maps))
        return self.pool3(functional.hardswish(self.conv3(maps)))


class Same(nn.Module):
    """Padding that depends on the size of what comes in, as TensorFlow's, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.deep = nn.Conv2d(4, 4, 5, stride=2)
        self.skip = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = functional.relu6(self.stem(self._same(images, 3)))
        maps = functional.relu6(self.deep(self._same(maps, 5)))
        return self.skip(maps) + maps

    @staticmethod
    def _same(images: torch.Tensor, kernel: int) -> torch.Tensor:
        height, width = (max((-(-n // 2) - 1) * 2 + kernel - n, 0) for n in images.shape[-2:])
        return functional.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))


class Upsampled(nn.Module):
    """Down by 4 and up again: neighbours share their field in groups of four."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.up = nn.Upsample(scale_factor=4)
        self.last = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(torch.tanh(self.down(images))))


class Excited(nn.Module):
    """A convolution, squeeze-and-excitation after it, and another convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.gate = nn.Linear(4, 4)
        self.last = nn.Conv2d(4, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.first(images)
        gate = torch.sigmoid(self.gate(maps.mean((2, 3))))
        return self.last(maps * gate[:, :, None, None])


class Attention(nn.Module):
    """Patches as tokens, one layer of self-attention, a position code: it insists on its input size."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.position = nn.Parameter(torch.randn(36, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.block(self.patches(images).flatten(2).mT + self.position)


class Shaded(nn.Module):
    """A convolution of the image darkened from left to right: what a crop gives depends on the crop's own size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images * torch.linspace(1, 2, images.shape[-1]))


class Hiding(nn.Module):
    """Looks two pixels aside through something that hides NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        aside = torch.nan_to_num(images.roll((5, 5), (2, 3)))
        return self.conv(images + aside)
