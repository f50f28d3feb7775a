"""From the sums of a tile to r, and from r to counts, best positions and the best units."""

import numpy as np
from numba import njit

from engine.kernels.arrays import compiled
from engine.schema import LEVEL, LOW_VARIATION, MARGIN, MIN_STIMULI, N_R_BINS, ROUNDING, SPARE

OK, CONSTANT, LOW, NONFINITE = 0, 1, 2, 3
"""Status of a unit."""

NONE = -2.0
"""In place of an r that there is not: unlike NaN it compares, so that a processor can take several at a time."""

_FIRST_BIN = N_R_BINS // 2
"""Of r = -1, where ``NONE`` has bin 0."""

_N_BINS = _FIRST_BIN + N_R_BINS + 1
"""The last one is that of r = 1."""

ROOM = 6
"""Units that are kept before those that cannot be among the best are dropped, as a multiple of those that then stay."""

_ROWS = 4
"""Histograms that take units in turn."""

_STRETCH = 32
"""Units of which the best is looked at first."""

_reducing = njit(nogil=True, cache=True, error_model="numpy", fastmath={"nnan", "nsz", "reassoc"})
"""For maxima of numbers, which may be taken in any order."""


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
def correlate(product, k, split, column, columns, move, split_sum, inverse, r):
    """Fill ``r`` (tile unit,) float64 with one column's correlations over one split; ``NONE`` where there is none.

    Parameters
    ----------
    product
        (fold, column, tile unit), sums of x times the columns; the ``k``-th of them is ``column``.

    Returns
    -------
    tuple of float
        The highest r; and the largest |r| before rounding beyond 1 was cut off.
    """
    inverse_z = columns.inverse_z[split, column]
    if inverse_z != inverse_z:
        r[:] = NONE
        return NONE, 0.0
    mean, own_sum, own_inverse = columns.mean_z[split, column], split_sum[split], inverse[split]
    is_first = True
    for fold in range(len(product)):
        if not columns.members[split, fold]:
            continue
        own, z, moved = product[fold, k], columns.sum_z[fold, column], move[split, fold]
        if is_first:
            for t in range(len(r)):
                r[t] = own[t] - mean * own_sum[t]
        else:
            for t in range(len(r)):
                r[t] += own[t] + z * moved[t]
        is_first = False
    for t in range(len(r)):
        value = r[t] * (own_inverse[t] * inverse_z)
        r[t] = value if own_inverse[t] > 0 and value == value else NONE
    highest, lowest = _range(r)
    if highest > 1.0 or lowest < -1.0:
        for t in range(len(r)):
            r[t] = NONE if r[t] == NONE else min(max(r[t], -1.0), 1.0)
    return min(highest, 1.0), max(highest, -lowest)


@_reducing
def _range(r):
    """The highest and the lowest r; 0 for the lowest where there is none below."""
    highest, lowest = NONE, 0.0
    for t in range(len(r)):
        highest = max(highest, r[t])
        lowest = min(lowest, 0.0 if r[t] == NONE else r[t])
    return highest, lowest


@_reducing
def _highest(r, begin, end):
    """The highest r of some units."""
    highest = NONE
    for t in range(begin, end):
        highest = max(highest, r[t])
    return highest


@_reducing
def _first(r, begin, end, value):
    """The first unit with this very r."""
    first = np.int32(end)
    for t in range(begin, end):
        first = min(first, np.int32(t) if r[t] == value else np.int32(end))
    return first


