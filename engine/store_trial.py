"""Does a store keep what it is given, on this disk? Runs are written, damaged, killed and taken over.

In a folder of its own inside the store, so that the same file system is tried; it is removed again. The runs that are
there are only read.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from engine import durable, store
from engine.checks import Check
from engine.durable import TEMPORARY, explained, remove
from engine.errors import StoreError
from engine.runs import Run
from engine.schema import SITE, STIMULUS

FLIPS_PER_FILE: Final = 4
WRITERS: Final = 4
TAKEN_OVER_S: Final = 10.0
_STARTS_S: Final = 60.0

_READY: Final = "writing"
_DIGEST: Final = "c4ec" * 16


def try_store(root: Path) -> Iterator[Check]:
    """Try the store in ``root``: what is written comes back, what is damaged is noticed, who is killed harms nothing.

    Raises
    ------
    StoreError
        If nothing can be written there; says why and what to do.
    """
    is_new = not root.exists()
    folder = root / f"{TEMPORARY}check-{uuid.uuid4().hex}"
    with explained(root):
        folder.mkdir(parents=True)
    try:
        yield _kept(folder)
        yield _flipped(folder)
        yield _cut_and_lost(folder)
        yield from _killed(folder)
    finally:
        remove(folder)
        if is_new:
            remove(root)


def try_runs(root: Path, *, seconds: float, told: Callable[[str], None]) -> Iterator[Check]:
    """Read the runs of a store, the newest first: all of each until ``seconds`` are over, then only names and sizes.

    Yields one check for all of them, and before it one for every run that is not what was written.
    """
    table, end = store.list_runs(root), time.monotonic() + seconds
    n_read, n_sized, n_bytes, n_damaged = 0, 0, 0, 0
    for number, row in enumerate(table.to_dict("records")):
        if row["status"] == "incomplete":
            continue
        told(f"reading run {number + 1} of {len(table)}")
        is_read = time.monotonic() < end
        folder, problem = root / "runs" / row["digest"], row["status"]
        if problem == "complete":
            folder = store.open_run(row["digest"], root).path  # a copied run may have a folder of another name
            problem = _problem(folder, is_read=is_read)
        n_read, n_sized = n_read + is_read, n_sized + (not is_read)
        n_bytes += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if problem:
            n_damaged += 1
            name = f"{row['network']}@{row['recording']} {row['digest'][:12]}".strip("@ ")
            yield Check(name, "every file is what was written", problem, False)
    rest = f"; of {n_sized} only the sizes, --all reads them too" if n_sized else ""
    found = f"{n_read + n_sized} runs, {n_bytes / 1e6:,.0f} MB{rest}, {n_damaged} damaged"
    told_none = "none there" if not n_read + n_sized else found
    yield Check("runs", "every file of every run is what was written", told_none, not n_damaged, "0 damaged")


def write_on(root: Path) -> None:
    """Write one run after the other until somebody kills this process; says when the first is there."""
    for number in count():
        store.write_run(root, f"{number:064x}", {"values": _values(number)}, _MANIFEST)
        if number == 0:
            print(_READY, flush=True)


def _problem(folder: Path, *, is_read: bool) -> str:
    try:
        run = Run(folder)
        for name in run.names:
            run.require(name, up_to=None if is_read else 0)
    except StoreError as error:
        return str(error)
    return ""


def _kept(folder: Path) -> Check:
    run = store.write_run(folder, _DIGEST, {"values": _values(0)}, _MANIFEST)
    is_same = _reads(run.path) == "same"
    found = f"{len(_files(run.path))} files, {'all' if is_same else 'not all'} values equal"
    return Check("written and read", "what is written comes back", found, is_same, "all equal")


def _flipped(folder: Path) -> Check:
    """Flip bits of every file of a run, one at a time."""
    run, rng = folder / "runs" / _DIGEST, np.random.default_rng(0)
    outcomes = []
    for path in _files(run) * FLIPS_PER_FILE:
        intact = path.read_bytes()
        changed = bytearray(intact)
        changed[rng.integers(len(intact))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        outcomes.append(_reads(run))
        path.write_bytes(intact)
    return _silent("a flipped bit", outcomes, "flips")


def _cut_and_lost(folder: Path) -> Check:
    run, outcomes = folder / "runs" / _DIGEST, []
    for path in _files(run):
        intact = path.read_bytes()
        path.write_bytes(intact[:-1])
        outcomes.append(_reads(run))
        path.unlink()
        outcomes.append(_reads(run))
        path.write_bytes(intact)
    return _silent("a cut or lost file", outcomes, "files")


def _silent(name: str, outcomes: list[str], what: str) -> Check:
    wrong = outcomes.count("wrong")
    noticed, harmless = outcomes.count("refused"), outcomes.count("same")
    found = f"{len(outcomes)} {what}: {noticed} noticed, {harmless} harmless, {wrong} silent"
    return Check(name, "never gives a wrong value", found, not wrong and noticed > harmless, "0 silent")


def _killed(folder: Path) -> Iterator[Check]:
    """Kill writers at random moments; what they left is whole, and the next writer goes on at once."""
    rng, roots = np.random.default_rng(), [folder / f"writer{k}" for k in range(WRITERS)]
    writers = [_writer(root) for root in roots]
    for writer in writers:
        assert writer.stdout is not None
        line = writer.stdout.readline()
        time.sleep(rng.uniform(0.02, 0.3) if line.strip() == _READY else 0)
        writer.kill()
    said = [writer.communicate(timeout=_STARTS_S)[1] for writer in writers]
    n_runs, n_damaged, slowest = 0, 0, 0.0
    for root in roots:
        runs = sorted((root / "runs").glob("*"))
        n_runs += len(runs)
        n_damaged += sum(_reads(path, int(path.name, 16)) != "same" for path in runs)
        slowest = max(slowest, _seconds_to_go_on(root, len(runs)))
    found = f"{n_runs} runs left by {len(writers)} killed writers, {n_damaged} damaged"
    if n_runs < len(writers):
        found += f"; some could not begin: {' '.join(said)[-500:]}"
    is_passed = not n_damaged and n_runs >= len(writers)
    yield Check("kill -9", "leaves whole runs or none", found, is_passed, "0 damaged")
    took = f"the next one wrote after {slowest:.2f} s"
    yield Check("a killed writer's lock", "is taken over", took, slowest < TAKEN_OVER_S, f"< {TAKEN_OVER_S:g} s")


def _writer(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "engine.store_trial", str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _seconds_to_go_on(root: Path, number: int) -> float:
    """Seconds that the run takes which the killed writer was about to write."""
    begun = time.monotonic()
    with durable.run_lock(root, f"{number:064x}", timeout_s=2 * TAKEN_OVER_S):
        store.write_run(root, f"{number:064x}", {"values": _values(number)}, _MANIFEST)
    return time.monotonic() - begun


def _reads(path: Path, number: int = 0) -> str:
    """Say what a reader of a run gets: the ``same`` values, a ``wrong`` one, or that it is ``refused``."""
    try:
        found = Run(path).dataset("values")
    except StoreError:
        return "refused"
    except Exception:  # a reader that fails in any other way has not noticed what is wrong
        return "wrong"
    expected = _values(number)
    return "same" if expected.equals(found) and found.attrs["units"] == expected.attrs["units"] else "wrong"


def _values(number: int) -> xr.Dataset:
    values = np.random.default_rng(number).normal(size=(50, 40))
    sites = {STIMULUS: [f"image{k}" for k in range(50)], SITE: [f"site{k}" for k in range(40)]}
    return xr.Dataset({"values": ((STIMULUS, SITE), values)}, sites, {"units": "spikes/s"})


def _files(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file())


_MANIFEST: Final = {
    "network": {"name": "none"},
    "recording": {"name": "none"},
    "settings": {},
    "seed": 0,
    "versions": {},
    "digests": {},
}

if __name__ == "__main__":
    write_on(Path(sys.argv[1]))
