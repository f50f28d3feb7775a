"""The most memory that this process held, from a moment on."""

from pathlib import Path

import psutil
import pytest

RESET = Path("/proc/self/clear_refs")


def count_from_here() -> int:
    """Let the peak count from now on; gives the bytes that are resident now."""
    if not RESET.exists():
        pytest.skip("the peak of memory is read from Linux's /proc")
    RESET.write_text("5")
    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """The most bytes that were resident since it counts."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
