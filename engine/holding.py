"""What do all units of a network answer to all stimuli? Held, piece by piece, while something is done with them.

A piece is a layer, or as many of its feature maps as the memory takes. Whatever is asked of a piece while it is held,
for other stimuli, other columns, a thousand times over, costs no further forward pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.activations import input_batches, recorded
from engine.allocation import freed_memory_kept
from engine.blocks import Arena, Block
from engine.errors import MemoryBudgetError
from engine.footprints import OVERHEAD
from engine.layers import require_known
from engine.matching import choose_device, exact_float32, fixed_batch, halving
from engine.networks import Network
from engine.passes import on_device
from engine.planning import LIVE_LAYERS, format_bytes, parse_memory
from engine.pooling import fast_max_pooling

if TYPE_CHECKING:
    from engine.sources import Source


@dataclass(frozen=True)
class Held:
    """Some whole feature maps of a layer: their activations for all stimuli, valid until the next piece is asked for.

    Attributes
    ----------
    layer, index
        Name of the layer, and its place in the network's table.
    first_unit
        Index in the layer, in C order of (channel, y, x), of the first unit; the others follow without a gap.
    block
        (stimulus, unit) float32, stimuli in the order that was asked for.
    """

    layer: str
    index: int
    first_unit: int
    block: Block

    @property
    def n_units(self) -> int:
        """Units that are held."""
        return self.block.order.channels * self.block.order.area

    def activation(self, units: np.ndarray) -> np.ndarray:
        """Activations (unit, stimulus) float32 of units, named by their index in the layer."""
        return self.block.of_units(units - self.first_unit)


@dataclass(frozen=True)
class _Piece:
    layer: str
    channels: slice
    area: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels.stop - self.channels.start, self.area, 1

    @property
    def n_units(self) -> int:
        return prod(self.shape)


def hold_layers(
    source: "Source", ids: Sequence[str], *, layers: Sequence[str] | None = None, reserve: int = 0
) -> Iterator[Held]:
    """Pass the stimuli through the network as often as the memory asks for, and yield every layer, held, in order.

    Parameters
    ----------
    source
        Network, stimuli, device, memory; its progress is told ``"passing"``. The network is on the device while the
        pieces come, and back afterwards.
    ids
        Stimuli, in the order in which they will lie in every block.
    layers
        Names; None: all layers of the network's table.
    reserve
        Bytes that whoever asks needs for work of its own, out of the source's memory.

    Raises
    ------
    MemoryBudgetError, LayerError
        Before the first forward pass.
    """
    network, device = source.network, choose_device(str(source.device))
    names = network.layers["name"].tolist()
    require_known(names, names if layers is None else layers)
    wanted = [name for name in names if layers is None or name in set(layers)]
    passes = _passes(network, wanted, len(ids), device, parse_memory(source.memory), reserve)
    arena = Arena(max(sum(Arena.bytes_for(len(ids), p.n_units) for p in pieces) for pieces in passes), device)
    with ready(network, device):
        for number, pieces in enumerate(passes):
            blocks = _fill(source, np.asarray(ids, str), pieces, arena, device, (number, len(passes)))
            for piece, block in zip(pieces, blocks, strict=True):
                yield Held(piece.layer, names.index(piece.layer), piece.channels.start * piece.area, block)


def _passes(
    network: Network, layers: list[str], n_stimuli: int, device: torch.device, memory: int, reserve: int
) -> list[list[_Piece]]:
    """Pieces of each pass: as few passes as the memory allows, filled from the last layer backwards."""
    table = network.layers.set_index("name").loc[layers]
    fixed = _fixed_bytes(network, device) + reserve
    area = (table["height"] * table["width"]).astype(int)
    room = (memory - fixed) // (4 * n_stimuli)
    if room < area.max():
        needed = fixed + 4 * n_stimuli * int(area.max())
        raise MemoryBudgetError(
            f"memory={format_bytes(memory)} is too little to hold one feature map of layer {area.idxmax()!r} for "
            f"{n_stimuli} stimuli: at least {format_bytes(needed)} is needed. Give memory={-(-needed // 2**20)}MiB or "
            "more."
        )
    passes: list[list[_Piece]] = [[]]
    for name in reversed(layers):
        for piece in reversed(_cut(name, int(table.loc[name, "channels"]), int(area[name]), room)):
            if sum(p.n_units for p in passes[0]) + piece.n_units > room:
                passes.insert(0, [])
            passes[0].insert(0, piece)
    return passes


def _cut(layer: str, channels: int, area: int, room: int) -> list[_Piece]:
    """Whole feature maps, in as few and even pieces as have room."""
    n_pieces = -(-channels // max(room // area, 1))
    edges = [channels * k // n_pieces for k in range(n_pieces + 1)]
    return [_Piece(layer, slice(a, b), area) for a, b in pairwise(edges)]


def _fixed_bytes(network: Network, device: torch.device) -> int:
    """What lives beside the blocks: a batch in its forward pass, and Python's own."""
    live = LIVE_LAYERS * 4 * max(network.largest_output, int(network.layers["units"].max()))
    return OVERHEAD + fixed_batch(device) * (live + 2 * 4 * 3 * int(np.prod(network.image_size)))


def _fill(
    source: "Source",
    ids: np.ndarray,
    pieces: Sequence[_Piece],
    arena: Arena,
    device: torch.device,
    turn: tuple[int, int],
) -> list[Block]:
    named = arena.blocks(len(ids), {str(k): piece.shape for k, piece in enumerate(pieces)})
    blocks = list(named.values())
    layers = list(dict.fromkeys(piece.layer for piece in pieces))
    number, n_passes = turn

    def fill(batch: int) -> None:
        spans = [slice(start, min(start + batch, len(ids))) for start in range(0, len(ids), batch)]
        span = spans[0]

        def put(name: str, activation: torch.Tensor) -> None:
            for piece, block in zip(pieces, blocks, strict=True):
                if piece.layer == name:
                    block.put(span.start, activation[:, piece.channels])

        with recorded(source.network, layers, put, channelwise=True) as run_forward:
            for span, inputs in input_batches(source.network, source.recording.stimuli, ids, spans):
                run_forward(inputs.to(device))
                if source.progress is not None:
                    source.progress("passing", number * len(ids) + span.stop, n_passes * len(ids))

    halving(fill, fixed_batch(device))
    return blocks


@contextmanager
def ready(network: Network, device: torch.device) -> Iterator[None]:
    """Have the network on its device, exact and fast, inside the ``with``."""
    with on_device(network, device), exact_float32(), freed_memory_kept(), fast_max_pooling(network.module):
        yield
