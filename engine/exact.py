"""What exactly is r of a unit and a site: float64, two passes over the responses."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from engine.schema import MIN_STIMULI, ROUNDING

SMALL, LARGE = 1e-140, 1e140
"""Outside this range activations are scaled before they are squared."""


def correlate_exactly(activation: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Correlate units with one site in float64, two passes.

    Parameters
    ----------
    activation
        (unit, stimulus).
    response
        (stimulus,); NaN = missing.

    Returns
    -------
    np.ndarray
        (unit,) Pearson's r; NaN where unit or site vary by rounding only, or under three stimuli are common.
        Equal rows give equal r to the last bit.
    """
    n_units = len(activation)
    return correlate_pairs(activation, np.arange(n_units), np.zeros(n_units, np.int64), response[:, None])


def correlate_pairs(
    activation: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    response: np.ndarray,
    chosen: np.ndarray | None = None,
    *,
    n_threads: int = 1,
) -> np.ndarray:
    """Correlate chosen pairs of a unit and a site in float64.

    Parameters
    ----------
    activation
        (unit, stimulus) float32 or float64.
    row, column
        (pair,) which unit, and which column of ``response``.
    response
        (stimulus, column); NaN = missing.
    chosen
        (stimulus,) bool: over which stimuli; None: over all. Those that lie side by side are not copied.
    n_threads
        Threads that share the pairs.

    Returns
    -------
    np.ndarray
        (pair,) as ``correlate_exactly``.
    """
    first = 0
    if chosen is not None:
        index = np.flatnonzero(chosen)
        response, first = response[index], int(index[0])
        if index[-1] - first >= len(index):
            activation, first = activation[:, index], 0
    response = np.ascontiguousarray(response.T, np.float64)  # a column is summed alike, whatever lies beside it
    seen = np.isfinite(response)
    y = np.where(seen, response, np.nan)
    low, high = np.fmin.reduce(y, axis=1), np.fmax.reduce(y, axis=1)
    varies = (seen.sum(axis=1) >= MIN_STIMULI) & (low < high)
    y = np.where(varies[:, None], y, 0.0)
    y -= np.nanmean(y, axis=1, keepdims=True)
    y = np.where(seen & varies[:, None], y, 0.0)
    norm = np.sqrt((y * y).sum(axis=1, keepdims=True))
    y /= np.where(norm > 0, norm, 1.0)
    out = np.full(len(row), np.nan)
    activation, row, column = np.ascontiguousarray(activation), np.asarray(row, np.int64), np.asarray(column, np.int64)
    columns = y, seen.astype(np.float64), varies
    edges = np.linspace(0, len(row), n_threads + 1).astype(int).tolist()

    def work(begin: int, end: int) -> None:
        _correlate(activation, first, row[begin:end], column[begin:end], *columns, out[begin:end])

    if n_threads == 1:
        work(0, len(row))
    else:
        with ThreadPoolExecutor(n_threads) as threads:
            list(threads.map(work, edges[:-1], edges[1:]))
    return out


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _correlate(activation, first, row, column, y, seen, varies, out):
    n = y.shape[1]
    for pair in range(len(row)):
        if not varies[column[pair]]:
            continue
        x, z, w = activation[row[pair], first : first + n], y[column[pair]], seen[column[pair]]
        largest, n_seen, total = 0.0, 0.0, 0.0
        for k in range(n):
            largest = max(largest, abs(np.float64(x[k])) * w[k])
            n_seen += w[k]
        is_extreme = largest > 0 and (largest < SMALL or largest > LARGE)  # squares would leave float64
        scale = 1.0 / largest if is_extreme else 1.0
        for k in range(n):
            total += np.float64(x[k]) * scale * w[k]
        mean = total / n_seen
        squares, product = 0.0, 0.0
        for k in range(n):
            d = (np.float64(x[k]) * scale - mean) * w[k]
            squares += d * d
            product += d * z[k]
        norm = np.sqrt(squares)
        if np.isfinite(norm) and norm > ROUNDING * largest * scale * np.sqrt(n_seen):
            out[pair] = min(max(product / norm, -1.0), 1.0)


def is_sparse(activation: np.ndarray, below: int) -> np.ndarray:
    """Tell which rows of (unit, stimulus) leave their usual value on fewer than ``below`` stimuli: (unit,) bool."""
    if activation.shape[1] <= 2 * below:
        return np.zeros(len(activation), bool)
    some = activation[:, : 2 * below - 1]  # of a sparse unit, most of any so many are at its usual value
    resting = np.median(some, axis=1, keepdims=True)
    return (activation != resting).sum(axis=1) < below
