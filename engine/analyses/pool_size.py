"""How much of the score is due to the number of units? Expected best r among fewer candidates, drawn at random.

A network with more units reaches a higher r by chance, and by having more to choose from. So networks are compared at
the same number of candidates: m units drawn without replacement from all that are ranked.
"""

import numpy as np
import xarray as xr
from scipy.special import gammaln

from engine.analyses.random_control import best_r
from engine.analyses.resampling import median
from engine.schema import FOLD, LAYER, R_BIN, R_EDGES, RANK, REGION, SITE, STIMULUS
from engine.store import Run

VERSION = 1
PER_DECADE = 10
POOL = "pool"
LEAST_RANKED, LEAST_KNOWN = 0.99, 0.9
"""Probabilities that the best of the drawn units is ranked, and that its held-out r is defined, to tell that r from;
the latter is also the least share of the sites that a median over sites needs."""
_SECONDS_PER_TERM = 4e-8


def compute(run: Run, *, seed: int = 0) -> xr.Dataset:
    """Give the expected best r of m candidate units for a grid of m, exact but for the width of the bins below rank 99.

    With the N ranked units of a site in falling order of r, the best of m drawn ones is the k-th with probability
    C(N - k, m - 1) / C(N, m), so its expected r is a weighted sum over all units. The 100 best are known exactly, the
    others by the 200 bins of ``unit_counts``: each is taken at the middle of its bin, so the expectation is off by at
    most half a bin times the probability that the best is none of the 100, which is stored as ``rounding``.

    A held-out r of the best of m drawn units is known where that unit is nearly always (99 %) among the ranks of every
    fold, that is for large m; it is the mean over the ranks that it may take. A unit that does not vary on the left-out
    part has no r there and is left out; up to 10 % of such units, and of sites without a value, are let pass.

    Parameters
    ----------
    run
        Its matches, those of its folds, and its counts of units by r.
    seed
        Not used: nothing is drawn, expectations are exact.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``rounding``, ``held_out`` (site, pool), expected best r over the draws, its largest error, and
        its held-out r; NaN without a match; ``n_units`` (site), ranked units, which all are candidates where the pool
        is larger (sites differ where responses are missing); ``median_correlation``,
        ``median_rounding``, ``median_held_out`` (region, pool), over sites, where all sites of the region with a match
        have an r; ``n_held_out`` (region, pool), sites that the held-out median is over; ``random`` (region, pool),
        median of the best r of as many independent random units (closed form); ``n_sites``, ``n_matched``,
        ``n_units_median`` (region). Coordinates: ``pool``, candidate units, 10 per decade, the same grid in every run,
        and the largest number of units of a site; ``region_of_site`` (site).

    References
    ----------
    Arnold, Balakrishnan & Nagaraja (1992), A First Course in Order Statistics, section 3.7 (finite populations).
    """
    matches, recording = run.dataset("matches"), run.dataset("recording")
    counts = run.dataset("unit_counts")["count"].sum(LAYER).sel({SITE: matches[SITE]}).transpose(SITE, R_BIN).values
    n_units = counts.sum(axis=1)
    sizes = pool_sizes(int(n_units.max(initial=1)))
    top = matches["correlation"].transpose(SITE, RANK).values
    expected, rounding = expected_best(top, counts, sizes)
    held_out = _held_out(run, n_units, sizes)
    region = recording[REGION].sel({SITE: matches[SITE]}).values.astype(str)
    n_seen = recording["response"].sel({SITE: matches[SITE]}).notnull().sum(STIMULUS).values
    sites = {"correlation": expected, "rounding": rounding, "held_out": held_out}
    dataset = xr.Dataset({name: ((SITE, POOL), values) for name, values in sites.items()})
    dataset = dataset.assign({"n_units": (SITE, n_units)}).merge(_of_regions(sites, region, n_units, n_seen, sizes))
    coords = {SITE: matches[SITE].values, "region_of_site": (SITE, region), POOL: sizes}
    return dataset.assign_coords(coords)


def expected_seconds(run: Run) -> float:
    """Estimate the time from the number of sites, of bins and ranks, and of pool sizes."""
    n_terms = run.dataset("matches").sizes[SITE] * (run.dataset("matches").sizes[RANK] + len(R_EDGES))
    return 0.2 + _SECONDS_PER_TERM * n_terms * 8 * PER_DECADE


def missing(run: Run) -> str | None:
    """Every run has what this needs."""
    return None


def pool_sizes(n_units: int) -> np.ndarray:
    """Numbers of candidates, 10 per decade from 1 on, and ``n_units`` itself: (pool,) int64."""
    exponents = np.arange(int(PER_DECADE * np.log10(max(n_units, 1)) + 1e-9) + 1)
    return np.unique(np.append(np.rint(10.0 ** (exponents / PER_DECADE)).astype(np.int64), max(n_units, 1)))


