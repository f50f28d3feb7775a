"""Maxima of windows of feature maps."""

import numpy as np

from engine.kernels.arrays import compiled


@compiled
def pool(maps, first, stop, size, stride, padding, pooled):
    """Fill ``pooled`` (map, y, x) with the maxima of ``maps`` (map, y, x), from map ``first`` to ``stop``.

    ``size``, ``stride`` and ``padding`` are pairs, y then x. NaN in a window makes it NaN; of zeros of both signs
    either may come out.
    """
    height, width = maps.shape[1:]
    row = np.empty(width, np.float32)
    for k in range(first, stop):
        for y in range(pooled.shape[1]):
            top = y * stride[0] - padding[0]
            row[:] = maps[k, max(top, 0)]
            for inner in range(max(top, 0) + 1, min(top + size[0], height)):
                other = maps[k, inner]
                for x in range(width):
                    row[x] = _larger(row[x], other[x])
            for x in range(pooled.shape[2]):
                left = x * stride[1] - padding[1]
                largest = row[max(left, 0)]
                for inner in range(max(left, 0) + 1, min(left + size[1], width)):
                    largest = _larger(largest, row[inner])
                pooled[k, y, x] = largest


@compiled
def _larger(a, b):
    return a if b <= a or a != a else b
