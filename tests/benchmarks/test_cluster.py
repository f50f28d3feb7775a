"""Are two single-threaded workers twice as fast as one? Each with a core, the process that stores the runs included."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import engine

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are given to processes as Linux does it"),
]

N_MATCHES = 6
TARGET = 0.85
SLACK = 1.15
"""A test fails only below the target divided by this: two cores that share their memory with other machines."""


@pytest.fixture(scope="module")
def sessions(cowley_dir, tmp_path_factory) -> list[Path]:
    """Session 210325 of V4, its sites shared out among recordings, so that a study has several of one size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITSCOPE_DATA", str(tmp_path_factory.mktemp("data")))
        engine.fetch("cowley-v4", ["210325"], source=cowley_dir, progress=False)
        return in_parts(engine.open_recording("cowley-v4/210325"), tmp_path_factory.mktemp("parts"))


def in_parts(whole: engine.Recording, folder: Path) -> list[Path]:
    parts = []
    for k in range(N_MATCHES):
        data = whole.data.isel(site=slice(k, None, N_MATCHES)).assign_attrs(name=f"part{k}")
        parts.append(Path(engine.Recording(data, whole.stimuli).save(folder / f"part{k}")))
    return parts


def stored_after(recordings: Sequence[Path], workers: int, store: Path) -> list[float]:
    """Seconds until each run was stored: by so many workers, and as many cores for everything."""
    cores = sorted(os.sched_getaffinity(0))[:workers]
    command = [sys.executable, "-m", "engine.cli", "match", "squeezenet1_1", *map(str, recordings)]
    started, seconds = time.monotonic(), []
    with subprocess.Popen(
        [*command, "--workers", str(workers), "--store", str(store)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    ) as match:  # fmt: skip
        assert match.stdout is not None
        for line in match.stdout:
            if not line.startswith(" "):
                seconds.append(time.monotonic() - started)
    assert match.returncode == 0
    return seconds


def rate(seconds: Sequence[float], workers: int) -> float:
    """Matches a second, once every worker has its memory from its first."""
    return (len(seconds) - workers) / (seconds[-1] - seconds[workers - 1])


@pytest.mark.real_data
def test_two_workers_are_nearly_twice_as_fast_as_one(sessions, tmp_path, capsys):
    one = stored_after(sessions, 1, tmp_path / "one")
    two = stored_after(sessions, 2, tmp_path / "two")
    efficiency = rate(two, 2) / rate(one, 1) / 2
    with capsys.disabled():
        print(f"\nruns stored after, s: one worker {rounded(one)}, two workers {rounded(two)}")
        print(f"efficiency of two workers: {efficiency:.2f} (with the first matches: {one[-1] / two[-1] / 2:.2f})")
    assert efficiency >= TARGET / SLACK


def rounded(seconds: Sequence[float]) -> list[float]:
    return [round(one, 1) for one in seconds]
