"""What do the modules of a network return? One traced forward pass describes every output, and compares values.

The values of an output are kept as hashes that do not depend on their order, so copies, views and concatenations are
found without holding any activation.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

WHOLE_NETWORK = "(output)"
"""Name of the output of the module itself, whose path is empty."""

_ODD = -7046029254386353131  # 2**64 / golden ratio, as a signed integer
_OVER_CHANNELS = {"linear", "layer_norm", "rms_norm"}
"""Functions that work on the last dimension, which then holds the channels."""

_PERMUTATIONS = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "mT"}


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an output's values, to find copies of them."""

    whole: tuple[int, ...] = ()
    """A hash of each image's values, whatever their order; zeros do not count."""
    channels: frozenset[int] = frozenset()
    """The same hash for each channel that varies over images and positions."""
    total: float = 0.0
    magnitude: float = 0.0
    """Sum of the values, and of their absolute values."""


@dataclass(frozen=True, eq=False)
class Output:
    """What one call of one module returned on the probe batch."""

    name: str
    kind: str
    module: nn.Module
    n_before: int
    """Outputs produced before this call began: later ones, up to this, come from inside it."""
    problem: str | None = None
    """Why it cannot be a layer at all, or None."""
    size: tuple[int, int, int] = (0, 0, 0)
    """Channels, height, width."""
    channels_last: bool = False
    readers: list[nn.Module] = field(default_factory=list)
    """Modules in whose forward the tensor was read, one entry a read."""
    values: Fingerprint = field(default_factory=Fingerprint)


def layer_name(path: str, call: int) -> str:
    """Name of the layer that the ``call``-th call (from 1) of the module at ``path`` gives."""
    return (path or WHOLE_NETWORK) + (f"@{call}" if call > 1 else "")


def split_name(name: str) -> tuple[str, int]:
    """Path of the module and number of the call (from 1) that ``layer_name`` made ``name`` of."""
    path, at, call = name.rpartition("@")
    if not (at and call.isdigit()):
        path, call = name, "1"
    return ("" if path == WHOLE_NETWORK else path), int(call)


@contextmanager
def forward_only(module: nn.Module, device_type: str) -> Iterator[None]:
    """Eval mode without gradients and autocast; every submodule's training flag is given back on exit."""
    were_training = [submodule for submodule in module.modules() if submodule.training]
    try:
        for submodule in were_training:
            submodule.training = False
        with torch.inference_mode(), torch.autocast(device_type, enabled=False):
            yield
    finally:
        for submodule in were_training:
            submodule.training = True


def single_tensor(returned: Any) -> torch.Tensor | None:
    """Return the float tensor that a module gave, alone or as the only one in a tuple or dict; else None."""
    tensors = _float_tensors(returned)
    return tensors[0] if len(tensors) == 1 else None


