"""Are two confusion matrices alike? Pearson's r over the cells off the diagonal, with a permutation of categories."""

from typing import Final

import numpy as np

N_PERMUTATIONS: Final = 10_000

FEWEST_CATEGORIES: Final = 4
"""Below four categories the off-diagonal cells are too few for an r."""


def off_diagonal_r(a: np.ndarray, b: np.ndarray) -> float:
    """Correlate the off-diagonal cells of two (category, predicted) matrices; NaN where either does not vary."""
    off = ~np.eye(len(a), dtype=bool)
    return float(_r(a[off], b[off][None])[0])


def permutation_p(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, n: int = N_PERMUTATIONS) -> float:
    """Return the share of permutations whose off-diagonal r is as high, the matrices' own order counted in.

    Rows and columns of ``b`` are permuted together: its cells are not exchangeable one by one.

    References
    ----------
    Mantel (1967), Cancer Research 27, 209-220.
    """
    own = off_diagonal_r(a, b)
    if not np.isfinite(own):
        return float("nan")
    k = len(a)
    off = ~np.eye(k, dtype=bool)
    order = rng.permuted(np.tile(np.arange(k), (n, 1)), axis=1)
    permuted = b[order[:, :, None], order[:, None, :]][:, off]
    return float((1 + (_r(a[off], permuted) >= own - 1e-12).sum()) / (1 + n))


def similarity(
    confusions: np.ndarray, condition: int, population: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Compare every mean confusion matrix with that of the sites within themselves, on the same kind of images.

    Parameters
    ----------
    confusions
        (images, condition, population, category, predicted).
    condition, population
        Positions of the matrix that the others are compared with.

    Returns
    -------
    r, p : np.ndarray
        (images, condition, population); NaN for that population itself, and below four categories.
    """
    r, p = (np.full(confusions.shape[:3], np.nan) for _ in range(2))
    if confusions.shape[-1] < FEWEST_CATEGORIES:
        return r, p
    for at in np.ndindex(r.shape):
        if at[2] != population:
            own = confusions[at[0], condition, population]
            r[at] = off_diagonal_r(own, confusions[at])
            p[at] = permutation_p(own, confusions[at], rng)
    return r, p


def _r(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlate ``a`` (cell,) with each row of ``b`` (row, cell)."""
    a, b = a - a.mean(), b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a**2).sum() * (b**2).sum(axis=1))
    return np.divide(b @ a, norm, out=np.full(len(b), np.nan), where=norm > 1e-12)
