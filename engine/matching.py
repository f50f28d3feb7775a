"""How well every unit of every layer matches every site: one pass over the stimuli for each group of layers.

A pass starts at the images, or goes on at a layer whose output an earlier one kept. It either holds the activations of
its layers for all stimuli, or sums their products with every column batch by batch. Both give one result for each
layer, small enough to store at once: candidates for the best units, over all stimuli and over each selection set,
counts of units by r, the best position of every feature map, and chance. Of held layers the best r of each site is that
of float64 already, and the activations of what may be among the network's best are kept.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from errno import ENOMEM
from functools import partial
from itertools import pairwise
from math import prod
from numbers import Integral
from typing import TypeVar

import numpy as np
import torch
import xarray as xr

from engine.activations import input_batches, recorded
from engine.allocation import give_back_freed
from engine.blocks import Arena, Block
from engine.errors import CutError, LayerError, MemoryBudgetError, SettingsError
from engine.exact import correlate_pairs
from engine.moments import PairMoments, TargetSums, product_dtype
from engine.networks import Network
from engine.ranking import Candidates, below_best, near_best
from engine.resuming import resumed
from engine.schema import MARGIN, STIMULUS
from engine.stimuli import Stimuli
from engine.summaries import LayerSummary, Piece, layer_dataset, maps_at_once, splits_of, summarise
from engine.targets import Targets
from engine.tiling import Columns, TileSums, summarise_block, tile_threads

ALGORITHM = 4
"""Raised whenever a number that a run stores can change."""

AT_ONCE = 64
"""Held stimuli that one float32 product sums over in the general path."""

PAIRS = 2**18
"""Pairs of a unit and a column that are scored at a time from sums."""

_FULL = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "could not create a memory object",
)
_NO_THREAD = "can't start new thread"
"""What torch's allocator, its libraries and Python say of a full memory, where the type of the error does not."""

Passed = TypeVar("Passed")

Progress = Callable[[str, int, int], None]
"""Told the step, and how many of how many stimuli are done."""


@dataclass(frozen=True)
class MatchSettings:
    """What, besides network and recording, changes the numbers of a run."""

    top: int = 100
    folds: int = 2
    seed: int = 0
    shuffles: int = 30

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("folds", 1), ("seed", 0), ("shuffles", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name}={value!r}: a whole number of at least {least} is needed.")

    def as_dict(self) -> dict[str, int]:
        """The settings by name."""
        return {name: int(value) for name, value in asdict(self).items()}


def choose_device(device: str) -> torch.device:
    """Return the device that ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"`` names.

    Raises
    ------
    SettingsError
        If it is unknown, or this torch cannot use it here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise SettingsError(f"device={device!r} is unknown. Choose 'auto', 'cpu', 'cuda' or 'cuda:N'.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device={device!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here. "
            "Choose 'cpu', or install a torch built for your GPU."
        )
    return torch.device(device)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Multiply and convolve in full float32: no TF32, no bfloat16. What the user had set comes back afterwards."""
    backends = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]
        torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
        torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
    )
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def fixed_batch(device: torch.device) -> int:
    """Stimuli at a time for activations that are kept: float32 ones may differ by rounding between batch sizes."""
    return 16 if device.type == "cpu" else 64


def halving(run: Callable[[int], Passed], batch: int) -> Passed:
    """Return what ``run`` gives for a batch size, halved and begun again whenever memory is not enough.

    Raises
    ------
    MemoryBudgetError
        If not even one stimulus at a time fits.
    """
    while True:
        try:
            return run(batch)
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            if batch == 1:
                raise memory_is_full(error) from error
        batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, of a GPU or of the processor."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in (*_FULL, _NO_THREAD))


def memory_is_full(error: BaseException, when: str = "with one stimulus at a time") -> MemoryBudgetError:
    """Return the error for people."""
    where = "the GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "this machine's memory"
    return MemoryBudgetError(
        f"{where} is full {when}; another program may be using it, or a limit is set for this "
        "process (ulimit -v, a container's). Give a smaller memory=, so that fewer layers share a pass, or free memory."
    )


