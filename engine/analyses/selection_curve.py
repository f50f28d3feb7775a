"""How many stimuli does it take to choose the right unit? Selection r, held-out r and their gap by sample size.

Few stimuli choose a unit that fits their noise: its r on them is high, on others low. With more stimuli the two meet
(Arend et al. 2018, figure S1). How often a sample chooses the very unit that all stimuli choose says whether the
identity of the match is known, or only its quality.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import OptimizeWarning, curve_fit

from engine.analyses.pace import reselection_seconds
from engine.analyses.random_control import best_r
from engine.errors import SettingsError
from engine.schema import MIN_STIMULI, REGION, SITE, STIMULUS, TIED_WITHIN
from engine.store import Run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_SIZES, SMALLEST, N_DRAWS = 6, 10, 10

STRATA = ("category", "object")
"""What samples are balanced by where the recording knows it, from coarse to fine."""

SHARE = 0.95
"""Of the asymptote: where the plateau begins."""

OK, EXTRAPOLATED, NOT_SATURATED = "ok", "extrapolated", "not saturated"
AT_ONCE, NO_FIT = "reached at the smallest size", "no fit"
"""Statuses of the fit."""


def compute(
    run: Run, source: "Source", *, seed: int = 0, sizes: Sequence[int] | None = None, draws: int = N_DRAWS
) -> xr.Dataset:
    """Choose units on samples of several sizes, and score them on stimuli that no sample of the draw holds.

    In each draw the stimuli are put in a random order, balanced by category and object where the recording knows them.
    The second half is the evaluation set of this draw, the same for all sizes, so that their variances compare; samples
    are the first stimuli of the first half, the smaller within the larger.

    Parameters
    ----------
    source
        The network and the recording of the run; all layers are passed once more.
    seed
        Of the orders.
    sizes
        Stimuli that choose, rising, at most half of all; None: six from 10 to half of all, in equal steps of log.
    draws
        Random orders, at least 2.

    Returns
    -------
    xr.Dataset
        For each sample ``selected``, ``held_out``, ``rest`` (size, draw, site), Pearson's r of the unit that the sample
        chose, on the sample, on the evaluation set and on all stimuli outside the sample; ``is_same`` (size, draw,
        site), whether it is the unit that all stimuli choose, or one within 2e-6 of it in r over all.
        ``selected_median``, ``held_out_median``, ``rest_median``, ``gap_median`` (region, size), median over the sites
        of a region, mean over the draws, and ``_sd`` over the draws (ddof 1) of each; the gap is selected less held-out
        r of a site; ``same``, ``same_sd`` (region, size), the share of sites with the same unit; ``silent`` (region,
        size), the share whose unit does not vary on the evaluation set, so that they have no held-out r and do not
        count in its median.
        ``chance`` (size): the median of the best r of as many independent random units, in closed form; held-out r is 0
        by chance. ``asymptote``, ``asymptote_se``, ``n_half``, ``exponent``, ``n_95`` (region) and ``fit_status``: the
        fit of ``plateau`` to held-out r. ``n_sites`` (region) sites with a match, ``n_left_out`` without one.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figure S1.
    """
    from engine.reselection import reselect, selection_of  # loads torch

    recording, matches = run.dataset("recording"), run.dataset("matches")
    n_stimuli = recording.sizes[STIMULUS]
    sizes = require_sizes(default_sizes(n_stimuli) if sizes is None else sizes, n_stimuli)
    if not isinstance(draws, int | np.integer) or isinstance(draws, bool) or draws < 2:
        raise SettingsError(f"draws={draws!r}: a whole number of at least 2 is needed, for an SD over the draws.")
    rng = np.random.default_rng(seed)
    parts = [nested_parts(stratified_order(recording, rng), sizes) for _ in range(draws)]
    selected, scored = splits_of_sizes(sizes, n_stimuli)
    chosen = reselect(source, [selection_of(recording, part, selected, scored) for part in parts])
    found = xr.concat(chosen, "draw").transpose("split", "draw", SITE)
    everything, samples = found.isel(split=0, drop=True), found.isel(split=slice(1, None)).rename(split="size")
    of_sites = xr.Dataset(
        {
            "selected": samples["correlation"],
            "held_out": samples["held_out"],
            "rest": samples["rest"],
            "is_same": samples["over_all"] >= everything["correlation"] - TIED_WITHIN,
        },
        {"size": np.asarray(sizes), SITE: recording[SITE].values},
    )
    is_matched = (matches["site_status"] == "ok").sel({SITE: recording[SITE]}).values
    curves = curves_of_regions(of_sites, recording[REGION].values, is_matched)
    n_units = int(run.dataset("layers")["n_ok"].sum())
    chance = xr.DataArray([best_r(k, n_units) if n_units else np.nan for k in sizes], dims="size")
    about = {
        "n_stimuli": n_stimuli,
        "n_evaluation": n_stimuli // 2,
        "n_units": n_units,
        "stratified_by": ", ".join(name for name in STRATA if name in recording.coords) or "nothing",
    }
    return of_sites.merge(curves).assign(chance=chance).merge(fits_of_regions(curves)).assign_attrs(about)


def expected_seconds(run: Run, *, sizes: Sequence[int] | None = None, draws: int = N_DRAWS, **_: object) -> float:
    """Expect so many seconds on two cores."""
    n_sizes = N_SIZES if sizes is None else len(sizes)
    return reselection_seconds(run, splits=n_sizes + 1, draws=draws)


def missing(run: Run) -> str | None:
    """Say what the recording lacks: nothing but stimuli can be too few."""
    n = run.dataset("recording").sizes[STIMULUS]
    if n >= 2 * SMALLEST + 2:
        return None
    return (
        f"{run.recording} has {n} stimuli; samples from {SMALLEST} on and an evaluation set as large need at least "
        f"{2 * SMALLEST + 2}."
    )


def default_sizes(n_stimuli: int) -> list[int]:
    """Six sizes from 10 to half of the stimuli, in equal steps of log; fewer where two would be one."""
    largest = n_stimuli - n_stimuli // 2
    steps = np.geomspace(min(SMALLEST, largest), largest, N_SIZES).round().astype(int)
    return np.unique(steps).tolist()


def require_sizes(sizes: Sequence[int], n_stimuli: int) -> list[int]:
    """Return the sizes if they rise, choose on enough stimuli, and leave half of all to score on."""
    most = n_stimuli - n_stimuli // 2
    found = [int(k) for k in sizes]
    fits = (
        found and found == sorted(set(found)) and found == list(sizes) and MIN_STIMULI <= found[0] <= found[-1] <= most
    )
    if not fits:
        raise SettingsError(
            f"sizes={list(sizes)}: rising whole numbers from {MIN_STIMULI} to {most} are needed; the other "
            f"{n_stimuli // 2} of {n_stimuli} stimuli score what was chosen."
        )
    return found


def stratified_order(recording: xr.Dataset, rng: np.random.Generator) -> np.ndarray:
    """Put the stimuli in a random order of which every beginning is balanced by category, and by object within it.

    Parameters
    ----------
    recording
        ``stimulus``, and ``category`` and ``object`` (stimulus) where known. Its order changes nothing.

    Returns
    -------
    np.ndarray
        (stimulus,) ids.
    """
    ids = np.sort(recording[STIMULUS].values.astype(str))
    labels = [recording[name].sel({STIMULUS: ids}).values.astype(str) for name in STRATA if name in recording.coords]
    order = rng.permutation(len(ids))
    for depth in range(len(labels), 0, -1):  # objects are spread within their category, then categories among all
        stratum = np.unique(np.stack(labels[:depth]), axis=1, return_inverse=True)[1].reshape(-1)[order]
        place, size = _place_in_stratum(stratum)
        order = order[np.argsort((place + rng.random(len(order))) / size, kind="stable")]
    return ids[order]


def _place_in_stratum(stratum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of its stratum come before each item, and how many there are."""
    by_stratum = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    place = np.empty(len(stratum), np.int64)
    place[by_stratum] = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place, sizes[stratum]


