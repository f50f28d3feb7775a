"""Sums of a tile of units, and what of it is multiplied with the columns.

The product is float32, so nothing in it may cancel or drown: a unit's mean in each fold is subtracted first; but a unit
that is zero for ``SILENT`` of the stimuli or more keeps its zeros. Each would become a small number whose rounding,
beside a few large ones, is always the same; and zeros need not be multiplied. The mean of such a unit is at most
1.74 standard deviations (of a share p that is not zero: at most the root of p / (1 - p)), so that little cancels; where
batches are summed, that is so of the fold's first batch.
"""

import numpy as np

from engine.kernels.arrays import compiled
from engine.kernels.prefetching import AHEAD, prefetch
from engine.moments import LARGE, SMALL

SILENT = 0.25
"""Share of stimuli with activation zero from which on a unit keeps its zeros."""

_ROWS = 16
"""Rows summed in float32 before they enter a float64 sum; this only finds the shift."""


@compiled
def centre(block, first, edges, x, tile):
    """Subtract its shift from a tile of units in each fold, and sum what remains.

    Rows are taken by fours, added one after the other: four come from memory at a time, and a sum is read and written a
    fourth as often.

    Parameters
    ----------
    block
        (stimulus, unit) float32, folds one after the other.
    first
        The tile's first unit.
    edges
        (fold + 1,) first stimulus of each fold.
    x
        (stimulus, tile unit) float32, filled with scaled activations less the shift.
    tile
        ``Sums``, filled.
    """
    n_folds, width = tile.shift.shape
    part, zeros = np.zeros(width, np.float32), np.zeros((n_folds, width), np.float32)
    low, high = tile.low, tile.high
    for t in range(width):
        low[t], high[t] = np.inf, -np.inf
    for fold in range(n_folds):
        total, own_zeros = tile.sum_x[fold], zeros[fold]
        for t in range(width):
            total[t] = 0.0
        for begin in range(edges[fold], edges[fold + 1], _ROWS):
            end = min(begin + _ROWS, edges[fold + 1])
            for n in range(begin, end - 3, 4):
                _take_four(block, n, first, x, part, own_zeros, low, high)
            for n in range(end - (end - begin) % 4, end):
                row, out = block[n, first : first + width], x[n]
                for t in range(width):
                    a = row[t]
                    out[t] = a
                    part[t] += a
                    own_zeros[t] += np.float32(1.0) if a == 0.0 else np.float32(0.0)
                    low[t] = a if a < low[t] else low[t]
                    high[t] = a if a > high[t] else high[t]
            for t in range(width):
                total[t] += part[t]
                part[t] = 0.0
    is_scaled = _choose_scale(x, edges, tile)
    for fold in range(n_folds):
        n_stimuli = edges[fold + 1] - edges[fold]
        shift, total, squares = tile.shift[fold], tile.sum_x[fold], tile.sum_xx[fold]
        for t in range(width):
            is_silent = zeros[fold, t] >= SILENT * n_stimuli
            shift[t] = 0.0 if is_silent else np.float32(total[t] / n_stimuli * tile.scale[t])
            total[t] = squares[t] = 0.0
        if is_scaled:
            for n in range(edges[fold], edges[fold + 1]):
                for t in range(width):
                    x[n, t] *= tile.scale[t]
        end = edges[fold + 1]
        for n in range(edges[fold], end - 3, 4):
            _sum_four(x, n, shift, total, squares)
        for n in range(end - n_stimuli % 4, end):
            own = x[n]
            for t in range(width):
                d = own[t] - shift[t]
                own[t] = d
                e = np.float64(d)
                total[t] += e
                squares[t] += e * e


@compiled
def _take_four(block, n, first, x, part, zeros, low, high):
    """Copy a tile of four stimuli, and take what its shift needs."""
    width, one, none = len(part), np.float32(1.0), np.float32(0.0)
    prefetch(block, n + AHEAD, min(n + AHEAD + 4, len(block)), first, width)
    rows_a, rows_b = block[n, first : first + width], block[n + 1, first : first + width]
    rows_c, rows_d = block[n + 2, first : first + width], block[n + 3, first : first + width]
    out_a, out_b, out_c, out_d = x[n], x[n + 1], x[n + 2], x[n + 3]
    for t in range(width):
        a, b, c, d = rows_a[t], rows_b[t], rows_c[t], rows_d[t]
        out_a[t], out_b[t], out_c[t], out_d[t] = a, b, c, d
        part[t] = part[t] + a + b + c + d
        n_zeros = zeros[t] + (one if a == 0 else none) + (one if b == 0 else none)
        zeros[t] = n_zeros + (one if c == 0 else none) + (one if d == 0 else none)
        least, most = low[t], high[t]
        least = a if a < least else least
        least = b if b < least else least
        least = c if c < least else least
        low[t] = d if d < least else least
        most = a if a > most else most
        most = b if b > most else most
        most = c if c > most else most
        high[t] = d if d > most else most


