"""What units are correlated with: the sites' responses, standardised once, and shuffled copies of them for chance.

Folds and shuffles are nothing but more columns and more sums of the same matrix product.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.schema import REGION, SITE, STIMULUS


@dataclass(frozen=True)
class Targets:
    """Columns to correlate every unit with, over the stimuli in a canonical order (by fold, then by id).

    A stimulus that a site did not see has ``z = 0`` there and is left out by the site's pattern of present stimuli.
    Columns 0 .. n_sites-1 are the sites in the recording's order; the rest are shuffled sites.
    """

    stimuli: np.ndarray
    """(stimulus,) ids in canonical order."""
    fold: np.ndarray
    """(stimulus,) int64, rising."""
    response: np.ndarray
    """(stimulus, site) float64, as recorded; NaN = missing."""
    z: np.ndarray
    """(stimulus, column) float32, mean 0 and norm 1 over the stimuli that are present; 0 where missing."""
    present: np.ndarray
    """(stimulus, pattern) float32 of 0 and 1: the distinct patterns of present stimuli; pattern 0 is all ones."""
    pattern: np.ndarray
    """(column,) int64, pattern of each column."""
    shuffled_site: np.ndarray
    """(shuffle,) int64, which site each shuffled column comes from."""

    @property
    def n_folds(self) -> int:
        """Number of parts."""
        return int(self.fold[-1]) + 1

    @property
    def n_sites(self) -> int:
        """Number of columns that are sites."""
        return self.response.shape[1]

    @property
    def n_columns(self) -> int:
        """Sites and shuffled sites."""
        return self.z.shape[1]

    @property
    def n_patterns(self) -> int:
        """Distinct patterns of present stimuli, the complete one included."""
        return self.present.shape[1]

    def column_response(self) -> np.ndarray:
        """What each column stands for: (stimulus, column) float64, of shuffled sites standardised; NaN = missing."""
        shuffled = slice(self.n_sites, None)
        is_present = self.present[:, self.pattern[shuffled]] > 0
        return np.concatenate([self.response, np.where(is_present, self.z[:, shuffled], np.nan)], axis=1)

    def n_present(self) -> np.ndarray:
        """Count the stimuli of each pattern in each fold: (fold, pattern) float64."""
        return self._by_fold(self.present)

    def sum_z(self) -> np.ndarray:
        """Sum each column in each fold: (fold, column) float64, of the float32 values that are multiplied."""
        return self._by_fold(self.z)

    def sum_zz(self) -> np.ndarray:
        """Sum the squares of each column in each fold: (fold, column) float64."""
        return self._by_fold(self.z.astype(np.float64) ** 2)

    def _by_fold(self, values: np.ndarray) -> np.ndarray:
        starts = np.flatnonzero(np.diff(self.fold, prepend=-1))
        return np.add.reduceat(values.astype(np.float64), starts, axis=0)


def make_targets(recording: xr.Dataset, fold: xr.DataArray, *, shuffles: int, seed: int) -> Targets:
    """Standardise the responses of a recording and draw its shuffled columns.

    Parameters
    ----------
    recording
        ``response`` (stimulus, site), NaN = missing; ``region`` on site.
    fold
        (stimulus) as ``folds.assign_folds`` gives it.
    shuffles
        Shuffled sites for each region: responses permuted over the stimuli that the site saw.
    seed
        Of the shuffles. The order of stimuli and sites in the recording changes nothing.
    """
    response = recording["response"].transpose(STIMULUS, SITE)
    ids = response[STIMULUS].values.astype(str)
    order = np.lexsort((ids, fold.sel({STIMULUS: ids}).values))
    values = response.values.astype(np.float64)[order]
    shuffled, origin = _shuffle(recording, values, ids[order], shuffles, seed)
    columns = np.concatenate([values, shuffled], axis=1)
    present, pattern = _patterns(np.isfinite(columns))
    return Targets(
        stimuli=ids[order],
        fold=fold.sel({STIMULUS: ids[order]}).values,
        response=values,
        z=_standardise(columns),
        present=present,
        pattern=pattern,
        shuffled_site=origin,
    )


def _shuffle(
    recording: xr.Dataset, values: np.ndarray, ids: np.ndarray, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    sites, region = recording[SITE].values.astype(str), recording[REGION].values.astype(str)
    rng = np.random.default_rng([seed, 1])
    by_id = np.argsort(ids)
    shuffled, origin = [], []
    for name in sorted(set(region)):
        of_region = np.flatnonzero(region == name)
        of_region = of_region[np.argsort(sites[of_region])]
        for site in np.resize(rng.permutation(of_region), n):
            column = values[:, site].copy()
            seen = by_id[np.isfinite(column[by_id])]
            column[seen] = column[rng.permutation(seen)]
            shuffled.append(column)
            origin.append(site)
    return np.array(shuffled).reshape(len(shuffled), len(values)).T, np.array(origin, np.int64)


def _standardise(columns: np.ndarray) -> np.ndarray:
    centred = columns - np.nanmean(columns, axis=0)
    norm = np.sqrt(np.nansum(centred**2, axis=0))
    constant = np.nanmax(columns, axis=0) == np.nanmin(columns, axis=0)
    z = np.divide(centred, norm, out=np.zeros_like(centred), where=(norm > 0) & ~constant)
    return np.nan_to_num(z, nan=0.0).astype(np.float32)


def _patterns(finite: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct columns of ``finite`` with the complete one first, and which of them each column has."""
    complete = np.ones((len(finite), 1), bool)
    distinct, inverse = np.unique(np.concatenate([complete, finite], axis=1), axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    first = inverse[0]
    order = np.concatenate([[first], np.delete(np.arange(distinct.shape[1]), first)])
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    return distinct[:, order].astype(np.float32), position[inverse[1:]]
