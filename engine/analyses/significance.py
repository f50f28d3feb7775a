"""Is a match better than the best of all units by chance? A max-statistic permutation null over the whole network.

A match was chosen among all units, so its r is judged against the best r that all units reach with the same site once
its images are exchanged; a held-out r against held-out r of the same choice. Maxima are pooled over the sites of a
region, p is corrected for the number of sites (Benjamini & Hochberg).
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy import stats

from engine.analyses.pace import reselection_seconds
from engine.analyses.random_control import best_r
from engine.errors import SettingsError
from engine.schema import REGION, SHUFFLE, SITE, STIMULUS
from engine.store import Run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_PERMUTATIONS = 20
LEVEL = 0.05

CATEGORY, ALL, STORED = "category", "all", "stored"
NULLS = (CATEGORY, ALL, STORED)
"""Images exchanged within their category; among all; the run's own shuffles, which are among all and take no time."""


def compute(
    run: Run, source: "Source", *, seed: int = 0, permutations: int = N_PERMUTATIONS, null: str = CATEGORY
) -> xr.Dataset:
    """Judge every match by what its site finds once its images are exchanged.

    Parameters
    ----------
    source
        The network and the recording of the run; all layers are passed once more, unless ``null="stored"``.
    seed
        Of the permutations.
    permutations
        Of each site.
    null
        ``"category"``: images are exchanged within their category, so that a site's preference for categories stays in
        the null and does not count; where the recording has no categories, among all. ``"all"``: among all.
        ``"stored"``: the quick version, from the shuffles that the run was matched with (some sites of each region,
        among all images).

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` (site), r of the match; ``p``, ``held_out_p`` (site), (1 + number of the region's
        null values that reach it) / (1 + their number); ``q``, ``held_out_q`` (site), p after Benjamini and Hochberg
        over the region's sites, the least false discovery rate at which the site counts; NaN where there is no r.
        ``threshold``, ``held_out_threshold`` (region), the r above which p <= .05, NaN where null values are too few;
        ``null_correlation``, ``null_held_out`` (shuffle), with ``null_site`` and ``null_region``: the best r of all
        units, and r of the units chosen on the other parts, mean over parts. ``null_median``, ``closed_form_median``,
        ``closed_form_95`` (region): the null's median, and median and 95th percentile of the best of as many
        independent Gaussian units; ``effective_units`` (region), how many of these would have the null's median: fewer
        than there are where units resemble each other, more where many answer to few images only (NaN where images are
        exchanged within categories). ``n_sites``, ``n_left_out``, ``n_significant``,
        ``n_held_out_significant`` (region), the latter two at q <= .05. Attribute ``null`` says what was exchanged.

    Raises
    ------
    SettingsError
        If a setting makes no sense, or the run has no shuffles.

    References
    ----------
    Nichols & Holmes (2002), Human Brain Mapping 15, 1-25 (max statistic); Benjamini & Hochberg (1995), Journal of the
    Royal Statistical Society B 57, 289-300.
    """
    if null not in NULLS:
        raise SettingsError(f"null={null!r} is unknown. Choose one of {', '.join(map(repr, NULLS))}.")
    if not isinstance(permutations, int | np.integer) or isinstance(permutations, bool) or permutations < 1:
        raise SettingsError(f"permutations={permutations!r}: a whole number of at least 1 is needed.")
    if null == STORED:
        shuffles, exchanged = _stored(run), "among all images, the run's shuffles"
    else:
        has_categories = null == CATEGORY and CATEGORY in run.dataset("recording").coords
        shuffles = _permuted(run, source, permutations, np.random.default_rng(seed), within_category=has_categories)
        exchanged = "within category" if has_categories else "among all images"
    return judged(run, shuffles, is_over_all=exchanged != "within category").assign_attrs(
        null=exchanged, n_stimuli=run.dataset("recording").sizes[STIMULUS], level=LEVEL
    )


