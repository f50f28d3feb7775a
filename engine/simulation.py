"""How does a site made of known units fire? Units drawn from a network, rates, Poisson counts, flashed-square maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from engine.stimuli import Stimuli

if TYPE_CHECKING:
    import torch

    from engine.networks import Network

SIZE_DEG: Final = 8.0
N_REPEATS: Final = 30
SPONTANEOUS: Final = 1.0
"""Spikes in the window that a site fires to the stimulus it likes least."""

SQUARE_CENTRES_DEG: Final = np.arange(-3.5, 4.0)

_SIDE_PX = 224
_BATCH = 8

Array = NDArray[np.float64]
Unit = tuple[str, int]
"""Layer, and index in it."""


@dataclass(frozen=True)
class RegionPlan:
    """Where the units of a region's sites come from, and how many sites have one, two and three units."""

    name: str
    layers: tuple[str, ...]
    n_sites: tuple[int, int, int]


@dataclass(frozen=True)
class Site:
    """A simulated site: expected count = max(0, ``baseline`` + ``gain`` x sum of ``weights`` x z-scores of ``units``).

    ``reliability`` is that of the mean over ``N_REPEATS``; ``means`` and ``sds`` standardise the units.
    """

    id: str
    region: str
    units: tuple[Unit, ...]
    weights: tuple[float, ...]
    reliability: float
    means: tuple[float, ...]
    sds: tuple[float, ...]
    baseline: float = 0.0
    gain: float = 1.0

    def drive(self, activations: Mapping[Unit, Array]) -> Array:
        """Return the weighted sum of the units' z-scores, (stimulus,)."""
        parts = zip(self.units, self.weights, self.means, self.sds, strict=True)
        return np.sum([weight * (activations[unit] - mean) / sd for unit, weight, mean, sd in parts], axis=0)

    def rates(self, activations: Mapping[Unit, Array]) -> Array:
        """Return the expected counts, (stimulus,)."""
        return np.maximum(0.0, self.baseline + self.gain * self.drive(activations))


def draw_units(network: "Network", plan: RegionPlan, rng: np.random.Generator) -> list[Unit]:
    """Draw ten candidates for each unit that a region needs: a layer at random, then a unit in it."""
    n_units = dict(zip(network.layers["name"], network.layers["units"], strict=True))
    n_needed = sum((k + 1) * n for k, n in enumerate(plan.n_sites))
    layers = rng.choice(plan.layers, size=10 * n_needed)
    drawn = [(str(layer), int(rng.integers(n_units[layer]))) for layer in layers]
    return list(dict.fromkeys(drawn))


def is_usable(activation: Array, squares: Array) -> bool:
    """Say whether a unit makes a sensible site.

    It must be active on a tenth of the stimuli, not by a handful alone, and rise half an SD above the blank (the first
    of ``squares``) for some white square.
    """
    active = np.count_nonzero(activation > 0) / len(activation)
    spread = activation.std()
    is_driven = squares[1:].max() - squares[0] > 0.5 * spread
    return bool(active >= 0.1 and spread > 0 and activation.max() - activation.mean() < 10 * spread and is_driven)


def draw_sites(
    plan: RegionPlan, usable: Sequence[Unit], activations: Mapping[Unit, Array], rng: np.random.Generator
) -> list[Site]:
    """Draw the sites of a region from its usable units, each unit used at most once."""
    remaining = iter(usable)
    n_units = rng.permutation(np.repeat([1, 2, 3], plan.n_sites))
    reliabilities = _draw_reliabilities(n_units, rng)
    sites = []
    for i, (n, reliability) in enumerate(zip(n_units, reliabilities, strict=True)):
        units = tuple(next(remaining) for _ in range(n))
        weights = (1.0,) if n == 1 else tuple(np.round(rng.uniform(0.4, 1.0, n), 3).tolist())
        means = tuple(float(activations[unit].mean()) for unit in units)
        sds = tuple(float(activations[unit].std()) for unit in units)
        site = Site(f"{plan.name.lower()}-{i:02d}", plan.name, units, weights, float(reliability), means, sds)
        sites.append(_with_reliability(site, activations))
    return sites


