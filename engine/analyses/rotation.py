"""Is there anything special about the basis of units that a network learned? Random rotations of it.

Arend et al. (2018), figure 9: the channels of a layer are rotated by Q drawn from the Haar measure on SO(N), the same Q
at every position and for every stimulus. Everything that does not depend on the basis stays as it was.
"""

import numpy as np
from scipy.stats import special_ortho_group


def random_rotation(n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Q (channel, channel) float64 from the Haar measure on SO(N): orthogonal, determinant +1."""
    if n_channels == 1:
        return np.ones((1, 1))
    return special_ortho_group.rvs(n_channels, random_state=rng)


def rotate(activation: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate the channels of activations.

    Parameters
    ----------
    activation
        (stimulus, channel, ...), for example (stimulus, channel, y, x).
    rotation
        (channel, channel), Q.

    Returns
    -------
    np.ndarray
        Same shape, float64: Q times the channel vector at every position and for every stimulus.
    """
    return np.moveaxis(np.tensordot(rotation, activation.astype(np.float64), axes=([1], [1])), 0, 1)
