"""Is there anything special about the basis of units that a network learned? Random rotations of it.

Arend et al. (2018), figure 9: the channels of a layer are rotated by Q drawn from the Haar measure on SO(N), the same Q
at every position and for every stimulus. Everything that does not depend on the basis stays as it was. What needs the
network, the layer's activations once more, is in ``engine.rotations``.
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.stats import special_ortho_group

from engine.errors import SettingsError
from engine.schema import LAYER, MIN_STIMULI, REGION, SITE, STIMULUS
from engine.store import Run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 2
"""Raised whenever a number that is stored can change."""

SECONDS_PER_ACTIVATION = 4.5e-9
"""Of a pass, for each listed unit up to the layer and each stimulus, on two cores (tests/benchmarks/rotation.md)."""

PRODUCTS_PER_SECOND = 5e10
"""Float64 operations, there."""

SCALINGS = ("raw", "standardised")
"""What is rotated: activations as they are, or after each channel was divided by its SD over stimuli and positions."""


def compute(run: Run, source: "Source", *, seed: int = 0, rotations: int = 10) -> xr.Dataset:
    """Rotate the best layer of each region of a run.

    Parameters
    ----------
    run
        Its folds give the held-out values.
    source
        Network and recording of the run.
    seed
        Of the rotations.
    rotations
        Random bases, at least 1.

    Returns
    -------
    xr.Dataset
        As from ``compute_rotations``, each site in its region's best layer. In addition ``population`` (scaling,
        rotation, site), the region's own sites against rotations of their population; ``layer``, ``n_channels``,
        ``n_sites``, ``n_matched`` (region), the layer, its channels, the region's sites and those that have a match in
        the layer; and the medians over the sites of each region that ``region_medians`` gives.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figure 9.
    """
    from engine.rotations import compute_rotations  # loads torch, which listing the analyses must not

    layers, responses = best_layers(run), run.dataset("recording")
    by_layer = {
        layer: compute_rotations(
            source.network,
            source.recording,
            layer,
            rotations=rotations,
            folds=run.dataset("folds")["fold"],
            seed=seed,
            device=source.device,
            memory=source.memory,
            progress=source.progress,
        )
        for layer in dict.fromkeys(layers.values())
    }
    region = responses[REGION].values
    parts = [by_layer[layer].sel({SITE: responses[SITE].values[region == name]}) for name, layer in layers.items()]
    sites = xr.concat(parts, SITE, combine_attrs="drop").sel({SITE: responses[SITE].values})
    sites["population"] = population_rotations(responses, rotations=rotations, seed=seed)
    sites = sites.merge(region_medians(sites, region))
    regions = sites[REGION].values.tolist()
    sites["layer"] = (REGION, [layers[name] for name in regions])
    sites["n_channels"] = (REGION, [by_layer[layers[name]].attrs["n_channels"] for name in regions])
    sites["n_sites"] = (REGION, [int((region == name).sum()) for name in regions])
    matched = np.isfinite(sites["natural"].values)
    sites["n_matched"] = (REGION, [int(matched[region == name].sum()) for name in regions])
    return sites


def missing(run: Run) -> str | None:
    """Say what a run lacks for rotations: a region without a match has no best layer."""
    try:
        best_layers(run)
    except SettingsError as error:
        return str(error)
    return None


def expected_seconds(run: Run, *, rotations: int = 10) -> float:
    """Return roughly how long the rotations take on two cores: a pass truncated at each layer, then the products."""
    table, n_stimuli = run.dataset("layers"), run.dataset("recording").sizes[STIMULUS]
    n_folds = int(run.dataset("folds")["fold"].max()) + 1
    seconds = 0.0
    for layer in set(best_layers(run).values()):
        names = table[LAYER].values.tolist()
        row = table.sel({LAYER: layer})
        channels, positions = int(row["channels"]), int(row["height"] * row["width"])
        passed = int(table["units"].values[: names.index(layer) + 1].sum())
        products = 2 * (2 * rotations + 1) * positions * channels**2 * min(n_stimuli, 1.5 * n_folds * channels)
        seconds += n_stimuli * passed * SECONDS_PER_ACTIVATION + products / PRODUCTS_PER_SECOND
    return seconds


def random_rotation(n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Q (channel, channel) float64 from the Haar measure on SO(N): orthogonal, determinant +1."""
    if n_channels == 1:
        return np.ones((1, 1))
    return special_ortho_group.rvs(n_channels, random_state=rng)


