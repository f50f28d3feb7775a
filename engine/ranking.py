"""Which units correlate best with each column: the top of a list that is read in pieces, in one total order.

The order is (-r, layer in execution order, unit index). ``torch.topk`` gives the k-th value; which units reach it is
decided here, since topk breaks ties by chance and puts NaN first.
"""

from dataclasses import dataclass

import numpy as np
import torch

from engine.kernels.ordering import by_column, last_ranks
from engine.schema import LEVEL, MARGIN, SPARE


@dataclass
class Candidates:
    """Pairs of a column and a unit that may be among the column's best."""

    column: np.ndarray
    layer: np.ndarray
    unit: np.ndarray
    r: np.ndarray

    @classmethod
    def none(cls) -> "Candidates":
        """No candidates yet."""
        none = np.empty(0, np.int64)
        return cls(none, none, none, np.empty(0))

    def __len__(self) -> int:
        return len(self.r)

    def take(self, index: np.ndarray) -> "Candidates":
        """Keep some of the pairs."""
        return Candidates(self.column[index], self.layer[index], self.unit[index], self.r[index])

    @classmethod
    def join(cls, parts: "list[Candidates]") -> "Candidates":
        """Put lists one after the other."""
        return cls(
            np.concatenate([p.column for p in parts]),
            np.concatenate([p.layer for p in parts]),
            np.concatenate([p.unit for p in parts]),
            np.concatenate([p.r for p in parts]),
        )

    def rank(self) -> np.ndarray:
        """Position of each pair within its column, in the list's order."""
        starts = np.flatnonzero(np.diff(self.column, prepend=-1))
        lengths = np.diff(np.append(starts, len(self)))
        return np.arange(len(self)) - np.repeat(starts, lengths)


def in_order(candidates: Candidates) -> Candidates:
    """Sort by column and, within it, in the total order."""
    return candidates.take(by_column(candidates.column, candidates.layer, candidates.unit, candidates.r))


def best(candidates: Candidates, top: int) -> Candidates:
    """Keep, for each column, the ``top`` best pairs and up to ``SPARE`` more that lie within ``MARGIN`` of the last.

    Where more units than that are tied with the last, the first in layer order stay. NaN is dropped. Sorted.
    """
    candidates = candidates.take(np.flatnonzero(~np.isnan(candidates.r)))
    near = np.flatnonzero(candidates.r >= last_ranks(candidates.column, candidates.r, top) - MARGIN)
    candidates = in_order(candidates.take(near))
    if candidates.rank().max(initial=0) < top + SPARE:
        return candidates
    last = last_ranks(candidates.column, candidates.r, top)
    level = np.where(np.abs(candidates.r - last) <= LEVEL, last, candidates.r)
    by_level = by_column(candidates.column, candidates.layer, candidates.unit, level)
    return candidates.take(np.sort(by_level[candidates.rank() < top + SPARE]))


class TopUnits:
    """The best units of one layer for each column, found chunk by chunk."""

    def __init__(self, layer: int, top: int) -> None:
        self.layer = layer
        self.top = top
        self.candidates = Candidates.none()
        self._last: torch.Tensor | None = None

    def add(self, r: torch.Tensor, first_unit: int) -> None:
        """Add a chunk: ``r`` (column, unit) with -inf for units that are not ranked, from unit ``first_unit`` on."""
        if self._last is None:
            last = torch.topk(r, min(self.top, r.shape[1]), dim=1).values[:, -1]
            self._last = last if r.shape[1] >= self.top else torch.full_like(last, -torch.inf)
        reaches = r >= (self._last - MARGIN).clamp_min(-2)[:, None]
        column, unit = (index.cpu().numpy() for index in reaches.nonzero(as_tuple=True))
        if len(column) == 0:
            return
        found = Candidates(column, np.full(len(column), self.layer), unit + first_unit, r[reaches].cpu().numpy())
        self.candidates = best(Candidates.join([self.candidates, found]), self.top)
        at_last = self.candidates.take(np.flatnonzero(self.candidates.rank() == self.top - 1))
        index = torch.from_numpy(at_last.column).to(r.device)
        self._last[index] = torch.maximum(self._last[index], torch.from_numpy(at_last.r).to(r))
