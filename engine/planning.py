"""How a match fits into its memory: which layers share a pass over the stimuli, and how many stimuli go at a time."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

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
"""Stimuli at a time where products are summed."""

EFFICIENT_BATCH = 8
"""With fewer stimuli at a time a forward pass takes up to twice as long."""

LIVE_LAYERS = 6
"""Outputs of the size of the largest layer that a forward pass holds at once: convolved, rectified, rearranged for
pooling, pooled; and what malloc keeps between them."""


@dataclass(frozen=True)
class LayerSize:
    """A layer's name and units."""

    name: str
    units: int


@dataclass(frozen=True)
class Way:
    """One way to run a match, and what its passes hold."""

    is_held: bool
    """Activations of all stimuli are held; else sums of products are, and one more pass scores the best."""
    batch: int
    """Stimuli at a time."""
    bytes_per_unit: int
    fixed_bytes: int
    """Whatever does not grow with the units of a pass."""


@dataclass(frozen=True)
class Seconds:
    """Expected time of a match's steps, for all stimuli."""

    decode: float
    forward: Mapping[str, float]
    """Until a layer is there, by its name."""
    summarise: Callable[[Way, int], float]
    """Hold or sum a number of units in a way, and rank them."""
    take: Callable[[int], float]
    """A number of bytes from the system, once."""
    touch: Callable[[int], float]
    """Read or write a number of bytes, once."""

    def least(self, layers: Sequence[LayerSize], way: Way) -> float:
        """What no way can do without: every stimulus decoded and passed once."""
        return self.decode + self.forward[layers[-1].name] + self.summarise(way, sum(layer.units for layer in layers))

    def of(self, groups: Sequence[Sequence[LayerSize]], way: Way, *, keeps_inputs: bool) -> float:
        """The whole match: passes over these groups of layers, and the one that scores the best.

        Passes that hold activations use the same memory again, so that more and smaller ones can be faster.
        """
        ends = [self.forward[group[-1].name] for group in groups]
        if not way.is_held:
            slower = 1 + max(0, EFFICIENT_BATCH - way.batch) / EFFICIENT_BATCH
            ends = [*(slower * end for end in ends), max(ends)]
        sizes = [sum(layer.units for layer in group) for group in groups]
        taken = self.take((max(sizes) if way.is_held else sum(sizes)) * way.bytes_per_unit)
        decoded = self.decode * (1 if keeps_inputs else len(ends))
        return sum(ends) + self.summarise(way, sum(sizes)) + taken + decoded


@dataclass(frozen=True)
class Plan:
    """Passes over the stimuli, each with its layers; memory in bytes above the loaded network."""

    passes: tuple[tuple[str, ...], ...]
    is_held: bool
    keeps_inputs: bool
    batch: int
    memory: int
    peak: int
    seconds: float
    cuts: tuple[str | None, ...] = ()
    """Of each pass the layer where it goes on, whose output an earlier one kept; None, or no entry: at the images."""

    def steps(self) -> Iterator[tuple[tuple[str, ...], str | None, str | None]]:
        """Yield the layers of each pass, the cut where it goes on, and the one that it keeps anew for later passes."""
        following = (*self.cuts[1:], None)
        for layers, cut, later in zip_longest(self.passes, self.cuts, following[: len(self.passes)]):
            yield layers, cut, None if later == cut else later

    def describe(self) -> str:
        """Say the plan in one line."""
        what = "activations held" if self.is_held else "products summed, then one pass to score the best"
        n_resumed = sum(cut is not None for cut in self.cuts)
        resumed = f", {n_resumed} of them from where another stopped" if n_resumed else ""
        return (
            f"{len(self.passes)} pass{'es' if len(self.passes) > 1 else ''} over the stimuli{resumed}, {self.batch} at "
            f"a time, {what}; about {format_bytes(self.peak)} of {format_bytes(self.memory)}, "
            f"about {format_seconds(self.seconds)}"
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


def format_seconds(seconds: float) -> str:
    """Write a duration with two digits."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 5400 else f"{seconds / 3600:.2g} h"


def plan_passes(
    layers: list[LayerSize], ways: Sequence[Way], seconds: Seconds, *, inputs_bytes: int, memory: int
) -> Plan:
    """Choose the fastest way whose passes fit into the memory, and group consecutive layers into its passes.

    Parameters
    ----------
    layers
        In execution order.
    ways
        What can be done.
    seconds
        What it costs.
    inputs_bytes
        All stimuli as the network takes them, if they are kept for further passes.
    memory
        Bytes above the process with its network loaded and used once.

    Raises
    ------
    MemoryBudgetError
        If not even one layer at a time fits; the message names the smallest memory that does.
    """
    require_room(layers, ways, memory)
    plans = []
    for way in ways:
        for keeps_inputs in (False, True):
            fixed = way.fixed_bytes + (inputs_bytes if keeps_inputs else 0)
            for groups in _groupings(layers, (memory - fixed) // way.bytes_per_unit):
                peak = fixed + max(sum(layer.units for layer in group) for group in groups) * way.bytes_per_unit
                names = tuple(tuple(layer.name for layer in group) for group in groups)
                expected = seconds.of(groups, way, keeps_inputs=keeps_inputs)
                plans.append(Plan(names, way.is_held, keeps_inputs, way.batch, memory, peak, expected))
    return min(plans, key=lambda plan: plan.seconds)


def require_room(layers: list[LayerSize], ways: Sequence[Way], memory: int) -> None:
    """Refuse a memory in which no way can take the largest layer."""
    biggest = max(layer.units for layer in layers)
    minimum, of_layer = min(
        (way.fixed_bytes + biggest * way.bytes_per_unit, biggest * way.bytes_per_unit) for way in ways
    )
    if minimum > memory:
        raise MemoryBudgetError(
            f"memory={format_bytes(memory)} is too little for this network and recording: at least "
            f"{format_bytes(minimum)} is needed (the largest layer alone takes {format_bytes(of_layer)}). "
            f"Give memory={-(-minimum // 2**20)}MiB or more, or leave out the largest layers."
        )


def _groupings(layers: list[LayerSize], room: int) -> Iterator[list[list[LayerSize]]]:
    """As few passes of at most ``room`` units as there can be, and more of them that are smaller."""
    biggest, n_units = max(layer.units for layer in layers), sum(layer.units for layer in layers)
    n_passes = 0
    while biggest <= room:
        groups = _groups(layers, room)
        if len(groups) > n_passes:
            n_passes = len(groups)
            yield groups
        room = min(room, n_units) * 9 // 10


def _groups(layers: list[LayerSize], room: int) -> list[list[LayerSize]]:
    """Fill passes from the last layer backwards, so that what is left for the first one ends early."""
    groups: list[list[LayerSize]] = [[]]
    filled = 0
    for layer in reversed(layers):
        if filled + layer.units > room:
            groups.insert(0, [])
            filled = 0
        groups[0].insert(0, layer)
        filled += layer.units
    return groups
