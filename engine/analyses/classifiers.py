"""How well does a population of sites or units tell the categories of the stimuli apart?

One linear support vector machine against the rest for each category (Arend et al. 2018, figure 5), on z-scored
features, with its cost chosen on random splits of the training stimuli.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.svm import LinearSVC

COSTS: Final = np.array([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3])
"""Costs C that are tried."""

TEST_SHARE: Final = 0.1
COST_SPLITS: Final = 10
"""Random 90-10 splits of the training stimuli that choose C."""

MOST_STEPS: Final = 1000


@dataclass(frozen=True)
class Learned:
    """A machine, the cost that was chosen for it, and how many of the fits on the way did not converge."""

    machine: LinearSVC
    cost: float
    n_unconverged: int


def splits(labels: np.ndarray, n_splits: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw random 90-10 splits of stimuli, the same share of each category in both parts.

    Without strata a category that is frequent in the test part is rare in the training part, which pushes accuracies
    below chance where there is nothing to decode.

    Parameters
    ----------
    labels
        (stimulus,) int, at least two stimuli of each category.
    n_splits
        How many.

    Returns
    -------
    list of tuple of np.ndarray
        Training and test positions.
    """
    n_test = max(round(TEST_SHARE * len(labels)), len(np.unique(labels)))
    drawn = StratifiedShuffleSplit(n_splits, test_size=n_test, random_state=int(rng.integers(2**31)))
    return list(drawn.split(np.empty((len(labels), 0)), labels))


def z_score(values: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Subtract the mean and divide by the SD (ddof = 0) of the training stimuli; 0 where they do not vary.

    Parameters
    ----------
    values, training
        (stimulus, feature); the features of one population.
    """
    sd = training.std(axis=0)
    varies = (np.ptp(training, axis=0) > 0) & (sd > 0)
    return np.where(varies, (values - training.mean(axis=0)) / np.where(varies, sd, 1.0), 0.0)


def learn(values: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Learned:
    """Choose C on random splits of the training stimuli, then train on all of them.

    Of costs with the same mean accuracy the smallest is taken. The features of every split are z-scored with the
    statistics of its own training part.

    Parameters
    ----------
    values
        (stimulus, feature), training stimuli only, not yet z-scored.
    labels
        (stimulus,) int.
    rng
        Of the splits.
    """
    accuracy = np.zeros(len(COSTS))
    n_unconverged = 0
    for train, test in splits(labels, COST_SPLITS, rng):
        known, new = (z_score(values[part], values[train]) for part in (train, test))
        for index, cost in enumerate(COSTS):
            machine = _fitted(known, labels[train], cost)
            n_unconverged += _stopped_early(machine)
            accuracy[index] += np.mean(machine.predict(new) == labels[test])
    cost = float(COSTS[np.argmax(np.round(accuracy, 9))])
    machine = _fitted(z_score(values, values), labels, cost)
    return Learned(machine, cost, n_unconverged + _stopped_early(machine))


def confusion(predicted: np.ndarray, labels: np.ndarray, n_categories: int) -> np.ndarray:
    """Count predictions by category, (true, predicted) float64, as shares of each row; NaN for an absent category."""
    counts = np.zeros((n_categories, n_categories))
    np.add.at(counts, (labels, predicted), 1)
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def _fitted(values: np.ndarray, labels: np.ndarray, cost: float) -> LinearSVC:
    # the primal problem: the dual solver stops unfinished after 1,000 steps from C = 1 on, and takes 40 times as long
    return LinearSVC(C=cost, dual=False, max_iter=MOST_STEPS).fit(values, labels)


def _stopped_early(machine: LinearSVC) -> bool:
    return bool(machine.n_iter_ >= MOST_STEPS)
