"""How far is a match from its floor, in time, memory and traffic, and how do the usual ways compare in the same run?

The floor of a run is what no program can leave out: decode the images once, one forward pass without hooks, one float32
product (sites x stimuli)(stimuli x units) for each layer. Everything is measured in one process and interleaved: floor,
match, peers, and again; only peak memory and traffic come from a process of their own.
"""

from collections.abc import Callable
from dataclasses import asdict
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from engine.allocation import freed_memory_kept
from engine.bench.apart import measure_apart
from engine.bench.floor import FloorMeter
from engine.bench.machine import describe_machine, load, versions
from engine.bench.peers import PeerTask, peer_problem, run_peer
from engine.bench.report import Benchmark, PeerTimes
from engine.bench.settings import BenchSettings
from engine.networks import Network
from engine.pipeline import match, plan_match
from engine.recordings import Recording

__all__ = ["BenchSettings", "Benchmark", "bench"]

WARM_UP_IMAGES = 16

Progress = Callable[[str], None]
"""Told in words what comes next."""


def bench(settings: BenchSettings, *, progress: Progress = lambda step: None) -> Benchmark:
    """Measure floor, match and peers, interleaved, on this machine's processor.

    Match and peers first run on a few images, not timed, so that what is imported or compiled once counts for nobody.
    Every repeat opens its recording and its store anew: nothing is reused but memory, which floor, match and peers keep
    from one repeat to the next. What new memory costs is in the first match, timed apart.

    Parameters
    ----------
    settings
        What is matched, how often, and beside which peers.
    progress
        Told each step before it begins.

    Returns
    -------
    Benchmark
        Seconds of every part in every repeat, bytes, agreement of the peers; ``describe()`` is the table.

    Raises
    ------
    SettingsError, NetworkError, RecordingError, MemoryBudgetError
        Before anything is measured.
    """
    network = settings.load_network()
    recording = settings.open_recording(network)
    options = settings.match_options()
    plan = plan_match(network, recording, **options)
    peers = [PeerTimes(name, peer_problem(name, network, recording)) for name in settings.peers]
    runnable = [peer for peer in peers if peer.problem is None]
    started_at = load()
    progress("peak memory and traffic of a match, in a process of its own")
    apart = measure_apart(settings)
    with freed_memory_kept(matches=2 + settings.repeats):  # on a few images, for the first time, and repeated
        progress("best batch of the forward pass, faster product")
        meter = FloorMeter(network, recording)
        progress("everything once on a few images, not timed")
        few = settings.open_recording(network, warm_up=WARM_UP_IMAGES)
        _match(network, few, options)
        for peer in runnable:
            run_peer(peer.name, PeerTask.of(network, few, settings))
        progress("engine.match for the first time, in memory that is new to the process")
        first_match_s, _ = _match(network, settings.open_recording(network), options)
        floors, match_s = [], []
        for repeat in range(settings.repeats):
            progress(f"repeat {repeat + 1} of {settings.repeats}: floor")
            floors.append(meter.measure())
            progress(f"repeat {repeat + 1} of {settings.repeats}: engine.match")
            seconds, r = _match(network, settings.open_recording(network), options)
            match_s.append(seconds)
            for peer in runnable:
                progress(f"repeat {repeat + 1} of {settings.repeats}: {peer.title}")
                task = PeerTask.of(network, settings.open_recording(network), settings)
                peer.add(run_peer(peer.name, task), r[task.complete])
    return Benchmark(
        settings=asdict(settings),
        network=network.name,
        n_layers=len(network.layers),
        n_units=int(network.layers["units"].sum()),
        recording=recording.name,
        is_simulated=bool(recording.data.attrs.get("simulated", 0)),
        n_images=recording.data.sizes["stimulus"],
        n_sites=recording.data.sizes["site"],
        plan=plan.describe(),
        floors=floors,
        choices=meter.choices(),
        first_match_s=first_match_s,
        match_s=match_s,
        apart=apart,
        floor_bytes=meter.count_bytes(),
        peers=peers,
        machine=describe_machine(),
        versions=versions(),
        load=(started_at, load()),
    )


def _match(network: Network, recording: Recording, options: dict[str, object]) -> tuple[float, np.ndarray]:
    """Seconds of ``engine.match``, and r (site, rank) in the recording's order of sites."""
    with TemporaryDirectory() as store:
        start = perf_counter()
        run = match(network, recording, store=store, progress=False, **options)  # type: ignore[arg-type]
        seconds = perf_counter() - start
        matches = run.dataset("matches").sel(site=recording.data["site"].values)
        return seconds, matches["correlation"].values