@compiled
def _sum_four(x, n, shift, total, squares):
    """Subtract the shift from four stimuli, and sum what remains."""
    own_a, own_b, own_c, own_d = x[n], x[n + 1], x[n + 2], x[n + 3]
    for t in range(len(shift)):
        a, b, c, d = own_a[t] - shift[t], own_b[t] - shift[t], own_c[t] - shift[t], own_d[t] - shift[t]
        own_a[t], own_b[t], own_c[t], own_d[t] = a, b, c, d
        e, f, g, h = np.float64(a), np.float64(b), np.float64(c), np.float64(d)
        total[t] = total[t] + e + f + g + h
        squares[t] = squares[t] + e * e + f * f + g * g + h * h


@compiled
def _choose_scale(x, edges, tile):
    is_scaled = False
    for t in range(len(tile.scale)):
        low, high = np.float64(tile.low[t]), np.float64(tile.high[t])
        tile.scale[t] = 1.0
        for fold in range(len(edges) - 1):
            if not np.isfinite(tile.sum_x[fold, t]) and np.isfinite(low) and np.isfinite(high):
                total = 0.0
                for n in range(edges[fold], edges[fold + 1]):
                    total += np.float64(x[n, t])
                tile.sum_x[fold, t] = total
        reach = high - low
        if np.isfinite(reach) and reach > 0 and (reach < SMALL or reach > LARGE):
            tile.scale[t] = np.float32(_power(reach))
            is_scaled = True
    return is_scaled


@compiled
def add_batch(rows, first, fold, n_before, x, tile):
    """Add a batch of one fold to a tile's sums, and subtract the shift, which the fold's first batch gives.

    Parameters
    ----------
    rows
        (batch, unit) float32.
    first
        The tile's first unit.
    fold
        Of all stimuli of the batch.
    n_before
        (all stimuli, stimuli of this fold) that were added earlier.
    x
        (batch, tile unit) float32, filled with what the columns are multiplied with.
    tile
        ``Sums``; the scale is chosen by the first batch of all.

    Returns
    -------
    bool
        Whether the batch has a NaN or infinite activation here.
    """
    n_stimuli, width = x.shape
    shift, sum_x, sum_xx = tile.shift[fold], tile.sum_x[fold], tile.sum_xx[fold]
    low, high, scale = tile.low, tile.high, tile.scale
    if n_before[0] == 0:
        low[:] = np.inf
        high[:] = -np.inf
        scale[:] = 1.0
    if n_before[1] == 0:
        _choose_shift(rows, first, n_before[0] == 0, shift, scale)
        sum_x[:] = 0.0
        sum_xx[:] = 0.0
    for n in range(n_stimuli):
        row, out = rows[n, first : first + width], x[n]
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


@compiled
def _choose_shift(rows, first, chooses_scale, shift, scale):
    """A unit's mean over its first batch, scaled where its activations are extreme; 0 where many of them are."""
    n_stimuli, width = len(rows), len(shift)
    for t in range(width):
        total, largest, zeros = 0.0, 0.0, 0
        for n in range(n_stimuli):
            a = np.float64(rows[n, first + t])
            total += a
            largest = max(largest, abs(a))
            zeros += a == 0.0
        if chooses_scale and np.isfinite(largest) and largest > 0 and (largest < SMALL or largest > LARGE):
            scale[t] = np.float32(_power(largest))
        shift[t] = 0.0 if zeros >= SILENT * n_stimuli else np.float32(total / n_stimuli * scale[t])


@compiled
def _power(reach):
    """The power of two that brings ``reach`` near 1, within float32."""
    return 2.0 ** min(max(-np.floor(np.log2(reach)), -126.0), 126.0)
