"""What does a worker of a cluster do? It tries what a match costs, matches a group of layers, or scores the best units.

Everything here runs in a worker's own process, one task at a time; ``engine.dispatch`` sends the work and stores what
comes back.
"""

import errno
import platform
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from threading import Lock

import numpy as np
import torch
import xarray as xr
from threadpoolctl import threadpool_limits

from engine.allocation import freed_memory_kept
from engine.costs import Costs, measure_costs
from engine.digests import network_digest
from engine.errors import ClusterError, NetworkError, RecordingError
from engine.matching import ALGORITHM, choose_device
from engine.pipeline import Job
from engine.planning import Plan
from engine.rescoring import collect_responses
from engine.stimuli import Stimuli
from engine.targets import Targets

_for_life = ExitStack()

_one_task = Lock()
"""A process has one network, one arena and one number of threads, however many tasks its worker would run."""


def settle() -> None:
    """Prepare a process that does nothing else: Ctrl-C is left to the client, freed memory kept for further tasks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _for_life.enter_context(freed_memory_kept())


def versions() -> dict[str, str]:
    """What must be the same in all processes of a match, so that their numbers are."""
    return {
        "unitscope": version("unitscope"),
        "algorithm": str(ALGORITHM),
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def device_here(device: str) -> str:
    """Name the device that ``device`` means on this worker."""
    return str(choose_device(device))


@lru_cache(maxsize=1)
def unpack(packed: bytes) -> list[Job]:
    """Open the matches that were sent; they stay open in this process until others come.

    They travel packed, also from worker to worker: a network that is at work is not as it was sent.

    Raises
    ------
    NetworkError
        If the code of the network cannot be imported here.
    """
    import cloudpickle

    try:
        return cloudpickle.loads(packed)
    except (ImportError, AttributeError) as error:
        raise NetworkError(
            f"{_here()} cannot load the network: {error}. Install its code there too, or put it on PYTHONPATH before "
            "the workers are started."
        ) from error


def try_costs(packed: bytes, which: int) -> Costs:
    """Try every step of a match on this worker."""
    with _at_work(packed, which) as job:
        return measure_costs(job.network, job.recording.stimuli, job.targets, job.device)


def match_group(packed: bytes, which: int, plan: Plan, topic: str) -> list[tuple[str, xr.Dataset]]:
    """Match a group of layers as planned, and return each one's result; progress is reported under ``topic``."""
    with _at_work(packed, which) as job:
        results = []
        for result in job.results(job.matching(_reporter(topic), keeps_inputs=plan.keeps_inputs), plan):
            results.append(result)
            _stop_if_cancelled()
        return results


def score_units(
    packed: bytes, which: int, units: Mapping[str, np.ndarray], first: int, stop: int, topic: str
) -> dict[str, np.ndarray]:
    """Record the activations of chosen units for some of the stimuli: (unit, stimulus) float32 for each layer."""
    with _at_work(packed, which) as job:
        matching = job.matching(_reporter(topic))
        matching.targets = _without_columns(job.targets, slice(first, stop))
        return collect_responses(matching, units)


@contextmanager
def _at_work(packed: bytes, which: int) -> Iterator[Job]:
    """Have this process to oneself, with as many threads as the worker has; say which worker an error comes from."""
    from distributed import get_worker

    n_threads = get_worker().state.nthreads
    with _one_task, _memory_explained(), threadpool_limits(n_threads, user_api="blas"):
        _stop_if_cancelled()
        job = unpack(packed)[which]
        _require_same(job)
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            with job.ready():
                yield job
        finally:
            torch.set_num_threads(before)


def _require_same(job: Job) -> None:
    """Refuse a match whose network or images are others here; some of the images are looked at."""
    network, stimuli = job.network, job.recording.stimuli
    travelled = any(type(module).__module__ == "__main__" for module in network.module.modules())
    if not travelled and network_digest(network) != job.digests["network"]:
        raise NetworkError(
            f"{_here()} has other code for {network.name!r} than the process that matches. Install the same there."
        )
    for name in stimuli.ids[:: max(1, len(stimuli) // 2)]:
        try:
            pixels = stimuli.pixels(name)
        except RecordingError as error:
            raise RecordingError(
                f"{_here()} cannot read stimulus {name!r}: {error} Put the images where every worker finds them under "
                "the same path, or give them as an array."
            ) from None
        if Stimuli.from_array(pixels[None], [name]).pixel_digests()[name] != stimuli.pixel_digests()[name]:
            raise RecordingError(
                f"{_here()} finds other pixels for stimulus {name!r} than the process that matches. Copy the same "
                "images to every worker, or give them as an array."
            )


def _reporter(topic: str) -> Callable[[str, int, int], None]:
    """Tell the client, after every batch, how many stimuli are done."""
    from distributed import get_worker

    worker = get_worker()
    task = str(worker.get_current_task())

    def report(step: str, done: int, total: int) -> None:
        _stop_if_cancelled()
        worker.log_event(topic, [task, done])

    return report


class _CancelledError(Exception):
    """The client gave this task up, or is gone; nobody sees it."""


def _stop_if_cancelled() -> None:
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state in ("cancelled", "resumed"):
        raise _CancelledError


@contextmanager
def _memory_explained() -> Iterator[None]:
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
        if not is_memory and getattr(error, "errno", None) != errno.ENOMEM:
            raise
        raise ClusterError(
            f"{_here()} is out of memory ({error}). Give each worker less, e.g. --memory 2GiB, or start fewer of them. "
            "Finished layers are kept: the same command goes on."
        ) from error


def _here() -> str:
    from distributed import get_worker

    return f"worker {get_worker().address} on {platform.node()}"


def _without_columns(targets: Targets, stimuli: slice) -> Targets:
    """Some of the stimuli, with nothing to correlate."""
    n = len(targets.stimuli[stimuli])
    return replace(
        targets,
        stimuli=targets.stimuli[stimuli],
        fold=np.zeros(n, np.int64),
        response=np.empty((n, 0)),
        z=np.empty((n, 0), np.float32),
        present=np.ones((n, 1), np.float32),
        pattern=np.empty(0, np.int64),
    )
