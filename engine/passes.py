"""How is a network run just up to a layer, with gradients or without, and left as it was found?"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from engine.errors import LayerError
from engine.layers import require_known
from engine.tracing import forward_only, layer_name, single_tensor, split_name

if TYPE_CHECKING:
    from engine.networks import Network

Consume = Callable[[str, torch.Tensor], None]
"""Takes a layer's name and its maps, (batch, channel, y, x); a dense layer has y = x = 1."""


@contextmanager
def truncated(
    network: "Network", layers: Collection[str], consume: Consume, *, differentiable: bool = False
) -> Iterator[Callable[[torch.Tensor], None]]:
    """Yield a function that runs a batch of network input, of any height and width, up to the last of the layers.

    Unlike ``engine.activations.recorded`` it does not ask for the size of the probe image, and it can keep the graph.

    Parameters
    ----------
    network
        Whose ``layers`` table has the layers.
    layers
        Names, in any order; each is consumed once in a pass, in the order of execution.
    consume
        Called inside the hook. With ``differentiable`` the maps stay as the module returned them even if the network
        goes on to change its output in place.
    differentiable
        Whether autograd follows the pass to the input. Parameters ask for no gradients meanwhile; what they asked for
        before, hooks and training flags are given back on exit.

    Raises
    ------
    LayerError
        On entry, if a layer is unknown; from a pass, if a layer was not reached or gave no single tensor.
    """
    require_known(list(network.layers["name"]), layers)
    tap = _Tap(network, frozenset(layers), consume, differentiable)
    with ExitStack() as stack:
        mode = _differentiable if differentiable else forward_only
        stack.enter_context(mode(network.module, home(network)[0].type))
        for path in {split_name(name)[0] for name in layers}:
            handle = network.module.get_submodule(path).register_forward_hook(tap.hook(path))
            stack.callback(handle.remove)
        yield tap.run


def home(network: "Network") -> tuple[torch.device, torch.dtype]:
    """Device and floating type that the network computes in."""
    tensors = [*network.module.parameters(), *network.module.buffers()]
    found = [tensor for tensor in tensors if tensor.is_floating_point()]
    return (found[0].device, found[0].dtype) if found else (torch.device("cpu"), torch.float32)


@contextmanager
def on_device(network: "Network", device: torch.device) -> Iterator[None]:
    """Put the network on the device, and back afterwards."""
    before = home(network)[0]
    network.module.to(device)
    try:
        yield
    finally:
        network.module.to(before)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def probe_inputs(network: "Network", n: int, seed: int) -> torch.Tensor:
    """Network input of ``n`` images of seeded noise, (n, 3, h, w), where and as the network computes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, *network.image_size, 3)).astype(np.uint8)
    device, dtype = home(network)
    return torch.stack([network.preprocess(image) for image in images]).to(device, dtype)


@contextmanager
def _differentiable(module: nn.Module, device_type: str) -> Iterator[None]:
    training = [submodule for submodule in module.modules() if submodule.training]
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for submodule in training:
            submodule.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device_type, enabled=False):
            yield
    finally:
        for submodule in training:
            submodule.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


class _StopForward(BaseException):
    """Ends a pass early. Not an Exception, so that no ``except Exception`` in a module's forward can hold it up."""


class _Tap:
    """Counts the calls of the hooked modules within one pass and hands on the maps that were asked for."""

    def __init__(self, network: "Network", layers: frozenset[str], consume: Consume, differentiable: bool) -> None:
        self.network = network
        self.layers = layers
        self.consume = consume
        self.differentiable = differentiable
        self.calls: Counter[str] = Counter()
        self.missing: set[str] = set()

    def run(self, batch: torch.Tensor) -> None:
        self.calls.clear()
        self.missing = set(self.layers)
        try:
            self.network.module(batch)
        except _StopForward:
            return
        if self.missing:
            first = min(self.missing)
            raise LayerError(
                f"layer {first!r} of {self.network.name} was not reached in a forward pass of {tuple(batch.shape)}. "
                "The network's path depends on its input; leave that layer out."
            )

    def hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hand_on(module: nn.Module, args: Any, returned: Any) -> None:
            self.calls[path] += 1
            name = layer_name(path, self.calls[path])
            if name not in self.missing:
                return
            self.missing.remove(name)
            self.consume(name, self.maps(name, returned))
            if not self.missing:
                raise _StopForward

        return hand_on

    def maps(self, name: str, returned: Any) -> torch.Tensor:
        output = single_tensor(returned)
        if output is None or output.ndim > 4:
            raise LayerError(
                f"layer {name!r} of {self.network.name} returned no single tensor of at most 4 dimensions."
            )
        if self.differentiable and self.missing:  # the pass goes on, and may change this very output in place
            output = output.clone()
        if name in self.network.channels_last:
            output = output.movedim(-1, 1)
        channels, height, width = [*output.shape[1:], 1, 1, 1][:3]
        return output if output.ndim == 4 else output.reshape(len(output), channels, height, width)
