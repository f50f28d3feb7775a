"""Which stimuli select a unit and which score it: a seeded split of the stimuli into parts."""

from collections import defaultdict

import numpy as np
import xarray as xr

from engine.errors import SettingsError
from engine.schema import STIMULUS

_STRATA = ("object", "category")


def assign_folds(recording: xr.Dataset, n_folds: int, seed: int) -> xr.DataArray:
    """Assign every stimulus to one of ``n_folds`` parts of equal size, stratified by object, else by category.

    The permutation is drawn over the sorted ids, so the order of the stimuli in the recording changes nothing.

    Returns
    -------
    xr.DataArray
        ``fold`` (stimulus), int64 in 0 .. n_folds-1, in the recording's order. All 0 for ``n_folds=1``.

    Raises
    ------
    SettingsError
        If a part would hold fewer than three stimuli, too few for a correlation.
    """
    ids = recording[STIMULUS].values.astype(str)
    if n_folds < 1 or len(ids) < 3 * n_folds:
        raise SettingsError(
            f"folds={n_folds} with {len(ids)} stimuli: every part needs at least 3. "
            f"Choose folds between 1 and {max(1, len(ids) // 3)}."
        )
    label = next((name for name in _STRATA if name in recording.coords), None)
    stratum = recording[label].values.astype(str) if label else np.full(len(ids), "")
    members: dict[str, list[int]] = defaultdict(list)
    for index in np.random.default_rng(seed).permutation(np.argsort(ids)):
        members[stratum[index]].append(index)
    order = np.concatenate([members[name] for name in sorted(members)])
    fold = np.empty(len(ids), np.int64)
    fold[order] = np.arange(len(ids)) % n_folds
    return xr.DataArray(fold, dims=STIMULUS, coords={STIMULUS: ids}, name="fold")
