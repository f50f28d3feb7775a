"""From the sums of a tile to r, and from r to counts, best positions and the best units."""

import numpy as np
from numba import njit

from engine.kernels.arrays import compiled
from engine.ranking import LEVEL, MARGIN, SPARE
from engine.schema import LOW_VARIATION, MIN_STIMULI, N_R_BINS, ROUNDING

OK, CONSTANT, LOW, NONFINITE = 0, 1, 2, 3
"""Status of a unit."""

NONE = -2.0
"""In place of an r that there is not: unlike NaN it compares, so that a processor can take several at a time."""

_FIRST_BIN = N_R_BINS // 2
"""Of r = -1, where ``NONE`` has bin 0."""

_N_BINS = _FIRST_BIN + N_R_BINS + 1
"""The last one is that of r = 1."""

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
        NaN where it is not ranked.
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
            inverse[split, t] = 1.0 / np.sqrt(centred) if varies else np.nan
            if split == 0:
                is_low = low < high and np.sqrt(centred / n) <= LOW_VARIATION * largest
                status[t] = NONFINITE if not finite else CONSTANT if low == high else LOW if is_low else OK
            if status[t] != OK:
                inverse[split, t] = np.nan


@compiled
def correlate(product, split, column, columns, move, split_sum, inverse, r):
    """Fill ``r`` (tile unit,) float64 with one column's correlations over one split; ``NONE`` where there is none.

    Parameters
    ----------
    product
        (fold, tile unit), sums of x times the column.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    mean, inverse_z, own_sum, own_inverse = (
        columns.mean_z[split, column],
        columns.inverse_z[split, column],
        split_sum[split],
        inverse[split],
    )
    for t in range(len(r)):
        r[t] = -mean * own_sum[t]
    for fold in range(len(product)):
        if columns.members[split, fold]:
            own, z, moved = product[fold], columns.sum_z[fold, column], move[split, fold]
            for t in range(len(r)):
                r[t] += own[t] + z * moved[t]
    for t in range(len(r)):
        value = r[t] * own_inverse[t] * inverse_z
        r[t] = value if value == value else NONE
    largest = _largest(r)
    for t in range(len(r)):
        r[t] = NONE if r[t] == NONE else min(max(r[t], -1.0), 1.0)
    return largest


@_reducing
def _largest(r):
    """The largest |r|."""
    largest = 0.0
    for t in range(len(r)):
        largest = max(largest, 0.0 if r[t] == NONE else abs(r[t]))
    return largest


@_reducing
def _highest(r, begin, end):
    """The highest r of some units."""
    highest = NONE
    for t in range(begin, end):
        highest = max(highest, r[t])
    return highest


@compiled
def rank(product, begin, columns, channel, position, order, top, move, split_sum, inverse, found):
    """Correlate a tile with some columns over every split, count the units by r and keep the best.

    Parameters
    ----------
    product
        (fold, column, tile unit), sums of x times the columns from ``begin`` on.
    channel, position
        (tile unit,) int32, of the units in ``order``; a unit's index is ``channel * area + position``.
    found
        ``Found``, added to.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    n_units, area, largest = len(channel), order.area, 0.0
    r, bins = np.empty(n_units), np.empty(n_units, np.int32)
    runs = _runs(channel, order)
    for split in range(len(columns.members)):
        for k in range(product.shape[1]):
            column = begin + k
            reached = correlate(product[:, k], split, column, columns, move, split_sum, inverse, r)
            largest = max(largest, reached)
            highest = _highest(r, 0, n_units)
            if column >= columns.n_sites:
                if highest >= max(found.null_r[split, column - columns.n_sites], -1.0):
                    _keep_chance(r, split, column - columns.n_sites, channel, position, area, found)
                continue
            if split == 0:
                _count(r, bins, found.counts[column])
                _keep_positions(r, runs, channel, position, found.map_r[column], found.map_position[column])
            if highest >= max(found.floor[split, column], -1.0):
                _keep_best(r, split, column, channel, position, area, top, found)
    return largest


@compiled
def _runs(channel, order):
    """Edges of stretches of units of one feature map; of single units where the channels lie side by side."""
    edges = [0]
    for t in range(1, len(channel)):
        if order.is_position_major or channel[t] != channel[t - 1]:
            edges.append(t)
    edges.append(len(channel))
    return np.array(edges)


@compiled
def _keep_chance(r, split, shuffle, channel, position, area, found):
    """The best unit of a shuffled site, the first of equals."""
    best, first = found.null_r[split], found.null_unit[split]
    for t in range(len(r)):
        if r[t] >= max(best[shuffle], -1.0):
            unit = np.int64(channel[t]) * area + position[t]
            if r[t] > best[shuffle] or unit < first[shuffle]:
                best[shuffle] = r[t]
                first[shuffle] = unit


@compiled
def _count(r, bins, counts):
    """Units by r: into a histogram of this tile first, two increments at a time, since neighbours share their bins."""
    for t in range(len(r)):
        bins[t] = np.int32((r[t] - NONE) * (N_R_BINS / 2))
    even, odd = np.zeros(_N_BINS, np.int32), np.zeros(_N_BINS, np.int32)
    for t in range(0, len(r) - 1, 2):
        even[bins[t]] += 1
        odd[bins[t + 1]] += 1
    if len(r) % 2:
        even[bins[-1]] += 1
    for k in range(N_R_BINS):
        counts[k] += even[_FIRST_BIN + k] + odd[_FIRST_BIN + k]
    counts[N_R_BINS - 1] += even[_N_BINS - 1] + odd[_N_BINS - 1]


@compiled
def _keep_positions(r, runs, channel, position, best, where):
    """The best position of every feature map, the first of equals."""
    for k in range(len(runs) - 1):
        begin, end = runs[k], runs[k + 1]
        highest = r[begin] if end - begin == 1 else _highest(r, begin, end)
        c = channel[begin]
        if highest < best[c] or highest == NONE:
            continue
        for t in range(begin, end):
            if r[t] > best[c] or (r[t] == best[c] and position[t] < where[c]):
                best[c] = r[t]
                where[c] = position[t]


@compiled
def _keep_best(r, split, site, channel, position, area, top, found):
    """Units that may be among the ``top`` best."""
    n_kept, floor = found.n_kept, found.floor
    own_r, own_unit = found.kept_r[split, site], found.kept_unit[split, site]
    for t in range(len(r)):
        if r[t] >= max(floor[split, site], -1.0):
            if n_kept[split, site] == len(own_r):
                prune(own_r, own_unit, n_kept, floor, split, site, top)
                if r[t] < floor[split, site]:
                    continue
            own_r[n_kept[split, site]] = r[t]
            own_unit[n_kept[split, site]] = np.int64(channel[t]) * area + position[t]
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
    last = np.sort(r[:n])[n - top]
    floor[split, site] = last - MARGIN
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
    tied = unit[np.abs(r - last) <= LEVEL].astype(np.float64)
    n_better = (r > last + LEVEL).sum()
    return np.sort(tied)[min(len(tied), room - n_better) - 1]


@compiled
def _least_below(r, last, room):
    """The r from which units below the last rank stay: those within ``MARGIN`` of it, as many as there is room for."""
    below = np.sort(r[(r < last - LEVEL) & (r >= last - MARGIN)])
    n_room = room - (r >= last - LEVEL).sum()
    if n_room <= 0 or len(below) == 0:
        return last - LEVEL
    return below[max(0, len(below) - n_room)]
