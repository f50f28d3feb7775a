"""What would be found if the right answer were known? A recording simulated from known units of a real network.

88 sites answer to the 640 pictures of ``engine.scenes``: 48 V4-like ones made of units of SqueezeNet 1.1's earlier layers,
40 IT-like ones of its later layers. A site is the rectified affine function of one unit, or of the weighted z-scores of two
or three, and fires Poisson counts whose reliability was chosen. Everything that was chosen stands in the site coordinates
``true_layer``, ``true_unit``, ``true_weight`` (several joined by ``;``), ``n_units`` and ``true_reliability``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import xarray as xr
from filelock import FileLock
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from engine import scenes
from engine.durable import remove
from engine.errors import RecordingError, SettingsError
from engine.recordings import BUILTIN, Recording, data_root, open_recording
from engine.stimuli import Stimuli

if TYPE_CHECKING:
    from engine.networks import Network
    from engine.runs import Run

WORLD_VERSION: Final = 1
"""Raise it when a change to the simulation moves a number: the world is then built again."""

SEED: Final = 2018
NETWORK: Final = "squeezenet1_1"
SIZE_DEG: Final = 8.0
N_REPEATS: Final = 30
N_SQUARE_REPEATS: Final = 20
SPONTANEOUS: Final = 1.0
"""Spikes in the window that a site fires to the stimulus it likes least."""

SQUARE_CENTRES_DEG: Final = np.arange(-3.5, 4.0)

Counts = NDArray[np.uint8]
Array = NDArray[np.float64]
Unit = tuple[str, int]


@dataclass(frozen=True)
class RegionPlan:
    """Where the units of a region's sites come from, and how many sites have one, two and three units."""

    name: str
    layers: tuple[str, ...]
    n_sites: tuple[int, int, int]


REGIONS: Final = (
    RegionPlan("V4", ("fire2", "fire3", "pool3", "fire4.squeeze", "fire4", "fire5.squeeze", "fire5"), (26, 13, 9)),
    RegionPlan("IT", ("fire6.squeeze", "fire6", "fire7.squeeze", "fire7", "fire8.squeeze", "fire8", "fire9.squeeze", "fire9"), (22, 11, 7)),
)


@dataclass(frozen=True)
class Site:
    """A simulated site: expected count = max(0, ``baseline`` + ``gain`` x sum of ``weights`` x z-scores of ``units``)."""

    id: str
    region: str
    units: tuple[Unit, ...]
    weights: tuple[float, ...]
    reliability: float
    means: tuple[float, ...]
    sds: tuple[float, ...]
    baseline: float
    gain: float

    def rates(self, activations: dict[Unit, Array]) -> Array:
        """Expected counts (stimulus,) where the site's units have these activations."""
        return np.maximum(0.0, self.baseline + self.gain * _mixture(self, activations))


def open_world(progress: bool = False) -> Recording:
    """Open the built-in world; build and save it under ``data_root()`` first if it is not there in this version.

    Parameters
    ----------
    progress
        Whether to show how far building is (it takes about a minute).

    Raises
    ------
    RecordingError
        If the saved world is damaged, or something else lies in its place.
    NetworkError
        If the weights of SqueezeNet 1.1 are not installed.
    """
    folder = data_root() / BUILTIN
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{BUILTIN}.lock"):
        found = _saved(folder) if folder.exists() else None
        if found is not None and found.data.attrs.get("world") == world_key():
            return found
        built = build_world(progress=progress)
        remove(folder)
        built.save(folder)
    return open_recording(folder)


def world_key(seed: int = SEED) -> str:
    """Return what a saved world must say to be this one."""
    return f"world {WORLD_VERSION}, scenes {scenes.SCENES_VERSION}, seed {seed}"


