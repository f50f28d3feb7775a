"""The summary of a layer on a processor: its units in tiles that stay in a core's cache, shared out among threads.

Either the layer's activations are held, and a tile is summed and ranked at once; or its sums grow batch by batch, and
are ranked at the end. The same numbers as ``summaries.summarise`` gives, several times faster; for responses without
gaps.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from math import prod

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from engine.allocation import zeros
from engine.blocks import Block, UnitOrder
from engine.kernels import arrays
from engine.kernels.ranks import ROOM, prune_all
from engine.kernels.tiles import TILE, add_rows, correlate_sums, summarise_held, summarise_sums
from engine.kernels.vectors import COLUMNS_AT_ONCE
from engine.moments import require_in_range
from engine.ranking import Candidates, best
from engine.schema import MIN_STIMULI, N_R_BINS, ROUNDING, SPARE
from engine.summaries import LayerSummary, splits_of
from engine.targets import Targets

CACHE = 2**18
"""Bytes of the products of a batch that a core's second-level cache holds beside the batch."""

RUN = 16
"""Tiles that a thread takes at a time."""

NEVER = np.iinfo(np.int64).max


class Columns:
    """The columns, laid out for the products of tiles, and their sums."""

    def __init__(self, targets: Targets) -> None:
        n, fold = len(targets.stimuli), targets.fold
        self.n_sites, self.n_columns, self.n_folds = targets.n_sites, targets.n_columns, targets.n_folds
        splits = splits_of(targets.n_folds)
        members = np.array([[f in folds for f in range(targets.n_folds)] for folds in splits])
        sum_z, sum_zz = targets.sum_z(), targets.sum_zz()
        present = (members @ targets.n_present()[:, :1])[:, :1]
        centred = members @ sum_zz - (members @ sum_z) ** 2 / present
        varies = (centred > ROUNDING**2) & (present >= MIN_STIMULI)
        width = -(-targets.n_columns // -(-targets.n_columns // COLUMNS_AT_ONCE))
        starts = range(0, targets.n_columns, width)
        z = zeros(len(starts) * n * COLUMNS_AT_ONCE, np.float32).reshape(-1, n, COLUMNS_AT_ONCE)
        for block, start in zip(z, starts, strict=True):
            own = targets.z[:, start : start + width]
            block[:, : own.shape[1]] = own
        self.arrays = arrays.Columns(
            z=z,
            width=width,
            n_sites=targets.n_sites,
            edges=np.append(np.flatnonzero(np.diff(fold, prepend=-1)), n),
            members=members,
            sum_z=sum_z,
            sum_zz=sum_zz,
            mean_z=members @ sum_z / present,
            inverse_z=np.where(varies, 1 / np.sqrt(np.where(varies, centred, 1.0)), np.nan),
        )


def summarise_block(block: Block, layer: int, top: int, columns: Columns, n_threads: int) -> Callable[[], LayerSummary]:
    """Summarise a layer, the ``layer``-th of its network, whose block holds all stimuli.

    Returns
    -------
    Callable
        Joins what the threads found: one thread's work, while the others can go on.
    """
    values, order = block.values.numpy(), _order(block.order)

    def summarise(first: int, stop: int, found: arrays.Found) -> float:
        return summarise_held(values, first, stop, order, columns.arrays, top, found)

    return _summary(summarise, values.shape[1], TILE, block.order, layer, top, columns, n_threads)


class TileSums:
    """Sums of all units of a layer with every column, growing batch by batch."""

    def __init__(self, shape: tuple[int, int, int], columns: Columns, products: type[np.floating]) -> None:
        self.order, self.columns, self.n_units = UnitOrder(shape), columns, prod(shape)
        of_folds, f32, f64 = columns.n_folds * self.n_units, np.float32, np.float64
        self.sums = arrays.Sums(
            shift=zeros(of_folds, f32),
            sum_x=zeros(of_folds, f64),
            sum_xx=zeros(of_folds, f64),
            low=zeros(self.n_units, f32),
            high=zeros(self.n_units, f32),
            scale=zeros(self.n_units, f32),
        )
        self.products = zeros(of_folds * columns.n_columns, products)
        self.width = 2 ** max(8, min(10, int(np.log2(CACHE // (4 * columns.n_columns) + 1))))
        self.n_added = np.zeros(columns.n_folds, np.int64)
        self.first_nonfinite = NEVER

    def add(
        self, activation: torch.Tensor, start: int, fold: int, in_threads: Callable[[Callable[[int], object]], object]
    ) -> None:
        """Add a batch of one fold, (stimulus, channel, position), whose first stimulus is the ``start``-th."""
        rows = self.order.rows(activation).numpy()
        n_before = np.array([self.n_added.sum(), self.n_added[fold]])
        spans, found = whole_tiles(self.n_units, RUN * self.width, self.width), list[int]()

        def work(_: int) -> None:
            for first, stop in spans:
                if add_rows(
                    rows, first, stop, self.width, start, fold, n_before,
                    self.columns.arrays, self.sums, self.products,
                ):  # fmt: skip
                    found.append(first)

        in_threads(work)
        self.n_added[fold] += len(rows)
        if found:
            first = start + int(np.argmin(np.isfinite(rows).all(axis=1)))
            self.first_nonfinite = min(self.first_nonfinite, first)

    def summarise(self, layer: int, top: int, n_threads: int) -> LayerSummary:
        """Summarise the layer, the ``layer``-th of its network, once all stimuli were added."""
        order = _order(self.order)

        def summarise(first: int, stop: int, found: arrays.Found) -> float:
            found.first_nonfinite[0] = self.first_nonfinite
            columns = self.columns.arrays
            return summarise_sums(first, stop, self.width, order, columns, self.sums, self.products, top, found)

        return _summary(summarise, self.n_units, self.width, self.order, layer, top, self.columns, n_threads)()

    def correlations(self, n_threads: int) -> np.ndarray:
        """Correlate all units with every column over all stimuli.

        Returns
        -------
        np.ndarray
            (column, unit) float32, units in C order of (channel, position); NaN where there is no r.
        """
        r, order = np.empty((self.columns.n_columns, self.n_units), np.float32), _order(self.order)
        spans, columns = whole_tiles(self.n_units, RUN * self.width, self.width), self.columns.arrays

        def work(_: int) -> None:
            for first, stop in spans:
                require_in_range(correlate_sums(first, stop, self.width, order, columns, self.sums, self.products, r))

        with tile_threads(n_threads) as in_threads:
            in_threads(work)
        return r

    def left_out_r(self, fold: int, column: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Correlate pairs of a column and a unit over one fold alone: (pair,) float64."""
        columns, sums = self.columns, self.sums
        n = int(np.diff(columns.arrays.edges)[fold])
        turn, within = np.divmod(self.order.place(unit), self.width)
        first = turn * self.width
        width = np.minimum(self.width, self.n_units - first)
        at = first * columns.n_folds
        of_unit = at + fold * width + within
        low, high, scale = (values[first + within].astype(np.float64) for values in (sums.low, sums.high, sums.scale))
        sum_x, sum_xx = sums.sum_x[of_unit], sums.sum_xx[of_unit]
        of_pair = at * columns.n_columns + (fold * columns.n_columns + column) * width + within
        product = self.products[of_pair].astype(np.float64)
        rounding = ROUNDING * np.maximum(np.abs(low), np.abs(high)) * scale
        centred = sum_xx - sum_x**2 / n
        sum_z = columns.arrays.sum_z[fold, column]
        centred_z = columns.arrays.sum_zz[fold, column] - sum_z**2 / n
        varies = (centred > n * rounding**2) & (centred_z > ROUNDING**2) & (n >= MIN_STIMULI)
        norm = np.sqrt(np.where(varies, centred * centred_z, np.nan))
        return np.clip((product - sum_z / n * sum_x) / norm, -1.0, 1.0)


@contextmanager
def tile_threads(n_threads: int) -> Iterator[Callable[[Callable[[int], object]], list[object]]]:
    """Yield a function that calls another one in every thread, with the thread's number; each multiplies alone."""
    with _thread_pools().limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        yield lambda work: list(pool.map(work, range(n_threads)))


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def _summary(
    summarise: Callable[[int, int, arrays.Found], float],
    n_units: int,
    width: int,
    order: UnitOrder,
    layer: int,
    top: int,
    columns: Columns,
    n_threads: int,
) -> Callable[[], LayerSummary]:
    """Have threads summarise spans of units, from first to stop; return what joins what they found."""
    spans = whole_tiles(n_units, width * max(1, min(RUN, n_units // (4 * n_threads * width))), width)
    floor = np.full((len(columns.arrays.members), columns.n_sites), -np.inf)

    def work(_: int) -> arrays.Found:
        found = _nothing_found(order.channels, top, columns, floor)
        for first, stop in spans:
            require_in_range(summarise(first, stop, found))
        prune_all(found, top)
        return found

    with tile_threads(n_threads) as in_threads:
        return partial(_joined, in_threads(work), layer, top)  # type: ignore[arg-type]


def whole_tiles(n_units: int, step: int, width: int) -> Iterator[tuple[int, int]]:
    """First and stop of spans: whole tiles, ``step`` units at most, and what is left over. Threads may share them."""
    whole = n_units - n_units % width
    edges = [*range(0, whole, step), *sorted({whole, n_units})]
    return iter(list(pairwise(edges)))  # of a list, unlike a generator, two threads can ask at the same time


def _order(order: UnitOrder) -> arrays.Order:
    return arrays.Order(order.channels, order.area, order.is_position_major)


def _nothing_found(channels: int, top: int, columns: Columns, floor: np.ndarray) -> arrays.Found:
    """Room for what one thread finds; ``floor`` is that of all threads."""
    n_splits, n_sites, n_shuffles = len(columns.arrays.members), columns.n_sites, columns.n_columns - columns.n_sites
    places = (n_splits, n_sites, ROOM * (top + SPARE))
    return arrays.Found(
        counts=np.zeros((n_sites, N_R_BINS), np.int32),
        map_r=np.full((n_sites, channels), -np.inf),
        map_position=np.zeros((n_sites, channels), np.int32),
        kept_r=np.empty(places),
        kept_unit=np.empty(places, np.int64),
        n_kept=np.zeros(places[:2], np.int64),
        floor=floor,
        null_r=np.full((n_splits, n_shuffles), -np.inf),
        null_unit=np.zeros((n_splits, n_shuffles), np.int64),
        statuses=np.zeros(4, np.int64),
        first_nonfinite=np.full(1, NEVER),
    )


def _joined(parts: list[arrays.Found], layer: int, top: int) -> LayerSummary:
    map_r, map_position = _first_best([p.map_r for p in parts], [p.map_position for p in parts])
    null_r, null_unit = _first_best([p.null_r for p in parts], [p.null_unit for p in parts])
    n_ok, n_constant, n_low, n_nonfinite = np.sum([p.statuses for p in parts], axis=0).tolist()
    first_nonfinite = min(int(p.first_nonfinite[0]) for p in parts)
    candidates = [Candidates.join([_kept(p, split, layer) for p in parts]) for split in range(len(null_r))]
    return LayerSummary(
        counts=np.stack([p.counts for p in parts]).sum(axis=0, dtype=np.int64),
        map_r=map_r,
        map_position=map_position,
        candidates=[best(found, top) for found in candidates],
        null_r=null_r,
        null_unit=null_unit,
        statuses=Counter(n_constant=n_constant, n_low_variation=n_low, n_nonfinite=n_nonfinite, n_ok=n_ok),
        first_nonfinite=first_nonfinite if n_nonfinite else -1,
    )


def _kept(found: arrays.Found, split: int, layer: int) -> Candidates:
    """The units of one split that may be among the best."""
    n = found.n_kept[split]
    r = np.concatenate([values[:k] for values, k in zip(found.kept_r[split], n, strict=True)])
    unit = np.concatenate([values[:k] for values, k in zip(found.kept_unit[split], n, strict=True)])
    return Candidates(np.repeat(np.arange(len(n)), n), np.full(len(r), layer), unit, r)


def _first_best(values: list[np.ndarray], indices: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Elementwise the largest value, and the smallest of the indices that have it."""
    highest = np.max(values, axis=0)
    index = np.where(np.stack(values) == highest, np.stack(indices), np.iinfo(np.int32).max).min(axis=0)
    return highest, index
