"""Where does each pass stop, and at which cut does it go on? The quickest way through the layers, within the memory."""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import numpy as np

from engine.planning import LayerSize, Plan, Seconds, Way

_IMAGES = -1
"""In the place of a cut: the pass starts at the images."""


def plan_stops(
    layers: Sequence[LayerSize],
    todo: Collection[str],
    cuts: Collection[str],
    way: Way,
    seconds: Seconds,
    *,
    walk_s: float,
    memory: int,
) -> Plan | None:
    """Group layers into passes, each of which goes on where that is quickest: at a cut, or at the images.

    The outputs of two cuts live beside the activations of a pass: of that where it goes on, and of that for the next
    pass, unless that is one of its own layers. Of passes that share their memory, smaller ones take less of it.

    Parameters
    ----------
    layers
        All of the network, in execution order.
    todo
        Names of those that are to be matched.
    cuts
        Names of those at which a pass can go on.
    way
        One that holds activations.
    seconds
        What it costs.
    walk_s
        A pass over all stimuli as far as the cut, without values.
    memory
        Bytes, as for ``planning.plan_passes``.

    Returns
    -------
    Plan or None
        None if the layers do not fit.
    """
    graph = _Graph(layers, todo, cuts, way, seconds, walk_s)
    n_units = sum(layer.units for layer in layers if layer.name in todo)
    plans = []
    for route, spent in graph.routes((memory - way.fixed_bytes) // way.bytes_per_unit):
        units = max(graph.units(a, b) for a, b in pairwise(route))
        held = units * way.bytes_per_unit
        expected = spent + seconds.summarise(way, n_units) + seconds.take(held)
        passes, starts = graph.passes(route)
        plans.append(Plan(passes, True, False, way.batch, memory, way.fixed_bytes + held, expected, starts))
    return min(plans, key=lambda plan: plan.seconds, default=None)


class _Graph:
    """Points between two passes, in order: which layer is next to be matched, and at which cut the pass goes on.

    Layers that are to be matched are counted apart from all layers; ``_IMAGES`` is the last entry of what is counted
    by layer.
    """

    def __init__(
        self,
        layers: Sequence[LayerSize],
        todo: Collection[str],
        cuts: Collection[str],
        way: Way,
        seconds: Seconds,
        walk_s: float,
    ) -> None:
        self.names = [layer.name for layer in layers]
        self.todo = np.array([k for k, name in enumerate(self.names) if name in todo])
        self.size = np.array([*(layer.units for layer in layers), 0])
        self.held = np.append(0, np.cumsum(self.size[self.todo]))
        self.reach_s = np.array([*(seconds.forward[name] for name in self.names), 0.0])
        self.keep_s = np.array([2 * seconds.touch(int(units) * way.bytes_per_unit) for units in self.size])
        self.start_s = np.append(walk_s + self.keep_s[:-1], seconds.decode)
        self.next_layer, self.cut = self._points([name in cuts for name in self.names])

    def _points(self, is_cut: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
        """Number of the next layer among those to match, and of the cut among all; the last point ends the match."""
        points = [(0, _IMAGES)]
        for k, layer in enumerate(self.todo[1:], 1):
            points += [(k, cut) for cut in (_IMAGES, *_worth(layer, is_cut, self.todo, self.size))]
        next_layer, cut = np.array([*points, (len(self.todo), _IMAGES)]).T
        return next_layer, cut

    def routes(self, room: int) -> Iterator[tuple[list[int], float]]:
        """Yield the quickest route with at most ``room`` units in a pass, and with less and less; and its seconds."""
        widest, n_units = self.size[self.todo].max(), self.held[-1]
        rooms = []
        while widest <= room:
            rooms.append(room)
            room = min(room, n_units) * 9 // 10
        if not rooms:
            return
        best, following = self._quickest(np.array(rooms))
        for k in range(len(rooms)):
            route = [0]
            while route[-1] < len(self.cut) - 1:
                route.append(int(following[k, route[-1]]))
            yield route, float(best[k, 0])

    def _quickest(self, rooms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds from each point to the end, and the point after it, both (room, point); from the end backwards."""
        n = len(self.cut)
        best, following = np.full((len(rooms), n), np.inf), np.zeros((len(rooms), n), int)
        best[:, -1] = 0
        for a in range(n - 2, -1, -1):
            first = np.searchsorted(self.next_layer, self.next_layer[a] + 1)
            room = self.held[self.next_layer[a]] + rooms[0]
            points = np.arange(first, np.searchsorted(self.held[self.next_layer], room, side="right"))
            spent, units = self._step(a, points)
            expected = np.where(units <= rooms[:, None], spent + best[:, points], np.inf)
            chosen = expected.argmin(axis=1)
            best[:, a], following[:, a] = expected[np.arange(len(rooms)), chosen], points[chosen]
        return best, following

    def _step(self, a: int, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and units of the pass from one point to each of some others; infinite where there is none."""
        first, start = self.next_layer[a], self.cut[a]
        stop, cut = self.next_layer[b], self.cut[b]
        is_kept = (cut != _IMAGES) & (cut != start)
        at = np.searchsorted(self.todo, cut)
        is_own = (first <= at) & (at < stop) & (self.todo[np.minimum(at, len(self.todo) - 1)] == cut)
        extra = is_kept & ~is_own
        end = np.maximum(self.todo[stop - 1], np.where(is_kept, cut, 0))
        spent = self.start_s[start] + self.reach_s[end] - self.reach_s[start] + np.where(extra, self.keep_s[cut], 0.0)
        units = self.held[stop] - self.held[first] + self.size[start] + np.where(extra, self.size[cut], 0)
        return np.where(is_kept & (cut < start), np.inf, spent), units

    def units(self, a: int, b: int) -> int:
        """Units that the pass from one point to another holds."""
        return int(self._step(a, np.array([b]))[1][0])

    def passes(self, route: list[int]) -> tuple[tuple[tuple[str, ...], ...], tuple[str | None, ...]]:
        """The layers of each pass of a route, and the cut at which it goes on."""
        edges = self.next_layer[route]
        groups = [tuple(self.names[k] for k in self.todo[i:j]) for i, j in pairwise(edges)]
        starts = [None if cut == _IMAGES else self.names[cut] for cut in self.cut[route[:-1]]]
        return tuple(groups), tuple(starts)


def _worth(layer: int, is_cut: Sequence[bool], todo: np.ndarray, size: np.ndarray) -> Iterator[int]:
    """Cuts at which a pass for ``layer`` may go on, from it backwards: only smaller ones are worth going back to.

    Those that the pass before holds anyway are not compared with those that it would have to keep besides.
    """
    smallest: dict[bool, float] = {}
    for k in range(layer, -1, -1):
        is_held = k < layer and k in todo
        if is_cut[k] and size[k] < smallest.get(is_held, np.inf):
            smallest[is_held] = size[k]
            yield k
