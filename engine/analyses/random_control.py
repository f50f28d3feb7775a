"""What does the best of many units reach that have nothing to do with a site? A closed form.

The best of N independent units with Gaussian activations (Arend et al. 2018 replace each layer by such noise): r of one
unit follows from Student's t with n - 2 degrees of freedom, and P(best <= r) = F(t)^N.
"""

import numpy as np
from scipy import stats


def best_r(n_stimuli: int, n_units: float, *, quantile: float = 0.5) -> float:
    """Return a quantile, by default the median, of the best r among independent random units.

    Parameters
    ----------
    n_stimuli
        Stimuli that r is computed over, at least 3.
    n_units
        Candidate units, at least 1.

    Examples
    --------
    >>> round(best_r(2560, 1e6), 4)
    0.0952
    """
    df = n_stimuli - 2
    # log1p and isf: the quantile of one unit lies within 1e-7 of 1
    t = stats.t.isf(-np.expm1(np.log(quantile) / n_units), df)
    return float(t / np.sqrt(df + t**2))
