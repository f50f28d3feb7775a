"""The summary of a layer on a processor: its units in tiles that stay in a core's cache, shared out among threads.

Either the layer's activations are held, and a tile is summed and ranked at once; or its sums grow batch by batch, and
are ranked at the end. The same numbers as ``summaries.summarise`` gives, several times faster; for responses without
gaps.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from math import prod

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from engine import kernel
from engine.allocation import zeros
from engine.blocks import Block, UnitOrder
from engine.moments import require_in_range
from engine.ranking import SPARE, Candidates, best
from engine.schema import MIN_STIMULI, N_R_BINS, ROUNDING
from engine.summaries import LayerSummary, splits_of
from engine.targets import Targets

TILE = 256
"""Units at a time of a held layer: with 640 stimuli, what a core's second-level cache holds."""

CHUNK = 32
"""Stimuli in one float32 product: a BLAS adds one after the other; r was off by 3.4e-6 with 320, by 6.5e-7 with 64."""

CACHE = 2**18
"""Bytes of the products of a batch that a core's second-level cache holds beside the batch."""


_OF_ALL_FOLDS = ("low", "high", "scale")


class Columns:
    """The columns, laid out for the products of tiles, and their sums."""

    def __init__(self, targets: Targets) -> None:
        fold = targets.fold
        self.n_sites = targets.n_sites
        self.n_columns = targets.n_columns
        self.edges = np.append(np.flatnonzero(np.diff(fold, prepend=-1)), len(fold))
        self.z = np.ascontiguousarray(targets.z.T)
        splits = splits_of(targets.n_folds)
        self.members = np.array([[f in folds for f in range(targets.n_folds)] for folds in splits])
        self.sum_z, self.sum_zz = targets.sum_z(), targets.sum_zz()
        n = (self.members @ targets.n_present()[:, :1])[:, :1]
        sum_z, sum_zz = self.members @ self.sum_z, self.members @ self.sum_zz
        self.mean_z = sum_z / n
        centred = sum_zz - sum_z**2 / n
        varies = (centred > ROUNDING**2) & (n >= MIN_STIMULI)
        self.inverse_z = np.where(varies, 1 / np.sqrt(np.where(varies, centred, 1.0)), np.nan)

    @property
    def n_folds(self) -> int:
        """Number of parts."""
        return self.members.shape[1]


