"""What does the store hold, and which part of it is chosen? One answer a process, for all sessions, without torch."""

import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.bell import Bell
from dashboard.drawing_process import DrawingProcess
from dashboard.jobs import Jobs
from dashboard.lane import Lane
from dashboard.runs import OpenRun, Version, version_of
from dashboard.state import Selection
from engine.errors import EngineError
from engine.store import Run, list_runs, open_run, store_root

COMPLETE = "complete"
_RELIST_AFTER_S = 2.0
_BYTES_IN_MEMORY = 2 * 2**30
_UNFINISHED = "It is still computed, or was stopped. The same command goes on where it stopped."


@dataclass(frozen=True)
class Problem:
    """A run that cannot be shown: which one, what is wrong, and what to do about it."""

    name: str
    reason: str
    command: str
    is_unfinished: bool = False
    network: str = ""
    recording: str = ""


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
    feature_map: str = ""
    beside: "Chosen | None" = None
    """The same choice for a second site or network, which is shown beside the first."""
    notice: str = ""
    view: str = ""
    """What the switch of the page shows; each page knows its own choices."""
    jobs: Jobs | None = field(default=None, compare=False, repr=False)
    """What computes for the visitor; None where the page is read-only."""

    @cached_property
    def shown_layer(self) -> str:
        """The layer that figures mark: the chosen one, else that of the unit at the chosen rank."""
        return self.layer or self.run.layer_of(self.site, self.rank)

    @cached_property
    def shown_map(self) -> str:
        """The feature map of the region's layer that figures mark: the chosen one, else that of the selected unit.

        Where that unit lies in another layer it is the map with the highest r with any site of the region.
        """
        if self.feature_map:
            return self.feature_map
        if self.run.layer_of(self.site, self.rank) != self.run.layer_like(self.region):
            return self.run.best_map(self.region)
        return str(self.run.dataset("matches")["channel"].sel(site=self.site).isel(rank=self.rank).item())

    @property
    def beside_site(self) -> str:
        """The second site; empty where there is none."""
        return self.beside.site if self.beside is not None and self.beside.run is self.run else ""

    @property
    def beside_network(self) -> str:
        """The second network; empty where there is none."""
        return self.beside.run.network if self.beside is not None and self.beside.run is not self.run else ""

    @cached_property
    def shown_stimulus(self) -> str:
        """The stimulus that figures mark: the chosen one, else the one that drives the site most."""
        return self.stimulus or next(iter(self.run.by_response(self.site)), "")


@dataclass(frozen=True)
class _Checked:
    """What was found when the files of a complete run were last looked for; ``problem`` is None where all are there."""

    run: Run
    version: Version
    problem: Problem | None

    @property
    def data(self) -> tuple[str, str]:
        """Digests of the responses and of the stimuli: runs with the same ones can be compared site by site."""
        digests = self.run.manifest["digests"]
        return str(digests.get("responses", "")), str(digests.get("stimuli", ""))


