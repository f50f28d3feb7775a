"""The activations of chosen units, out of those of all."""

from engine.kernels.arrays import compiled
from engine.kernels.prefetching import AHEAD, prefetch_chosen

_AT_ONCE = 64
"""Units whose activations are gathered together."""


@compiled
def gather(values, index, found):
    """Copy columns of ``values`` (stimulus, unit) into the rows of ``found``, some at a time that a cache holds.

    Parameters
    ----------
    values
        (stimulus, unit) float32.
    index
        (chosen,) int64, faster if it rises.
    found
        (chosen, stimulus) float32, filled.
    """
    for first in range(0, len(index), _AT_ONCE):
        stop = min(first + _AT_ONCE, len(index))
        for n in range(len(values)):
            prefetch_chosen(values, n + AHEAD, index, first, stop)
            row = values[n]
            for k in range(first, stop):
                found[k, n] = row[index[k]]
