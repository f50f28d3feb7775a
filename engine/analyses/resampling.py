"""How much would r change with other stimuli, or with other sites? Bootstrap weights, and r under them.

The selected pair of a site and a unit is held fixed. Choosing again on every resample would be biased upward: a
resample repeats stimuli, so the unit that fits their noise wins more often, and by more, than among new stimuli.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from engine.errors import SettingsError
from engine.exact import correlate_pairs
from engine.schema import FOLD, MIN_STIMULI, RANK, SITE, STIMULUS
from engine.store import Run

N_RESAMPLES = 2000
RESAMPLED = ("stimuli", "sites", "both")
"""What a resample draws again: stimuli, sites, or both at once (the hierarchical bootstrap)."""

LEAST_IN_STRATUM = 4
"""Stimuli of one object (or category) and one fold that a resample can draw among."""
LEAST_DEFINED = 0.95
"""Share of the resamples in which r must be defined; a unit that few stimuli drive has none without them."""
_STRATA = ("object", "category")
_NO_VARIANCE = 1e-12

OK, STAND_IN, UNDEFINED, NO_FOLDS = "ok", "stand-in", "undefined", "no folds"


@dataclass(frozen=True)
class Pairs:
    """What the matches of a run answered, by site: everything that r and held-out r can be computed from again."""

    response: np.ndarray
    """(stimulus, site) float64; NaN = missing."""
    activation: np.ndarray
    """(stimulus, site) float64, of the site's match; NaN without one."""
    fold: np.ndarray
    """(stimulus,) the part that a stimulus is held out in."""
    fold_activation: np.ndarray
    """(fold, stimulus, site) of the unit selected without this fold, or of its stand-in; NaN without one."""
    fold_held_out: np.ndarray
    """(fold, site) r of the selected unit itself on its left-out part."""
    is_stand_in: np.ndarray
    """(fold, site) whether the run keeps the responses of a lower rank of this fold only."""


@dataclass(frozen=True)
class Resamples:
    """r under every resample of the stimuli, (resample, site)."""

    correlation: np.ndarray
    held_out: np.ndarray


def matched_pairs(run: Run, stimuli: np.ndarray | None = None, sites: np.ndarray | None = None) -> Pairs:
    """Collect the responses of every site and of its selected units.

    The unit that a fold selected is rarely missing in ``match_responses`` (it holds the ranks over all stimuli). Then
    the best rank of that fold that is there stands in for it: only how much its r moves is used, not its r.

    Parameters
    ----------
    stimuli, sites
        Ids in the order that is wanted; by default the order of the recording and of the matches.
    """
    matches, kept = run.dataset("matches"), run.dataset("match_responses")
    recording = run.dataset("recording")
    stimuli = recording[STIMULUS].values if stimuli is None else stimuli
    sites = matches[SITE].values if sites is None else sites
    matches = matches.sel({SITE: sites})
    response = recording["response"].transpose(STIMULUS, SITE).sel({STIMULUS: stimuli, SITE: sites}).values
    activation = kept["activation"].transpose("match_unit", STIMULUS).sel({STIMULUS: stimuli}).values
    fold = run.dataset("folds")["fold"].sel({STIMULUS: stimuli}).values
    rows, held_out, is_stand_in = _fold_rows(run, sites, kept)
    return Pairs(
        response.astype(np.float64),
        _of_rows(activation, matches["match_unit"].isel({RANK: 0}).values),
        fold,
        np.array([_of_rows(activation, row) for row in rows]).reshape(len(rows), len(stimuli), len(sites)),
        held_out,
        is_stand_in,
    )