def expected_seconds(run: Run, *, permutations: int = N_PERMUTATIONS, null: str = CATEGORY, **_: object) -> float:
    """Expect so many seconds on two cores."""
    n_folds = int(run.dataset("folds")["fold"].max()) + 1
    columns = permutations * run.dataset("recording").sizes[SITE]
    return 0.0 if null == STORED else reselection_seconds(run, columns=columns, splits=n_folds + 1)


def missing(run: Run) -> str | None:
    """Say what the run lacks: a site with a match."""
    if (run.dataset("matches")["site_status"] == "ok").any():
        return None
    return f"no site of {run.recording} has a match with {run.network}; its responses or all units are constant."


def exchange(response: np.ndarray, category: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exchange one site's responses among the stimuli of a category that it saw.

    Parameters
    ----------
    response
        (stimulus,); NaN = missing, and stays where it is.
    category
        (stimulus,) label.
    """
    seen = np.flatnonzero(np.isfinite(response))
    label = np.unique(category[seen], return_inverse=True)[1]
    place = np.argsort(label, kind="stable")
    drawn = np.lexsort((rng.random(len(seen)), label))
    exchanged = response.copy()
    exchanged[seen[place]] = response[seen[drawn]]
    return exchanged


def pooled_p(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return (1 + number of null values >= observed) / (1 + number of null values); NaN stays NaN, or is left out."""
    null = np.sort(null[np.isfinite(null)])
    reached = len(null) - np.searchsorted(null, observed, side="left")
    return np.where(np.isfinite(observed), (1 + reached) / (1 + len(null)), np.nan)


def threshold_r(null: np.ndarray, level: float = LEVEL) -> float:
    """Return the null value above which ``pooled_p`` is at most ``level``; NaN where there are too few of them."""
    null = np.sort(null[np.isfinite(null)])
    may_reach = int(np.floor(level * (1 + len(null)) + 1e-9)) - 1
    return float(null[len(null) - 1 - may_reach]) if 0 <= may_reach < len(null) else np.nan


def discovery_rate(p: np.ndarray) -> np.ndarray:
    """Adjust p by Benjamini and Hochberg over those that are known; NaN stays NaN."""
    known = np.isfinite(p)
    q = np.full(p.shape, np.nan)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method="bh")
    return q


def effective_units(median_r: float, n_stimuli: int) -> float:
    """Count the independent random units of which the best has this median r: ``random_control.best_r``, inverted."""
    if not 0 < median_r < 1:
        return np.nan
    t = median_r * np.sqrt((n_stimuli - 2) / (1 - median_r**2))
    return float(np.log(0.5) / np.log1p(-stats.t.sf(t, n_stimuli - 2)))


def judged(run: Run, shuffles: xr.Dataset, *, is_over_all: bool) -> xr.Dataset:
    """Compare a run's matches with shuffles, ``null_correlation`` and ``null_held_out`` (shuffle); see ``compute``."""
    recording, best = run.dataset("recording"), run.dataset("matches").isel(rank=0)
    best = best.sel({SITE: recording[SITE]})
    is_matched, region = best["site_status"].values == "ok", recording[REGION].values.astype(str)
    regions, n_stimuli = sorted(set(region.tolist())), recording.sizes[STIMULUS]
    n_units = int(run.dataset("layers")["n_ok"].sum())
    r = {name: np.where(is_matched, best[name].values, np.nan) for name in ("correlation", "held_out")}
    p, q = ({name: np.full(len(region), np.nan) for name in r} for _ in range(2))
    limits = {name: np.full(len(regions), np.nan) for name in r}
    medians = np.full(len(regions), np.nan)
    for k, name in enumerate(regions):
        own, own_null = region == name, shuffles[REGION].values == name
        for what, values in r.items():
            null = shuffles[f"null_{what}"].values[own_null]
            p[what][own] = pooled_p(values[own], null)
            q[what][own] = discovery_rate(p[what][own])
            limits[what][k] = threshold_r(null)
            if what == "correlation" and np.isfinite(null).any():
                medians[k] = np.nanmedian(null)
    quantiles = {"closed_form_median": 0.5, "closed_form_95": 0.95}
    closed = {name: best_r(n_stimuli, n_units, quantile=at) if n_units else np.nan for name, at in quantiles.items()}
    units = [effective_units(median, n_stimuli) if is_over_all else np.nan for median in medians]
    counts = {
        "n_sites": is_matched,
        "n_left_out": ~is_matched,
        "n_significant": q["correlation"] <= LEVEL,
        "n_held_out_significant": q["held_out"] <= LEVEL,
    }
    of_sites = {**r, "p": p["correlation"], "held_out_p": p["held_out"]}
    of_sites |= {"q": q["correlation"], "held_out_q": q["held_out"]}
    of_regions = {
        "threshold": limits["correlation"],
        "held_out_threshold": limits["held_out"],
        "null_median": medians,
        "effective_units": units,
        **{name: [value] * len(regions) for name, value in closed.items()},
        **{name: [int(claim[region == one].sum()) for one in regions] for name, claim in counts.items()},
    }
    found = xr.Dataset({name: (SITE, value) for name, value in of_sites.items()}, {SITE: recording[SITE].values})
    found = found.assign({name: (REGION, value) for name, value in of_regions.items()}).assign_coords({REGION: regions})
    names = {SITE: "null_site", REGION: "null_region"}
    return found.merge(shuffles.reset_coords([SITE, REGION]).rename(names).drop_vars(SHUFFLE, errors="ignore"))


