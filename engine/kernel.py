"""What a processor does with the activations of a tile of units, once all stimuli are there: sums, then r, then ranks.

Every function is compiled and runs without the interpreter's lock, so that threads share the tiles. A tile is small
enough to stay in a core's cache between the steps; sums run in float64 and only the product of units and columns,
which a BLAS does, is float32: around a unit's own mean in each fold, so that nothing cancels (see ``moments``).
"""

import numpy as np
from numba import njit

from engine.moments import LARGE, SMALL
from engine.ranking import LEVEL, MARGIN, SPARE
from engine.schema import LOW_VARIATION, MIN_STIMULI, N_R_BINS, ROUNDING

OK, CONSTANT, LOW, NONFINITE = 0, 1, 2, 3
"""Status of a unit, as ``status`` gives it."""

_ROWS = 16
"""Rows summed in float32 before they enter a float64 sum; this only finds the shift."""

_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def centre(block, first, edges, x, shift, sum_x, sum_xx, low, high, scale):
    """Subtract from a tile of units their mean in each fold, and sum what remains.

    Parameters
    ----------
    block
        (stimulus, unit) float32, folds one after the other.
    first
        The tile's first unit; it has as many as ``x``.
    edges
        (fold + 1,) first stimulus of each fold.
    x
        (stimulus, tile unit) float32, filled with scaled activations less ``shift``.
    shift, sum_x, sum_xx
        (fold, tile unit), filled: the mean (float32), and the sums of x and of its square (float64).
    low, high, scale
        (tile unit,) float32, filled: extremes, and a power of two, other than 1 where float32 products would leave
        their range.
    """
    width = x.shape[1]
    stop = first + width
    part = np.empty(width, np.float32)
    low[:] = np.inf
    high[:] = -np.inf
    for fold in range(len(edges) - 1):
        total = sum_x[fold]
        total[:] = 0.0
        for begin in range(edges[fold], edges[fold + 1], _ROWS):
            part[:] = 0.0
            for n in range(begin, min(begin + _ROWS, edges[fold + 1])):
                row = block[n, first:stop]
                for t in range(width):
                    a = row[t]
                    part[t] += a
                    low[t] = a if a < low[t] else low[t]
                    high[t] = a if a > high[t] else high[t]
            for t in range(width):
                total[t] += part[t]
    is_scaled = _choose_scale(block, first, edges, sum_x, low, high, scale)
    for fold in range(len(edges) - 1):
        n_stimuli = edges[fold + 1] - edges[fold]
        own_shift, total, squares = shift[fold], sum_x[fold], sum_xx[fold]
        for t in range(width):
            own_shift[t] = np.float32(total[t] / n_stimuli * scale[t])
            total[t] = 0.0
            squares[t] = 0.0
        for n in range(edges[fold], edges[fold + 1]):
            row, out = block[n, first:stop], x[n]
            if is_scaled:
                for t in range(width):
                    out[t] = row[t] * scale[t] - own_shift[t]
            else:
                for t in range(width):
                    out[t] = row[t] - own_shift[t]
            for t in range(width):
                d = np.float64(out[t])
                total[t] += d
                squares[t] += d * d


@_compiled
def _choose_scale(block, first, edges, sum_x, low, high, scale):
    is_scaled = False
    for t in range(len(scale)):
        scale[t] = 1.0
        for fold in range(len(edges) - 1):
            if not np.isfinite(sum_x[fold, t]) and np.isfinite(low[t]) and np.isfinite(high[t]):
                total = 0.0
                for n in range(edges[fold], edges[fold + 1]):
                    total += np.float64(block[n, first + t])
                sum_x[fold, t] = total
        reach = np.float64(high[t]) - np.float64(low[t])
        if np.isfinite(reach) and reach > 0 and (reach < SMALL or reach > LARGE):
            scale[t] = np.float32(_power(reach))
            is_scaled = True
    return is_scaled


