"""What a layer comes to: counts of units by r, the best of each feature map, candidates for the best, chance.

A summary is filled from pieces of a layer, whole feature maps at a time, and is small enough to be stored at once.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from engine.moments import PairMoments
from engine.ranking import Candidates, TopUnits
from engine.schema import N_R_BINS, R_BIN, SHUFFLE, SITE
from engine.targets import Targets

CHUNK = 2**21
"""Pairs of a unit and a column that are ranked at a time."""


@dataclass
class LayerSummary:
    """What is known of a layer once all its units were correlated with every column."""

    counts: np.ndarray
    """(site, r bin) int64, units over all stimuli."""
    map_r: np.ndarray
    """(site, channel), the best r of each feature map over all stimuli; -inf where none is ranked."""
    map_position: np.ndarray
    """(site, channel), the first position that has it."""
    candidates: list[Candidates]
    """For each split, pairs of a site and a unit that may be among the site's best."""
    null_r: np.ndarray
    """(split, shuffle), the best r with each shuffled site; -inf where none is ranked."""
    null_unit: np.ndarray
    """(split, shuffle), the first unit that has it."""
    statuses: dict[str, int]
    """Number of units by status: ``n_constant``, ``n_low_variation``, ``n_nonfinite``, ``n_ok``."""
    first_nonfinite: int
    """Position of the first stimulus with a NaN or infinite activation, or -1."""


@dataclass(frozen=True)
class Piece:
    """Some whole feature maps of a layer: their sums, which of them, and the first unit's index in the layer."""

    moments: PairMoments
    units: slice
    first_unit: int


def splits_of(n_folds: int) -> list[list[int]]:
    """Folds that each split selects over: all of them, then all but one."""
    everything = list(range(n_folds))
    return [everything, *([f for f in everything if f != out] for out in everything if n_folds > 1)]


def maps_at_once(targets: Targets, area: int) -> int:
    """Feature maps of ``area`` units in one piece."""
    return max(1, CHUNK // (targets.n_columns * area))


def summarise(
    pieces: Iterable[Piece], layer: int, shape: tuple[int, int, int], top: int, targets: Targets
) -> LayerSummary:
    """Summarise a layer of ``shape`` (channels, height, width), the ``layer``-th, from its pieces in order."""
    splits = splits_of(targets.n_folds)
    channels, area = shape[0], shape[1] * shape[2]
    n_sites = targets.n_sites
    tops = [TopUnits(layer, top) for _ in splits]
    nulls = [TopUnits(layer, 1) for _ in splits]
    counts = np.zeros((n_sites, N_R_BINS), np.int64)
    map_r, map_position = np.full((n_sites, channels), -np.inf), np.zeros((n_sites, channels), np.int32)
    statuses, nonfinite, known = Counter[str](), list[int](), None
    for piece in pieces:
        if piece.moments is not known:
            known = piece.moments
            statuses.update(known.statuses())
            nonfinite += [known.first_nonfinite] if known.first_nonfinite >= 0 else []
        for split, folds in enumerate(splits):
            r = piece.moments.correlation(folds, piece.units)
            of_sites = r[:n_sites]
            if split == 0:
                counts += _count(of_sites)
            r.nan_to_num_(nan=-torch.inf)
            if split == 0:
                start = piece.first_unit // area
                values, positions = of_sites.view(n_sites, -1, area).max(dim=2)
                map_r[:, start : start + values.shape[1]] = values.cpu().numpy()
                map_position[:, start : start + values.shape[1]] = positions.cpu().numpy()
            tops[split].add(of_sites, piece.first_unit)
            if targets.n_columns > n_sites:
                nulls[split].add(r[n_sites:], piece.first_unit)
    candidates = [t.candidates for t in tops]
    return LayerSummary(
        counts, map_r, map_position, candidates, *_nulls(nulls, targets), statuses, min(nonfinite, default=-1)
    )


def layer_dataset(
    summary: LayerSummary, left_out_r: list[np.ndarray], null_left_out_r: np.ndarray, width: int, targets: Targets
) -> xr.Dataset:
    """Turn a summary into what a run keeps of a layer.

    Parameters
    ----------
    left_out_r
        For each split but the first, r of its candidates on the fold that it leaves out.
    null_left_out_r
        (split, shuffle), the same of ``summary.null_unit``; NaN for split 0.
    width
        Of the layer's feature maps.

    Returns
    -------
    xr.Dataset
        ``r``, ``left_out_r``, ``split``, ``column``, ``unit`` (candidate): candidates for the best units of each site,
        split 0 selected over all stimuli, split f + 1 over all folds but f and scored on fold f as well;
        ``count`` (site, r_bin); ``map_r``, ``map_y``, ``map_x`` (channel, site); ``null_r`` (split, shuffle) and
        ``null_left_out_r`` likewise; attributes count units by status.
    """
    found = summary.candidates
    best_r, position = summary.map_r.T.astype(np.float32), summary.map_position.T
    is_ranked = np.isfinite(best_r)
    null_r = np.where(np.isfinite(summary.null_r), summary.null_r, np.nan)
    first = str(targets.stimuli[summary.first_nonfinite]) if summary.statuses["n_nonfinite"] else ""
    return xr.Dataset(
        {
            "split": ("candidate", np.repeat(np.arange(len(found)), [len(c) for c in found]).astype(np.int16)),
            "column": ("candidate", np.concatenate([c.column for c in found]).astype(np.int32)),
            "unit": ("candidate", np.concatenate([c.unit for c in found]).astype(np.int32)),
            "r": ("candidate", np.concatenate([c.r for c in found])),
            "left_out_r": ("candidate", np.concatenate([np.full(len(found[0]), np.nan), *left_out_r])),
            "count": ((SITE, R_BIN), summary.counts.astype(np.int32)),
            "map_r": (("channel", SITE), np.where(is_ranked, best_r, np.nan)),
            "map_y": (("channel", SITE), np.where(is_ranked, position // width, -1).astype(np.int16)),
            "map_x": (("channel", SITE), np.where(is_ranked, position % width, -1).astype(np.int16)),
            "null_r": (("split", SHUFFLE), null_r),
            "null_left_out_r": (("split", SHUFFLE), null_left_out_r),
        },
        attrs={**summary.statuses, "first_nonfinite": first},
    )


def _count(r: torch.Tensor) -> np.ndarray:
    """Count units in 200 bins of r over [-1, 1] for each site: (site, bin)."""
    bins = ((r + 1) * (N_R_BINS / 2)).nan_to_num_(nan=-1.0).floor_().clamp_(-1, N_R_BINS - 1).long()
    site = torch.arange(len(r), device=r.device)[:, None]
    flat = torch.where(bins < 0, len(r) * N_R_BINS, bins + site * N_R_BINS)
    return torch.bincount(flat.view(-1), minlength=len(r) * N_R_BINS + 1)[:-1].view(-1, N_R_BINS).cpu().numpy()


def _nulls(nulls: list[TopUnits], targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(nulls), targets.n_columns - targets.n_sites)
    r, unit = np.full(shape, -np.inf), np.zeros(shape, np.int64)
    for split, found in enumerate(t.candidates for t in nulls):
        first = found.take(np.flatnonzero(found.rank() == 0))
        r[split, first.column], unit[split, first.column] = first.r, first.unit
    return r, unit
