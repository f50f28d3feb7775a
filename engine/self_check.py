"""Can the numbers of this installation be trusted? Identities, a known answer, and the store, tried on this machine."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

import engine
from engine import world
from engine.bench.machine import describe_machine, versions
from engine.checks import Check
from engine.errors import EngineError, NetworkError
from engine.identities import IDENTITIES, Identity
from engine.known_recordings import data_root
from engine.matching import ALGORITHM
from engine.recordings import Recording
from engine.schema import STIMULUS
from engine.stimuli import Stimuli
from engine.store import list_runs, open_run
from engine.store_trial import try_runs, try_store

READS_S: Final = 15.0
"""For so long the runs of a store are read in full, unless all are asked for."""

RELIABLE: Final = 0.9
LEAST_FOUND: Final = 0.95
"""Of the sites that were made of one unit and are that reliable, so many must find it."""

_SHORT: Final = 50

Told = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What was checked, on which machine."""

    parts: dict[str, list[Check]]
    machine: str
    versions: dict[str, str]

    @property
    def n_failed(self) -> int:
        """Claims that are not true."""
        return sum(check.is_passed is False for checks in self.parts.values() for check in checks)

    def describe(self) -> str:
        """A table for people."""
        everything = [check for checks in self.parts.values() for check in checks]
        widths = [max(len(text) for text in texts) for texts in zip(*map(_texts, everything), strict=True)]
        lines = []
        for part, checks in self.parts.items():
            lines += ["", part]
            for check in checks:
                lines.append("  " + "  ".join(f"{t:<{w}}" for t, w in zip(_texts(check), widths, strict=True)).rstrip())
                lines += [f"          {check.found}"] if "see below" in _texts(check) else []
        n_unchecked = sum(check.is_passed is None for check in everything)
        n_true = len(everything) - self.n_failed - n_unchecked
        unchecked = f", {n_unchecked} could not be checked here" if n_unchecked else ""
        told = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        held = f"{n_true} of {len(everything)} claims hold, {self.n_failed} FAILED{unchecked}."
        lines += ["", held, told, self.machine]
        return "\n".join(lines[1:])

    def to_json(self) -> str:
        """The same, for programs."""
        parts = {part: [asdict(check) for check in checks] for part, checks in self.parts.items()}
        about = {"n_failed": self.n_failed, "versions": self.versions, "machine": self.machine}
        return json.dumps({"parts": parts, **about}, indent=2)


def self_check(root: Path, *, reads_all: bool = False, told: Told = lambda step: None) -> Report:
    """Try the identities, the built-in world's known answer, and the store in ``root``.

    Parameters
    ----------
    root
        Folder of the store. Its runs are read; beside them a folder is written to, and removed.
    reads_all
        Read all runs in full, however long that takes; else the newest for ``READS_S`` seconds, of others the sizes.
    told
        Told what is tried.

    Returns
    -------
    Report
        A claim that fails does not keep the others from being tried.
    """
    parts: dict[str, list[Check]] = {
        "Identities: largest difference from an independent way": [],
        "Known answer: sites simulated from units of SqueezeNet 1.1": [],
        f"Store: {root}": [],
    }
    identities, answer, stored = parts.values()
    for name, identity in IDENTITIES.items():
        told(name)
        identities.append(tried(name, identity))
    told("known answer")
    answer.append(known_answer(root))
    told("store")
    stored += _of_store(root, math.inf if reads_all else READS_S, told)
    own = {"algorithm": str(ALGORITHM), **versions()}
    return Report(parts, describe_machine(), own)


def tried(name: str, identity: Identity) -> Check:
    """Measure an identity; whatever goes wrong on the way is a failure that says so."""
    bound = f"<= {identity.bound:.2g}"
    try:
        measured = identity.measure()
    except Exception as error:  # a broken machine breaks in any way it likes, and the other claims are still tried
        return Check(name, identity.claim, f"{type(error).__name__}: {error}", False, bound)
    if measured is None:
        return Check(name, identity.claim, "not checked: no such device here", None, bound)
    return Check(name, identity.claim, f"{measured:.2g}", bool(measured <= identity.bound), bound)


def known_answer(root: Path) -> Check:
    """Look whether sites made of one known unit find it: in the stored run, else in a small world made now."""
    claim = f"single units behind sites of reliability > {RELIABLE:g} are matched"
    bound = f">= {LEAST_FOUND:.0%}"
    try:
        found, where = _stored_answer(root) or _small_answer()
    except NetworkError as error:
        return Check("built-in world", claim, f"not checked: {error}", None, bound)
    except EngineError as error:
        return Check("built-in world", claim, str(error), False, bound)
    share = found.mean() if len(found) else 0.0
    return Check("built-in world", claim, f"{found.sum()} of {len(found)}, {where}", share >= LEAST_FOUND, bound)


def _stored_answer(root: Path) -> tuple[pd.Series, str] | None:
    """In the newest run of the whole world over all layers, if the store has one."""
    table = list_runs(root)
    named = (table["network"] == world.NETWORK) & (table["recording"] == world.BUILTIN)
    for digest in table["digest"][named & (table["status"] == "complete")]:
        run = open_run(digest, root)
        data = run.dataset("recording")
        if data.attrs.get("world") == world.world_key() and data.sizes[STIMULUS] == len(world.scenes.list_scenes()):
            return _found(_as_recording(run), run), f"run {digest[:12]} of this store"
    return None


def _small_answer() -> tuple[pd.Series, str]:
    """One picture of each object, and only the sites that count; of the world that is saved here, else made now."""
    network = engine.load_network(world.NETWORK)
    is_saved = (data_root() / world.BUILTIN).exists()
    opened = world.open_world() if is_saved else world.build_world(n_images=1)
    counts = (opened.data["n_units"] == 1) & (opened.data["true_reliability"] > RELIABLE)
    ids = opened.stimuli.ids[:: world.scenes.N_IMAGES if is_saved else 1]
    part = opened.select(ids, opened.data["site"].values[counts.values].tolist(), name="builtin-part")
    with TemporaryDirectory(prefix="unitscope-") as folder:
        run = engine.match(network, part, top=5, folds=1, shuffles=0, store=folder, progress=False)
        return _found(part, run), f"matched now with {len(ids)} images: this store has no run of the world"


def _found(recording: Recording, run: "engine.Run") -> pd.Series:
    truth = world.ground_truth(recording, run)
    return truth.loc[truth["true_reliability"] > RELIABLE, "found"]


def _as_recording(run: "engine.Run") -> Recording:
    """The recording as the run carries it."""
    data, pictures = run.dataset("recording"), run.dataset("thumbnails")
    ids = [str(name) for name in pictures[STIMULUS].values]
    pixels = pictures["pixels"].values
    coloured = np.repeat(pixels, 3 // pixels.shape[-1], axis=-1)
    return Recording(data.assign_attrs(name=run.recording), Stimuli.from_array(coloured, ids))


def _of_store(root: Path, seconds: float, told: Told) -> Iterator[Check]:
    try:
        yield from try_store(root)
    except EngineError as error:
        yield Check("written and read", "what is written comes back", str(error), False)
    yield from try_runs(root, seconds=seconds, told=told)


def _texts(check: Check) -> tuple[str, str, str, str, str]:
    """Of a line of the table; what is too long for it stands below."""
    state = {True: "ok", False: "FAILED", None: "-"}[check.is_passed]
    found = "see below" if check.is_passed is False and len(check.found) > _SHORT else check.found
    return state, check.name, found, check.bound, check.claim
