"""How special is the match? The distribution of r over the best units of each site (Arend et al. 2018, figure 7)."""

import numpy as np

N_BINS = 100
STEP = 0.05


def shared_bins(correlation: np.ndarray) -> np.ndarray:
    """Edges of 100 equal bins over [floor(min, 0.05), ceil(max, 0.05)] of (site, rank) r: (101,)."""
    low, high = np.nanmin(correlation), np.nanmax(correlation)
    first = min(low, np.floor(low / STEP + 1e-9) * STEP)
    last = max(high, np.ceil(high / STEP - 1e-9) * STEP)
    return np.linspace(first, max(last, first + STEP), N_BINS + 1)


def count_by_r(correlation: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count the best units of each site by r.

    Parameters
    ----------
    correlation
        (site, rank); NaN = no unit at that rank.
    edges
        (bin + 1,) as ``shared_bins`` gives them.

    Returns
    -------
    np.ndarray
        (site, bin) int64; each row sums to the number of ranked units of its site.
    """
    return np.stack([np.histogram(row[np.isfinite(row)], edges)[0] for row in correlation])
