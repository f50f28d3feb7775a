"""Which features stand for a region? Its sites, their matched units, random units of the same layers, single pixels.

All populations of a region have one feature for each site that has a match, over the stimuli that have a category and
that all of these sites saw.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from engine.analyses.decodable_regions import Region, Unit, paired, units_of
from engine.schema import LAYER, MATCH_UNIT, REGION, SITE, STIMULUS
from engine.store import Run

POPULATIONS: Final = ("neural", "matched", "random", "pixels")

PIXEL_EDGE: Final = 32
"""Largest side of the gray pictures whose pixels are candidates."""

_LUMA: Final = (0.299, 0.587, 0.114)
_NO_SOURCE: Final = "no activations of other units than the run's: the network and the images of the run are needed"


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
            random = self._of_units(paired(self.of.matched[part], self.of.random[part][draw]))
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
        folds = {"shared": "ok", "disjoint": self.of.disjoint_status}
        known = dict.fromkeys(POPULATIONS, "ok") | {"random": self.random_status}
        rows = [[known[name] if folds[of] == "ok" else folds[of] for of in images] for name in POPULATIONS]
        is_known = all(self._of_units(units) is not None for units in self.of.matched)
        if self.n_folds and not is_known:
            rows[POPULATIONS.index("matched")][list(images).index("disjoint")] = _NO_SOURCE
        return rows


def gather(run: Run, source: Any, regions: Sequence[Region]) -> list[Populations]:
    """Fetch responses, pixels and activations; those of units that the run does not hold in one pass of the network."""
    recording = run.dataset("recording")
    ids = recording[STIMULUS].values
    wanted = {unit for region in regions for unit in units_of(region)}
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
            {unit: known[unit][region.stimuli] for unit in units_of(region) if unit in known},
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
