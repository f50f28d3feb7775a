"""How long will a match take here? Its steps, each tried on a little of the real thing, before the plan is made."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from engine.activations import recorded
from engine.allocation import fresh_pages, has_pages, matches_to_come
from engine.matching import fixed_batch, halving
from engine.networks import Network
from engine.planning import Seconds, Way
from engine.stimuli import Stimuli
from engine.targets import Targets

HELD_TOUCHES = 5
"""Times that a held activation is read or written, counted: into the block, out for the mean, out and into a tile."""

SUMMED_TOUCHES = 6
"""The same where products are summed: out for the shift, out and into a tile, squared."""

RANKED_TOUCHES = 4
"""Times that an r costs as much as reading or writing a number: computed, counted, compared."""

_FRESH = 2**24
"""Numbers of fresh memory that are written as a trial."""


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine."""

    decode_s: float
    """Decode one stimulus."""
    reach_s: dict[str, float]
    """Forward pass of one stimulus until a layer is there."""
    multiply_s: float
    """Multiply and add one activation and one column."""
    touch_s: float
    """Read or write one float32 in memory."""
    fresh_s: float
    """Write one float32 in memory that the process did not have before."""

    def seconds(self, targets: Targets) -> Seconds:
        """What a match with ``targets`` takes."""
        n_stimuli, columns = len(targets.stimuli), targets.n_columns

        def summarise(way: Way, n_units: int) -> float:
            touches = HELD_TOUCHES if way.is_held else SUMMED_TOUCHES + 2 * columns / way.batch
            of_values = n_units * n_stimuli * (columns * self.multiply_s + touches * self.touch_s)
            return of_values + n_units * RANKED_TOUCHES * columns * (targets.n_folds + 1) * self.touch_s

        reach_s = {name: n_stimuli * seconds for name, seconds in self.reach_s.items()}
        return Seconds(
            n_stimuli * self.decode_s,
            reach_s,
            summarise,
            take=lambda n_bytes: 0.0 if has_pages(n_bytes) else n_bytes / 4 * self.fresh_s / matches_to_come(),
            touch=lambda n_bytes: n_bytes / 4 * self.touch_s,
        )


def measure_costs(network: Network, stimuli: Stimuli, targets: Targets, device: torch.device) -> Costs:
    """Try every step of a match; takes the time of some dozen stimuli. The network is on ``device`` already."""
    few = targets.stimuli[:2].tolist()
    decode_s = _seconds(lambda: network.inputs(stimuli, few), device) / len(few)
    inputs = network.inputs(stimuli, few[:1]).expand(fixed_batch(device) // 2, -1, -1, -1).to(device)
    columns, values = torch.rand(targets.n_columns, 256, device=device), torch.rand(256, 2**14, device=device)
    multiply_s = _seconds(lambda: columns @ values, device) / (len(columns) * values.numel())
    touch_s = _seconds(lambda: torch.rand(1, device=device) + values, device) / (2 * values.numel())
    fresh_s = _seconds(lambda: _fresh(device).fill_(1), device, tries=1) / _FRESH  # a second try gets the same pages
    reach_s = halving(lambda batch: _reach_s(network, inputs[:batch]), len(inputs))
    return Costs(decode_s, reach_s, multiply_s, touch_s, fresh_s)


def _reach_s(network: Network, inputs: torch.Tensor) -> dict[str, float]:
    """Seconds for one stimulus until each layer has answered; the better of two passes."""
    names = network.layers["name"].tolist()
    passes: list[dict[str, float]] = [{}, {}]
    for reached in passes:
        started = time.perf_counter()

        def note(name: str, _: torch.Tensor, reached: dict[str, float] = reached, started: float = started) -> None:
            _wait(inputs.device)
            reached[name] = (time.perf_counter() - started) / len(inputs)

        with recorded(network, names, note, channelwise=True) as run_forward:
            run_forward(inputs)
    return {name: min(reached[name] for reached in passes) for name in names}


def _seconds(step: Callable[[], object], device: torch.device, *, tries: int = 2) -> float:
    """The best of some tries."""
    seconds = []
    for _ in range(tries):
        started = time.perf_counter()
        step()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _fresh(device: torch.device) -> torch.Tensor:
    if device.type != "cpu":
        return torch.empty(_FRESH, device=device)
    return torch.frombuffer(fresh_pages(4 * _FRESH), dtype=torch.float32)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