def by_unit(output: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """(batch, units) in C order of (channel, y, x); a view where the layout in memory allows it."""
    if channels_last:
        output = output.movedim(-1, 1)
    return output.reshape(len(output), -1)


def by_channel(output: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """(batch, channel, position); a view, whichever of the two lies side by side in memory."""
    if output.ndim == 1:
        return output.view(-1, 1, 1)
    if channels_last:
        output = output.movedim(-1, 1)
    return output.reshape(*output.shape[:2], -1)


def trace(module: nn.Module, probe: torch.Tensor, *, fingerprints: bool = True) -> list[Output]:
    """Everything that the modules return on one forward pass of a probe batch, in the order of production.

    Parameters
    ----------
    module
        Any module; it is put into eval mode for the pass.
    probe
        Network input, (batch, 3, h, w), float32, on the module's device.
    fingerprints
        Whether values are compared, which ``left_out`` needs; costs about as much as the pass.
    """
    outputs: list[Output] = []
    calls: Counter[str] = Counter()
    flow = _Dataflow()

    def begin(submodule: nn.Module, args: Any) -> None:
        flow.running.append((submodule, len(outputs)))

    def end(path: str, submodule: nn.Module, args: Any, returned: Any) -> None:
        _, n_before = flow.running.pop()
        calls[path] += 1
        with flow.paused():
            _keep_order(args, returned)
            name = layer_name(path, calls[path])
            outputs.append(_described(name, submodule, n_before, returned, len(probe), fingerprints))

    with ExitStack() as stack:
        for path, submodule in module.named_modules():
            begun = submodule.register_forward_pre_hook(begin)
            stack.callback(begun.remove)
            ended = submodule.register_forward_hook(lambda m, args, returned, path=path: end(path, m, args, returned))
            stack.callback(ended.remove)
        stack.enter_context(forward_only(module, probe.device.type))
        stack.enter_context(flow)
        module(probe)
    return outputs


def is_same(before: Output, after: Output) -> bool:
    """Whether two passes gave the same values, up to what a device's changing order of summation does to float32."""
    one, other = before.values, after.values
    return one.whole == other.whole or abs(one.total - other.total) <= 1e-6 * max(one.magnitude, other.magnitude)


def _described(name: str, module: nn.Module, n_before: int, returned: Any, batch: int, fingerprints: bool) -> Output:
    kind = type(module).__name__
    problem = _problem(returned, batch)
    if problem is not None:
        return Output(name, kind, module, n_before, problem)
    output = single_tensor(returned)
    assert output is not None
    notes = vars(output)
    # Three dimensions are (batch, tokens, channels), except where the module says that it is one-dimensional.
    channels_last = not kind.endswith("1d") if output.ndim == 3 else notes.get("channels_last", False)
    units = by_unit(output, channels_last)
    size = _size(output, channels_last)
    readers = notes.setdefault("readers", [])
    if not fingerprints:
        return Output(name, kind, module, n_before, None, size, channels_last, readers)
    values = Fingerprint(
        value_hash(units),
        _channel_hashes(units.view(batch, size[0], -1)),
        units.double().sum().item(),
        units.double().abs().sum().item(),
    )
    return Output(name, kind, module, n_before, None, size, channels_last, readers, values)


def _keep_order(args: Any, returned: Any) -> None:
    """Note of a module that gives back the shape which it was given, that its channels come last if they did there.

    Its output may have passed through other shapes inside, as in attention over windows.
    """
    output = single_tensor(returned)
    if output is not None and output.ndim == 4 and output.shape[1] != output.shape[-1]:
        given = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.shape == output.shape]
        if any(vars(arg).get("channels_last") for arg in given):
            vars(output)["channels_last"] = True


def _problem(returned: Any, batch: int) -> str | None:
    tensors = _float_tensors(returned)
    if len(tensors) == 0:
        found = (
            f"a tensor of {returned.dtype}" if isinstance(returned, torch.Tensor) else f"a {type(returned).__name__}"
        )
        return f"returns no float tensor but {found}"
    if len(tensors) > 1:
        return f"returns {len(tensors)} float tensors in a {type(returned).__name__}"
    shape = tuple(tensors[0].shape)
    if len(shape) not in (1, 2, 3, 4):
        return f"returns {len(shape)} dimensions, {shape}; expected 1 to 4"
    if shape[0] != batch:
        return f"returns {shape}, whose first dimension is not the batch of {batch}"
    return None if tensors[0].numel() else f"returns an empty tensor, {shape}"


def _float_tensors(returned: Any) -> list[torch.Tensor]:
    if isinstance(returned, torch.Tensor):
        return [returned] if returned.is_floating_point() else []
    leaves = tree_leaves(returned)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]


def _size(output: torch.Tensor, channels_last: bool) -> tuple[int, int, int]:
    shape = list(output.shape[1:])
    if channels_last:
        shape = [shape[-1], *shape[:-1]]
    channels, height, width = shape + [1] * (3 - len(shape))
    return channels, height, width


def value_hash(units: torch.Tensor) -> tuple[int, ...]:
    """Hash (batch, unit) to one integer an image, the same for any order of the units and any number of zeros."""
    return tuple(_mixed(units).sum(1).tolist())


def _channel_hashes(channels: torch.Tensor) -> frozenset[int]:
    prints = _mixed(channels).sum(2)
    weights = torch.arange(1, len(prints) + 1, device=prints.device)[:, None] * _ODD
    lowest, highest = channels.amin((0, 2)), channels.amax((0, 2))
    return frozenset((prints * weights).sum(0)[lowest != highest].tolist())


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """Turn equal values into equal pseudo-random integers, whose sum (mod 2**64) tells multisets apart."""
    bits = (values.float() + 0.0).contiguous().view(torch.int32)  # + 0.0: minus zero equals zero
    mixed = bits.long() * _ODD  # zero stays zero: padding changes no hash
    return (mixed ^ (mixed >> 29)) * _ODD


class _Dataflow(TorchFunctionMode):
    """Notes on the tensors themselves which module reads them, and whether their channels come last."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[tuple[nn.Module, int]] = []
        self._is_paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if self._is_paused or not results or not self.running:  # without a result it read a shape, not values
            return result
        if getattr(func, "__name__", "") in _OVER_CHANNELS:
            for made in (other for other in results if other.ndim == 4):
                vars(made)["channels_last"] = True
        for tensor in (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)):
            notes = vars(tensor)
            if "readers" in notes:
                notes["readers"].append(self.running[-1][0])
            if notes.get("channels_last") and getattr(func, "__name__", "") not in _PERMUTATIONS:
                for same in (other for other in results if other.shape == tensor.shape):
                    vars(same)["channels_last"] = True
        return result
