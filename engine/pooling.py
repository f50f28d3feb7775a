"""Max pooling in half the time: with the channels side by side in memory while it runs, on a processor.

PyTorch pools such outputs several times faster, and a maximum is the same in any order, to the last bit. Convolutions
are left alone: theirs add in another order then, which moves r of sparse units by up to 1e-4.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def fast_max_pooling(module: nn.Module) -> Iterator[None]:
    """Rearrange what every ``MaxPool2d`` of a module on a processor takes and returns, inside the ``with``.

    Outputs come back contiguous, as they would have.
    """
    with ExitStack() as stack:
        for pool in (m for m in module.modules() if type(m) is nn.MaxPool2d and not m.return_indices):
            rearrangement = _Rearrangement()
            stack.callback(pool.register_forward_pre_hook(rearrangement.begin).remove)
            stack.callback(pool.register_forward_hook(rearrangement.end, prepend=True).remove)
        yield


class _Rearrangement:
    """Of the input of one call of a module, taken back in its output."""

    def __init__(self) -> None:
        self._is_made = False

    def begin(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        (maps,) = args
        self._is_made = maps.device.type == "cpu" and maps.ndim == 4 and maps.is_contiguous()
        return (maps.contiguous(memory_format=torch.channels_last),) if self._is_made else None

    def end(self, _: nn.Module, args: tuple[Any, ...], pooled: torch.Tensor) -> torch.Tensor | None:
        return pooled.contiguous() if self._is_made else None
