"""Which sites and stimuli of a region can be decoded, and which units stand for the sites?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from engine.schema import FOLD, LAYER, REGION, SITE, STIMULUS
from engine.store import Run

Unit = tuple[str, int]
"""Layer and index in it."""


@dataclass(frozen=True)
class Region:
    """Sites and stimuli of a region that can be decoded, and the units that its sites are matched with.

    ``status`` is "ok", or says why there are none.
    """

    name: str
    categories: list[str]
    sites: np.ndarray
    """(site,) positions in the recording."""
    stimuli: np.ndarray
    """(stimulus,) positions in the recording."""
    labels: np.ndarray
    """(stimulus,) int."""
    fold: np.ndarray
    """(stimulus,) int, part that the stimulus belongs to."""
    n_folds: int
    """0 where there is no match on a part of the stimuli."""
    matched: np.ndarray
    """(1 + n_folds, site, 2) layer and index: the match on all stimuli, then on all parts but each."""
    n_left_out: int
    status: str = "ok"
    disjoint_status: str = "ok"
    """The same for disjoint images."""
    random: tuple[np.ndarray, ...] = ()
    """(run, site) index of a unit in the layer of the site's match: as ``matched``, for all stimuli, then each part."""


def usable_regions(run: Run, *, least: int) -> list[Region]:
    """Find, for each region, the sites with a match and the stimuli that have a category and that these sites saw.

    Parameters
    ----------
    least
        Stimuli of each category that are needed.
    """
    recording, matches = run.dataset("recording"), run.dataset("matches")
    matches = matches.sel({SITE: recording[SITE].values})
    labels = recording["category"].values.astype(str)
    categories = sorted(set(labels.tolist()) - {""})
    has_match = (matches["site_status"].values == "ok") & (matches["match_unit"].values[:, 0] >= 0)
    response = recording["response"].transpose(STIMULUS, SITE).values
    fold = run.dataset("folds")["fold"].sel({STIMULUS: recording[STIMULUS].values}).values
    matched = _matched_units(run, recording[SITE].values)
    regions = recording[REGION].values.astype(str)
    found = []
    for name in sorted(set(regions.tolist())):
        sites = np.flatnonzero((regions == name) & has_match)
        seen = np.isfinite(response[:, sites]).all(axis=1) & (labels != "")
        stimuli = np.flatnonzero(seen)
        codes = np.searchsorted(categories, labels[stimuli])
        region = Region(
            name,
            categories,
            sites,
            stimuli,
            codes,
            fold[stimuli],
            len(matched) - 1,
            matched[:, sites],
            int((regions == name).sum() - len(sites)),
        )
        found.append(_checked(region, least))
    return found


def draw_random(
    run: Run, regions: Sequence[Region], *, runs: int, transfer_runs: int, rng: np.random.Generator
) -> list[Region]:
    """Draw for every site a unit of the layer of its match, uniformly, anew for every run.

    Parameters
    ----------
    runs, transfer_runs
        Of the match on all stimuli ``runs + transfer_runs`` are drawn, of that on each part ``transfer_runs``.
    """
    units = run.dataset("layers")["units"].to_series()

    def drawn(matched: np.ndarray, n: int) -> np.ndarray:
        n_units = np.array([int(units.get(layer, 0)) for layer in matched[:, 0]], np.int64)
        return np.floor(rng.random((n, len(n_units))) * n_units).astype(np.int64)

    return [
        replace(
            region,
            random=(
                drawn(region.matched[0], runs + transfer_runs),
                *(drawn(matched, transfer_runs) for matched in region.matched[1:]),
            ),
        )
        for region in regions
    ]


def units_of(region: Region) -> set[Unit]:
    """Name every unit whose activations the populations of a region are made of."""
    if region.status != "ok":
        return set()
    parts = range(1 + region.n_folds)
    drawn = [paired(region.matched[part], one) for part in parts for one in region.random[part]]
    return {
        (str(layer), int(unit)) for units in [*region.matched[: 1 + region.n_folds], *drawn] for layer, unit in units
    }


def paired(matched: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The units at ``index`` (site,) of the layers of the matches, (site, 2)."""
    return np.stack([matched[:, 0], index.astype(object)], axis=1)


def _checked(region: Region, least: int) -> Region:
    counts = np.bincount(region.labels, minlength=len(region.categories))
    status = "ok"
    if not len(region.sites):
        status = "no site has a match"
    elif counts.min() < least:
        status = f"fewer than {least} stimuli of a category were seen by all of its sites"
    disjoint = _disjoint_status(region, least // 2) if status == "ok" else status
    n_folds = region.n_folds if disjoint == "ok" else 0
    return replace(region, status=status, disjoint_status=disjoint, n_folds=n_folds)


def _disjoint_status(region: Region, least: int) -> str:
    if not region.n_folds:
        return "the run has no folds"
    training = [region.labels[region.fold != fold] for fold in range(region.n_folds)]
    if min(np.bincount(part, minlength=len(region.categories)).min() for part in training) < least:
        return f"some part of the run leaves fewer than {least} stimuli of a category for training"
    return "ok" if (region.matched[1:, :, 1] >= 0).all() else "on some part of the run a site has no match"


def _matched_units(run: Run, sites: np.ndarray) -> np.ndarray:
    matches = run.dataset("matches").sel({SITE: sites}).isel(rank=0)
    tables = [matches]
    if "fold_matches" in run.names:
        folds = run.dataset("fold_matches").sel({SITE: sites}).isel(rank=0)
        tables += [folds.isel({FOLD: index}) for index in range(folds.sizes[FOLD])]
    return np.stack([_layer_and_unit(table) for table in tables])


def _layer_and_unit(table: xr.Dataset) -> np.ndarray:
    return np.stack([table[LAYER].values.astype(object), table["unit"].values.astype(object)], axis=-1)
