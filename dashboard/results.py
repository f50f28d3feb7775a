"""What does the store say? Answers for the views, from one read-only copy a process of what the runs hold.

Sessions hold no arrays: they ask here, and get datasets that nobody can write to. Nothing here, or below, loads torch.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.state import Selection
from engine.errors import EngineError
from engine.store import Run, list_runs, open_run, store_root

COMPLETE = "complete"
_RELIST_AFTER_S = 2.0
_RUNS_IN_MEMORY = 12


@dataclass(frozen=True)
class Problem:
    """A run that cannot be shown: which one, what is wrong, and what to do about it."""

    name: str
    reason: str
    command: str


@dataclass(frozen=True)
class Chosen:
    """A selection brought to what there is: every name in it exists in ``run``.

    ``notice`` says in a sentence what had to be replaced, and is empty where nothing was.
    """

    run: "OpenRun"
    region: str
    site: str
    rank: int
    layer: str
    stimulus: str
    notice: str = ""

    @cached_property
    def shown_layer(self) -> str:
        """The layer that figures mark: the chosen one, else that of the unit at the chosen rank."""
        return self.layer or self.run.layer_of(self.site, self.rank)

    @cached_property
    def shown_stimulus(self) -> str:
        """The stimulus that figures mark: the chosen one, else the one that drives the site most."""
        return self.stimulus or next(iter(self.run.by_response(self.site)), "")


class OpenRun:
    """One run, its groups in memory once somebody asked for them, and what the page says of it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loaded: dict[str, xr.Dataset] = {}
        self._lock = threading.Lock()
        self.digest: str = run.digest
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
                self._loaded[name] = _read_only(self._run.dataset(name).load())
            return self._loaded[name]

    def has(self, name: str) -> bool:
        """Say whether the run holds the group ``name``."""
        return name in self.names

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
    def is_control(self) -> bool:
        """Whether the network was never trained."""
        told = self.manifest.get("network")
        weights = str(told.get("weights", "")) if isinstance(told, Mapping) else ""
        return weights.startswith("random") or "random weights" in self.network

    @cached_property
    def recording(self) -> str:
        """Name of the recording."""
        return _name_of(self.manifest.get("recording")) or str(self.dataset("recording").attrs.get("name", ""))

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

    def layer_of(self, site: str, rank: int) -> str:
        """Return the layer of the unit at ``rank``; empty where there is none."""
        return str(self.dataset("matches")["layer"].sel(site=site).isel(rank=rank).item())

    def rank_in_layer(self, site: str, layer: str) -> int | None:
        """Return the best rank of ``site`` that a unit of ``layer`` holds; None if no such unit is in the ranking."""
        found = np.flatnonzero(self.dataset("matches")["layer"].sel(site=site).values == layer)
        return int(found[0]) if found.size else None

    def n_ranks(self, site: str) -> int:
        """Return how many units are ranked for ``site``; the rest of the ranks is padding."""
        return int(np.isfinite(self.dataset("matches")["correlation"].sel(site=site).values).sum())

    def by_response(self, site: str) -> list[str]:
        """Return the stimuli that ``site`` was shown, strongest response first."""
        response = self.dataset("recording")["response"].sel(site=site).values
        order = np.argsort(-np.nan_to_num(response, nan=-np.inf), kind="stable")
        return [self.stimuli[i] for i in order if np.isfinite(response[i])]


