"""What one thread does with its share of a layer's tiles."""

import numpy as np

from engine.kernels.arrays import Places, compiled, empty_sums, tile_of
from engine.kernels.products import add_product, empty_nonzeros, fill_from_nonzeros, fill_product, find_nonzeros
from engine.kernels.ranks import NONE, NONFINITE, TOGETHER, correlate, empty_rows, normalise, rank
from engine.kernels.sums import add_batch, centre
from engine.kernels.vectors import COLUMNS_AT_ONCE

TILE = 256
"""Units at a time of a held layer: with 640 stimuli, what a core's second-level cache holds."""


@compiled
def summarise_held(block, first, stop, order, columns, top, found):
    """Sum, multiply and rank the units from ``first`` to ``stop``, of which all activations are held.

    Parameters
    ----------
    block
        (stimulus, unit) float32, folds one after the other.
    first, stop
        They fill whole tiles, or are fewer than one.
    order
        ``Order`` of its units.
    columns
        ``Columns``.
    top
        Units to keep for each site.
    found
        ``Found``, added to.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    largest, width = 0.0, _width_of(first, stop, TILE)
    n_folds, n_columns = columns.members.shape[1], columns.sum_z.shape[1]
    x, tile, rows = np.empty((len(block), width), np.float32), empty_sums(n_folds, width), empty_rows(width)
    product = np.empty((n_folds, COLUMNS_AT_ONCE, width), np.float32)
    nonzeros, room = empty_nonzeros(columns.edges, width)
    for start in range(first, stop, width):
        centre(block, start, columns.edges, x, tile)
        skips_zeros = find_nonzeros(x, columns, nonzeros)
        n_nonfinite = found.statuses[NONFINITE]
        move, split_sum, inverse = _normalised(tile, columns, found)
        places = _places(start, width, order)
        for begin in range(0, n_columns, columns.width):
            n = min(columns.width, n_columns - begin)
            for fold in range(n_folds):
                edge = columns.edges[fold]
                own = x[edge : columns.edges[fold + 1]]
                if skips_zeros:
                    fill_from_nonzeros(columns, begin, edge, own, nonzeros[fold], room, product[fold])
                else:
                    fill_product(columns, begin, edge, own, product[fold, :n])
            reached = rank(product, begin, n, columns, places, order, top, move, split_sum, inverse, rows, found)
            largest = max(largest, reached)
        if found.statuses[NONFINITE] > n_nonfinite:
            _find_nonfinite(block, start, width, found)
    return largest


@compiled
def add_rows(rows, first, stop, width, start, fold, n_before, columns, sums, products):
    """Add a batch of one fold to the sums of the units from ``first`` to ``stop``.

    Parameters
    ----------
    rows
        (batch, unit) float32.
    width
        Units of a tile; the units from ``first`` to ``stop`` fill whole tiles, or are fewer than one.
    start
        The stimulus of the first row.
    n_before
        (all stimuli, stimuli of this fold) that were added earlier.
    sums
        Flat ``Sums``.
    products
        Flat (fold, column, unit) of each tile, float32 or float64.

    Returns
    -------
    bool
        Whether the batch has a NaN or infinite activation here.
    """
    n_folds, n_columns = columns.members.shape[1], columns.sum_z.shape[1]
    is_nonfinite, own_width = False, _width_of(first, stop, width)
    x = np.empty((len(rows), own_width), np.float32)
    for begin in range(first, stop, own_width):
        tile, product = tile_of(sums, begin, own_width), product_of(products, begin, own_width, n_folds, n_columns)
        is_nonfinite |= add_batch(rows, begin, fold, n_before, x, tile)
        for column in range(0, n_columns, columns.width):
            end = min(column + columns.width, n_columns)
            add_product(columns, column, start, x, product[fold, column:end])
    return is_nonfinite


@compiled
def summarise_sums(first, stop, width, order, columns, sums, products, top, found):
    """Rank the units from ``first`` to ``stop``, as ``add_rows`` has them, once it has all; as ``summarise_held``."""
    largest, n_folds, n_columns = 0.0, columns.members.shape[1], columns.sum_z.shape[1]
    own_width = _width_of(first, stop, width)
    rows = empty_rows(own_width)
    for begin in range(first, stop, own_width):
        move, split_sum, inverse = _normalised(tile_of(sums, begin, own_width), columns, found)
        places = _places(begin, own_width, order)
        product = product_of(products, begin, own_width, n_folds, n_columns)
        reached = rank(product, 0, n_columns, columns, places, order, top, move, split_sum, inverse, rows, found)
        largest = max(largest, reached)
    return largest


@compiled
def correlate_sums(first, stop, width, order, columns, sums, products, out):
    """Correlate the units from ``first`` to ``stop``, as ``add_rows`` has them, once it has all, with every column.

    Parameters
    ----------
    out
        (column, unit) float32, units in C order of (channel, position); filled with r over split 0, NaN for none.

    Returns
    -------
    float
        As ``summarise_held``.
    """
    largest, (n_splits, n_folds), n_columns = 0.0, columns.members.shape, columns.sum_z.shape[1]
    own_width = _width_of(first, stop, width)
    rows = empty_rows(own_width)
    for begin in range(first, stop, own_width):
        tile, places = tile_of(sums, begin, own_width), _places(begin, own_width, order)
        status, move = np.empty(own_width, np.int8), np.zeros((n_splits, n_folds, own_width))
        split_sum, inverse = np.empty((n_splits, own_width)), np.empty((n_splits, own_width))
        normalise(columns.edges, columns.members, tile, status, move, split_sum, inverse)
        product = product_of(products, begin, own_width, n_folds, n_columns)
        for column in range(0, n_columns, TOGETHER):
            n = min(TOGETHER, n_columns - column)
            largest = max(largest, correlate(product, column, n, 0, column, columns, move, split_sum, inverse, rows))
            for j in range(n):
                own, r = out[column + j], rows.r[j]
                for t in range(own_width):
                    unit = np.int64(places.channel[t]) * order.area + places.position[t]
                    own[unit] = np.nan if r[t] == NONE else r[t]
    return largest


@compiled
def _width_of(first, stop, width):
    """Units of a tile, all of them alike: beyond the last one lies memory of others."""
    own_width = min(width, stop - first)
    if (stop - first) % own_width > 0:
        raise ValueError("the units fill no whole tiles")
    return own_width


@compiled
def product_of(products, first, width, n_folds, n_columns):
    """The product of the tile of ``width`` units from ``first`` on: (fold, column, unit)."""
    size = n_folds * n_columns
    return products[first * size : (first + width) * size].reshape(n_folds, n_columns, width)


@compiled
def _normalised(tile, columns, found):
    n_splits, n_folds = columns.members.shape
    width = len(tile.low)
    status, move = np.empty(width, np.int8), np.zeros((n_splits, n_folds, width))
    split_sum, inverse = np.empty((n_splits, width)), np.empty((n_splits, width))
    normalise(columns.edges, columns.members, tile, status, move, split_sum, inverse)
    for t in range(width):
        found.statuses[status[t]] += 1
    return move, split_sum, inverse


@compiled
def _places(first, width, order):
    """Where ``width`` units belong that lie side by side from ``first`` on."""
    channel, position, runs = np.empty(width, np.int32), np.empty(width, np.int32), [0]
    for t in range(width):
        unit = first + t
        channel[t] = unit % order.channels if order.is_position_major else unit // order.area
        position[t] = unit // order.channels if order.is_position_major else unit % order.area
        row = position if order.is_position_major else channel
        if t and row[t] != row[t - 1]:
            runs.append(t)
    runs.append(width)
    return Places(channel, position, np.array(runs))


@compiled
def _find_nonfinite(block, first, width, found):
    for n in range(min(len(block), found.first_nonfinite[0])):
        for t in range(first, first + width):
            if not np.isfinite(block[n, t]):
                found.first_nonfinite[0] = n
                return
