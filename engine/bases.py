"""How well do the units of a layer match each site once their channels are mixed? The best unit's r, in float64.

A basis mixes the channels at every position: the new units are weighted sums of the old ones. r of each follows from
products of the channels with the sites and, where there are more stimuli than channels, from the channels' second
moments at each position, which all bases share; else the stimuli are mixed one by one. All sums are float64 around the
mean over the stimuli: float32 moments miss r by 1e-4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.schema import LOW_VARIATION, MIN_STIMULI, ROUNDING

WORKSPACE = 2**25
"""Bytes of the largest array of a block of positions."""


@dataclass(frozen=True)
class SiteColumns:
    """The sites over all stimuli and, with folds, over all parts but one; and over each part that was left out.

    A mask says which stimuli a column counts: those of its split that its site saw. Mask 0 counts all stimuli.
    """

    z: torch.Tensor
    """(split, site, stimulus) float64, mean 0 and norm 1 over the column's mask, 0 elsewhere; NaN if it is constant."""
    left_out: torch.Tensor
    """(fold, site, stimulus), the same over the left-out part; no fold without a split of it."""
    is_left_out: torch.Tensor
    """(fold, site, stimulus) bool, what it counts."""
    mask: torch.Tensor
    """(split x site,) int64, the mask of each column."""
    cells: torch.Tensor
    """(cell, stimulus) 0 or 1: what masks are made of, a fold times a pattern of present stimuli."""
    members: torch.Tensor
    """(mask, cell) 0 or 1."""

    @classmethod
    def of(cls, response: np.ndarray, fold: np.ndarray, device: torch.device) -> "SiteColumns":
        """Standardise responses.

        Parameters
        ----------
        response
            (stimulus, site) float64; NaN = missing.
        fold
            (stimulus,) part of each stimulus, 0 .. n_folds-1; all 0: nothing is left out.
        """
        folds = np.arange(fold.max() + 1)
        in_fold = fold == folds[:, None]
        splits = [np.ones(len(folds), bool), *(folds != out for out in folds if len(folds) > 1)]
        parts = in_fold if len(folds) > 1 else in_fold[:0]
        seen = np.isfinite(response.T)
        patterns, pattern = np.unique(np.concatenate([np.ones_like(seen[:1]), seen]), axis=0, return_inverse=True)
        order = np.argsort(-patterns.sum(axis=1))  # the complete one first
        patterns, pattern = patterns[order], np.argsort(order)[pattern.reshape(-1)[1:]]
        masks = np.arange(len(splits))[:, None] * len(patterns) + pattern

        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        return cls(
            z=on_device(np.stack([_standardise(response, split @ in_fold) for split in splits])),
            left_out=on_device(np.stack([_standardise(response, part) for part in in_fold])[: len(parts)]),
            is_left_out=on_device(parts[:, None] & seen),
            mask=on_device(masks.ravel()),
            cells=on_device((in_fold[:, None] & patterns).reshape(-1, len(fold)).astype(np.float64)),
            members=on_device(np.kron(splits, np.eye(len(patterns)))),
        )

    @property
    def n(self) -> torch.Tensor:
        """Stimuli of each mask: (mask,) float64."""
        return self.members @ self.cells.sum(dim=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Splits and sites."""
        return self.z.shape[0], self.z.shape[1]


def _standardise(response: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Centre and norm each site over the stimuli that are counted and that it saw: (site, stimulus)."""
    seen = np.isfinite(response.T) & counted
    y = np.where(seen, response.T, 0.0)
    n = seen.sum(axis=1, keepdims=True)
    high, low = np.where(seen, y, -np.inf).max(axis=1), np.where(seen, y, np.inf).min(axis=1)
    y = np.where(seen, y - y.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)
    norm = np.sqrt((y**2).sum(axis=1))
    varies = (n[:, 0] >= MIN_STIMULI) & (high > low)
    return np.divide(y, norm[:, None], out=np.full_like(y, np.nan), where=varies[:, None])


@dataclass(frozen=True)
class Bases:
    """Basis 0 is the natural one, then come rotations of the channels, then rotations of the rescaled channels."""

    rotations: torch.Tensor
    """(rotation, channel, channel) float64, Q."""
    scale: torch.Tensor
    """(channel,) float64, 1 / SD of each channel; 0 = left out."""

    def __len__(self) -> int:
        return 1 + 2 * len(self.rotations)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Weights of the old channels (row) in the new ones (column)."""
        if index == 0:
            return torch.eye(len(self.scale), dtype=torch.float64, device=self.scale.device)
        rescaled, rotation = divmod(index - 1, len(self.rotations))
        weights = self.rotations[rotation].T
        return weights * self.scale[:, None] if rescaled else weights


class BestUnits:
    """The best unit of each site in each basis among the positions seen so far; the first of equal ones."""

    def __init__(self, bases: Bases, columns: SiteColumns, area: int) -> None:
        n_splits, n_sites = columns.shape
        self.bases, self.columns, self.area = bases, columns, area
        self.r = np.full((len(bases), n_splits, n_sites), -np.inf)
        """(basis, split, site) r; -inf: none so far."""
        self.unit = np.full(self.r.shape, -1)
        """Index into the layer's (channel, y, x)."""
        self.left_out = np.full((len(bases), n_splits - 1, n_sites), np.nan)
        """(basis, fold, site) r of the unit selected without the fold, on the fold."""
        self.n_nonfinite = 0
        """Positions at which some activation is NaN or infinite: no unit there exists in a rotated basis."""

    def add(self, activation: torch.Tensor, first: int) -> None:
        """Look at all stimuli at some positions.

        Parameters
        ----------
        activation
            (position, stimulus, channel) float32.
        first
            Index of the first position in the layer.
        """
        rises = np.zeros(self.r.shape, bool)
        for positions in _blocks(activation.shape, self.columns):
            block = _Block(activation[positions], self.columns)
            self.n_nonfinite += int(block.is_spoiled.sum())
            for index in range(len(self.bases)):
                r, channel, position = block.best(self.bases[index], is_natural=index == 0)
                better = r > self.r[index]
                self.r[index][better] = r[better]
                unit = channel * self.area + first + positions.start + position
                self.unit[index][better] = unit[better]
                rises[index] |= better
        for index, fold in np.argwhere(rises[:, 1:].any(axis=2)):
            sites = np.flatnonzero(rises[index, fold + 1])
            channel, position = np.divmod(self.unit[index, fold + 1, sites], self.area)
            weights = self.bases[index][:, torch.from_numpy(channel).to(activation.device)]
            values = _responses(activation, position - first, weights)
            z, counted = self.columns.left_out[fold, sites], self.columns.is_left_out[fold, sites]
            self.left_out[index, fold, sites] = _correlation(values, z, counted).cpu().numpy()


def block_size(n_stimuli: int, n_channels: int, columns: SiteColumns) -> int:
    """Float64 values that one position adds to the largest array of a block."""
    n_cells = len(columns.cells)
    rows = n_cells * n_channels if _by_moments(n_stimuli, n_channels, n_cells) else n_stimuli
    return n_channels * max(rows, n_stimuli, len(columns.mask))


def _by_moments(n_stimuli: int, n_channels: int, n_cells: int) -> bool:
    """Whether second moments of the channels cost less than mixing the stimuli one by one, measured on two cores."""
    return n_cells * n_channels < 1.5 * n_stimuli


def _blocks(shape: Sequence[int], columns: SiteColumns) -> Iterator[slice]:
    n_positions, n_stimuli, n_channels = shape
    step = max(1, WORKSPACE // (8 * block_size(n_stimuli, n_channels, columns)))
    return (slice(first, min(first + step, n_positions)) for first in range(0, n_positions, step))


class _Block:
    """What all bases share at some positions."""

    def __init__(self, activation: torch.Tensor, columns: SiteColumns) -> None:
        x = activation.double()
        is_finite = torch.isfinite(x).all(dim=1)
        self.is_spoiled = ~is_finite.all(dim=1)
        if bool(self.is_spoiled.any()):
            x = torch.where(is_finite[:, None], x, 0.0)
        self.columns = columns
        low, high = x.amin(dim=1), x.amax(dim=1)
        self.largest = torch.where(low < high, torch.maximum(-low, high), 0.0)  # what is constant has no rounding
        x -= x.mean(dim=1, keepdim=True)
        self.products = columns.z.flatten(0, 1) @ x
        self.sums = columns.cells @ x
        self.x, self.squares = x, torch.empty(0)
        if _by_moments(x.shape[1], x.shape[2], len(columns.cells)):
            self.squares = torch.stack([(x * cell[:, None]).transpose(1, 2) @ x for cell in columns.cells], dim=1)

    def best(self, weights: torch.Tensor, *, is_natural: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return r, channel and position in the block of the best unit, (split, site) each; -inf: none is ranked."""
        r = _mixed(self.products, weights) * self._scale(weights)[:, self.columns.mask]
        r.nan_to_num_(nan=-torch.inf)
        if not is_natural:
            r[self.is_spoiled] = -torch.inf
        by_position, channels = r.max(dim=2)
        r, positions = by_position.max(dim=0)
        channels = channels.gather(0, positions[None])[0]
        found = (r.clamp_max(1.0), channels, positions)
        return tuple(values.view(self.columns.shape).cpu().numpy() for values in found)  # type: ignore[return-value]

    def _scale(self, weights: torch.Tensor) -> torch.Tensor:
        """1 / norm of each new unit over the stimuli of each mask: (position, mask, channel); NaN: not ranked."""
        squares, sums = self._moments(weights)
        members, n = self.columns.members, self.columns.n[:, None]
        squares = members @ squares - (members @ sums).square_() / n
        largest = self.largest.square() @ weights.square()
        varies = (squares > n * ROUNDING**2 * largest[:, None]) & (n >= MIN_STIMULI)
        varies &= (squares[:, 0] > n[0] * LOW_VARIATION**2 * largest)[:, None]
        return torch.where(varies, squares.rsqrt(), torch.nan)

    def _moments(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum the squares of each new unit, and the unit, over the stimuli of each cell: (position, cell, channel)."""
        if len(self.squares):
            return _quadratic(self.squares, weights), _mixed(self.sums, weights)
        x = _mixed(self.x, weights)
        return self.columns.cells @ x.square_(), _mixed(self.sums, weights)


def _mixed(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mix the channels, the last dim of (position, row, channel), in one product."""
    return (rows.reshape(-1, len(weights)) @ weights).view(rows.shape)


def _quadratic(squares: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Take w' M w for each column w of the weights and each symmetric M of (position, cell, channel, channel).

    The matrix is taken in four strips of rows up to the diagonal, what lies left of it counted twice: five eighths of
    the product.
    """
    n = len(weights)
    total = torch.zeros(*squares.shape[:2], n, dtype=squares.dtype, device=squares.device)
    for start in range(0, n, -(-n // 4)):
        stop = min(start + -(-n // 4), n)
        strip = squares[:, :, start:stop, :stop].clone()
        strip[..., :start] *= 2
        mixed = (strip.view(-1, stop) @ weights[:stop]).view(*strip.shape[:3], n)
        total += mixed.mul_(weights[start:stop]).sum(dim=2)
    return total


def _responses(activation: torch.Tensor, position: np.ndarray, weights: torch.Tensor) -> torch.Tensor:
    """Responses of single new units, (unit, stimulus) float64: at ``position`` (unit,), ``weights`` (channel, unit)."""
    at_once = max(1, WORKSPACE // (8 * activation.shape[1] * activation.shape[2]))
    chosen = torch.from_numpy(position).to(activation.device)
    pairs = zip(chosen.split(at_once), weights.T[:, :, None].split(at_once), strict=True)
    at = (activation[where].double().nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0) @ weight for where, weight in pairs)
    return torch.cat([values[..., 0] for values in at])


def _correlation(values: torch.Tensor, z: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Correlate units with standardised columns, pair by pair, over what counts: all (pair, stimulus); r (pair,)."""
    largest = values.abs().amax(dim=1)
    n = counted.sum(dim=1)
    values = torch.where(counted, values - (values * counted).sum(dim=1, keepdim=True) / n[:, None], 0.0)
    norm = values.square().sum(dim=1).sqrt()
    r = (values * z).sum(dim=1) / norm
    return torch.where(norm > n.sqrt() * ROUNDING * largest, r.clamp(-1.0, 1.0), torch.nan)
