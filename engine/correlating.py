"""How does every unit of a network correlate with some sites? One pass over the stimuli, nothing ranked, all kept.

The sums and the arithmetic are those of a match, so that r is the same to 1e-6 where both have it.
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from engine.activations import input_batches, recorded
from engine.errors import MemoryBudgetError
from engine.footprints import OVERHEAD, ranking_bytes
from engine.holding import ready
from engine.matching import choose_device, fixed_batch, halving
from engine.moments import PairMoments, TargetSums, product_dtype
from engine.planning import LIVE_LAYERS, format_bytes, parse_memory
from engine.schema import STIMULUS
from engine.summaries import maps_at_once
from engine.targets import Targets, make_targets
from engine.tiling import Columns, TileSums, tile_threads

if TYPE_CHECKING:
    from engine.networks import Network
    from engine.sources import Source

Shape = tuple[int, int, int]


def correlate_units(source: "Source", recording: xr.Dataset) -> np.ndarray:
    """Correlate every unit of the network with every site, in one pass over the stimuli.

    Parameters
    ----------
    source
        Network, stimuli, device, memory; its progress is told ``"correlating"``.
    recording
        ``response`` (stimulus, site), NaN = missing, and ``region`` (site): of a run, with the sites that are wanted.

    Returns
    -------
    np.ndarray
        (site, unit) float32, Pearson's r over the stimuli that the site saw; layers one after the other in the order of
        the network's table, units of each in C order of (channel, y, x). NaN where there is no r: the unit or the site
        does not vary, or has values that are not finite.

    Raises
    ------
    MemoryBudgetError
        Before the forward pass, if the sums of so many sites do not fit; names how many would.
    """
    network, device = source.network, choose_device(str(source.device))
    together = xr.DataArray(
        np.zeros(recording.sizes[STIMULUS], np.int64), {STIMULUS: recording[STIMULUS].values}, [STIMULUS]
    )
    targets = make_targets(recording, together, shuffles=0, seed=0)
    require_room(network, targets, device, parse_memory(source.memory))
    with ready(network, device):
        if device.type == "cpu" and targets.n_patterns == 1:
            return halving(lambda batch: _in_tiles(source, targets, batch), fixed_batch(device))
        return halving(lambda batch: _in_chunks(source, targets, device, batch), fixed_batch(device))


def _in_tiles(source: "Source", targets: Targets, batch: int) -> np.ndarray:
    shapes, columns = _shapes(source.network), Columns(targets)
    products = np.float32 if product_dtype(targets, batch) == torch.float32 else np.float64
    sums = {name: TileSums(shape, columns, products) for name, shape in shapes.items()}
    with tile_threads(torch.get_num_threads()) as in_threads:

        def add(name: str, activation: torch.Tensor, start: int) -> None:
            sums[name].add(activation, start, 0, in_threads)

        _pass(source, targets, torch.device("cpu"), batch, add, is_channelwise=True)
    r = np.empty((targets.n_columns, sum(map(prod, shapes.values()))), np.float32)
    for name, units in _spans(shapes).items():
        r[:, units] = sums.pop(name).correlations(torch.get_num_threads())
    return r


def _in_chunks(source: "Source", targets: Targets, device: torch.device, batch: int) -> np.ndarray:
    shapes, columns = _shapes(source.network), TargetSums(targets, device)
    products = product_dtype(targets, batch)
    moments = {name: PairMoments(prod(shape), columns, products) for name, shape in shapes.items()}

    def add(name: str, activation: torch.Tensor, start: int) -> None:
        moments[name].add(activation, start, 0)

    _pass(source, targets, device, batch, add, is_channelwise=False)
    r = np.empty((targets.n_columns, sum(map(prod, shapes.values()))), np.float32)
    for name, units in _spans(shapes).items():
        own, area = moments.pop(name), prod(shapes[name][1:])
        step = maps_at_once(targets, area) * area
        for first in range(0, own.n_units, step):
            last = min(first + step, own.n_units)
            r[:, units.start + first : units.start + last] = own.correlation([0], slice(first, last)).cpu().numpy()
    return r


def _pass(
    source: "Source",
    targets: Targets,
    device: torch.device,
    batch: int,
    add: Callable[[str, torch.Tensor, int], None],
    *,
    is_channelwise: bool,
) -> None:
    n, start = len(targets.stimuli), 0
    spans = [slice(first, min(first + batch, n)) for first in range(0, n, batch)]

    def consume(name: str, activation: torch.Tensor) -> None:
        add(name, activation, start)

    names = source.network.layers["name"].tolist()
    with recorded(source.network, names, consume, channelwise=is_channelwise) as run_forward:
        for span, inputs in input_batches(source.network, source.recording.stimuli, targets.stimuli, spans):
            start = span.start
            run_forward(inputs.to(device))
            if source.progress is not None:
                source.progress("correlating", span.stop, n)


def require_room(network: "Network", targets: Targets, device: torch.device, memory: int) -> None:
    """Pass if the sums of all columns, beside a batch in its forward pass and the result, fit into the memory.

    Raises
    ------
    MemoryBudgetError
        Naming the memory that they take, and how many columns would fit.
    """
    n_units = int(network.layers["units"].sum())
    largest = max(network.largest_output, int(network.layers["units"].max()))
    inputs = 2 * 4 * 3 * int(np.prod(network.image_size))
    fixed = OVERHEAD + fixed_batch(device) * (LIVE_LAYERS * 4 * largest + inputs)
    if device.type != "cpu" or targets.n_patterns > 1:
        fixed += ranking_bytes(targets, int((network.layers["height"] * network.layers["width"]).max()))
    of_unit = PairMoments.bytes_per_unit(1, 0, targets.n_patterns, torch.float64)
    of_pair = torch.float64.itemsize + np.dtype(np.float32).itemsize
    needed = fixed + n_units * (of_unit + of_pair * targets.n_columns)
    if needed <= memory:
        return
    fitting = (memory - fixed - n_units * of_unit) // (n_units * of_pair)
    fewer = f", or name at most {fitting} at a time" if fitting > 0 else ""
    raise MemoryBudgetError(
        f"memory={format_bytes(memory)} is too little to correlate {n_units:,} units with {targets.n_columns} sites in "
        f"one pass: at least {format_bytes(needed)} is needed. Give memory={-(-needed // 2**20)}MiB or more{fewer}."
    )


def _shapes(network: "Network") -> dict[str, Shape]:
    return {row.name: (int(row.channels), int(row.height), int(row.width)) for row in network.layers.itertuples()}


def _spans(shapes: dict[str, Shape]) -> dict[str, slice]:
    """Where the units of each layer lie among those of all layers."""
    edges = np.concatenate([[0], np.cumsum([prod(shape) for shape in shapes.values()])]).tolist()
    return {name: slice(*edge) for name, edge in zip(shapes, pairwise(edges), strict=True)}