def build_world(seed: int = SEED, *, progress: bool = False) -> Recording:
    """Render the stimuli, simulate the sites, map their fields; nothing is written.

    Returns
    -------
    Recording
        ``response``, ``trials`` (spike counts in 100 ms), ``rf_map``: mean count to a white square of 1 degree less that to
        the gray blank, ``rf_y`` up and ``rf_x`` to the right of the centre in degrees.
    """
    from engine.networks import load_network

    listed = scenes.list_scenes(seed)
    ids = [scene.id for scene in listed]
    with _bar("rendering the built-in world", len(listed), progress) as advance:
        stimuli = Stimuli.from_array(scenes.render_all(seed, advance=advance), ids)
    network = load_network(NETWORK)
    rng = np.random.default_rng([seed, 10])
    candidates = {plan.name: _draw_units(network, plan, rng) for plan in REGIONS}
    wanted = [unit for units in candidates.values() for unit in units]
    with _bar("simulating its sites", len(listed), progress) as advance:
        activations = activations_of(network, stimuli, wanted, advance)
    sites = [site for plan in REGIONS for site in _draw_sites(plan, candidates[plan.name], activations, rng)]
    trials = np.stack([_counts(site.rates(activations), N_REPEATS, rng) for site in sites], axis=1)
    squares = activations_of(network, squares_and_blank(), [unit for site in sites for unit in site.units])
    return Recording.from_arrays(
        trials.astype(np.float32),
        stimuli,
        stimulus_ids=ids,
        site_ids=[site.id for site in sites],
        region=[site.region for site in sites],
        size_deg=SIZE_DEG,
        name=BUILTIN,
        site_coords=_truth(sites),
        stimulus_coords={
            "category": [scene.category for scene in listed],
            "object": [f"{scene.category}-{scene.object}" for scene in listed],
        },
        rf_map=_maps(sites, squares, rng),
        attrs={
            "source": f"simulated by unitscope from SqueezeNet 1.1 units, seed {seed}",
            "licence": "BSD-3-Clause",
            "window_ms": "70-170",
            "response_unit": "spike count per 100 ms",
            "simulated": 1,
            "n_repeats": N_REPEATS,
            "world": world_key(seed),
        },
    )


def ground_truth(recording: Recording, run: "Run") -> pd.DataFrame:
    """Say for every site simulated from one unit whether matching found that unit.

    Parameters
    ----------
    recording
        The built-in world.
    run
        Pretrained SqueezeNet 1.1 against it.

    Returns
    -------
    pd.DataFrame
        One row a site: ``site``, ``region``, ``true_reliability``, ``true_layer``, ``true_unit``, ``layer`` and ``unit`` of the
        match, ``correlation`` with it, ``ceiling`` (sqrt of the reliability), ``true_rank`` of the true unit (-1: not in the
        table), and ``found``: the match is the true unit, or its standardised responses equal that unit's to 1e-6.

    Raises
    ------
    SettingsError
        If the recording has no ground truth, or the run's network lacks one of its layers.
    """
    data = recording.data
    _require_truth(recording.name, data, run)
    matches, responses = run.dataset("matches"), run.dataset("match_responses")
    rows = [_found(data.sel(site=site), matches.sel(site=site), responses) for site in data["site"].values[data["n_units"] == 1]]
    return pd.DataFrame(rows)


def squares_and_blank() -> Stimuli:
    """Return 64 white squares of 1 degree on gray, ``y3.5x-3.5`` being the upper left one, and ``blank``."""
    side = scenes.SIZE_PX
    per_deg = side / SIZE_DEG
    names, pictures = ["blank"], [np.full((side, side), 128, dtype=np.uint8)]
    for y in SQUARE_CENTRES_DEG:
        for x in SQUARE_CENTRES_DEG:
            picture = pictures[0].copy()
            top, left = (round((SIZE_DEG / 2 + offset - 0.5) * per_deg) for offset in (-y, x))
            picture[top : top + round(per_deg), left : left + round(per_deg)] = 255
            names.append(f"y{y}x{x}")
            pictures.append(picture)
    return Stimuli.from_array(np.stack(pictures), names)


