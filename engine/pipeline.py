"""From a network and a recording to a stored run: reuse it, go on with it, or compute it."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from engine.allocation import freed_memory_kept
from engine.analyses import analyse
from engine.blocks import Arena
from engine.costs import Costs, measure_costs
from engine.digests import (
    digest_of,
    match_digest,
    network_digest,
    recording_digest,
    responses_digest,
    stimuli_digest,
)
from engine.durable import run_lock
from engine.errors import LayerError, SettingsError
from engine.folds import assign_folds
from engine.footprints import held_bytes, ranking_bytes, result_bytes
from engine.matching import (
    ALGORITHM,
    Matching,
    MatchSettings,
    Progress,
    choose_device,
    exact_float32,
    fixed_batch,
    is_out_of_memory,
    memory_is_full,
)
from engine.merging import Collect, merge_layers
from engine.moments import PairMoments, product_dtype
from engine.networks import Network
from engine.parts import Parts, open_parts, written_beside
from engine.passes import on_device
from engine.planning import BATCHES, LIVE_LAYERS, LayerSize, Plan, Way, parse_memory, plan_passes, require_room
from engine.pooling import fast_max_pooling
from engine.recordings import Recording
from engine.rescoring import collect_responses
from engine.resuming import confirmed, find_cuts
from engine.schema import REGION, SITE, STIMULUS
from engine.stops import plan_stops
from engine.store import Run, find_run, store_root, write_run
from engine.targets import Targets, make_targets

THUMBNAIL = 112
"""Largest side of the small pictures that a run carries, in pixels."""

SHAPES_BYTES = 64 * 2**20
"""What torch loads to tell shapes without values, and what is left of looking for cuts."""

LOOK_S = 1.0
"""Seconds that it may take to look for cuts, most of which torch needs to load what tells shapes."""

NAMES_ONLY = {"name", "source", STIMULUS, SITE}
"""Of a recording's variables and attributes, those that change no number; a run carries all others, so they key it."""

WITH_EVERY_RUN = ("reliability", "neural_correlation")
"""Analyses that take no time and that the page shows everywhere."""


