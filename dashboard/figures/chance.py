"""What would shuffled images give? Three kinds of chance, which must never be drawn as one band.

A filled dot is the best of all units, so it is judged against the best of all units with shuffled images. An open dot
chose nothing on the images that score it, so its chance is far lower. A median over sites varies less than one site,
so it is judged against the median of the null, not against the level that one site passes in 5 % of shuffles.
"""

import numpy as np
import xarray as xr

LEVEL = 95
"""Percentile of the shuffles that a single site has to pass."""


def best_of_all(null: xr.Dataset, region: str) -> float:
    """Return the 95th percentile, over shuffles of the region, of the best r of all units."""
    return _percentile(_of(null, "network_correlation", region), LEVEL)


def held_out(null: xr.Dataset, region: str) -> float:
    """Return the 95th percentile, over shuffles of the region, of a held-out r."""
    return _percentile(_of(null, "network_held_out", region), LEVEL)


def median_over_sites(null: xr.Dataset, region: str) -> float:
    """Return what a median over sites reaches with shuffled images: the median of the best r of all units."""
    return _percentile(_of(null, "network_correlation", region), 50)


def in_layers(null: xr.Dataset, region: str, percentile: float = LEVEL) -> np.ndarray:
    """Return, (layer), the percentile over shuffles of the best r within each layer."""
    return _percentiles(_of(null, "correlation", region), percentile)


def held_out_in_layers(null: xr.Dataset, region: str, percentile: float = LEVEL) -> np.ndarray:
    """Return, (layer), the percentile over shuffles of a held-out r in each layer."""
    return _percentiles(_of(null, "held_out", region), percentile)


def _of(null: xr.Dataset, variable: str, region: str) -> np.ndarray:
    return null[variable].values[..., null["region"].values == region]


def _percentile(values: np.ndarray, percentile: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percentile)) if finite.size else float("nan")


def _percentiles(values: np.ndarray, percentile: float) -> np.ndarray:
    if np.isfinite(values).all() and values.shape[-1]:
        return np.percentile(values, percentile, axis=-1)
    return np.array([_percentile(row, percentile) for row in values])
