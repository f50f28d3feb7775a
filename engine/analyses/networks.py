"""What do several networks give together, on one recording? Scores beside accuracy, units and parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from scipy import stats

from engine.analyses import neural_correlation
from engine.analyses.comparison import require_same_recording
from engine.errors import SettingsError
from engine.schema import LAYER, REGION
from engine.store import Run

VERSION = 1
NETWORK: Final = "network"
SCORES: Final = ("correlation", "held_out")
QUANTITIES: Final = ("top1", "top5", "parameters", "units")
"""What a score can be drawn against: accuracies in %, counts."""
ON_LOG_AXIS: Final = ("parameters", "units")
STATISTICS: Final = ("spearman", "pearson")
LEAST_NETWORKS: Final = 4
"""With fewer, a 95 % interval of a correlation says nothing."""
_VALUES = ("correlation", "correlation_low", "correlation_high", "held_out", "held_out_low", "held_out_high")
_COUNTS = ("chance_median", "n_correlation", "n_held_out")


def gather(runs: Sequence[Run], *, seed: int = 0) -> xr.Dataset:
    """Put the neural correlations of networks on one recording beside what is known of each network.

    Accuracies are the networks' own metadata, top-1 and top-5 in columns of their own; whatever is not known is NaN and
    takes no part. Correlations over networks leave out untrained ones. Parameters and units go in as logarithms.

    Parameters
    ----------
    runs
        One of each network, all of the same responses and stimuli.
    seed
        Of the neural correlation, where a run does not hold that analysis.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` with ``_low`` and ``_high`` (network, region), ``chance_median``,
        ``n_correlation``, ``n_held_out`` (network, region), as ``neural_correlation`` gives them of the whole network;
        ``top1``, ``top5`` (network) in %, ``parameters``, ``units`` (network), NaN where unknown; ``title``,
        ``top1_source``, ``digest`` (network); ``is_control`` (network), whether it was never trained; ``n_sites``
        (region).
        ``association`` (score, region, quantity, statistic), Spearman's and Pearson's correlation of a score with a
        quantity over networks, with ``_low`` and ``_high`` (95 %, Fisher's z), NaN with fewer than four networks;
        ``n_networks`` (score, region, quantity).

    Raises
    ------
    SettingsError
        Without a run, or with two of the same network.
    StimulusMismatchError
        If the runs are not of the same recording.

    References
    ----------
    Bonett & Wright (2000), Psychometrika 65, 23-28 (variance of Spearman's correlation on Fisher's scale).
    """
    _require_networks(runs)
    require_same_recording(list(runs))
    found = [_whole_network(run, seed) for run in runs]
    regions = sorted({name for one in found for name in one[REGION].values.tolist()})
    scores = xr.concat([one.reindex({REGION: regions}) for one in found], NETWORK, combine_attrs="drop")
    about = [run.manifest["network"] for run in runs]
    numbers = {name: np.array([_number(one, name) for one in about]) for name in QUANTITIES}
    text = {
        "title": [str(one.get("title") or run.network) for one, run in zip(about, runs, strict=True)],
        "top1_source": [str(one.get("top1_source") or "") for one in about],
        "digest": [run.digest for run in runs],
    }
    is_control = np.array([_is_control(run) for run in runs])
    variables = {name: (NETWORK, values) for name, values in numbers.items()}
    variables |= {name: (NETWORK, np.array(values)) for name, values in text.items()}
    dataset = scores.assign(variables).assign({"is_control": (NETWORK, is_control)})
    dataset = dataset.assign({"n_sites": (REGION, found[0].reindex({REGION: regions})["n_sites"].values)})
    dataset = dataset.assign_coords({NETWORK: [run.network for run in runs]})
    return dataset.assign(_associations(dataset, is_control, regions))


def correlation_with_interval(x: np.ndarray, y: np.ndarray, statistic: str) -> tuple[float, float, float]:
    """Return Spearman's or Pearson's correlation and its 95 % interval on Fisher's z; NaN with under four points."""
    if len(x) < LEAST_NETWORKS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    if statistic == "pearson":
        result = stats.pearsonr(x, y)
        return (float(result.statistic), *(float(end) for end in result.confidence_interval()))  # type: ignore[return-value]
    rho = float(stats.spearmanr(x, y).statistic)
    if abs(rho) >= 1 - 1e-12:
        return rho, np.nan, np.nan
    half = stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    return rho, float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))


def _require_networks(runs: Sequence[Run]) -> None:
    if not runs:
        raise SettingsError("networks are compared over their runs, and there is none. Match one: unitscope match.")
    names = [run.network for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"{twice} comes twice among the runs: {', '.join(names)}. Give one run of each network.")


def _whole_network(run: Run, seed: int) -> xr.Dataset:
    stored = "neural_correlation" in run.names
    found = run.dataset("neural_correlation") if stored else neural_correlation.compute(run, seed=seed)
    whole = found.sel({LAYER: neural_correlation.WHOLE_NETWORK}, drop=True)
    return whole[[*_VALUES, *(name for name in _COUNTS if name in whole), "n_sites"]].astype(np.float64)


def _number(about: Mapping[str, Any], name: str) -> float:
    value = about.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def _is_control(run: Run) -> bool:
    weights = str(run.manifest["network"].get("weights", ""))
    return weights.startswith("random") or "random weights" in run.network


def _associations(dataset: xr.Dataset, is_control: np.ndarray, regions: list[str]) -> dict[str, xr.DataArray]:
    shape = (len(SCORES), len(regions), len(QUANTITIES), len(STATISTICS))
    values, n_networks = np.full((3, *shape), np.nan), np.zeros(shape[:3], np.int64)
    for place in np.ndindex(*shape[:3]):
        score, region, quantity = SCORES[place[0]], regions[place[1]], QUANTITIES[place[2]]
        x, y = dataset[quantity].values, dataset[score].sel({REGION: region}).values
        known = np.isfinite(x) & np.isfinite(y) & ~is_control
        n_networks[place] = known.sum()
        x = np.log10(x[known]) if quantity in ON_LOG_AXIS else x[known]
        for s, statistic in enumerate(STATISTICS):
            values[(slice(None), *place, s)] = correlation_with_interval(x, y[known], statistic)
    dims = ("score", REGION, "quantity", "statistic")
    coords = {"score": list(SCORES), REGION: regions, "quantity": list(QUANTITIES), "statistic": list(STATISTICS)}
    named = zip(("association", "association_low", "association_high"), values, strict=True)
    arrays = {name: xr.DataArray(value, coords, dims) for name, value in named}
    return {**arrays, "n_networks": xr.DataArray(n_networks, {name: coords[name] for name in dims[:3]}, dims[:3])}
