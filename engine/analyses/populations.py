"""Which features stand for a region? Its sites, their matched units, random units of the same layers, single pixels.

All populations of a region have one feature for each site that has a match, over the stimuli that have a category and
that all of these sites saw.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import xarray as xr
from PIL import Image

from engine.schema import FOLD, LAYER, MATCH_UNIT, REGION, SITE, STIMULUS
from engine.store import Run

POPULATIONS: Final = ("neural", "matched", "random", "pixels")

PIXEL_EDGE: Final = 32
"""Largest side of the gray pictures whose pixels are candidates."""

_LUMA: Final = (0.299, 0.587, 0.114)
_NO_SOURCE: Final = "no activations of other units than the run's: the network and the images of the run are needed"

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
    random: tuple[np.ndarray, ...] = ()
    """(run, site) index of a unit in the layer of the site's match: as ``matched``, for all stimuli, then each part."""


@dataclass(frozen=True)
class Populations:
    """Features of a region's populations, made when asked for; a population that cannot be had is left out."""

    of: Region
    response: np.ndarray
    """(stimulus, site)."""
    pixels: np.ndarray
    """(stimulus, pixel)."""
    activations: Mapping[Unit, np.ndarray]
    """(stimulus,) of each unit that is known."""
    random_status: str

    @property
    def region(self) -> str:
        """Name of the region."""
        return self.of.name

    @property
    def labels(self) -> np.ndarray:
        """(stimulus,) int."""
        return self.of.labels

    @property
    def fold(self) -> np.ndarray:
        """(stimulus,) int."""
        return self.of.fold

    @property
    def n_folds(self) -> int:
        """Folds with disjoint images, 0 where there are none."""
        return self.of.n_folds

    @property
    def status(self) -> str:
        """Either "ok", or why the region has no values."""
        return self.of.status

    def shared(self, draw: int) -> dict[str, np.ndarray]:
        """Features (stimulus, feature) by population, of the match on all stimuli; ``draw`` counts random units."""
        return self._features(0, draw, np.arange(len(self.labels)))

    def disjoint(self, fold: int, draw: int) -> dict[str, np.ndarray]:
        """Features whose units and pixels were chosen on all parts but ``fold``."""
        return self._features(1 + fold, draw, np.flatnonzero(self.fold != fold))

    def described(self, images: Sequence[str]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Counts and statuses of the region, as variables with a ``region`` of one."""
        is_ok = self.status == "ok"
        features = self.shared(0) if is_ok else {}
        constant = [_share_constant(features[name]) if name in features else np.nan for name in POPULATIONS]
        n_distinct = len({tuple(unit) for unit in self.of.matched[0].tolist()}) if is_ok else 0
        counts = {
            "n_stimuli": len(self.labels),
            "n_sites": len(self.of.sites),
            "n_left_out": self.of.n_left_out,
            "n_distinct": n_distinct,
        }
        return {
            **{name: ((REGION,), np.array([count])) for name, count in counts.items()},
            "share_constant": ((REGION, "population"), np.array([constant])),
            "region_status": ((REGION,), np.array([self.status])),
            "population_status": ((REGION, "population", "images"), np.array([self._statuses(images)])),
        }

    def _features(self, part: int, draw: int, chosen_on: np.ndarray) -> dict[str, np.ndarray]:
        found = {"neural": self.response}
        matched = self._of_units(self.of.matched[part])
        if matched is not None:
            found["matched"] = matched
        if self.random_status == "ok":
            random = self._of_units(_paired(self.of.matched[part], self.of.random[part][draw]))
            found |= {} if random is None else {"random": random}
        return found | {"pixels": best_pixels(self.pixels, self.response, chosen_on)}

    def _of_units(self, units: np.ndarray) -> np.ndarray | None:
        named = [(str(layer), int(unit)) for layer, unit in units]
        if not all(unit in self.activations for unit in named):
            return None
        return np.stack([self.activations[unit] for unit in named], axis=1).astype(np.float64)

    def _statuses(self, images: Sequence[str]) -> list[list[str]]:
        if self.status != "ok":
            return [[self.status] * len(images)] * len(POPULATIONS)
        disjoint = "ok" if self.n_folds else "the run has no folds that leave enough stimuli of each category"
        folds = {"shared": "ok", "disjoint": disjoint}
        known = dict.fromkeys(POPULATIONS, "ok") | {"random": self.random_status}
        rows = [[known[name] if folds[of] == "ok" else folds[of] for of in images] for name in POPULATIONS]
        is_known = all(self._of_units(units) is not None for units in self.of.matched)
        if self.n_folds and not is_known:
            rows[POPULATIONS.index("matched")][list(images).index("disjoint")] = _NO_SOURCE
        return rows


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


def gather(run: Run, source: Any, regions: Sequence[Region]) -> list[Populations]:
    """Fetch responses, pixels and activations; those of units that the run does not hold in one pass of the network."""
    recording = run.dataset("recording")
    ids = recording[STIMULUS].values
    wanted = {unit for region in regions for unit in _units_of(region)}
    known = _held(run, wanted, ids)
    status = _unavailable(source)
    if status is None:
        known |= _fetched(source, sorted(wanted - set(known)), ids)
    response = recording["response"].transpose(STIMULUS, SITE).values
    gray = gray_pixels(run.dataset("thumbnails")["pixels"].sel({STIMULUS: ids}).values)
    return [
        Populations(
            region,
            response[np.ix_(region.stimuli, region.sites)],
            gray[region.stimuli],
            {unit: known[unit][region.stimuli] for unit in _units_of(region) if unit in known},
            status or "ok",
        )
        for region in regions
    ]


def gray_pixels(pictures: np.ndarray, edge: int = PIXEL_EDGE) -> np.ndarray:
    """Average pictures to at most ``edge`` x ``edge`` gray pixels.

    Parameters
    ----------
    pictures
        uint8 (stimulus, y, x, colour), one colour or three.

    Returns
    -------
    np.ndarray
        float32 (stimulus, pixel), 0 to 255; luma of ITU-R BT.601.
    """
    weights = np.array(_LUMA if pictures.shape[-1] == 3 else (1.0,), np.float32)
    gray = pictures.astype(np.float32) @ weights
    if max(gray.shape[1:]) > edge:
        size = (edge, edge)
        gray = np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in gray])
    return gray.reshape(len(gray), -1)


def best_pixels(pixels: np.ndarray, response: np.ndarray, chosen_on: np.ndarray) -> np.ndarray:
    """Choose for each site the pixel with the highest r over some stimuli, the first of equal ones.

    Parameters
    ----------
    pixels
        (stimulus, pixel).
    response
        (stimulus, site).
    chosen_on
        Positions of the stimuli that choose.

    Returns
    -------
    np.ndarray
        float64 (stimulus, site), over all stimuli.
    """
    x, y = (values[chosen_on].astype(np.float64) for values in (pixels, response))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.sqrt((x**2).sum(axis=0))
    varies = np.ptp(pixels[chosen_on], axis=0) > 0
    covariance = np.where(varies[:, None], (x / np.where(varies, norm, 1.0)).T @ y, -np.inf)
    return pixels[:, covariance.argmax(axis=0)].astype(np.float64)


def _checked(region: Region, least: int) -> Region:
    counts = np.bincount(region.labels, minlength=len(region.categories))
    if not len(region.sites):
        return replace(region, status="no site has a match", n_folds=0)
    if counts.min() < least:
        return replace(
            region, status=f"fewer than {least} stimuli of a category were seen by all of its sites", n_folds=0
        )
    training = [region.labels[region.fold != fold] for fold in range(region.n_folds)]
    is_enough = all(np.bincount(part, minlength=len(counts)).min() >= least // 2 for part in training)
    return region if is_enough else replace(region, n_folds=0)


def _matched_units(run: Run, sites: np.ndarray) -> np.ndarray:
    matches = run.dataset("matches").sel({SITE: sites}).isel(rank=0)
    tables = [matches]
    if "fold_matches" in run.names:
        folds = run.dataset("fold_matches").sel({SITE: sites}).isel(rank=0)
        tables += [folds.isel({FOLD: index}) for index in range(folds.sizes[FOLD])]
    return np.stack([_layer_and_unit(table) for table in tables])


def _layer_and_unit(table: xr.Dataset) -> np.ndarray:
    return np.stack([table[LAYER].values.astype(object), table["unit"].values.astype(object)], axis=-1)


def _units_of(region: Region) -> set[Unit]:
    if region.status != "ok":
        return set()
    parts = range(1 + region.n_folds)
    drawn = [_paired(region.matched[part], one) for part in parts for one in region.random[part]]
    return {
        (str(layer), int(unit)) for units in [*region.matched[: 1 + region.n_folds], *drawn] for layer, unit in units
    }


def _paired(matched: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The units at ``index`` (site,) of the layers of the matches, (site, 2)."""
    return np.stack([matched[:, 0], index.astype(object)], axis=1)


def _held(run: Run, wanted: set[Unit], ids: np.ndarray) -> dict[Unit, np.ndarray]:
    held = run.dataset("match_responses")
    activation = held["activation"].sel({STIMULUS: ids}).transpose(MATCH_UNIT, STIMULUS).values
    units = zip(held[LAYER].values.tolist(), held["unit"].values.tolist(), strict=True)
    return {unit: row for unit, row in zip(units, activation, strict=True) if unit in wanted}


def _unavailable(source: Any) -> str | None:
    """Say why activations of other units than the run's cannot be had; None if they can."""
    if source is None:
        return _NO_SOURCE
    told = source.missing() if hasattr(source, "missing") else None
    return None if told is None else f"{_NO_SOURCE}; missing: {told}"


def _fetched(source: Any, units: Sequence[Unit], ids: np.ndarray) -> dict[Unit, np.ndarray]:
    from engine.analyses.layer_pass import unit_activations  # loads torch, which reading a result must not

    by_layer: dict[str, list[int]] = defaultdict(list)
    for layer, unit in units:
        by_layer[layer].append(unit)
    found = unit_activations(source, {layer: np.array(index) for layer, index in by_layer.items()}, ids.astype(str))
    return {
        (layer, unit): row for layer, index in by_layer.items() for unit, row in zip(index, found[layer], strict=True)
    }


def _share_constant(values: np.ndarray) -> float:
    return float((np.ptp(values, axis=0) == 0).mean())
