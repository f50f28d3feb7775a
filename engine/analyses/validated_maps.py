"""Which feature maps of a layer have a site that responds like one of their units, beyond chance?

Arend et al. (2018), figure S13. The paper draws the best r of every map and counts sites above fixed thresholds; a map
is called validated here only if its best r passes a threshold that is corrected for all maps, positions and sites.
"""

import numpy as np
import xarray as xr
from scipy import stats

from engine.analyses.layer_summary import no_match, region_layers
from engine.analyses.random_control import best_r
from engine.errors import SettingsError
from engine.schema import FEATURE_MAP, LAYER, REGION, SITE, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
LEVEL = 0.05
LEAST_SHUFFLES = 10
"""Fewer shuffles of a region's sites give no estimate of the tail."""

STATUSES = ("validated", "unvalidated", "no unit")


def compute(run: Run, *, seed: int = 0, layer: str | None = None, level: float = LEVEL) -> xr.Dataset:
    """Judge every feature map of a layer by its best r with any site of a region.

    The threshold is for the best r among all units of the layer and all sites of the region, so that under the null
    even one map above it has a probability of at most ``level``. It is the larger of two:

    - ``threshold_closed_form``: N x S independent units with Gaussian activations reach more with probability
      ``level`` (``random_control.best_r``; N ranked units of the layer, S sites, the fewest stimuli of any). That units
      of a layer and sites are related only lowers what they reach.
    - ``threshold_shuffles``: activations are no Gaussians, and a unit that is active on few stimuli reaches more. The
      run's ``null`` holds the best r in the layer for sites whose stimuli were shuffled; to atanh of those of the
      region a Gumbel distribution is fitted, which S independent sites move by scale x ln S. NaN with fewer than ten
      shuffles. With thirty it is an extrapolation, which is why it can only raise the threshold.

    Parameters
    ----------
    run
        Sites without a match are left out.
    seed
        Not used: nothing is drawn.
    layer
        Taken for every region; by default the layer of highest neural correlation of each region.
    level
        Probability of one map or more above the threshold under the null, in (0, 1).

    Returns
    -------
    xr.Dataset
        For each (feature_map), with coordinates ``map_region``, ``map_layer``, ``channel``: ``best`` r over positions
        and sites, ``best_site``, ``y``, ``x`` of that unit, NaN, "" and -1 without one; ``p_value``, the larger one of
        the two, corrected like the thresholds; ``status``: validated, unvalidated, or no unit.
        ``n_above`` (feature_map, threshold), sites with an r above each threshold at the map's best position for that
        site. For each (region): ``layer``, ``n_sites``, ``n_left_out``, ``n_maps``, ``n_validated``, ``n_shuffles``,
        ``threshold``, ``threshold_closed_form``, ``threshold_shuffles``.
        There is no held-out value: a map's position and site are chosen on all stimuli, for which the threshold pays.

    References
    ----------
    Nichols & Holmes (2002), Nonparametric permutation tests for functional neuroimaging, Human Brain Mapping 15, 1-25
    (maximum statistic). Winkler et al. (2016), Faster permutation inference in brain imaging, NeuroImage 141, 502-516
    (a distribution fitted to few permutations).
    """
    if not 0 < level < 1:
        raise SettingsError(f"level={level!r}: a probability between 0 and 1 is needed, such as 0.05.")
    parts = [_of_region(run, region, name, level) for region, name in region_layers(run, layer).items()]
    of_maps, of_regions = zip(*parts, strict=True)
    judged = xr.concat(of_maps, FEATURE_MAP).merge(xr.concat(of_regions, REGION))
    return judged.assign_attrs(level=float(level))


def expected_seconds(run: Run, *, layer: str | None = None, level: float = LEVEL) -> float:
    """Seconds that ``compute`` takes, roughly."""
    return 0.5 + 5e-8 * run.dataset("feature_maps")["correlation"].size


def missing(run: Run) -> str | None:
    """Say what the run lacks for this analysis; None if it can be computed."""
    return no_match(run)


def closed_form_p(r: np.ndarray, n_stimuli: int, n_units: float) -> np.ndarray:
    """Return the probability that the best of ``n_units`` independent random units reaches r or more."""
    r = np.clip(r, -1, 1)
    with np.errstate(divide="ignore"):
        t = r * np.sqrt((n_stimuli - 2) / (1 - r**2))
        return -np.expm1(n_units * np.log1p(-stats.t.sf(t, n_stimuli - 2)))


