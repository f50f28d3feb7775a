"""Processes that are forked from one that has loaded everything, so that many can be killed in little time."""

import multiprocessing
import sys

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.engine.processes"])

if "pytest" not in sys.modules:  # in the process that the others are forked from
    import dask.array  # noqa: F401 (xarray loads it at the first write)
    import psutil  # noqa: F401
    import pytest  # noqa: F401

    import engine.cli
    import engine.pipeline  # noqa: F401