def _stored(run: Run) -> xr.Dataset:
    null = run.dataset("null")
    if not null.sizes[SHUFFLE]:
        raise SettingsError(
            f"null='stored': run {run.digest[:12]} was matched with shuffles=0. Choose null='category' or 'all'."
        )
    names = {"network_correlation": "null_correlation", "network_held_out": "null_held_out"}
    return null[list(names)].rename(names)


def _permuted(
    run: Run, source: "Source", permutations: int, rng: np.random.Generator, *, within_category: bool
) -> xr.Dataset:
    from engine.reselection import reselect, selection_of  # loads torch

    recording, fold = run.dataset("recording"), run.dataset("folds")["fold"]
    columns = _columns(run, permutations, rng, within_category=within_category)
    n_folds = int(fold.max()) + 1
    left_out = np.eye(n_folds, dtype=bool) if n_folds > 1 else np.zeros((0, 1), bool)
    selected = np.concatenate([np.ones((1, n_folds), bool), ~left_out])
    scored = {"held_out": np.concatenate([np.zeros((1, n_folds), bool), left_out])}
    (found,) = reselect(source, [selection_of(columns, fold.sel({STIMULUS: recording[STIMULUS]}), selected, scored)])
    held_out = found["held_out"].values[1:].mean(axis=0) if n_folds > 1 else np.full(columns.sizes[SITE], np.nan)
    origin = {SITE: (SHUFFLE, columns["origin"].values), REGION: (SHUFFLE, columns[REGION].values)}
    values = {"null_correlation": found["correlation"].values[0], "null_held_out": held_out}
    return xr.Dataset({name: (SHUFFLE, value) for name, value in values.items()}, origin)


def _columns(run: Run, permutations: int, rng: np.random.Generator, *, within_category: bool) -> xr.Dataset:
    """Permuted copies of every matched site: ``response`` (stimulus, site), ``origin``, ``region`` (site)."""
    recording = run.dataset("recording").sortby(STIMULUS)
    status = run.dataset("matches")["site_status"].sel({SITE: recording[SITE]}).values
    response = recording["response"].transpose(STIMULUS, SITE).values
    everything = np.zeros(len(response))
    category = recording[CATEGORY].values.astype(str) if within_category else everything
    origin = np.repeat(np.flatnonzero(status == "ok"), permutations)
    columns = [exchange(response[:, site], category, rng) for site in origin]
    sites = recording[SITE].values.astype(str)[origin]
    return xr.Dataset(
        {"response": ((STIMULUS, SITE), np.array(columns).reshape(len(origin), len(response)).T)},
        {
            STIMULUS: recording[STIMULUS].values,
            SITE: [f"{name} {k % permutations}" for k, name in enumerate(sites)],
            REGION: (SITE, recording[REGION].values.astype(str)[origin]),
            "origin": (SITE, sites),
        },
    )
