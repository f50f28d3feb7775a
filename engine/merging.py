"""What a run says: the results of its layers, merged into the datasets that are stored.

Candidates of all layers become the ranked matches of the network. Their r is computed again in float64, and so is that
of each layer's best, which a pass that held the layer has done already; all other r are exact to 1e-6.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from engine.exact import correlate_pairs, is_sparse
from engine.kernels.ordering import by_column
from engine.ranking import Candidates, below_best, best_of, in_order, near_best
from engine.schema import (
    FEATURE_MAP,
    FOLD,
    LAYER,
    MATCH_UNIT,
    MIN_STIMULI,
    R_BIN,
    R_CENTRES,
    RANK,
    REGION,
    SHUFFLE,
    SITE,
    SPARSE_BELOW,
    STIMULUS,
    TIED_WITHIN,
)
from engine.targets import Targets

Collect = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Gives (unit, stimulus) activations of units named by layer, stimuli in the targets' order."""


@dataclass(frozen=True)
class _Ranked:
    """One split's ranking of the network: (site, rank) arrays, padded with NaN and -1."""

    r: np.ndarray
    left_out: np.ndarray
    layer: np.ndarray
    unit: np.ndarray
    tied: np.ndarray


def merge_layers(
    results: Mapping[str, xr.Dataset],
    recording: xr.Dataset,
    targets: Targets,
    layers: pd.DataFrame,
    top: int,
    collect: Collect,
) -> dict[str, xr.Dataset]:
    """Merge the layers' results into the datasets of a run.

    Parameters
    ----------
    results
        What ``summaries.layer_dataset`` gave, by layer in execution order.
    recording
        Sites and regions.
    layers
        ``Network.layers``, one row for each result.
    top
        Ranks of each site.
    collect
        Gives the activations of the candidates.

    Returns
    -------
    dict of str to xr.Dataset
        ``layers, matches, fold_matches`` (with folds only), ``layer_matches, layer_profile, unit_counts, feature_maps,
        match_responses, null`` as ``engine.schema`` describes them.
    """
    names = list(results)
    sites = recording[SITE].values
    splits = [_split(results, split) for split in range(targets.n_folds + 1 if targets.n_folds > 1 else 1)]
    shortlists = [best_of(candidates, top) for candidates, _ in splits]
    is_streamed = np.array(["kept" not in result for result in results.values()])
    candidates = splits[0][0]
    streamed = np.flatnonzero(is_streamed[candidates.layer])
    near = streamed[near_best(_by_layer(candidates.take(streamed), targets.n_sites))]
    short = [found.take(index) for (found, _), index in zip(splits, shortlists, strict=True)]
    units = _units_by_layer([*short, candidates.take(near)], names)
    rows = _Rows(names, units, collect(units), len(targets.stimuli))
    for split, found in enumerate(short):
        found.r = _exact_r(found, targets.fold != split - 1, targets, rows)
    ranked = [_rank(found, split - 1, targets, rows, top) for split, found in enumerate(short)]
    candidates.r[shortlists[0]] = short[0].r
    candidates.r[near] = _exact_r(candidates.take(near), targets.fold >= 0, targets, rows)
    exact = np.union1d(shortlists[0], near)
    candidates.r = below_best(_by_layer(candidates, targets.n_sites), exact, near)
    layer_matches = _layer_matches([(candidates, splits[0][1]), *splits[1:]], names, targets, top, layers, sites)
    matches = _matches(ranked, names, layers, sites)
    matches["site_status"] = (SITE, _site_status(targets.response))
    match_responses, matches["match_unit"] = _match_responses(ranked, rows, names, layers, targets.stimuli)
    status = np.where(is_sparse(match_responses["activation"].values, SPARSE_BELOW), "sparse", "ok")
    index = matches["match_unit"].values
    matches["status"] = (
        (SITE, RANK),
        np.where(index >= 0, status[index], "") if len(status) else np.full(index.shape, ""),
    )
    return {
        "layers": _layer_table(results, layers),
        "matches": matches,
        **({"fold_matches": _fold_matches(ranked[1:], names, layers, sites)} if len(ranked) > 1 else {}),
        "layer_matches": layer_matches,
        "layer_profile": layer_matches[["correlation", "held_out", "unit"]].isel({RANK: 0}, drop=True),
        "unit_counts": _unit_counts(results, names, sites),
        "feature_maps": _feature_maps(results, sites),
        "match_responses": match_responses,
        "null": _null(results, names, recording, targets),
    }


