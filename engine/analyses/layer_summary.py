"""In which layers do sites find their best units, and does one layer do as well as the whole network?

Arend et al. (2018), figures 6 to S9. The paper takes the layer of highest neural correlation on the very data that
score it, which is the largest of many noisy medians; a layer that was chosen on other sites stands beside it.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from engine.analyses.random_control import best_r
from engine.errors import SettingsError
from engine.schema import LAYER, MIN_STIMULI, RANK, REGION, SITE, STIMULUS
from engine.store import Run

VERSION = 1
"""Raised whenever a number that is stored can change."""

ORDER = ("V4", "IT")
"""Regions of which the earlier one is expected to match the earlier layer."""


def compute(run: Run, *, seed: int = 0) -> xr.Dataset:
    """Find the layer of every site's match and of every region, and how much of the network's r one layer gives.

    Parameters
    ----------
    run
        Sites without a match are left out of every median and count.
    seed
        Not used: nothing is drawn.

    Returns
    -------
    xr.Dataset
        Of the match of each site: ``correlation``, ``held_out``, ``layer_of_match``, ``layer_index`` (-1 = none) and
        ``depth`` = index / (number of layers - 1), (site). ``held_out`` is of the unit that the selection stimuli
        chose, which may lie in another layer.
        ``n_matches`` (region, layer), sites whose match lies in the layer: they sum to ``n_sites`` - ``n_left_out``.
        ``median_correlation``, ``median_held_out`` (region, layer), over sites, of the best unit in the layer, and
        ``median_control``, of the closed form for as many independent random units as the layer has
        (``random_control.best_r``); related units reach less. ``network_correlation``, ``network_held_out``,
        ``network_control`` (region), the same for the whole network.
        ``best_layer`` (region), of highest ``median_correlation``, the first of equal ones; ``best_layer_index``;
        ``best_correlation``, ``best_held_out``, ``best_control`` (region), the medians in it. Both are optimistic,
        since the layer was chosen on them.
        ``layer_of_others`` (site), the layer of highest median held-out r over the *other* sites of the region;
        ``held_out_in_layer_of_others`` (site), the site's held-out r in it; ``others_held_out`` (region), their median:
        neither the unit nor the layer was chosen on what scores it. Still on the same stimuli, and sites may share
        noise. Empty and NaN in a region of one site, and in a run without folds.
        ``v4_before_it``: ``yes``, ``no``, ``same layer``, or why it cannot be said.
    """
    matches, profile = run.dataset("matches"), run.dataset("layer_profile")
    is_ok = (matches["site_status"].values == "ok") & np.isfinite(matches["correlation"].isel({RANK: 0}).values)
    region = run.dataset("recording")[REGION].sel({SITE: matches[SITE]}).values.astype(str)
    layers = profile[LAYER].values.astype(str)
    values = {name: profile[name].transpose(LAYER, SITE).values for name in ("correlation", "held_out")}
    control, network_control = _controls(run)
    sites = _of_sites(matches, layers, run.dataset("layers")["depth"].values)
    others, held_out_in = _by_other_sites(values["held_out"], region, is_ok)
    sites["layer_of_others"] = (SITE, np.append(layers, "")[others])
    sites["held_out_in_layer_of_others"] = (SITE, held_out_in)
    every = {
        **{f"median_{name}": value for name, value in values.items()},
        "median_control": control,
        **{f"network_{name}": sites[name].values for name in values},
        "network_control": network_control,
        "others_held_out": held_out_in,
    }
    regions = sorted(set(region.tolist()))
    rows = [_of_region(every, sites["layer_index"].values, region == name, is_ok) for name in regions]
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    found = xr.Dataset({name: ((REGION, LAYER)[: column.ndim], column) for name, column in columns.items()})
    found = sites.merge(found.assign_coords({REGION: regions, LAYER: layers}))
    found["best_layer"] = (REGION, np.append(layers, "")[found["best_layer_index"].values])
    return found.assign(v4_before_it=((), v4_before_it(found)))


def expected_seconds(run: Run) -> float:
    """Seconds that ``compute`` takes, roughly: a closed form for every layer and number of stimuli."""
    return 0.3 + 1e-3 * run.dataset("layer_profile")["correlation"].size / 100


def missing(run: Run) -> str | None:
    """Say what the run lacks for this analysis; None if it can be computed."""
    return no_match(run)


def no_match(run: Run) -> str | None:
    """Say that no site of a run has a match, if so."""
    matches = run.dataset("matches")
    if np.isfinite(matches["correlation"].isel({RANK: 0})).any():
        return None
    why = ", ".join(sorted(set(matches["site_status"].values.astype(str).tolist()) - {"ok"})) or "no unit varies"
    return (
        f"no site of {run.recording} has a match ({why}); responses to at least {MIN_STIMULI} stimuli, and units, that "
        "differ between stimuli are needed."
    )


def region_layers(run: Run, layer: str | None = None) -> dict[str, str]:
    """Name the layer of highest neural correlation for each region that has one; or ``layer`` for each of them.

    Raises
    ------
    SettingsError
        If the run has no such layer, or no match at all.
    """
    names = run.dataset("layer_profile")[LAYER].values.astype(str).tolist()
    if layer is not None and layer not in names:
        raise SettingsError(
            f"layer {layer!r} is not among the {len(names)} layers of {run.network}: {', '.join(names)}. Name one of "
            "these, or none for the best layer of each region."
        )
    lacking = no_match(run)
    if lacking:
        raise SettingsError(f"there is no best layer: {lacking}")
    found = compute(run)
    best = zip(found[REGION].values.tolist(), found["best_layer"].values.tolist(), strict=True)
    return {region: layer or name for region, name in best if name}


def depth_over_networks(summaries: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Take the depth of each site's match over several networks (Arend et al. 2018, figure S7).

    Parameters
    ----------
    summaries
        What ``compute`` gave for runs of one recording, by the network's name.

    Returns
    -------
    xr.Dataset
        ``depth`` (network, site); ``depth_median``, ``depth_sd`` (site) over the networks with a match, ddof = 1, NaN
        for a single one; ``n_networks`` (site).

    Raises
    ------
    SettingsError
        If there is no run, or the runs are not of the same sites and responses: sites are paired across networks,
        never across recordings.
    """
    _require_one_recording(summaries)
    sites = next(iter(summaries.values()))[SITE].values
    depth = np.stack([one["depth"].sel({SITE: sites}).values for one in summaries.values()])
    n = np.isfinite(depth).sum(axis=0)
    centred = depth - np.divide(np.nansum(depth, axis=0), n, out=np.full(len(n), np.nan), where=n > 0)
    squares = np.nansum(centred**2, axis=0)
    return xr.Dataset(
        {
            "depth": (("network", SITE), depth),
            "depth_median": (SITE, medians(depth.T)),
            "depth_sd": (SITE, np.sqrt(np.divide(squares, n - 1, out=np.full(len(n), np.nan), where=n > 1))),
            "n_networks": (SITE, n),
        },
        {"network": list(summaries), SITE: sites},
    )


