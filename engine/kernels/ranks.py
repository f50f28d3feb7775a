"""From the sums of a tile to r, and from r to counts, best positions and the best units."""

from typing import NamedTuple

import numpy as np

from engine.kernels.arrays import compiled
from engine.schema import LEVEL, LOW_VARIATION, MARGIN, MIN_STIMULI, N_R_BINS, ROUNDING, SPARE

OK, CONSTANT, LOW, NONFINITE = 0, 1, 2, 3
"""Status of a unit."""

NONE = -2.0
"""In place of an r that there is not: unlike NaN it compares, so that a processor can take several at a time."""

_FIRST_BIN = N_R_BINS // 2
"""Of r = -1, where ``NONE`` has bin 0."""

_LAST_BIN = _FIRST_BIN + N_R_BINS
"""Of r = 1, which counts as the bin before."""

ROOM = 3
"""Units that are kept before those that cannot be among the best are dropped, as a multiple of those that then stay."""

TOGETHER = 8
"""Columns whose r with a tile of a held layer stay in a core's first-level cache. One call does all of them: for each
call numba counts the references to every array that it takes from a tuple, longer than the r of a column take."""

_HISTOGRAMS = 4
"""Units take turns in them, since neighbours share their bins."""

_STRETCH = 8
"""Units that are asked together whether any is to be kept: the bytes of a uint64."""

_PLACE = np.int64(2**12 - 1)
"""A unit's place in its run, which has fewer units than this, in the last bits of its r: units of one map whose r
differ by less than 1e-12 of it count as equal."""

_NO_SIGN = np.int64(2**63 - 1)
_BITS_OF_NONE = np.float64(NONE).view(np.int64)


class Rows(NamedTuple):
    """r of some columns with a tile, and room to rank them.

    Numbers are compared as the whole numbers that their bits are, of which a processor finds the largest of several at
    a time: above 0 in the order of the numbers, below 0 against it.
    """

    r: np.ndarray
    """(column, tile unit) float64; ``NONE`` where there is none."""
    bits: np.ndarray
    """The same memory as int64."""
    highest: np.ndarray
    """(column,) float64, the highest r."""
    highest_bits: np.ndarray
    """The same memory as int64."""
    bins: np.ndarray
    """(tile unit, and up to a whole number of ``_HISTOGRAMS``) uint16: unsigned, since a processor need not ask then
    whether it counts from the end."""
    four_bins: np.ndarray
    """The same memory as uint64: read at once."""
    histogram: np.ndarray
    """(``_HISTOGRAMS``, bin) uint16, zero between two columns."""
    is_kept: np.ndarray
    """(tile unit, and up to a whole number of stretches) uint8."""
    stretch: np.ndarray
    """The same memory as uint64."""


