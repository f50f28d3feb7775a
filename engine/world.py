"""What would be found if the right answer were known? A recording simulated from known units of a real network.

88 sites answer to the 640 pictures of ``engine.scenes``: 48 V4-like ones made of units of SqueezeNet 1.1's earlier
layers, 40 IT-like ones of its later layers. A site is the rectified affine function of one unit, or of the weighted
z-scores of two or three, and fires Poisson counts whose reliability was chosen. What was chosen stands in the site
coordinates ``true_layer``, ``true_unit``, ``true_weight`` (several joined by ``;``), ``n_units``, ``true_reliability``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from filelock import FileLock
from scipy import stats
from tqdm import tqdm

from engine import scenes
from engine.durable import remove
from engine.errors import RecordingError, SettingsError
from engine.known_recordings import BUILTIN, data_root, open_recording
from engine.recordings import Recording
from engine.simulation import (
    N_REPEATS,
    SIZE_DEG,
    RegionPlan,
    Site,
    activations_of,
    draw_sites,
    draw_units,
    is_usable,
    spike_counts,
    square_maps,
    squares_and_blank,
)
from engine.stimuli import Stimuli

if TYPE_CHECKING:
    from engine.runs import Run

WORLD_VERSION: Final = 1
"""Raise it when a change to the simulation moves a number: the world is then built again."""

SEED: Final = 2018
NETWORK: Final = "squeezenet1_1"
REGIONS: Final = (
    RegionPlan(
        "V4", ("fire2", "fire3", "pool3", "fire4.squeeze", "fire4", "fire5.squeeze", "fire5"), n_sites=(26, 13, 9)
    ),
    RegionPlan(
        "IT",
        ("fire6.squeeze", "fire6", "fire7.squeeze", "fire7", "fire8.squeeze", "fire8", "fire9.squeeze", "fire9"),
        n_sites=(22, 11, 7),
    ),
)


def open_world(progress: bool = False) -> Recording:
    """Open the built-in world; build it first, and save it under ``data_root()``, if this version is not there.

    Parameters
    ----------
    progress
        Whether to show how far building is (it takes about a minute on two cores).

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


def build_world(seed: int = SEED, *, n_images: int = scenes.N_IMAGES, progress: bool = False) -> Recording:
    """Render the stimuli, simulate the sites, map their fields; nothing is written.

    Units are drawn at random, a layer first; kept are those that are active on at least a tenth of the stimuli and that
    some white square drives (``engine.simulation.is_usable``). Nothing else makes the truth easy to find.

    Parameters
    ----------
    seed
        Of everything.
    n_images
        Pictures of each of the 64 objects.
    progress
        Whether to show progress bars.

    Returns
    -------
    Recording
        ``response``, ``trials`` (spike counts in 100 ms), ``rf_map``: mean count to a white square of 1 degree less
        that to the gray blank, ``rf_y`` up and ``rf_x`` to the right of the centre in degrees.
    """
    from engine.networks import load_network

    network = load_network(NETWORK)
    listed = scenes.list_scenes(seed, n_images)
    ids = [scene.id for scene in listed]
    with _bar("rendering the built-in world", len(listed), progress) as advance:
        stimuli = Stimuli.from_array(scenes.render_all(seed, n_images, advance=advance), ids)
    rng = np.random.default_rng([seed, 10])
    candidates = {plan.name: draw_units(network, plan, rng) for plan in REGIONS}
    wanted = [unit for units in candidates.values() for unit in units]
    with _bar("simulating its sites", len(listed), progress) as advance:
        activations = activations_of(network, stimuli, wanted, advance)
    squares = activations_of(network, squares_and_blank(), wanted)
    sites = []
    for plan in REGIONS:
        usable = [unit for unit in candidates[plan.name] if is_usable(activations[unit], squares[unit])]
        sites += draw_sites(plan, usable, activations, rng)
    trials = np.stack([spike_counts(site.rates(activations), rng) for site in sites], axis=1)
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
        rf_map=square_maps(sites, squares, rng),
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
        One row a site: ``site``, ``region``, ``true_reliability``, ``true_layer``, ``true_unit``; ``layer``, ``unit``
        and ``correlation`` of its match; ``ceiling``, the square root of the reliability; ``true_rank``, where the true
        unit stands in the table (-1: nowhere); ``found``: the match is the true unit, or its standardised responses
        equal that unit's to 1e-6.

    Raises
    ------
    SettingsError
        If the recording has no ground truth, or the run's network lacks one of its layers.
    """
    data = recording.data
    _require_truth(recording.name, data, run)
    matches, responses = run.dataset("matches"), run.dataset("match_responses")
    single = data["site"].values[data["n_units"].values == 1]
    return pd.DataFrame([_found(data.sel(site=site), matches.sel(site=site), responses) for site in single])


def _saved(folder: Path) -> Recording:
    try:
        found = open_recording(folder)
    except RecordingError as error:
        raise RecordingError(
            f"The built-in world at {folder} cannot be opened: {error} Remove that folder, and it is built again."
        ) from error
    if found.data.attrs.get("simulated") != 1:
        raise RecordingError(
            f"{folder} holds the recording {found.name!r}, not the built-in world. Move that folder to another place."
        )
    return found


@contextmanager
def _bar(what: str, total: int, progress: bool) -> Iterator[Callable[[int], None]]:
    with tqdm(total=total, desc=what, disable=not progress, unit="image") as bar:

        def advance(n: int) -> None:
            bar.update(n)

        yield advance


def _truth(sites: Sequence[Site]) -> dict[str, list[Any]]:
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
        raise SettingsError(
            f"{name}: no site has a known unit behind it; the built-in world's have: open_recording({BUILTIN!r})."
        )
    needed = {layer for joined in data["true_layer"].values for layer in joined.split(";")}
    missing = sorted(needed - set(run.dataset("layers")["layer"].values.tolist()))
    if missing:
        raise SettingsError(
            f"{name} was simulated from units of {NETWORK}; the run of {run.network} against {run.recording} lacks "
            f"{len(missing)} of their layers, first {missing[0]!r}. Give a run of {NETWORK} over all its layers."
        )


def _found(site: xr.Dataset, match: xr.Dataset, responses: xr.Dataset) -> dict[str, Any]:
    layer, unit = str(site["true_layer"].item()), int(site["true_unit"].item())
    ranks = np.flatnonzero((match["layer"].values == layer) & (match["unit"].values == unit))
    true_rank = int(ranks[0]) if len(ranks) else -1
    return {
        "site": str(site["site"].item()),
        "region": str(site["region"].item()),
        "true_reliability": float(site["true_reliability"]),
        "true_layer": layer,
        "true_unit": unit,
        "layer": str(match["layer"].values[0]),
        "unit": int(match["unit"].values[0]),
        "correlation": float(match["correlation"].values[0]),
        "ceiling": float(np.sqrt(site["true_reliability"])),
        "true_rank": true_rank,
        "found": true_rank == 0 or (true_rank > 0 and _respond_alike(match, true_rank, responses)),
    }


def _respond_alike(match: xr.Dataset, rank: int, responses: xr.Dataset) -> bool:
    rows = match["match_unit"].values[[0, rank]]
    first, other = stats.zscore(responses["activation"].values[rows].astype(np.float64), axis=1)
    return bool(np.allclose(first, other, rtol=0, atol=1e-6))
