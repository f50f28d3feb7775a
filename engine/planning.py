"""How a match fits into its memory: which layers share a pass over the stimuli, and how many stimuli go at a time."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import MemoryBudgetError, SettingsError

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}

BATCHES = (64, 32, 16, 8, 4, 2, 1)
"""Stimuli at a time, the largest that leaves room for the sums first."""

EFFICIENT_BATCH = 8
"""Below, a forward pass wastes more time than a further pass costs."""

LIVE_LAYERS = 4
"""Outputs of the size of the largest layer that a forward pass and the products hold at once."""


@dataclass(frozen=True)
class LayerSize:
    """A layer's name and units."""

    name: str
    units: int


@dataclass(frozen=True)
class Plan:
    """Passes over the stimuli, each with its layers; memory in bytes above the loaded network."""

    passes: tuple[tuple[str, ...], ...]
    batch: int
    memory: int
    peak: int

    def describe(self) -> str:
        """Say the plan in one line."""
        return (
            f"{len(self.passes)} pass{'es' if len(self.passes) > 1 else ''} over the stimuli, {self.batch} at a time, "
            f"about {format_bytes(self.peak)} of {format_bytes(self.memory)}"
        )


def parse_memory(memory: str | int) -> int:
    """Read an amount of memory such as ``"4GiB"``, ``"512 MB"`` or a number of bytes.

    Raises
    ------
    SettingsError
        If it is no positive amount.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", str(memory))
    if not found or found[2].lower() not in _UNITS or float(found[1]) <= 0:
        raise SettingsError(
            f"memory={memory!r} is no amount of memory. Write for example '4GiB', '512MiB' or a number of bytes."
        )
    return int(float(found[1]) * _UNITS[found[2].lower()])


def format_bytes(n: float) -> str:
    """Write an amount of memory with three digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(n) < 1000:
            return f"{n:.3g} {unit}"
        n /= 1024
    return f"{n:.3g} TiB"


def plan_passes(
    layers: list[LayerSize],
    *,
    memory: int,
    bytes_per_unit: Callable[[int], int],
    input_bytes: int,
    fixed_bytes: int,
    largest_units: int,
    n_stimuli: int,
    batch: int | None = None,
) -> Plan:
    """Group consecutive layers so that the sums of a group, a batch and what is kept fit into the memory.

    Parameters
    ----------
    layers
        In execution order.
    memory
        Bytes above the process with its network loaded and used once.
    bytes_per_unit
        Sums of one unit for a number of stimuli at a time, see ``PairMoments.bytes_per_unit``.
    input_bytes
        One stimulus as the network takes it.
    fixed_bytes
        Results, responses and the workspace of the ranking.
    largest_units
        Units of the largest output in the network, listed or not.
    n_stimuli
        Batches are not larger than this.
    batch
        Stimuli at a time, if the caller decides.

    Raises
    ------
    MemoryBudgetError
        If not even one layer at a time fits; the message names the smallest memory that does.
    """
    live = LIVE_LAYERS * 4 * largest_units + 2 * input_bytes
    choices = [batch] if batch else sorted({min(b, n_stimuli) for b in BATCHES}, reverse=True)
    biggest = max(layer.units for layer in layers)
    minimum = min(fixed_bytes + biggest * bytes_per_unit(size) + size * live for size in choices)
    if minimum > memory:
        sums = format_bytes(biggest * bytes_per_unit(choices[0]))
        raise MemoryBudgetError(
            f"memory={format_bytes(memory)} is too little for this network and recording: at least "
            f"{format_bytes(minimum)} is needed (the sums of the largest layer alone take {sums}). "
            f"Give memory={-(-minimum // 2**20)}MiB or more, or leave out the largest layers."
        )
    plans = [_group(layers, memory, bytes_per_unit(size), fixed_bytes + size * live, size) for size in choices]
    feasible = [plan for plan in plans if plan is not None]
    feasible = [plan for plan in feasible if plan.batch >= EFFICIENT_BATCH] or feasible
    return min(feasible, key=lambda plan: (len(plan.passes), -plan.batch))


def _group(layers: list[LayerSize], memory: int, bytes_per_unit: int, rest: int, batch: int) -> Plan | None:
    room = memory - rest
    groups: list[list[str]] = []
    sums, largest = room + 1, 0
    for layer in layers:
        size = layer.units * bytes_per_unit
        if size > room:
            return None
        if sums + size > room:
            groups.append([])
            sums = 0
        groups[-1].append(layer.name)
        sums += size
        largest = max(largest, sums)
    return Plan(tuple(map(tuple, groups)), batch, memory, rest + largest)
