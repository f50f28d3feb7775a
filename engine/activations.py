"""What do the layers of a network answer to a batch of stimuli? Their outputs, handed over while they are live."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from engine.errors import LayerError
from engine.layers import require_known
from engine.tracing import by_channel, by_unit, forward_only, layer_name, single_tensor, split_name

if TYPE_CHECKING:
    from engine.networks import Network
    from engine.stimuli import Stimuli


@contextmanager
def recorded(
    network: "Network",
    layers: Collection[str],
    consume: Callable[[str, torch.Tensor], None],
    *,
    stop_after_last: bool = True,
    channelwise: bool = False,
) -> Iterator[Callable[[torch.Tensor], None]]:
    """Record the named layers: yields a function that runs one forward pass on a batch of network input.

    The hooks exist only inside the ``with`` and are removed whatever happens in it. A pass runs in eval and inference
    mode with autocast off; the training flags of the modules are given back after it. TF32 is a setting of the process
    that this leaves alone: who needs exact float32 products on CUDA sets ``torch.backends`` around the ``with``.

    Parameters
    ----------
    network
        Whose ``layers`` table has the layers.
    layers
        Names; ``name@2`` is the second call of a module in a pass.
    consume
        Called with a layer's name and its activation, float32 (batch, unit), units in C order of (channel, y, x), from
        inside the hook: before anything can change the output in place. The activation is a view of the output where
        its layout in memory allows it: ``consume`` may read it, must not write to it, and copies what it wants to keep.
        Layers come in the order of execution, each exactly once in a pass.
    stop_after_last
        Whether the pass ends as soon as every named layer has been consumed.
    channelwise
        Hand over (batch, channel, position) instead: always a view, whatever lies side by side in memory.

    Raises
    ------
    LayerError
        On entry, if a layer is not in the network's table. From a pass, if a layer was not reached, or gave another
        number of units than the table says.
    """
    require_known(list(network.layers["name"]), layers)
    tap = _Tap(network, frozenset(layers), consume, stop_after_last, channelwise)
    with ExitStack() as stack:
        for path in {split_name(name)[0] for name in layers}:
            handle = network.module.get_submodule(path).register_forward_hook(tap.hook(path))
            stack.callback(handle.remove)
        yield tap.run


def input_batches(
    network: "Network", stimuli: "Stimuli", ids: np.ndarray, spans: Sequence[slice]
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield each span of ``ids`` and its network input, (batch, 3, h, w); the next batch is decoded meanwhile."""
    with ThreadPoolExecutor(1) as decoder:
        pending = decoder.submit(network.inputs, stimuli, ids[spans[0]].tolist())
        for span, upcoming in zip(spans, [*spans[1:], None], strict=True):
            inputs = pending.result()
            if upcoming is not None:
                pending = decoder.submit(network.inputs, stimuli, ids[upcoming].tolist())
            yield span, inputs


class _StopForward(BaseException):
    """Ends a pass early. Not an Exception, so that no ``except Exception`` in a module's forward can hold it up."""


class _Tap:
    """Counts the calls of the hooked modules within one pass and hands on the outputs that were asked for."""

    def __init__(
        self,
        network: "Network",
        layers: frozenset[str],
        consume: Callable[[str, torch.Tensor], None],
        stops: bool,
        channelwise: bool,
    ) -> None:
        self.network = network
        self.consume = consume
        self.stops = stops
        self.arrange = by_channel if channelwise else by_unit
        self.shapes = {
            row.name: (int(row.channels), int(row.height * row.width)) if channelwise else (int(row.units),)
            for row in network.layers.itertuples(index=False)
            if row.name in layers
        }
        self.calls: Counter[str] = Counter()
        self.missing: set[str] = set()
        self.batch = 0

    def run(self, batch: torch.Tensor) -> None:
        """One forward pass of a batch, (batch, 3, h, w) float32, on the module's device."""
        self.calls.clear()
        self.missing = set(self.shapes)
        self.batch = len(batch)
        try:
            with forward_only(self.network.module, batch.device.type):
                self.network.module(batch)
        except _StopForward:
            return
        if self.missing:
            first = next(name for name in self.shapes if name in self.missing)
            raise LayerError(
                f"{len(self.missing)} of {len(self.shapes)} layers of {self.network.name} were not reached in a "
                f"forward pass, first {first!r}. The network's path depends on its input; leave that layer out."
            )

    def hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hand_on(module: nn.Module, args: Any, returned: Any) -> None:
            self.calls[path] += 1
            name = layer_name(path, self.calls[path])
            if name not in self.missing:
                return
            self.consume(name, self.activation(name, returned))
            self.missing.remove(name)
            if self.stops and not self.missing:
                raise _StopForward

        return hand_on

    def activation(self, name: str, returned: Any) -> torch.Tensor:
        output = single_tensor(returned)
        expected = (self.batch, *self.shapes[name])
        if output is not None and len(output) == self.batch:
            activation = self.arrange(output, name in self.network.channels_last)
            if tuple(activation.shape) == expected:
                return activation.float()
        found = tuple(output.shape) if output is not None else type(returned).__name__
        raise LayerError(
            f"layer {name!r} of {self.network.name} returned {found}, expected (batch, units) = {expected} as on the "
            f"probe image. All stimuli must reach the network at one size: {self.network.image_size} was the probe's."
        )
