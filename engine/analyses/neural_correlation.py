"""How well do the single units of a network, and of each of its layers, match the sites of a region?

The neural correlation is the median over sites of the best unit's r (Arend et al. 2018). The number of the paper is
selected and scored on the same stimuli; the held-out one stands beside it, and what shuffled stimuli give.
"""

import numpy as np
import xarray as xr

from engine.schema import LAYER, REGION, SITE
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_RESAMPLES = 2000
WHOLE_NETWORK = ""
"""Label of the whole network on the layer axis."""


def compute(run: Run, *, seed: int = 0) -> xr.Dataset:
    """Take the median over the sites of each region, with 95 % intervals from resampled sites.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` (region, layer) and their ``_low`` and ``_high`` ends (percentile bootstrap over
        sites; the selected pairs are held fixed); ``chance_median`` (region, layer), median of the best r with shuffled
        stimuli; ``n_sites`` (region), and ``n_correlation``, ``n_held_out`` (region, layer), the sites that have such a
        value: the median is over these. The layer ``""`` is the whole network.
    """
    matches, profile, null = run.dataset("matches"), run.dataset("layer_profile"), run.dataset("null")
    region_of_site = run.dataset("recording")[REGION].sel({SITE: matches[SITE]}).values
    layers = [WHOLE_NETWORK, *profile[LAYER].values.tolist()]
    values = {
        name: np.concatenate([matches[name].isel(rank=0).values[None], profile[name].transpose(LAYER, SITE).values])
        for name in ("correlation", "held_out")
    }
    chance = np.concatenate([null["network_correlation"].values[None], null["correlation"].values])
    regions = sorted(set(region_of_site.tolist()))
    rng = np.random.default_rng(seed)
    rows = [
        _of_region(values, chance, region_of_site == region, null[REGION].values == region, rng) for region in regions
    ]
    dataset = xr.Dataset({name: ((REGION, LAYER), np.stack([row[name] for row in rows])) for name in rows[0]})
    n_sites = [int((region_of_site == region).sum()) for region in regions]
    return dataset.assign({"n_sites": (REGION, n_sites)}).assign_coords({REGION: regions, LAYER: layers})


def _of_region(
    values: dict[str, np.ndarray], chance: np.ndarray, sites: np.ndarray, shuffles: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    resampled = rng.integers(0, sites.sum(), size=(N_RESAMPLES, sites.sum()))
    row = {"chance_median": _median(chance[:, shuffles])}
    for name, value in values.items():
        of_region = value[:, sites]
        medians = np.stack([_resampled_medians(layer, resampled) for layer in of_region])
        row[name] = _median(of_region)
        row[f"n_{name}"] = np.isfinite(of_region).sum(axis=-1)
        row[f"{name}_low"], row[f"{name}_high"] = _interval(medians)
    return row


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the last axis, NaN left out; NaN where nothing is left."""
    if not values.size:
        return np.full(values.shape[:-1], np.nan)
    missing = np.isnan(values)
    if not missing.any():
        return np.median(values, axis=-1)  # the same, much faster
    nothing = missing.all(axis=-1)
    if nothing.all():
        return np.full(values.shape[:-1], np.nan)
    return np.where(nothing, np.nan, np.nanmedian(np.where(nothing[..., None], 0, values), axis=-1))


def _resampled_medians(values: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """``_median`` of ``values[resampled]``, itself (resample, site); sorts ranks, in few bytes, not values."""
    missing = np.isnan(values)
    if missing.all():
        return np.full(len(resampled), np.nan)
    if missing.any():
        return _median(values[resampled])
    order = np.argsort(values)
    rank = np.empty(len(values), np.min_scalar_type(len(values)))
    rank[order] = np.arange(len(values))
    ranks, n = np.sort(rank[resampled], axis=1), resampled.shape[1]
    return (values[order[ranks[:, (n - 1) // 2]]] + values[order[ranks[:, n // 2]]]) / 2


def _interval(medians: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.isnan(medians).all(axis=1)
    low, high = np.nanpercentile(np.where(nothing[:, None], 0, medians), [2.5, 97.5], axis=1)
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)