def stratified_weights(
    recording: xr.Dataset, fold: np.ndarray, n_resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Draw bootstrap weights of the stimuli within strata: fold and object, else category, where they are known.

    Of a stratum of k stimuli k - 1 are drawn and weighted by k / (k - 1), so that small strata do not make intervals
    too narrow (Rao and Wu 1988). Objects with under four stimuli in a fold are no strata.

    Parameters
    ----------
    recording
        Coordinates ``object`` and ``category`` (stimulus), where known.
    fold
        (stimulus,) int; a held-out r needs as many stimuli of every fold in each resample.

    Returns
    -------
    weights : np.ndarray
        (stimulus, resample) float64, at least 0; each column sums to the number of stimuli.
    label : str
        ``object``, ``category`` or empty: what the strata are made of, besides folds.

    References
    ----------
    Rao & Wu (1988), J. Am. Stat. Assoc. 83, 231-241.
    """
    strata, label = _strata(recording, fold)
    weights = np.empty((len(fold), n_resamples))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        k = len(members)
        drawn = rng.integers(0, k, size=(n_resamples, k - 1)) if k > 1 else np.zeros((n_resamples, 1), np.int64)
        counts = np.zeros((n_resamples, k))
        np.add.at(counts, (np.arange(n_resamples)[:, None], drawn), 1.0)
        weights[members] = counts.T * (k / drawn.shape[1])
    return weights, label


def resample_scores(pairs: Pairs, weights: np.ndarray) -> Resamples:
    """Compute r and held-out r of the fixed pairs under every column of ``weights`` (stimulus, resample)."""
    correlation = weighted_correlation(pairs.activation, pairs.response, weights)
    if not len(pairs.fold_activation):
        return Resamples(correlation, np.full_like(correlation, np.nan))
    folds = []
    for index, activation in enumerate(pairs.fold_activation):
        here = pairs.fold == index
        r = weighted_correlation(activation[here], pairs.response[here], weights[here])
        folds.append(_moved(r, activation[here], pairs, index, here))
    return Resamples(correlation, np.mean(folds, axis=0))


def weighted_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlate the columns of ``x`` with those of ``y`` under many weightings of their rows, by matrix products.

    Parameters
    ----------
    x, y
        (stimulus, pair) float64; a stimulus where either is NaN does not count for its pair.
    weights
        (stimulus, resample), at least 0.

    Returns
    -------
    np.ndarray
        (resample, pair) Pearson's r; NaN where a side does not vary in the resample.
    """
    seen = np.isfinite(x) & np.isfinite(y)
    x, y = _standardised(x, seen), _standardised(y, seen)
    sum_w, sum_x, sum_y = (weights.T @ values for values in (seen.astype(np.float64), x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = sum_x / sum_w, sum_y / sum_w
        var_x = weights.T @ (x * x) / sum_w - mean_x**2
        var_y = weights.T @ (y * y) / sum_w - mean_y**2
        r = (weights.T @ (x * y) / sum_w - mean_x * mean_y) / np.sqrt(var_x * var_y)
    defined = (var_x > _NO_VARIANCE) & (var_y > _NO_VARIANCE) & (seen.sum(axis=0) >= MIN_STIMULI)
    return np.where(defined, np.clip(r, -1, 1), np.nan)


def interval(values: np.ndarray, *, least: float = LEAST_DEFINED) -> tuple[np.ndarray, np.ndarray]:
    """Return the 2.5th and 97.5th percentile over resamples, the first axis.

    NaN where fewer than the share ``least`` of the resamples has a value.
    """
    known = np.isfinite(values).mean(axis=0) >= least
    low, high = np.nanpercentile(np.where(known, values, 0.0), [2.5, 97.5], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def median_intervals(
    observed: np.ndarray, resampled: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return 95 % intervals of a median over sites, for each of ``RESAMPLED``: low (3,) and high (3,).

    With both resampled, every resample draws stimuli and sites anew. A site's own noise then counts twice, so this
    interval is rather too wide than too narrow (Owen 2007).

    Parameters
    ----------
    observed
        (site,) over the stimuli as they are; NaN is left out.
    resampled
        (resample, site) over resampled stimuli.

    References
    ----------
    Owen (2007), Annals of Applied Statistics 1, 386-411 (resampling of two crossed factors).
    """
    sites = np.flatnonzero(np.isfinite(observed))
    if not sites.size:
        return np.full(len(RESAMPLED), np.nan), np.full(len(RESAMPLED), np.nan)
    drawn = sites[rng.integers(0, len(sites), size=(len(resampled), len(sites)))]
    over = {
        "stimuli": resampled[:, sites],
        "sites": observed[drawn],
        "both": np.take_along_axis(resampled, drawn, axis=1),
    }
    ends = [interval(median(over[name])) for name in RESAMPLED]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def median(values: np.ndarray) -> np.ndarray:
    """Median over the last axis, NaN left out; NaN where nothing is left."""
    n_known = np.isfinite(values).sum(axis=-1, keepdims=True)
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)  # NaN goes last
    middle = [np.take_along_axis(ordered, np.maximum(at, 0), -1)[..., 0] for at in ((n_known - 1) // 2, n_known // 2)]
    return np.where(n_known[..., 0] > 0, (middle[0] + middle[1]) / 2, np.nan)


def held_out_status(pairs: Pairs, resamples: Resamples) -> np.ndarray:
    """Say for every site where its held-out interval comes from, or why it has none: (site,) text."""
    n_sites = pairs.response.shape[1]
    if not len(pairs.fold_activation):
        return np.full(n_sites, NO_FOLDS)
    undefined = np.isfinite(resamples.held_out).mean(axis=0) < LEAST_DEFINED
    return np.where(undefined, UNDEFINED, np.where(pairs.is_stand_in.any(axis=0), STAND_IN, OK))


def require_resamples(n_resamples: int) -> None:
    """Pass if an interval can be read off so many resamples.

    Raises
    ------
    SettingsError
        If there are fewer than 100.
    """
    if n_resamples < 100:
        raise SettingsError(
            f"n_resamples={n_resamples}: the ends of a 95 % interval need at least 100 resamples; "
            f"{N_RESAMPLES} are usual."
        )


def _strata(recording: xr.Dataset, fold: np.ndarray) -> tuple[np.ndarray, str]:
    for label in _STRATA:
        if label not in recording.coords:
            continue
        names = np.unique(recording[label].values.astype(str), return_inverse=True)[1]
        strata = names * (int(fold.max()) + 1) + fold
        if np.unique(strata, return_counts=True)[1].min() >= LEAST_IN_STRATUM:
            return strata, label
    return fold, ""


def _fold_rows(run: Run, sites: np.ndarray, kept: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of ``match_responses`` that answer for the unit of each (fold, site), its held-out r, and stand-ins."""
    if "fold_matches" not in run.names:
        none = np.empty((0, len(sites)))
        return none.astype(np.int64), none, none.astype(bool)
    folds = run.dataset("fold_matches").sel({SITE: sites}).transpose(FOLD, SITE, RANK)
    row_of = {pair: row for row, pair in enumerate(zip(kept["layer"].values, kept["unit"].values, strict=True))}
    pairs = zip(folds["layer"].values.ravel(), folds["unit"].values.ravel(), strict=True)
    rows = np.array([row_of.get(pair, -1) for pair in pairs], np.int64).reshape(folds["unit"].shape)
    held_out = folds["held_out"].values
    usable = (rows >= 0) & np.isfinite(held_out)
    usable[:, :, 0] |= rows[:, :, 0] >= 0
    first = usable.argmax(axis=2)
    chosen = np.where(usable.any(axis=2), np.take_along_axis(rows, first[:, :, None], 2)[:, :, 0], -1)
    return chosen, held_out[:, :, 0], first > 0


def _of_rows(activation: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(stimulus, site) float64 of rows of (unit, stimulus); NaN for row -1."""
    if not len(activation):
        return np.full((activation.shape[1], len(row)), np.nan)
    return np.where(row >= 0, activation[row].T.astype(np.float64), np.nan)


def _moved(r: np.ndarray, activation: np.ndarray, pairs: Pairs, index: int, here: np.ndarray) -> np.ndarray:
    """Give a selected unit the moves of its stand-in, on Fisher's z scale; others keep their own r."""
    stands_in = pairs.is_stand_in[index]
    if not stands_in.any():
        return r
    columns = np.arange(r.shape[1])
    own = correlate_pairs(np.ascontiguousarray(activation.T), columns, columns, pairs.response[here])
    shift = _fisher_z(pairs.fold_held_out[index]) - _fisher_z(own)
    return np.where(stands_in, np.tanh(_fisher_z(r) + shift), r)


def _fisher_z(r: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(r, -1 + _NO_VARIANCE, 1 - _NO_VARIANCE))


def _standardised(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Centre and scale each column over its seen rows, the others 0: keeps the sums far from cancellation."""
    n = np.maximum(seen.sum(axis=0), 1)
    values = np.where(seen, values, 0.0)
    values = np.where(seen, values - values.sum(axis=0) / n, 0.0)
    spread = np.sqrt((values**2).sum(axis=0) / n)
    return values / np.where(spread > 0, spread, 1.0)