def rotate(activation: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate the channels of activations.

    Parameters
    ----------
    activation
        (stimulus, channel, ...), for example (stimulus, channel, y, x).
    rotation
        (channel, channel), Q.

    Returns
    -------
    np.ndarray
        Same shape, float64: Q times the channel vector at every position and for every stimulus.
    """
    return np.moveaxis(np.tensordot(rotation, activation.astype(np.float64), axes=([1], [1])), 0, 1)


def best_layers(run: Run) -> dict[str, str]:
    """Name the layer of highest neural correlation for each region of a run; the earlier of equal ones.

    Raises
    ------
    SettingsError
        If no layer has a neural correlation with some region.
    """
    nc = run.dataset("neural_correlation")["correlation"].isel({LAYER: slice(1, None)})
    nothing = nc[REGION].values[nc.isnull().all(LAYER).values].tolist()
    if nothing:
        raise SettingsError(
            f"run {run.digest[:12]}: no layer has a neural correlation with region {nothing[0]!r}, since no site or no "
            "unit varies; there is no best layer to rotate. Match a recording without that region's sites."
        )
    best = nc[LAYER].values[np.nanargmax(nc.transpose(REGION, LAYER).values, axis=1)]
    return dict(zip(nc[REGION].values.tolist(), best.tolist(), strict=True))


def population_rotations(recording: xr.Dataset, *, rotations: int, seed: int) -> xr.DataArray:
    """Match each region's sites with rotations of their own population: the reference for rotated layers.

    Parameters
    ----------
    recording
        ``response`` (stimulus, site), ``region`` on site; only stimuli that all sites of a region saw are taken.
    rotations
        Random bases.
    seed
        Of the rotations.

    Returns
    -------
    xr.DataArray
        (scaling, rotation, site), r of the best rotated response with each site; 1 in a region of one site; NaN where
        a site is constant or the region's sites share fewer than three stimuli.
    """
    response = recording["response"].transpose(STIMULUS, SITE).values.astype(np.float64)
    region = recording[REGION].values
    best = np.full((len(SCALINGS), rotations, response.shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    for name in dict.fromkeys(region.tolist()):
        sites = np.flatnonzero(region == name)
        own = response[:, sites][np.isfinite(response[:, sites]).all(axis=1)]
        for index in range(rotations):
            q = random_rotation(len(sites), rng)
            if len(own) >= MIN_STIMULI:
                best[0, index, sites] = _best_r(own, (own - own.mean(axis=0)) @ q.T)
                best[1, index, sites] = _best_r(own, _normed(own, of_constant=0.0) @ q.T)
    coords = {"scaling": list(SCALINGS), SITE: recording[SITE].values}
    return xr.DataArray(best, coords, ("scaling", "rotation", SITE))


def region_medians(sites: xr.Dataset, region: np.ndarray) -> xr.Dataset:
    """Take the neural correlation of each region, the median over its sites, in every basis.

    Parameters
    ----------
    sites
        ``correlation``, ``held_out``, ``population`` (scaling, rotation, site); ``natural``, ``natural_held_out``
        (site).
    region
        (site,) of each site.

    Returns
    -------
    xr.Dataset
        ``median_NAME`` of each, (scaling, rotation, region) or (region); for the first three also ``mean_NAME`` and
        ``sd_NAME`` (scaling, region) over the rotations, ddof = 1. A site without a value does not count; NaN where
        none is left, and for the SD of one rotation.
    """
    regions = sorted(set(region.tolist()))
    found = xr.Dataset(coords={REGION: regions})
    for name in ("natural", "natural_held_out"):
        found[f"median_{name}"] = (REGION, _medians(sites[name].values, region, regions))
    for name in ("correlation", "held_out", "population"):
        medians = _medians(sites[name].transpose("scaling", "rotation", SITE).values, region, regions)
        found[f"median_{name}"] = (("scaling", "rotation", REGION), medians)
        found[f"mean_{name}"] = (("scaling", REGION), medians.mean(axis=1))
        sd = medians.std(axis=1, ddof=1) if medians.shape[1] > 1 else np.full_like(medians[:, 0], np.nan)
        found[f"sd_{name}"] = (("scaling", REGION), sd)
    return found


def _medians(values: np.ndarray, region: np.ndarray, regions: list[str]) -> np.ndarray:
    of_region = (np.ma.masked_invalid(values[..., region == name]) for name in regions)
    return np.stack([np.ma.filled(np.ma.median(v, axis=-1), np.nan) for v in of_region], axis=-1)


def _best_r(own: np.ndarray, rotated: np.ndarray) -> np.ndarray:
    """Largest r of each column of ``own`` with the columns of ``rotated``, which are centred: NaN if it is constant."""
    r = _normed(own, of_constant=np.nan).T @ _normed(rotated, of_constant=0.0)
    return np.minimum(r.max(axis=1), 1.0)


def _normed(values: np.ndarray, *, of_constant: float) -> np.ndarray:
    """Centre columns and divide them by their norm; constant ones become ``of_constant``."""
    centred = values - values.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    varies = (np.ptp(values, axis=0) > 0) & (norm > 0)
    return np.where(varies, centred / np.where(varies, norm, 1.0), of_constant)
