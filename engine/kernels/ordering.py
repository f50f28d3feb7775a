"""The one order of pairs of a column and a unit, several times faster than a sort by four keys; and the last rank."""

import numpy as np

from engine.kernels.arrays import compiled
from engine.kernels.ranks import highest_but


@compiled
def by_column(column, layer, unit, r):
    """Tell in which order pairs are sorted by column and, within it, by (-r, layer, unit); NaN counts as -inf.

    Parameters
    ----------
    column, layer, unit
        (pair,) integers, none below 0.
    r
        (pair,) float64.

    Returns
    -------
    np.ndarray
        (pair,) int64.
    """
    index, edges = _columns_together(column)
    for c in range(len(edges) - 1):
        _sort(index[edges[c] : edges[c + 1]], layer, unit, r)
    return index


@compiled
def last_ranks(column, r, top):
    """Return for each pair the r of the ``top``-th best pair of its column, or of the last one of fewer.

    Parameters
    ----------
    column
        (pair,) integers, none below 0.
    r
        (pair,) float64 without NaN.

    Returns
    -------
    np.ndarray
        (pair,) float64.
    """
    (index, edges), last = _columns_together(column), np.empty(len(r))
    for c in range(len(edges) - 1):
        n = edges[c + 1] - edges[c]
        if n == 0:
            continue
        own = np.empty(n)
        for k in range(n):
            own[k] = r[index[edges[c] + k]]
        value = highest_but(min(top, n) - 1, own)
        for k in range(n):
            last[index[edges[c] + k]] = value
    return last


@compiled
def _columns_together(column):
    """In which order pairs are sorted by column, as they come within it, and where each column begins and ends."""
    edges = np.zeros((column.max() if len(column) else 0) + 2, np.int64)
    for k in range(len(column)):
        edges[column[k] + 1] += 1
    for c in range(len(edges) - 1):
        edges[c + 1] += edges[c]
    index, n_placed = np.empty(len(column), np.int64), edges.copy()
    for k in range(len(column)):
        index[n_placed[column[k]]] = k
        n_placed[column[k]] += 1
    return index, edges


@compiled
def _sort(index, layer, unit, r):
    """Sort the pairs that ``index`` names in place: sorted runs of two are merged, of four, and so on.

    ``np.argsort`` by each key in turn does the same and takes some seconds more to compile.
    """
    n, width = len(index), 1
    own, room, own_room = np.empty(n), np.empty(n, np.int64), np.empty(n)
    for k in range(n):
        own[k] = -np.inf if np.isnan(r[index[k]]) else r[index[k]]
    while width < n:
        for begin in range(0, n, 2 * width):
            middle, end = min(begin + width, n), min(begin + 2 * width, n)
            left, right = begin, middle
            for k in range(begin, end):
                is_right = left == middle
                if left < middle and right < end:
                    is_right = own[right] > own[left]
                    if own[right] == own[left]:
                        is_right = _is_earlier(index[right], index[left], layer, unit)
                at = right if is_right else left
                room[k], own_room[k] = index[at], own[at]
                right += is_right
                left += not is_right
        for k in range(n):
            index[k], own[k] = room[k], own_room[k]
        width *= 2


@compiled
def _is_earlier(a, b, layer, unit):
    return unit[a] < unit[b] if layer[a] == layer[b] else layer[a] < layer[b]
