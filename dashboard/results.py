"""What does the store hold, and which part of it is chosen? One answer a process, for all sessions, without torch."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.runs import OpenRun
from dashboard.state import Selection
from engine.errors import EngineError
from engine.store import list_runs, open_run, store_root

COMPLETE = "complete"
_RELIST_AFTER_S = 2.0
_RUNS_IN_MEMORY = 12
_UNFINISHED = "It is still computed, or was stopped. The same command goes on where it stopped."


@dataclass(frozen=True)
class Problem:
    """A run that cannot be shown: which one, what is wrong, and what to do about it."""

    name: str
    reason: str
    command: str
    is_unfinished: bool = False


@dataclass(frozen=True)
class Chosen:
    """A selection brought to what there is: every name in it exists in ``run``.

    ``notice`` says in a sentence what had to be replaced, and is empty where nothing was.
    """

    run: OpenRun
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
            return Problem(name, _UNFINISHED, command, is_unfinished=True)
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
            self._checked[digest] = Problem(
                f"{names['network']} against {names['recording']}", self.told(str(error)), command
            )
            self._listed = None


def _either(wanted: str, there: list[str], what: str, missed: list[str]) -> str:
    if wanted and wanted not in there:
        missed.append(f"{what} “{wanted[:80]}”")
    return wanted if wanted in there else there[0]
