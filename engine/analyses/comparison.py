"""Does one network match the sites of a recording better than another? Both on the same sites, pair by pair.

Every site is its own control, so the difference of two networks is far more certain than the two scores themselves.
"""

import os

import numpy as np
import xarray as xr
from scipy import stats

from engine.analyses.resampling import (
    N_RESAMPLES,
    OK,
    RESAMPLED,
    UNDEFINED,
    Pairs,
    Resamples,
    interval,
    matched_pairs,
    median,
    median_intervals,
    require_resamples,
    resample_scores,
    stratified_weights,
)
from engine.errors import SettingsError, StimulusMismatchError
from engine.schema import RANK, REGION, SITE, STIMULUS
from engine.store import Run, open_run

VERSION = 2
_CHANCE_LEVEL = 95
"""Percentile of the shuffles, as every figure draws it."""
_SCORES = ("correlation", "held_out")
_RECORDED = ("responses", "stimuli")
_SECONDS_PER_PRODUCT = 2.5e-10


def compute(run: Run, *, other: str, seed: int = 0, n_resamples: int = N_RESAMPLES) -> xr.Dataset:
    """Compare a run with another one of the same store, see ``compare``.

    Parameters
    ----------
    other
        The other run: a path, ``network@recording``, or the unique beginning of a digest.

    Raises
    ------
    SettingsError
        If no other run is named.
    """
    if not other:
        raise SettingsError(
            f"comparison: {run.network}@{run.recording} needs another run beside it. Name it by other=, a path, "
            "network@recording or the beginning of its digest; runs there are: unitscope list runs."
        )
    return compare(run, open_run(other, _store_of(run)), seed=seed, n_resamples=n_resamples)