def activations_of(
    network: "Network", stimuli: Stimuli, units: Sequence[Unit], advance: Callable[[int], None] = lambda n: None
) -> dict[Unit, Array]:
    """Return the activation (stimulus,) of each unit (layer, index), in float64."""
    import torch

    from engine.activations import recorded

    index = {layer: sorted({unit for at, unit in units if at == layer}) for layer in dict.fromkeys(layer for layer, _ in units)}
    parts: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in index}

    def take(layer: str, activation: torch.Tensor) -> None:
        parts[layer].append(activation[:, index[layer]].numpy().copy())

    with recorded(network, list(index), take) as run:
        for start in range(0, len(stimuli), 8):
            ids = stimuli.ids[start : start + 8]
            run(network.inputs(stimuli, ids))
            advance(len(ids))
    whole = {layer: np.concatenate(parts[layer]).astype(np.float64) for layer in index}
    return {(layer, unit): whole[layer][:, k] for layer in index for k, unit in enumerate(index[layer])}


def _saved(folder: Path) -> Recording:
    try:
        found = open_recording(folder)
    except RecordingError as error:
        raise RecordingError(f"The built-in world at {folder} cannot be opened: {error} Remove that folder; it is built again.") from error
    if found.data.attrs.get("simulated") != 1:
        raise RecordingError(f"{folder} holds the recording {found.name!r}, not the built-in world. Save it to another path.")
    return found


@contextmanager
def _bar(what: str, total: int, progress: bool) -> Iterator[Callable[[int], None]]:
    with tqdm(total=total, desc=what, disable=not progress, unit="image") as bar:
        yield lambda n: bar.update(n) and None


def _draw_units(network: "Network", plan: RegionPlan, rng: np.random.Generator) -> list[Unit]:
    """Candidates, four for each that the region needs: a layer at random, then a unit in it."""
    n_units = dict(zip(network.layers["name"], network.layers["units"], strict=True))
    n_needed = sum((k + 1) * n for k, n in enumerate(plan.n_sites))
    layers = rng.choice(plan.layers, size=4 * n_needed)
    drawn = [(str(layer), int(rng.integers(n_units[layer]))) for layer in layers]
    return list(dict.fromkeys(drawn))


def _draw_sites(
    plan: RegionPlan, candidates: Sequence[Unit], activations: dict[Unit, Array], rng: np.random.Generator
) -> list[Site]:
    usable = iter([unit for unit in candidates if _is_usable(activations[unit])])
    n_units = rng.permutation(np.repeat([1, 2, 3], plan.n_sites))
    reliabilities = _draw_reliabilities(n_units, rng)
    sites = []
    for i, (n, reliability) in enumerate(zip(n_units, reliabilities, strict=True)):
        units = tuple(next(usable) for _ in range(n))
        weights = (1.0,) if n == 1 else tuple(np.round(rng.uniform(0.4, 1.0, n), 3).tolist())
        sites.append(_site(f"{plan.name.lower()}-{i:02d}", plan.name, units, weights, float(reliability), activations))
    return sites


def _is_usable(activation: Array) -> bool:
    """Active on at least a tenth of the stimuli, and not driven by a handful of them alone."""
    active = np.count_nonzero(activation > 0) / len(activation)
    spread = activation.std()
    return bool(active >= 0.1 and spread > 0 and (activation.max() - activation.mean()) / spread < 10)