class Results:
    """The runs of one store.

    Parameters
    ----------
    store
        Folder of the store; by default as ``engine.store.store_root`` finds it.
    tells_paths
        Whether messages may name folders of this machine: not to strangers.
    """

    def __init__(self, store: Path | str | None = None, *, tells_paths: bool = True) -> None:
        self.root = store_root(store)
        self.tells_paths = tells_paths
        self._runs: OrderedDict[str, OpenRun] = OrderedDict()
        self._problems: dict[str, Problem] = {}
        self._checked: dict[str, Problem | None] = {}
        self._listed: tuple[float, pd.DataFrame] | None = None
        self._lock = threading.RLock()

    def table(self) -> pd.DataFrame:
        """Return the complete runs, of each network and recording the newest; the newest of all comes last."""
        with self._lock:
            if self._listed is None or time.monotonic() - self._listed[0] > _RELIST_AFTER_S:
                self._listed = time.monotonic(), self._list()
            return self._listed[1]

    def problems(self) -> list[Problem]:
        """Return the runs of the store that cannot be shown."""
        self.table()
        return list(self._problems.values())

    def open(self, digest: str) -> OpenRun:
        """Return the run of that digest, opened once for all sessions."""
        with self._lock:
            if digest not in self._runs:
                self._runs[digest] = OpenRun(open_run(digest, self.root))
                while len(self._runs) > _RUNS_IN_MEMORY:
                    self._runs.popitem(last=False)
            self._runs.move_to_end(digest)
            return self._runs[digest]

    def runs(self, recording: str) -> list[OpenRun]:
        """Return the runs of one recording: trained networks by name, then the controls."""
        table = self.table()
        runs = [self.open(digest) for digest in table.loc[table["recording"] == recording, "digest"]]
        return sorted(runs, key=lambda run: (run.is_control, run.network))

    def recordings(self) -> list[str]:
        """Return the names of the recordings that there are runs for."""
        return sorted(self.table()["recording"].unique())

    def choose(self, selection: Selection) -> Chosen | None:
        """Bring ``selection`` to what there is: the first, or the best, where nothing or something unknown is chosen.

        Returns None for a store without a run that can be shown.
        """
        if self.table().empty:
            return None
        missed: list[str] = []
        newest = str(self.table()["recording"].iloc[-1])
        there = sorted(self.recordings(), key=lambda name: name != newest)
        recording = _either(selection.recording, there, "recording", missed)
        runs = self.runs(recording)
        network = _either(selection.network, [run.network for run in runs], "network", missed)
        run = next(run for run in runs if run.network == network)
        region = _either(selection.region, run.regions, "region", missed)
        site = _either(selection.site, list(run.sites(region).index), "site", missed)
        layer = _either(selection.layer, ["", *run.layers], "layer", missed)
        n_ranks = max(run.n_ranks(site), 1)
        if selection.rank >= n_ranks:
            missed.append(f"rank {selection.rank} (of {n_ranks})")
        rank = min(selection.rank, n_ranks - 1)
        stimulus = _either(selection.stimulus, ["", *run.stimuli], "stimulus", missed)
        notice = f"This store has no {', no '.join(missed)}; shown is what is nearest." if missed else ""
        return Chosen(run, region, site, rank, layer, stimulus, notice)

    def told(self, message: str) -> str:
        """Return a message as it may be shown."""
        if self.tells_paths:
            return message
        return message.replace(str(self.root.absolute()), "STORE").replace(str(self.root), "STORE")

    def _list(self) -> pd.DataFrame:
        listed = list_runs(self.root)
        self._problems = {}
        for row in listed.itertuples():
            problem = self._problem_with(row)
            if problem is not None:
                self._problems[row.digest] = problem
        shown = listed[~listed["digest"].isin(list(self._problems))]
        newest = shown.drop_duplicates(["network", "recording"])
        return newest[["digest", "network", "recording"]].iloc[::-1].reset_index(drop=True)

    def _problem_with(self, row: Any) -> Problem | None:
        name = f"{row.network} against {row.recording}" if row.network else str(row.digest)[:12]
        command = f"unitscope match {row.network} {row.recording}" if row.network else "unitscope list runs"
        if row.status == "incomplete":
            return Problem(
                name, "It is still computed, or was stopped. The same command goes on where it stopped.", command
            )
        if row.status != COMPLETE:
            return Problem(name, self.told(str(row.status)), command)
        if row.digest not in self._checked:
            try:
                run = open_run(row.digest, self.root)
                for group in run.names:
                    run.dataset(group)
                self._checked[row.digest] = None
            except EngineError as error:
                self._checked[row.digest] = Problem(name, self.told(str(error)), command)
        return self._checked[row.digest]

    def give_up(self, digest: str, error: EngineError) -> None:
        """Leave a run out from now on: reading it failed, which listing it could not tell."""
        with self._lock:
            run = self._runs[digest]
            names = {"network": run.network, "recording": run.recording}
            command = f"unitscope match {names['network']} {names['recording']}"
            self._checked[digest] = Problem(f"{names['network']} against {names['recording']}", self.told(str(error)), command)
            self._listed = None


def _either(wanted: str, there: list[str], what: str, missed: list[str]) -> str:
    if wanted and wanted not in there:
        missed.append(f"{what} “{wanted[:80]}”")
    return wanted if wanted in there else there[0]


def _name_of(told: Any) -> str:
    return str(told.get("name", "")) if isinstance(told, Mapping) else str(told or "")


def _read_only(dataset: xr.Dataset) -> xr.Dataset:
    for variable in dataset.variables.values():
        if isinstance(variable.data, np.ndarray):
            variable.data.flags.writeable = False
    return dataset