def _draw_reliabilities(n_units: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Two thirds of the single-unit sites above .91, the rest and all others anywhere from .3 to .98."""
    reliabilities = rng.uniform(0.3, 0.98, len(n_units))
    single = np.flatnonzero(n_units == 1)
    reliable = single[: round(2 * len(single) / 3)]
    reliabilities[reliable] = rng.uniform(0.91, 0.98, len(reliable))
    return np.round(reliabilities, 3)


def _with_reliability(site: Site, activations: Mapping[Unit, Array]) -> Site:
    """Choose baseline and gain.

    The least rate is ``SPONTANEOUS``, and var(rate) / (var(rate) + mean rate / repeats) the reliability.
    """
    drive = site.drive(activations)
    depth = -drive.min()
    noise = N_REPEATS * drive.var() * (1 - site.reliability) / site.reliability
    gain = (depth + np.sqrt(depth**2 + 4 * noise * SPONTANEOUS)) / (2 * noise)
    return replace(site, baseline=float(SPONTANEOUS + gain * depth), gain=float(gain))


def spike_counts(rates: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw Poisson counts (stimulus, repeat), by inversion: a rate that differs by rounding moves next to no count."""
    quantiles = rng.random((len(rates), N_REPEATS))
    return np.minimum(stats.poisson.ppf(quantiles, rates[:, None]), 255).astype(np.uint8)


def squares_and_blank() -> Stimuli:
    """Return ``blank``, mid gray, and 64 white squares of 1 degree on it; ``y3.5x-3.5`` is the upper left one."""
    per_deg = round(_SIDE_PX / SIZE_DEG)
    names, pictures = ["blank"], [np.full((_SIDE_PX, _SIDE_PX), 128, dtype=np.uint8)]
    for y in SQUARE_CENTRES_DEG:
        for x in SQUARE_CENTRES_DEG:
            picture = pictures[0].copy()
            top, left = (round((SIZE_DEG / 2 + offset - 0.5) * per_deg) for offset in (-y, x))
            picture[top : top + per_deg, left : left + per_deg] = 255
            names.append(f"y{y}x{x}")
            pictures.append(picture)
    return Stimuli.from_array(np.stack(pictures), names)


def square_maps(sites: Sequence[Site], activations: Mapping[Unit, Array], rng: np.random.Generator) -> xr.DataArray:
    """Return the mean count to each square less that to the blank, (site, rf_y, rf_x), y up and x right in degrees.

    ``activations`` are those to ``squares_and_blank``.
    """
    n = len(SQUARE_CENTRES_DEG)
    means = np.stack([spike_counts(site.rates(activations), rng).mean(axis=1) for site in sites])
    return xr.DataArray(
        (means[:, 1:] - means[:, :1]).reshape(len(sites), n, n),
        coords={"site": [site.id for site in sites], "rf_y": SQUARE_CENTRES_DEG, "rf_x": SQUARE_CENTRES_DEG},
        dims=("site", "rf_y", "rf_x"),
    )


def activations_of(
    network: "Network", stimuli: Stimuli, units: Sequence[Unit], advance: Callable[[int], None] = lambda n: None
) -> dict[Unit, Array]:
    """Return the activation (stimulus,) of each unit, in float64; ``advance`` hears how many stimuli more are done."""
    from engine.activations import recorded

    layers = dict.fromkeys(layer for layer, _ in units)
    index = {layer: sorted({unit for at, unit in units if at == layer}) for layer in layers}
    parts: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in index}

    def take(layer: str, activation: "torch.Tensor") -> None:
        parts[layer].append(activation[:, index[layer]].numpy().copy())

    with recorded(network, list(index), take) as run:
        for start in range(0, len(stimuli), _BATCH):
            ids = stimuli.ids[start : start + _BATCH]
            run(network.inputs(stimuli, ids))
            advance(len(ids))
    whole = {layer: np.concatenate(parts[layer]).astype(np.float64) for layer in index}
    return {(layer, unit): whole[layer][:, k] for layer in index for k, unit in enumerate(index[layer])}
