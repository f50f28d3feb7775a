"""How reliable is each site, and what is the largest r to expect of it?

Reliability is the split-half correlation with Spearman-Brown's correction; its square root is the noise ceiling, the
largest r that a noiseless predictor can reach (Spearman 1910; Brown 1910).
"""

import numpy as np
import xarray as xr

from engine.schema import REPEAT, SITE, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_SPLITS = 50

SPLIT_HALF = "split half, Spearman-Brown"
POISSON = "Poisson est."
NOT_AVAILABLE = "not available: no trials"


def compute(run: Run, *, seed: int = 0) -> xr.Dataset:
    """Estimate the reliability of every site of a run's recording.

    Returns
    -------
    xr.Dataset
        ``split_half`` (site), mean r between halves of the repeats; NaN without trials;
        ``reliability`` (site) of the averaged responses; ``noise_ceiling`` (site), its square root; both NaN where they
        cannot be estimated, and 0 where the estimate is negative. Attribute ``method`` says how.
    """
    return site_reliability(run.dataset("recording"), seed=seed)


def site_reliability(recording: xr.Dataset, *, seed: int = 0) -> xr.Dataset:
    """Estimate reliability from trials; else, for spike counts with known repeats, from Poisson noise; else NaN."""
    n_sites = recording.sizes[SITE]
    halves = np.full(n_sites, np.nan)
    if "trials" in recording:
        trials = recording["trials"].transpose(STIMULUS, SITE, REPEAT).values.astype(np.float64)
        halves = split_half(trials, n_splits=N_SPLITS, rng=np.random.default_rng(seed))
        reliability, method = spearman_brown(halves), SPLIT_HALF
    elif _counts_with_repeats(recording):
        response = recording["response"].transpose(STIMULUS, SITE).values
        reliability, method = poisson_reliability(response, float(recording.attrs["n_repeats"])), POISSON
    else:
        reliability, method = halves, NOT_AVAILABLE
    reliability = np.maximum(reliability, 0)
    values = {"split_half": halves, "reliability": reliability, "noise_ceiling": np.sqrt(reliability)}
    return xr.Dataset(
        {name: (SITE, value) for name, value in values.items()}, {SITE: recording[SITE].values}, {"method": method}
    )


def split_half(trials: np.ndarray, *, n_splits: int, rng: np.random.Generator) -> np.ndarray:
    """Correlate halves of the repeats, mean over random splits.

    For each stimulus the repeats that were shown are permuted and cut into two halves of floor(k / 2), an odd one
    dropped, in the same way for all sites.

    Parameters
    ----------
    trials
        (stimulus, site, repeat); NaN = not shown.

    Returns
    -------
    np.ndarray
        (site,) mean r over the splits; a split in which a half does not vary is left out for its site; NaN for a site
        that has none left.
    """
    r = np.stack([_half_correlation(trials, rng) for _ in range(n_splits)])
    n = np.isfinite(r).sum(axis=0)
    return np.divide(np.nansum(r, axis=0), n, out=np.full(len(n), np.nan), where=n > 0)


def _half_correlation(trials: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shown = np.isfinite(trials).any(axis=1)
    lottery = np.where(shown, rng.random(shown.shape), np.inf)
    order = np.argsort(lottery, axis=1)
    half = shown.sum(axis=1) // 2
    place = np.arange(trials.shape[2])
    shuffled = np.take_along_axis(trials, order[:, None, :], axis=2)
    first = _mean_where(shuffled, (place < half[:, None])[:, None, :])
    second = _mean_where(shuffled, ((place >= half[:, None]) & (place < 2 * half[:, None]))[:, None, :])
    return _correlate_columns(first, second)


def _mean_where(trials: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    used = chosen & np.isfinite(trials)
    n = used.sum(axis=2)
    total = np.where(used, trials, 0).sum(axis=2)
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _correlate_columns(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = np.isfinite(a) & np.isfinite(b)
    n = np.maximum(both.sum(axis=0), 1)
    a, b = np.where(both, a, 0), np.where(both, b, 0)
    a, b = np.where(both, a - a.sum(0) / n, 0), np.where(both, b - b.sum(0) / n, 0)
    norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), norm, out=np.full(len(n), np.nan), where=(norm > 0) & (both.sum(axis=0) >= 3))


def spearman_brown(half: np.ndarray, k: float = 2.0) -> np.ndarray:
    """Reliability of k times as many repeats as ``half`` was measured with: k r / (1 + (k - 1) r)."""
    longer = 1 + (k - 1) * np.asarray(half, float)
    return np.divide(k * half, longer, out=np.full_like(longer, np.nan), where=longer != 0)


def poisson_reliability(response: np.ndarray, n_repeats: float) -> np.ndarray:
    """Share of the variance over stimuli that Poisson noise of the averaged counts does not explain.

    Parameters
    ----------
    response
        (stimulus, site), spike counts averaged over ``n_repeats``; NaN = missing.

    Returns
    -------
    np.ndarray
        (site,) 1 - (mean count / n_repeats) / variance; NaN for a site without variance.
    """
    variance = np.nanvar(response, axis=0, ddof=1)
    noise = np.nanmean(response, axis=0) / n_repeats
    return 1 - np.divide(noise, variance, out=np.full(len(noise), np.nan), where=variance > 0)


def _counts_with_repeats(recording: xr.Dataset) -> bool:
    return "count" in str(recording.attrs.get("response_unit", "")) and "n_repeats" in recording.attrs
