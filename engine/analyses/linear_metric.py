"""How much better does a linear combination of a layer's units predict the sites than the best single unit?

Arend et al. (2018), figure S4. As in the paper the two are not alike: the single unit is chosen in the whole network
and scored on the same stimuli, the combination is of one layer and scored on stimuli that were held out. Like for like,
both are chosen and scored on the same stimuli.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import xarray as xr

from engine.analyses.regressions import (
    N_SPLITS,
    can_stratify,
    coordinates,
    correlate,
    predict_pls,
    predict_ridge,
    score,
    shuffle_splits,
)
from engine.analyses.single_units import BestUnits, Split
from engine.errors import SettingsError
from engine.schema import FOLD, LAYER, REGION, SITE, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

PREDICTORS: Final = ("pls", "ridge", "layer_unit", "network_unit")

LEAST_STIMULI: Final = 30
"""Fewer leave less than three stimuli in the test part of a 90-10 split."""

_STRATA: Final = ("object", "category")
_GRAM_RATE, _STEP_SECONDS = 2e10, 8e-10
"""Measured: float64 operations a second; seconds for each element of a PLS or ridge problem."""


def compute(run: Run, source: Any, *, seed: int = 0, layer: str | None = None, components: int = 25) -> xr.Dataset:
    """Predict every site from all units of a layer, and from single ones, on held-out stimuli.

    Partial least squares (``pls``) and ridge regression (``ridge``, its penalty chosen for each site by leave-one-out
    on the training stimuli) see all units of the layer, unscaled. ``layer_unit`` is the unit of the layer with the
    highest r on the training stimuli, ``network_unit`` that of the whole network. Stimuli that some site of a region
    did not see are left out for that region.

    Parameters
    ----------
    run
        A run with the analysis ``neural_correlation``.
    source
        With the ``network`` and ``recording`` of the run, ``device``, ``memory`` and ``progress``.
    seed
        0 draws the splits of Brain-Score.
    layer
        For all regions. None: for each region its layer of highest neural correlation, which is a choice made on all
        stimuli, the test stimuli included, and favours the single unit.
    components
        Of partial least squares; fewer where the stimuli span no more.

    Returns
    -------
    xr.Dataset
        ``correlation`` (predictor, split, site), Pearson's r on the 10 % that each of 10 random splits leaves out,
        stratified by object, else category; NaN for ``network_unit``, which the run selected on its folds only;
        ``fold_correlation`` (predictor, fold, site), trained and selected on all parts of the run's folds but one,
        scored on that one, the same stimuli for all four predictors;
        ``score``, ``error``, ``fold_score``, ``fold_error`` (predictor, region), median over sites, mean over splits,
        and SD (ddof = 0) over splits / sqrt(splits);
        ``single`` (site), r of the best unit of the network, chosen and scored on all stimuli, the paper's number;
        ``single_in_layer`` (site), the same within the layer; ``unit`` (split, site), the layer's unit of each split;
        ``penalty`` (split, site), the ridge penalty as a share of the training stimuli's total variance;
        ``site_region`` (site), the region of each site;
        ``layer``, ``region_status``, ``n_units``, ``n_nonfinite`` (units left out), ``n_stimuli``, ``n_sites``,
        ``n_left_out`` (sites), ``n_components``, ``n_unconverged`` (PLS fits), ``stratified_by`` (region).

    Raises
    ------
    SettingsError, LayerError, MemoryBudgetError
        Before the first forward pass.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figure S4. Schrimpf et al. (2018), Brain-Score, bioRxiv 407007 (25 components,
    10 splits of 90 %, median over sites, mean over splits).
    """
    if not isinstance(components, int | np.integer) or isinstance(components, bool) or components < 1:
        raise SettingsError(f"components={components!r}: a whole number of at least 1 is needed.")
    regions = _regions(run, layer, seed)
    for group in _sharing_a_pass(regions):
        _stream(source, group)
    for region in regions:
        if region.status == "ok":
            _regress(region, int(components))
    return _dataset(run, regions)


def missing(run: Run) -> str | None:
    """Say in a sentence what the recording lacks; None if nothing."""
    n = run.dataset("recording").sizes[STIMULUS]
    if n < LEAST_STIMULI:
        return f"at least {LEAST_STIMULI} stimuli, of which a tenth is held out: {run.recording!r} has {n}."
    return None


def expected_seconds(run: Run, *, layer: str | None = None, components: int = 25) -> float:
    """Estimate the time: passes up to the layers, their Gram matrices, and the regressions."""
    units = run.dataset("layers")["units"].to_series()
    seconds = 0.0
    for region in _regions(run, layer, 0):
        n, n_splits = len(region.stimuli), len(region.splits)
        seconds += n * (n + 4.0 * len(region.sites)) * float(units.get(region.layer, 0)) / _GRAM_RATE
        seconds += _STEP_SECONDS * n_splits * n**2 * (components * 50 + n)
    return seconds + float(run.manifest.get("compute", {}).get("seconds", 0.0)) / 4


@dataclass
class _Region:
    """A region's sites and stimuli, its splits, and what was found."""

    name: str
    layer: str
    sites: np.ndarray
    """(site,) positions in the recording."""
    stimuli: np.ndarray
    """(stimulus,) ids, sorted, so that the order of the recording changes no split."""
    response: np.ndarray
    """(stimulus, site)."""
    splits: list[Split]
    """The random ones, then the run's folds."""
    stratified_by: str
    n_left_out: int
    status: str = "ok"
    gram: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_nonfinite: int = 0
    n_components: int = 0
    n_unconverged: int = 0
    found: dict[str, np.ndarray] = field(default_factory=dict)
    """(split, site) of each predictor, of ``unit`` and of ``penalty``."""


