"""Which stimuli would best test the feature maps that no site has validated yet?

Arend et al. (2018) close with the units that no site matched: they may be wrong, or the site was not recorded. For each
such map the stimuli that drive its best unit most and least tell a site that shares its tuning from one that does not.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from engine.analyses import validated_maps
from engine.analyses.layer_summary import no_match, region_layers
from engine.errors import SettingsError
from engine.schema import FEATURE_MAP, LAYER, STIMULUS
from engine.store import Run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_STIMULI = 5
EXTREMES = ("favourite", "least")
SECONDS_PER_ACTIVATION = 6e-9
"""Of a pass, for each listed unit up to the layer and each stimulus, on two cores."""


def compute(
    run: Run,
    source: "Source",
    *,
    seed: int = 0,
    layer: str | None = None,
    level: float = validated_maps.LEVEL,
    n: int = N_STIMULI,
) -> xr.Dataset:
    """List, for the best unit of every unvalidated map, the stimuli with the highest and the lowest activation.

    The unit is the one of highest r with any site (``validated_maps``). One pass over the stimuli is made, truncated at
    the deepest layer that is needed.

    Parameters
    ----------
    run
        Which network, recording and matches.
    source
        Network and recording of the run; ``device`` and ``progress``.
    seed
        Of the order of stimuli with equal activation: a unit that is silent on half of the stimuli has as many least
        ones.
    layer, level
        As in ``validated_maps``.
    n
        Stimuli at each end, at least 1.

    Returns
    -------
    xr.Dataset
        ``shown`` (feature_map, extreme, place), ids of stimuli, and ``z``, their activation in SD (ddof = 0) from its
        mean over all stimuli, the most extreme first; ``n_least`` (feature_map), stimuli that share the lowest
        activation. Maps as in ``validated_maps``, with ``map_region``, ``map_layer``, ``channel``, ``y``, ``x``,
        ``best``, ``best_site``, ``threshold``. Maps without a unit are not listed.
    """
    _require_count(n, source.recording.data.sizes[STIMULUS])
    judged = validated_maps.compute(run, layer=layer, level=level)
    maps = judged.isel({FEATURE_MAP: np.flatnonzero(judged["status"].values == "unvalidated")})
    table = run.dataset("layers")
    names = maps["map_layer"].values
    height, width = (table[what].sel({LAYER: names}).values for what in ("height", "width"))
    unit = (maps["channel"].values * height + maps["y"].values) * width + maps["x"].values
    activation = _activations(source, names, unit)
    ids = source.recording.data[STIMULUS].values.astype(str)
    order, z, n_least = extremes(activation, n, np.random.default_rng(seed))
    threshold = judged["threshold"].to_series().reindex(maps["map_region"].values).to_numpy()
    dims = (FEATURE_MAP, "extreme", "place")
    return xr.Dataset(
        {
            "shown": (dims, ids[order]),
            "z": (dims, z),
            "n_least": (FEATURE_MAP, n_least),
            **{name: (FEATURE_MAP, maps[name].values) for name in ("y", "x", "best", "best_site")},
            "threshold": (FEATURE_MAP, threshold),
        },
        {
            "extreme": list(EXTREMES),
            **{name: (FEATURE_MAP, maps[name].values) for name in ("map_region", "map_layer", "channel")},
        },
        {"level": float(level), "n_stimuli": len(ids)},
    )


def expected_seconds(
    run: Run, *, layer: str | None = None, level: float = validated_maps.LEVEL, n: int = N_STIMULI
) -> float:
    """Seconds that ``compute`` takes, roughly: a pass up to the deepest layer that is needed."""
    table = run.dataset("layers")
    names = table[LAYER].values.tolist()
    deepest = max(names.index(name) for name in region_layers(run, layer).values())
    passed = int(table["units"].values[: deepest + 1].sum())
    return 1 + passed * run.dataset("recording").sizes[STIMULUS] * SECONDS_PER_ACTIVATION


def missing(run: Run) -> str | None:
    """Say what the run lacks for this analysis; None if it can be computed."""
    return no_match(run)


def extremes(activation: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the stimuli of highest and of lowest activation.

    Parameters
    ----------
    activation
        (unit, stimulus).
    n
        Stimuli at each end.
    rng
        Draws the order of stimuli with equal activation.

    Returns
    -------
    tuple of np.ndarray
        Their positions and z, (unit, 2, n), highest first and then lowest first; and the number of stimuli that share
        the lowest activation, (unit,).
    """
    x = activation.astype(np.float64)
    lottery = rng.permutation(x.shape[1])
    order = lottery[np.argsort(x[:, lottery], axis=1, kind="stable")]
    ends = np.stack([order[:, ::-1][:, :n], order[:, :n]], axis=1)
    sd = x.std(axis=1, keepdims=True)
    z = np.divide(x - x.mean(axis=1, keepdims=True), sd, out=np.full_like(x, np.nan), where=sd > 0)
    n_least = (x == x.min(axis=1, keepdims=True)).sum(axis=1)
    return ends, np.take_along_axis(z[:, None], ends, axis=2), n_least


