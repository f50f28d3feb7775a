"""What a benchmark found, as one table for people and as JSON."""

import json
import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from engine.bench.apart import Apart
from engine.bench.floor import AS_IT_COMES, CHANNELS_LAST, Floor
from engine.bench.peers import TITLES, PeerRun
from engine.planning import format_bytes

COLUMNS = ("", "seconds", "x floor", "x best floor", "peak memory", "bytes moved", "")

HOW = """Seconds are medians, ratios medians of the ratios within a repeat; each repeat runs floor, match, peers, in
memory that the process has used before. The first match is one run before them: on some virtual machines new memory is
dear.
Floor: decode + forward without hooks + float32 product, in this process, tuned malloc, full float32. Ratios are to the
floor with the network as it comes, and to the best floor, in the faster layout.
Peak memory: above the process with the network loaded and used once, in a process of its own.
Bytes moved: counted, not measured: each torch operation reads its operands and writes its result once, whether in a
cache or not; decoding is left out on both sides.
Peers find r of the 100 best units and nothing else: no folds, shuffles, counts of units, best positions, or store."""


@dataclass
class PeerTimes:
    """A peer's repeats."""

    name: str
    problem: str | None = None
    """Why it did not run."""
    seconds: list[float] = field(default_factory=list)
    passes: int = 0
    """Forward passes over all images."""
    n_sites: int = 0
    """Sites that it could take: those with a response to every image."""
    max_difference: float = math.nan
    """Largest \\|r - ours\\| over the sites' best units."""

    @property
    def title(self) -> str:
        """What it does, in words."""
        return TITLES[self.name]

    def add(self, run: PeerRun, ours: np.ndarray) -> None:
        """Take one more run; ``ours`` is r (site, rank) of the same sites."""
        self.seconds.append(run.seconds)
        self.passes, self.n_sites = run.passes, len(ours)
        self.max_difference = float(np.abs(run.r[:, 0] - ours[:, 0]).max())


@dataclass(frozen=True)
class Benchmark:
    """Seconds of every part in every repeat, bytes, and where it was measured."""

    settings: dict[str, Any]
    network: str
    n_layers: int
    n_units: int
    recording: str
    is_simulated: bool
    n_images: int
    n_sites: int
    plan: str
    floors: list[Floor]
    choices: dict[str, str]
    """Best batch of each layout, and the faster product."""
    first_match_s: float
    """In memory that is new to the process; the others use it again, as the floor does."""
    match_s: list[float]
    apart: Apart
    floor_bytes: dict[str, int]
    """By layout."""
    peers: list[PeerTimes]
    machine: str
    versions: dict[str, str]
    load: tuple[float, float]
    """Load average of the last minute, before and after."""

    def ratio(self, seconds: list[float], *, best: bool = False) -> float:
        """Return the median over the repeats of seconds by the floor, or by the best floor."""
        floors = [floor.best_s if best else floor.as_it_comes_s for floor in self.floors]
        return median(taken / floor for taken, floor in zip(seconds, floors, strict=True))

    @property
    def match_ratio(self) -> float:
        """Time of the match by the floor with the network as it comes."""
        return self.ratio(self.match_s)

    @property
    def best_match_ratio(self) -> float:
        """Time of the match by the best floor."""
        return self.ratio(self.match_s, best=True)

    def table(self) -> pd.DataFrame:
        """One row for each part of the floor, the floors, the match and the peers."""
        rows = [*self._floor_rows(), self._first_row(), self._match_row(), *map(self._peer_row, self.peers)]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def describe(self) -> str:
        """Return the table with its settings, machine and versions."""
        simulated = " (SIMULATED pictures and responses)" if self.is_simulated else ""
        chosen = {key: self.settings[key] for key in ("folds", "shuffles", "memory", "batch", "repeats")}
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        lines = [
            f"{self.network}: {self.n_layers} layers, {self.n_units:,} units; "
            f"{self.n_images} images x {self.n_sites} sites of {self.recording!r}{simulated}",
            ", ".join(f"{key}={value}" for key, value in chosen.items()) + f"; match: {self.plan}",
            f"{self.machine}; load {self.load[0]:.1f} before, {self.load[1]:.1f} after",
            packages,
            "",
            _text(self.table()),
            "",
            HOW,
        ]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Everything, with the ratios; what is not a number is null."""
        found = asdict(self) | {"match_ratio": self.match_ratio, "best_match_ratio": self.best_match_ratio}
        return json.dumps(_plain(found), indent=1, allow_nan=False) + "\n"

    def _floor_rows(self) -> list[tuple[Any, ...]]:
        parts = {
            "decode": ([f.decode_s for f in self.floors], "once"),
            "forward, as it comes": ([f.forward_s for f in self.floors], self.choices[AS_IT_COMES]),
            "forward, channels last": ([f.forward_channels_last_s for f in self.floors], self.choices[CHANNELS_LAST]),
            "product": ([f.product_s for f in self.floors], self.choices["product"]),
        }
        rows = [(name, _seconds(values), "", "", "", "", note) for name, (values, note) in parts.items()]
        as_it_comes, best = [f.as_it_comes_s for f in self.floors], [f.best_s for f in self.floors]
        moved = self.floor_bytes[AS_IT_COMES], min(self.floor_bytes.values())
        rows.append(("floor", *self._times(as_it_comes), "", format_bytes(moved[0]), "network as it comes"))
        rows.append(("best floor", *self._times(best), "", format_bytes(moved[1]), "the faster layout"))
        return rows

    def _first_row(self) -> tuple[Any, ...]:
        first = [self.first_match_s] * len(self.floors)
        return ("engine.match, first", *self._times(first), "", "", "in memory new to the process")

    def _match_row(self) -> tuple[Any, ...]:
        peak = "not available" if math.isnan(self.apart.peak_bytes) else format_bytes(self.apart.peak_bytes)
        return ("engine.match", *self._times(self.match_s), peak, format_bytes(self.apart.moved_bytes), "")

    def _peer_row(self, peer: PeerTimes) -> tuple[Any, ...]:
        if not peer.seconds:
            return (peer.title, "", "", "", "", "", peer.problem or "not run")
        passes = f"{peer.passes} forward pass{'es' if peer.passes > 1 else ''}"
        sites = "" if peer.n_sites == self.n_sites else f", {peer.n_sites} sites without missing responses"
        note = f"{passes}{sites}, best r within {peer.max_difference:.0e} of the match's"
        return (peer.title, *self._times(peer.seconds), "", "", note)

    def _times(self, seconds: list[float]) -> tuple[str, str, str]:
        return _seconds(seconds), f"{self.ratio(seconds):.2f}", f"{self.ratio(seconds, best=True):.2f}"


def _seconds(values: list[float]) -> str:
    return f"{median(values):#.3g}"


def _text(table: pd.DataFrame) -> str:
    """Columns with numbers to the right, the first and the last to the left."""
    cells = [list(table.columns), *table.astype(str).values.tolist()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = []
    for row in cells:
        first, *numbers, note = row
        middle = (cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *middle, note]).rstrip())
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
