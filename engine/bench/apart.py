"""Peak memory and traffic of a match, measured in a process of its own that has done nothing before.

The peak is the process's largest size during the match, less its size with the network loaded and used once, as the
setting ``memory`` means it. Linux only; elsewhere it is NaN.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from engine.bench.settings import BenchSettings
from engine.bench.traffic import KERNEL_READS, TrafficCounter
from engine.errors import EngineError
from engine.pipeline import match, plan_match

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Apart:
    """What the other process saw."""

    peak_bytes: float
    """NaN where the system does not tell."""
    moved_bytes: int
    """As ``engine.bench.traffic`` counts."""


def measure_apart(settings: BenchSettings) -> Apart:
    """Run one match in a new process and return its peak memory and traffic.

    Raises
    ------
    EngineError
        If that process fails; its last words are in the message.
    """
    code = "import sys; from engine.bench.apart import main; main(sys.argv[1])"
    command = [sys.executable, "-c", code, json.dumps(asdict(settings))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise EngineError(
            f"the match in a process of its own, which measures peak memory, failed: {last}. "
            f"Does it run alone? unitscope match {settings.network} RECORDING --memory {settings.memory}"
        )
    return Apart(**json.loads(done.stdout.splitlines()[-1]))


def main(settings: str) -> None:
    """Measure one match in this process and print the result as JSON."""
    described = json.loads(settings)
    chosen = BenchSettings(**{**described, "peers": tuple(described["peers"])})
    network = chosen.load_network()
    recording = chosen.open_recording(network)
    with torch.inference_mode():
        network.module(network.inputs(recording.stimuli, recording.stimuli.ids[:1]))
    base = _resident_bytes("VmRSS")
    if _RESET.exists():
        _RESET.write_text("5")
    with TemporaryDirectory() as store, TrafficCounter() as counter:
        match(network, recording, store=store, progress=False, **chosen.match_options())
    peak = _resident_bytes("VmHWM") - base
    plan = plan_match(network, recording, **chosen.match_options())
    n_columns = recording.data.sizes["site"] + chosen.shuffles
    reads = KERNEL_READS if plan.is_held else KERNEL_READS + 2 * n_columns / plan.batch
    n_values = len(recording.stimuli) * int(network.layers["units"].sum())
    print(json.dumps(asdict(Apart(peak, counter.n_bytes + 4 * reads * n_values))))


def _resident_bytes(name: str) -> float:
    if not _RESET.exists():
        return float("nan")
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return float(line.split()[1]) * 1024