class Results:
    """The runs of one store.

    A recording is its data, not its name: where a store has other data under the same name, the older ones are listed
    as a recording of their own, named after their digests.

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
        self.bell = Bell()
        """Rings when something that a page shows has changed."""
        self.lane = Lane(self.bell)
        self.drawing = DrawingProcess()
        self.used_at = time.monotonic()
        """When a visitor last opened or did something."""
        self.jobs: Jobs | None = None
        self._runs: dict[str, OpenRun] = {}
        self._runs_of: dict[str, tuple[pd.DataFrame | None, list[OpenRun]]] = {}
        self._recordings: dict[str, str] = {}
        self._problems: dict[str, Problem] = {}
        self._checked: dict[str, _Checked] = {}
        self._listed: tuple[float, pd.DataFrame] | None = None
        self._lock = threading.RLock()

    def table(self) -> pd.DataFrame:
        """Return the complete runs, of each network and recording the newest; the newest of all comes last."""
        with self._lock:
            if self._listed is None or time.monotonic() - self._listed[0] > _RELIST_AFTER_S:
                self._listed = time.monotonic(), self._list()
            return self._listed[1]

    def compute_jobs(self, how: Mapping[str, Any] | None = None) -> Jobs:
        """Let visitors have the server compute, from now on; whoever asks for that closes the jobs at the end.

        ``how`` is how every match is done: ``device``, ``workers`` or ``scheduler``.
        """
        self.jobs = Jobs(str(self.root.absolute()), self.bell, self.look_again, how)
        return self.jobs

    def look_again(self) -> None:
        """List the store anew when it is asked next: something was written to it."""
        with self._lock:
            self._listed = None

    def problems(self) -> list[Problem]:
        """Return the runs of the store that cannot be shown."""
        self.table()
        return list(self._problems.values())

    def open(self, digest: str) -> OpenRun:
        """Return the run of that digest, opened once for all sessions; again when it was changed since."""
        with self._lock:
            if digest not in self._runs:
                self._runs[digest] = OpenRun(open_run(digest, self.root), self._recordings.get(digest, ""))
            return self._runs[digest]

    def runs(self, recording: str) -> list[OpenRun]:
        """Return the runs of one recording: trained networks by name, then the controls."""
        table = self.table()
        listed, runs = self._runs_of.get(recording, (None, []))
        if listed is not table:
            runs = [self.open(digest) for digest in table.loc[table["recording"] == recording, "digest"]]
            runs = sorted(runs, key=lambda run: (run.is_control, run.network))
            self._runs_of[recording] = table, runs
        return list(runs)

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
        feature_map = _either(selection.feature_map, ["", *run.maps_of(region)], "feature map", missed)
        beside_site = _either(selection.beside_site, ["", *run.sites(region).index], "site", missed)
        beside_network = _either(selection.beside_network, _with_site(runs, selection, region, site), "network", missed)
        beside = None
        if beside_site not in ("", site):
            beside = Chosen(run, region, beside_site, 0, "", stimulus)
        elif beside_network not in ("", network):
            second = next(other for other in runs if other.network == beside_network)
            beside = Chosen(second, region, site, 0, "", stimulus)
        notice = f"This store has no {', no '.join(missed)}; shown is what is nearest." if missed else ""
        return Chosen(run, region, site, rank, layer, stimulus, feature_map, beside, notice, selection.view, self.jobs)

    def told(self, message: str) -> str:
        """Return a message as it may be shown."""
        if self.tells_paths:
            return message
        return message.replace(str(self.root.absolute()), "STORE").replace(str(self.root), "STORE")

    def give_up(self, digest: str, error: EngineError) -> None:
        """Leave a run out until it is changed: reading it failed, which listing it could not tell."""
        with self._lock:
            run, checked = self._runs.pop(digest, None), self._checked.get(digest)
            if run is not None and checked is not None:
                problem = self._problem(checked.run.network, checked.run.recording, str(error))
                self._checked[digest] = replace(checked, version=run.version, problem=problem)
            self._listed = None

    def damaged(self, error: EngineError) -> str:
        """Return the digest of the open run that raised ``error``; empty if none did."""
        return next((digest for digest, run in self._runs.items() if run.damage is error), "")

    def _list(self) -> pd.DataFrame:
        listed = list_runs(self.root)
        problems = {row.digest: self._problem_with(row) for row in listed.itertuples()}
        self._problems = {digest: problem for digest, problem in problems.items() if problem is not None}
        shown = listed.loc[~listed["digest"].isin(list(self._problems)), ["digest", "network", "recording"]]
        data = [self._checked[digest].data for digest in shown["digest"]]
        told_apart = shown.assign(recording=_told_apart(list(shown["recording"]), data))
        table = told_apart.drop_duplicates(["network", "recording"]).iloc[::-1].reset_index(drop=True)
        self._let_go(dict(zip(table["digest"], table["recording"], strict=True)))
        return table

    def _problem_with(self, row: Any) -> Problem | None:
        if row.status == "incomplete":
            return replace(self._problem(row.network, row.recording, _UNFINISHED, row.digest), is_unfinished=True)
        if row.status != COMPLETE:
            return self._problem(row.network, row.recording, str(row.status), row.digest)
        checked = self._checked.get(row.digest)
        if checked is None or checked.version != version_of(checked.run):
            try:
                checked = self._checked[row.digest] = self._check(open_run(row.digest, self.root))
            except EngineError as error:  # it went away since it was listed
                return self._problem(row.network, row.recording, str(error))
        return checked.problem

    def _check(self, run: Run) -> _Checked:
        """Look for the files of a run; what is in them is compared when it is read, or 300 runs would take minutes."""
        version, probe = version_of(run), open_run(run.path)  # what a probe has read is not kept
        try:
            for group in probe.names:
                probe.require(group, up_to=0)
        except EngineError as error:
            return _Checked(run, version, self._problem(run.network, run.recording, str(error)))
        return _Checked(run, version, None)

    def _problem(self, network: str, recording: str, reason: str, digest: str = "") -> Problem:
        name = f"{network} against {recording}" if network else digest[:12]
        command = _match_command(network, recording) if network else "unitscope list runs"
        return Problem(name, self.told(reason), command, network=network, recording=recording)

    def _let_go(self, recordings: dict[str, str]) -> None:
        """Forget opened runs that changed or are listed no more, and groups that take too much memory, oldest first."""
        self._runs = {
            digest: run
            for digest, run in self._runs.items()
            if digest in recordings
            and recordings[digest] == self._recordings.get(digest)
            and run.version == self._checked[digest].version
        }
        self._recordings, self._runs_of = recordings, {}
        n_bytes = sum(run.n_bytes for run in self._runs.values())
        for run in sorted(self._runs.values(), key=lambda run: run.read_at):
            if n_bytes <= _BYTES_IN_MEMORY:
                return
            n_bytes -= run.n_bytes
            run.release()


@cache
def shared_results() -> Results:
    """Return the store of this process for ``panel serve``, which runs ``dashboard/app.py`` anew in every session."""
    return Results(tells_paths=False)


def _match_command(network: str, recording: str) -> str:
    """Return the command that makes such a run, as far as the name of the network tells."""
    name, _, about = network.partition(" (random weights, seed ")
    seed = ["--weights=random", f"--weights-seed={about.rstrip(')')}"] if about else []
    return shlex.join(["unitscope", "match", name, recording, *seed])


def _told_apart(names: list[str], data: list[tuple[str, str]]) -> list[str]:
    """Return names of recordings, newest first, of which none stands for different data: the newest keep theirs."""
    newest = dict(zip(reversed(names), reversed(data), strict=True))
    return [
        name if newest[name] == (responses, stimuli) else f"{name} (responses {responses[:6]}, images {stimuli[:6]})"
        for name, (responses, stimuli) in zip(names, data, strict=True)
    ]


def _with_site(runs: Sequence[OpenRun], selection: Selection, region: str, site: str) -> list[str]:
    """Return the networks that can stand beside another one; nothing is read where none is asked for."""
    if not selection.beside_network:
        return [""]
    return ["", *(run.network for run in runs if region in run.regions and site in run.sites(region).index)]


def _either(wanted: str, there: list[str], what: str, missed: list[str]) -> str:
    if wanted and wanted not in there:
        missed.append(f"{what} “{wanted[:80]}”")
    return wanted if wanted in there else there[0]