def nested_parts(order: np.ndarray, sizes: Sequence[int]) -> xr.DataArray:
    """Cut an order of stimuli at the sizes and at its half: ``fold`` (stimulus)."""
    cuts = np.unique([*sizes, len(order) - len(order) // 2])
    return xr.DataArray(np.searchsorted(cuts, np.arange(len(order)), side="right"), {STIMULUS: order}, (STIMULUS,))


def splits_of_sizes(sizes: Sequence[int], n_stimuli: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which parts choose, (split, fold), all of them first and then each size; and which parts score."""
    n_folds = len(np.unique([*sizes, n_stimuli - n_stimuli // 2])) + 1
    part = np.arange(n_folds)
    selected = np.stack([np.ones(n_folds, bool), *(part <= k for k in range(len(sizes)))])
    is_evaluation = np.broadcast_to(part == n_folds - 1, selected.shape)
    return selected, {"held_out": is_evaluation, "rest": ~selected, "over_all": np.ones_like(selected)}


def curves_of_regions(of_sites: xr.Dataset, region: np.ndarray, is_matched: np.ndarray) -> xr.Dataset:
    """Take medians over the sites of each region, then mean and SD over the draws; see ``compute``."""
    regions = sorted(set(region.tolist()))
    values = {name: of_sites[name].values for name in ("selected", "held_out", "rest")}
    values["gap"] = values["selected"] - values["held_out"]
    own = [(region == name) & is_matched for name in regions]
    columns: dict[str, np.ndarray] = {}
    for name, value in values.items():
        medians = np.stack([_median(value[:, :, sites]) for sites in own])
        columns[f"{name}_median"], columns[f"{name}_sd"] = medians.mean(axis=2), medians.std(axis=2, ddof=1)
    same = np.stack([_share(of_sites["is_same"].values[:, :, sites]) for sites in own])
    columns["same"], columns["same_sd"] = same.mean(axis=2), same.std(axis=2, ddof=1)
    silent = np.stack([_share(np.isnan(of_sites["held_out"].values[:, :, sites])) for sites in own])
    columns["silent"] = silent.mean(axis=2)
    counts = {
        "n_sites": [int(sites.sum()) for sites in own],
        "n_left_out": [int(((region == name) & ~is_matched).sum()) for name in regions],
    }
    return xr.Dataset(
        {name: ((REGION, "size"), value) for name, value in columns.items()}
        | {name: (REGION, value) for name, value in counts.items()},
        {REGION: regions, "size": of_sites["size"].values},
    )


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the last axis, NaN left out; NaN where nothing is left."""
    known = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(known, axis=-1).astype(float), np.nan)


def _share(claims: np.ndarray) -> np.ndarray:
    return claims.mean(axis=-1) if claims.shape[-1] else np.full(claims.shape[:-1], np.nan)


@dataclass(frozen=True)
class Plateau:
    """Where a curve levels off: ``asymptote / (1 + (n_half / size) ** exponent)``."""

    asymptote: float = np.nan
    asymptote_se: float = np.nan
    n_half: float = np.nan
    exponent: float = np.nan
    n_95: float = np.nan
    fit_status: str = NO_FIT


def plateau(sizes: np.ndarray, r: np.ndarray, sd: np.ndarray) -> Plateau:
    """Fit a curve that rises from 0 and levels off to held-out r, and say where it reaches 95 % of its asymptote.

    r(k) = a / (1 + (h / k) ** c), with 0 < a <= 1 and 0.3 <= c <= 20; half of the asymptote is reached at h. By chance,
    without any image, held-out r is 0. Least squares, weighted by the SD over draws (at least 0.001).
    n_95 = h 19 ** (1 / c).

    Parameters
    ----------
    sizes, r, sd
        (size,).

    Returns
    -------
    Plateau
        ``fit_status`` is ``ok``, or ``extrapolated`` where n_95 lies beyond the largest size; else ``n_95`` is NaN and
        it says why: ``no fit`` (fewer than four sizes with a value, or no convergence);
        ``not saturated`` (the asymptote is at its bound or has a standard error above a tenth of itself, or n_95 lies
        beyond ten times the largest size); ``reached at the smallest size``.
    """
    known = np.isfinite(r)
    k, r, sd = np.asarray(sizes, float)[known], r[known], np.maximum(np.nan_to_num(sd[known]), 1e-3)
    if len(k) < 4:
        return Plateau()
    start = (np.clip(r[-1], 0.01, 0.99), k[len(k) // 2], 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OptimizeWarning)
        try:
            (a, half, c), covariance = curve_fit(
                lambda size, a, half, c: a / (1 + (half / size) ** c), k, r, start, sd,
                bounds=([0, k[0] / 1e3, 0.3], [1, k[-1] * 1e3, 20]), absolute_sigma=True,
            )  # fmt: skip
        except (RuntimeError, OptimizeWarning):
            return Plateau()
    se, n_95 = float(np.sqrt(covariance[0, 0])), half * (SHARE / (1 - SHARE)) ** (1 / c)
    if a > 0.999 or a < 1e-6 or not se <= 0.1 * a or n_95 > 10 * k[-1]:
        return Plateau(a, se, half, c, fit_status=NOT_SATURATED)
    if n_95 <= k[0]:
        return Plateau(a, se, half, c, fit_status=AT_ONCE)
    return Plateau(a, se, half, c, float(n_95), OK if n_95 <= k[-1] else EXTRAPOLATED)


def fits_of_regions(curves: xr.Dataset) -> xr.Dataset:
    """Fit held-out r of every region."""
    fits = [
        plateau(curves["size"].values, own["held_out_median"].values, own["held_out_sd"].values)
        for own in (curves.sel({REGION: name}) for name in curves[REGION].values)
    ]
    names = Plateau.__dataclass_fields__
    return xr.Dataset({name: (REGION, [getattr(fit, name) for fit in fits]) for name in names})
