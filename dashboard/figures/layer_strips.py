"""Where do the units, or the feature maps, of every layer lie side by side? Layers in strips of one width, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dashboard.figures.scales import layer_ticks
from dashboard.figures.wording import elided, thousands

PAD = 0.04
"""Empty ground at both ends of a strip, whose width is 1."""
_TICK_PX = 62
_LONGEST = 18


@dataclass(frozen=True)
class View:
    """A part of a figure that is looked at: its limits, and the size of its frame in px."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 540
    height: int = 240


@dataclass(frozen=True)
class Strips:
    """Layer k lies from k to k + 1, its items evenly within; "items" are units in C order, or feature maps."""

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def limits(self) -> tuple[float, float]:
        """Where the first strip begins and the last one ends."""
        return 0.0, float(max(len(self.names), 1))

    @cached_property
    def first(self) -> np.ndarray:
        """(layer + 1,) where the items of each layer begin among all."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def at(self, layer: np.ndarray | int, item: np.ndarray | int) -> np.ndarray:
        """Return x of items, named by the position of their layer and their own in it."""
        count = np.asarray(self.counts)[layer]
        return np.asarray(layer) + PAD + (1 - 2 * PAD) * (np.asarray(item) + 0.5) / count

    def all(self) -> np.ndarray:
        """Return x of all items, which rises."""
        layer = np.repeat(np.arange(len(self.counts)), self.counts)
        return self.at(layer, np.arange(self.first[-1]) - self.first[layer])

    def layer_at(self, x: np.ndarray | float) -> np.ndarray:
        """Return the position of the layer at x, the nearest one beside all strips."""
        return np.clip(np.floor(np.asarray(x)), 0, len(self.names) - 1).astype(int)

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Say whether there is an item at x, and not the ground between strips."""
        share = x - self.layer_at(x)
        return (share >= PAD) & (share <= 1 - PAD)

    def item_at(self, x: np.ndarray | float, layer: np.ndarray) -> np.ndarray:
        """Return the item of a layer that is nearest to x."""
        count = np.asarray(self.counts)[layer]
        share = (np.asarray(x) - layer - PAD) / (1 - 2 * PAD)
        return np.clip(np.floor(share * count), 0, count - 1).astype(int)

    def between(self, low: float, high: float) -> slice:
        """Return the items, counted over all layers, whose x lies in a range."""
        edges = []
        for x, side in ((low, np.ceil), (high, lambda at: np.floor(at) + 1)):
            layer = int(self.layer_at(x))
            count = self.counts[layer]
            own = side((x - layer - PAD) / (1 - 2 * PAD) * count - 0.5)
            edges.append(int(self.first[layer] + np.clip(own, 0, count)))
        return slice(edges[0], max(edges))

    def ticks(self, view: View, items_per_map: Sequence[int]) -> list[tuple[float, str]]:
        """Return ticks: names of layers, or, once one strip fills the frame, feature maps of it.

        ``items_per_map``: for each layer, how many items one feature map has.
        """
        low, high = view.x
        layer = int(self.layer_at((low + high) / 2))
        if high - low >= 1.2:
            return self._layers(view)
        per_map = items_per_map[layer]
        n_maps = self.counts[layer] // per_map
        edges = np.clip([low, high], layer + PAD, layer + 1 - PAD)
        first, last = (float((x - layer - PAD) / (1 - 2 * PAD) * n_maps - 0.5) for x in edges)
        step = _step((last - first) / max(view.width / _TICK_PX, 2))
        maps = [k for k in range(0, n_maps, step) if first - 0.5 <= k <= last + 0.5]
        return [(float(layer + PAD + (1 - 2 * PAD) * (k + 0.5) / n_maps), thousands(k)) for k in maps]

    def label(self, view: View, what: str) -> str:
        """Return the label of the axis for the ticks of a view."""
        low, high = view.x
        if high - low >= 1.2:
            return f"Layer, in the order of execution; within a layer {what}"
        return f"Feature map of {elided(self.names[int(self.layer_at((low + high) / 2))], 40)}"

    def _layers(self, view: View) -> list[tuple[float, str]]:
        low, high = view.x
        shown = [k for k in range(len(self.names)) if low - 0.4 <= k + 0.1 and k + 0.9 <= high + 0.4]
        width = view.width * len(shown) / max(high - low, 1e-9)
        ticks, _ = layer_ticks([elided(self.names[k], _LONGEST) for k in shown], width)
        return [(shown[int(at)] + 0.5, text) for at, text in ticks if low <= shown[int(at)] + 0.5 <= high]


def _step(least: float) -> int:
    """Return the next of 1, 2, 5, 10, 20 ..."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if step >= least:
                return step
        size *= 10
