"""What if no two sites may have the same unit? One-to-one assignment beside the match of each site by itself.

The greedy match gives every site its best unit, so several sites can share one. The assignment gives every site a unit
of its own such that the sum of r over the sites of a region is as large as can be (Kuhn 1955).
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from engine.analyses.resampling import median
from engine.exact import correlate_pairs
from engine.schema import FOLD, RANK, REGION, SITE, STIMULUS
from engine.store import Run

VERSION = 1
_SECONDS_PER_PAIR = 2e-9
_UNIT = ("layer", "unit", "channel", "y", "x")


@dataclass(frozen=True)
class _Assigned:
    """Values of the sites of one region, (site,)."""

    one_to_one: np.ndarray
    row: np.ndarray
    """Row in ``match_responses``; -1 = no unit is left for the site."""
    rank: np.ndarray
    is_exact: bool


def compute(run: Run, *, seed: int = 0) -> xr.Dataset:
    """Assign units to the sites of each region one-to-one, and count what the greedy match shares.

    Candidates are the best units of all sites of the region (their ranks, 100 by default). **This loses nothing where
    the region has no more sites than ranks.** Proof: take a best assignment in which a site s has a unit outside its
    own k ranks, k >= number of sites. The other sites hold at most k - 1 units, so one of the k ranks of s is free, and
    its r is no smaller; exchanging it for the unit of s does not lower the sum. Repeated for every site, this gives an
    assignment as good within everybody's own ranks. With more sites than ranks the result is a lower bound, and
    ``is_exact`` says so; a site whose ranks end early has no other unit at all, and counts as complete.

    The held-out value assigns units in each fold on its selection stimuli, among the ranks of that fold, and scores
    them on the left-out part; the mean over folds, as with the greedy match.

    Parameters
    ----------
    run
        Its matches, those of its folds, and the responses of the matched units.
    seed
        Not used: nothing is drawn.

    Returns
    -------
    xr.Dataset
        ``greedy``, ``one_to_one`` (site), r selected and scored on all stimuli, and ``greedy_held_out``,
        ``one_to_one_held_out``; ``layer``, ``unit``, ``channel``, ``y``, ``x`` (site) of the assigned unit, empty and
        -1 where none is left; ``rank`` (site) of it among the site's own best, -1 = beyond them; ``n_sharing``,
        ``n_sharing_map`` (site), sites of the region whose greedy match is the same unit, or lies in the same feature
        map, this one included, 0 without a match; coordinate ``region_of_site`` (site).
        By region: ``median_`` and ``mean_`` of the four scores (the mean is what the assignment maximises);
        ``n_sites``, ``n_matched``, ``n_assigned``, ``n_distinct`` (different units of the greedy match), ``n_shared``
        and ``n_shared_map`` (sites that share), ``n_changed`` (sites with another unit), ``is_exact``.

    References
    ----------
    Kuhn (1955), Naval Research Logistics Quarterly 2, 83-97; solved as in Crouse (2016), IEEE Trans. Aerosp. 52,
    1679-1696 (scipy.optimize.linear_sum_assignment).
    """
    matches, recording = run.dataset("matches"), run.dataset("recording")
    region = recording[REGION].sel({SITE: matches[SITE]}).values.astype(str)
    regions = sorted(set(region.tolist()))
    sites = _unassigned(matches)
    is_exact = []
    for name in regions:
        here = np.flatnonzero(region == name)
        found = _assign(run, here)
        sites["one_to_one"][here], sites["row"][here], sites["rank"][here] = found.one_to_one, found.row, found.rank
        sites["one_to_one_held_out"][here] = _held_out(run, here)
        is_exact.append(found.is_exact)
        for key, of in (("n_sharing", ("layer", "unit")), ("n_sharing_map", ("layer", "channel"))):
            sites[key][here] = _sharing(matches.isel({SITE: here, RANK: 0}), of)
    sites |= _named(run.dataset("match_responses"), sites["row"])
    by_region = _of_regions(sites, matches["match_unit"].isel({RANK: 0}).values, region, regions)
    dataset = xr.Dataset({name: (REGION, values) for name, values in by_region.items()}, {REGION: regions})
    dataset = dataset.assign_coords({SITE: matches[SITE].values, "region_of_site": (SITE, region)})
    dataset = dataset.assign({name: (SITE, values) for name, values in sites.items() if name != "row"})
    return dataset.assign({"is_exact": (REGION, np.array(is_exact))})


def expected_seconds(run: Run) -> float:
    """Estimate the time from the number of pairs of a site and a candidate, and of stimuli."""
    n_pairs = run.dataset("match_responses").sizes["match_unit"] * run.dataset("matches").sizes[SITE]
    return 0.5 + _SECONDS_PER_PAIR * n_pairs * run.dataset("recording").sizes[STIMULUS]


def missing(run: Run) -> str | None:
    """Every run has what this needs."""
    return None


def one_to_one(r: np.ndarray) -> np.ndarray:
    """Give every site a unit of its own so that the sum of r is as large as can be.

    Parameters
    ----------
    r
        (site, unit); NaN = the site cannot have this unit.

    Returns
    -------
    np.ndarray
        (site,) column of its unit; -1 where no unit is left. As many sites as possible get one.
    """
    chosen = np.full(len(r), -1)
    if r.size:
        forbidden = -2.0 * (len(r) + 1)  # no sum of r over the sites makes up for it
        site, unit = linear_sum_assignment(np.where(np.isnan(r), forbidden, r), maximize=True)
        allowed = ~np.isnan(r[site, unit])
        chosen[site[allowed]] = unit[allowed]
    return chosen


def _unassigned(matches: xr.Dataset) -> dict[str, np.ndarray]:
    best = matches.isel({RANK: 0})
    n_sites = matches.sizes[SITE]
    unknown, none = np.full(n_sites, np.nan), np.full(n_sites, -1)
    return {
        "greedy": best["correlation"].values,
        "one_to_one": unknown.copy(),
        "greedy_held_out": best["held_out"].values,
        "one_to_one_held_out": unknown.copy(),
        "row": none.copy(),
        "rank": none.copy(),
        "n_sharing": np.zeros(n_sites, np.int64),
        "n_sharing_map": np.zeros(n_sites, np.int64),
    }


def _assign(run: Run, here: np.ndarray) -> _Assigned:
    """Assign the sites at positions ``here`` of the matches, among the ranks of all of them."""
    matches = run.dataset("matches").isel({SITE: here})
    own = matches["match_unit"].transpose(SITE, RANK).values
    candidates = np.unique(own[own >= 0])
    r = _correlate(run, matches[SITE].values, candidates)
    r[matches["site_status"].values != "ok"] = np.nan
    unit = one_to_one(r)
    row = np.where(unit >= 0, candidates[unit] if len(candidates) else -1, -1)
    of_own = (own == row[:, None]) & (row >= 0)[:, None]
    rank = np.where(of_own.any(axis=1), of_own.argmax(axis=1), -1)
    value = np.where(unit >= 0, r[np.arange(len(here)), unit] if len(candidates) else np.nan, np.nan)
    n_ranked, n_matched = (own >= 0).sum(axis=1), int((own[:, 0] >= 0).sum())
    is_complete = (n_ranked >= n_matched) | (n_ranked < own.shape[1])
    return _Assigned(value, row, rank, bool(is_complete.all()))


def _correlate(run: Run, sites: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(site, candidate) float64, every pair, as ``correlate_exactly``."""
    kept = run.dataset("match_responses")["activation"].transpose("match_unit", STIMULUS)
    response = run.dataset("recording")["response"].sel({SITE: sites, STIMULUS: kept[STIMULUS]})
    column, row = np.divmod(np.arange(len(sites) * len(candidates)), max(len(candidates), 1))
    values = response.transpose(STIMULUS, SITE).values
    return correlate_pairs(kept.values, candidates[row], column, values).reshape(len(sites), len(candidates))