@_compiled
def add_batch(rows, first, n_before, x, shift, sum_x, sum_xx, low, high, scale):
    """Add a batch of one fold to a tile's sums, and subtract the shift, which its first batch gives.

    Parameters
    ----------
    rows
        (batch, unit) float32.
    first
        The tile's first unit.
    n_before
        (all stimuli, stimuli of this fold) that were added earlier.
    x
        (batch, tile unit) float32, filled with what the columns are multiplied with.
    shift, sum_x, sum_xx
        (tile unit,) of this fold, as in ``centre``.
    low, high, scale
        (tile unit,) of all folds; the scale is chosen by the first batch of all.

    Returns
    -------
    bool
        Whether the batch has a NaN or infinite activation here.
    """
    n_stimuli, width = x.shape
    stop = first + width
    if n_before[0] == 0:
        low[:] = np.inf
        high[:] = -np.inf
        scale[:] = 1.0
    if n_before[1] == 0:
        _choose_shift(rows, first, n_before[0] == 0, shift, scale)
        sum_x[:] = 0.0
        sum_xx[:] = 0.0
    for n in range(n_stimuli):
        row, out = rows[n, first:stop], x[n]
        for t in range(width):
            a = row[t]
            low[t] = a if a < low[t] else low[t]
            high[t] = a if a > high[t] else high[t]
            d = a * scale[t] - shift[t]
            out[t] = d
            e = np.float64(d)
            sum_x[t] += e
            sum_xx[t] += e * e
    total = 0.0
    for t in range(width):
        total += sum_xx[t]
    return not np.isfinite(total)


@_compiled
def _choose_shift(rows, first, chooses_scale, shift, scale):
    """A unit's mean over its first batch, scaled by a power of two where its activations are extreme."""
    n_stimuli, width = len(rows), len(shift)
    for t in range(width):
        total, largest = 0.0, 0.0
        for n in range(n_stimuli):
            a = np.float64(rows[n, first + t])
            total += a
            largest = max(largest, abs(a))
        if chooses_scale and np.isfinite(largest) and largest > 0 and (largest < SMALL or largest > LARGE):
            scale[t] = np.float32(_power(largest))
        shift[t] = np.float32(total / n_stimuli * scale[t])


@_compiled
def _power(reach):
    """The power of two that brings ``reach`` near 1, within float32."""
    return 2.0 ** min(max(-np.floor(np.log2(reach)), -126.0), 126.0)


@_compiled
def normalise(edges, members, shift, sum_x, sum_xx, low, high, scale, status, move, split_sum, inverse):
    """Combine the folds of each split: how far their shifts lie apart, sums, and 1 / norm.

    Parameters
    ----------
    members
        (split, fold) bool: which folds a split selects over; split 0 has all.
    status
        (tile unit,) int8, filled.
    move
        (split, fold, tile unit) float64, filled: a fold's shift above that of the split's first fold.
    split_sum, inverse
        (split, tile unit) float64, filled: sum of x around that first fold's shift, and 1 / norm of the centred unit;
        NaN where it is not ranked.
    """
    n_splits, n_folds = members.shape
    for t in range(len(low)):
        largest = max(abs(np.float64(low[t])), abs(np.float64(high[t]))) * scale[t]
        finite = np.isfinite(low[t]) and np.isfinite(high[t])
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
                is_low = low[t] < high[t] and np.sqrt(centred / n) <= LOW_VARIATION * largest
                status[t] = NONFINITE if not finite else CONSTANT if low[t] == high[t] else LOW if is_low else OK
            if status[t] != OK:
                inverse[split, t] = np.nan


@_compiled
def correlate(product, n_units, split, column, members, move, split_sum, inverse, sum_z, mean_z, inverse_z, r):
    """Fill ``r`` (tile unit,) float64 with one column's correlations over one split; NaN where there is none.

    Returns the largest |r| before rounding beyond 1 was cut off.
    """
    largest = 0.0
    for t in range(n_units):
        r[t] = -mean_z[split, column] * split_sum[split, t]
    for fold in range(members.shape[1]):
        if members[split, fold]:
            own, z, moved = product[fold, column], sum_z[fold, column], move[split, fold]
            for t in range(n_units):
                r[t] += own[t] + z * moved[t]
    for t in range(n_units):
        value = r[t] * inverse[split, t] * inverse_z[split, column]
        if abs(value) > largest:
            largest = abs(value)
        r[t] = min(max(value, -1.0), 1.0) if value == value else np.nan
    return largest


