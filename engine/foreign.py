"""How are torchvision and timm imported, and what do their networks have in common?

Both are optional. Nothing else imports them, because torchvision's wheels do not import beside a torch without CUDA
until two of its operators have been declared.
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import library as operators
from torch import nn

from engine.errors import NetworkError
from engine.preprocessing import Preprocessing

INSTALL: Final = 'pip install "unitscope[networks]"'

_KEPT: list[operators.Library] = []
"""Declarations end with the object that made them."""


@dataclass(frozen=True)
class ForeignNetwork:
    """A network of another library, built and filled, and what is known of it."""

    module: nn.Module
    preprocess: Preprocessing
    weights: str
    """As in ``Network.metadata``: ``pretrained, ...``, ``random, seed N`` or ``file ...``."""
    notes: tuple[str, ...] = ()
    """What was taken for granted, for people."""
    metadata: dict[str, Any] = field(default_factory=dict)


def import_library(library: str, name: str) -> ModuleType:
    """Import torchvision or timm, also beside a torch without CUDA; ``name`` is the network's, for messages.

    Raises
    ------
    NetworkError
        If it is not installed, or cannot be imported beside this torch.
    """
    if find_spec(library) is None or find_spec("torchvision") is None:
        raise NetworkError(f"{name!r}: {library} is not installed. Run: {INSTALL}")
    _declare_missing_operators()
    try:
        return import_module(library)
    except Exception as error:  # compiled code that does not fit this torch fails in many ways
        raise NetworkError(
            f"{name!r}: {library} does not import beside torch {torch.__version__} ({type(error).__name__}: {error})."
            " Install the torchvision that was made for this torch; its release notes list the pairs."
        ) from error


def require_listed(name: str, known: Collection[str], library: str) -> str:
    """Return the part of ``torchvision:NAME`` after the colon, if the library lists it.

    Raises
    ------
    NetworkError
        If it does not, with the closest names that it does.
    """
    model = name.partition(":")[2]
    if model not in known:
        close = get_close_matches(model, known, n=3, cutoff=0.3) or sorted(known)[:3]
        raise NetworkError(
            f"{name!r}: {library} has no network {model!r} that classifies images, among {len(known)}; closest: "
            f"{', '.join(close)}."
        )
    return model


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have torch draw from ``seed`` on the processor; the global random state comes back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def with_library_errors(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    """Return what ``build`` makes; whatever it raises becomes a NetworkError."""
    try:
        return build()
    except Exception as error:  # what a library raises is its own business
        raise NetworkError(
            f"{name!r} cannot be built ({type(error).__name__}: {error}). Build it yourself and hand it over: "
            "engine.Network.from_module(module, preprocess)."
        ) from error


def unreachable(name: str, address: str, error: Exception) -> NetworkError:
    """Return the error of trained weights that are neither on this machine nor to be had."""
    return NetworkError(
        f"{name!r}: its trained weights are not on this machine, and could not be downloaded from {address} "
        f"({type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no reason given'}). "
        "Download them on a machine that can and give the file: weights=FILE in Python, --weights FILE on the command "
        "line. Untrained: weights='random'."
    )


def _declare_missing_operators() -> None:
    """Declare what torchvision's Python code registers against, where its compiled operators cannot be loaded.

    Networks and transforms need no more; ``torchvision.ops.nms`` itself stays without an implementation.
    """
    if torch.version.cuda is not None or _KEPT or "torchvision" in sys.modules or _loads_its_operators():
        return
    declared = operators.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(declared)


def _loads_its_operators() -> bool:
    spec = find_spec("torchvision")
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in Path(folder).glob("_C.*"):
            with suppress(OSError):  # built for CUDA
                torch.ops.load_library(str(file))
                return True
    return False
