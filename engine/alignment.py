"""Do responses and images belong together? A canary: responses follow, a little, how bright and contrasted they are.

If they do so no better in the given order than in shuffled ones, a row may stand beside the wrong image, which no
comparison of ids can see when the ids themselves were mixed up.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

N_SHUFFLES: Final = 20
LEAST_STIMULI: Final = 20
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722])
"""Weights of red, green and blue in luminance (ITU-R BT.709)."""


@dataclass(frozen=True)
class Canary:
    """How well brightness and contrast of the images explain the responses: share of variance, mean over sites.

    Attributes
    ----------
    given
        In the given order.
    shuffled
        (shuffle,) in as many shuffled orders.
    """

    given: float
    shuffled: np.ndarray

    @property
    def is_above(self) -> bool:
        """Whether the given order does better than every shuffled one."""
        return bool(self.given > self.shuffled.max())


def alignment_canary(
    response: np.ndarray, looks: np.ndarray, *, seed: int = 0, n_shuffles: int = N_SHUFFLES
) -> Canary | None:
    """Ask whether responses follow luminance and contrast of their own images better than of shuffled ones.

    Parameters
    ----------
    response
        (stimulus, site); NaN = missing.
    looks
        (stimulus, 2): luminance and contrast of each image, as ``luminance_and_contrast`` gives them.
    seed
        Of the shuffled orders.

    Returns
    -------
    Canary or None
        Share of the variance of a site's response that a linear function of both explains, mean over sites, in the
        given order and in ``n_shuffles`` others. None with fewer than 20 stimuli, or if images or responses do not
        vary.
    """
    looks = looks[:, looks.std(axis=0) > 0]
    response = response[:, np.nanmax(response, axis=0) > np.nanmin(response, axis=0)]
    if len(response) < LEAST_STIMULI or not looks.size or not response.size:
        return None
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(looks)) for _ in range(n_shuffles)]
    return Canary(_explained(looks, response), np.array([_explained(looks[order], response) for order in orders]))


def luminance_and_contrast(pixels: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the luma (0 to 255) of uint8 pixels (height, width, 3)."""
    luma = pixels @ _LUMA
    return float(luma.mean()), float(luma.std())


def _explained(looks: np.ndarray, response: np.ndarray) -> float:
    """Return R squared of each site's response on the columns of ``looks``, mean over sites."""
    return float(np.mean([_r_squared(looks, column) for column in response.T]))


def _r_squared(looks: np.ndarray, column: np.ndarray) -> float:
    there = np.isfinite(column)
    design = np.column_stack([np.ones(there.sum()), looks[there]])
    y = column[there]
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    total = float(((y - y.mean()) ** 2).sum())
    return 1 - float((rest**2).sum()) / total if total > 0 else 0.0
