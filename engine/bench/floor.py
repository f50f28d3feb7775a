"""What can no match leave out? Decode once, one forward pass without hooks, one float32 product for each layer.

The forward pass is measured as the network comes and with its channels last in memory, which pooling and convolutions
of a processor like better: two floors. Each has its best batch, a tuned allocator and full float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import nn

from engine.activations import recorded
from engine.allocation import freed_memory_kept
from engine.bench.traffic import TrafficCounter
from engine.matching import exact_float32
from engine.networks import Network
from engine.recordings import Recording

BATCHES = (8, 16, 32, 64)
LAYOUTS = {"as the network comes": torch.contiguous_format, "channels last": torch.channels_last}
AS_IT_COMES, CHANNELS_LAST = LAYOUTS

TILE_BYTES = 2**28
"""Activations that a product is timed on at a time: far more than any cache holds."""

N_TRIALS = 2
"""After one that prepares the kernels; the shorter counts, since whatever else runs can only add."""


@dataclass(frozen=True)
class Floor:
    """Seconds of the steps, once."""

    decode_s: float
    forward_s: float
    """As the network comes."""
    forward_channels_last_s: float
    product_s: float

    @property
    def as_it_comes_s(self) -> float:
        """The floor as it is defined: nothing about the network changed."""
        return self.decode_s + self.forward_s + self.product_s

    @property
    def best_s(self) -> float:
        """The floor in the faster of the two layouts."""
        return self.decode_s + min(self.forward_s, self.forward_channels_last_s) + self.product_s


class FloorMeter:
    """Finds the best batch for each layout and the faster product once; then measures floors.

    Parameters
    ----------
    network
        On the processor.
    recording
        Whose stimuli are decoded and whose responses are multiplied.
    """

    def __init__(self, network: Network, recording: Recording) -> None:
        self.network, self.stimuli = network, recording.stimuli
        self.modules = {
            AS_IT_COMES: network.module,
            CHANNELS_LAST: deepcopy(network.module).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        }
        response = recording.data["response"].transpose("site", "stimulus").values
        self.z = torch.from_numpy(np.nan_to_num(response).astype(np.float32))
        with _tuned():
            inputs = self._decoded(0)
            self.batch = {layout: self._best_batch(layout, inputs) for layout in LAYOUTS}
            self.multiply = self._faster_product(inputs)

    def measure(self) -> Floor:
        """Measure every step once, the two layouts in turn on every 64 images."""
        decode_s, forward_s = 0.0, dict.fromkeys(LAYOUTS, 0.0)
        with _tuned():
            for first in range(0, len(self.stimuli), BATCHES[-1]):
                start = perf_counter()
                inputs = self._decoded(first)
                decode_s += perf_counter() - start
                for layout in LAYOUTS:
                    forward_s[layout] += self._forward_s(layout, inputs, self.batch[layout])
            product_s = self._products_s(self._decoded(0))
        return Floor(decode_s, forward_s[AS_IT_COMES], forward_s[CHANNELS_LAST], product_s)

    def choices(self) -> dict[str, str]:
        """Say what turned out best: batch by layout, and product."""
        batches = {layout: f"batch {batch}" for layout, batch in self.batch.items()}
        return {**batches, "product": self.multiply.__name__.replace("_", ".", 1)}

    def count_bytes(self) -> dict[str, int]:
        """Bytes that the floor moves in each layout, as ``engine.bench.traffic`` counts; decoding is not in it."""
        n_sites, n_stimuli = self.z.shape
        units = self.network.layers["units"]
        product = int(sum(4 * (n_sites * n_stimuli + (n_stimuli + n_sites) * n) for n in units))
        found = {}
        for layout in LAYOUTS:
            n_whole, rest = divmod(n_stimuli, self.batch[layout])
            found[layout] = product + n_whole * self._forward_bytes(layout, self.batch[layout])
            found[layout] += self._forward_bytes(layout, rest) if rest else 0
        return found

    def _forward_bytes(self, layout: str, batch: int) -> int:
        inputs = self._decoded(0)[:batch]
        with torch.inference_mode(), TrafficCounter() as counter:
            _forward(self.modules[layout], inputs, batch, LAYOUTS[layout])
        return counter.n_bytes

    def _decoded(self, first: int) -> torch.Tensor:
        return self.network.inputs(self.stimuli, self.stimuli.ids[first : first + BATCHES[-1]])

    def _best_batch(self, layout: str, inputs: torch.Tensor) -> int:
        choices = sorted({min(batch, len(inputs)) for batch in BATCHES})
        seconds = {
            batch: [self._forward_s(layout, inputs, batch) for _ in range(N_TRIALS + 1)][1:] for batch in choices
        }
        return min(choices, key=lambda batch: min(seconds[batch]))

    def _forward_s(self, layout: str, inputs: torch.Tensor, batch: int) -> float:
        start = perf_counter()
        _forward(self.modules[layout], inputs, batch, LAYOUTS[layout])
        return perf_counter() - start

    def _faster_product(self, inputs: torch.Tensor) -> "Product":
        largest = self.network.layers["name"].iloc[int(self.network.layers["units"].argmax())]
        seconds: dict[Product, list[float]] = {torch_mm: [], numpy_matmul: []}
        for _ in range(N_TRIALS + 1):
            for product in seconds:
                seconds[product].append(self._products_s(inputs[:8], [largest], product))
        return min(seconds, key=lambda product: min(seconds[product][1:]))

    def _products_s(
        self, inputs: torch.Tensor, layers: list[str] | None = None, product: "Product | None" = None
    ) -> float:
        """Seconds of the product of each layer with real activations, those of ``inputs`` repeated to all stimuli.

        Values repeat, sizes do not shrink: zeros are as many as the layer has, and no kernel here looks at values.
        """
        seconds, n_stimuli = 0.0, self.z.shape[1]
        multiply = product or self.multiply
        row = torch.arange(n_stimuli) % len(inputs)

        def time_product(name: str, activation: torch.Tensor) -> None:
            nonlocal seconds
            for units in activation.split(max(1, TILE_BYTES // (4 * n_stimuli)), dim=1):
                tile, out = units[row], torch.zeros(len(self.z), units.shape[1])
                start = perf_counter()
                multiply(self.z, tile, out)
                seconds += perf_counter() - start

        with recorded(self.network, layers or self.network.layers["name"].tolist(), time_product) as run:
            run(inputs)
        return seconds


Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]
"""Multiplies (site, stimulus) by (stimulus, unit) into (site, unit)."""


def torch_mm(z: torch.Tensor, tile: torch.Tensor, out: torch.Tensor) -> object:
    """By torch.mm."""
    return torch.mm(z, tile, out=out)


def numpy_matmul(z: torch.Tensor, tile: torch.Tensor, out: torch.Tensor) -> object:
    """By numpy.matmul."""
    return np.matmul(z.numpy(), tile.numpy(), out=out.numpy())


def _forward(module: nn.Module, inputs: torch.Tensor, batch: int, layout: torch.memory_format) -> None:
    for part in inputs.split(batch):
        module(part.contiguous(memory_format=layout))


@contextmanager
def _tuned() -> Iterator[None]:
    with freed_memory_kept(), exact_float32(), torch.inference_mode():
        yield