def gumbel_of(null: np.ndarray, n_sites: int) -> tuple[float, float] | None:
    """Fit a Gumbel distribution to atanh of best r with single shuffled sites; move it to the best of ``n_sites``.

    Returns
    -------
    tuple of float or None
        Location and scale on the scale of atanh r; None with too few values.
    """
    known = null[np.isfinite(null)]
    if len(known) < LEAST_SHUFFLES or np.ptp(known) == 0:
        return None
    location, scale = stats.gumbel_r.fit(np.arctanh(known))
    return float(location + scale * np.log(n_sites)), float(scale)


def _of_region(run: Run, region: str, layer: str, level: float) -> tuple[xr.Dataset, xr.Dataset]:
    recording, matches, null = run.dataset("recording"), run.dataset("matches"), run.dataset("null")
    is_here = recording[REGION].sel({SITE: matches[SITE]}).values == region
    is_ok = is_here & (matches["site_status"].values == "ok")
    sites = matches[SITE].values[is_ok]
    stored = run.dataset("feature_maps")
    rows = np.flatnonzero(stored[LAYER].values == layer)
    maps = stored.isel({FEATURE_MAP: rows}).sel({SITE: sites}).transpose(FEATURE_MAP, SITE)
    found = _best_of_maps(maps)
    n_stimuli = int(recording["response"].sel({SITE: sites}).count(STIMULUS).min())
    n_units = int(run.dataset("layers")["n_ok"].sel({LAYER: layer})) * len(sites)
    shuffled = null["correlation"].sel({LAYER: layer}).values[null[REGION].values == region]
    gumbel = gumbel_of(shuffled, len(sites))
    closed_form = best_r(n_stimuli, n_units, quantile=1 - level)
    by_shuffles = np.nan if gumbel is None else float(np.tanh(stats.gumbel_r.isf(level, *gumbel)))
    threshold = float(np.nanmax([closed_form, by_shuffles]))
    best = found["best"].values
    p = closed_form_p(best, n_stimuli, n_units)
    if gumbel is not None:
        p = np.fmax(p, stats.gumbel_r.sf(np.arctanh(np.clip(best, -1, 1 - 1e-12)), *gumbel))
    status = np.where(np.isnan(best), "no unit", np.where(best > threshold, "validated", "unvalidated"))
    found = found.assign(p_value=(FEATURE_MAP, p), status=(FEATURE_MAP, status))
    about = {
        "layer": layer,
        "n_sites": int(is_here.sum()),
        "n_left_out": int((is_here & ~is_ok).sum()),
        "n_maps": len(best),
        "n_validated": int((status == "validated").sum()),
        "n_shuffles": int(np.isfinite(shuffled).sum()),
        "threshold": threshold,
        "threshold_closed_form": closed_form,
        "threshold_shuffles": by_shuffles,
    }
    found = found.assign_coords(map_region=(FEATURE_MAP, np.full(len(best), region)))
    return found, xr.Dataset({name: (REGION, [value]) for name, value in about.items()}, {REGION: [region]})


def _best_of_maps(maps: xr.Dataset) -> xr.Dataset:
    r = maps["correlation"].values.astype(np.float64)
    has_unit = np.isfinite(r).any(axis=1)
    at = np.nan_to_num(r, nan=-np.inf).argmax(axis=1)
    row = np.arange(len(r))
    above = r[:, :, None] > np.array(THRESHOLDS)
    return xr.Dataset(
        {
            "best": (FEATURE_MAP, np.where(has_unit, r[row, at], np.nan)),
            "best_site": (FEATURE_MAP, np.where(has_unit, maps[SITE].values.astype(str)[at], "")),
            "y": (FEATURE_MAP, np.where(has_unit, maps["y"].values[row, at], -1)),
            "x": (FEATURE_MAP, np.where(has_unit, maps["x"].values[row, at], -1)),
            "n_above": ((FEATURE_MAP, "threshold_of_r"), above.sum(axis=1)),
        },
        {
            "map_layer": (FEATURE_MAP, maps[LAYER].values.astype(str)),
            "channel": (FEATURE_MAP, maps["channel"].values),
            "threshold_of_r": list(THRESHOLDS),
        },
    )
