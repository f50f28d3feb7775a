"""What did units answer to every stimulus? One more pass over the stimuli of a run, for analyses that need activations.

Loads torch; an analysis imports this module only when it computes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from engine.activations import input_batches, recorded
from engine.allocation import freed_memory_kept
from engine.errors import MemoryBudgetError
from engine.layers import require_known
from engine.matching import choose_device, exact_float32, fixed_batch, halving
from engine.planning import format_bytes, parse_memory
from engine.pooling import fast_max_pooling

BLOCK = 4096
"""Units of a layer that are handed over at a time."""

LIVE_OUTPUTS = 4
"""Outputs of the size of the largest that a forward pass holds at once."""

LIVE_BLOCKS = 6
"""Arrays of the size of a block in float64 that live at once."""


def unit_activations(source: Any, units: Mapping[str, np.ndarray], stimuli: np.ndarray) -> dict[str, np.ndarray]:
    """Record the activations of chosen units, in a pass that stops at the deepest of their layers.

    Parameters
    ----------
    source
        With ``network``, ``recording``, ``device`` and ``progress``.
    units
        Indices into the (channel, y, x) of each layer, by its name.
    stimuli
        Ids, in the order of the result.

    Returns
    -------
    dict of str to np.ndarray
        For each layer (unit, stimulus) float32.
    """
    if not units:
        return {}
    found = {layer: np.empty((len(index), len(stimuli)), np.float32) for layer, index in units.items()}
    device = choose_device(str(source.device))
    wanted = {layer: torch.from_numpy(np.asarray(index, np.int64)).to(device) for layer, index in units.items()}

    def keep(layer: str, span: slice, activation: torch.Tensor) -> None:
        found[layer][:, span] = activation[:, wanted[layer]].T.cpu().numpy()

    with _ready(source, device):
        _pass(source, list(units), stimuli, device, keep, "activations of chosen units")
    return found


def unit_blocks(source: Any, layer: str, stimuli: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the activations of all units of a layer, block by block.

    As many units are held as the memory takes, as float32; there are as many passes over the stimuli as that needs.

    Parameters
    ----------
    source
        With ``network``, ``recording``, ``device``, ``memory`` and ``progress``.
    layer
        Its name.
    stimuli
        Ids, in the order of the result.

    Yields
    ------
    tuple of int and np.ndarray
        Index of the first unit, and (stimulus, unit) float64 of at most ``BLOCK`` units.

    Raises
    ------
    LayerError, MemoryBudgetError
        Before the first forward pass.
    """
    require_known(list(source.network.layers["name"]), [layer])
    n_units = int(source.network.layers.set_index("name").loc[layer, "units"])
    device, n = choose_device(str(source.device)), len(stimuli)
    at_once = units_at_once(source.network, n_units, n, source.memory, layer)
    passes = -(-n_units // at_once)
    edges = np.linspace(0, n_units, passes + 1).round().astype(int).tolist()
    for number, (first, last) in enumerate(pairwise(edges)):
        held = np.empty((n, last - first), np.float32)

        def keep(_: str, span: slice, activation: torch.Tensor, held: np.ndarray = held, first: int = first) -> None:
            held[span] = activation[:, first : first + held.shape[1]].cpu().numpy()

        told = f"activations of {layer}" + (f", part {number + 1} of {passes}" if passes > 1 else "")
        with _ready(source, device):
            _pass(source, [layer], stimuli, device, keep, told)
        for start in range(0, held.shape[1], BLOCK):
            yield first + start, held[:, start : start + BLOCK].astype(np.float64)


def units_at_once(network: Any, n_units: int, n_stimuli: int, memory: str | int, layer: str) -> int:
    """Return how many units of a layer can be held for all stimuli within the memory.

    Raises
    ------
    MemoryBudgetError
        If not even one block fits; names what would.
    """
    largest = max(int(network.largest_output), int(network.layers["units"].max()))
    forward = fixed_batch(torch.device("cpu")) * 4 * (LIVE_OUTPUTS * largest + 6 * int(np.prod(network.image_size)))
    fixed = forward + 8 * n_stimuli * (4 * n_stimuli + LIVE_BLOCKS * min(BLOCK, n_units))
    least = fixed + 4 * n_stimuli * min(BLOCK, n_units)
    budget = parse_memory(memory)
    if budget < least:
        raise MemoryBudgetError(
            f"memory={format_bytes(budget)} is too little to hold activations of layer {layer!r} over {n_stimuli} "
            f"stimuli: at least {format_bytes(least)} is needed. Give memory={-(-least // 2**20)}MiB or more."
        )
    return min((budget - fixed) // (4 * n_stimuli), n_units)


def _pass(
    source: Any,
    layers: list[str],
    stimuli: np.ndarray,
    device: torch.device,
    keep: Callable[[str, slice, torch.Tensor], None],
    step: str,
) -> None:
    def run(batch: int) -> None:
        span = slice(0, 0)

        def consume(layer: str, activation: torch.Tensor) -> None:
            keep(layer, span, activation)

        spans = [slice(first, min(first + batch, len(stimuli))) for first in range(0, len(stimuli), batch)]
        with recorded(source.network, layers, consume) as run_forward:
            for span, inputs in input_batches(source.network, source.recording.stimuli, stimuli, spans):
                run_forward(inputs.to(device))
                if source.progress is not None:
                    source.progress(step, span.stop, len(stimuli))

    halving(run, fixed_batch(device))


@contextmanager
def _ready(source: Any, device: torch.device) -> Iterator[None]:
    """Have the network on the device, in exact float32, and back afterwards."""
    module = source.network.module
    home = next((p.device for p in module.parameters()), torch.device("cpu"))
    module.to(device)
    try:
        with exact_float32(), freed_memory_kept(), fast_max_pooling(module):
            yield
    finally:
        module.to(home)
