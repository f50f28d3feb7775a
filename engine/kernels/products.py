"""The product of a tile of units with the columns: by a BLAS, or without the activations that are zero.

A rectified unit is silent on about half of the stimuli. What is zero adds nothing: it can be left out, at a cost of
about a third more than a BLAS takes for each activation that is not.
"""

import numpy as np

from engine.kernels.arrays import compiled
from engine.kernels.blas import add_dot
from engine.kernels.vectors import COLUMNS_AT_ONCE, WIDTH, add_chosen_rows, transpose

CHUNK = 60
"""Stimuli in one float32 product at most; they are added one after the other, the products of chunks are added apart. A
product of a chunk, ``COLUMNS_AT_ONCE`` and a tile is small enough (up to a million terms) for OpenBLAS to multiply
without laying its operands out anew; and a chunk's stimuli are fewer than the bits of a number."""

SKIPS_BELOW = 0.75
"""Share of activations other than zero from which on a BLAS is faster, measured with all of ``COLUMNS_AT_ONCE``."""


@compiled
def chunk_of(n_stimuli):
    """Stimuli in each chunk of some, fewer in the last one only."""
    return -(-n_stimuli // -(-n_stimuli // CHUNK))


@compiled
def add_product(columns, begin, start, x, product):
    """Add to ``product`` (column, tile unit) the columns from ``begin`` on times x (stimulus, tile unit).

    Parameters
    ----------
    columns
        ``Columns``; ``begin`` is the first of a block.
    start
        The stimulus of the first row of ``x``.
    product
        float32 or float64.
    """
    part = np.empty(product.shape, np.float32)
    fill_product(columns, begin, start, x, part)
    for c in range(len(product)):
        total, own = product[c], part[c]
        for t in range(len(own)):
            total[t] += own[t]


@compiled
def fill_product(columns, begin, start, x, product):
    """Fill ``product``, float32, with the columns from ``begin`` on times x, as ``add_product`` adds it."""
    z, step = columns.z[begin // columns.width, start : start + len(x)], chunk_of(len(x))
    for first in range(0, len(x), step):
        stop = min(first + step, len(x))
        add_dot(z[first:stop], x[first:stop], first > 0, product)


@compiled
def empty_nonzeros(edges, width):
    """Room for ``find_nonzeros`` of a tile, and to multiply it."""
    most = 1
    for fold in range(len(edges) - 1):
        most = max(most, -(-(edges[fold + 1] - edges[fold]) // CHUNK))
    nonzeros = np.empty((len(edges) - 1, most, width), np.uint64)
    return nonzeros, np.empty((width, COLUMNS_AT_ONCE), np.float32)


@compiled
def find_nonzeros(x, columns, nonzeros):
    """Tell which activations of a tile are not zero, and whether it is worth to multiply no others.

    It takes as long as a BLAS multiplies the tile with ten columns.

    Parameters
    ----------
    x
        (stimulus, tile unit) float32.
    nonzeros
        (fold, chunk, tile unit) uint64, filled if it may be worth it: a bit for each stimulus of the chunk.
    """
    edges, width = columns.edges, x.shape[1]
    if width % WIDTH or 2 * columns.width < COLUMNS_AT_ONCE:
        return False
    n_found = np.zeros(width, np.int32)
    for fold in range(len(edges) - 1):
        step = chunk_of(edges[fold + 1] - edges[fold])
        for k, first in enumerate(range(edges[fold], edges[fold + 1], step)):
            bits = nonzeros[fold, k]
            for t in range(width):
                bits[t] = 0
            for n in range(first, min(first + step, edges[fold + 1])):
                row, bit = x[n], np.uint64(1) << np.uint64(n - first)
                for t in range(width):
                    bits[t] |= bit if row[t] != 0 else np.uint64(0)
                    n_found[t] += 1 if row[t] != 0 else 0
    return n_found.sum() * COLUMNS_AT_ONCE < SKIPS_BELOW * columns.width * x.size


@compiled
def fill_from_nonzeros(columns, begin, start, x, nonzeros, room, product):
    """Fill ``product`` as ``fill_product`` does, by the activations that are not zero alone.

    Parameters
    ----------
    nonzeros
        (chunk, tile unit), as ``find_nonzeros`` fills it, of the fold of ``x``.
    room
        (tile unit, ``COLUMNS_AT_ONCE``) float32, overwritten.
    product
        (``COLUMNS_AT_ONCE``, tile unit) float32; beyond the block's columns zeros, of finite x.
    """
    z, step, width = columns.z[begin // columns.width, start : start + len(x)], chunk_of(len(x)), x.shape[1]
    for k, first in enumerate(range(0, len(x), step)):
        rows, numbers = z.ctypes.data + first * z.strides[0], x.ctypes.data + first * x.strides[0]
        for t in range(width):
            out = room.ctypes.data + t * room.strides[0]
            number = numbers + t * x.itemsize
            add_chosen_rows(nonzeros[k, t], number, x.strides[0], rows, out, k > 0)  # type: ignore[call-arg]
    for t in range(0, width, WIDTH):
        for c in range(0, COLUMNS_AT_ONCE, WIDTH):
            tile, out = room[t:, c:], product[c:, t:]
            transpose(tile.ctypes.data, room.strides[0], out.ctypes.data, product.strides[0])  # type: ignore[call-arg]
