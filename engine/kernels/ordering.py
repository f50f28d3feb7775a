"""The one order of pairs of a column and a unit, several times faster than a sort by four keys."""

import numpy as np

from engine.kernels.arrays import compiled


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
    edges = np.zeros((column.max() if len(column) else 0) + 2, np.int64)
    for k in range(len(column)):
        edges[column[k] + 1] += 1
    edges = np.cumsum(edges)
    index, n_placed = np.empty(len(column), np.int64), edges.copy()
    for k in range(len(column)):
        index[n_placed[column[k]]] = k
        n_placed[column[k]] += 1
    for c in range(len(edges) - 1):
        _sort(index[edges[c] : edges[c + 1]], layer, unit, r)
    return index


@compiled
def _sort(index, layer, unit, r):
    """Sort the pairs that ``index`` names in place."""
    falling = -r[index]
    falling[np.isnan(falling)] = np.inf
    order = np.argsort(falling, kind="mergesort")
    falling, index[:] = falling[order], index[order]
    begin = 0
    for k in range(1, len(index) + 1):
        if k < len(index) and falling[k] == falling[begin]:
            continue
        if k - begin > 1:
            tied = index[begin:k]
            tied[:] = tied[np.argsort(unit[tied], kind="mergesort")]
            tied[:] = tied[np.argsort(layer[tied], kind="mergesort")]
        begin = k
