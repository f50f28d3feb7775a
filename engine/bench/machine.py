"""On which machine, with which versions, and how busy?"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from engine.planning import format_bytes

PACKAGES = ("unitscope", "torch", "numpy", "numba", "faiss-cpu", "thingsvision")


def describe_machine() -> str:
    """Processor, cores, memory and system in one line."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else float("nan")
    instructions = torch.backends.cpu.get_cpu_capability()
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {instructions}, "
        f"{format_bytes(pages)}, {platform.system()}"
    )


def versions() -> dict[str, str]:
    """Version of python and of every package that takes part and is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load() -> float:
    """Processes that ran or waited over the last minute, on average; NaN where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
