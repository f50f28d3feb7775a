"""Which feature maps, and which positions in them, hold the units that match the sites of a region?

Arend et al. (2018), figures 8 and S11: counted in the layer that matches the region best, for the best unit of every
site in that layer and for its 100 best ones.
"""

import numpy as np
import xarray as xr

from engine.analyses.layer_summary import no_match, region_layers
from engine.schema import FEATURE_MAP, LAYER, RANK, REGION, SITE
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""


def compute(run: Run, *, seed: int = 0, layer: str | None = None) -> xr.Dataset:
    """Count the sites, and their best units, by feature map and by position.

    Parameters
    ----------
    run
        Sites without a unit in the layer are not counted.
    seed
        Not used: nothing is drawn.
    layer
        Taken for every region; by default the layer of highest neural correlation of each region.

    Returns
    -------
    xr.Dataset
        ``layer``, ``n_sites``, ``n_matched`` (sites with a unit in the layer) and ``n_units`` (their best units, as
        many as the run keeps) of each (region). ``matches_in_map``, ``units_in_map`` (feature_map), with coordinates
        ``map_region``, ``map_layer``, ``channel``; ``matches_at``, ``units_at`` (position), with coordinates
        ``position_region``, ``y``, ``x``. Over the maps, and over the positions, of a region the counts of matches sum
        to ``n_matched`` and those of units to ``n_units``, which is ranks x sites less the ranks without a unit.
        ``n_maps_matched`` (region), maps that hold a match, and ``n_maps_expected``, as many as there would be if
        each site drew one of the maps at random: C (1 - (1 - 1/C)^n_matched).
    """
    region = run.dataset("recording")[REGION].to_series()
    layers, table = region_layers(run, layer), run.dataset("layers")
    parts = [
        _of_region(
            name,
            run.dataset("layer_matches").sel({LAYER: where, SITE: region.index[region == name]}),
            table[["channels", "height", "width"]].sel({LAYER: where}),
        )
        for name, where in layers.items()
    ]
    dims = (FEATURE_MAP, "position", REGION)
    counts = xr.merge(map(xr.concat, zip(*parts, strict=True), dims))
    return counts.assign_coords({REGION: list(layers)}).assign(layer=(REGION, list(layers.values())))


def expected_seconds(run: Run, *, layer: str | None = None) -> float:
    """Seconds that ``compute`` takes, roughly."""
    return 0.5


def missing(run: Run) -> str | None:
    """Say what the run lacks for this analysis; None if it can be computed."""
    return no_match(run)


def _of_region(name: str, matches: xr.Dataset, shape: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    channels, height, width = (int(shape[what]) for what in ("channels", "height", "width"))
    units = matches["unit"].transpose(SITE, RANK).values
    best, every = (chosen[chosen >= 0] for chosen in (units[:, 0], units))
    area = height * width

    def counted(index: np.ndarray, length: int) -> np.ndarray:
        return np.bincount(index, minlength=length)

    maps = xr.Dataset(
        {
            "matches_in_map": (FEATURE_MAP, counted(best // area, channels)),
            "units_in_map": (FEATURE_MAP, counted(every // area, channels)),
        },
        {
            "map_region": (FEATURE_MAP, np.full(channels, name)),
            "map_layer": (FEATURE_MAP, np.full(channels, str(matches[LAYER].values))),
            "channel": (FEATURE_MAP, np.arange(channels)),
        },
    )
    positions = xr.Dataset(
        {"matches_at": ("position", counted(best % area, area)), "units_at": ("position", counted(every % area, area))},
        {
            "position_region": ("position", np.full(area, name)),
            "y": ("position", np.arange(area) // width),
            "x": ("position", np.arange(area) % width),
        },
    )
    n_expected = channels * -np.expm1(len(best) * np.log1p(-1 / channels)) if channels > 1 else min(len(best), 1)
    totals = {
        "n_sites": len(units),
        "n_matched": len(best),
        "n_units": len(every),
        "n_maps_matched": int((maps["matches_in_map"] > 0).sum()),
        "n_maps_expected": float(n_expected),
    }
    return maps, positions, xr.Dataset({what: (REGION, [value]) for what, value in totals.items()})