def _regions(run: Run, layer: str | None, seed: int) -> list[_Region]:
    recording, matches = run.dataset("recording"), run.dataset("matches")
    order = np.argsort(recording[STIMULUS].values.astype(str))
    response = recording["response"].transpose(STIMULUS, SITE).values.astype(np.float64)[order]
    ids = recording[STIMULUS].values.astype(str)[order]
    fold = run.dataset("folds")["fold"].sel({STIMULUS: ids}).values
    has_match = matches["site_status"].sel({SITE: recording[SITE].values}).values == "ok"
    correlation = run.dataset("neural_correlation")["correlation"].isel({LAYER: slice(1, None)})
    names = recording[REGION].values.astype(str)
    found = []
    for name in sorted(set(names.tolist())):
        sites = np.flatnonzero((names == name) & has_match)
        seen = np.isfinite(response[:, sites]).all(axis=1)
        best = layer or _best_layer(correlation.sel({REGION: name}))
        status = _status(len(sites), int(seen.sum()), best)
        strata, by = _strata(recording, order[seen]) if status == "ok" else (None, "")
        splits = shuffle_splits(strata, int(seen.sum()), seed) + _fold_splits(fold[seen]) if status == "ok" else []
        own = response[np.ix_(seen, sites)]
        n_left_out = int((names == name).sum() - len(sites))
        found.append(_Region(name, best, sites, ids[seen], own, splits, by, n_left_out, status))
    return found


def _best_layer(correlation: xr.DataArray) -> str:
    values = correlation.values
    return str(correlation[LAYER].values[np.nanargmax(values)]) if np.isfinite(values).any() else ""


def _status(n_sites: int, n_stimuli: int, layer: str) -> str:
    if not n_sites or not layer:
        return "no site has a match"
    if n_stimuli < LEAST_STIMULI:
        return f"fewer than {LEAST_STIMULI} stimuli were seen by all of its sites"
    return "ok"


def _strata(recording: xr.Dataset, stimuli: np.ndarray) -> tuple[np.ndarray | None, str]:
    for name in _STRATA:
        if name in recording.coords:
            labels = recording[name].values.astype(str)[stimuli]
            if can_stratify(labels):
                return labels, name
    return None, "nothing"


