"""Which single unit of a layer is best for a site on the training stimuli of a split, and how does it do on the rest?

The units of the layer come block by block and are not kept: covariances with the sites over all stimuli, less those
over the test stimuli, are those over the training stimuli of every split.
"""

from collections.abc import Sequence

import numpy as np

from engine.analyses.regressions import correlate
from engine.schema import LOW_VARIATION

Split = tuple[np.ndarray, np.ndarray]
"""Positions of training and test stimuli, which together are all."""


class BestUnits:
    """The best unit of each site for each split among the blocks seen so far; of equal ones the first.

    Parameters
    ----------
    response
        (stimulus, site) float64, none missing.
    splits
        Training and test positions.
    """

    def __init__(self, response: np.ndarray, splits: Sequence[Split]) -> None:
        self.response, self.splits = response, splits
        shape = (len(splits), response.shape[1])
        self.unit = np.full(shape, -1, np.int64)
        self._r = np.full(shape, -np.inf)
        self._activation = np.zeros((*shape, len(response)))
        self._centred = response - response.mean(axis=0)

    def add(self, first: int, activation: np.ndarray) -> None:
        """Take in a block, (stimulus, unit) float64, whose first unit has the index ``first``; NaN units never win."""
        is_finite = np.isfinite(activation).all(axis=0)
        x = np.where(is_finite, activation, 0.0)
        largest = np.abs(x).max(axis=0)
        x = x - x.mean(axis=0)
        whole = (self._centred.T @ x, x.sum(axis=0), (x**2).sum(axis=0))
        for index, (train, test) in enumerate(self.splits):
            r = self._training_r(x, whole, train, test, largest)
            r[:, ~is_finite] = -np.inf
            best = r.argmax(axis=1)
            value = r[np.arange(len(r)), best]
            better = np.flatnonzero(value > self._r[index])
            self._r[index, better] = value[better]
            self.unit[index, better] = first + best[better]
            self._activation[index, better] = activation[:, best[better]].T

    def held_out(self) -> np.ndarray:
        """Return (split, site), Pearson's r of the best units on the test stimuli; NaN without a unit or variation."""
        rows = [
            correlate(self._activation[index][:, test].T, self.response[test])
            for index, (_, test) in enumerate(self.splits)
        ]
        return np.where(self.unit >= 0, np.array(rows).reshape(self.unit.shape), np.nan)

    def _training_r(
        self,
        x: np.ndarray,
        whole: tuple[np.ndarray, np.ndarray, np.ndarray],
        train: np.ndarray,
        test: np.ndarray,
        largest: np.ndarray,
    ) -> np.ndarray:
        """Pearson's r (site, unit) over the training stimuli; -inf where a unit varies by rounding only."""
        n, y = len(train), self._centred
        products, sums, squares = whole
        covariance = products - y[test].T @ x[test]
        x_sum, y_sum = sums - x[test].sum(axis=0), y[train].sum(axis=0)
        covariance -= np.outer(y_sum, x_sum) / n
        variance = squares - (x[test] ** 2).sum(axis=0) - x_sum**2 / n
        varies = variance > n * (LOW_VARIATION * largest) ** 2
        norm = np.sqrt(np.where(varies, variance, 1.0)) * np.sqrt(((y[train] - y_sum / n) ** 2).sum(axis=0))[:, None]
        return np.divide(covariance, norm, out=np.full(covariance.shape, -np.inf), where=varies & (norm > 0))