def match(
    network: Network,
    recording: Recording,
    *,
    top: int = 100,
    device: str = "auto",
    memory: str | int = "4GiB",
    folds: int = 2,
    shuffles: int = 30,
    seed: int = 0,
    batch: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool | Progress = True,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Run:
    """Find, for every site, the units of a network that correlate best with it, and store what was found.

    A run that the store already holds is returned at once; an interrupted one goes on after its last finished layer.

    Parameters
    ----------
    network
        From ``load_network`` or ``Network.from_module``. Its layers are those of ``network.layers``.
    recording
        From ``open_recording`` or ``Recording.from_arrays``.
    top
        Units kept for each site: the match at rank 0, then its runner-ups.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"``: a GPU where there is one.
    memory
        Bound of the peak above the process with the network loaded and used once, such as ``"4GiB"``; on CUDA of the
        device's reserved memory without the weights. It decides how many passes over the stimuli are made.
    folds
        Parts for held-out values: selection on all parts but one, scoring on that one. 1: no held-out values.
    shuffles
        Shuffled sites for each region, matched like the others: what chance gives.
    seed
        Of the folds and the shuffles.
    batch
        Stimuli at a time; by default as many as fit. It changes no stored number by more than rounding.
    store
        Folder of the store; else ``UNITSCOPE_STORE``, else the user's data folder.
    progress
        Whether to show a progress bar; or what is told the step, and how many of how many stimuli are done over all
        passes.
    workers
        Share the work out among so many processes of this machine, each with one thread and ``memory``; started for
        this call. In a script, call it below ``if __name__ == "__main__":``. Needs ``unitscope[cluster]``.
    scheduler
        Address of a Dask scheduler that runs already, whose workers are used instead, each with ``memory``.

    Returns
    -------
    Run
        With the datasets of ``engine.schema.RUN_SCHEMAS`` and the analyses ``reliability`` and ``neural_correlation``.

    Raises
    ------
    SettingsError, MemoryBudgetError, LayerError
        Before the first forward pass.
    StoreError
        If the result cannot be written; finished layers are kept where they could be.
    ClusterError
        If workers cannot be started or reached, are not as they must be, or die again and again.

    References
    ----------
    Arend, Han, Schrimpf, Bashivan, Kar, Poggio, DiCarlo & Boix (2018), "Single units in a deep neural network
    functionally correspond with neurons in the brain: preliminary results", CBMM Memo 93.
    """
    settings, root = MatchSettings(top, folds, seed, shuffles), store_root(store)
    if workers is not None or scheduler is not None:
        from engine.dispatch import match_all

        how = {"workers": workers, "scheduler": scheduler, "device": device, "memory": memory, "batch": batch}
        (shared,) = match_all(network, [recording], settings, root, progress=progress, **how)  # type: ignore[arg-type]
        return shared
    job = Job(network, recording, settings, choose_device(device), memory, batch)
    run = find_run(root, job.digest)
    if run is None:
        job.require_room()
        with run_lock(root, job.digest):
            run = find_run(root, job.digest) or job.compute(root, show=progress)
    return completed(root, run)


def completed(root: Path, run: Run) -> Run:
    """Add to a run that is there what every run carries, and remove what was kept to resume it."""
    parts = open_parts(root, run.digest)
    if parts.folder.exists():
        parts.discard()
    for name in WITH_EVERY_RUN:
        analyse(run, name)
    return run


def plan_match(
    network: Network,
    recording: Recording,
    *,
    top: int = 100,
    device: str = "auto",
    memory: str | int = "4GiB",
    folds: int = 2,
    shuffles: int = 30,
    seed: int = 0,
    batch: int | None = None,
) -> Plan:
    """Return the plan that ``match`` with the same arguments would follow, without running it."""
    job = Job(network, recording, MatchSettings(top, folds, seed, shuffles), choose_device(device), memory, batch)
    job.require_room()
    with job.ready():
        return job.plan(network.layers["name"].tolist())


class Job:
    """One match: its inputs checked, its digest known, nothing computed yet."""

    def __init__(
        self,
        network: Network,
        recording: Recording,
        settings: MatchSettings,
        device: torch.device,
        memory: str | int,
        batch: int | None,
    ) -> None:
        if network.layers.empty:
            raise LayerError(
                f"{network.name} has no layers to match. Name some: Network.from_module(..., layers=[...])."
            )
        self.network, self.recording, self.settings, self.device, self.batch = (
            network,
            recording,
            settings,
            device,
            batch,
        )
        self.memory = parse_memory(memory)
        if batch is not None and (not isinstance(batch, Integral) or batch < 1):
            raise SettingsError(f"batch={batch!r}: a whole number of stimuli of at least 1 is needed, or None.")
        self.folds = assign_folds(recording.data, settings.folds, settings.seed)
        self.targets: Targets = make_targets(recording.data, self.folds, shuffles=settings.shuffles, seed=settings.seed)
        self.digests = {
            "network": network_digest(network),
            "stimuli": stimuli_digest(recording.stimuli),
            "responses": responses_digest(recording),
        }
        matched = match_digest(
            self.digests["network"],
            self.digests["stimuli"],
            self.digests["responses"],
            network.layers["name"].tolist(),
            settings.as_dict(),
            algorithm=ALGORITHM,
        )
        carried = sorted({*map(str, recording.data.variables), *recording.data.attrs} - NAMES_ONLY)
        self.digest = digest_of(
            {"match": matched, "carried": carried, "recording": recording_digest(recording, carried)}
        )

    def require_room(self) -> None:
        """Refuse a memory that is too small."""
        require_room(self._sizes(self.network.layers["name"].tolist()), self._ways(), self.memory)

    def plan(self, layers: list[str]) -> Plan:
        """Plan the passes over ``layers``; inside ``ready``, since the steps are tried first."""
        costs = measure_costs(self.network, self.recording.stimuli, self.targets, self.device)
        return self._with_stops(layers, costs, self.planner(costs)(layers))

    def _with_stops(self, layers: list[str], costs: Costs, plan: Plan) -> Plan:
        """Return a plan whose passes go on where others stopped, if the network has such cuts and it is faster."""
        seconds, way = costs.seconds(self.targets), self._resumed()
        if self.batch or plan.seconds - seconds.least(self._sizes(layers), way) < LOOK_S:
            return plan
        inputs = self.network.inputs(self.recording.stimuli, self.targets.stimuli[:2].tolist()).to(self.device)
        found = find_cuts(self.network, inputs)
        sizes, cuts = self._sizes(self.network.layers["name"].tolist()), set(found.layers)
        walk_s = found.walk_s * -(-len(self.targets.stimuli) // way.batch)
        while True:
            other = plan_stops(sizes, layers, cuts, way, seconds, walk_s=walk_s, memory=self.memory)
            if other is None or other.seconds >= plan.seconds:
                return plan
            used = {cut for cut in other.cuts if cut is not None}
            wrong = used - set(confirmed(self.network, used, inputs))
            if not wrong:
                return other
            cuts -= wrong

    def planner(self, costs: Costs) -> Callable[[Sequence[str]], Plan]:
        """Return what plans the passes over some layers, where the steps cost that much."""
        sizes = {one.name: one for one in self._sizes(self.network.layers["name"].tolist())}
        ways, seconds = self._ways(), costs.seconds(self.targets)
        inputs_bytes = len(self.targets.stimuli) * self._input_bytes()
        return lambda layers: plan_passes(
            [sizes[name] for name in layers], ways, seconds, inputs_bytes=inputs_bytes, memory=self.memory
        )

    def _sizes(self, layers: list[str]) -> list[LayerSize]:
        table = self.network.layers
        chosen = table[table["name"].isin(layers)]
        return [LayerSize(name, int(units)) for name, units in zip(chosen["name"], chosen["units"], strict=True)]

    def _ways(self) -> list[Way]:
        """Activations held, unless the caller chose a batch; or products summed, by batch size."""
        n_stimuli = len(self.targets.stimuli)
        batches = [self.batch] if self.batch else sorted({min(size, n_stimuli) for size in BATCHES}, reverse=True)
        ways = [self._summed(batch) for batch in batches]
        return ways if self.batch else [self._held(), *ways]

    def _held(self) -> Way:
        targets, batch = self.targets, fixed_batch(self.device)
        fixed = self._fixed_bytes(batch) + held_bytes(targets, self.settings.top, self._widest(), self.device)
        return Way(True, batch, 4 * len(targets.stimuli), fixed)

    def _resumed(self) -> Way:
        """Activations held, and beside them what it takes to go on at a cut: two copies of a batch of its output."""
        way, widest = self._held(), int(self.network.layers["units"].max())
        return replace(way, fixed_bytes=way.fixed_bytes + SHAPES_BYTES + 2 * way.batch * 4 * widest)

    def _summed(self, batch: int) -> Way:
        targets = self.targets
        per_unit = PairMoments.bytes_per_unit(
            targets.n_folds, targets.n_columns, targets.n_patterns, product_dtype(targets, batch)
        )
        fixed = self._fixed_bytes(max(batch, fixed_batch(self.device))) + ranking_bytes(targets, self._widest())
        return Way(False, batch, per_unit, fixed)

    def _fixed_bytes(self, batch: int) -> int:
        """What lives beside the sums or activations: results, and a batch in its forward pass."""
        live = LIVE_LAYERS * 4 * max(self.network.largest_output, int(self.network.layers["units"].max()))
        results = result_bytes(self.targets, self.settings.top, self.network.layers, THUMBNAIL)
        return results + batch * (live + 2 * self._input_bytes())

    def _input_bytes(self) -> int:
        return 4 * 3 * int(np.prod(self.network.image_size))

    def _widest(self) -> int:
        return int((self.network.layers["height"] * self.network.layers["width"]).max())

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the network on its device, exact and fast, inside the ``with``; a full memory is told in a sentence."""
        with (
            _told_if_full(),
            on_device(self.network, self.device),
            exact_float32(),
            freed_memory_kept(),
            fast_max_pooling(self.network.module),
        ):
            yield

    def begin(self, root: Path) -> tuple[Parts, list[str]]:
        """Return the parts that are there, and the layers that are missing; the caller holds the run's lock."""
        parts = open_parts(root, self.digest, self._about())
        return parts, [name for name in self.network.layers["name"] if name not in parts]

    def compute(self, root: Path, *, show: bool | Progress) -> Run:
        """Compute what is missing and write the run; the caller holds its lock."""
        parts, todo = self.begin(root)
        started = time.monotonic()
        with self.ready():
            plan = self.plan(todo) if todo else None
            with _bar(self, plan, show=show) as progress:
                matching = self.matching(progress, keeps_inputs=plan is not None and plan.keeps_inputs)
                done, room = {}, (plan.memory - plan.peak) // 2 if plan is not None else 0
                with written_beside(parts) as write:
                    for name, result in self.results(matching, plan) if plan is not None else ():
                        write(name, result)
                        done[name] = result if result.nbytes <= room else _lean(result)
                        room -= done[name].nbytes
                datasets = self.merged(parts, partial(collect_responses, matching), done)
        return self.write(root, datasets, time.monotonic() - started, plan.describe() if plan else "resumed")

    def matching(self, progress: Progress, *, keeps_inputs: bool = False) -> Matching:
        """What a pass needs, and what outlives it."""
        return Matching(
            self.network,
            self.recording.stimuli,
            self.targets,
            top=self.settings.top,
            device=self.device,
            keeps_inputs=keeps_inputs,
            progress=progress,
        )

    def results(self, matching: Matching, plan: Plan) -> Iterator[tuple[str, xr.Dataset]]:
        """Follow the plan, inside ``ready``; yield the result of every layer as soon as it is there."""
        arena = Arena(self._arena_bytes(plan), self.device) if plan.is_held else None
        for group, cut, keep in plan.steps():
            if arena is None:
                yield from matching.stream(group, plan.batch)
            else:
                yield from matching.hold(group, arena, cut=cut, keep=keep)

    def write(self, root: Path, datasets: Mapping[str, xr.Dataset], seconds: float, plan: str) -> Run:
        """Write the run, which says how it was computed."""
        compute = {"device": str(self.device), "seconds": round(seconds, 1), "plan": plan}
        with _told_if_full():
            return write_run(root, self.digest, datasets, {**self._about(), "compute": compute})

    def _arena_bytes(self, plan: Plan) -> int:
        units, n_stimuli = self.network.layers.set_index("name")["units"], len(self.targets.stimuli)

        def bytes_for(names: Iterable[str]) -> int:
            return sum(Arena.bytes_for(n_stimuli, int(units[name])) for name in names)

        return max(
            bytes_for({*group, *filter(None, [keep])}) + bytes_for(filter(None, [cut]))
            for group, cut, keep in plan.steps()
        )

    def merged(
        self, parts: Parts, collect_others: Collect, done: Mapping[str, xr.Dataset] = MappingProxyType({})
    ) -> dict[str, xr.Dataset]:
        """Merge all layers into what a run holds: those that are ``done`` here, others from their parts.

        ``collect_others`` gives activations that the parts lack.
        """
        layers = self.network.layers["name"].tolist()
        results = {name: done[name] if name in done else _lean(parts.read(name)).copy(deep=True) for name in layers}
        recording, ids = self.recording.data, self.recording.data[STIMULUS].values.astype(str)

        def collect(units: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            held = [name for name in units if "kept" in results[name]]

            def rows_of(name: str) -> np.ndarray | None:
                result = results[name] if "activation" in results[name] else parts.read(name)
                return _kept_rows(result, units[name])

            with ThreadPoolExecutor(2) as readers:  # not more: each has a whole part in memory
                rows = readers.map(rows_of, held)
                kept = {name: found for name, found in zip(held, rows, strict=True) if found is not None}
            others = {name: index for name, index in units.items() if name not in kept}
            return kept | collect_others(others)

        with ThreadPoolExecutor(1) as beside:
            pixels = beside.submit(self.recording.stimuli.thumbnails, THUMBNAIL)
            merged = merge_layers(results, recording, self.targets, self.network.layers, self.settings.top, collect)
        merged["match_responses"] = merged["match_responses"].reindex({STIMULUS: ids}, copy=False)
        thumbnails = xr.Dataset(
            {"pixels": ((STIMULUS, "pixel_y", "pixel_x", "colour"), pixels.result())},
            {STIMULUS: ids},
            {"licence": recording.attrs.get("licence", "unknown")},
        )
        return {"recording": recording, "thumbnails": thumbnails, "folds": self.folds.to_dataset(), **merged}

    def _about(self) -> dict[str, Any]:
        network, recording = self.network, self.recording
        regions, counts = np.unique(recording.data[REGION].values.astype(str), return_counts=True)
        return {
            "network": {
                "name": network.name,
                "layers": len(network.layers),
                "units": int(network.layers["units"].sum()),
                **network.metadata,
            },
            "recording": {
                "name": recording.name,
                "sites": dict(zip(regions.tolist(), counts.tolist(), strict=True)),
                "stimuli": recording.data.sizes[STIMULUS],
                **{name: value for name, value in recording.data.attrs.items() if name != "name"},
            },
            "settings": {key: value for key, value in self.settings.as_dict().items() if key != "seed"},
            "seed": self.settings.seed,
            "versions": {
                **{name: version(name) for name in ("unitscope", "torch", "numpy", "xarray", "zarr")},
                "python": platform.python_version(),
                "algorithm": ALGORITHM,
            },
            "digests": self.digests,
        }


@contextmanager
def _told_if_full() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise memory_is_full(error, "in the middle of a match, of which finished layers are kept") from error


def _lean(result: xr.Dataset) -> xr.Dataset:
    """A layer's result without the activations that it kept: of few layers are they needed, and then once."""
    return result.drop_vars("activation", errors="ignore")


def _kept_rows(result: xr.Dataset, units: np.ndarray) -> np.ndarray | None:
    """Activations of the units, (unit, stimulus), if the layer's pass kept all of them."""
    if not np.isin(units, result["kept"].values).all():
        return None
    return result["activation"].values[np.searchsorted(result["kept"].values, units)]


@contextmanager
def _bar(job: Job, plan: Plan | None, *, show: bool | Progress) -> Iterator[Progress]:
    """Show progress over all passes, one that scores the candidates included; or tell it to ``show``."""
    n = len(job.targets.stimuli)
    passes = len(plan.passes) + (not plan.is_held) if plan else 1
    label = f"{job.network.name} @ {job.recording.name}"
    with tqdm(total=n * passes, desc=label, unit="image", disable=show is not True, leave=True) as bar:
        last = n_done = 0

        def advance(step: str, done: int, total: int) -> None:
            nonlocal last, n_done
            n_new = done - last if done > last else done
            last, n_done = 0 if done == total else done, n_done + n_new
            bar.set_postfix_str(step, refresh=False)
            bar.update(n_new)
            if callable(show):
                show(step, min(n_done, n * passes), n * passes)

        yield advance
