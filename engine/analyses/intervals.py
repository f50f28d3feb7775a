"""How certain is each site's r, and the neural correlation of a region? Bootstrap intervals of 95 %.

Three questions, three intervals: other stimuli (would the same pairs correlate as well on them?), other sites (would
other sites of the region give the same median?), and both at once.
"""

import numpy as np
import xarray as xr

from engine.analyses.reliability import site_reliability
from engine.analyses.resampling import (
    N_RESAMPLES,
    OK,
    RESAMPLED,
    UNDEFINED,
    Resamples,
    held_out_status,
    interval,
    matched_pairs,
    median,
    median_intervals,
    require_resamples,
    resample_scores,
    stratified_weights,
)
from engine.errors import SettingsError
from engine.schema import RANK, REGION, REPEAT, SITE, STIMULUS
from engine.store import Run

VERSION = 1
RELIABLE_FROM = 0.3
"""Sites with a lower reliability are marked: most of their variance over stimuli is noise."""
_SECONDS_PER_PRODUCT, _SECONDS_PER_TRIAL = 2.5e-10, 1e-6
_SCORES = ("correlation", "held_out")


def compute(
    run: Run, *, seed: int = 0, n_resamples: int = N_RESAMPLES, reliable_from: float = RELIABLE_FROM
) -> xr.Dataset:
    """Resample stimuli and sites, the selected pairs held fixed, and read off percentile intervals.

    Choosing the unit again on every resample would be biased upward (a resample repeats stimuli, so their noise is
    fitted twice), therefore a pair stays what it is. An interval of r, selected and scored on the same stimuli, says
    how far that value moves with other stimuli, not how much of it is luck of the selection: that is what the held-out
    r beside it says.

    Parameters
    ----------
    run
        Its responses, and those of its matched units.
    seed
        Of the resamples, and of the halves of the reliability.
    n_resamples
        At least 100.
    reliable_from
        Reliability, in [0, 1], below which a site counts as unreliable.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` (site) with ``_low`` and ``_high`` ends over resampled stimuli;
        ``correlation_status`` (site): ``ok``, the site's status if it has no match, or ``undefined`` (in over 5 % of
        the resamples, as for a unit that very few stimuli drive); ``held_out_status`` (site): ``ok``, ``stand-in`` (the
        run does not keep the responses of a fold's unit: the best rank of that fold that it keeps moves in its place),
        ``undefined`` or ``no folds``; ``reliability``, ``noise_ceiling`` (site), NaN where not known;
        ``is_unreliable`` (site), False where the reliability is not known; coordinate ``region_of_site`` (site).
        ``median_correlation``, ``median_held_out`` (region) with ``_low`` and ``_high`` (region, resampled), where
        ``resampled`` is ``stimuli``, ``sites`` or ``both``; ``n_sites``, ``n_correlation``, ``n_held_out``,
        ``n_unreliable`` (region). Attributes: ``strata``, ``ceiling_method``, ``reliable_from``, ``n_resamples``,
        ``n_stimuli``.

    Raises
    ------
    SettingsError
        For fewer than 100 resamples or an impossible ``reliable_from``.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13 (percentile intervals).
    """
    require_resamples(n_resamples)
    if not 0 <= reliable_from <= 1:
        raise SettingsError(f"reliable_from={reliable_from}: a reliability lies between 0 and 1; 0.3 is usual.")
    rng = np.random.default_rng(seed)
    recording, matches = run.dataset("recording"), run.dataset("matches")
    pairs = matched_pairs(run)
    weights, label = stratified_weights(recording, pairs.fold, n_resamples, rng)
    resamples = resample_scores(pairs, weights)
    best = {name: matches[name].isel({RANK: 0}).values for name in _SCORES}
    sites = _of_sites(best, resamples)
    undefined = np.isnan(sites["correlation_low"]) & np.isfinite(best["correlation"])
    status = np.where(undefined, UNDEFINED, matches["site_status"].values.astype(str))
    reliability = site_reliability(recording.sel({SITE: matches[SITE]}), seed=seed)
    sites |= {
        "correlation_status": np.where(np.isnan(best["correlation"]) & (status == OK), "no unit", status),
        "held_out_status": held_out_status(pairs, resamples),
        "reliability": reliability["reliability"].values,
        "noise_ceiling": reliability["noise_ceiling"].values,
        "is_unreliable": reliability["reliability"].values < reliable_from,
    }
    region = recording[REGION].sel({SITE: matches[SITE]}).values.astype(str)
    attrs = {
        "strata": label,
        "ceiling_method": reliability.attrs["method"],
        "reliable_from": reliable_from,
        "n_resamples": n_resamples,
        "n_stimuli": recording.sizes[STIMULUS],
    }
    dataset = _of_regions(best, resamples, sites["is_unreliable"], region, rng)
    dataset = dataset.assign_coords({SITE: matches[SITE].values, "region_of_site": (SITE, region)})
    return dataset.assign({name: (SITE, values) for name, values in sites.items()}).assign_attrs(attrs)


def expected_seconds(run: Run, *, n_resamples: int = N_RESAMPLES, **_: float) -> float:
    """Estimate the time from the sizes of the matrix products, six over all stimuli and six over folds, and trials."""
    sizes = run.dataset("recording").sizes
    n_pairs = sizes[STIMULUS] * sizes[SITE]
    return 0.1 + n_pairs * (12 * _SECONDS_PER_PRODUCT * n_resamples + _SECONDS_PER_TRIAL * sizes.get(REPEAT, 0))


def missing(run: Run) -> str | None:
    """Every run has what this needs; without folds or trials the parts that rest on them are NaN."""
    return None


def _of_sites(best: dict[str, np.ndarray], resamples: Resamples) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for name in _SCORES:
        low, high = interval(getattr(resamples, name))
        known = np.isfinite(best[name])
        values |= {name: best[name], f"{name}_low": np.where(known, low, np.nan)}
        values[f"{name}_high"] = np.where(known, high, np.nan)
    return values


def _of_regions(
    best: dict[str, np.ndarray],
    resamples: Resamples,
    is_unreliable: np.ndarray,
    region: np.ndarray,
    rng: np.random.Generator,
) -> xr.Dataset:
    regions = sorted(set(region.tolist()))
    rows = [_of_region(best, resamples, region == name, rng) for name in regions]
    dims = {name: (REGION, "resampled") if name.endswith(("_low", "_high")) else (REGION,) for name in rows[0]}
    variables = {name: (dims[name], np.stack([row[name] for row in rows])) for name in rows[0]}
    variables["n_unreliable"] = ((REGION,), np.array([is_unreliable[region == name].sum() for name in regions]))
    return xr.Dataset(variables, {REGION: regions, "resampled": list(RESAMPLED)})


def _of_region(
    best: dict[str, np.ndarray], resamples: Resamples, here: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    row: dict[str, np.ndarray] = {"n_sites": np.array(here.sum())}
    for name in _SCORES:
        observed = best[name][here]
        low, high = median_intervals(observed, getattr(resamples, name)[:, here], rng)
        row |= {f"median_{name}": median(observed), f"median_{name}_low": low, f"median_{name}_high": high}
        row[f"n_{name}"] = np.array(np.isfinite(observed).sum())
    return row
