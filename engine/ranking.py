"""Which units correlate best with each column: the top of a list that is read in pieces, in one total order.

The order is (-r, layer in execution order, unit index). ``torch.topk`` gives the k-th value; which units reach it is
decided here, since topk breaks ties by chance and puts NaN first.
"""

from dataclasses import dataclass

import numpy as np
import torch

from engine.kernels.ordering import by_column, last_ranks
from engine.schema import LEVEL, MARGIN, SPARE, TIED_WITHIN

NEAR_BEST = 8
"""Units within rounding of the best one that are scored again, so that the best is exact."""


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
    return candidates.take(best_of(candidates, top))


def best_of(candidates: Candidates, top: int) -> np.ndarray:
    """Tell which pairs ``best`` keeps, in its order."""
    index = np.flatnonzero(~np.isnan(candidates.r))
    found = candidates.take(index)
    near = np.flatnonzero(found.r >= last_ranks(found.column, found.r, top) - MARGIN)
    index = index[near]
    found = found.take(near)
    order = by_column(found.column, found.layer, found.unit, found.r)
    index = index[order]
    found = found.take(order)
    if found.rank().max(initial=0) < top + SPARE:
        return index
    last = last_ranks(found.column, found.r, top)
    level = np.where(np.abs(found.r - last) <= LEVEL, last, found.r)
    by_level = by_column(found.column, found.layer, found.unit, level)
    return index[np.sort(by_level[found.rank() < top + SPARE])]


def near_best(candidates: Candidates) -> np.ndarray:
    """Tell which pairs may be the best of their column: within rounding of the highest, the first ``NEAR_BEST``."""
    highest = np.full(candidates.column.max(initial=-1) + 1, -np.inf)
    np.maximum.at(highest, candidates.column, candidates.r)
    near = np.flatnonzero(candidates.r >= highest[candidates.column] - 2 * TIED_WITHIN)
    near = near[np.lexsort((candidates.unit[near], candidates.column[near]))]
    return near[candidates.take(near).rank() < NEAR_BEST]


def below_best(candidates: Candidates, exact: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return r, where no pair but those of ``exact`` passes what was ``near_best``, which are exact too."""
    ceiling = np.full(candidates.column.max(initial=-1) + 1, np.inf)
    np.fmin.at(ceiling, candidates.column[near], candidates.r[near])
    r = np.minimum(candidates.r, ceiling[candidates.column])
    r[exact] = candidates.r[exact]
    return r


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