def _fold_splits(fold: np.ndarray) -> list[Split]:
    parts = np.unique(fold)
    return [(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in parts] if len(parts) > 1 else []


def _sharing_a_pass(regions: Sequence[_Region]) -> list[list[_Region]]:
    groups: dict[tuple[str, ...], list[_Region]] = {}
    for region in regions:
        if region.status == "ok":
            groups.setdefault((region.layer, *region.stimuli.tolist()), []).append(region)
    return list(groups.values())


def _stream(source: Any, regions: Sequence[_Region]) -> None:
    """Pass the stimuli once: the Gram matrix of the layer, and the best unit of each site for each split."""
    from engine.analyses.layer_pass import unit_blocks  # loads torch, which reading a result must not

    stimuli = regions[0].stimuli
    gram, n_nonfinite = np.zeros((len(stimuli), len(stimuli))), 0
    best = [BestUnits(region.response, region.splits) for region in regions]
    for first, activation in unit_blocks(source, regions[0].layer, stimuli):
        is_finite = np.isfinite(activation).all(axis=0)
        n_nonfinite += int((~is_finite).sum())
        x = activation[:, is_finite]
        x = x - x.mean(axis=0)
        gram += x @ x.T
        for one in best:
            one.add(first, activation)
    for region, one in zip(regions, best, strict=True):
        region.gram, region.n_nonfinite = gram, n_nonfinite
        region.found = {"layer_unit": one.held_out(), "unit": one.unit}


def _regress(region: _Region, components: int) -> None:
    rows: dict[str, list[np.ndarray]] = {"pls": [], "ridge": [], "penalty": []}
    for train, test in region.splits:
        x, new = coordinates(region.gram, train, test)
        if not x.shape[1]:
            region.status = f"no unit of layer {region.layer!r} varies"
            return
        y = region.response[train]
        pls, ridge = predict_pls(x, y, new, components), predict_ridge(x, y, new)
        rows["pls"].append(correlate(pls.response, region.response[test]))
        rows["ridge"].append(correlate(ridge.response, region.response[test]))
        rows["penalty"].append(np.asarray(ridge.penalty))
        region.n_components = pls.n_components
        region.n_unconverged += not pls.is_converged
    region.found |= {name: np.array(row) for name, row in rows.items()}


def _dataset(run: Run, regions: Sequence[_Region]) -> xr.Dataset:
    recording, folds = run.dataset("recording"), _held_out_matches(run)
    n_sites, n_folds = recording.sizes[SITE], len(folds)
    correlation = np.full((len(PREDICTORS), N_SPLITS, n_sites), np.nan)
    by_fold = np.full((len(PREDICTORS), n_folds, n_sites), np.nan)
    penalty, unit = np.full((N_SPLITS, n_sites), np.nan), np.full((N_SPLITS, n_sites), -1, np.int64)
    for region in regions:
        if region.status != "ok":
            continue
        for index, name in enumerate(PREDICTORS[:3]):
            correlation[index][:, region.sites] = region.found[name][:N_SPLITS]
            by_fold[index][:, region.sites] = region.found[name][N_SPLITS:]
        by_fold[-1][:, region.sites] = folds[:, region.sites]
        penalty[:, region.sites] = region.found["penalty"][:N_SPLITS]
        unit[:, region.sites] = region.found["unit"][:N_SPLITS]
    layers = run.dataset("layers")["units"].to_series()
    counts = {
        "n_units": [int(layers.get(region.layer, 0)) for region in regions],
        "n_stimuli": [len(region.stimuli) for region in regions],
        "n_sites": [len(region.sites) for region in regions],
        **{name: [getattr(region, name) for region in regions] for name in _TOLD},
    }
    found = xr.Dataset(
        {
            "correlation": (("predictor", "split", SITE), correlation),
            "fold_correlation": (("predictor", FOLD, SITE), by_fold),
            **_scores(regions, correlation, ""),
            **_scores(regions, by_fold, "fold_"),
            **_without_hold_out(run, regions),
            "unit": (("split", SITE), unit),
            "penalty": (("split", SITE), penalty),
            **{name: (REGION, np.array(values)) for name, values in counts.items()},
            "site_region": (SITE, recording[REGION].values.astype(str)),
            LAYER: (REGION, np.array([region.layer for region in regions])),
            "region_status": (REGION, np.array([region.status for region in regions])),
        },
        {"predictor": list(PREDICTORS), SITE: recording[SITE].values, REGION: [region.name for region in regions]},
    )
    return found


_TOLD: Final = ("n_left_out", "n_nonfinite", "n_components", "n_unconverged", "stratified_by")


def _held_out_matches(run: Run) -> np.ndarray:
    """(fold, site), held-out r of the unit that the whole network gives when a part is left out."""
    sites = run.dataset("recording")[SITE].values
    if "fold_matches" not in run.names:
        return np.empty((0, len(sites)))
    held_out = run.dataset("fold_matches")["held_out"].isel(rank=0).sel({SITE: sites})
    return held_out.transpose(FOLD, SITE).values


def _scores(
    regions: Sequence[_Region], correlation: np.ndarray, prefix: str
) -> dict[str, tuple[tuple[str, str], np.ndarray]]:
    scores = np.array([[score(row[:, region.sites]) for region in regions] for row in correlation])
    return {f"{prefix}{name}": (("predictor", REGION), scores[..., k]) for k, name in enumerate(("score", "error"))}


def _without_hold_out(run: Run, regions: Sequence[_Region]) -> dict[str, tuple[str, np.ndarray]]:
    sites = run.dataset("recording")[SITE].values
    single = run.dataset("matches")["correlation"].isel(rank=0).sel({SITE: sites}).values
    profile = run.dataset("layer_profile")["correlation"].sel({SITE: sites})
    in_layer = np.full(len(sites), np.nan)
    for region in regions:
        if region.layer in profile[LAYER].values:
            in_layer[region.sites] = profile.sel({LAYER: region.layer}).values[region.sites]
    return {"single": (SITE, single), "single_in_layer": (SITE, in_layer)}
