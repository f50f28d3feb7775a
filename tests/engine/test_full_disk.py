"""On a disk of one or two megabytes: what does not fit is refused in a sentence, and what was there stays whole."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import engine
from engine.errors import StoreError
from engine.schema import RUN_SCHEMAS
from tests.engine.worked_example import planted_recording, tiny_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUIET = {"progress": False, "memory": "1GiB"}


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)):
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def enlarge(disk: Path, size: str) -> None:
    assert mount("-o", f"remount,size={size}", str(disk))


def fill(disk: Path, leave: int) -> Path:
    """Put a file of somebody else's on it, so that ``leave`` bytes are free."""
    stat = os.statvfs(disk)
    other = disk / "somebody else's"
    other.write_bytes(bytes(max(stat.f_bavail * stat.f_frsize - leave, 0)))
    return other


@pytest.mark.parametrize("megabytes", [1, 2])
def test_a_match_that_does_not_fit_is_refused_and_goes_on_when_there_is_room(disk, tmp_path, megabytes):
    enlarge(disk, f"{megabytes}m")
    network = tiny_network()
    recording = planted_recording(network, noise=0.7)
    whole = engine.match(network, recording, store=tmp_path / "whole", **QUIET)
    store = disk / "store"
    few = network.with_layers(["fc"])
    earlier = write_few(store, few, recording)
    said = []
    for leave in range(0, megabytes * 2**20, 50_000):
        other = fill(disk, leave)
        with suppress(Fits):
            said.append(refusal(lambda: engine.match(network, recording, store=store, **QUIET)))
        other.unlink()
        assert set(engine.list_runs(store)["status"]) <= {"complete", "incomplete"}
        assert earlier.verify() == []
    assert len(said) > 5
    for told in said:
        assert re.search(
            r"No space left to write .*disk/store.* bytes free\)\. Make room or choose another place", told
        )
    print(f"{megabytes} MB: refused {len(said)} times")
    enlarge(disk, "16m")
    run = engine.match(network, recording, store=store, **QUIET)
    assert run.verify() == []
    for name in RUN_SCHEMAS:
        xr.testing.assert_identical(run.dataset(name), whole.dataset(name))


def write_few(store: Path, network: engine.Network, recording: engine.Recording) -> engine.Run:
    """A small run that was there before."""
    run = engine.match(network, recording, top=1, shuffles=0, folds=1, store=store, **QUIET)
    assert run.verify() == []
    return run


class Fits(Exception):  # noqa: N818
    """There was room after all."""


def refusal(write: Callable[[], object]) -> str:
    """What it says when it is refused."""
    try:
        write()
    except StoreError as error:
        return str(error)
    raise Fits


def test_a_naive_writer_leaves_wrong_numbers_on_a_full_disk(disk):
    """The control: what did not fit reads as NaN, without a word."""
    values = np.random.default_rng(0).normal(size=(400, 1000))
    naive = xr.Dataset({"r": (("unit", "site"), values)})
    with pytest.raises(OSError, match="No space left on device"):
        naive.to_zarr(disk / "naive", consolidated=False, encoding={"r": {"chunks": (50, 500)}})
    found = xr.open_zarr(disk / "naive", chunks=None, consolidated=False)["r"].values
    assert found.shape == values.shape
    assert 0 < np.isfinite(found).mean() < 1


def test_a_job_on_a_full_disk_says_so_and_ends(disk, tmp_path):
    saved = planted_recording(tiny_network(), noise=0.7).save(tmp_path / "saved")
    fill(disk, 20_000)
    asked = {
        "do": "match", "network": "tests.engine.worked_example:tiny_network", "recording": str(saved),
        "store": str(disk / "store"), "memory": "1GiB",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "engine.jobs"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(engine.__file__).parents[1],
    ) as job:  # fmt: skip
        assert job.stdin is not None
        assert job.stdout is not None
        job.stdin.write(json.dumps(asked) + "\n")
        job.stdin.flush()
        lines = [json.loads(line) for line in job.stdout]
    assert lines[-1]["kind"] == "StoreError"
    assert "No space left to write" in lines[-1]["error"]