@_compiled
def rank(
    product, channel, position, area, n_sites, top, members, move, split_sum, inverse, sum_z, mean_z, inverse_z,
    counts, map_r, map_position, kept_r, kept_unit, n_kept, floor, null_r, null_unit,
):  # fmt: skip
    """Correlate a tile with every column over every split, count the units by r and keep the best.

    Parameters
    ----------
    product
        (fold, column, tile unit) float32, sums of ``x`` times the column.
    channel, position
        (tile unit,) int32; the unit's index is ``channel * area + position``.
    sum_z, mean_z, inverse_z
        (fold, column), (split, column), (split, column) float64, of the columns.
    counts
        (site, r bin) int64, added to.
    map_r, map_position
        (site, channel), raised to the best r of a feature map and the first position that has it.
    kept_r, kept_unit, n_kept, floor
        (split, site, place), the same, (split, site), (split, site): the best units so far, how many there are, and
        the r below which none is kept.
    null_r, null_unit
        (split, shuffle): the best of each shuffled column, and the first unit that has it.

    Returns
    -------
    float
        The largest |r| before rounding beyond 1 was cut off.
    """
    n_units = len(channel)
    r = np.empty(n_units)
    largest = 0.0
    for split in range(members.shape[0]):
        for column in range(product.shape[1]):
            largest = max(largest, correlate(
                product, n_units, split, column, members, move, split_sum, inverse, sum_z, mean_z, inverse_z, r
            ))  # fmt: skip
            if column >= n_sites:
                shuffle = column - n_sites
                for t in range(n_units):
                    if r[t] >= null_r[split, shuffle]:
                        unit = channel[t] * area + position[t]
                        if r[t] > null_r[split, shuffle] or unit < null_unit[split, shuffle]:
                            null_r[split, shuffle] = r[t]
                            null_unit[split, shuffle] = unit
                continue
            if split == 0:
                own_counts, best, where = counts[column], map_r[column], map_position[column]
                for t in range(n_units):
                    if r[t] == r[t]:
                        own_counts[min(int((r[t] + 1.0) * (N_R_BINS / 2)), N_R_BINS - 1)] += 1
                        c = channel[t]
                        if r[t] > best[c] or (r[t] == best[c] and position[t] < where[c]):
                            best[c] = r[t]
                            where[c] = position[t]
            own_r, own_unit = kept_r[split, column], kept_unit[split, column]
            for t in range(n_units):
                if r[t] >= floor[split, column]:
                    if n_kept[split, column] == len(own_r):
                        prune(own_r, own_unit, n_kept, floor, split, column, top)
                        if r[t] < floor[split, column]:
                            continue
                    own_r[n_kept[split, column]] = r[t]
                    own_unit[n_kept[split, column]] = channel[t] * area + position[t]
                    n_kept[split, column] += 1
    return largest


@_compiled
def prune(r, unit, n_kept, floor, split, column, top):
    """Keep of one column what ``ranking.best`` keeps, and raise its floor to the last rank's r less ``MARGIN``."""
    n = n_kept[split, column]
    if n <= top:
        return
    last = np.sort(r[:n])[n - top]
    floor[split, column] = last - MARGIN
    by_unit = np.argsort(unit[:n])
    level = np.empty(n)
    for k in range(n):
        value = r[by_unit[k]]
        level[k] = -last if abs(value - last) <= LEVEL else -value
    order = by_unit[np.argsort(level, kind="mergesort")]
    kept_r, kept_unit = r[order], unit[order]
    stay = 0
    while stay < min(n, top + SPARE) and kept_r[stay] >= last - MARGIN:
        r[stay] = kept_r[stay]
        unit[stay] = kept_unit[stay]
        stay += 1
    n_kept[split, column] = stay
