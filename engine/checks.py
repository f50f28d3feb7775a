"""Does a stored run still hold? Every file against its sha256, and what must be true of its numbers whatever they are.

Nothing here needs the network or the images: only the run, as it lies in its store. Every claim is computed anew from
other groups than the one that it is about, in plain numpy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from engine.errors import EngineError
from engine.schema import FEATURE_MAP, LAYER, R_BIN, RANK, SITE, STIMULUS
from engine.store import Run

WITHIN: Final = 1e-6
"""What r computed again may differ by: activations are stored as float32."""


@dataclass(frozen=True)
class Check:
    """One claim about a run, and whether it is true."""

    name: str
    claim: str
    found: str
    """What was looked at, and the largest difference; where it fails, what and where."""
    is_passed: bool | None
    """None where the run has not what it would take to tell."""
    bound: str = ""
    """Within what it must lie, where a number is measured."""


def check_run(run: Run) -> list[Check]:
    """Check all that can be checked without network and images.

    Parameters
    ----------
    run
        Of any store; it is read through, some 100 MB a second.

    Returns
    -------
    list of Check
        In the order of ``CLAIMS``; one that fails does not keep the others from being tried.
    """
    return [_tried(run, name, claim, check) for name, (claim, check) in CLAIMS.items()]


class _Failed(Exception):  # noqa: N818
    """A claim is not true; the message says what was found."""


class _NotThere(Exception):  # noqa: N818
    """The run lacks what it would take to tell."""


def _tried(run: Run, name: str, claim: str, check: Callable[[Run], str]) -> Check:
    try:
        return Check(name, claim, check(run), True)
    except _NotThere as missing:
        return Check(name, claim, f"not checked: {missing}", None)
    except _Failed as failed:
        return Check(name, claim, str(failed), False)
    except EngineError as error:
        return Check(name, claim, f"cannot be read: {error}", False)
    except (KeyError, ValueError, IndexError) as error:
        return Check(name, claim, f"is not as it must be: {type(error).__name__} {error}", False)


def _files(run: Run) -> str:
    problems = run.verify()
    if problems:
        more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
        raise _Failed(f"{problems[0]}{more}")
    return f"{len(run.names)} groups"


def _shapes(run: Run) -> str:
    sites, stimuli = (set(_group(run, "recording")[dim].values.astype(str).tolist()) for dim in (SITE, STIMULUS))
    for name, dim, ids in (
        ("matches", SITE, sites),
        ("folds", STIMULUS, stimuli),
        ("match_responses", STIMULUS, stimuli),
    ):
        if name not in run.names:
            continue
        own = _group(run, name)[dim].values.astype(str).tolist()
        if set(own) != ids or len(own) != len(ids):
            raise _Failed(f"{name} has {len(own)} of the recording's {len(ids)} ids along {dim!r}, or others")
    return f"{len(sites):,} sites, {len(stimuli):,} stimuli"


def _folds(run: Run) -> str:
    fold = _group(run, "folds")["fold"].values
    sizes = np.bincount(fold)
    expected = int(run.settings.get("folds", len(sizes)))
    if fold.min() < 0 or len(sizes) != expected or not sizes.all():
        raise _Failed(f"folds of {sizes.tolist()} stimuli where the settings say {expected} folds")
    return f"{len(sizes)} of {' and '.join(map(str, sizes))} stimuli" if len(sizes) < 4 else f"{len(sizes)} folds"


def _histograms(run: Run) -> str:
    totals = _group(run, "unit_counts")["count"].sum(R_BIN)
    ranked, is_whole = _group(run, "layers")["n_ok"], _is_whole(run)
    too_many = (totals > ranked).transpose(LAYER, SITE)
    unequal = (totals.sel({SITE: is_whole}) != ranked).transpose(LAYER, SITE)
    for wrong in (too_many, unequal):
        if wrong.any():
            layer, site = (
                str(wrong[dim].values[k]) for dim, k in zip((LAYER, SITE), np.argwhere(wrong.values)[0], strict=True)
            )
            raise _Failed(
                f"{int(wrong.sum())} of {wrong.size} histograms, first layer {layer!r} of site {site!r}: "
                f"{int(totals.sel(layer=layer, site=site)):,} units, ranked were {int(ranked.sel(layer=layer)):,}"
            )
    return f"{totals.size:,} histograms, {int(totals.sum()):,} r in all"


def _ranks(run: Run) -> str:
    r = _group(run, "matches")["correlation"].transpose(SITE, RANK).values
    rises = np.diff(r, axis=1) > 0
    after_none = np.isnan(r[:, :-1]) & ~np.isnan(r[:, 1:])
    _require(~(rises | after_none).any(axis=1), run, "the ranking of {site} rises or has gaps")
    if np.nanmax(np.abs(r), initial=0.0) > 1 + WITHIN:
        raise _Failed(f"an r of {np.nanmax(np.abs(r))}")
    return f"{np.isfinite(r).sum():,} ranks"


def _best(run: Run) -> str:
    best = _group(run, "matches")["correlation"].isel({RANK: 0}).values
    of_layers = _highest(_group(run, "layer_profile")["correlation"].transpose(LAYER, SITE).values)
    return _same(best, of_layers, run, "matches")


def _profile(run: Run) -> str:
    profile = _group(run, "layer_profile")["correlation"].transpose(LAYER, SITE)
    maps = _group(run, "feature_maps")
    layer, r = maps["layer"].values.astype(str), maps["correlation"].transpose(FEATURE_MAP, SITE).values
    largest = 0.0
    for name in profile[LAYER].values.astype(str).tolist():
        own = profile.sel({LAYER: name}).values
        largest = max(largest, _difference(own, _highest(r[layer == name]), run, f"layer {name!r}: best map of"))
    return f"{profile.sizes[LAYER]} layers, {len(r):,} feature maps, {_most(largest)}"


def _recomputed(run: Run) -> str:
    matches, responses = _group(run, "matches"), _group(run, "match_responses")
    recorded = _group(run, "recording")["response"].sel({STIMULUS: responses[STIMULUS], SITE: matches[SITE]})
    response = recorded.transpose(STIMULUS, SITE).values
    activation, rows = responses["activation"].values, matches["match_unit"].transpose(SITE, RANK).values
    stored = matches["correlation"].transpose(SITE, RANK).values
    again = np.full(stored.shape, np.nan)
    for site, index in enumerate(rows):
        there = index >= 0
        again[site, there] = _r(activation[index[there]], response[:, site])
    return _same(again, stored, run, "matches")


def _chance(run: Run) -> str:
    null = _group(run, "null")
    if not null.sizes.get("shuffle"):
        raise _NotThere("the run was made without shuffles")
    network, layers = null["network_correlation"].values, null["correlation"].transpose(LAYER, "shuffle").values
    largest = float(np.nanmax(np.abs(network - _highest(layers)), initial=0.0))
    if largest > WITHIN:
        raise _Failed(f"the best over layers differs by {largest:.1e}")
    return f"{len(network):,} shuffled sites, {_most(largest)}"


def _medians(run: Run) -> str:
    matches, found = _group(run, "matches"), _group(run, "neural_correlation")
    regions = _group(run, "recording")["region"].sel({SITE: matches[SITE]}).values.astype(str)
    largest = 0.0
    for region in found["region"].values.astype(str):
        own = matches["correlation"].isel({RANK: 0}).values[regions == region]
        stored = float(found["correlation"].sel(region=region, layer=""))
        difference = abs(stored - float(np.nanmedian(own))) if np.isfinite(own).any() else 0.0
        if difference > WITHIN:
            raise _Failed(f"{region}: stored {stored:.6f}, median of its sites {np.nanmedian(own):.6f}")
        largest = max(largest, difference)
    n_regions = found.sizes["region"]
    return f"{n_regions} region{'s' if n_regions != 1 else ''}, {_most(largest)}"


def _ceilings(run: Run) -> str:
    found = _group(run, "reliability")
    reliability, ceiling = found["reliability"].values, found["noise_ceiling"].values
    known = np.isfinite(ceiling) & np.isfinite(reliability)
    if not known.any():
        raise _NotThere("no site has a noise ceiling")
    largest = float(np.abs(ceiling[known] ** 2 - reliability[known].clip(0)).max())
    if largest > WITHIN:
        raise _Failed(f"ceiling squared and reliability differ by {largest:.1e}")
    return f"{int(known.sum()):,} sites, {_most(largest)}"


def _analyses(run: Run) -> str:
    from engine.analyses import ANALYSES, find_analysis
    from engine.analyses.results import key_in

    stored = [name for name in ANALYSES if name in run.names]
    for name in stored:
        about = run.attributes(name)
        made_with, now = about.get("analysis_version"), find_analysis(name).module.VERSION
        if made_with is not None and made_with != now:
            raise _Failed(f"{name} is of version {made_with}, this unitscope computes version {now}: compute it again")
        changed = [other for other, key in about.get("reads", {}).items() if key_in(run, other) != key]
        if changed:
            raise _Failed(f"{name} was computed from {changed[0]}, which has changed since: compute it again")
    if not stored:
        raise _NotThere("no analysis is stored")
    return f"{len(stored)} analyses"


def _group(run: Run, name: str) -> xr.Dataset:
    if name not in run.names:
        raise _NotThere(f"the run has no group {name!r}")
    return run.dataset(name)


def _is_whole(run: Run) -> np.ndarray:
    """Which sites were shown every stimulus and vary, so that all ranked units have an r: (site,)."""
    matches = _group(run, "matches")
    response = _group(run, "recording")["response"].sel({SITE: matches[SITE]}).transpose(STIMULUS, SITE).values
    return np.isfinite(response).all(axis=0) & np.isfinite(matches["correlation"].isel({RANK: 0}).values)


def _r(units: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Pearson's r of units (unit, stimulus) with one site, in float64."""
    seen = np.isfinite(response)
    x, y = units[:, seen].astype(np.float64), response[seen].astype(np.float64)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean()
    norm = np.sqrt((x * x).sum(axis=1) * (y * y).sum())
    return np.divide(x @ y, norm, out=np.full(len(x), np.nan), where=norm > 0)