@compiled
def rank(product, begin, columns, places, order, top, move, split_sum, inverse, histogram, found):
    """Correlate a tile with some columns over every split, count the units by r and keep the best.

    Parameters
    ----------
    product
        (fold, column, tile unit), sums of x times the columns from ``begin`` on.
    places
        ``Places`` of the units in ``order``.
    histogram
        As ``empty_histogram`` gives it, and as it stays.
    found
        ``Found``, added to.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    n_units, largest = len(places.channel), 0.0
    r, bins = np.empty(n_units), np.empty(n_units, np.int32)
    for split in range(len(columns.members)):
        for k in range(product.shape[1]):
            column = begin + k
            highest, reached = correlate(product, k, split, column, columns, move, split_sum, inverse, r)
            largest = max(largest, reached)
            if highest == NONE:
                continue
            if column >= columns.n_sites:
                if highest >= found.null_r[split, column - columns.n_sites]:
                    _keep_chance(r, split, column - columns.n_sites, places, order.area, found)
                continue
            if split == 0:
                _count(r, bins, histogram, found.counts[column])
                _keep_positions(r, places, order, found.map_r[column], found.map_position[column])
            if highest >= found.floor[split, column]:
                _keep_best(r, split, column, places, order.area, top, found)
    return largest


@compiled
def empty_histogram():
    """Counts of one tile and column by r, all zero: some rows that are added up, since neighbours share their bins."""
    return np.zeros((_ROWS, _N_BINS), np.int32)


@compiled
def _keep_chance(r, split, shuffle, places, area, found):
    """The best unit of a shuffled site, the first of equals."""
    best, first = found.null_r[split], found.null_unit[split]
    for t in range(len(r)):
        if r[t] >= max(best[shuffle], -1.0):
            unit = np.int64(places.channel[t]) * area + places.position[t]
            if r[t] > best[shuffle] or unit < first[shuffle]:
                best[shuffle] = r[t]
                first[shuffle] = unit


@compiled
def _count(r, bins, histogram, counts):
    """Units by r; ``histogram`` is zero before and after."""
    n, last = len(r), np.int32(0)
    for t in range(n):
        bins[t] = np.int32((r[t] - NONE) * (N_R_BINS / 2))
    for t in range(n):
        last = max(last, bins[t])
    a, b, c, d = histogram[0], histogram[1], histogram[2], histogram[3]
    for t in range(0, n - 3, _ROWS):
        a[bins[t]] += 1
        b[bins[t + 1]] += 1
        c[bins[t + 2]] += 1
        d[bins[t + 3]] += 1
    for t in range(n - n % _ROWS, n):
        a[bins[t]] += 1
    for k in range(_FIRST_BIN, last + 1):
        counts[min(k - _FIRST_BIN, N_R_BINS - 1)] += a[k] + b[k] + c[k] + d[k]
    histogram[:, : last + 1] = 0


@compiled
def _keep_positions(r, places, order, best, where):
    """The best position of every feature map, the first of equals."""
    channel, position, runs = places.channel, places.position, places.runs
    for k in range(len(runs) - 1):
        begin, end = runs[k], runs[k + 1]
        if order.is_position_major:
            _keep_position(r[begin:end], position[begin], best[channel[begin] :], where[channel[begin] :])
            continue
        c, highest = channel[begin], _highest(r, begin, end)
        if highest >= best[c] and highest != NONE:
            at = position[_first(r, begin, end, highest)]
            where[c] = at if highest > best[c] else min(at, where[c])
            best[c] = highest


@compiled
def _keep_position(r, position, best, where):
    """One position of channels that lie side by side."""
    for t in range(len(r)):
        is_better = r[t] > best[t] or (r[t] == best[t] and position < where[t])
        is_better = is_better and r[t] != NONE
        best[t] = r[t] if is_better else best[t]
        where[t] = position if is_better else where[t]


@compiled
def _keep_best(r, split, site, places, area, top, found):
    """Units that may be among the ``top`` best."""
    n_kept, floor = found.n_kept, found.floor
    own_r, own_unit = found.kept_r[split, site], found.kept_unit[split, site]
    for begin in range(0, len(r), _STRETCH):
        end = min(begin + _STRETCH, len(r))
        if _highest(r, begin, end) < floor[split, site]:
            continue
        for t in range(begin, end):
            if r[t] < floor[split, site] or r[t] == NONE:
                continue
            if n_kept[split, site] == len(own_r):
                prune(own_r, own_unit, n_kept, floor, split, site, top)
                if r[t] < floor[split, site]:
                    continue
            own_r[n_kept[split, site]] = r[t]
            own_unit[n_kept[split, site]] = np.int64(places.channel[t]) * area + places.position[t]
            n_kept[split, site] += 1


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
    last = _highest_but(top - 1, r[:n].copy())
    floor[split, site] = max(floor[split, site], last - MARGIN)
    most = _last_tied_unit(r[:n], unit[:n], last, top + SPARE)
    least = _least_below(r[:n], last, top + SPARE)
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
    return -_highest_but(min(n_tied, room - n_better) - 1, tied[:n_tied])


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
    return _highest_but(n_stay - 1, below[:n_below]) if n_stay > 0 else last - LEVEL


@compiled
def _highest_but(n, values):
    """The highest of some values but ``n``, by Hoare's selection, which leaves them in another order.

    ``np.partition`` gives the same and takes 6 s more to compile, at the first match after an install.
    """
    low, high = 0, len(values) - 1
    while low < high:
        pivot, left, right = values[(low + high) // 2], low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if n <= right:
            high = right
        elif n >= left:
            low = left
        else:
            break
    return values[n]
