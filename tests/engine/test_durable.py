"""Killed, out of space or side by side with others: a store holds whole results or none."""

import builtins
import errno
import io
import itertools
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from engine.errors import StoreError
from engine.parts import _packed
from engine.store import Run, add_group, find_run, list_runs, open_parts, run_lock, write_run
from tests.engine import small_runs
from tests.engine.processes import PROCESSES
from tests.engine.small_runs import (
    DIGEST,
    N_LAYERS,
    child,
    compute,
    counts,
    layer_names,
    layer_result,
    manifest,
    merged,
    recording,
)


def killed_after(work: str, root: Path, seconds: float) -> bool:
    """Start ``work`` of ``small_runs`` in a process and kill -9 it; says whether it was done before."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=child, args=(work, root, sender))
    process.start()
    sender.close()
    receiver.recv()
    done = receiver.poll(seconds)
    process.kill()
    process.join()
    receiver.close()
    process.close()
    return done


def seconds_of(work: str, root: Path) -> float:
    """How long ``work`` takes when nobody kills it."""
    killed_after("nothing", root, 60)
    start = time.perf_counter()
    assert killed_after(work, root, 60)
    return time.perf_counter() - start


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in (run / "data.zarr").rglob("*") if path.is_file()}


def kill_and_resume(tmp_path: Path, n: int, seed: int = 0) -> dict[str, int]:
    expected = contents(compute(tmp_path / "uninterrupted").path)
    results = {name: layer_result(i) for i, name in enumerate(layer_names())}
    duration = seconds_of("compute", tmp_path / "timed")
    moments = (np.arange(n) + np.random.default_rng(seed).random(n)) * duration / n
    counted = {"killed": 0, "among layers": 0, "with the run": 0}
    for index, seconds in enumerate(moments):
        root = tmp_path / f"killed{index}"
        counted["killed"] += not killed_after("compute", root, seconds)
        parts = open_parts(root, DIGEST)
        counted["among layers"] += bool(list(parts))
        for name in parts:
            xr.testing.assert_identical(parts.read(name), results[name])
        if (root / "runs" / DIGEST).exists():
            counted["with the run"] += 1
            run = Run(root / "runs" / DIGEST)
            assert run.verify() == []
            assert set(run.names) >= merged(results).keys()
        resumed = compute(root, results)
        assert contents(resumed.path) == expected
        assert sorted(path.name for path in root.iterdir()) == ["locks", "parts", "runs"]
        assert list((root / "parts").iterdir()) == []
        shutil.rmtree(root)
    return counted


def test_killed_at_any_moment_a_store_is_readable_and_goes_on_to_the_same_bytes(tmp_path):
    """Moments are spread over the whole of it; a thousand of them are killed under the mark slow."""
    counted = kill_and_resume(tmp_path, 40)
    print(counted)
    assert counted["killed"] > 5
    assert counted["among layers"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_two_hundred_times_of_a_thousand_a_store_goes_on_to_the_same_bytes(tmp_path, seed):
    print(kill_and_resume(tmp_path, 200, seed))


def test_a_naive_writer_fails_when_it_is_killed(tmp_path):
    duration = seconds_of("compute_naively", tmp_path / "timed")
    rng = np.random.default_rng(0)
    for index in range(100):
        killed_after("compute_naively", tmp_path / str(index), rng.uniform(0, duration))
        if not all_present_layers_are_right(tmp_path / str(index)):
            return
    pytest.fail("the naive writer survived 100 kills: this test would not see a bad store")


def all_present_layers_are_right(root: Path) -> bool:
    for index in range(N_LAYERS):
        path = root / "naive.zarr" / f"fire{index}"
        if path.exists():
            try:
                group = zarr.open_group(path, mode="r")
                if not np.array_equal(group["sums"][:], layer_result(index)["sums"].values):
                    return False
            except (OSError, KeyError, ValueError, RuntimeError):
                return False
    return True


class HalfWritten:
    """A file of which a refused write has taken half, as on a full disk."""

    def __init__(self, file, is_refused, code: int) -> None:
        self.file, self.is_refused, self.code = file, is_refused, code

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        if self.is_refused():
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            raise OSError(self.code, os.strerror(self.code))
        return self.file.write(content)


class Failing:
    """Counts the calls that change the disk, and refuses the one at ``at``."""

    def __init__(self, monkeypatch, code: int) -> None:
        self.code, self.at, self.calls = code, 0, itertools.count()
        for module, name in [(os, "replace"), (os, "mkdir")]:
            monkeypatch.setattr(module, name, self.wrapped(getattr(module, name)))
        monkeypatch.setattr(builtins, "open", self.opening(open))
        monkeypatch.setattr(os, "fsync", self.wrapped(lambda descriptor: None))

    def is_refused(self) -> bool:
        return bool(self.at) and next(self.calls) == self.at

    def wrapped(self, call):
        def refusing(*arguments, **settings):
            if self.is_refused():
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **settings)

        return refusing

    def opening(self, call):
        refusing = self.wrapped(call)

        def opened(*arguments, **settings):
            if "w" not in str(arguments[1:2]):
                return call(*arguments, **settings)
            return HalfWritten(refusing(*arguments, **settings), self.is_refused, self.code)

        return opened

    def every_moment(self, write):
        """Call ``write`` with the first, second, ... such call refused, until none is; yields the error, or ''.

        (Making a folder that is there already may be refused without an error.)
        """
        for at in itertools.count(1):
            self.at, self.calls = at, itertools.count(1)
            try:
                write()
                said = ""
            except StoreError as error:
                said = str(error)
            reached, self.at = next(self.calls) - 1, 0
            if reached < at:
                return
            yield said


@pytest.mark.parametrize(
    ("code", "moments", "message"),
    [
        (errno.ENOSPC, None, "No space left to write "),
        (errno.EIO, 20, "Input/output error. Check the disk or choose another place with --store"),
        (errno.EROFS, 20, "Read-only file system. Make it writable or choose another place with --store"),
    ],
)
def test_whatever_the_disk_refuses_nothing_half_written_is_seen(tmp_path, monkeypatch, code, moments, message):
    other = write_run(tmp_path, "ba5e" * 16, {"counts": few()}, manifest())
    groups = {"recording": recording(), "counts": few()}
    errors = []
    failing = Failing(monkeypatch, code)
    refused = failing.every_moment(lambda: write_run(tmp_path, DIGEST, groups, manifest()))
    for error in itertools.islice(refused, moments):
        errors.append(error)
        run = find_run(tmp_path, DIGEST)
        assert (tmp_path / "runs" / DIGEST).exists() == (run is not None)
        assert set(list_runs(tmp_path)["status"]) == {"complete"}
        assert other.verify() == []
        if run is not None:
            shutil.rmtree(run.path)
    said = [error for error in errors if error]
    assert len(said) > (10 if moments else 50)
    assert all(message in error and str(tmp_path) in error for error in said)
    if code == errno.ENOSPC:
        assert sum("bytes, (" in error for error in said) > 50
        assert all(" bytes free). Make room or choose another place" in error for error in said)
    assert moments or find_run(tmp_path, DIGEST) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locks", "runs"]


def test_a_naive_writer_leaves_half_of_what_the_disk_refused(tmp_path, monkeypatch):
    """The control: what xarray writes, refused in the same way, is read without a word as other numbers."""
    failing, expected = Failing(monkeypatch, errno.ENOSPC), counts()["activation"]
    monkeypatch.setattr(io, "open", builtins.open)  # zarr opens its files by way of pathlib
    for at in itertools.count(1):
        failing.at, failing.calls = at, itertools.count(1)
        with suppress(OSError):
            expected.to_dataset().drop_vars("layer").to_zarr(tmp_path / str(at), consolidated=False)
        reached, failing.at = next(failing.calls) - 1, 0
        assert reached >= at, "no refused call left wrong numbers: this test would not see a bad store"
        with suppress(OSError, KeyError):
            found = zarr.open_group(tmp_path / str(at), mode="r")["activation"][:]
            if not np.array_equal(found, expected.values):
                return


def few(seed: int = 0) -> xr.Dataset:
    """Few files: every call that writes one is refused in turn, with all the others done anew each time."""
    return counts(seed)[["count", "total"]].drop_vars("layer")


def test_a_refused_analysis_leaves_the_earlier_one(tmp_path, monkeypatch):
    run = write_run(tmp_path, DIGEST, {"counts": few()}, manifest())
    add_group(run, "decoding", few(1), {"key": "1"})
    failing = Failing(monkeypatch, errno.ENOSPC)
    n_errors = 0
    for error in failing.every_moment(lambda: add_group(run, "decoding", few(2), {"key": "2"})):
        n_errors += error != ""
        assert "No space left" in error or not error
        assert run.verify() == []
        seed = int(run.attributes("decoding")["key"])
        xr.testing.assert_equal(run.dataset("decoding"), few(seed))
        add_group(run, "decoding", few(1), {"key": "1"})
    assert n_errors > 20
    xr.testing.assert_equal(run.dataset("decoding"), few(2))


def test_a_refused_part_leaves_the_earlier_one(tmp_path, monkeypatch):
    parts = open_parts(tmp_path, DIGEST)
    parts.write("conv1", counts(1))
    failing = Failing(monkeypatch, errno.ENOSPC)
    kept = 0
    for error in failing.every_moment(lambda: parts.write("conv1", counts(2))):
        assert "finished layers are kept: run the same command again" in error or not error
        found = parts.read("conv1")
        xr.testing.assert_equal(found, counts(1) if found.equals(counts(1)) else counts(2))
        kept += found.equals(counts(1))
        parts.write("conv1", counts(1))
    assert kept == 2 + len(_packed("conv1", counts(2)))  # open, each piece of it, replace
    assert len(list(parts.folder.iterdir())) == 1


def test_what_dead_writers_left_is_swept_away(tmp_path):
    (tmp_path / f".tmp-{DIGEST}-dead/data.zarr").mkdir(parents=True)
    (tmp_path / ".tmp-ba5eba5e-alive").mkdir()
    with run_lock(tmp_path, DIGEST):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-ba5eba5e-alive", "locks"]


def test_the_lock_of_a_killed_holder_is_taken_over(tmp_path):
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=child, args=("hold_lock", tmp_path, sender))
    process.start()
    receiver.recv()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with (
        pytest.raises(StoreError, match=r"Another process has been writing this run for more than 0.2 s \(.*is locked"),
        run_lock(tmp_path, DIGEST, timeout_s=0.2),
    ):
        pass
    process.kill()
    start = time.perf_counter()
    with run_lock(tmp_path, DIGEST):
        assert time.perf_counter() - start < 10
    process.join()
    process.close()
    sender.close()
    receiver.close()


def test_a_thread_may_take_its_lock_again(tmp_path):
    with run_lock(tmp_path, DIGEST), run_lock(tmp_path, DIGEST, timeout_s=0):
        run = write_run(tmp_path, DIGEST, {"counts": counts()}, manifest())
    assert run.verify() == []


def test_who_has_to_wait_is_told_once(tmp_path):
    process = PROCESSES.Process(target=small_runs.hold_lock_for, args=(tmp_path, 0.5))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    told = []
    with run_lock(tmp_path, DIGEST, waiting=lambda: told.append("waiting")):
        assert told == ["waiting"]
    process.join()
    process.close()


def share_a_store(root: Path, seconds: float) -> None:
    (root / "computed").touch()
    writers = [PROCESSES.Process(target=small_runs.write_beside_others, args=(root, seconds, i)) for i in range(4)]
    readers = [PROCESSES.Process(target=small_runs.read_beside_others, args=(root, seconds, i)) for i in range(4)]
    for process in writers + readers:
        process.start()
    for process in writers + readers:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert (root / "computed").read_text() == "computed\n"
    outcomes = [path.read_text() for path in root.glob("reader*")]
    assert len(outcomes) == 4
    n_read = sum(int(outcome) for outcome in outcomes)
    print(f"{n_read} reads of a group that {sum(1 for _ in root.glob('writer*'))} writers replaced, none mixed")
    assert n_read > 10


def test_writers_and_readers_share_a_store(tmp_path):
    share_a_store(tmp_path, 10)


@pytest.mark.slow
def test_writers_and_readers_share_a_store_for_a_minute(tmp_path):
    share_a_store(tmp_path, 60)


def test_a_naive_store_gives_its_readers_mixed_values(tmp_path):
    work = [small_runs.write_naively_beside_others] * 2 + [small_runs.read_naively_beside_others] * 2
    processes = [PROCESSES.Process(target=one, args=(tmp_path, 60, index)) for index, one in enumerate(work)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        process.close()
    assert (tmp_path / "bad").exists(), "no reader saw a mixture in a minute: this test would not see a bad store"
