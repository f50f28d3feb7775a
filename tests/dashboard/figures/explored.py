"""r of every unit, and the best of every feature map, for a run of the tests: noise, and what its matches say."""

from collections.abc import Mapping

import numpy as np
import xarray as xr


def unit_correlations(run: Mapping[str, xr.Dataset], site: str) -> xr.Dataset:
    """The analysis of that name for a site; every eleventh unit has no r, unless it is ranked."""
    first = _first_units(run["layers"])
    ranked = run["matches"].sel(site=site)
    r = np.random.default_rng(0).normal(0, 0.05, first[-1]).astype(np.float32)
    r[::11] = np.nan
    r[_places(run, ranked)] = ranked["correlation"].values
    return xr.Dataset(
        {"correlation": (("site", "unit"), r[None]), "first_unit": ("layer", first[:-1])},
        {"site": [site], "layer": run["layers"]["layer"].values},
    )


def feature_maps(run: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The run's group of that name."""
    layers, sites = run["layers"], run["matches"]["site"].values
    channels = layers["channels"].values
    rng, n_maps = np.random.default_rng(1), int(channels.sum())
    r = rng.normal(0.1, 0.05, (n_maps, len(sites))).astype(np.float32)
    first = np.concatenate([[0], np.cumsum(channels)])
    names = layers["layer"].values.astype(str).tolist()
    best = run["matches"].isel(rank=0)
    rows = [first[names.index(layer)] for layer in best["layer"].values.astype(str)] + best["channel"].values
    r[rows, np.arange(len(sites))] = best["correlation"].values
    zeros = (("feature_map", "site"), np.zeros(r.shape, np.int64))
    return xr.Dataset(
        {"correlation": (("feature_map", "site"), r), "y": zeros, "x": zeros},
        {
            "site": sites,
            "layer": ("feature_map", np.repeat(layers["layer"].values, channels)),
            "channel": ("feature_map", np.concatenate([np.arange(count) for count in channels])),
        },
    )


def _first_units(layers: xr.Dataset) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(layers["units"].values)])


def _places(run: Mapping[str, xr.Dataset], ranked: xr.Dataset) -> np.ndarray:
    first = dict(zip(run["layers"]["layer"].values.astype(str), _first_units(run["layers"]), strict=False))
    return np.array([first[str(layer)] for layer in ranked["layer"].values]) + ranked["unit"].values
