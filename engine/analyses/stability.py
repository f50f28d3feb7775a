"""Does the winner change when some images are left out, or with another seed of the same network?

A category at a time is left out, the best unit of every site is chosen again, and scored on the category that it never
saw. Where the recording has no categories, seeded parts take their place.
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from engine.analyses.pace import reselection_seconds
from engine.errors import SettingsError
from engine.exact import correlate_pairs
from engine.folds import assign_folds
from engine.schema import MIN_STIMULI, REGION, SITE, STIMULUS, TIED_WITHIN
from engine.store import Run, open_run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_PARTS = 8
PART, CATEGORY = "part", "category"


def compute(run: Run, source: "Source", *, seed: int = 0, parts: int = N_PARTS, other: str | None = None) -> xr.Dataset:
    """Choose every site's unit without one category at a time, and compare it with the match.

    Parameters
    ----------
    source
        The network and the recording of the run; all layers are passed once more.
    seed
        Of the parts, where the recording has no categories.
    parts
        Number of these parts.
    other
        Another run of the same recording, such as one of the same network with another seed: its path,
        ``network@recording``, or a unique prefix of its digest. None: no such comparison.

    Returns
    -------
    xr.Dataset
        For each ``part`` (a category, or ``part 1`` ...) that was left out: ``selected`` (part, site), r of the newly
        chosen unit on the rest; ``left_out`` (part, site), r of that unit on the part, which it never saw;
        ``match_left_out`` (part, site), r there of the run's match, which was chosen on it as well; ``layer``, ``unit``
        (part, site); ``is_same`` (part, site), whether it is the match, or ties with it within 2e-6 over all stimuli;
        ``is_same_layer`` (part, site); ``similarity`` (part, site), r between its activations and those of the match
        over all stimuli. NaN where there is no match or something does not vary on the part.
        ``share_same``, ``share_same_layer``, ``left_out_median``, ``match_left_out_median``, ``similarity_median``
        (region, part) over the matched sites; ``n_stimuli`` (part); ``n_sites``, ``n_left_out`` (region), sites with
        and without a match. With ``other``: ``other_correlation``, ``other_held_out``, ``other_layer``,
        ``other_is_same_layer``, ``other_similarity``, r between the activations of both matches over all stimuli,
        ``other_difference``, r there less r here (site); and ``other_share_same_layer``, ``other_similarity_median``,
        ``other_difference_median`` (region). Attributes: ``left_out``, what was; ``other``, the other run's network.

    Raises
    ------
    SettingsError
        If ``parts`` does not fit, or the other run is of another recording.
    """
    from engine.reselection import reselect, selection_of  # loads torch

    recording, best = run.dataset("recording"), run.dataset("matches").isel(rank=0).sel({SITE: _sites(run)})
    another = None if not other else open_run(other, str(run.path.parent.parent))
    compared = xr.Dataset() if another is None else compare_runs(run, another)
    fold, names = parts_of(recording, parts, seed)
    selected, scored = leave_one_out(len(names))
    (found,) = reselect(source, [selection_of(recording, fold, selected, scored, keeps_activation=True)])
    match = match_activations(run).sel({STIMULUS: found[STIMULUS]}).values
    chosen = found.isel(split=slice(1, None)).rename(split=PART)
    values = {
        "selected": chosen["correlation"].values,
        "left_out": chosen["left_out"].values,
        "match_left_out": on_parts(match, recording["response"].sel({STIMULUS: found[STIMULUS]}), fold),
        "layer": chosen["layer"].values,
        "unit": chosen["unit"].values,
        "is_same": (chosen["over_all"] >= found["over_all"].isel(split=0) - TIED_WITHIN).values,
        "is_same_layer": chosen["layer"].values == best["layer"].values,
        "similarity": np.stack([correlate_rows(one, match) for one in chosen["activation"].values]),
    }
    of_sites = xr.Dataset({name: ((PART, SITE), value) for name, value in values.items()}, {PART: names})
    of_sites = of_sites.assign_coords({SITE: _sites(run)}).assign(n_stimuli=(PART, np.bincount(fold.values)))
    of_sites = of_sites.merge(compared)
    is_matched = best["site_status"].values == "ok"
    left_out = "one category" if CATEGORY in fold.coords else "one of seeded parts"
    return of_sites.merge(over_regions(of_sites, recording[REGION].values, is_matched)).assign_attrs(
        left_out=left_out, other="" if another is None else another.network
    )


def expected_seconds(run: Run, *, parts: int = N_PARTS, **_: object) -> float:
    """Expect so many seconds on two cores."""
    recording = run.dataset("recording")
    n_parts = len(np.unique(recording[CATEGORY])) if CATEGORY in recording.coords else parts
    return reselection_seconds(run, splits=n_parts + 1)


def missing(run: Run) -> str | None:
    """Say what the run lacks: stimuli for two parts, a site with a match."""
    n = run.dataset("recording").sizes[STIMULUS]
    if n < 4 * MIN_STIMULI:
        return f"{run.recording} has {n} stimuli; parts to leave out need at least {4 * MIN_STIMULI}."
    if (run.dataset("matches")["site_status"] == "ok").any():
        return None
    return f"no site of {run.recording} has a match with {run.network}; its responses or all units are constant."


def parts_of(recording: xr.Dataset, parts: int, seed: int) -> tuple[xr.DataArray, list[str]]:
    """Return the part of each stimulus, ``fold`` (stimulus), and the parts' names: categories, or seeded parts."""
    if CATEGORY in recording.coords:
        names, fold = np.unique(recording[CATEGORY].values.astype(str), return_inverse=True)
        if len(names) > 1:
            coords = {STIMULUS: recording[STIMULUS].values, CATEGORY: (STIMULUS, recording[CATEGORY].values)}
            return xr.DataArray(fold.reshape(-1), coords, (STIMULUS,)), names.tolist()
    most = recording.sizes[STIMULUS] // MIN_STIMULI
    if not isinstance(parts, int | np.integer) or isinstance(parts, bool) or not 2 <= parts <= most:
        raise SettingsError(f"parts={parts!r}: a whole number from 2 to {most} is needed, of at least 3 stimuli each.")
    return assign_folds(recording, int(parts), seed), [f"part {k + 1}" for k in range(parts)]


