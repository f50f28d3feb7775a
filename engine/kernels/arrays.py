"""What the compiled loops work on: columns, sums of a tile, and the best found so far. Plain tuples of arrays."""

from typing import NamedTuple

import numpy as np
from numba import njit

compiled = njit(nogil=True, cache=True, error_model="numpy")
"""Compiled on first use, kept on disk, without the interpreter's lock."""


class Columns(NamedTuple):
    """What units are correlated with: sites, then shuffled sites."""

    z: np.ndarray
    """(block, stimulus, column) float32, zeros beyond the columns of a block."""
    width: int
    """Columns of a block; fewer in the last."""
    n_sites: int
    edges: np.ndarray
    """(fold + 1,) first stimulus of each fold."""
    members: np.ndarray
    """(split, fold) bool: which folds a split selects over; split 0 has all."""
    sum_z: np.ndarray
    """(fold, column) float64."""
    sum_zz: np.ndarray
    """(fold, column) float64."""
    mean_z: np.ndarray
    """(split, column) float64."""
    inverse_z: np.ndarray
    """(split, column) float64, 1 / norm of the centred column; NaN where it does not vary."""


class Order(NamedTuple):
    """Which unit lies where in a row of activations."""

    channels: int
    area: int
    is_position_major: bool


class Places(NamedTuple):
    """Where the units of a tile belong."""

    channel: np.ndarray
    """(tile unit,) int32."""
    position: np.ndarray
    """(tile unit,) int32; a unit's index is ``channel * area + position``."""
    runs: np.ndarray
    """Edges of stretches of units of one feature map; or, where channels lie side by side, of one position."""


class Sums(NamedTuple):
    """Sums of units that lie side by side, of one tile; or flat, of tiles one after the other."""

    shift: np.ndarray
    """(fold, unit) float32: what was subtracted."""
    sum_x: np.ndarray
    """(fold, unit) float64, around the shift."""
    sum_xx: np.ndarray
    """(fold, unit) float64."""
    low: np.ndarray
    """(unit,) float32, least activation."""
    high: np.ndarray
    """(unit,) float32."""
    scale: np.ndarray
    """(unit,) float32, a power of two: other than 1 where float32 products would leave their range."""


class Found(NamedTuple):
    """The best units so far, and how many there are at which r."""

    counts: np.ndarray
    """(site, r bin) int32."""
    map_r: np.ndarray
    """(site, channel), the best r of a feature map."""
    map_position: np.ndarray
    """(site, channel) int32, the first position that has it."""
    kept_r: np.ndarray
    """(split, site, place)."""
    kept_unit: np.ndarray
    """(split, site, place) int64."""
    n_kept: np.ndarray
    """(split, site) int64."""
    floor: np.ndarray
    """(split, site), the r below which no unit is kept; all threads raise it."""
    null_r: np.ndarray
    """(split, shuffle), the best r of a shuffled site."""
    null_unit: np.ndarray
    """(split, shuffle) int64, the first unit that has it."""
    statuses: np.ndarray
    """(status,) int64, counts of units."""
    first_nonfinite: np.ndarray
    """(1,) int64, the first stimulus with an activation that is not finite."""


@compiled
def empty_sums(n_folds, width):
    """Room for a tile."""
    f32, f64 = np.float32, np.float64
    return Sums(
        np.empty((n_folds, width), f32),
        np.empty((n_folds, width), f64),
        np.empty((n_folds, width), f64),
        np.empty(width, f32),
        np.empty(width, f32),
        np.empty(width, f32),
    )


@compiled
def tile_of(sums, first, width):
    """The tile of ``width`` units from ``first`` on, as a view of flat sums."""
    n_folds = len(sums.shift) // len(sums.low)
    begin, end = first * n_folds, (first + width) * n_folds
    return Sums(
        sums.shift[begin:end].reshape(n_folds, width),
        sums.sum_x[begin:end].reshape(n_folds, width),
        sums.sum_xx[begin:end].reshape(n_folds, width),
        sums.low[first : first + width],
        sums.high[first : first + width],
        sums.scale[first : first + width],
    )
