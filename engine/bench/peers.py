"""How long do the usual ways take? Plain hooks and numpy, activations on disk and numpy, FAISS, THINGSvision.

Each does what its user would write, in its own code, and shares nothing with ``engine.match``: activations of all
stimuli, centred and of norm 1, one product with the sites, the best units of each. What does not fit into the memory
goes by groups of layers, with a forward pass for each group.
"""

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory, gettempdir
from time import perf_counter
from warnings import catch_warnings, simplefilter

import numpy as np
import torch

from engine.bench.extraction import held_activations, hooked
from engine.bench.settings import BenchSettings
from engine.networks import Network
from engine.planning import format_bytes, parse_memory
from engine.recordings import Recording

BATCH = 32
"""Images at a time in a peer's forward pass."""

UNITS_AT_ONCE = 2**16
"""Units that FAISS is given at a time."""

TITLES = {
    "numpy": "numpy in memory",
    "hooks": "hooks to disk, numpy",
    "faiss": "FAISS IndexFlatIP",
    "thingsvision": "THINGSvision to disk, numpy",
}

_NO_THINGSVISION = (
    "not installed: pip install thingsvision, in an environment of its own (2.7.3 asks for numpy<2 and torchvision "
    "0.15.2; unitscope for numpy>=2); the peer 'hooks' takes the same steps"
)


@dataclass(frozen=True)
class PeerTask:
    """What a peer is given."""

    network: Network
    recording: Recording
    z: np.ndarray
    """(stimulus, site) float32, mean 0 and norm 1, of the sites that saw every stimulus."""
    complete: np.ndarray
    """(site,) whether a site saw every stimulus; peers know nothing of missing responses."""
    top: int
    memory: int
    """Bytes that activations may take."""

    @classmethod
    def of(cls, network: Network, recording: Recording, settings: BenchSettings, top: int = 100) -> "PeerTask":
        """Prepare what is not timed: the responses."""
        response = recording.data["response"].transpose("stimulus", "site").values
        complete = np.isfinite(response).all(0)
        z = standardised(response[:, complete]).astype(np.float32)
        return cls(network, recording, z, complete, top, parse_memory(settings.memory))

    def inputs(self) -> Iterator[torch.Tensor]:
        """Yield the network input of every batch."""
        ids = self.recording.stimuli.ids
        for first in range(0, len(ids), BATCH):
            yield self.network.inputs(self.recording.stimuli, ids[first : first + BATCH])

    def groups(self) -> list[list[str]]:
        """Consecutive layers whose activations fit into memory together, beside two copies of the largest."""
        sizes = {name: 4 * len(self.z) * int(n) for name, n in self.network.layers[["name", "units"]].values}
        room = self.memory - 2 * max(sizes.values())
        groups: list[list[str]] = []
        held = room + 1
        for name, size in sizes.items():
            if held + size > room:
                groups.append([])
                held = 0
            groups[-1].append(name)
            held += size
        return groups


