"""Two small networks matched for real with the same planted recording; made once for all tests of a process."""

import atexit
import shutil
import tempfile
from functools import cache

import engine
from engine.store import Run
from tests.engine.worked_example import planted_recording, tiny_network


@cache
def two_runs() -> tuple[Run, Run]:
    """The network that the sites were planted from, and another one, which match them worse; 5 % is missing."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    network = tiny_network()
    recording = planted_recording(network, noise=0.7, missing=0.05)
    other = tiny_network(1, "other")
    return tuple(engine.match(one, recording, store=folder, progress=False) for one in (network, other))
