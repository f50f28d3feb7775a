"""Is a match alone, or one of many units that do the same? Near-ties, and how many dimensions the best units span.

Arend et al. (2018), figures 7 and S10, show the r of the 100 best units; the two measures put a number to them.
"""

import numpy as np
import xarray as xr

from engine.analyses.layer_summary import no_match
from engine.analyses.runner_ups import N_BINS, count_by_r, shared_bins
from engine.schema import LAYER, MATCH_UNIT, R_BIN, R_EDGES, RANK, SITE, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

WITHIN = 0.05
"""A unit is a near-tie if its r is less than this below the match's."""


def compute(run: Run, *, seed: int = 0, within: float = WITHIN) -> xr.Dataset:
    """Count, for every site, the best units by r, those nearly as good as the match, and the dimensions they span.

    Parameters
    ----------
    run
        Sites without a match get NaN, 0 and the status ``no match``.
    seed
        Not used: nothing is drawn.
    within
        Largest distance in r of a near-tie, above 0.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` (site) of the match; ``count`` (site, bin), the ranked units in 100 equal bins
        that all sites share, with coordinates ``r_low``, ``r_high``: a row sums to ``n_ranked`` (site).
        ``near_ties`` (site), units of the whole network with r > r of the match - ``within``, the match included, and
        ``near_ties_most``; ``near_ties_status``: ``exact``, where the two are equal, or ``at least``. They are exact
        while a ranked unit is no near-tie; beyond the ranked units they are counted from ``unit_counts``, whose bins of
        0.01 leave those in the bin of the limit open.
        ``effective_rank`` (site), exp of the entropy of the eigenvalues of the correlation matrix of the ranked units,
        over the stimuli that the site has a response to, and ``participation_ratio`` (site), 1 / sum of their squared
        shares: both 1 for copies of one unit and ``n_ranked`` for uncorrelated ones.
        ``n_layers``, ``n_maps`` (site), layers and feature maps that the ranked units lie in.

    References
    ----------
    Roy & Vetterli (2007), The effective rank: a measure of effective dimensionality, EUSIPCO (entropy; there of
    singular values). Litwin-Kumar et al. (2017), Optimal degrees of synaptic connectivity, Neuron 93, 1153-1164
    (participation ratio).
    """
    matches = run.dataset("matches").transpose(SITE, RANK, ...)
    r = matches["correlation"].values
    edges = shared_bins(r) if np.isfinite(r).any() else np.linspace(0, 1, N_BINS + 1)
    counts = run.dataset("unit_counts")["count"].sel({SITE: matches[SITE]}).sum(LAYER).transpose(SITE, R_BIN).values
    least, most = near_ties(r, counts, within)
    rank, participation = _spans(run, matches)
    status = np.where(np.isnan(r[:, 0]), "no match", np.where(least == most, "exact", "at least"))
    values = {
        "correlation": r[:, 0],
        "held_out": matches["held_out"].values[:, 0],
        "n_ranked": np.isfinite(r).sum(axis=1),
        "near_ties": least,
        "near_ties_most": most,
        "near_ties_status": status,
        "effective_rank": rank,
        "participation_ratio": participation,
        "n_layers": _distinct(matches, [LAYER]),
        "n_maps": _distinct(matches, [LAYER, "channel"]),
    }
    return xr.Dataset(
        {"count": ((SITE, "bin"), count_by_r(r, edges)), **{name: (SITE, value) for name, value in values.items()}},
        {SITE: matches[SITE].values, "r_low": ("bin", edges[:-1]), "r_high": ("bin", edges[1:])},
        {"within": float(within)},
    )


def expected_seconds(run: Run, *, within: float = WITHIN) -> float:
    """Seconds that ``compute`` takes, roughly: a correlation matrix of the ranked units for every site."""
    matches, n_stimuli = run.dataset("matches").sizes, run.dataset("recording").sizes[STIMULUS]
    return 0.1 + matches[SITE] * (1e-2 + 3e-8 * matches[RANK] * n_stimuli + 4e-9 * matches[RANK] ** 3)


def missing(run: Run) -> str | None:
    """Say what the run lacks for this analysis; None if it can be computed."""
    return no_match(run)


def near_ties(r: np.ndarray, counts: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Count the units whose r exceeds that of the match less ``within``.

    Parameters
    ----------
    r
        (site, rank), falling along rank; NaN = no unit.
    counts
        (site, r bin), all units of the network in the bins of ``schema.R_EDGES``.
    within
        Distance in r.

    Returns
    -------
    tuple of np.ndarray
        (site,) int64 each: at least so many, and at most so many.
    """
    limit = r[:, :1] - within
    ranked, near = np.isfinite(r).sum(axis=1), (r > limit).sum(axis=1)
    is_all_known = (near < ranked) | (ranked == counts.sum(axis=1))
    above = np.where(R_EDGES[:-1] >= limit, counts, 0).sum(axis=1)
    reaching = np.where(R_EDGES[1:] > limit, counts, 0).sum(axis=1)
    least = np.where(is_all_known, near, np.maximum(above, near))
    return least, np.where(is_all_known, near, np.maximum(reaching, least))


def spanned(responses: np.ndarray) -> tuple[float, float]:
    """Say how many dimensions responses span: their effective rank and their participation ratio.

    Parameters
    ----------
    responses
        (unit, stimulus); constant units do not count.

    Returns
    -------
    tuple of float
        exp(-sum p log p) and 1 / sum p**2, with p the eigenvalues of the units' correlation matrix over their sum; NaN
        where no unit varies.
    """
    centred = responses.astype(np.float64) - responses.mean(axis=1, keepdims=True, dtype=np.float64)
    norm = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    varies = (np.ptp(responses, axis=1) > 0) & (norm[:, 0] > 0)
    if not varies.any():
        return np.nan, np.nan
    z = centred[varies] / norm[varies]
    share = np.linalg.eigvalsh(z @ z.T).clip(0)
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum())), float(1 / (share**2).sum())


def _spans(run: Run, matches: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    kept = run.dataset("match_responses")["activation"].transpose(MATCH_UNIT, STIMULUS)
    response = run.dataset("recording")["response"].sel({SITE: matches[SITE], STIMULUS: kept[STIMULUS]})
    is_shown = np.isfinite(response.transpose(SITE, STIMULUS).values)
    activation, rows = kept.values, matches["match_unit"].values
    found = [
        spanned(activation[row[row >= 0]][:, shown]) if (row >= 0).any() else (np.nan, np.nan)
        for row, shown in zip(rows, is_shown, strict=True)
    ]
    rank, participation = np.array(found, float).reshape(-1, 2).T
    return rank, participation


def _distinct(matches: xr.Dataset, names: list[str]) -> np.ndarray:
    columns = [matches[name].values for name in names]
    is_there = matches["unit"].values >= 0
    return np.array([len({*zip(*(c[i][is_there[i]] for c in columns), strict=True)}) for i in range(len(is_there))])