def table(found: xr.Dataset) -> pd.DataFrame:
    """Return one row a map and stimulus, for an experimenter.

    Columns: ``region``, ``layer``, ``feature_map``, ``y``, ``x`` of its unit, ``best_r``, ``best_site``, ``threshold``,
    ``kind`` (favourite or least), ``place`` (1 = the most extreme), ``stimulus``, ``z``, ``n_least``.
    """
    n_maps, n_ends, n_places = found["z"].transpose(FEATURE_MAP, "extreme", "place").shape
    columns = {
        "region": "map_region",
        "layer": "map_layer",
        "feature_map": "channel",
        "y": "y",
        "x": "x",
        "best_r": "best",
        "best_site": "best_site",
        "threshold": "threshold",
    }
    frame = pd.DataFrame({name: np.repeat(found[what].values, n_ends * n_places) for name, what in columns.items()})
    frame["kind"] = np.tile(np.repeat(found["extreme"].values, n_places), n_maps)
    frame["place"] = np.tile(np.arange(n_places) + 1, n_maps * n_ends)
    frame["stimulus"] = found["shown"].values.reshape(-1)
    frame["z"] = found["z"].values.reshape(-1)
    frame["n_least"] = np.repeat(found["n_least"].values, n_ends * n_places)
    return frame


def _activations(source: "Source", layers: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Record chosen units over all stimuli in one pass: (unit, stimulus) float32."""
    import torch  # only here: listing and reading analyses loads no torch

    from engine.activations import input_batches, recorded
    from engine.matching import choose_device, exact_float32, fixed_batch

    ids = source.recording.data[STIMULUS].values.astype(str)
    activation = np.empty((len(unit), len(ids)), np.float32)
    if not len(unit):
        return activation
    device = choose_device(source.device)
    size = fixed_batch(device)
    batches = [slice(first, min(first + size, len(ids))) for first in range(0, len(ids), size)]
    now, names = batches[0], sorted(set(layers.tolist()))

    def keep(layer: str, batch: torch.Tensor) -> None:
        here, area = np.flatnonzero(layers == layer), batch.shape[2]
        channel, position = (torch.from_numpy(index).to(device) for index in np.divmod(unit[here], area))
        activation[here, now] = batch[:, channel, position].T.cpu().numpy()

    module = source.network.module
    home = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    module.to(device)
    try:
        with exact_float32(), recorded(source.network, names, keep, channelwise=True) as run_forward:
            for now, inputs in input_batches(source.network, source.recording.stimuli, ids, batches):
                run_forward(inputs.to(device))
                if source.progress:
                    source.progress("recording", now.stop, len(ids))
    finally:
        module.to(home)
    return activation


def _require_count(n: int, n_stimuli: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= n_stimuli // 2:
        raise SettingsError(f"n={n!r}: a whole number of stimuli from 1 to {n_stimuli // 2}, half of them, is needed.")
