"""What does one run hold? Its groups in memory once somebody asked for them, and what the page says of it.

Sessions hold no arrays: they ask here, and get datasets that nobody can write to. Nothing here, or below, loads torch.
"""

import threading
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from engine.analyses.per_site import analysis_of, group_of_site
from engine.errors import StoreError
from engine.runs import group_manifest
from engine.store import Run, open_run

Version = frozenset[tuple[str, int]]
"""The groups of a run, and when each was written."""


def version_of(run: Run) -> Version:
    """Return what changes when a run is replaced, or an analysis is added to it or made again."""
    files = {name: group_manifest(run.path, name) for name in run.names}
    return frozenset((name, file.stat().st_mtime_ns) for name, file in files.items() if file.exists())


class OpenRun:
    """One state of a run, its groups in memory once somebody asked for them, and what the page says of it.

    Parameters
    ----------
    run
        The run as the store gives it.
    recording
        What its recording is listed as; by default the name that the run was made with.
    """

    def __init__(self, run: Run, recording: str = "") -> None:
        self._run = run
        self._listed_recording = recording
        self._loaded: dict[str, xr.Dataset] = {}
        self._lock = threading.Lock()
        self.digest: str = run.digest
        self.version = version_of(run)
        self.damage: StoreError | None = None
        """What reading a group ended in, if it failed."""
        self.read_at = 0.0
        """When a group was last asked for, on the clock of ``time.monotonic``."""
        self.names = frozenset(run.names)
        self.jpegs: dict[str, bytes] = {}
        """Pictures of the stimuli that were asked for so far."""

    def dataset(self, name: str) -> xr.Dataset:
        """Return a group of the run, read once and never written to.

        Raises
        ------
        StoreError
            If the run has no such group, or it is damaged.
        """
        with self._lock:
            if name not in self._loaded:
                try:
                    self._loaded[name] = _read_only(self._run.dataset(name).load())
                except StoreError as error:
                    self.damage = error
                    raise
            self.read_at = time.monotonic()
            return self._loaded[name]

    @property
    def n_bytes(self) -> int:
        """Bytes of the groups in memory."""
        return sum(dataset.nbytes for dataset in list(self._loaded.values()))

    @property
    def stored(self) -> Run:
        """The run as the store gives it."""
        return self._run

    def release(self) -> None:
        """Let go of the groups in memory; they are read again when somebody asks for them."""
        with self._lock:
            self._run, self._loaded = open_run(self._run.path), {}  # an opened run holds its groups too

    def has(self, name: str, site: str = "") -> bool:
        """Say whether the run holds the group ``name``; of an analysis of single sites, that of ``site``."""
        return (self.group_of(name, site) if site else name) in self.names

    def groups_of(self, name: str) -> list[str]:
        """Return the groups that the run holds of an analysis: one, or one for each of several sites."""
        return sorted(
            (group for group in self.names if analysis_of(group) == name), key=lambda group: (len(group), group)
        )

    def group_of(self, name: str, site: str) -> str:
        """Return the group that holds an analysis of one site."""
        return group_of_site(name, self._site_ids, site)

    @cached_property
    def _site_ids(self) -> list[str]:
        return [str(name) for name in self.dataset("recording")["site"].values]

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Provenance of the run."""
        return self._run.manifest

    @cached_property
    def network(self) -> str:
        """Name of the network, as the store lists it."""
        return _name_of(self.manifest.get("network"))

    @cached_property
    def network_title(self) -> str:
        """Title of the network for people, "SqueezeNet 1.1"; its name where it has none."""
        told = self.manifest.get("network")
        metadata = {**told, **told.get("metadata", {})} if isinstance(told, Mapping) else {}
        title = str(metadata.get("title") or "")
        random = "random" in self.network and "random" not in title
        return f"{title}, random weights" if title and random else title or self.network

    @cached_property
    def weights(self) -> str:
        """Where the network's weights come from, as the run tells it; empty if it does not."""
        told = self.manifest.get("network")
        return str(told.get("weights") or "") if isinstance(told, Mapping) else ""

    @cached_property
    def is_control(self) -> bool:
        """Whether the network was never trained."""
        return self.weights.startswith("random") or "random weights" in self.network

    @cached_property
    def recording(self) -> str:
        """Name of the recording, as it is listed."""
        named = self._listed_recording or _name_of(self.manifest.get("recording"))
        return named or str(self.attrs.get("name", ""))

    @cached_property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the recording."""
        return self.dataset("recording").attrs

    @cached_property
    def is_simulated(self) -> bool:
        """Whether the recording was simulated."""
        return bool(int(self.attrs.get("simulated", 0) or 0))

    @cached_property
    def regions(self) -> list[str]:
        """Regions of the recording, in the order of its sites."""
        return list(dict.fromkeys(str(name) for name in self.dataset("recording")["region"].values))

    @cached_property
    def stimuli(self) -> list[str]:
        """Ids of the stimuli."""
        return [str(name) for name in self.dataset("recording")["stimulus"].values]

    @cached_property
    def layers(self) -> list[str]:
        """Names of the layers, in execution order."""
        return [str(name) for name in self.dataset("layers")["layer"].values]

    def maps_of(self, region: str) -> list[str]:
        """Return the channels of the region's layer, the one whose best units match its sites best, as text."""
        return self._maps[region]

    @cached_property
    def _maps(self) -> dict[str, list[str]]:
        channels = self.dataset("layers")["channels"]
        return {
            region: list(map(str, range(int(channels.sel(layer=self.layer_like(region)))))) for region in self.regions
        }

    def best_map(self, region: str) -> str:
        """Return the channel of the region's layer with the highest r with any site of the region; empty without."""
        return self._best_maps[region]

    @cached_property
    def _best_maps(self) -> dict[str, str]:
        if not self.has("feature_maps"):
            return dict.fromkeys(self.regions, "")
        maps = self.dataset("feature_maps")
        found = {}
        for region in self.regions:
            rows = np.flatnonzero(maps["layer"].values == self.layer_like(region))
            r = maps["correlation"].sel(site=list(self.sites(region).index)).values[rows]
            best = np.nan_to_num(r, nan=-2).max(axis=1, initial=-2)
            is_known = best.max(initial=-2) > -2
            found[region] = str(maps["channel"].values[rows[best.argmax()]]) if is_known else ""
        return found

    def layer_like(self, region: str) -> str:
        """Return the layer with the highest neural correlation with a region: the best layer of the region."""
        return self._layers_like[region]

    @cached_property
    def _layers_like(self) -> dict[str, str]:
        every = self.neural_correlation["correlation"]
        every = every.sel(layer=every["layer"] != "")
        best = np.nan_to_num(every.sel(region=self.regions).transpose("region", "layer").values, nan=-2).argmax(axis=1)
        return {region: str(every["layer"].values[i]) for region, i in zip(self.regions, best, strict=True)}

    def size_of(self, layer: str) -> tuple[int, int]:
        """Return rows and columns of the maps of ``layer``."""
        return self._sizes[layer]

    @cached_property
    def _sizes(self) -> dict[str, tuple[int, int]]:
        table = self.dataset("layers")
        columns = (table[name].values.tolist() for name in ("layer", "height", "width"))
        return {str(layer): (height, width) for layer, height, width in zip(*columns, strict=True)}

    @cached_property
    def n_units(self) -> int:
        """Units of all layers."""
        return int(self.dataset("layers")["units"].sum())

    @cached_property
    def n_folds(self) -> int:
        """Parts of the stimuli; 1 means that nothing was held out."""
        return int(self.dataset("folds")["fold"].values.max(initial=0)) + 1 if self.has("folds") else 1

    @cached_property
    def top(self) -> int:
        """Ranks that the run holds for each site."""
        return self.dataset("matches").sizes["rank"]

    def sites(self, region: str) -> pd.DataFrame:
        """Return the sites of a region, best match first: ``r``, ``held_out``, ``noise_ceiling``, indexed by id."""
        return self._sites[region]

    @cached_property
    def _sites(self) -> dict[str, pd.DataFrame]:
        matches, recording = self.dataset("matches"), self.dataset("recording")
        table = pd.DataFrame(
            {
                "r": matches["correlation"].isel(rank=0).values,
                "held_out": matches["held_out"].isel(rank=0).values,
                "noise_ceiling": self.noise_ceiling.reindex(site=matches["site"]).values,
                "region": recording["region"].sel(site=matches["site"]).values,
            },
            index=pd.Index([str(name) for name in matches["site"].values], name="site"),
        )
        ranked = table.sort_values("r", ascending=False, kind="stable", na_position="last")
        return {region: ranked[ranked["region"] == region].drop(columns="region") for region in self.regions}

    @cached_property
    def noise_ceiling(self) -> xr.DataArray:
        """Noise ceiling of each site, (site); NaN where there are no trials to tell."""
        if self.has("reliability"):
            return self.dataset("reliability")["noise_ceiling"]
        sites = self.dataset("matches")["site"]
        return xr.DataArray(np.full(sites.size, np.nan), dims="site", coords={"site": sites})

    @cached_property
    def neural_correlation(self) -> xr.Dataset:
        """Neural correlation of the network and its layers, (region, layer); without intervals if the run has none."""
        if self.has("neural_correlation"):
            return self.dataset("neural_correlation")
        matches, profile = self.dataset("matches"), self.dataset("layer_profile")
        regions = self.dataset("recording")["region"]
        values = {
            name: np.full((len(self.regions), len(self.layers) + 1), np.nan) for name in ("correlation", "held_out")
        }
        for i, region in enumerate(self.regions):
            sites = regions["site"][regions == region]
            for name, value in values.items():
                value[i, 0] = matches[name].isel(rank=0).sel(site=sites).median("site")
                value[i, 1:] = profile[name].sel(site=sites).median("site")
        unknown = {f"{name}_{end}": np.full_like(values[name], np.nan) for name in values for end in ("low", "high")}
        limits = [[self.chance(region)[2]] * (len(self.layers) + 1) for region in self.regions]
        dims = ("region", "layer")
        return xr.Dataset(
            {name: (dims, value) for name, value in {**values, **unknown, "chance_median": np.array(limits)}.items()},
            {"region": self.regions, "layer": ["", *self.layers]},
        )

    def whole(self, region: str) -> tuple[float, float, float]:
        """Return r, held-out r and chance of the whole network, medians over sites; NaN for a region it has not."""
        return self._whole.get(region, (np.nan, np.nan, np.nan))

    @cached_property
    def _whole(self) -> dict[str, tuple[float, float, float]]:
        found = self.neural_correlation.sel(layer="")
        columns = [found[name].values.astype(float) for name in ("correlation", "held_out", "chance_median")]
        names = map(str, found["region"].values)
        return {name: (float(r), float(out), float(limit)) for name, r, out, limit in zip(names, *columns, strict=True)}

    @cached_property
    def ceiling_method(self) -> str:
        """How the noise ceiling was estimated; "not available: no trials" where it was not."""
        if not np.isfinite(self.noise_ceiling.values).any():
            return "not available: no trials"
        return str(self.dataset("reliability").attrs.get("method", "split halves"))

    @cached_property
    def null(self) -> xr.Dataset:
        """What shuffled images give; without shuffles where the run has none."""
        if self.has("null"):
            return self.dataset("null")
        none = np.empty(0)
        within = ("layer", "shuffle"), np.empty((len(self.layers), 0))
        return xr.Dataset(
            {
                "correlation": within,
                "held_out": within,
                "network_correlation": ("shuffle", none),
                "network_held_out": ("shuffle", none),
            },
            {"layer": self.layers, "site": ("shuffle", none.astype(str)), "region": ("shuffle", none.astype(str))},
        )

    @cached_property
    def _chance(self) -> dict[str, tuple[float, float, float]]:
        null = self.null
        return {
            region: (
                chance.best_of_all(null, region),
                chance.held_out(null, region),
                chance.median_over_sites(null, region),
            )
            for region in self.regions
        }

    def chance(self, region: str) -> tuple[float, float, float]:
        """Return chance for the best of all units, for a held-out r (95 % of shuffles), and for a median over sites."""
        return self._chance[region]

    def match(self, site: str, rank: int) -> Mapping[str, Any]:
        """Return what ``matches`` says of the unit at ``rank`` of ``site``: its layer, channel, r and so on."""
        row = self._match_rows[site]
        return {name: values[row, rank] for name, values in self._match_columns.items()}

    @cached_property
    def _match_rows(self) -> dict[str, int]:
        return {str(site): k for k, site in enumerate(self.dataset("matches")["site"].values)}

    @cached_property
    def _match_columns(self) -> dict[str, np.ndarray]:
        matches = self.dataset("matches")
        both = [name for name, variable in matches.data_vars.items() if set(variable.dims) == {"site", "rank"}]
        return {str(name): matches[name].transpose("site", "rank").values for name in both}

    def layer_of(self, site: str, rank: int) -> str:
        """Return the layer of the unit at ``rank``; empty where there is none."""
        return str(self.match(site, rank)["layer"])

    def rank_in_layer(self, site: str, layer: str) -> int | None:
        """Return the best rank of ``site`` that a unit of ``layer`` holds; None if no such unit is in the ranking."""
        found = np.flatnonzero(self._match_columns["layer"][self._match_rows[site]] == layer)
        return int(found[0]) if found.size else None

    def n_ranks(self, site: str) -> int:
        """Return how many units are ranked for ``site``; the rest of the ranks is padding."""
        return int(np.isfinite(self._match_columns["correlation"][self._match_rows[site]]).sum())

    def response_of(self, site: str) -> np.ndarray:
        """Return the response of ``site`` to every stimulus, NaN where it was not shown."""
        return self._responses[:, self._columns[site]]

    def position_of(self, stimulus: str) -> int:
        """Return the place of ``stimulus`` among all."""
        return self._rows[stimulus]

    @cached_property
    def _responses(self) -> np.ndarray:
        return self.dataset("recording")["response"].transpose("stimulus", "site").values

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {str(site): k for k, site in enumerate(self.dataset("recording")["site"].values)}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {stimulus: k for k, stimulus in enumerate(self.stimuli)}

    def by_response(self, site: str) -> list[str]:
        """Return the stimuli that ``site`` was shown, strongest response first."""
        response = self.response_of(site)
        order = np.argsort(-np.nan_to_num(response, nan=-np.inf), kind="stable")
        return [self.stimuli[i] for i in order if np.isfinite(response[i])]


def _name_of(told: Any) -> str:
    return str(told.get("name", "")) if isinstance(told, Mapping) else str(told or "")


def _read_only(dataset: xr.Dataset) -> xr.Dataset:
    for variable in dataset.variables.values():
        if isinstance(variable.data, np.ndarray):
            variable.data.flags.writeable = False
    return dataset
