"""How is a match shared out among workers? By groups of layers: planned here, matched there, stored and merged here.

Only this process writes to the store, so workers need not see it. A worker that dies costs its group, a client that
dies what was not written yet.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.cluster import Team, local_team, require_choice, running_team
from engine.errors import MemoryBudgetError, NetworkError
from engine.groups import makespan, share_out
from engine.matching import MatchSettings, Progress, choose_device, fixed_batch
from engine.networks import Network
from engine.pipeline import Job, completed
from engine.planning import Plan, format_bytes, format_seconds
from engine.recordings import Recording
from engine.store import Run, find_run, run_lock
from engine.workers import match_group, score_units, try_costs

if TYPE_CHECKING:
    from distributed import Future


def match_all(
    network: Network,
    recordings: Sequence[Recording],
    settings: MatchSettings,
    root: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    memory: str | int = "4GiB",
    batch: int | None = None,
    progress: bool | Progress = True,
) -> Iterator[Run]:
    """Match a network against each recording on shared workers; yield each run as soon as it is stored.

    Parameters
    ----------
    settings
        Of every match.
    root
        Folder of the store; only this process writes there.
    workers
        Processes to start on this machine, with one thread each.
    scheduler
        Instead, the address of a Dask scheduler whose workers have the same unitscope.
    device
        On the workers.
    memory
        Of each worker, as ``match`` bounds it.

    Raises
    ------
    ClusterError
        If workers cannot be started or reached, are not as they must be, or die again and again.
    MemoryBudgetError
        If ``memory`` is too small, or this machine has less than its workers would take.
    """
    require_choice(workers, scheduler)
    with ExitStack() as stack:
        team = stack.enter_context(running_team(scheduler)) if scheduler is not None else None
        on = choose_device(device) if team is None else team.device(device)
        jobs = {job.digest: job for job in (Job(network, r, settings, on, memory, batch) for r in recordings)}
        for job in jobs.values():
            job.require_room()
        for digest in sorted(jobs):
            stack.enter_context(run_lock(root, digest))
        for digest in list(jobs):
            if (run := find_run(root, digest)) is not None:
                del jobs[digest]
                yield completed(root, run)
        if jobs:
            team = team or stack.enter_context(local_team(workers or 1))
            yield from _match_jobs(team, list(jobs.values()), root, show=progress)


def plan_all(
    network: Network,
    recordings: Sequence[Recording],
    settings: MatchSettings,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    memory: str | int = "4GiB",
    batch: int | None = None,
) -> str:
    """Say what ``match_all`` would do with an empty store; workers try the steps, and no more."""
    require_choice(workers, scheduler)
    with running_team(scheduler) if scheduler is not None else local_team(workers or 1) as team:
        jobs = [Job(network, r, settings, team.device(device), memory, batch) for r in recordings]
        for job in jobs:
            job.require_room()
        return _Shares(team, jobs, [network.layers["name"].tolist()] * len(jobs)).describe()


@dataclass(frozen=True)
class _Group:
    """Layers of one match that a worker matches in one pass."""

    job: int
    plan: Plan

    def describe(self, name: str) -> str:
        """Say the group in one line."""
        (layers,) = self.plan.passes
        return f"{name}, {layers[0]} to {layers[-1]}: {self.plan.describe()}"


class _Shares:
    """Matches sent to a team, and the groups of layers that they are cut into."""

    def __init__(self, team: Team, jobs: Sequence[Job], todo: Sequence[Sequence[str]]) -> None:
        self.team, self.jobs = team, jobs
        self.sent: Future = team.submit(bytes, _packed(jobs))
        is_open = [k for k, layers in enumerate(todo) if layers]
        shares = dict(zip(is_open, _workers_of(len(is_open), len(team.addresses)), strict=True))
        costs = team.each(try_costs, [(self.sent, k) for k in is_open], "its steps were tried")
        groups = [
            _Group(is_open[k], plan)
            for k, found in costs
            for plan in share_out(todo[is_open[k]], jobs[is_open[k]].planner(found), shares[is_open[k]])
        ]
        self.groups = sorted(groups, key=lambda group: -group.plan.seconds)

    def describe(self) -> str:
        """Say the plan: a line for all, and one for each group."""
        in_order = sorted(self.groups, key=lambda group: (group.job, self._first_layer(group)))
        each = [f"  {group.describe(self._name(group))}" for group in in_order]
        return "\n".join([self.summary(range(len(self.jobs))), *each])

    def summary(self, jobs: Sequence[int]) -> str:
        """Say in one line how some of the matches are done."""
        seconds = [group.plan.seconds for group in self.groups if group.job in jobs]
        n, workers = len(seconds), len(self.team.addresses)
        return (
            f"{n} group{'s' if n != 1 else ''} of layers on {workers} worker{'s' if workers > 1 else ''}, each with "
            f"{format_bytes(self.jobs[0].memory)}, about {format_seconds(makespan(seconds, workers))}"
        )

    def require_machine(self) -> None:
        """Refuse groups that, side by side, do not fit into this machine.

        Raises
        ------
        MemoryBudgetError
            If its workers would take more than it has free.
        """
        import psutil

        peaks = sorted((group.plan.peak for group in self.groups), reverse=True)[: len(self.team.addresses)]
        available = psutil.virtual_memory().available
        if sum(peaks) > available:
            raise MemoryBudgetError(
                f"{len(peaks)} workers would take {format_bytes(sum(peaks))} at once, and this machine has "
                f"{format_bytes(available)} free. Give each --memory {available // len(peaks) // 2**20}MiB, or start "
                "fewer."
            )

    def n_stimuli(self) -> int:
        """Stimuli to pass, over all groups, those that score the best included."""
        passes = [(group.job, 1) for group in self.groups]
        passes += [(job, 1) for job in {group.job for group in self.groups if not group.plan.is_held}]
        return sum(n * len(self.jobs[job].targets.stimuli) for job, n in passes)

    def results(self) -> Iterator[tuple[_Group, list[tuple[str, Any]]]]:
        """Have all groups matched, longest first; yield each one's results once they are there."""
        calls = [(self.sent, group.job, group.plan, self.team.topic) for group in self.groups]
        for number, found in self.team.each(match_group, calls, "they matched a group of layers"):
            yield self.groups[number], found

    def scored(self, job: int, units: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Activations of chosen units, (unit, stimulus): each worker passes a stretch of the stimuli."""
        if not units:
            return {}
        n, batch = len(self.jobs[job].targets.stimuli), fixed_batch(self.jobs[job].device)
        step = batch * -(-n // (batch * len(self.team.addresses)))
        calls = [(self.sent, job, units, k, min(k + step, n), self.team.topic) for k in range(0, n, step)]
        stretches = dict(self.team.each(score_units, calls, "the best units were scored", priority=1))
        return {name: np.concatenate([stretches[k][name] for k in sorted(stretches)], axis=1) for name in units}

    def _name(self, group: _Group) -> str:
        job = self.jobs[group.job]
        return f"{job.network.name}@{job.recording.name}"

    def _first_layer(self, group: _Group) -> int:
        return self.jobs[group.job].network.layers["name"].tolist().index(group.plan.passes[0][0])


def _match_jobs(team: Team, jobs: Sequence[Job], root: Path, *, show: bool | Progress) -> Iterator[Run]:
    started = time.monotonic()
    begun = [job.begin(root) for job in jobs]
    shares = _Shares(team, jobs, [todo for _, todo in begun])
    if team.is_local and jobs[0].device.type == "cpu":
        shares.require_machine()

    def stored(k: int) -> Run:
        datasets = jobs[k].merged(begun[k][0], partial(shares.scored, k))
        plan = shares.summary([k]) if begun[k][1] else "resumed"
        return completed(root, jobs[k].write(root, datasets, time.monotonic() - started, plan))

    label = f"{jobs[0].network.name} @ {jobs[0].recording.name if len(jobs) == 1 else f'{len(jobs)} recordings'}"
    n_open = [sum(group.job == k for group in shares.groups) for k in range(len(jobs))]
    with team.bar(label, shares.n_stimuli(), show=show):
        yield from (stored(k) for k, n in enumerate(n_open) if n == 0)
        for group, results in shares.results():
            for name, result in results:
                begun[group.job][0].write(name, result)
            n_open[group.job] -= 1
            if n_open[group.job] == 0:
                yield stored(group.job)


def _workers_of(n_matches: int, n_workers: int) -> list[int]:
    """Workers that share each match: one while there are matches for all, and those left over are shared out."""
    n_left = n_matches % n_workers
    return [1] * (n_matches - n_left) + [n_workers // max(1, n_left)] * n_left


def _packed(jobs: Sequence[Job]) -> bytes:
    """The matches as they travel; what they share, once.

    Raises
    ------
    NetworkError
        If the network cannot be pickled.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(list(jobs))
    except Exception as error:  # whatever the caller's objects raise
        raise NetworkError(
            f"network {jobs[0].network.name!r} cannot be sent to workers ({type(error).__name__}: {error}). Keep open "
            "files, locks and the like out of its module and preprocess, or match it without workers."
        ) from error
