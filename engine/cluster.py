"""Which processes share the work? Some that are started on this machine, or the workers of a scheduler that runs.

Dask distributed starts, watches and restarts them, and sends a task again whose worker died.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from engine.errors import ClusterError, SettingsError
from engine.workers import device_here, versions

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

    from engine.matching import Progress

INSTALL = 'pip install "unitscope[cluster]"'

SLOTS = 2
"""Tasks that a worker has at a time: one at work, one that waits."""

_ANSWER_S = 10
_END_S = 1
_CONFIG = {
    "distributed.admin.large-graph-warning-threshold": "10GB",  # networks travel with their task
    "distributed.nanny.pre-spawn-environ": {},  # it would stay in this process; tasks set their threads themselves
    "distributed.scheduler.allowed-failures": 2,
    "distributed.worker.profile.enabled": False,
}
_PRELOAD = "from engine.workers import settle\nsettle()\n"
"""Run by every worker that is started here; its imports take seconds, side by side."""


@dataclass
class Team:
    """Workers that take tasks."""

    client: "Client"
    addresses: list[str]
    is_local: bool
    topic: str = field(default_factory=lambda: f"unitscope-{uuid.uuid4().hex}")
    """Under which tasks report how many stimuli are done."""

    def device(self, device: str) -> torch.device:
        """What ``device`` means where the work is done."""
        return torch.device(self.result(self.submit(device_here, device), "it was set up"))

    def submit(self, function: Callable[..., Any], *args: Any, **how: Any) -> "Future":
        """Have a task done by any worker."""
        return self.client.submit(function, *args, pure=False, **how)

    def each(
        self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], what: str, priority: int = 0
    ) -> Iterator[tuple[int, Any]]:
        """Have the function called with each of some arguments, in this order; yield number and result once done.

        Workers get their next call while they are at one. Closing the iterator gives up the calls that are not done.
        """
        from distributed import as_completed

        waiting, running, done = deque(enumerate(calls)), {}, as_completed(loop=self.client.loop)
        free = deque(self.addresses * SLOTS)

        def fill() -> None:
            while waiting and free:
                (number, args), address = waiting.popleft(), free.popleft()
                where = {"workers": [address], "allow_other_workers": True, "priority": priority}
                running[future := self.submit(function, *args, **where)] = number, address
                done.add(future)

        try:
            fill()
            while running:
                number, address = running.pop(future := next(done))
                free.append(address)
                fill()
                yield number, self.result(future, what)
        finally:
            with suppress(Exception):  # a scheduler that is gone has nothing to cancel
                self.client.cancel(list(running))

    def result(self, future: "Future", what: str) -> Any:
        """Wait for a task, and say what its failure means.

        Raises
        ------
        ClusterError
            If its workers died, or the scheduler.
        """
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise ClusterError(
                f"{error.allowed_failures + 1} workers died one after the other while {what}. Most often they ran out "
                "of memory: give each less, e.g. --memory 2GiB, or start fewer of them. Finished layers are kept: the "
                "same command goes on."
            ) from error
        except CancelledError as error:
            raise ClusterError(
                f"The cluster gave up a task while {what} ({error}): its scheduler or all workers are gone. "
                "Finished layers are kept: start it again, and the same command goes on."
            ) from error

    @contextmanager
    def bar(self, label: str, n_stimuli: int, *, show: "bool | Progress") -> Iterator[None]:
        """Show how many of ``n_stimuli``, over all tasks, are done; or tell ``show``."""
        done: dict[str, int] = {}
        tell = show if callable(show) else (lambda step, done, total: None)
        with tqdm(total=n_stimuli, desc=label, unit="image", disable=show is not True) as bar:

            def note(event: tuple[Any, Any]) -> None:
                task, so_far = event[1]
                done[task] = so_far
                bar.update(sum(done.values()) - bar.n)
                tell(label, sum(done.values()), n_stimuli)

            self.client.subscribe_topic(self.topic, note)
            try:
                yield
            finally:
                self.client.unsubscribe_topic(self.topic)


def require_choice(workers: int | None, scheduler: str | None) -> None:
    """Refuse what cannot be started or reached, before anything is.

    Raises
    ------
    SettingsError
        If both are given, or ``workers`` is no number of processes.
    ClusterError
        If Dask distributed is not installed.
    """
    if workers is not None and scheduler is not None:
        raise SettingsError("workers starts processes here, scheduler uses those of a cluster: give one of the two.")
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise SettingsError(f"workers={workers!r}: a whole number of processes of at least 1 is needed.")
    try:
        import distributed  # noqa: F401 (only to see that it is there)
    except ImportError as error:
        raise ClusterError(f"Workers need Dask distributed, which is not installed: {INSTALL}") from error


@contextmanager
def local_team(n_workers: int) -> Iterator[Team]:
    """Start workers on this machine, with one thread each, and leave none behind."""
    import dask
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_CONFIG))
        try:
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
                memory_limit=0,
                preload=[_PRELOAD],
            )
        except (OSError, RuntimeError) as error:
            raise ClusterError(
                f"{n_workers} workers could not be started here ({error}). Start fewer; in a script, call match below "
                'if __name__ == "__main__":, since every worker imports the script.'
            ) from error
        stack.enter_context(cluster)
        stack.callback(cluster.sync, _end, cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        yield Team(client, _addresses(client), is_local=True)


async def _end(cluster: "LocalCluster") -> None:
    """End all workers at once, whatever they do: they hold nothing that is not stored or computed again."""
    import psutil

    nannies = list(cluster.workers.values())
    for nanny in nannies:
        nanny.close_gracefully()  # or it would start its worker again
        if (pid := nanny.pid) is not None:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
    await asyncio.gather(*(nanny.close(timeout=_END_S) for nanny in nannies), return_exceptions=True)


@contextmanager
def running_team(address: str) -> Iterator[Team]:
    """Use the workers of a scheduler that runs already; they stay."""
    import dask
    from distributed import Client

    with dask.config.set(_CONFIG):
        try:
            client = Client(address, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"scheduler={address!r} does not answer ({error}). Start one with `dask scheduler`, workers with "
                "`dask worker ADDRESS`, and give the address that it prints, such as tcp://10.0.0.1:8786."
            ) from error
        with client:
            _require_workers(client, address)
            yield Team(client, _addresses(client), is_local=False)


def _addresses(client: "Client") -> list[str]:
    return list(client.scheduler_info(n_workers=-1)["workers"])


def _require_workers(client: "Client", scheduler: str) -> None:
    """Refuse a cluster without workers, or with some whose numbers could be others."""
    try:
        client.wait_for_workers(1, timeout=_ANSWER_S)
    except TimeoutError as error:
        raise ClusterError(
            f"scheduler={scheduler!r} has no workers, and none came within {_ANSWER_S:g} s. Start some "
            "with `dask worker ADDRESS`."
        ) from error
    try:
        found = client.run(versions)
    except ImportError as error:
        raise ClusterError(f"A worker cannot import unitscope ({error}). Install it there: {INSTALL}") from error
    here = versions()
    for address, there in found.items():
        for name in (name for name in here if there[name] != here[name]):
            raise ClusterError(
                f"Worker {address} has {name} {there[name]}, this process {here[name]}. Install the same versions "
                "everywhere."
            )