def _draw_reliabilities(n_units: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Two thirds of the single-unit sites above .91, the rest and all others anywhere from .3 to .98."""
    reliabilities = rng.uniform(0.3, 0.98, len(n_units))
    single = np.flatnonzero(n_units == 1)
    reliable = single[: round(2 * len(single) / 3)]
    reliabilities[reliable] = rng.uniform(0.91, 0.98, len(reliable))
    return np.round(reliabilities, 3)


def _site(
    name: str, region: str, units: tuple[Unit, ...], weights: tuple[float, ...], reliability: float, activations: dict[Unit, Array]
) -> Site:
    """Choose baseline and gain: least rate = ``SPONTANEOUS``, and var(rate) / (var(rate) + mean rate / repeats) = reliability."""
    means = tuple(float(activations[unit].mean()) for unit in units)
    sds = tuple(float(activations[unit].std()) for unit in units)
    site = Site(name, region, units, weights, reliability, means, sds, 0.0, 1.0)
    drive = _mixture(site, activations)
    variance, depth = drive.var(), -drive.min()
    noise = N_REPEATS * variance * (1 - reliability) / reliability
    gain = (depth + np.sqrt(depth**2 + 4 * noise * SPONTANEOUS)) / (2 * noise)
    return Site(name, region, units, weights, reliability, means, sds, float(SPONTANEOUS + gain * depth), float(gain))


def _mixture(site: Site, activations: dict[Unit, Array]) -> Array:
    parts = zip(site.units, site.weights, site.means, site.sds, strict=True)
    return np.sum([weight * (activations[unit] - mean) / sd for unit, weight, mean, sd in parts], axis=0)


def _counts(rates: Array, n_repeats: int, rng: np.random.Generator) -> Counts:
    """Poisson counts (stimulus, repeat), by inversion: a rate that differs by rounding moves next to no count."""
    quantiles = rng.random((len(rates), n_repeats))
    return np.minimum(stats.poisson.ppf(quantiles, rates[:, None]), 255).astype(np.uint8)


def _maps(sites: Sequence[Site], activations: dict[Unit, Array], rng: np.random.Generator) -> xr.DataArray:
    """Mean count to each square less that to the blank, (site, rf_y, rf_x)."""
    n = len(SQUARE_CENTRES_DEG)
    means = np.stack([_counts(site.rates(activations), N_SQUARE_REPEATS, rng).mean(axis=1) for site in sites])
    return xr.DataArray(
        (means[:, 1:] - means[:, :1]).reshape(len(sites), n, n),
        coords={"site": [site.id for site in sites], "rf_y": SQUARE_CENTRES_DEG, "rf_x": SQUARE_CENTRES_DEG},
        dims=("site", "rf_y", "rf_x"),
    )


def _truth(sites: Sequence[Site]) -> dict[str, list[str] | list[int] | list[float]]:
    return {
        "animal": ["simulated"] * len(sites),
        "n_units": [len(site.units) for site in sites],
        "true_layer": [";".join(layer for layer, _ in site.units) for site in sites],
        "true_unit": [";".join(str(unit) for _, unit in site.units) for site in sites],
        "true_weight": [";".join(map(str, site.weights)) for site in sites],
        "true_reliability": [site.reliability for site in sites],
    }


def _require_truth(name: str, data: xr.Dataset, run: "Run") -> None:
    if "true_unit" not in data.coords:
        raise SettingsError(f"{name}: no site has a known unit behind it; only the built-in world has. Give open_recording('{BUILTIN}').")
    needed = {layer for joined in data["true_layer"].values for layer in joined.split(";")}
    missing = sorted(needed - set(run.dataset("layers")["layer"].values.tolist()))
    if missing:
        raise SettingsError(
            f"{name} was simulated from units of {NETWORK}; {run.network} against {run.recording} lacks {len(missing)} of their "
            f"layers, first {missing[0]!r}. Compare with a run of {NETWORK} over all its layers."
        )


def _found(site: xr.Dataset, match: xr.Dataset, responses: xr.Dataset) -> dict[str, object]:
    layer, unit = str(site["true_layer"].item()), int(site["true_unit"].item())
    best_layer, best_unit = str(match["layer"].values[0]), int(match["unit"].values[0])
    ranks = np.flatnonzero((match["layer"].values == layer) & (match["unit"].values == unit))
    true_rank = int(ranks[0]) if len(ranks) else -1
    return {
        "site": str(site["site"].item()),
        "region": str(site["region"].item()),
        "true_reliability": float(site["true_reliability"]),
        "true_layer": layer,
        "true_unit": unit,
        "layer": best_layer,
        "unit": best_unit,
        "correlation": float(match["correlation"][0]),
        "ceiling": float(np.sqrt(site["true_reliability"])),
        "true_rank": true_rank,
        "found": true_rank == 0 or (true_rank > 0 and _respond_alike(match, true_rank, responses)),
    }


def _respond_alike(match: xr.Dataset, rank: int, responses: xr.Dataset) -> bool:
    first, other = (responses["activation"].values[int(match["match_unit"][r])].astype(np.float64) for r in (0, rank))
    return bool(np.allclose(stats.zscore(first), stats.zscore(other), rtol=0, atol=1e-6))