def v4_before_it(found: xr.Dataset) -> str:
    """Say whether the V4-like layer precedes the IT-like one: ``best_layer_index`` (region), -1 = none."""
    index = dict(zip(found[REGION].values.tolist(), found["best_layer_index"].values.tolist(), strict=True))
    unknown = [name for name in ORDER if index.get(name, -1) < 0]
    if unknown:
        return f"not available: no best layer for {' and '.join(unknown)}"
    early, late = (index[name] for name in ORDER)
    return "same layer" if early == late else "yes" if early < late else "no"


def medians(values: np.ndarray) -> np.ndarray:
    """Median over the last axis, NaN left out; NaN where nothing is left."""
    return np.ma.filled(np.ma.median(np.ma.masked_invalid(values), axis=-1).astype(float), np.nan)


def _controls(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Median best r of as many random units as each layer, (layer, site), and the network, (site,), have."""
    response = run.dataset("recording")["response"].sel({SITE: run.dataset("matches")[SITE]})
    n_stimuli = np.isfinite(response.transpose(STIMULUS, SITE).values).sum(axis=0)
    n_units = run.dataset("layers")["n_ok"].values
    control = np.full((len(n_units) + 1, len(n_stimuli)), np.nan)
    for n in np.unique(n_stimuli[n_stimuli >= MIN_STIMULI]):
        of_layers = [best_r(int(n), int(count)) if count else np.nan for count in (*n_units, n_units.sum())]
        control[:, n_stimuli == n] = np.array(of_layers)[:, None]
    return control[:-1], control[-1]


def _of_sites(matches: xr.Dataset, layers: np.ndarray, depth: np.ndarray) -> xr.Dataset:
    best = matches.isel({RANK: 0})
    position = {name: index for index, name in enumerate(layers.tolist())}
    index = np.array([position.get(str(name), -1) for name in best[LAYER].values])
    return xr.Dataset(
        {
            "correlation": (SITE, best["correlation"].values),
            "held_out": (SITE, best["held_out"].values),
            "layer_of_match": (SITE, best[LAYER].values.astype(str)),
            "layer_index": (SITE, index),
            "depth": (SITE, np.append(depth, np.nan)[index]),
        },
        {SITE: matches[SITE].values},
    )


def _by_other_sites(held_out: np.ndarray, region: np.ndarray, is_ok: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose each site's layer on the other sites of its region: its index, (site,), -1 = none, and the r in it."""
    chosen, r = np.full(len(region), -1), np.full(len(region), np.nan)
    for site in np.flatnonzero(is_ok):
        others = is_ok & (region == region[site])
        others[site] = False
        of_layers = medians(held_out[:, others])
        if np.isfinite(of_layers).any():
            chosen[site] = np.nanargmax(of_layers)
            r[site] = held_out[chosen[site], site]
    return chosen, r


def _of_region(
    values: Mapping[str, np.ndarray], layer_index: np.ndarray, is_here: np.ndarray, is_ok: np.ndarray
) -> dict[str, np.ndarray]:
    sites = is_here & is_ok
    row = {name: medians(value[..., sites]) for name, value in values.items()}
    n_layers = len(row["median_correlation"])
    is_known = np.isfinite(row["median_correlation"]).any()
    best = int(np.nanargmax(row["median_correlation"])) if is_known else -1
    for name in ("correlation", "held_out", "control"):
        row[f"best_{name}"] = np.append(row[f"median_{name}"], np.nan)[best]
    return {
        **row,
        "best_layer_index": np.int64(best),
        "n_matches": np.bincount(layer_index[sites & (layer_index >= 0)], minlength=n_layers),
        "n_sites": is_here.sum(),
        "n_left_out": (is_here & ~is_ok).sum(),
    }


def _require_one_recording(summaries: Mapping[str, xr.Dataset]) -> None:
    if not summaries:
        raise SettingsError("depths over networks: no run was given. Match a network against the recording first.")
    (first, reference), *rest = summaries.items()
    for name, other in rest:
        unlike = set(reference[SITE].values.tolist()) ^ set(other[SITE].values.tolist())
        responses = [one.attrs.get("digests", {}).get("responses") for one in (reference, other)]
        if unlike or responses[0] != responses[1]:
            what = f"{len(unlike)} sites are on one side only, first {min(unlike)!r}" if unlike else "responses differ"
            raise SettingsError(
                f"depths over networks: {first} and {name} were matched against different recordings: {what}. Sites "
                "are paired across networks, never across recordings: give runs of one recording."
            )