@dataclass
class Found:
    """The best units so far, by site."""

    top: int
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    """r, unit and layer, (site, candidate), of each layer."""

    def add_all(self, layer: str, r: np.ndarray) -> None:
        """Take the best of r (site, unit)."""
        k = min(self.top, r.shape[1])
        unit = np.stack([np.argpartition(row, -k)[-k:] for row in r])
        self.add(layer, np.take_along_axis(r, unit, 1), unit)

    def add(self, layer: str, r: np.ndarray, unit: np.ndarray) -> None:
        """Take candidates, (site, candidate)."""
        self.parts.append((r, unit, np.full(r.shape, layer)))

    def best(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return r, layer and unit, (site, rank), r falling."""
        r, unit, layer = (np.concatenate(part, axis=1) for part in zip(*self.parts, strict=True))
        order = np.argsort(-r, axis=1)[:, : self.top]
        r, unit, layer = (np.take_along_axis(part, order, 1) for part in (r, unit, layer))
        return r, layer, unit


@dataclass(frozen=True)
class PeerRun:
    """What a peer found, and what it took."""

    seconds: float
    passes: int
    """Forward passes over all stimuli."""
    r: np.ndarray
    """(site, rank), falling along rank; only sites that saw every stimulus."""
    layer: np.ndarray
    unit: np.ndarray


def peer_problem(name: str, network: Network, recording: Recording) -> str | None:
    """Say why a peer cannot run here, None if it can."""
    if name == "faiss" and find_spec("faiss") is None:
        return 'not installed: pip install faiss-cpu, or pip install "unitscope[bench]"'
    if name == "thingsvision" and find_spec("thingsvision") is None:
        return _NO_THINGSVISION
    if name == "thingsvision" and network.layers["name"].str.contains("@").any():
        return "not run: it cannot name the second call of a module"
    if not np.isfinite(recording.data["response"].transpose("stimulus", "site").values).all(0).any():
        return "not run: every site has missing responses, which peers know nothing of"
    needed = 4 * len(recording.stimuli) * int(network.layers["units"].sum())
    needed *= {"hooks": 1, "thingsvision": 2}.get(name, 0)  # THINGSvision writes parts, then joins them
    free = disk_usage(gettempdir()).free
    if needed > free:
        return (
            f"not run: it writes {format_bytes(needed)} to {gettempdir()}, where {format_bytes(free)} are free; "
            "set TMPDIR to a larger disk"
        )
    return None


def run_peer(name: str, task: PeerTask) -> PeerRun:
    """Time one peer from the images to the best units of every site."""
    peer: Callable[[PeerTask, Found], int] = _PEERS[name]
    found = Found(task.top)
    with torch.inference_mode():
        start = perf_counter()
        passes = peer(task, found)
        best = found.best()
        return PeerRun(perf_counter() - start, passes, *best)


def standardised(x: np.ndarray) -> np.ndarray:
    """Return x (stimulus, column) with mean 0 and norm 1 in every column, in place where it can be; constant: 0."""
    x = np.require(x, requirements="W")
    x -= x.mean(0)
    norm = np.sqrt(np.einsum("ij,ij->j", x, x))
    norm[norm == 0] = np.inf
    x /= norm
    return x


def numpy_in_memory(task: PeerTask, found: Found) -> int:
    """Hold the activations of all stimuli, multiply, choose."""
    for group in task.groups():
        for name, x in held_activations(task.network.module, task.inputs(), group):
            found.add_all(name, task.z.T @ standardised(x))
    return len(task.groups())


def hooks_to_disk(task: PeerTask, found: Found) -> int:
    """Write a ``.npy`` of each layer in one pass, then read them one by one."""
    table = task.network.layers
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{number}.npy") for number, name in enumerate(table["name"])}
        files = {
            name: np.lib.format.open_memmap(paths[name], "w+", np.float32, (len(task.z), int(units)))
            for name, units in table[["name", "units"]].values
        }
        first = 0
        with hooked(task.network.module, files, lambda name, a: _write(files[name], first, a)) as forward:
            for inputs in task.inputs():
                forward(inputs)
                first += len(inputs)
        files.clear()
        for name, path in paths.items():
            x = np.array(np.load(path, mmap_mode="r"))
            found.add_all(name, task.z.T @ standardised(x))
    return 1


def _write(file: np.ndarray, first: int, activation: np.ndarray) -> None:
    file[first : first + len(activation)] = activation


def faiss_inner_product(task: PeerTask, found: Found) -> int:
    """Index every unit's standardised activations, search with every site's responses."""
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)  # its wrapper's types, on import
        import faiss

    sites = np.ascontiguousarray(task.z.T)
    for group in task.groups():
        for name, x in held_activations(task.network.module, task.inputs(), group):
            standardised(x)
            index = faiss.IndexFlatIP(len(x))
            for first in range(0, x.shape[1], UNITS_AT_ONCE):
                index.add(np.ascontiguousarray(x[:, first : first + UNITS_AT_ONCE].T))
            found.add(name, *index.search(sites, min(task.top, index.ntotal)))
    return len(task.groups())


def thingsvision_to_disk(task: PeerTask, found: Found) -> int:
    """Let THINGSvision extract all layers to disk, then go on as ``hooks_to_disk``."""
    from thingsvision import get_extractor_from_model

    names = task.network.layers["name"].tolist()
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        extractor = get_extractor_from_model(model=task.network.module, device="cpu", backend="pt")
        extractor.extract_features(
            batches=_Batches(task),
            module_names=names,
            flatten_acts=True,
            output_type="ndarray",
            output_dir=folder,
            step_size=_batches_at_once(task),
            save_in_one_file=True,
        )
        for name in names:
            x = np.array(np.load(Path(folder, name, "features.npy"), mmap_mode="r"))
            found.add_all(name, task.z.T @ standardised(x))
    return 1


_PEERS: dict[str, Callable[[PeerTask, Found], int]] = {
    "numpy": numpy_in_memory,
    "hooks": hooks_to_disk,
    "faiss": faiss_inner_product,
    "thingsvision": thingsvision_to_disk,
}


class _Batches:
    """Batches with a length, as THINGSvision wants them."""

    def __init__(self, task: PeerTask) -> None:
        self.task = task

    def __len__(self) -> int:
        return -(-len(self.task.z) // BATCH)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.task.inputs()


def _batches_at_once(task: PeerTask) -> int:
    """Batches whose activations take half the memory; joining them takes the other half."""
    return max(1, task.memory // (2 * 4 * BATCH * int(task.network.layers["units"].sum())))