class Matching:
    """A network, stimuli and columns, and the best r of each site so far, which only rises from layer to layer."""

    def __init__(
        self,
        network: Network,
        stimuli: Stimuli,
        targets: Targets,
        *,
        top: int,
        device: torch.device,
        keeps_inputs: bool = False,
        progress: Progress,
    ) -> None:
        self.network, self.stimuli, self.targets = network, stimuli, targets
        self.top, self.device, self.progress = top, device, progress
        self.n_threads = torch.get_num_threads()
        self.best = BestSoFar(len(splits_of(targets.n_folds)), targets.n_sites, top)
        self.columns = Columns(targets)
        self.in_tiles = device.type == "cpu" and targets.n_patterns == 1
        self.edges: list[int] = np.append(np.flatnonzero(np.diff(targets.fold, prepend=-1)), len(targets.fold)).tolist()
        self.index = {name: k for k, name in enumerate(network.layers["name"])}
        self.shapes = {
            row.name: (int(row.channels), int(row.height), int(row.width))
            for row in network.layers.itertuples(index=False)
        }
        self._keeps_inputs = keeps_inputs
        self._kept: dict[int, torch.Tensor] = {}
        self._cut: tuple[str, Block] | None = None

    def inputs(self, batch: int, step: str, edges: Sequence[int] = ()) -> Generator[tuple[int, torch.Tensor]]:
        """Yield the first stimulus and the network input, on the device, of every batch; none crosses an edge."""
        n = len(self.targets.stimuli)
        edges = [0, *edges, n]
        spans = [slice(s, min(s + batch, b)) for a, b in pairwise(edges) for s in range(a, b, batch)]
        for span, inputs in self._decoded(spans):
            if self.device.type == "cuda":
                inputs = inputs.pin_memory()
            yield span.start, inputs.to(self.device, non_blocking=True)
            self.progress(step, span.stop, n)

    def _decoded(self, spans: Sequence[slice]) -> Iterator[tuple[slice, torch.Tensor]]:
        if len(self._kept) == len(self.targets.stimuli):
            yield from ((span, torch.stack([self._kept[k] for k in range(span.start, span.stop)])) for span in spans)
            return
        for span, inputs in input_batches(self.network, self.stimuli, self.targets.stimuli, spans):
            if self._keeps_inputs:
                self._kept.update(zip(range(span.start, span.stop), inputs, strict=True))
            yield span, inputs

    def stream(self, layers: Sequence[str], batch: int) -> Iterator[tuple[str, xr.Dataset]]:
        """Pass once over the stimuli, summing, and yield the result of each layer, in order.

        Parameters
        ----------
        layers
            Names of the layers of this pass; their sums are held together.
        batch
            Stimuli at a time. It changes r by rounding only.

        Yields
        ------
        tuple of str and xr.Dataset
            Layer name, and the dataset that ``summaries.layer_dataset`` gives.
        """
        ordered = sorted(layers, key=self.index.__getitem__)
        if self.in_tiles:
            sums = halving(lambda size: self._tile_sums(ordered, size), batch)
            for name in ordered:
                own = sums.pop(name)
                summary = own.summarise(self.index[name], self.top, self.n_threads)
                yield name, self._result(name, summary, own.left_out_r)
        else:
            moments = halving(lambda size: self._pair_moments(ordered, size), batch)
            for name in ordered:
                yield name, self._summed_result(name, moments.pop(name))

    def _tile_sums(self, layers: list[str], batch: int) -> dict[str, TileSums]:
        dtype = np.float32 if product_dtype(self.targets, batch) == torch.float32 else np.float64
        sums = {name: TileSums(self.shapes[name], self.columns, dtype) for name in layers}
        with tile_threads(self.n_threads) as in_threads:
            start = 0

            def add(name: str, activation: torch.Tensor) -> None:
                sums[name].add(activation, start, int(self.targets.fold[start]), in_threads)

            with recorded(self.network, layers, add, channelwise=True) as run_forward:
                for start, inputs in self.inputs(batch, "matching", self.edges[1:-1]):  # noqa: B007 (read in the hook)
                    run_forward(inputs)
        return sums

    def _pair_moments(self, layers: list[str], batch: int) -> dict[str, PairMoments]:
        sums, products = TargetSums(self.targets, self.device), product_dtype(self.targets, batch)
        moments = {name: PairMoments(prod(self.shapes[name]), sums, products) for name in layers}
        start = 0

        def add(name: str, activation: torch.Tensor) -> None:
            moments[name].add(activation, start, int(self.targets.fold[start]))

        with recorded(self.network, layers, add) as run_forward:
            for start, inputs in self.inputs(batch, "matching", self.edges[1:-1]):  # noqa: B007 (read in the hook)
                run_forward(inputs)
        return moments

    def hold(
        self, layers: Sequence[str], arena: Arena, *, cut: str | None = None, keep: str | None = None
    ) -> Iterator[tuple[str, xr.Dataset]]:
        """Pass once over the stimuli, holding every activation, and yield the result of each layer, in order.

        Parameters
        ----------
        layers
            Names of the layers of this pass.
        arena
            Room for all of their activations, and for what is kept of ``cut`` and ``keep``.
        cut
            The layer where this pass goes on, which an earlier one kept; None: it starts at the images.
        keep
            A layer whose output is kept for later passes, in the place of what was kept before.

        Yields
        ------
        tuple of str and xr.Dataset
            As ``stream``, and ``kept`` (kept,) units with their ``activation`` (kept, stimulus) float32.
        """
        start = self._cut if cut is not None else None
        shapes = {name: self.shapes[name] for name in (*layers, keep) if name is not None}
        kept = start[1] if start is not None else None
        blocks = arena.blocks(len(self.targets.stimuli), shapes, kept=kept, outlasting=keep)
        self._fill(blocks, start)
        if keep is not None:
            self._cut = keep, blocks[keep]
        ordered = sorted(layers, key=self.index.__getitem__)
        with ThreadPoolExecutor(1) as scorer:  # numbers a layer's best while the next one's units are multiplied
            scored: Future[xr.Dataset] | None = None
            for name, before in zip(ordered, ["", *ordered], strict=False):
                joined = self._summarised(name, blocks[name])
                if scored is not None:
                    yield before, scored.result()
                scored = scorer.submit(self._held_result, name, blocks[name], joined)
            if scored is not None:
                yield ordered[-1], scored.result()

    def _fill(self, blocks: dict[str, Block], cut: tuple[str, Block] | None) -> None:
        """Pass once over the stimuli, from what is kept of a cut on if the network bears it."""

        def fill(cut: tuple[str, Block] | None, batch: int) -> None:
            start = 0

            def put(name: str, activation: torch.Tensor) -> None:
                blocks[name].put(start, activation)

            batches = self.inputs(batch, "matching") if cut is None else self._resumed(batch, *cut)
            with recorded(self.network, list(blocks), put, channelwise=True) as run_forward, closing(batches):
                for start, inputs in batches:  # noqa: B007 (read in the hook)
                    run_forward(inputs)

        try:
            halving(partial(fill, cut), fixed_batch(self.device))
        except (CutError, LayerError):
            if cut is None:
                raise
            halving(partial(fill, None), fixed_batch(self.device))

    def _resumed(self, batch: int, cut: str, block: Block) -> Generator[tuple[int, torch.Tensor]]:
        """Yield, as ``inputs``, what makes the network go on at a cut; nothing is decoded."""
        n = len(self.targets.stimuli)
        give_back_freed()  # a pass that starts elsewhere needs pieces of other sizes
        first = self.network.inputs(self.stimuli, self.targets.stimuli[:1].tolist()).to(self.device)
        with resumed(self.network, cut, block, first) as begin:
            for start in range(0, n, batch):
                stop = min(start + batch, n)
                yield start, begin(slice(start, stop))
                self.progress("matching", stop, n)

    def _summed_result(self, name: str, moments: PairMoments) -> xr.Dataset:
        area = prod(self.shapes[name][1:])
        step = maps_at_once(self.targets, area) * area
        pieces = (
            Piece(moments, slice(first, min(first + step, moments.n_units)), first)
            for first in range(0, moments.n_units, step)
        )
        summary = summarise(pieces, self.index[name], self.shapes[name], self.top, self.targets)

        def left_out_r(fold: int, column: np.ndarray, unit: np.ndarray) -> np.ndarray:
            pairs = torch.from_numpy(np.stack([column, unit])).to(self.device)
            parts = [moments.correlation_at([fold], *chunk).cpu().numpy() for chunk in pairs.split(PAIRS, dim=1)]
            return np.concatenate([np.empty(0), *parts])

        return self._result(name, summary, left_out_r)

    def _summarised(self, name: str, block: Block) -> Callable[[], LayerSummary]:
        if self.in_tiles:
            return summarise_block(block, self.index[name], self.top, self.columns, self.n_threads)
        summary = summarise(self._pieces(block), self.index[name], self.shapes[name], self.top, self.targets)
        return lambda: summary

    def _held_result(self, name: str, block: Block, joined: Callable[[], LayerSummary]) -> xr.Dataset:
        summary = joined()
        found, reached = summary.candidates, self.best.reached_by(summary.candidates)
        near = near_best(found[0])
        left_out = [summary.null_unit[1:].ravel(), *(own.unit for own in found[1:])]
        units = np.unique(np.concatenate([found[0].unit[near], reached, *left_out]))
        activation = block.of_units(units, self.n_threads)
        response, fold = self.targets.column_response(), self.targets.fold

        def correlate(chosen: np.ndarray, column: np.ndarray, unit: np.ndarray) -> np.ndarray:
            rows = np.searchsorted(units, unit)
            return correlate_pairs(activation, rows, column, response, chosen, n_threads=self.n_threads)

        found[0].r[near] = correlate(fold >= 0, found[0].column[near], found[0].unit[near])
        found[0].r = below_best(found[0], near, near)

        def left_out_r(out: int, column: np.ndarray, unit: np.ndarray) -> np.ndarray:
            return correlate(fold == out, column, unit)

        result = self._result(name, summary, left_out_r)
        kept = np.searchsorted(units, reached)
        return result.assign(kept=("kept", units[kept]), activation=(("kept", STIMULUS), activation[kept]))

    def _pieces(self, block: Block) -> Iterator[Piece]:
        sums = TargetSums(self.targets, self.device)
        area, channels = block.order.area, block.order.channels
        step = maps_at_once(self.targets, area)
        for first in range(0, channels, step):
            activation = block.maps(slice(first, min(first + step, channels)))
            moments = PairMoments(activation.shape[1], sums, product_dtype(self.targets, AT_ONCE))
            for fold, (begin, end) in enumerate(pairwise(self.edges)):
                for start in range(begin, end, AT_ONCE):
                    moments.add(activation[start : min(start + AT_ONCE, end)], start, fold)
            yield Piece(moments, slice(0, moments.n_units), first * area)

    def _result(
        self, name: str, summary: LayerSummary, left_out_r: Callable[[int, np.ndarray, np.ndarray], np.ndarray]
    ) -> xr.Dataset:
        outs = range(len(summary.candidates) - 1)
        of_candidates = [left_out_r(out, c.column, c.unit) for out, c in enumerate(summary.candidates[1:])]
        shuffles = self.targets.n_sites + np.arange(summary.null_unit.shape[1])
        of_nulls = np.full(summary.null_r.shape, np.nan)
        for out in outs:
            is_ranked = np.isfinite(summary.null_r[out + 1])
            unit = summary.null_unit[out + 1]
            of_nulls[out + 1] = np.where(is_ranked, left_out_r(out, shuffles, unit), np.nan)
        return layer_dataset(summary, of_candidates, of_nulls, self.shapes[name][2], self.targets)


class BestSoFar:
    """The ``top`` best r of each site and split among the layers seen so far."""

    def __init__(self, n_splits: int, n_sites: int, top: int) -> None:
        self._r = np.full((n_splits, n_sites, top), -np.inf)

    def reached_by(self, candidates: Sequence[Candidates]) -> np.ndarray:
        """Take in a layer's candidates, by split; return the units, sorted, that may be among the network's best."""
        reached = [np.empty(0, np.int64)]
        for own, found in zip(self._r, candidates, strict=True):
            rank = found.rank()
            own_r = np.full(own.shape, -np.inf)
            first = rank < own.shape[1]
            own_r[found.column[first], rank[first]] = found.r[first]
            own[:] = -np.sort(-np.concatenate([own, own_r], axis=1), axis=1)[:, : own.shape[1]]
            reached.append(found.unit[found.r >= own[found.column, -1] - 2 * MARGIN])  # r may change by rounding yet
        return np.unique(np.concatenate(reached))
