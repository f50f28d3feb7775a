"""How much memory does a match take beside the sums or activations of its pass? Counted, array by array."""

import pandas as pd
import torch

from engine.kernels import products
from engine.kernels.ranks import ROOM, TOGETHER
from engine.kernels.tiles import TILE
from engine.kernels.vectors import COLUMNS_AT_ONCE
from engine.schema import N_R_BINS, SPARE
from engine.summaries import CHUNK
from engine.targets import Targets

OVERHEAD = 112 * 2**20
"""Python's own objects, libraries and compiled code loaded on first use, and what malloc cannot give back."""


def ranking_bytes(targets: Targets, area: int) -> int:
    """Workspace of ranking one chunk of sums, some float64 arrays."""
    arrays = 6 if targets.n_patterns == 1 else 10
    return OVERHEAD + arrays * 8 * max(CHUNK, targets.n_columns * area)


def held_bytes(targets: Targets, top: int, area: int, device: torch.device) -> int:
    """Workspace of summarising a held layer: its threads' tiles, or chunks of it; and the activations it names."""
    n_stimuli, n_splits = len(targets.stimuli), _n_splits(targets)
    named = targets.n_sites * n_splits * (top + SPARE // 8) + targets.n_columns * n_splits
    exact = 2 * 4 * n_stimuli * named // 2 + 8 * n_stimuli * targets.n_columns * 4
    if device.type != "cpu" or targets.n_patterns > 1:
        chunk = max(CHUNK // targets.n_columns, area)
        return exact + ranking_bytes(targets, area) + chunk * n_stimuli * 24
    nonzeros = 8 * (n_stimuli // products.CHUNK + 2 * targets.n_folds)
    tile = TILE * (4 * n_stimuli + 4 * (targets.n_folds + 1) * COLUMNS_AT_ONCE + nonzeros + 8 * TOGETHER)
    kept = n_splits * targets.n_sites * ROOM * (top + SPARE) * 16
    return exact + OVERHEAD + torch.get_num_threads() * (tile + 2 * kept)  # of the layer before, to be joined, too


def result_bytes(targets: Targets, top: int, table: pd.DataFrame, thumbnail: int) -> int:
    """What lives beside the sums: results of the layers, responses of the candidates, pictures."""
    n_sites, n_stimuli, n_layers = targets.n_sites, len(targets.stimuli), len(table)
    n_splits = _n_splits(targets)
    candidates = min(n_sites * (n_splits * (top + SPARE // 8) + n_layers), int(table["units"].sum()))
    responses = 4 * n_stimuli * (candidates + min(n_sites * top, candidates))
    per_layer = n_sites * (n_splits * (top + SPARE // 8) * 26 + N_R_BINS * 8 + top * 48)
    maps = int(table["channels"].sum()) * n_sites * 16
    return responses + n_layers * per_layer + maps + 2 * n_stimuli * 3 * thumbnail**2


def _n_splits(targets: Targets) -> int:
    return targets.n_folds + 1 if targets.n_folds > 1 else 1