def expected_best(top: np.ndarray, counts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected largest r of m units drawn without replacement, and how far it can be off.

    Parameters
    ----------
    top
        (site, rank) the largest r of each site, falling, exact; NaN = no unit at this rank.
    counts
        (site, bin) all units by r, in the bins of ``schema.R_EDGES``, those of ``top`` included.
    sizes
        (pool,) m.

    Returns
    -------
    expected, rounding : np.ndarray
        (site, pool); all units of a site where m exceeds them; NaN for a site without any.
    """
    found = [_expected_best(row, count, sizes) for row, count in zip(top, counts, strict=True)]
    return np.array([e for e, _ in found]).reshape(len(top), -1), np.array([r for _, r in found]).reshape(len(top), -1)


def none_drawn(n_units: int, n_best: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the probability that m units drawn from ``n_units`` without replacement hold none of the ``n_best`` best.

    C(N - a, m) / C(N, m), by log gamma functions: (pool, a) for ``n_best`` a (a,) and ``sizes`` m (pool,).
    """
    a, m = np.asarray(n_best, float)[None, :], np.asarray(sizes, float)[:, None]
    left = n_units - a - m
    log = gammaln(n_units - a + 1) - gammaln(n_units + 1) + gammaln(n_units - m + 1) - gammaln(np.maximum(left, 0) + 1)
    return np.where(left >= 0, np.exp(np.minimum(log, 0.0)), 0.0)


def _expected_best(top: np.ndarray, count: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top = top[np.isfinite(top)]
    n_units = int(count.sum())
    unknown = np.full(len(sizes), np.nan)
    if not len(top) or not n_units:
        return unknown, unknown
    middle, half, size = _below(count[::-1], len(top), top[-1])
    n_above = np.concatenate([np.arange(len(top) + 1), len(top) + np.cumsum(size)])
    probability = -np.diff(none_drawn(n_units, n_above, np.minimum(sizes, n_units)), axis=1)
    expected = probability @ np.concatenate([top, middle])
    return expected, probability[:, len(top) :] @ half


def _below(count: np.ndarray, n_top: int, lowest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle and half width of the r of the units below the ``n_top`` best, and how many, for each bin downwards."""
    rest = count - np.diff(np.minimum(np.cumsum(np.append(0, count)), n_top))
    high, low = np.minimum(R_EDGES[:0:-1], lowest), np.minimum(R_EDGES[-2::-1], lowest)
    used = rest > 0
    return ((high + low) / 2)[used], ((high - low) / 2)[used], rest[used]


def _held_out(run: Run, n_units: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(site, pool) held-out r of the unit that a fold selects among m drawn ones, mean over folds."""
    unknown = np.full((len(n_units), len(sizes)), np.nan)
    if "fold_matches" not in run.names:
        return unknown
    folds = run.dataset("fold_matches").transpose(FOLD, SITE, RANK)
    held_out, is_ranked = folds["held_out"].values, np.isfinite(folds["selected"].values)
    for site, n in enumerate(n_units):
        if n:
            parts = [_held_out_of(h[r], n, sizes) for h, r in zip(held_out[:, site], is_ranked[:, site], strict=True)]
            unknown[site] = np.mean(parts, axis=0)
    return unknown


def _held_out_of(held_out: np.ndarray, n_units: int, sizes: np.ndarray) -> np.ndarray:
    """(pool,) expectation over the ranks that the best may take, those without a held-out r left out."""
    probability = -np.diff(none_drawn(n_units, np.arange(len(held_out) + 1), np.minimum(sizes, n_units)), axis=1)
    known = np.isfinite(held_out)
    share = probability[:, known].sum(axis=1)
    expected = probability[:, known] @ held_out[known] / np.where(share > 0, share, 1.0)
    is_told = (probability.sum(axis=1) >= LEAST_RANKED) & (share >= LEAST_KNOWN)
    return np.where(is_told, expected, np.nan)


def _of_regions(
    sites: dict[str, np.ndarray], region: np.ndarray, n_units: np.ndarray, n_seen: np.ndarray, sizes: np.ndarray
) -> xr.Dataset:
    regions = sorted(set(region.tolist()))
    matched = np.isfinite(sites["correlation"][:, 0])
    names = (*(f"median_{name}" for name in sites), "n_held_out", "random")
    variables: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for name in regions:
        here = (region == name) & matched
        least = {score: here.sum() * (LEAST_KNOWN if score == "held_out" else 1.0) for score in sites}
        for score, values in sites.items():
            n_known = np.isfinite(values[here]).sum(axis=0)
            is_told = (n_known >= least[score]) & (n_known > 0)
            variables[f"median_{score}"].append(np.where(is_told, median(values[here].T), np.nan))
        variables["n_held_out"].append(np.isfinite(sites["held_out"][here]).sum(axis=0))
        n = int(np.median(n_seen[here])) if here.any() else 0
        variables["random"].append(np.array([best_r(n, m) if n > 2 else np.nan for m in sizes]))
    per_region = {
        "n_sites": [(region == name).sum() for name in regions],
        "n_matched": [((region == name) & matched).sum() for name in regions],
        "n_units_median": [np.median(n_units[region == name]) for name in regions],
    }
    return xr.Dataset(
        {name: ((REGION, POOL), np.stack(rows)) for name, rows in variables.items()}
        | {name: (REGION, np.array(values)) for name, values in per_region.items()},
        {REGION: regions},
    )
