"""How many bytes does a computation move? Counted: each operation reads its operands once and writes its result once.

Counted are torch's operations on the thread that runs them, whether or not a cache held what they read: the network,
copies, products. Views cost nothing; lookups by index read what they return. Decoding, which match and floor both do on
the side, and numpy are not in it; compiled kernels, which torch does not see, enter as ``KERNEL_READS``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KERNEL_READS = 1
"""Times that compiled kernels read every activation; a tile then stays in a core's cache. Where products are summed,
each batch also reads and writes the sums of every column once."""

_ALLOCATIONS = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
_LOOKUPS = ("index", "index_select", "gather", "take", "embedding")


class TrafficCounter(TorchDispatchMode):
    """Counts the bytes of torch's operations inside its ``with``, see ``n_bytes``."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func.__name__.split(".")[0]
        operands, results = _tensors((args, kwargs)), _tensors(result)
        if operation in _ALLOCATIONS or _is_view(func, operands, results):
            return result
        if operation in _LOOKUPS:
            operands = [*operands[1:], *results]
        self.n_bytes += sum(map(_n_bytes, operands)) + sum(map(_n_bytes, results))
        return result


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _is_view(func: Any, operands: list[torch.Tensor], results: list[torch.Tensor]) -> bool:
    held = {tensor.untyped_storage().data_ptr() for tensor in operands}
    return not func._schema.is_mutable and all(tensor.untyped_storage().data_ptr() in held for tensor in results)


def _n_bytes(tensor: torch.Tensor) -> int:
    """What a tensor takes in memory; one that is expanded is not larger than what it is expanded from."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
