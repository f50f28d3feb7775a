"""Where does a site look? From its responses to flashed squares: a smooth density, and a contour at one SD.

Arend et al. (2018), figure S2: a kernel density with a Gaussian of 1 degree. Their level, the density of a normal
distribution at 1 SD, is read as the peak times exp(-1/2): as an absolute level of the unit Gaussian it would give wide
fields no contour at all.
"""

import numpy as np

BANDWIDTH_DEG = 1.0
"""SD of the kernel."""

LEVEL = float(np.exp(-0.5))
"""Of the contour, as a share of the peak: a Gaussian's value at one SD."""


def above_blank(maps: np.ndarray) -> np.ndarray:
    """Take what squares add to the blank.

    Parameters
    ----------
    maps
        (site, y, x) responses to squares; NaN = missing. Where a map has negative values the blank was subtracted
        already; else its least value is.

    Returns
    -------
    np.ndarray
        Same shape, at least 0, missing squares 0.
    """
    known = np.isfinite(maps)
    least = np.min(np.where(known, maps, np.inf), axis=(1, 2), keepdims=True)
    blank = np.where(np.isfinite(least), np.maximum(least, 0.0), 0.0)
    return np.where(known, np.maximum(np.where(known, maps, 0.0) - blank, 0.0), 0.0)


def density(
    weights: np.ndarray,
    centres: tuple[np.ndarray, np.ndarray],
    grid: tuple[np.ndarray, np.ndarray],
    *,
    bandwidth: float = BANDWIDTH_DEG,
) -> np.ndarray:
    """Spread the weights of the squares by a Gaussian: a kernel density, which integrates to 1 over the plane.

    Parameters
    ----------
    weights
        (site, square y, square x), at least 0.
    centres
        y and x of the squares, in degrees.
    grid
        y and x at which the density is taken, in degrees.

    Returns
    -------
    np.ndarray
        (site, y, x) per square degree; NaN for a site without any weight.
    """
    by_y, by_x = (_gaussian(at, centre, bandwidth) for at, centre in zip(grid, centres, strict=True))
    total = weights.sum(axis=(1, 2))[:, None, None]
    spread = by_y @ weights.astype(np.float64) @ by_x.T
    return np.divide(spread, total, out=np.full(spread.shape, np.nan), where=total > 0)


def is_inside(values: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Tell where a density, (..., y, x), is at least ``level`` times its peak; nowhere if it is NaN."""
    with np.errstate(invalid="ignore"):
        return values >= level * values.max(axis=(-2, -1), keepdims=True)


def contour(values: np.ndarray, y: np.ndarray, x: np.ndarray, level: float) -> np.ndarray:
    """Find the line at which a surface has a value, in straight pieces: each cell of the grid is cut in two triangles.

    Parameters
    ----------
    values
        (y, x).
    level
        In the units of ``values``.

    Returns
    -------
    np.ndarray
        (piece, 4): x0, y0, x1, y1.
    """
    corner = np.stack([*np.broadcast_arrays(x, y[:, None]), values - level], axis=-1).astype(np.float64)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    triangles = np.concatenate([np.stack(part, axis=2).reshape(-1, 3, 3) for part in ((a, b, c), (d, b, c))])
    above = triangles[:, :, 2] >= 0
    cut = triangles[above.any(axis=1) & ~above.all(axis=1)]
    if not len(cut):
        return np.empty((0, 4))
    above = cut[:, :, 2] >= 0
    lonely = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    each = np.arange(len(cut))
    tip, ends = cut[each, lonely], [cut[each, (lonely + k) % 3] for k in (1, 2)]
    share = [tip[:, 2:] / (tip[:, 2:] - end[:, 2:]) for end in ends]
    return np.concatenate(
        [tip[:, :2] + s * (end[:, :2] - tip[:, :2]) for s, end in zip(share, ends, strict=True)], axis=1
    )


def centroid(weights: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the mean position, y and x, of weights (..., y, x); NaN where all are 0."""
    total = weights.sum(axis=(-2, -1), dtype=np.float64)
    total = np.where(total > 0, total, np.nan)
    return (weights.sum(axis=-1) @ y) / total, (weights.sum(axis=-2) @ x) / total


def ellipse(weights: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the ellipse of one SD of weights, (..., y, x), from their second moments.

    Returns
    -------
    tuple of np.ndarray
        SD along the longer axis, SD along the shorter one, and the longer axis' angle from x towards y, in radians
        within [-pi/2, pi/2]; NaN where all weights are 0.
    """
    mean_y, mean_x = centroid(weights, y, x)
    total = weights.sum(axis=(-2, -1), dtype=np.float64)
    total = np.where(total > 0, total, np.nan)
    yy = (weights.sum(axis=-1) @ y**2) / total - mean_y**2
    xx = (weights.sum(axis=-2) @ x**2) / total - mean_x**2
    xy = np.einsum("...yx,y,x->...", weights.astype(np.float64), y, x) / total - mean_y * mean_x
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major, minor = (np.sqrt(np.maximum(middle + sign * spread, 0)) for sign in (1, -1))
    return major, minor, np.arctan2(2 * xy, xx - yy) / 2


def _gaussian(at: np.ndarray, centre: np.ndarray, sd: float) -> np.ndarray:
    return np.exp(-((at[:, None] - centre) ** 2) / (2 * sd**2)) / (np.sqrt(2 * np.pi) * sd)