def _held_out(run: Run, here: np.ndarray) -> np.ndarray:
    """(site,) r on the left-out parts of units that each fold assigned among its own ranks, mean over folds."""
    if "fold_matches" not in run.names:
        return np.full(len(here), np.nan)
    folds = run.dataset("fold_matches").isel({SITE: here}).transpose(FOLD, SITE, RANK)
    return np.mean([_held_out_of(folds.isel({FOLD: fold})) for fold in range(folds.sizes[FOLD])], axis=0)


def _held_out_of(fold: xr.Dataset) -> np.ndarray:
    selected, unit = fold["selected"].values, fold["unit"].values
    pairs = np.stack([np.unique(fold["layer"].values, return_inverse=True)[1].reshape(unit.shape), unit], axis=-1)
    candidate = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)[1].reshape(unit.shape)
    site, rank = np.nonzero(np.isfinite(selected))
    r, held_out = (np.full((len(unit), candidate.max(initial=0) + 1), np.nan) for _ in range(2))
    r[site, candidate[site, rank]] = selected[site, rank]
    held_out[site, candidate[site, rank]] = fold["held_out"].values[site, rank]
    chosen = one_to_one(r)
    return np.where(chosen >= 0, held_out[np.arange(len(unit)), chosen], np.nan)


def _sharing(best: xr.Dataset, of: tuple[str, str]) -> np.ndarray:
    """(site,) how many sites have the same values of the two variables; 0 without a match."""
    has_match = best["unit"].values >= 0
    keys = np.stack([np.unique(best[of[0]].values, return_inverse=True)[1], best[of[1]].values], axis=1)
    _, inverse, counts = np.unique(keys[has_match], axis=0, return_inverse=True, return_counts=True)
    shared = np.zeros(len(keys), np.int64)
    shared[has_match] = counts[inverse.reshape(-1)]
    return shared


def _named(kept: xr.Dataset, row: np.ndarray) -> dict[str, np.ndarray]:
    if not kept.sizes["match_unit"]:
        return {name: np.full(len(row), "" if name == "layer" else -1) for name in _UNIT}
    return {name: np.where(row >= 0, kept[name].values[row], "" if name == "layer" else -1) for name in _UNIT}


def _of_regions(
    sites: dict[str, np.ndarray], greedy_row: np.ndarray, region: np.ndarray, regions: list[str]
) -> dict[str, np.ndarray]:
    rows = []
    for name in regions:
        here = region == name
        row: dict[str, float] = {}
        for score in ("greedy", "one_to_one", "greedy_held_out", "one_to_one_held_out"):
            known = sites[score][here][np.isfinite(sites[score][here])]
            row |= {f"median_{score}": float(median(known)), f"mean_{score}": known.mean() if known.size else np.nan}
        matched, assigned = greedy_row[here] >= 0, sites["row"][here] >= 0
        changed = matched & assigned & (greedy_row[here] != sites["row"][here])
        row |= {"n_sites": here.sum(), "n_matched": matched.sum(), "n_assigned": assigned.sum()}
        row |= {"n_distinct": len(np.unique(greedy_row[here][matched])), "n_changed": changed.sum()}
        row |= {"n_shared": (sites["n_sharing"][here] > 1).sum()}
        row |= {"n_shared_map": (sites["n_sharing_map"][here] > 1).sum()}
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