def compare(run: Run, other: Run, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> xr.Dataset:
    """Take the differences between two networks over the sites of one recording, ``run`` less ``other``.

    Sites are aligned by id. The matched pairs of both networks are held fixed; a resample draws the same stimuli, and
    the same sites, for both. Held-out values are compared only where both runs split the stimuli in the same way.

    Parameters
    ----------
    run, other
        Two networks matched with the same responses to the same stimuli.
    seed
        Of the resamples.
    n_resamples
        At least 100.

    Returns
    -------
    xr.Dataset
        ``correlation``, ``held_out`` (run, site), r of the best unit, selected and scored on all stimuli, and held
        out; ``correlation_difference``, ``held_out_difference`` (site) with ``_low`` and ``_high`` over resampled
        stimuli (95 %); ``status`` (site): ``ok``, ``undefined`` or why one of the two has no match; coordinates
        ``network`` and ``title`` (run) and ``region_of_site`` (site).
        By region: ``median_correlation_difference``, ``median_held_out_difference`` with ``_low`` and ``_high``
        (region, resampled), where ``resampled`` is ``stimuli``, ``sites`` or ``both``; ``p_correlation``,
        ``p_held_out`` (region), two-sided Wilcoxon signed-rank over the sites that have both values (sites of one
        animal are not independent, so read it beside the intervals); ``n_sites``, ``n_correlation``, ``n_held_out``,
        ``n_better``, ``n_better_held_out`` (sites where ``run`` is better); ``chance_correlation``, ``chance_held_out``
        (run, region), 95th percentile over the shuffles of each run, NaN without any. Attributes: ``runs`` (digests),
        ``strata``, ``n_stimuli``, ``n_resamples``, ``held_out_status``.

    Raises
    ------
    StimulusMismatchError
        If the runs are not of the same recording.
    SettingsError
        For fewer than 100 resamples, or a run against itself.

    References
    ----------
    Wilcoxon (1945), Biometrics Bulletin 1, 80-83.
    """
    require_resamples(n_resamples)
    require_same_recording([run, other])
    if run.digest == other.digest:
        raise SettingsError(f"comparison: {run.network}@{run.recording} is the same run as the other. Name another.")
    rng = np.random.default_rng(seed)
    recording, matches = run.dataset("recording"), run.dataset("matches")
    stimuli, sites = recording[STIMULUS].values, matches[SITE].values
    pairs = [matched_pairs(one, stimuli, sites) for one in (run, other)]
    has_same_folds = np.array_equal(pairs[0].fold, pairs[1].fold)
    weights, label = stratified_weights(recording, pairs[0].fold, n_resamples, rng)
    resamples = [resample_scores(one, weights) for one in pairs]
    best = {name: _best([run, other], sites, name) for name in _SCORES}
    if not has_same_folds:
        best["held_out"] = np.full_like(best["held_out"], np.nan)
    region = recording[REGION].sel({SITE: sites}).values.astype(str)
    dataset = _of_regions(best, resamples, region, rng)
    dataset = dataset.assign(_of_sites(best, resamples, [run, other], sites))
    dataset = dataset.assign(_chance([run, other], dataset[REGION].values.tolist()))
    titles = [str(one.manifest["network"].get("title") or one.network) for one in (run, other)]
    networks = {"network": ("run", [run.network, other.network]), "title": ("run", titles)}
    attrs = {
        "runs": [run.digest, other.digest],
        "strata": label,
        "n_stimuli": len(stimuli),
        "n_resamples": n_resamples,
        "held_out_status": _held_out_status(pairs, has_same_folds),
    }
    return dataset.assign_coords({SITE: sites, "region_of_site": (SITE, region), **networks}).assign_attrs(attrs)


def expected_seconds(run: Run, *, n_resamples: int = N_RESAMPLES, **_: object) -> float:
    """Estimate the time from the sizes of the matrix products, twelve for each of two runs."""
    sizes = run.dataset("recording").sizes
    return 0.1 + 24 * _SECONDS_PER_PRODUCT * sizes[STIMULUS] * sizes[SITE] * n_resamples


def missing(run: Run) -> str | None:
    """Every run has what this needs; the other run is a setting."""
    return None


def require_same_recording(runs: list[Run]) -> None:
    """Pass if all runs are of the same responses to the same stimuli, whatever the recordings are called.

    Raises
    ------
    StimulusMismatchError
        Naming the first two that differ, what differs, and what to do.
    """
    first = runs[0]
    for other in runs[1:]:
        known = [one.manifest["digests"] for one in (first, other)]
        differ = [name for name in _RECORDED if known[0].get(name) != known[1].get(name)]
        if differ:
            told = [f"{one.network}@{one.recording} ({_digests(one, differ)})" for one in (first, other)]
            raise StimulusMismatchError(
                f"Networks are compared on one recording, site by site; {told[0]} and {told[1]} have other "
                f"{' and other '.join(differ)}. Match both networks with the same recording: "
                f"unitscope match {other.network} {first.recording}"
            )


def _digests(run: Run, names: list[str]) -> str:
    return ", ".join(f"{name} {str(run.manifest['digests'].get(name, 'unknown'))[:8]}" for name in names)


def _store_of(run: Run) -> os.PathLike[str] | None:
    return run.path.parent.parent if run.path.parent.name == "runs" else None


def _best(runs: list[Run], sites: np.ndarray, name: str) -> np.ndarray:
    return np.stack([run.dataset("matches")[name].isel({RANK: 0}).sel({SITE: sites}).values for run in runs])


def _of_sites(
    best: dict[str, np.ndarray], resamples: list[Resamples], runs: list[Run], sites: np.ndarray
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, values in best.items():
        difference = values[0] - values[1]
        ends = interval(_difference(resamples, name))
        variables |= {name: (("run", SITE), values), f"{name}_difference": ((SITE,), difference)}
        for end, value in zip(("low", "high"), ends, strict=True):
            variables[f"{name}_difference_{end}"] = ((SITE,), np.where(np.isfinite(difference), value, np.nan))
    statuses = np.stack([run.dataset("matches")["site_status"].sel({SITE: sites}).values.astype(str) for run in runs])
    status = np.where(statuses[0] != OK, statuses[0], statuses[1])
    undefined = np.isnan(variables["correlation_difference_low"][1]) & (status == OK)
    return {**variables, "status": ((SITE,), np.where(undefined, UNDEFINED, status))}


def _of_regions(
    best: dict[str, np.ndarray], resamples: list[Resamples], region: np.ndarray, rng: np.random.Generator
) -> xr.Dataset:
    regions = sorted(set(region.tolist()))
    rows = []
    for name in regions:
        here = region == name
        row: dict[str, np.ndarray] = {"n_sites": np.array(here.sum())}
        for score, values in best.items():
            difference = values[0][here] - values[1][here]
            low, high = median_intervals(difference, _difference(resamples, score)[:, here], rng)
            key = f"median_{score}_difference"
            row |= {key: median(difference), f"{key}_low": low, f"{key}_high": high}
            row |= {f"p_{score}": np.array(_wilcoxon(difference)), f"n_{score}": np.isfinite(difference).sum()}
            row["n_better" if score == "correlation" else "n_better_held_out"] = (difference > 0).sum()
        rows.append(row)
    dims = {name: (REGION, "resampled") if name.endswith(("_low", "_high")) else (REGION,) for name in rows[0]}
    variables = {name: (dims[name], np.stack([row[name] for row in rows])) for name in rows[0]}
    return xr.Dataset(variables, {REGION: regions, "resampled": list(RESAMPLED)})


def _chance(runs: list[Run], regions: list[str]) -> dict[str, tuple[tuple[str, str], np.ndarray]]:
    """Return what each network reaches with shuffled images of a region: its best unit, and a held-out unit."""
    limits = np.full((len(_SCORES), len(runs), len(regions)), np.nan)
    for i, run in enumerate(runs):
        if "null" not in run.names:
            continue
        null = run.dataset("null")
        for k, region in enumerate(regions):
            shuffles = null.isel(shuffle=np.flatnonzero(null[REGION].values == region))
            for j, score in enumerate(_SCORES):
                values = shuffles[f"network_{score}"].values
                finite = values[np.isfinite(values)]
                limits[j, i, k] = np.percentile(finite, _CHANCE_LEVEL) if finite.size else np.nan
    return {f"chance_{score}": (("run", REGION), limits[j]) for j, score in enumerate(_SCORES)}


def _difference(resamples: list[Resamples], name: str) -> np.ndarray:
    return getattr(resamples[0], name) - getattr(resamples[1], name)


def _wilcoxon(difference: np.ndarray) -> float:
    """Two-sided p over the finite differences; 1 where all are 0, NaN without any."""
    known = difference[np.isfinite(difference)]
    if not known.any():
        return 1.0 if known.size else float("nan")
    return float(stats.wilcoxon(known).pvalue)


def _held_out_status(pairs: list[Pairs], has_same_folds: bool) -> str:
    if not has_same_folds:
        return "not compared: the runs split the stimuli in different ways"
    return OK if all(len(one.fold_activation) for one in pairs) else "no folds"