def leave_one_out(n_parts: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which parts choose, (split, fold): all, then all but each; and which score: the one left out, and all."""
    left_out = np.concatenate([np.zeros((1, n_parts), bool), np.eye(n_parts, dtype=bool)])
    return ~left_out, {"left_out": left_out, "over_all": np.ones_like(left_out)}


def match_activations(run: Run) -> xr.DataArray:
    """Activations of every site's match, (site, stimulus); NaN for a site without one."""
    row = run.dataset("matches")["match_unit"].isel(rank=0).sel({SITE: _sites(run)}).values
    activation = run.dataset("match_responses")["activation"]
    values = np.full((len(row), activation.sizes[STIMULUS]), np.nan, np.float32)
    values[row >= 0] = activation.values[row[row >= 0]]
    return xr.DataArray(values, {STIMULUS: activation[STIMULUS].values}, (SITE, STIMULUS))


def on_parts(activation: np.ndarray, response: xr.DataArray, fold: xr.DataArray) -> np.ndarray:
    """Correlate the activations of each site's unit, (site, stimulus), with the site on each part: (part, site)."""
    part, y = fold.sel({STIMULUS: response[STIMULUS]}).values, response.transpose(STIMULUS, SITE).values
    each = np.arange(len(activation))
    rows = (part == k for k in range(part.max() + 1))
    return np.stack([correlate_pairs(activation[:, own], each, each, y[own]) for own in rows])


def correlate_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlate two units for each site over all stimuli: rows of (site, stimulus) with each other, (site,) r."""
    return correlate_pairs(a, np.arange(len(a)), np.arange(len(b)), b.T)


def compare_runs(run: Run, other: Run) -> xr.Dataset:
    """Compare the matches of two runs of one recording; see ``compute``.

    Raises
    ------
    SettingsError
        If the responses or the stimuli are not the same.
    """
    for what in ("responses", "stimuli"):
        if run.manifest["digests"].get(what) != other.manifest["digests"].get(what):
            raise SettingsError(
                f"other={other.network}@{other.recording} has other {what} than {run.network}@{run.recording}. "
                "Name a run of the same recording; unitscope list runs has them."
            )
    here, there = (one.dataset("matches").isel(rank=0).sel({SITE: _sites(run)}) for one in (run, other))
    own, others = match_activations(run), match_activations(other).values
    order = match_activations(other).get_index(STIMULUS).get_indexer(own[STIMULUS].values)
    position = other.dataset("recording").get_index(SITE).get_indexer(_sites(run))
    is_same = (here["layer"].values == there["layer"].values) & (here["layer"].values != "")
    values = {
        "other_correlation": there["correlation"].values,
        "other_held_out": there["held_out"].values,
        "other_layer": there["layer"].values,
        "other_is_same_layer": is_same,
        "other_similarity": correlate_rows(others[position][:, order], own.values),
        "other_difference": there["correlation"].values - here["correlation"].values,
    }
    return xr.Dataset({name: (SITE, value) for name, value in values.items()}, {SITE: _sites(run)})


def over_regions(of_sites: xr.Dataset, region: np.ndarray, is_matched: np.ndarray) -> xr.Dataset:
    """Take shares and medians over the matched sites of each region; see ``compute``."""
    regions = sorted(set(region.tolist()))
    own = [(region == name) & is_matched for name in regions]
    found = xr.Dataset(coords={REGION: regions})
    for source, name in _SUMMARIES.items():
        if source in of_sites:
            values, dims = of_sites[source].values.astype(float), of_sites[source].dims[:-1]
            take = np.mean if of_sites[source].dtype == bool else _median
            nothing = np.full(values.shape[:-1], np.nan)
            rows = [take(values[..., sites], axis=-1) if sites.any() else nothing for sites in own]
            found[name] = ((REGION, *dims), np.stack(rows))
    found["n_sites"] = (REGION, [int(sites.sum()) for sites in own])
    found["n_left_out"] = (REGION, [int(((region == name) & ~is_matched).sum()) for name in regions])
    return found


_SUMMARIES = {
    "is_same": "share_same",
    "is_same_layer": "share_same_layer",
    "left_out": "left_out_median",
    "match_left_out": "match_left_out_median",
    "similarity": "similarity_median",
    "other_is_same_layer": "other_share_same_layer",
    "other_difference": "other_difference_median",
    "other_similarity": "other_similarity_median",
}


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median, NaN left out; NaN where nothing is left."""
    return np.ma.filled(np.ma.median(np.ma.masked_invalid(values), axis=axis).astype(float), np.nan)


def _sites(run: Run) -> np.ndarray:
    return run.dataset("recording")[SITE].values
