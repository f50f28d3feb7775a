"""How well do all units of a layer together, combined linearly, predict sites on stimuli that were held out?

Partial least squares and ridge regression depend on the units only through the stimuli's Gram matrix: the units are
turned into as many dimensions as there are training stimuli, which changes no prediction and needs no memory.
"""

from dataclasses import dataclass
from typing import Final
from warnings import catch_warnings, simplefilter

import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

N_SPLITS: Final = 10
TRAIN_SHARE: Final = 0.9
RANDOM_STATE: Final = 1
"""Of the splits, as Brain-Score has it."""

PENALTIES: Final = np.logspace(-6, 1, 15)
"""Ridge penalties that are tried, as shares of the training stimuli's total variance, so that no scale matters."""

_MOST_STEPS: Final = 500


def shuffle_splits(strata: np.ndarray | None, n_stimuli: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw 10 random splits, 90 % of the stimuli for training, in rising order of position.

    Parameters
    ----------
    strata
        (stimulus,) labels of which both parts get the same shares; None: not stratified.
    n_stimuli
        How many there are.
    seed
        0 draws the splits of Brain-Score (``random_state=1``).
    """
    how = {"train_size": TRAIN_SHARE, "random_state": RANDOM_STATE + seed}
    nothing = np.zeros(n_stimuli)
    if strata is None:
        drawn = list(ShuffleSplit(N_SPLITS, **how).split(nothing))
    else:
        drawn = list(StratifiedShuffleSplit(N_SPLITS, **how).split(nothing, strata))
    return [(np.sort(train), np.sort(test)) for train, test in drawn]


def can_stratify(strata: np.ndarray) -> bool:
    """Say whether every label can be in both parts of a 90-10 split."""
    counts = np.unique(strata, return_counts=True)[1]
    n_test = len(strata) - int(TRAIN_SHARE * len(strata))
    return bool(counts.min() >= 2 and n_test >= len(counts))


def coordinates(gram: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place the stimuli in the space that the training stimuli span, from their inner products alone.

    With X the units of the training stimuli less their means, the rows are X and the test stimuli times an orthonormal
    basis of the rows of X, so every inner product with a training stimulus is what it was.

    Parameters
    ----------
    gram
        (stimulus, stimulus) float64, inner products over units, around any common origin.
    train, test
        Positions.

    Returns
    -------
    tuple of np.ndarray
        (training stimulus, dimension) and (test stimulus, dimension), float64.
    """
    of_train, of_test = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
    mean = of_train.mean(axis=0)
    of_test = of_test - of_test.mean(axis=1, keepdims=True) - mean + mean.mean()
    of_train = of_train - mean[:, None] - mean + mean.mean()
    variance, basis = np.linalg.eigh((of_train + of_train.T) / 2)
    is_there = variance > len(train) * np.finfo(float).eps * max(variance[-1], 0.0)
    scale = np.sqrt(variance[is_there])
    return basis[:, is_there] * scale, of_test @ (basis[:, is_there] / scale)


@dataclass(frozen=True)
class Prediction:
    """Predicted responses (test stimulus, site), and what the fit says of itself."""

    response: np.ndarray
    n_components: int = 0
    is_converged: bool = True
    penalty: np.ndarray | None = None
    """(site,) as a share of the total variance."""


def predict_pls(x: np.ndarray, y: np.ndarray, new: np.ndarray, n_components: int) -> Prediction:
    """Predict by partial least squares, all sites at once, fewer components where the stimuli span no more.

    Parameters
    ----------
    x, new
        (stimulus, dimension) of training and test stimuli.
    y
        (stimulus, site) responses to the training stimuli.
    n_components
        25 in Brain-Score, which does not scale the units either.
    """
    n_components = min(n_components, *x.shape)
    model = PLSRegression(n_components, scale=False, max_iter=_MOST_STEPS)
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        simplefilter("ignore", UserWarning)  # "y residual is constant": what is left is nothing, and is predicted so
        model.fit(x, y)
    predicted = model.predict(new).reshape(len(new), y.shape[1])
    return Prediction(predicted, n_components, max(model.n_iter_) < _MOST_STEPS)


def predict_ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> Prediction:
    """Predict by ridge regression, with a penalty for each site by leave-one-out on the training stimuli.

    As scikit-learn's ``RidgeCV(alpha_per_target=True)``, which would decompose ``x`` once more: its columns are
    orthogonal, so each penalty costs one product.

    Parameters
    ----------
    x, new
        (stimulus, dimension) of training and test stimuli, from ``coordinates``.
    y
        (stimulus, site) responses to the training stimuli.
    """
    variance = (x**2).sum(axis=0)
    basis, mean = x / np.sqrt(variance), y.mean(axis=0)
    weights = basis.T @ (y - mean)
    total = variance.sum()
    errors = [_left_out_error(basis, weights, y - mean, variance / (variance + share * total)) for share in PENALTIES]
    chosen = PENALTIES[np.argmin(errors, axis=0)]
    shrunk = weights * np.sqrt(variance)[:, None] / (variance[:, None] + chosen * total)
    return Prediction(new @ shrunk + mean, penalty=chosen)


def _left_out_error(basis: np.ndarray, weights: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean squared error (site,) of predicting each stimulus from all others, ``kept`` of each dimension."""
    residual = y - basis @ (weights * kept[:, None])
    leverage = (basis**2) @ kept + 1 / len(y)
    return ((residual / (1 - leverage)[:, None]) ** 2).mean(axis=0)


def correlate(predicted: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Pearson's r of each site, (site,), over the stimuli of two (stimulus, site); NaN where either does not vary."""
    a, b = predicted - predicted.mean(axis=0), response - response.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    varies = (np.ptp(predicted, axis=0) > 0) & (np.ptp(response, axis=0) > 0) & (norm > 0)
    r = np.divide((a * b).sum(axis=0), norm, out=np.full(len(norm), np.nan), where=varies)
    return np.clip(r, -1, 1)


def score(correlation: np.ndarray) -> tuple[float, float]:
    """Take the median over sites and the mean over splits of (split, site) r; its error is the SD / sqrt(splits).

    The SD has ddof = 0, as in Brain-Score. Sites without a value do not count; NaN where a split has none.
    """
    if not correlation.size:
        return float("nan"), float("nan")
    medians = np.ma.median(np.ma.masked_invalid(correlation), axis=1)
    medians = np.ma.filled(np.ma.asarray(medians, float), np.nan)
    return float(np.mean(medians)), float(np.std(medians) / np.sqrt(len(medians)))
