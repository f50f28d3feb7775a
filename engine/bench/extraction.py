"""Activations as most people take them: plain forward hooks, everything held as float32 arrays."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.tracing import layer_name, single_tensor


def held_activations(
    module: nn.Module, batches: Iterable[torch.Tensor], names: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Pass once over the stimuli, then yield each layer's activations, (stimulus, unit) float32, and let go of them."""
    held: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with hooked(module, held, lambda name, a: held[name].append(a.copy())) as forward:
        for inputs in batches:
            forward(inputs)
    for name in names:
        yield name, np.concatenate(held.pop(name))


@contextmanager
def hooked(
    module: nn.Module, names: Container[str], keep: Callable[[str, np.ndarray], None]
) -> Iterator[Callable[[torch.Tensor], None]]:
    """Plain hooks: ``keep`` is given a layer's name and its activation (batch, unit), of every layer in ``names``."""
    calls: Counter[str] = Counter()

    def hook(path: str) -> Callable[..., None]:
        def take(module: nn.Module, args: Any, output: Any) -> None:
            calls[path] += 1
            name = layer_name(path, calls[path])
            tensor = single_tensor(output) if name in names else None
            if tensor is not None:
                keep(name, tensor.reshape(len(tensor), -1).float().numpy())

        return take

    def forward(inputs: torch.Tensor) -> None:
        calls.clear()
        module(inputs)

    handles = [part.register_forward_hook(hook(path)) for path, part in module.named_modules()]
    try:
        yield forward
    finally:
        for handle in handles:
            handle.remove()
