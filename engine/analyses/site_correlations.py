"""How alike are the sites among themselves? Their correlations, in the recording's order and clustered.

Arend et al. (2018), figure S12. Sites of one array share signal and, where they were recorded together, noise; a region
whose sites are all alike has fewer independent ones than it counts.
"""

import numpy as np
import xarray as xr
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from engine.analyses.reliability import site_reliability
from engine.schema import MIN_STIMULI, REGION, SITE, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

OTHER = "other_site"

_ROUNDING = 1e-20
"""A site does not vary on common stimuli if its variance is less than this share of its mean square."""


def compute(run: Run, *, seed: int = 0) -> xr.Dataset:
    """Correlate the responses of every two sites over the stimuli that both have a response to.

    Parameters
    ----------
    run
        Sites that do not vary, or have too few responses, are left out and counted.
    seed
        Of the split halves of the reliability, where the run does not hold it.

    Returns
    -------
    xr.Dataset
        ``correlation`` (site, other_site), Pearson's r, diagonal 1, symmetric, positive semidefinite where no response
        is missing; ``n_stimuli`` (site, other_site) common ones, NaN r with fewer than three.
        ``noise_corrected`` (site, other_site), r / sqrt(product of the two reliabilities), the correlation that
        noiseless responses would have if noise were independent between sites: not so for sites recorded together. It
        can pass 1; its diagonal is 1; NaN where a reliability is unknown or not above 0. Attribute
        ``reliability_method`` says how that was estimated.
        ``recording_order`` (site), place by region, in the order of the recording; ``cluster_order`` (site), place by
        region, within it by hierarchical clustering (average linkage of 1 - r, leaves ordered so that neighbours are as
        alike as can be; NaN r counts as 0). ``region`` on site; ``n_left_out``.
    """
    recording, status = run.dataset("recording"), run.dataset("matches")["site_status"]
    recording = recording.drop_dims([dim for dim in recording.dims if dim not in (STIMULUS, SITE)])
    sites = recording[SITE].values[(status.sel({SITE: recording[SITE]}) == "ok").values]
    response = recording["response"].sel({SITE: sites}).transpose(STIMULUS, SITE).values
    region = recording[REGION].sel({SITE: sites}).values.astype(str)
    r, n = correlations(response)
    reliability, method = _reliability(run, sites, seed)
    dims = (SITE, OTHER)
    return xr.Dataset(
        {
            "correlation": (dims, r),
            "n_stimuli": (dims, n),
            "noise_corrected": (dims, noise_corrected(r, reliability)),
            "reliability": (SITE, reliability),
            "recording_order": (SITE, _places(region, np.eye(len(sites)), is_clustered=False)),
            "cluster_order": (SITE, _places(region, r, is_clustered=True)),
            "n_left_out": ((), recording.sizes[SITE] - len(sites)),
        },
        {SITE: sites, OTHER: sites, REGION: (SITE, region)},
        {"reliability_method": method},
    )


def expected_seconds(run: Run) -> float:
    """Seconds that ``compute`` takes, roughly: clustering, and split halves where the run has no reliability."""
    sizes = run.dataset("recording").sizes
    splits = 0.0 if "reliability" in run.names else 2e-6 * sizes[STIMULUS] * sizes[SITE] * sizes.get("repeat", 0)
    return 0.1 + 1e-8 * sizes[STIMULUS] * sizes[SITE] ** 2 + 2e-7 * sizes[SITE] ** 3 + splits


def missing(run: Run) -> str | None:
    """Say what the run lacks for this analysis; None if it can be computed."""
    n = int((run.dataset("matches")["site_status"] == "ok").sum())
    if n >= 2:
        return None
    return (
        f"{n} of the sites of {run.recording} vary over at least {MIN_STIMULI} stimuli; two or more are needed to "
        "correlate them."
    )


def correlations(response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlate columns pairwise over the rows that both have.

    Parameters
    ----------
    response
        (stimulus, site); NaN = missing.

    Returns
    -------
    tuple of np.ndarray
        (site, site) r, NaN with fewer than three common rows or a column that is constant on them, diagonal exactly 1;
        (site, site) common rows.
    """
    has = np.isfinite(response)
    n = has.T.astype(np.int64) @ has.astype(np.int64)
    r = np.stack([_with_every(response, has, column) for column in range(response.shape[1])])
    r = np.where(n >= MIN_STIMULI, np.clip((r + r.T) / 2, -1, 1), np.nan)
    np.fill_diagonal(r, np.where(np.isnan(np.diag(r)), np.nan, 1.0))
    return r, n


def noise_corrected(r: np.ndarray, reliability: np.ndarray) -> np.ndarray:
    """Divide r (site, site) by the root of the product of the sites' reliabilities; diagonal 1, NaN where unknown.

    References
    ----------
    Spearman (1904), The proof and measurement of association between two things, American Journal of Psychology 15.
    """
    known = np.where(reliability > 0, reliability, np.nan)
    corrected = r / np.sqrt(np.outer(known, known))
    np.fill_diagonal(corrected, np.where(np.isfinite(known), 1.0, np.nan))
    return corrected


def leaf_order(r: np.ndarray) -> np.ndarray:
    """Order sites by average linkage of 1 - r, optimal leaf ordering: (site,) indices, the first leaf first."""
    if len(r) < 3:
        return np.arange(len(r))
    distance = 1 - np.nan_to_num(r, nan=0.0)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))


def _with_every(response: np.ndarray, has: np.ndarray, column: int) -> np.ndarray:
    """Correlate one column with every other over their common rows: sums around the column's mean, in two steps."""
    common = has & has[:, [column]]
    n = np.maximum(common.sum(axis=0), 1)
    others = np.where(common, response, 0)
    own = np.where(common, response[:, [column]], 0)
    rounding = [_ROUNDING * (x**2).sum(axis=0) for x in (others, own)]
    others, own = (np.where(common, x - x.sum(axis=0) / n, 0) for x in (others, own))
    squares = [(x**2).sum(axis=0) for x in (others, own)]
    varies = (squares[0] > rounding[0]) & (squares[1] > rounding[1])
    norm = np.sqrt(squares[0] * squares[1])
    return np.divide((others * own).sum(axis=0), norm, out=np.full_like(norm, np.nan), where=varies)


def _reliability(run: Run, sites: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    if "reliability" in run.names:
        found = run.dataset("reliability")
    else:
        found = site_reliability(run.dataset("recording"), seed=seed)
    return found["reliability"].sel({SITE: sites}).values, str(found.attrs["method"])


def _places(region: np.ndarray, r: np.ndarray, *, is_clustered: bool) -> np.ndarray:
    """Place of each site, regions one after the other: (site,)."""
    order: list[int] = []
    for name in dict.fromkeys(region.tolist()):
        here = np.flatnonzero(region == name)
        order += here[leaf_order(r[np.ix_(here, here)])].tolist() if is_clustered else here.tolist()
    places = np.empty(len(region), np.int64)
    places[order] = np.arange(len(region))
    return places