@dataclass
class Tile:
    """Sums of some units that lie side by side."""

    shift: np.ndarray
    """(fold, unit) float32."""
    sum_x: np.ndarray
    """(fold, unit) float64, around the shift."""
    sum_xx: np.ndarray
    """(fold, unit) float64."""
    low: np.ndarray
    """(unit,) float32."""
    high: np.ndarray
    """(unit,) float32."""
    scale: np.ndarray
    """(unit,) float32, a power of two."""
    product: np.ndarray
    """(fold, column, unit), sums of x times the column."""

    @classmethod
    def empty(cls, width: int, columns: Columns) -> "Tile":
        """Room for ``width`` units."""
        sizes = _flat_sizes(width, columns)
        return cls.within({name: np.empty(n, _dtype(name)) for name, n in sizes.items()}, 0, width, columns)

    @classmethod
    def within(cls, flat: dict[str, np.ndarray], first: int, width: int, columns: Columns) -> "Tile":
        """The tile of ``width`` units from ``first`` on, as a view of arrays in which one tile follows the other."""
        folds, n_columns = columns.n_folds, columns.n_columns
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("shift", "sum_x", "sum_xx"), (folds, width))
        shapes |= dict.fromkeys(_OF_ALL_FOLDS, (width,))
        shapes["product"] = (folds, n_columns, width)
        return cls(**{
            name: flat[name][first * prod(shape) // width :][: prod(shape)].reshape(shape)
            for name, shape in shapes.items()
        })  # fmt: skip

    @property
    def width(self) -> int:
        """Number of units."""
        return len(self.low)


@contextmanager
def tile_threads(n_threads: int) -> Iterator[Callable[[Callable[[int], object]], list[object]]]:
    """Yield a function that calls another one in every thread, with the thread's number; each multiplies alone."""

    def quietly(work: Callable[[int], object], thread: int) -> object:
        with np.errstate(over="ignore", invalid="ignore"):  # NaN in a unit stays in its own column of the product
            return work(thread)

    with ThreadpoolController().limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        yield lambda work: list(pool.map(partial(quietly, work), range(n_threads)))


def summarise_block(block: Block, layer: int, top: int, columns: Columns, n_threads: int) -> LayerSummary:
    """Summarise a layer, the ``layer``-th of its network, whose block holds all stimuli."""
    values, starts = block.values.numpy(), count(0, TILE)
    n_stimuli, n_units = values.shape

    def work(_: int) -> _Worker:
        worker = _Worker(block.order, top, columns)
        width = min(TILE, n_units)
        x, tile = np.empty((n_stimuli, width), np.float32), Tile.empty(width, columns)
        while (first := next(starts)) < n_units:
            if (width := min(TILE, n_units - first)) < tile.width:
                x, tile = np.empty((n_stimuli, width), np.float32), Tile.empty(width, columns)
            kernel.centre(
                values, first, columns.edges, x, tile.shift, tile.sum_x, tile.sum_xx, tile.low, tile.high, tile.scale
            )
            _multiply(columns, x, tile.product)
            if worker.add(tile, first):
                is_finite = np.isfinite(values[:, first : first + width]).all(axis=1)
                worker.nonfinite.append(int(np.argmin(is_finite)))
        return worker.done()

    with tile_threads(n_threads) as in_threads:
        return _joined(in_threads(work), layer, top)  # type: ignore[arg-type]


def _multiply(columns: Columns, x: np.ndarray, product: np.ndarray) -> None:
    """Fill (fold, column, unit) from x (stimulus, unit)."""
    part = np.empty(product.shape[1:], np.float32)
    product[:] = 0
    for fold, (start, stop) in enumerate(pairwise(columns.edges.tolist())):
        _add_product(columns.z[:, start:stop], x[start:stop], part, product[fold])


def _add_product(z: np.ndarray, x: np.ndarray, part: np.ndarray, product: np.ndarray) -> None:
    """Add z (column, stimulus) times x (stimulus, unit), a chunk of stimuli at a time; ``part`` is workspace."""
    for first in range(0, len(x), CHUNK):
        stimuli = slice(first, first + CHUNK)
        np.matmul(z[:, stimuli], x[stimuli], out=part)
        product += part


class TileSums:
    """Sums of all units of a layer with every column, growing batch by batch."""

    def __init__(self, shape: tuple[int, int, int], columns: Columns, products: type[np.floating]) -> None:
        self.order = UnitOrder(shape)
        self.columns = columns
        self.n_units = prod(shape)
        sizes = _flat_sizes(self.n_units, columns)
        self._flat = {name: zeros(n, products if name == "product" else _dtype(name)) for name, n in sizes.items()}
        self.width = 2 ** max(8, min(10, int(np.log2(CACHE // (4 * columns.n_columns) + 1))))
        starts = range(0, self.n_units, self.width)
        self.tiles = [Tile.within(self._flat, u, min(self.width, self.n_units - u), columns) for u in starts]
        self.n_added = np.zeros(columns.n_folds, np.int64)
        self.nonfinite: list[int] = []

    def add(
        self, activation: torch.Tensor, start: int, fold: int, in_threads: Callable[[Callable[[int], object]], object]
    ) -> None:
        """Add a batch of one fold, (stimulus, channel, position), whose first stimulus is the ``start``-th."""
        rows = self.order.rows(activation).numpy()
        z = self.columns.z[:, start : start + len(rows)]
        n_before = np.array([self.n_added.sum(), self.n_added[fold]])
        turns, found = count(), list[int]()

        def work(_: int) -> None:
            width = min(self.width, self.n_units)
            x, part = np.empty((len(rows), width), np.float32), np.empty((len(z), width), np.float32)
            while (turn := next(turns)) < len(self.tiles):
                tile = self.tiles[turn]
                if tile.width < width:
                    width = tile.width
                    x, part = np.empty((len(rows), width), np.float32), np.empty((len(z), width), np.float32)
                is_nonfinite = kernel.add_batch(
                    rows, turn * self.width, n_before, x,
                    tile.shift[fold], tile.sum_x[fold], tile.sum_xx[fold], tile.low, tile.high, tile.scale,
                )  # fmt: skip
                if is_nonfinite and not self.nonfinite:
                    found.append(turn)
                _add_product(z, x, part, tile.product[fold])

        in_threads(work)
        self.n_added[fold] += len(rows)
        if found:
            self.nonfinite.append(start + int(np.argmin(np.isfinite(rows).all(axis=1))))

    def summarise(self, layer: int, top: int, n_threads: int) -> LayerSummary:
        """Summarise the layer, the ``layer``-th of its network, once all stimuli were added."""
        turns = count()

        def work(_: int) -> _Worker:
            worker = _Worker(self.order, top, self.columns)
            while (turn := next(turns)) < len(self.tiles):
                worker.add(self.tiles[turn], turn * self.width)
            worker.nonfinite = self.nonfinite
            return worker.done()

        with tile_threads(n_threads) as in_threads:
            return _joined(in_threads(work), layer, top)  # type: ignore[arg-type]

    def left_out_r(self, fold: int, column: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Correlate pairs of a column and a unit over one fold alone: (pair,) float64."""
        columns, n = self.columns, int(np.diff(self.columns.edges)[fold])
        turn, within = np.divmod(self.order.place(unit), self.width)
        first = turn * self.width
        width = np.minimum(self.width, self.n_units - first)
        at = first * columns.n_folds
        of_unit = at + fold * width + within
        low, high, scale = (self._flat[name][first + within].astype(np.float64) for name in _OF_ALL_FOLDS)
        sum_x, sum_xx = self._flat["sum_x"][of_unit], self._flat["sum_xx"][of_unit]
        product = self._flat["product"][
            at * columns.n_columns + (fold * columns.n_columns + column) * width + within
        ].astype(np.float64)
        rounding = ROUNDING * np.maximum(np.abs(low), np.abs(high)) * scale
        centred = sum_xx - sum_x**2 / n
        sum_z = columns.sum_z[fold, column]
        centred_z = columns.sum_zz[fold, column] - sum_z**2 / n
        varies = (centred > n * rounding**2) & (centred_z > ROUNDING**2) & (n >= MIN_STIMULI)
        norm = np.sqrt(np.where(varies, centred * centred_z, np.nan))
        return np.clip((product - sum_z / n * sum_x) / norm, -1.0, 1.0)


class _Worker:
    """One thread's share of a layer's summary."""

    def __init__(self, order: UnitOrder, top: int, columns: Columns) -> None:
        n_splits, n_shuffles = len(columns.members), columns.n_columns - columns.n_sites
        places = (n_splits, columns.n_sites)
        self.order, self.top, self.columns = order, top, columns
        self.counts = np.zeros((columns.n_sites, N_R_BINS), np.int64)
        self.map_r = np.full((columns.n_sites, order.channels), -np.inf)
        self.map_position = np.zeros((columns.n_sites, order.channels), np.int32)
        self.kept_r = np.empty((*places, 3 * (top + SPARE)))
        self.kept_unit = np.empty((*places, 3 * (top + SPARE)), np.int64)
        self.n_kept = np.zeros(places, np.int64)
        self.floor = np.full(places, -np.inf)
        self.null_r = np.full((n_splits, n_shuffles), -np.inf)
        self.null_unit = np.zeros((n_splits, n_shuffles), np.int64)
        self.statuses = np.zeros(4, np.int64)
        self.nonfinite: list[int] = []

    def add(self, tile: Tile, first: int) -> bool:
        """Take in a tile that starts at unit ``first``; tell whether it has nonfinite units."""
        columns, width, n_splits = self.columns, tile.width, len(self.columns.members)
        status = np.empty(width, np.int8)
        move = np.zeros((n_splits, columns.n_folds, width))
        split_sum, inverse = np.empty((n_splits, width)), np.empty((n_splits, width))
        kernel.normalise(
            columns.edges, columns.members, tile.shift, tile.sum_x, tile.sum_xx, tile.low, tile.high, tile.scale,
            status, move, split_sum, inverse,
        )  # fmt: skip
        channel, position = self.order.at(first, width)
        largest = kernel.rank(
            tile.product, channel, position, self.order.area, columns.n_sites, self.top, columns.members, move,
            split_sum, inverse, columns.sum_z, columns.mean_z, columns.inverse_z,
            self.counts, self.map_r, self.map_position, self.kept_r, self.kept_unit, self.n_kept, self.floor,
            self.null_r, self.null_unit,
        )  # fmt: skip
        require_in_range(largest)
        self.statuses += np.bincount(status, minlength=4)
        return bool((status == kernel.NONFINITE).any())

    def done(self) -> "_Worker":
        """Keep of the best units only what ``ranking.best`` keeps."""
        for split, site in np.ndindex(self.n_kept.shape):
            kernel.prune(
                self.kept_r[split, site], self.kept_unit[split, site], self.n_kept, self.floor, split, site, self.top
            )
        return self

    def kept(self, split: int, layer: int) -> Candidates:
        """The best units of one split."""
        n = self.n_kept[split]
        r = np.concatenate([values[:k] for values, k in zip(self.kept_r[split], n, strict=True)])
        unit = np.concatenate([values[:k] for values, k in zip(self.kept_unit[split], n, strict=True)])
        return Candidates(np.repeat(np.arange(len(n)), n), np.full(len(r), layer), unit, r)


def _flat_sizes(n_units: int, columns: Columns) -> dict[str, int]:
    sizes = dict.fromkeys(("shift", "sum_x", "sum_xx"), columns.n_folds * n_units)
    return sizes | dict.fromkeys(_OF_ALL_FOLDS, n_units) | {"product": columns.n_folds * columns.n_columns * n_units}


def _dtype(name: str) -> type[np.floating]:
    return np.float64 if name in ("sum_x", "sum_xx") else np.float32


def _joined(workers: list[_Worker], layer: int, top: int) -> LayerSummary:
    map_r, map_position = _first_best([w.map_r for w in workers], [w.map_position for w in workers])
    null_r, null_unit = _first_best([w.null_r for w in workers], [w.null_unit for w in workers])
    n_ok, n_constant, n_low, n_nonfinite = np.sum([w.statuses for w in workers], axis=0).tolist()
    n_splits = len(workers[0].n_kept)
    return LayerSummary(
        counts=np.sum([w.counts for w in workers], axis=0),
        map_r=map_r,
        map_position=map_position,
        candidates=[best(Candidates.join([w.kept(split, layer) for w in workers]), top) for split in range(n_splits)],
        null_r=null_r,
        null_unit=null_unit,
        statuses=Counter(n_constant=n_constant, n_low_variation=n_low, n_nonfinite=n_nonfinite, n_ok=n_ok),
        first_nonfinite=min((stimulus for w in workers for stimulus in w.nonfinite), default=-1),
    )


def _first_best(values: list[np.ndarray], indices: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Elementwise the largest value, and the smallest of the indices that have it."""
    highest = np.max(values, axis=0)
    index = np.where(np.stack(values) == highest, np.stack(indices), np.iinfo(np.int32).max).min(axis=0)
    return highest, index