class _Rows:
    """Activations by (layer, unit)."""

    def __init__(
        self, names: list[str], units: Mapping[str, np.ndarray], responses: Mapping[str, np.ndarray], n_stimuli: int
    ) -> None:
        self._units = [units.get(name, np.empty(0, np.int64)) for name in names]
        self._starts = np.cumsum([0, *(len(index) for index in self._units)])
        found = [responses[name] for name in names if name in units]
        self.activation = np.concatenate([np.empty((0, n_stimuli), np.float32), *found])

    def index(self, layer: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Rows of ``activation`` that belong to pairs of a layer and a unit."""
        rows = np.empty(len(layer), np.int64)
        for here in (np.flatnonzero(layer == index) for index in np.unique(layer)):
            of_layer = layer[here[0]]
            rows[here] = self._starts[of_layer] + np.searchsorted(self._units[of_layer], unit[here])
        return rows


def _split(results: Mapping[str, xr.Dataset], split: int) -> tuple[Candidates, np.ndarray]:
    """Candidates of one split over all layers, sorted by layer, column and order, with their left-out r."""
    lists, left_out = [], []
    for layer, result in enumerate(results.values()):
        here = np.flatnonzero(result["split"].values == split)
        column, unit, r, out = (result[name].values[here] for name in ("column", "unit", "r", "left_out_r"))
        lists.append(Candidates(column.astype(np.int64), np.full(len(here), layer), unit.astype(np.int64), r))
        left_out.append(out)
    return Candidates.join(lists), np.concatenate(left_out)


def _by_layer(candidates: Candidates, n_sites: int) -> Candidates:
    """The same pairs, with a column for each layer and site."""
    return Candidates(candidates.layer * n_sites + candidates.column, candidates.layer, candidates.unit, candidates.r)


def _units_by_layer(lists: list[Candidates], names: list[str]) -> dict[str, np.ndarray]:
    layer, unit = (np.concatenate([getattr(c, name) for c in lists]) for name in ("layer", "unit"))
    chosen = {index: np.unique(unit[layer == index]) for index in np.unique(layer)}
    return {names[index]: units for index, units in chosen.items()}


def _exact_r(candidates: Candidates, chosen: np.ndarray, targets: Targets, rows: _Rows) -> np.ndarray:
    index = rows.index(candidates.layer, candidates.unit)
    return correlate_pairs(rows.activation, index, candidates.column, targets.response, chosen)


def _rank(scored: Candidates, left_out: int, targets: Targets, rows: _Rows, top: int) -> _Ranked:
    scored = in_order(scored.take(np.flatnonzero(~np.isnan(scored.r))))
    rank = scored.rank()
    close = np.zeros(len(scored), bool)
    next_is_close = (np.diff(rank) == 1) & (scored.r[:-1] - scored.r[1:] < TIED_WITHIN)
    close[:-1] |= next_is_close
    close[1:] |= next_is_close
    kept = np.flatnonzero(rank < top)
    at = (scored.column[kept], rank[kept])
    shape = (targets.n_sites, top)
    out = np.full(len(scored), np.nan) if left_out < 0 else _exact_r(scored, targets.fold == left_out, targets, rows)

    def padded(values: np.ndarray, empty: float) -> np.ndarray:
        filled = np.full(shape, empty, values.dtype)
        filled[at] = values[kept]
        return filled

    return _Ranked(
        padded(scored.r, np.nan),
        padded(out, np.nan),
        padded(scored.layer, -1),
        padded(scored.unit, -1),
        padded(close, False),
    )


def _positions(layer: np.ndarray, unit: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Channel, row and column of units given by layer index and flat index; -1 stays -1."""
    height, width = (np.append(table[name].to_numpy(), 1)[layer] for name in ("height", "width"))
    exists = unit >= 0
    values = {"unit": unit, "channel": unit // (height * width), "y": unit // width % height, "x": unit % width}
    return {name: np.where(exists, value, -1).astype(np.int32) for name, value in values.items()}


def _named(layer: np.ndarray, names: list[str]) -> np.ndarray:
    return np.array([*names, ""])[layer]


def _matches(ranked: list[_Ranked], names: list[str], table: pd.DataFrame, sites: np.ndarray) -> xr.Dataset:
    first, folds = ranked[0], ranked[1:]
    held_out = np.mean([f.left_out for f in folds], axis=0) if folds else np.full_like(first.r, np.nan)
    variables = {
        "correlation": first.r,
        "held_out": held_out,
        "layer": _named(first.layer, names),
        **_positions(first.layer, first.unit, table),
        "tied": first.tied,
    }
    return xr.Dataset(
        {k: ((SITE, RANK), v) for k, v in variables.items()}, {SITE: sites, RANK: np.arange(first.r.shape[1])}
    )


def _site_status(response: np.ndarray) -> np.ndarray:
    """Why a site can have no match at all, from its responses (stimulus, site): (site,) text."""
    too_few = np.isfinite(response).sum(axis=0) < MIN_STIMULI
    constant = np.nanmax(response, axis=0) == np.nanmin(response, axis=0)
    return np.where(too_few, "n_too_small", np.where(constant, "constant", "ok"))


def _fold_matches(folds: list[_Ranked], names: list[str], table: pd.DataFrame, sites: np.ndarray) -> xr.Dataset:
    layer, unit = np.stack([f.layer for f in folds]), np.stack([f.unit for f in folds])
    variables = {
        "selected": np.stack([f.r for f in folds]),
        "held_out": np.stack([f.left_out for f in folds]),
        "layer": _named(layer, names),
        **_positions(layer, unit, table),
    }
    coords = {FOLD: np.arange(len(folds)), SITE: sites, RANK: np.arange(unit.shape[2])}
    return xr.Dataset({k: ((FOLD, SITE, RANK), v) for k, v in variables.items()}, coords)


def _layer_matches(
    splits: list[tuple[Candidates, np.ndarray]],
    names: list[str],
    targets: Targets,
    top: int,
    table: pd.DataFrame,
    sites: np.ndarray,
) -> xr.Dataset:
    n_pairs = len(names) * targets.n_sites
    r, unit, _ = _ranked_within_layers(*splits[0], n_pairs, targets.n_sites, top)
    folds = [_ranked_within_layers(c, out, n_pairs, targets.n_sites, top)[2] for c, out in splits[1:]]
    held_out = np.mean(folds, axis=0) if folds else np.full_like(r, np.nan)
    shape = (len(names), targets.n_sites, top)
    layer = np.broadcast_to(np.arange(len(names))[:, None, None], shape)
    variables = {
        "correlation": r.reshape(shape),
        "held_out": held_out.reshape(shape),
        **_positions(layer, unit.reshape(shape), table),
    }
    coords = {LAYER: np.array(names), SITE: sites, RANK: np.arange(top)}
    return xr.Dataset({k: ((LAYER, SITE, RANK), v) for k, v in variables.items()}, coords)


def _ranked_within_layers(
    candidates: Candidates, left_out: np.ndarray, n_pairs: int, n_sites: int, top: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank the candidates of each (layer, site): r, unit and left-out r as (pair, rank), padded."""
    pair = candidates.layer * n_sites + candidates.column
    order = by_column(pair, candidates.layer, candidates.unit, candidates.r)
    by_pair = Candidates(pair[order], candidates.layer[order], candidates.unit[order], candidates.r[order])
    rank = by_pair.rank()
    kept = np.flatnonzero(rank < top)
    at = (by_pair.column[kept], rank[kept])
    r, unit, out = (
        np.full((n_pairs, top), np.nan),
        np.full((n_pairs, top), -1, np.int64),
        np.full((n_pairs, top), np.nan),
    )
    r[at], unit[at], out[at] = by_pair.r[kept], by_pair.unit[kept], left_out[order][kept]
    return r, unit, out


def _match_responses(
    ranked: list[_Ranked], rows: _Rows, names: list[str], table: pd.DataFrame, stimuli: np.ndarray
) -> tuple[xr.Dataset, tuple[tuple[str, str], np.ndarray]]:
    """Responses of every unit that a rank names, or that is a fold's best, once; and where each rank finds its own."""
    over_all, of_folds = ranked[0], ranked[1:]
    exists = over_all.unit >= 0
    pairs = [np.stack([over_all.layer[exists], over_all.unit[exists]], 1)]
    best = [(fold.layer[:, 0], fold.unit[:, 0]) for fold in of_folds]
    pairs += [np.stack([layer[unit >= 0], unit[unit >= 0]], 1) for layer, unit in best]
    distinct, inverse = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    index = np.full(over_all.unit.shape, -1, np.int32)
    index[exists] = inverse.reshape(-1)[: len(pairs[0])]
    layer, unit = distinct[:, 0], distinct[:, 1]
    coords = {"layer": _named(layer, names), **_positions(layer, unit, table)}
    responses = xr.Dataset(
        {"activation": ((MATCH_UNIT, STIMULUS), rows.activation[rows.index(layer, unit)])},
        {STIMULUS: stimuli, **{name: (MATCH_UNIT, values) for name, values in coords.items()}},
    )
    return responses, ((SITE, RANK), index)


def _layer_table(results: Mapping[str, xr.Dataset], table: pd.DataFrame) -> xr.Dataset:
    counts = {name: [result.attrs[name] for result in results.values()] for name in next(iter(results.values())).attrs}
    columns = {name: table[name].to_numpy() for name in ("kind", "channels", "height", "width", "units", "depth")}
    return xr.Dataset(
        {name: (LAYER, np.asarray(values)) for name, values in {**columns, **counts}.items()}, {LAYER: list(results)}
    )


def _unit_counts(results: Mapping[str, xr.Dataset], names: list[str], sites: np.ndarray) -> xr.Dataset:
    count = np.stack([result["count"].values for result in results.values()])
    return xr.Dataset({"count": ((LAYER, SITE, R_BIN), count)}, {LAYER: names, SITE: sites, R_BIN: R_CENTRES})


def _feature_maps(results: Mapping[str, xr.Dataset], sites: np.ndarray) -> xr.Dataset:
    sizes = [result.sizes["channel"] for result in results.values()]
    variables = {
        name: ((FEATURE_MAP, SITE), np.concatenate([result[source].values for result in results.values()]))
        for name, source in (("correlation", "map_r"), ("y", "map_y"), ("x", "map_x"))
    }
    coords = {"layer": np.repeat(list(results), sizes), "channel": np.concatenate([np.arange(n) for n in sizes])}
    return xr.Dataset(variables, {SITE: sites, **{name: (FEATURE_MAP, values) for name, values in coords.items()}})


def _null(results: Mapping[str, xr.Dataset], names: list[str], recording: xr.Dataset, targets: Targets) -> xr.Dataset:
    r = np.stack([result["null_r"].values for result in results.values()])
    left_out = np.stack([result["null_left_out_r"].values for result in results.values()])
    winner = np.nan_to_num(r, nan=-np.inf).argmax(axis=0)[None]
    over_layers_r = np.take_along_axis(r, winner, 0)[0]
    over_layers_out = np.take_along_axis(left_out, winner, 0)[0]
    has_folds = r.shape[1] > 1
    none = np.full(r.shape[2], np.nan)
    variables = {
        "correlation": ((LAYER, SHUFFLE), r[:, 0]),
        "held_out": ((LAYER, SHUFFLE), left_out[:, 1:].mean(axis=1) if has_folds else np.full_like(r[:, 0], np.nan)),
        "network_correlation": (SHUFFLE, over_layers_r[0]),
        "network_held_out": (SHUFFLE, over_layers_out[1:].mean(axis=0) if has_folds else none),
    }
    site = targets.shuffled_site
    coords = {
        LAYER: names,
        SITE: (SHUFFLE, recording[SITE].values[site]),
        REGION: (SHUFFLE, recording[REGION].values[site]),
    }
    return xr.Dataset(variables, coords)