@compiled
def empty_rows(n_units):
    """Room for ``TOGETHER`` columns and a tile."""
    r, highest, stretch = (
        np.empty((TOGETHER, n_units)),
        np.empty(TOGETHER),
        np.zeros(-(-n_units // _STRETCH), np.uint64),
    )
    bins = np.empty(-(-n_units // _HISTOGRAMS) * _HISTOGRAMS, np.uint16)
    histogram = np.zeros((_HISTOGRAMS, _LAST_BIN + 1), np.uint16)
    bits = r.view(np.int64), highest.view(np.int64)
    return Rows(r, bits[0], highest, bits[1], bins, bins.view(np.uint64), histogram, stretch.view(np.uint8), stretch)


@compiled
def normalise(edges, members, tile, status, move, split_sum, inverse):
    """Combine the folds of each split: how far their shifts lie apart, sums, and 1 / norm.

    Parameters
    ----------
    edges, members
        Of ``Columns``.
    tile
        ``Sums``.
    status
        (tile unit,) int8, filled.
    move
        (split, fold, tile unit) float64, filled: a fold's shift above that of the split's first fold.
    split_sum, inverse
        (split, tile unit) float64, filled: sum of x around that first fold's shift, and 1 / norm of the centred unit;
        0 where it is not ranked.
    """
    n_splits, n_folds = members.shape
    shift, sum_x, sum_xx = tile.shift, tile.sum_x, tile.sum_xx
    for t in range(len(tile.low)):
        low, high = np.float64(tile.low[t]), np.float64(tile.high[t])
        largest = max(abs(low), abs(high)) * tile.scale[t]
        finite = np.isfinite(low) and np.isfinite(high)
        for fold in range(n_folds):
            finite = finite and np.isfinite(sum_xx[fold, t])
        for split in range(n_splits):
            reference, n, total, squares = -1, 0, 0.0, 0.0
            for fold in range(n_folds):
                if not members[split, fold]:
                    continue
                reference = fold if reference < 0 else reference
                moved = np.float64(shift[fold, t]) - np.float64(shift[reference, t])
                n_own = edges[fold + 1] - edges[fold]
                move[split, fold, t] = moved
                squares += sum_xx[fold, t] + 2 * moved * sum_x[fold, t] + n_own * moved * moved
                total += sum_x[fold, t] + n_own * moved
                n += n_own
            centred = max(squares - total * total / n, 0.0)
            split_sum[split, t] = total
            rounding = ROUNDING * largest
            varies = finite and n >= MIN_STIMULI and centred > n * rounding * rounding
            inverse[split, t] = 1.0 / np.sqrt(centred) if varies else 0.0
            if split == 0:
                is_low = low < high and np.sqrt(centred / n) <= LOW_VARIATION * largest
                status[t] = NONFINITE if not finite else CONSTANT if low == high else LOW if is_low else OK
            if status[t] != OK:
                inverse[split, t] = 0.0


@compiled
def correlate(product, k, n, split, column, columns, move, split_sum, inverse, rows):
    """Correlate a tile with ``n`` columns over one split: fill ``rows.r`` and ``rows.highest``.

    Parameters
    ----------
    product
        (fold, column, tile unit), sums of x times the columns; its ``k``-th is ``column``, the first of them.
    rows
        ``Rows``, of this tile's width.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    r, members = rows.r, columns.members
    for j in range(n):
        inverse_z, mean = columns.inverse_z[split, column + j], columns.mean_z[split, column + j]
        if inverse_z != inverse_z:
            for t in range(r.shape[1]):
                r[j, t] = NONE
            continue
        is_first = True
        for fold in range(len(product)):
            if not members[split, fold]:
                continue
            z = columns.sum_z[fold, column + j]
            if is_first:
                for t in range(r.shape[1]):
                    r[j, t] = product[fold, k + j, t] - mean * split_sum[split, t]
            else:
                for t in range(r.shape[1]):
                    r[j, t] += product[fold, k + j, t] + z * move[split, fold, t]
            is_first = False
        for t in range(r.shape[1]):
            value = r[j, t] * (inverse[split, t] * inverse_z)
            r[j, t] = value + 0.0 if inverse[split, t] > 0 and value == value else NONE  # -0.0 has other bits than 0.0
    largest = _largest(n, rows)
    if largest > 1.0:
        for j in range(n):
            for t in range(r.shape[1]):
                r[j, t] = NONE if r[j, t] == NONE else min(max(r[j, t], -1.0), 1.0)
    for j in range(n):
        rows.highest_bits[j] = _highest(rows.bits, j)
    return largest


@compiled
def _largest(n, rows):
    """The largest |r|."""
    bits, largest = rows.bits, np.int64(0)
    for j in range(n):
        for t in range(bits.shape[1]):
            largest = max(largest, np.int64(0) if bits[j, t] == _BITS_OF_NONE else bits[j, t] & _NO_SIGN)
    rows.highest_bits[0] = largest  # for a moment, to read it as the number that it is
    return rows.highest[0]


@compiled
def _highest(bits, j):
    """The bits of one column's highest r."""
    most, least = -_NO_SIGN, _NO_SIGN
    for t in range(bits.shape[1]):
        most = max(most, bits[j, t])
        least = min(least, bits[j, t])
    return most if most >= 0 else least


@compiled
def rank(product, begin, n_columns, columns, places, order, top, move, split_sum, inverse, rows, found):
    """Correlate a tile with some columns over every split, count the units by r and keep the best.

    Parameters
    ----------
    product
        (fold, column, tile unit), sums of x times the ``n_columns`` columns from ``begin`` on.
    places
        ``Places`` of the units in ``order``.
    rows
        ``Rows``, of this tile's width.
    found
        ``Found``, added to.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    largest, end = 0.0, begin + n_columns
    for split in range(len(columns.members)):
        column = begin
        while column < end:
            is_site = column < columns.n_sites
            n = min(TOGETHER, (min(columns.n_sites, end) if is_site else end) - column)
            reached = correlate(product, column - begin, n, split, column, columns, move, split_sum, inverse, rows)
            largest = max(largest, reached)
            if is_site:
                if split == 0:
                    _count(rows, n, column, found.counts)
                    _keep_positions(rows, n, column, places, order, found.map_r, found.map_position)
                _keep_best(rows, n, split, column, places, order.area, top, found)
            else:
                _keep_chance(rows, n, split, column - columns.n_sites, places, order.area, found)
            column += n
    return largest


@compiled
def _keep_chance(rows, n, split, shuffle, places, area, found):
    """The best unit of ``n`` shuffled sites, the first of equals."""
    r, best, first, channel, position = rows.r, found.null_r, found.null_unit, places.channel, places.position
    for j in range(n):
        if rows.highest[j] == NONE or rows.highest[j] < best[split, shuffle + j]:
            continue
        for t in range(r.shape[1]):
            if r[j, t] >= max(best[split, shuffle + j], -1.0):
                unit = np.int64(channel[t]) * area + position[t]
                if r[j, t] > best[split, shuffle + j] or unit < first[split, shuffle + j]:
                    best[split, shuffle + j] = r[j, t]
                    first[split, shuffle + j] = unit


@compiled
def _count(rows, n, site, counts):
    """Units of ``n`` sites by r."""
    r, bins, four_bins, n_units = rows.r, rows.bins, rows.four_bins, rows.r.shape[1]
    a, b, c, d = rows.histogram[0], rows.histogram[1], rows.histogram[2], rows.histogram[3]
    for j in range(n):
        if rows.highest[j] == NONE:
            continue
        for t in range(n_units):
            bins[t] = np.uint16(np.int32((r[j, t] - NONE) * (N_R_BINS / 2)))
        for t in range(n_units // _HISTOGRAMS):
            four = four_bins[t]
            a[np.uint16(four)] += 1
            b[np.uint16(four >> 16)] += 1
            c[np.uint16(four >> 32)] += 1
            d[np.uint16(four >> 48)] += 1
        for t in range(n_units - n_units % _HISTOGRAMS, n_units):
            a[bins[t]] += 1
        counts[site + j, N_R_BINS - 1] += _taken(_LAST_BIN, a, b, c, d)
        for k in range(N_R_BINS):
            counts[site + j, k] += _taken(_FIRST_BIN + k, a, b, c, d)
        _taken(0, a, b, c, d)


@compiled
def _taken(k, a, b, c, d):
    """What four histograms have in one bin, which is empty then."""
    total = np.int32(a[k]) + np.int32(b[k]) + np.int32(c[k]) + np.int32(d[k])
    a[k] = b[k] = c[k] = d[k] = 0
    return total


@compiled
def _keep_positions(rows, n, site, places, order, best, where):
    """The best position of every feature map for ``n`` sites, the first of equals."""
    if order.is_position_major:
        _keep_position(rows, n, site, places, best, where)
    else:
        _keep_maps(rows, n, site, places, best, where)


@compiled
def _keep_position(rows, n, site, places, best, where):
    """Channels that lie side by side, position by position."""
    r, channel, position, runs = rows.r, places.channel, places.position, places.runs
    for j in range(n):
        for k in range(len(runs) - 1):
            own, first, here = r[j, runs[k] : runs[k + 1]], channel[runs[k]], position[runs[k]]
            known, at = best[site + j, first : first + len(own)], where[site + j, first : first + len(own)]
            for t in range(len(own)):
                is_better = (own[t] > known[t] or (own[t] == known[t] and here < at[t])) and own[t] != NONE
                known[t] = own[t] if is_better else known[t]
                at[t] = here if is_better else at[t]


@compiled
def _keep_maps(rows, n, site, places, best, where):
    """Positions that lie side by side, channel by channel; a unit's place stands in the last of the bits of its r."""
    r, bits, highest = rows.r, rows.bits, rows.highest
    channel, position, runs = places.channel, places.position, places.runs
    for j in range(n):
        for k in range(len(runs) - 1):
            begin, end, c, most = runs[k], runs[k + 1], channel[runs[k]], -_NO_SIGN
            if highest[j] < best[site + j, c]:
                continue
            own = bits[j, begin:end]  # of a slice no index can count from the end, which is asked for each otherwise
            for t in range(len(own)):
                rising = own[t] ^ ((own[t] >> 63) & _NO_SIGN)
                most = max(most, (rising | _PLACE) - t)
            first = begin + _PLACE - (most & _PLACE)
            value, at = r[j, first], position[first]
            if value >= best[site + j, c] and value != NONE:
                where[site + j, c] = at if value > best[site + j, c] else min(at, where[site + j, c])
                best[site + j, c] = value


@compiled
def _keep_best(rows, n, split, site, places, area, top, found):
    """Units that may be among the ``top`` best of ``n`` sites."""
    r, is_kept, stretch, channel, position = rows.r, rows.is_kept, rows.stretch, places.channel, places.position
    n_kept, floor, kept_r, kept_unit = found.n_kept, found.floor, found.kept_r, found.kept_unit
    for j in range(n):
        own_floor, m = floor[split, site + j], n_kept[split, site + j]
        if rows.highest[j] < own_floor:
            continue
        for t in range(r.shape[1]):
            is_kept[t] = r[j, t] >= own_floor and r[j, t] != NONE
        for k in range(len(stretch)):
            if stretch[k] == 0:
                continue
            for t in range(_STRETCH * k, min(_STRETCH * (k + 1), r.shape[1])):
                if not is_kept[t]:
                    continue
                if m == kept_r.shape[2]:
                    n_kept[split, site + j] = m
                    prune(kept_r[split, site + j], kept_unit[split, site + j], n_kept, floor, split, site + j, top)
                    m, own_floor = n_kept[split, site + j], floor[split, site + j]
                if r[j, t] < own_floor:
                    continue
                kept_r[split, site + j, m] = r[j, t]
                kept_unit[split, site + j, m] = np.int64(channel[t]) * area + position[t]
                m += 1
        n_kept[split, site + j] = m


@compiled
def prune_all(found, top):
    """Keep of every site what ``ranking.best`` keeps."""
    for split in range(found.n_kept.shape[0]):
        for site in range(found.n_kept.shape[1]):
            if found.n_kept[split, site] > top:
                prune(
                    found.kept_r[split, site], found.kept_unit[split, site], found.n_kept, found.floor, split, site, top
                )


@compiled
def prune(r, unit, n_kept, floor, split, site, top):
    """Keep of one site what ``ranking.best`` keeps, and raise its floor to the last rank's r less ``MARGIN``."""
    n = n_kept[split, site]
    last = highest_but(top - 1, r[:n])
    floor[split, site] = max(floor[split, site], last - MARGIN)
    n_near = 0
    for k in range(n):
        n_near += r[k] >= last - MARGIN
    most, least = np.inf, last - MARGIN
    if n_near > top + SPARE:
        most, least = _last_tied_unit(r[:n], unit[:n], last, top + SPARE), _least_below(r[:n], last, top + SPARE)
    stay = 0
    for k in range(n):
        is_tied = abs(r[k] - last) <= LEVEL
        if stay < top + SPARE and (unit[k] <= most if is_tied else r[k] >= least):
            r[stay] = r[k]
            unit[stay] = unit[k]
            stay += 1
    n_kept[split, site] = stay


@compiled
def _last_tied_unit(r, unit, last, room):
    """Of the units as good as the last rank, the highest index for which there is room beside all better ones."""
    tied, n_tied, n_better = np.empty(len(r)), 0, 0
    for k in range(len(r)):
        if abs(r[k] - last) <= LEVEL:
            tied[n_tied] = -np.float64(unit[k])
            n_tied += 1
        n_better += r[k] > last + LEVEL
    return -highest_but(min(n_tied, room - n_better) - 1, tied[:n_tied])


@compiled
def _least_below(r, last, room):
    """The r from which units below the last rank stay: those within ``MARGIN`` of it, as many as there is room for."""
    below, n_below, n_others = np.empty(len(r)), 0, 0
    for k in range(len(r)):
        if last - MARGIN <= r[k] < last - LEVEL:
            below[n_below] = r[k]
            n_below += 1
        n_others += r[k] >= last - LEVEL
    n_stay = min(n_below, room - n_others)
    return highest_but(n_stay - 1, below[:n_below]) if n_stay > 0 else last - LEVEL


@compiled
def highest_but(n, values):
    """The highest of some values but ``n``: where it may be is halved by how many lie above the middle.

    A processor counts several at a time; Hoare's selection, which asks them one by one, takes longer.
    """
    low, high, n_above = np.inf, -np.inf, len(values)
    for value in values:
        low, high = min(low, value), max(high, value + 1.0)
    while n_above != n + 1:
        middle, n_above = low + (high - low) / 2, 0
        if not low < middle < high:
            break
        for value in values:
            n_above += value >= middle
        low, high = (middle, high) if n_above > n else (low, middle)
    lowest = np.inf
    for value in values:
        lowest = min(lowest, value) if value >= low else lowest
    return lowest
