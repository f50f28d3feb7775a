"""From the sums of a tile to r, and from r to counts, best positions and the best units."""

import numpy as np

from engine.kernels.arrays import compiled
from engine.ranking import LEVEL, MARGIN, SPARE
from engine.schema import LOW_VARIATION, MIN_STIMULI, N_R_BINS, ROUNDING

OK, CONSTANT, LOW, NONFINITE = 0, 1, 2, 3
"""Status of a unit."""


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
    """Fill ``r`` (tile unit,) float64 with one column's correlations over one split; NaN where there is none.

    Parameters
    ----------
    product
        (fold, tile unit), sums of x times the column.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    largest = 0.0
    for t in range(len(r)):
        r[t] = -columns.mean_z[split, column] * split_sum[split, t]
    for fold in range(len(product)):
        if columns.members[split, fold]:
            own, z, moved = product[fold], columns.sum_z[fold, column], move[split, fold]
            for t in range(len(r)):
                r[t] += own[t] + z * moved[t]
    for t in range(len(r)):
        value = r[t] * inverse[split, t] * columns.inverse_z[split, column]
        if abs(value) > largest:
            largest = abs(value)
        r[t] = min(max(value, -1.0), 1.0) if value == value else np.nan
    return largest


@compiled
def rank(product, begin, columns, channel, position, area, top, move, split_sum, inverse, found):
    """Correlate a tile with some columns over every split, count the units by r and keep the best.

    Parameters
    ----------
    product
        (fold, column, tile unit), sums of x times the columns from ``begin`` on.
    channel, position
        (tile unit,) int32; the unit's index is ``channel * area + position``.
    found
        ``Found``, added to.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    r, largest = np.empty(len(channel)), 0.0
    for split in range(len(columns.members)):
        for k in range(product.shape[1]):
            column = begin + k
            reached = correlate(product[:, k], split, column, columns, move, split_sum, inverse, r)
            largest = max(largest, reached)
            if column >= columns.n_sites:
                _keep_chance(r, split, column - columns.n_sites, channel, position, area, found)
                continue
            if split == 0:
                _count(r, column, channel, position, found)
            _keep_best(r, split, column, channel, position, area, top, found)
    return largest


@compiled
def _keep_chance(r, split, shuffle, channel, position, area, found):
    """The best unit of a shuffled site, the first of equals."""
    best, first = found.null_r[split], found.null_unit[split]
    for t in range(len(r)):
        if r[t] >= best[shuffle]:
            unit = np.int64(channel[t]) * area + position[t]
            if r[t] > best[shuffle] or unit < first[shuffle]:
                best[shuffle] = r[t]
                first[shuffle] = unit


@compiled
def _count(r, site, channel, position, found):
    """Units by r, and the best position of every feature map, the first of equals."""
    counts, best, where = found.counts[site], found.map_r[site], found.map_position[site]
    for t in range(len(r)):
        if r[t] == r[t]:
            counts[min(int((r[t] + 1.0) * (N_R_BINS / 2)), N_R_BINS - 1)] += 1
            c = channel[t]
            if r[t] > best[c] or (r[t] == best[c] and position[t] < where[c]):
                best[c] = r[t]
                where[c] = position[t]


@compiled
def _keep_best(r, split, site, channel, position, area, top, found):
    """Units that may be among the ``top`` best."""
    n_kept, floor = found.n_kept, found.floor
    own_r, own_unit = found.kept_r[split, site], found.kept_unit[split, site]
    for t in range(len(r)):
        if r[t] >= floor[split, site]:
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