def _highest(values: np.ndarray) -> np.ndarray:
    """The highest along the first axis; NaN where there is none."""
    highest = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
    return np.where(np.isfinite(highest), highest, np.nan)


def _same(found: np.ndarray, stored: np.ndarray, run: Run, what: str) -> str:
    largest = _difference(found, stored, run, f"{what} of")
    return f"{int(np.isfinite(stored).sum()):,} {what}, {_most(largest)}"


def _difference(found: np.ndarray, stored: np.ndarray, run: Run, what: str) -> float:
    """Largest difference of two arrays whose first axis are the sites; what is NaN in one must be in both."""
    both = np.isfinite(found) & np.isfinite(stored)
    difference = np.where(both, np.abs(np.where(both, found, 0) - np.where(both, stored, 0)), 0.0)
    wrong = (difference > WITHIN) | (np.isfinite(found) != np.isfinite(stored))
    of_site = wrong.reshape(len(wrong), -1).any(axis=1)
    _require(~of_site, run, f"{what} {{site}}, difference {difference.max(initial=0.0):.1e}")
    return float(difference.max(initial=0.0))


def _most(difference: float) -> str:
    return f"largest difference {difference:.0e}" if difference else "no difference"


def _require(holds: np.ndarray, run: Run, told: str) -> None:
    """Refuse sites where something does not hold, with their number and the first of them."""
    if not holds.all():
        wrong = _group(run, "matches")[SITE].values.astype(str)[~holds].tolist()
        sites = f"{wrong[0]!r}" + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        raise _Failed(told.format(site=f"site {sites}"))


CLAIMS: Final[dict[str, tuple[str, Callable[[Run], str]]]] = {
    "files": ("every file is what was written: its size and its sha256", _files),
    "ids": ("sites and stimuli are the recording's in every group", _shapes),
    "folds": ("every stimulus is in one fold, and there are as many as were asked for", _folds),
    "histograms": ("the units of every histogram are the layer's ranked units", _histograms),
    "ranking": ("r falls along the ranks, and lies in [-1, 1]", _ranks),
    "best unit": ("r of the match is the highest of all layers", _best),
    "best map": ("r of a layer is the highest of its feature maps", _profile),
    "r of matches": ("r computed again from responses and activations is the stored one, to 1e-6", _recomputed),
    "chance": ("the best of a shuffled site is the highest of all layers", _chance),
    "neural correlation": ("it is the median over the sites of the region", _medians),
    "noise ceiling": ("its square is the reliability", _ceilings),
    "analyses": ("every analysis is of this version, and what it was computed from has not changed", _analyses),
}
"""Name of a check -> its claim, and what tries it."""


def problems(run: Run) -> Iterator[Check]:
    """Yield the claims that are not true of a run."""
    yield from (check for check in check_run(run) if check.is_passed is False)
